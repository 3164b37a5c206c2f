// What a verifier's threads run in tests of their deaths; how they die is in the address it is
// loaded by: as it loads (exit, throw, hang), or with the first slots it is given (crash, stuck,
// fail).
import { parentPort, workerData } from 'node:worker_threads';

const how = new URL(workerData.entry).search.slice(1);
if (how === 'exit') process.exit(1);
if (how === 'throw') throw new Error('nothing works here');
if (how === 'hang') wait();

// As workers/ring.ts and workers/thread-control.ts lay them out.
const [BEAT, TAIL, HEAD, SLEEP] = [0, 16, 0, 32];
const STILL_MS = 5;

export default function serveChecks(assignment) {
  setImmediate(() => serve(assignment));
}

/** Takes the first slot and dies of it. */
function serve(assignment) {
  Atomics.store(new Int32Array(assignment.control), BEAT, 1);
  parentPort.postMessage(null);
  const requests = new Int32Array(assignment.requests);
  while (Atomics.load(requests, TAIL) === 0) Atomics.wait(requests, SLEEP, 0, STILL_MS);
  Atomics.store(requests, HEAD, 1);
  if (how === 'crash') process.exit(1);
  if (how === 'stuck') wait();
  throw new Error('a slot that fails');
}

/** For ever, or until the thread is ended. */
function wait() {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}
