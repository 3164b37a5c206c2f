/** Runs one seed and prints the outcome as JSON: `node --import tsx run-seed.ts SEED NODES`. */
import { runScenario } from './scenario.ts';

const [seed, nodes] = process.argv.slice(2).map(Number);
const { digest, marks, failures, events } = await runScenario({ seed, nodes });
process.stdout.write(`${JSON.stringify({ digest, marks, failures, events })}\n`);
