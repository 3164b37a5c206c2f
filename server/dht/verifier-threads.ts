/**
 * One life of a verifier's threads: a Piscina pool from its start until the first of them ends, or
 * does not come to work. Then all of them end, and whoever wants some starts others.
 *
 *   start --all serve--> give, take, ... --end, or one of them ended--> ended
 *
 * Each thread is started by one task of the pool, serves as long as it lives (verifier-task.ts),
 * and has a ring of slots in each direction. The pool replaces no thread by itself: one whose
 * successor does not start either would keep what waits for it for ever, and what goes wrong in its
 * replacing is thrown at nobody, which ends the process.
 */

import type { Worker } from 'node:worker_threads';
import type { FixedQueue, Piscina } from 'piscina';
import type { CheckedMemory } from '../../workers/dht/slot-checker.ts';
import { Ring } from '../../workers/ring.ts';
import { ThreadControl } from '../../workers/thread-control.ts';
import { messageOf } from '../message-of.ts';
import { deferred } from './deferred.ts';
import { VERIFY_BATCH, type VerifierAssignment } from './verifier-task.ts';

/** A batch being checked and one waiting at the thread, which so never waits for main. */
export const SLOTS_PER_THREAD = 2 * VERIFY_BATCH;

export interface VerifierThreadsOptions {
  readonly threads: number;
  /** In the slab. */
  readonly slots: number;
  readonly memory: CheckedMemory;
  /** The module whose default export is the task. */
  readonly entry: URL;
  /** The main thread's wake event; -1: threads wake main by messages. */
  readonly wakeDescriptor: number;
  /** Called when they ask main to look, where there is no wake event. */
  readonly onWake: () => void;
}

/** One thread as main sees it. */
interface Seat {
  readonly requests: Ring;
  readonly results: Ring;
  readonly control: ThreadControl;
  /** Slots given and not yet taken back. */
  underWay: number;
  /** Its beats at the last look, and the looks since that have found it at the same. */
  beats: number;
  looks: number;
}

export class VerifierThreads {
  readonly #options: VerifierThreadsOptions;
  readonly #seats: readonly Seat[];
  readonly #serving = deferred();
  readonly #ended = deferred();
  readonly #exits: Promise<void>[] = [];
  readonly #batch = new Int32Array(VERIFY_BATCH);
  /** By slot: 1 while a thread has it. */
  readonly #isUnderWay: Uint8Array;
  #pool: Piscina | null = null;
  /** Tasks that the pool has no thread for yet. */
  #waiting: FixedQueue | null = null;
  #why: string | null = null;

  constructor(options: VerifierThreadsOptions) {
    this.#options = options;
    this.#isUnderWay = new Uint8Array(options.slots);
    this.#seats = Array.from({ length: options.threads }, () => ({
      requests: Ring.allocate(SLOTS_PER_THREAD),
      results: Ring.allocate(SLOTS_PER_THREAD),
      control: ThreadControl.allocate(),
      underWay: 0,
      beats: 0,
      looks: 0,
    }));
  }

  /** Why they end, or have ended; null: they do not. */
  get why(): string | null {
    return this.#why;
  }

  /** Resolves when the last of them has ended: nobody writes to the memory any more. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Slots given and not yet taken back. */
  get underWay(): number {
    let slots = 0;
    for (const seat of this.#seats) slots += seat.underWay;
    return slots;
  }

  get threads(): readonly Worker[] {
    return this.#pool?.threads ?? [];
  }

  /** Starts them. Rejects, and they end, when one does not come to serve. */
  async start(): Promise<void> {
    try {
      await this.#load();
    } catch (error) {
      await this.end(messageOf(error));
    }
    if (this.#why !== null) throw new Error(this.#why);
  }

  /** To be called when they wake main: they may have started. */
  woken(): void {
    if (this.#seats.every(({ control }) => control.beats !== 0)) this.#serving.resolve();
  }

  /** Moves slots from `queue` to the threads, as far as they take them. */
  give(queue: Ring): void {
    while (queue.size > 0) {
      let seat = this.#seats[0];
      for (const other of this.#seats) if (other.underWay < seat.underWay) seat = other;
      const share = Math.ceil(queue.size / this.#seats.length);
      const room = Math.min(VERIFY_BATCH, share, SLOTS_PER_THREAD - seat.underWay);
      if (room === 0) return;
      const count = queue.pop(this.#batch, room);
      for (let i = 0; i < count; i++) this.#isUnderWay[this.#batch[i]] = 1;
      seat.underWay += count;
      seat.requests.push(this.#batch, 0, count);
      seat.requests.wake();
    }
  }

  /** Moves slots that have been checked to `out`, at most its length; returns how many. */
  take(out: Int32Array): number {
    let total = 0;
    for (const seat of this.#seats) {
      const room = Math.min(VERIFY_BATCH, out.length - total);
      const count = seat.results.pop(this.#batch, room);
      for (let i = 0; i < count; i++) {
        this.#isUnderWay[this.#batch[i]] = 0;
        out[total + i] = this.#batch[i];
      }
      seat.underWay -= count;
      total += count;
    }
    return total;
  }

  /** Once they have ended: moves what they had, and `take` does not give, to `out`, as `take`. */
  reclaim(out: Int32Array): number {
    let total = 0;
    let slot = this.#isUnderWay.indexOf(1);
    while (slot >= 0 && total < out.length) {
      this.#isUnderWay[slot] = 0;
      out[total++] = slot;
      slot = this.#isUnderWay.indexOf(1, slot + 1);
    }
    if (slot < 0) for (const seat of this.#seats) seat.underWay = 0;
    return total;
  }

  /** Asks to be woken by the next result. False: there are some already. */
  arm(): boolean {
    for (const { results } of this.#seats) if (!results.arm()) return false;
    return true;
  }

  /** How often in a row a thread that has something to do was found where it was before. */
  look(): number {
    let most = 0;
    for (const seat of this.#seats) {
      const { beats } = seat.control;
      const isIdle = beats !== 0 && seat.underWay === 0;
      seat.looks = isIdle || beats !== seat.beats ? 0 : seat.looks + 1;
      seat.beats = beats;
      most = Math.max(most, seat.looks);
    }
    return most;
  }

  /** Ends them, whatever they do. Resolves when they have ended. */
  end(why: string): Promise<void> {
    if (this.#why === null) {
      this.#why = why;
      void this.#endAll();
    }
    return this.ended;
  }

  async #load(): Promise<void> {
    const { threads, entry, onWake } = this.#options;
    const { FixedQueue: Queue, Piscina: Pool } = await import('piscina');
    if (this.#why !== null) return;
    this.#waiting = new Queue();
    const pool = new Pool({
      taskQueue: this.#waiting,
      filename: new URL('./verify-boot.cjs', import.meta.url).href,
      // So that it replaces none: they start with their tasks, all of them below.
      minThreads: 0,
      maxThreads: threads,
      idleTimeout: Number.POSITIVE_INFINITY,
      // Between tasks a thread would sleep where its own code does not get a turn.
      atomics: 'disabled',
      // The loader of the main thread, if any, does not work in threads.
      execArgv: [],
      workerData: { entry: entry.href },
    });
    this.#pool = pool;
    // The threads' own events tell the same.
    pool.on('error', () => undefined);
    pool.on('message', onWake);
    for (const seat of this.#seats) void this.#serve(pool, seat);
    for (const thread of pool.threads) this.#watch(thread);
    await Promise.race([this.#serving.promise, this.ended]);
    // Until here somebody waits for them; from here on they keep no process alive.
    for (const thread of pool.threads) thread.unref();
  }

  /** Has a thread serve a seat from now on. Never rejects: they end when it does not come to it. */
  async #serve(pool: Piscina, seat: Seat): Promise<void> {
    const { memory, wakeDescriptor } = this.#options;
    const assignment: VerifierAssignment = {
      memory,
      requests: seat.requests.buffer,
      results: seat.results.buffer,
      control: seat.control.buffer,
      wakeDescriptor,
    };
    try {
      await pool.run(assignment);
    } catch (error) {
      await this.end(messageOf(error));
    }
  }

  #watch(thread: Worker): void {
    thread.ref();
    thread.on('error', (error) => void this.end(messageOf(error)));
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
    // Somebody waits again.
    for (const thread of this.threads) thread.ref();
    await this.#pool?.destroy();
    await Promise.all(this.#exits);
    this.#ended.resolve();
  }
}
