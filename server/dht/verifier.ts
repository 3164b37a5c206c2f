/**
 * Signatures are checked off the lanes: a check takes 40 us, a lookup one. Main submits slots whose
 * request a lane wants to have checked; when they come back through `onDone`, their state says
 * SLOT_GENUINE or SLOT_FORGED, or neither when the check failed (its thread died), and main gives
 * them to their lane again.
 *
 *   lane --(length < 0)--> main --submit--> queue --batch of at most 8--> pool --onDone--> main
 *
 * Batches are small and few are under way, so that nothing waits long: what cannot be checked in
 * time waits in the queue, and what does not fit there is refused at once.
 *
 * A thread that ends or hangs ends its pool (verifier-threads.ts). What was under way fails; what
 * is in the queue waits for the next pool, which starts after a pause. When that does not start,
 * the queue fails too, and nothing is taken until one does:
 *
 *   idle --submit, warm--> starting --> checking --a thread ended--> pause --> starting --> ...
 *                              \--did not start--> down, pause --> starting --> ...
 */
import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { SlotChecker } from '../../workers/dht/verify-task.ts';
import type { Slab } from '../../workers/slab.ts';
import type { Clock } from '../clock.ts';
import { BATCHES_PER_THREAD, VerifierThreads } from './verifier-threads.ts';

/** 0.3 ms of a thread's work: what a request waits for besides its own check. */
export const VERIFY_BATCH = 8;
/** 10 ms of one thread's work: who waits longer asks again anyway. */
export const DEFAULT_QUEUE_SLOTS = 256;
/** 100,000 checks a second, far more announces than a node has; each thread is 10 MB. */
export const MOST_THREADS = 4;
/** Before a pool that ended is followed by another: doubled each time, until one checks a batch. */
export const FIRST_RETRY_MS = 50;
export const MAX_RETRY_MS = 5000;
/** How often it is looked whether batches come back. */
export const WATCH_MS = 2500;
/** A batch, or a start, that takes so many looks hangs: 10 s, a thousand times what is usual. */
export const HANG_LOOKS = 4;
/** How long batches may take at a close. */
const CLOSE_MS = 1000;

export interface Verifier {
  /** Takes a slot to have its signature checked; false when too many wait, or it is closed. */
  submit(slot: number): boolean;
  /** Slots taken and not yet given back. */
  readonly pending: number;
  /** Slots given back without a result. */
  readonly failed: number;
  /** Gives back what is in the queue, waits for what is being checked, and ends its threads. */
  close(): Promise<void>;
}

export interface VerifierParts {
  readonly slab: Slab;
  /** The routing table's memory: it has the node's own id. */
  readonly table: SharedArrayBuffer;
  /** Takes back the first `count` of `slots`, never within `submit`. It must not keep the array. */
  readonly onDone: (slots: readonly number[], count: number) => void;
}

export interface PoolVerifierOptions {
  /** Default: as many as there are cores, but one for the lanes, and at most MOST_THREADS. */
  readonly threads?: number;
  readonly queueSlots?: number;
  /** What the threads run; tests have them die. */
  readonly entry?: URL;
  /** Takes a line when its threads end or do not start, and when they are there again. */
  readonly notice?: (line: string) => void;
}

/** Slots under way at a thread. */
interface Batch {
  readonly slots: readonly number[];
  looks: number;
}

/** Checks signatures in a pool of threads, which starts with the first slot or by `warm`. */
export class PoolVerifier implements Verifier {
  failed = 0;
  readonly #parts: VerifierParts;
  readonly #clock: Clock;
  readonly #threads: number;
  readonly #queueSlots: number;
  readonly #entry: URL;
  readonly #notice: (line: string) => void;
  readonly #queue: number[] = [];
  readonly #batches = new Set<Batch>();
  #pool: VerifierThreads | null = null;
  /** Settled when the present pool has started, or has not. */
  #started: Promise<void> | null = null;
  #isReady = false;
  #startLooks = 0;
  /** Pools in a row that ended without having checked anything. */
  #failures = 0;
  /** The last one did not even start. */
  #isDown = false;
  #cancelRetry: (() => void) | null = null;
  #stopWatching: (() => void) | null = null;
  #onIdle: (() => void) | null = null;
  #isClosed = false;

  constructor(parts: VerifierParts, clock: Clock, options: PoolVerifierOptions = {}) {
    this.#parts = parts;
    this.#clock = clock;
    this.#threads = options.threads ?? defaultThreads(availableParallelism());
    this.#queueSlots = options.queueSlots ?? DEFAULT_QUEUE_SLOTS;
    this.#entry = options.entry ?? taskEntry();
    this.#notice = options.notice ?? (() => undefined);
  }

  get pending(): number {
    let pending = this.#queue.length;
    for (const { slots } of this.#batches) pending += slots.length;
    return pending;
  }

  /** The pool's threads, also those that have not loaded yet. */
  get threads(): readonly Worker[] {
    return this.#pool?.threads ?? [];
  }

  /**
   * Starts the threads and loads their code, so that the first request does not wait for it.
   * Resolves when they are there, or are not: then others are tried by and by. Never rejects.
   */
  async warm(): Promise<void> {
    this.#wantPool();
    await this.#started;
  }

  submit(slot: number): boolean {
    // While no thread starts a slot is of more use to its socket.
    if (this.#isClosed || this.#isDown || this.#queue.length >= this.#queueSlots) return false;
    this.#queue.push(slot);
    this.#wantPool();
    this.#dispatch();
    return true;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelRetry?.();
    this.#failQueue();
    const pool = this.#pool;
    if (pool === null) return;
    if (this.#batches.size > 0) {
      const cancel = this.#clock.after(CLOSE_MS, () => void pool.end('closed'));
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
      cancel();
    }
    await pool.end('closed');
    await this.#started;
  }

  #wantPool(): void {
    if (this.#pool !== null || this.#cancelRetry !== null || this.#isClosed) return;
    this.#started = this.#start();
  }

  async #start(): Promise<void> {
    const { slab, table } = this.#parts;
    const pool = new VerifierThreads({
      threads: this.#threads,
      memory: { slab: slab.buffer, table },
      entry: this.#entry,
    });
    this.#pool = pool;
    this.#startLooks = 0;
    this.#stopWatching = this.#clock.every(WATCH_MS, () => this.#watch(pool));
    void pool.ended.then(() => this.#ended(pool));
    try {
      await pool.start();
    } catch {
      // It has ended, which is dealt with where all ends are.
      return;
    }
    this.#isReady = true;
    this.#isDown = false;
    this.#dispatch();
  }

  /** The last thread of a pool has ended, and so far as it was not meant to others follow. */
  #ended(pool: VerifierThreads): void {
    this.#stopWatching?.();
    const hadStarted = this.#isReady;
    this.#isReady = false;
    this.#pool = null;
    if (this.#isClosed) return;
    if (!hadStarted) {
      this.#isDown = true;
      this.#failQueue();
    }
    if (this.#failures === 0) {
      const what = hadStarted ? 'ended' : 'does not start';
      this.#notice(`a thread that checks signatures ${what} (${pool.why}); trying others`);
    }
    const delayMs = Math.min(FIRST_RETRY_MS * 2 ** this.#failures, MAX_RETRY_MS);
    this.#failures++;
    this.#cancelRetry = this.#clock.after(delayMs, () => {
      this.#cancelRetry = null;
      this.#wantPool();
    });
  }

  /** Ends a pool that hangs. */
  #watch(pool: VerifierThreads): void {
    let looks = this.#isReady ? 0 : ++this.#startLooks;
    for (const batch of this.#batches) looks = Math.max(looks, ++batch.looks);
    if (looks >= HANG_LOOKS) void pool.end('it hung');
  }

  /** Hands batches to the pool while it has room for them. */
  #dispatch(): void {
    const pool = this.#pool;
    if (pool === null || !this.#isReady) return;
    const most = this.#threads * BATCHES_PER_THREAD;
    while (pool.why === null && this.#queue.length > 0 && this.#batches.size < most) {
      void this.#check(pool, { slots: this.#queue.splice(0, VERIFY_BATCH), looks: 0 });
    }
  }

  async #check(pool: VerifierThreads, batch: Batch): Promise<void> {
    this.#batches.add(batch);
    let isChecked = true;
    try {
      await pool.run(batch.slots);
      if (this.#failures > 0) this.#notice('signatures are checked again');
      this.#failures = 0;
    } catch {
      isChecked = false;
      // A thread that is about to end may still write into the slots.
      if (pool.why !== null) await pool.ended;
    }
    this.#batches.delete(batch);
    this.#giveBack(batch.slots, isChecked);
    if (this.#batches.size === 0) this.#onIdle?.();
    this.#dispatch();
  }

  #failQueue(): void {
    const queued = this.#queue.splice(0);
    if (queued.length > 0) this.#giveBack(queued, false);
  }

  #giveBack(slots: readonly number[], isChecked: boolean): void {
    if (!isChecked) this.failed += slots.length;
    this.#parts.onDone(slots, slots.length);
  }
}

/** Of a machine with so many cores. */
export function defaultThreads(cores: number): number {
  return Math.min(MOST_THREADS, Math.max(1, cores - 1));
}

/** Checks signatures on the thread it is on, in the next turn of the event loop. */
export class InlineVerifier implements Verifier {
  readonly failed = 0;
  readonly #checker: SlotChecker;
  readonly #onDone: VerifierParts['onDone'];
  readonly #clock: Pick<Clock, 'soon'>;
  #queue: number[] = [];
  #isClosed = false;

  constructor(parts: VerifierParts, clock: Pick<Clock, 'soon'>) {
    this.#checker = new SlotChecker({ slab: parts.slab.buffer, table: parts.table });
    this.#onDone = parts.onDone;
    this.#clock = clock;
  }

  get pending(): number {
    return this.#queue.length;
  }

  submit(slot: number): boolean {
    if (this.#isClosed || this.#queue.length >= DEFAULT_QUEUE_SLOTS) return false;
    if (this.#queue.push(slot) === 1) this.#clock.soon(() => this.#checkAll());
    return true;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#checkAll();
  }

  #checkAll(): void {
    const slots = this.#queue;
    if (slots.length === 0) return;
    this.#queue = [];
    this.#checker.check(slots);
    this.#onDone(slots, slots.length);
  }
}

/** The pool's task: TypeScript from source, compiled in the package. */
function taskEntry(): URL {
  if (import.meta.url.endsWith('.ts')) {
    return new URL('../../workers/dht/verify-task.ts', import.meta.url);
  }
  return new URL('../../workers/dht/verify-task.js', import.meta.url);
}
