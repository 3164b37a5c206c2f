/**
 * `waypost serve` with the flags given as JSON, which also prints its counters: one line of JSON on
 * standard output for each line on standard input.
 */
import process from 'node:process';
import { createInterface } from 'node:readline';
import { startAppliance } from '../../server/appliance.ts';
import type { FlagValues } from '../../server/options/option.ts';
import { serveConfig } from '../../server/options/serve.ts';

const flags = JSON.parse(process.argv[2] ?? '{}') as FlagValues;
const appliance = await startAppliance(serveConfig(flags, {}, () => undefined));
process.stdout.write(`port=${appliance.listening[0].port}\n`);
createInterface({ input: process.stdin }).on('line', () => {
  process.stdout.write(`${JSON.stringify(appliance.counters())}\n`);
});
