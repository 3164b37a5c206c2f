import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { FAULTS, type Report, runScenario } from './scenario.ts';

const NODES = 40;
const RUN_SEED = fileURLToPath(new URL('./run-seed.ts', import.meta.url));
const PROCESS_LIMIT_MS = 120_000;

type Told = Pick<Report, 'digest' | 'marks' | 'failures' | 'events'>;

/** The same run in a process of its own. */
async function runApart(seed: number): Promise<Told> {
  const args = ['--import', 'tsx', RUN_SEED, String(seed), String(NODES)];
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    timeout: PROCESS_LIMIT_MS,
  });
  return JSON.parse(stdout) as Told;
}

describe('a simulation', () => {
  for (const [index, fault] of FAULTS.entries()) {
    const seed = FAULTS.length * 7 + index;
    test(`of seed ${seed} (${fault}) is the same to the bit, also in another process`, async () => {
      const [here, apart] = await Promise.all([
        runScenario({ seed, nodes: NODES }),
        runApart(seed),
      ]);
      const again = await runScenario({ seed, nodes: NODES });
      assert.deepEqual(again.marks, here.marks, 'where two runs here part');
      assert.deepEqual(apart.marks, here.marks, 'where a run in another process parts');
      assert.deepEqual([again.digest, apart.digest], [here.digest, here.digest]);
      assert.ok(here.datagrams > 1000, `${here.datagrams} datagrams`);
    });
  }

  test('of another seed is another one', async () => {
    const [one, other] = [
      await runScenario({ seed: 1, nodes: 20 }),
      await runScenario({ seed: 2, nodes: 20 }),
    ];
    assert.notEqual(one.digest, other.digest);
  });

  test('draws on no other clock and no other chance than its own', async () => {
    const { now } = Date;
    const { random } = Math;
    const fail = () => {
      throw new Error('the machine was asked');
    };
    Date.now = fail;
    Math.random = fail;
    try {
      const { events } = await runScenario({ seed: 3, nodes: 20, lookups: 5 });
      assert.ok(events > 0);
    } finally {
      Date.now = now;
      Math.random = random;
    }
  });
});
