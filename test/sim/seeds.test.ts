/**
 * Fifty networks of a hundred nodes, each of another seed. One that fails is run again, alone, with
 * SIM_SEED. SIM_SEEDS makes them more or fewer, SIM_NODES larger or smaller; SIM_TRACE names a file
 * for the trace in words.
 */
import { writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { assertWell, faultOf, runScenario } from './scenario.ts';

const SEEDS = Number(process.env.SIM_SEEDS ?? 50);
const NODES = Number(process.env.SIM_NODES ?? 100);
const { SIM_SEED, SIM_TRACE } = process.env;
const seeds =
  SIM_SEED === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(SIM_SEED)];

describe(`networks of ${NODES} nodes`, () => {
  for (const seed of seeds) {
    const fault = faultOf(seed);
    test(`seed ${seed}: all bootstrap, and find what is stored, after ${fault}`, async (t) => {
      const report = await runScenario({ seed, nodes: NODES, keepsTrace: SIM_TRACE !== undefined });
      if (SIM_TRACE !== undefined) writeFileSync(SIM_TRACE, `${report.lines.join('\n')}\n`);
      const { recall, datagrams, virtualMs, digest } = report;
      const found = `${(100 * recall).toFixed(1)}% of the nearest found`;
      t.diagnostic(`${found}, ${datagrams} datagrams in ${virtualMs / 1000} s, run ${digest}`);
      assertWell(report);
    });
  }
});
