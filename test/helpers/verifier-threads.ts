/** Threads of a server's verifier, which a test gets hold of as they start. */
import { createRequire } from 'node:module';
import type { TestContext } from 'node:test';
import type { Worker, WorkerOptions } from 'node:worker_threads';

type WorkerClass = new (file: string | URL, options?: WorkerOptions) => Worker;

const threads = createRequire(import.meta.url)('node:worker_threads') as { Worker: WorkerClass };

export interface VerifierWatch {
  /** All that were started since. */
  readonly started: readonly Worker[];
  /** Lets them load: until then they wait before they run anything. */
  release(): void;
}

/**
 * Watches, until the test ends, the threads that Piscina starts: nobody else here uses it. With
 * `holds` they do not load what they run before `release`; while `mayStart` says no there are none.
 */
export function watchVerifierThreads(
  t: Pick<TestContext, 'after'>,
  {
    holds = false,
    mayStart = (): boolean => true,
    onStart = (_thread: Worker): void => undefined,
  } = {},
): VerifierWatch {
  const Real = threads.Worker;
  const started: Worker[] = [];
  let release = (): void => undefined;
  let released: Promise<void> | null = holds
    ? new Promise((resolve) => {
        release = resolve;
      })
    : null;
  threads.Worker = class extends Real {
    readonly #isWatched: boolean;

    constructor(file: string | URL, options?: WorkerOptions) {
      const isWatched = String(file).includes('piscina');
      if (isWatched && !mayStart()) throw new Error('the system has no more threads');
      super(file, options);
      this.#isWatched = isWatched;
      if (!this.#isWatched) return;
      started.push(this);
      onStart(this);
    }

    // The first message tells a thread what to run.
    override postMessage(...message: Parameters<Worker['postMessage']>): void {
      if (!this.#isWatched || released === null) super.postMessage(...message);
      else void released.then(() => super.postMessage(...message));
    }
  };
  t.after(() => {
    threads.Worker = Real;
    release();
  });
  return {
    started,
    release: () => {
      released = null;
      release();
    },
  };
}
