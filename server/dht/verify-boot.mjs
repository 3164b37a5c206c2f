// What the verifier's pool runs when waypost runs from source, where tsx is there: the task is
// TypeScript. The package runs compiled code and its pool runs the task itself. No top-level await:
// the pool tries `require` first, which may not wait.
import { workerData } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

let task = null;

export default async function serveChecks(assignment) {
  if (task === null) {
    register();
    task = (await import(workerData.entry)).default;
  }
  return task(assignment);
}
