// What the verifier's pool runs: it loads the task, TypeScript where waypost runs from source (tsx
// is there then), compiled code in the package. CommonJS, because the pool tries `require` first,
// and a thread that is ended while it requires an ES module takes the process with it (Node 20).
const { workerData } = require('node:worker_threads');

let task = null;

module.exports = async function serveChecks(assignment) {
  if (task === null) {
    if (workerData.entry.endsWith('.ts')) (await import('tsx/esm/api')).register();
    task = (await import(workerData.entry)).default;
  }
  return task(assignment);
};
