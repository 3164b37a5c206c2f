/** One lane thread as main sees it. */
import { Worker } from 'node:worker_threads';
import { type LaneAssignment, THREAD_READY } from './lane-thread.ts';

/**
 * What a lane's own heap may hold: its tables are typed arrays, which do not count. A lane that
 * leaks ends alone, and is replaced.
 */
const MAX_HEAP_MB = 128;

export class LaneWorker {
  /** Resolves when the thread can be assigned a lane; rejects when it ends before. */
  readonly ready: Promise<void>;
  /** Resolves with why when the thread has ended, for whatever reason. */
  readonly ended: Promise<string>;
  /** Called when the thread asks main to collect, where there is no wake event. */
  onWake: () => void = () => undefined;
  readonly #worker: Worker;
  #isReady = false;

  /** `entry`: the thread's module, whose code calls `awaitAssignment`. */
  constructor(entry: URL) {
    const isSource = entry.pathname.endsWith('.ts');
    this.#worker = new Worker(isSource ? new URL('./boot.mjs', import.meta.url) : entry, {
      workerData: { entry: entry.href },
      // The loader of the main thread, if any, does not work in threads; boot.mjs brings its own.
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
    });
    let failure = '';
    this.#worker.on('error', (error) => {
      failure = String(error instanceof Error ? error.message : error);
    });
    this.ended = new Promise((resolve) => {
      this.#worker.once('exit', (code) => resolve(failure || `it exited with code ${code}`));
    });
    this.ready = new Promise((resolve, reject) => {
      this.#worker.on('message', (message) => {
        if (message !== THREAD_READY) return this.onWake();
        this.#isReady = true;
        return resolve();
      });
      void this.ended.then((why) => reject(new Error(`a worker thread did not start: ${why}`)));
    });
    // Whoever waits for it is told; nobody has to wait.
    this.ready.catch(() => undefined);
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  assign(assignment: LaneAssignment): void {
    this.#worker.postMessage(assignment);
  }

  /** Ends the thread wherever it is, in a loop too. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** The entry that serves lanes: TypeScript from source, compiled in the package. */
export function laneEntry(): URL {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`./lane-entry.${extension}`, import.meta.url);
}
