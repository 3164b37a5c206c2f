// What a verifier's threads run in tests of their deaths; how they die is in the address it is
// loaded by: as it loads (exit, throw, hang), or with the first slots it is given (crash, stuck).
import { workerData } from 'node:worker_threads';

const how = new URL(workerData.entry).search.slice(1);
if (how === 'exit') process.exit(1);
if (how === 'throw') throw new Error('nothing works here');
if (how === 'hang') wait();

export default function verifyBatch(slots) {
  if (slots.length === 0) return;
  if (how === 'crash') process.exit(1);
  if (how === 'stuck') wait();
  throw new Error('a batch that fails');
}

/** For ever, or until the thread is ended. */
function wait() {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}
