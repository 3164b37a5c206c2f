/**
 * Signatures checked in a pool of threads.
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
import { Ring } from '../../workers/ring.ts';
import { SLOT_BYTES, SLOT_FORGED, SLOT_GENUINE, SLOT_STATE } from '../../workers/slab.ts';
import type { Clock } from '../clock.ts';
import { messageOf } from '../message-of.ts';
import { WakeEvent } from '../net/wake-event.ts';
import { DEFAULT_QUEUE_SLOTS, type Verifier, type VerifierParts } from './verifier.ts';
import { VerifierThreads } from './verifier-threads.ts';

/** 100,000 checks a second, far more announces than a node has; each thread is 10 MB. */
export const MOST_THREADS = 4;
/** Before a pool that ended is followed by another: doubled each time, until one checks a slot. */
export const FIRST_RETRY_MS = 50;
export const MAX_RETRY_MS = 5000;
/** How often it is looked whether the threads go on. */
export const WATCH_MS = 2500;
/** Threads that so many looks in a row find where they were before hang: at least 10 s. */
export const HANG_LOOKS = 4;
/** How long what is under way may take at a close. */
const CLOSE_MS = 1000;
/** Slots given back at a time. */
const DONE_SLOTS = 64;
/** Collecting again when a thread was faster than arming, before other work gets its turn. */
const ARM_TRIES = 4;

export interface PoolVerifierOptions {
  /** Default: as many as there are cores, but one for the lanes, and at most MOST_THREADS. */
  readonly threads?: number;
  /** A power of two. */
  readonly queueSlots?: number;
  /** What the threads run; tests have them die. */
  readonly entry?: URL;
  /** Threads wake main by messages, also where there is an event for it. */
  readonly wakesByMessage?: boolean;
  /** Takes a line when its threads end or do not start, and when they are there again. */
  readonly notice?: (line: string) => void;
}

/** Checks signatures in a pool of threads, which starts with the first slot or by `warm`. */
export class PoolVerifier implements Verifier {
  failed = 0;
  readonly #parts: VerifierParts;
  readonly #clock: Clock;
  readonly #threads: number;
  readonly #entry: URL;
  readonly #wakesByMessage: boolean;
  readonly #notice: (line: string) => void;
  readonly #queue: Ring;
  readonly #one = new Int32Array(1);
  readonly #done = new Int32Array(DONE_SLOTS);
  #pool: VerifierThreads | null = null;
  #wake: WakeEvent | null = null;
  /** Settled when the present pool has started, or has not. */
  #started: Promise<void> | null = null;
  #isReady = false;
  #isTurnPending = false;
  /** Whether it was said that there is no wake event. */
  #hasToldWake = false;
  #onIdle: (() => void) | null = null;
  /** Pools in a row that ended without having checked anything. */
  #failures = 0;
  /** The last one did not even start. */
  #isDown = false;
  #cancelRetry: (() => void) | null = null;
  #stopWatching: (() => void) | null = null;
  #isClosed = false;

  constructor(parts: VerifierParts, clock: Clock, options: PoolVerifierOptions = {}) {
    this.#parts = parts;
    this.#clock = clock;
    this.#threads = options.threads ?? defaultThreads(availableParallelism());
    this.#queue = Ring.allocate(options.queueSlots ?? DEFAULT_QUEUE_SLOTS);
    this.#entry = options.entry ?? taskEntry();
    this.#wakesByMessage = options.wakesByMessage ?? false;
    this.#notice = options.notice ?? (() => undefined);
  }

  get pending(): number {
    return this.#queue.size + (this.#pool?.underWay ?? 0);
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
    if (this.#isClosed || this.#isDown) return false;
    this.#one[0] = slot;
    if (this.#queue.push(this.#one, 0, 1) === 0) return false;
    this.#wantPool();
    this.#give();
    return true;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelRetry?.();
    this.#failQueue();
    const pool = this.#pool;
    if (pool !== null) {
      if (pool.underWay > 0) {
        const cancel = this.#clock.after(CLOSE_MS, () => void pool.end('closed'));
        await Promise.race([pool.ended, this.#idle()]);
        cancel();
      }
      await pool.end('closed');
      await this.#started;
    }
    this.#wake?.close();
  }

  /** Resolves when nothing is under way any more. */
  #idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  #wantPool(): void {
    if (this.#pool !== null || this.#cancelRetry !== null || this.#isClosed) return;
    this.#started = this.#start();
  }

  async #start(): Promise<void> {
    const { slab, table } = this.#parts;
    this.#openWake();
    const pool = new VerifierThreads({
      threads: this.#threads,
      slots: slab.slotCount,
      memory: { slab: slab.buffer, table },
      entry: this.#entry,
      wakeDescriptor: this.#wake?.fd ?? -1,
      onWake: () => this.#woken(),
    });
    this.#pool = pool;
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
    this.#give();
    this.#woken();
  }

  #openWake(): void {
    if (this.#wakesByMessage || this.#wake !== null) return;
    let wake: WakeEvent | null = null;
    try {
      wake = WakeEvent.open();
      wake?.onWake(() => this.#woken());
      this.#wake = wake;
    } catch (error) {
      wake?.close();
      if (this.#hasToldWake) return;
      this.#hasToldWake = true;
      const why = messageOf(error);
      this.#notice(`threads that check signatures tell by messages, which cost more (${why})`);
    }
  }

  /** The last thread of a pool has ended, and so far as it was not meant to others follow. */
  #ended(pool: VerifierThreads): void {
    this.#stopWatching?.();
    const hadStarted = this.#isReady;
    this.#isReady = false;
    this.#collect(pool);
    this.#failUnderWay(pool);
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
    if (pool.look() >= HANG_LOOKS) void pool.end('it hung');
    // Nothing should be left lying; if it ever were, then not for long.
    this.#woken();
  }

  /** Takes what has been checked and asks to be woken for more. */
  #woken(): void {
    const pool = this.#pool;
    if (pool === null) return;
    pool.woken();
    for (let i = 0; i < ARM_TRIES; i++) {
      this.#collect(pool);
      if (pool.arm()) return;
    }
    if (this.#isTurnPending) return;
    // The threads are faster than this: the sockets get their turn first.
    this.#isTurnPending = true;
    this.#clock.soon(() => {
      this.#isTurnPending = false;
      this.#woken();
    });
  }

  #collect(pool: VerifierThreads): void {
    for (;;) {
      const count = pool.take(this.#done);
      if (count === 0) return;
      // First: the threads shall have something to do meanwhile.
      this.#give();
      if (this.#failures > 0) this.#notice('signatures are checked again');
      this.#failures = 0;
      this.#parts.onDone(this.#done, count);
      if (pool.underWay === 0) this.#onIdle?.();
    }
  }

  /** Hands slots to the threads while they have room for them. */
  #give(): void {
    if (this.#isReady && this.#pool?.why === null) this.#pool.give(this.#queue);
  }

  #failQueue(): void {
    for (;;) {
      const count = this.#queue.pop(this.#done, DONE_SLOTS);
      if (count === 0) return;
      this.#giveBackUnchecked(count);
    }
  }

  /** What the threads of a pool that has ended had; some of it may be checked. */
  #failUnderWay(pool: VerifierThreads): void {
    for (;;) {
      const count = pool.reclaim(this.#done);
      if (count === 0) return;
      this.#giveBackUnchecked(count);
    }
  }

  #giveBackUnchecked(count: number): void {
    const { bytes } = this.#parts.slab;
    for (let i = 0; i < count; i++) {
      const state = bytes[this.#done[i] * SLOT_BYTES + SLOT_STATE];
      if ((state & (SLOT_GENUINE | SLOT_FORGED)) === 0) this.failed++;
    }
    this.#parts.onDone(this.#done, count);
  }
}

/** Of a machine with so many cores. */
export function defaultThreads(cores: number): number {
  return Math.min(MOST_THREADS, Math.max(1, cores - 1));
}

/** The pool's task: TypeScript from source, compiled in the package. */
export function taskEntry(): URL {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`./verifier-task.${extension}`, import.meta.url);
}
