/**
 * `npm run bench -- attacks`: what strangers can do to a proven client, attack by attack, at the
 * default limits; server on core 0, all load on core 1.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { ATTACKS } from './attack/attacks.ts';
import { boundsTable, countersTable, failures, goodputTable } from './attack/report.ts';
import { runTrial, type TrialResult } from './attack/trial.ts';
import { canPin, reexecPinned } from './load/processes.ts';

export async function benchAttacks(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      only: { type: 'string', default: '' },
      workers: { type: 'string', default: '0,1' },
      seconds: { type: 'string', default: '4.5' },
      rate: { type: 'string', default: '50000' },
    },
  });
  const pinnedStatus = reexecPinned();
  if (pinnedStatus !== null) return pinnedStatus;
  const wanted = ATTACKS.filter(({ name }) => name.includes(values.only));
  if (wanted.length === 0) {
    const names = ATTACKS.map(({ name }) => `  ${name}`).join('\n');
    process.stderr.write(
      `no attack has ${JSON.stringify(values.only)} in its name; all:\n${names}\n`,
    );
    return 2;
  }
  const results: TrialResult[] = [];
  for (const workers of values.workers.split(',').map(Number)) {
    for (const attack of wanted) {
      process.stderr.write(`${attack.name}, workers ${workers}\n`);
      const options = { workers, rate: Number(values.rate), seconds: Number(values.seconds) };
      results.push(await runTrial(attack, options));
    }
  }
  process.stdout.write(`${goodputTable(results)}\n\n${boundsTable(results)}\n\n`);
  process.stdout.write(`${countersTable(results)}\n\n`);
  process.stdout.write(canPin ? '' : 'NOT pinned: no taskset, or one core\n');
  const failed = failures(results);
  process.stdout.write(failed.length === 0 ? 'all as promised\n' : `${failed.join('\n')}\n`);
  return failed.length === 0 ? 0 : 1;
}
