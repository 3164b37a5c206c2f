// Starts a thread whose entry is TypeScript: only when waypost runs from source, where tsx is
// there. The package runs compiled code and its threads start at their entry.
import { workerData } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

register();
await import(workerData.entry);
