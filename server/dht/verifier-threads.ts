/**
 * One life of a verifier's threads: a Piscina pool from its start until the first of them ends, or
 * does not come to work. Then all of them end, and whoever wants some starts others.
 *
 *   start --all have loaded--> run, run, ... --end, or one of them ended--> ended
 *
 * The pool replaces no thread by itself: one whose successor does not start either would keep what
 * waits for it for ever, and what goes wrong in its replacing is thrown at nobody, which ends the
 * process.
 */
import type { Worker } from 'node:worker_threads';
import type { FixedQueue, Piscina } from 'piscina';
import type { VerifyMemory } from '../../workers/dht/verify-task.ts';
import { deferred } from './deferred.ts';

/** One being checked and one waiting at the thread, which so never waits for main. */
export const BATCHES_PER_THREAD = 2;

export interface VerifierThreadsOptions {
  readonly threads: number;
  readonly memory: VerifyMemory;
  /** The module whose default export checks a batch. */
  readonly entry: URL;
}

export class VerifierThreads {
  readonly #options: VerifierThreadsOptions;
  readonly #ended = deferred();
  readonly #exits: Promise<void>[] = [];
  #pool: Piscina | null = null;
  /** Batches that the pool has no thread for yet. */
  #waiting: FixedQueue | null = null;
  #why: string | null = null;

  constructor(options: VerifierThreadsOptions) {
    this.#options = options;
  }

  /** Why they end, or have ended; null: they do not. */
  get why(): string | null {
    return this.#why;
  }

  /** Resolves when the last of them has ended: nobody writes to the memory any more. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get threads(): readonly Worker[] {
    return this.#pool?.threads ?? [];
  }

  /** Starts them. Rejects, and they end, when one does not come to load what it runs. */
  async start(): Promise<void> {
    try {
      await this.#load();
    } catch (error) {
      await this.end(error instanceof Error ? error.message : String(error));
    }
    if (this.#why !== null) throw new Error(this.#why);
  }

  /** Has a batch checked. Rejects when that failed; see `why` whether the threads have, too. */
  async run(batch: readonly number[]): Promise<void> {
    if (this.#pool === null) throw new Error('no threads');
    await this.#pool.run(batch);
  }

  /** Ends them, whatever they do: what is under way fails. Resolves when they have ended. */
  end(why: string): Promise<void> {
    if (this.#why === null) {
      this.#why = why;
      void this.#endAll();
    }
    return this.ended;
  }

  async #load(): Promise<void> {
    const { threads, memory, entry } = this.#options;
    const { FixedQueue: Queue, Piscina: Pool } = await import('piscina');
    if (this.#why !== null) return;
    const isSource = entry.pathname.endsWith('.ts');
    this.#waiting = new Queue();
    const pool = new Pool({
      taskQueue: this.#waiting,
      filename: (isSource ? new URL('./verify-boot.mjs', import.meta.url) : entry).href,
      // So that it replaces none: they start with the first batches, all of them below.
      minThreads: 0,
      maxThreads: threads,
      idleTimeout: Number.POSITIVE_INFINITY,
      concurrentTasksPerWorker: BATCHES_PER_THREAD,
      // The loader of the main thread, if any, does not work in threads.
      execArgv: [],
      workerData: { entry: entry.href, memory },
    });
    this.#pool = pool;
    // The threads' own events tell the same.
    pool.on('error', () => undefined);
    const loading = Promise.all(Array.from({ length: threads }, () => this.run([])));
    for (const thread of pool.threads) this.#watch(thread);
    await Promise.race([loading, this.ended]);
    // Until here somebody waits for them; from here on they keep no process alive.
    for (const thread of pool.threads) thread.unref();
  }

  #watch(thread: Worker): void {
    thread.ref();
    thread.on('error', (error) => void this.end(String(error)));
    const exited = new Promise<void>((resolve) => {
      thread.on('exit', () => resolve());
    });
    thread.on('exit', (code) => void this.end(`it exited with ${code}`));
    this.#exits.push(exited);
  }

  async #endAll(): Promise<void> {
    // When the system has no thread to give, the pool throws and forgets the promise of what it has
    // queued for it: ending would reject that, and nobody has it to catch that.
    while (this.#waiting !== null && this.#waiting.size > 0) this.#waiting.shift();
    await this.#pool?.destroy();
    await Promise.all(this.#exits);
    this.#ended.resolve();
  }
}
