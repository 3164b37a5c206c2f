/**
 * The lanes' lifecycle: starts their threads, watches them, and replaces one that died.
 *
 *   thread ends (throws, exits, out of memory) --\
 *   no beat for HANG_TICKS ticks --> terminate --+--> onDeath: main takes back what it held
 *                                                 --> the spare serves the lane, a new spare starts
 *
 * All a lane has lies in shared memory, its rings too, so the successor goes on where it stopped:
 * datagrams that were waiting are answered, and no record is lost.
 */
import { ThreadControl } from '../../workers/thread-control.ts';
import type { LaneAssignment } from './lane-thread.ts';
import { LaneWorker } from './lane-worker.ts';

/** How often the beats are looked at. */
export const WATCH_MS = 250;
/** Ticks without a beat before a lane counts as hung: it beats every 250 ms even when idle. */
const HANG_TICKS = 4;
/** The same for a lane that has just been assigned: it may have a store of millions to repair. */
const START_TICKS = 40;
/** Before a thread that did not start, or not serve, is followed by another: doubled each time. */
const FIRST_RETRY_MS = 50;
const MAX_RETRY_MS = 5000;

export interface LanePoolOptions {
  /** Which module the threads run. */
  readonly entry: URL;
  readonly lanes: number;
  /** Ends the sleep of a lane. */
  readonly wake: (lane: number) => void;
  /** What lane `lane` is assigned, now; asked again for each successor. */
  readonly assignment: (lane: number, control: SharedArrayBuffer) => LaneAssignment;
  /** A lane's thread has ended: nobody else touches what it held until this returns. */
  readonly onDeath: (lane: number, why: string) => void;
  /** A thread without a wake event asks main to collect. */
  readonly onWake: () => void;
  /** Calls once after a while; returns how to prevent it. */
  readonly after: (delayMs: number, fn: () => void) => () => void;
  readonly notice: (line: string) => void;
}

interface Seat {
  worker: LaneWorker | null;
  control: ThreadControl;
  beats: number;
  stillTicks: number;
  hasBeaten: boolean;
  isHung: boolean;
}

export class LanePool {
  readonly #options: LanePoolOptions;
  readonly #seats: Seat[] = [];
  /** Threads started for the lanes and not assigned yet. */
  #waiting: LaneWorker[];
  /** Null while there is none: between two tries to start one. */
  #spare: LaneWorker | null;
  /** Threads that did not come to serve, in a row. */
  #failures = 0;
  #isClosing = false;

  private constructor(options: LanePoolOptions, workers: LaneWorker[], spare: LaneWorker) {
    this.#options = options;
    this.#waiting = workers;
    this.#spare = spare;
  }

  /** Starts the threads, one more than there are lanes; resolves when all can be assigned one. */
  static async start(options: LanePoolOptions): Promise<LanePool> {
    const workers = Array.from({ length: options.lanes }, () => new LaneWorker(options.entry));
    const spare = new LaneWorker(options.entry);
    try {
      await Promise.all([...workers, spare].map((worker) => worker.ready));
    } catch (error) {
      await Promise.all([...workers, spare].map((worker) => worker.terminate()));
      throw error;
    }
    const pool = new LanePool(options, workers, spare);
    pool.#watchSpare(spare);
    return pool;
  }

  /** Assigns each lane to its thread: from here on they serve. */
  serve(): void {
    for (const worker of this.#waiting) this.#seats.push(newSeat(worker));
    this.#waiting = [];
    for (let lane = 0; lane < this.#seats.length; lane++) this.#assign(lane);
  }

  /** Looks at the beats; call every WATCH_MS. */
  watch(): void {
    for (let lane = 0; lane < this.#seats.length; lane++) {
      const seat = this.#seats[lane];
      if (seat.worker === null || seat.isHung) continue;
      const beats = seat.control.beats;
      seat.stillTicks = beats === seat.beats ? seat.stillTicks + 1 : 0;
      seat.hasBeaten ||= beats !== seat.beats;
      seat.beats = beats;
      if (seat.stillTicks < (seat.hasBeaten ? HANG_TICKS : START_TICKS)) continue;
      seat.isHung = true;
      void seat.worker.terminate();
    }
  }

  /** Lanes that have a thread which has begun to serve, and whether a spare waits for them. */
  health(): { serving: number; hasSpare: boolean } {
    const serving = this.#seats.filter((seat) => seat.worker !== null && seat.control.beats !== 0);
    return { serving: serving.length, hasSpare: this.#spare?.isReady === true };
  }

  /** Ends the thread of a lane as if it had died; for tests of what follows. */
  kill(lane: number): void {
    void this.#seats[lane].worker?.terminate();
  }

  /** Ends all threads when they have answered what they were given, or after `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    const workers = this.#seats.flatMap((seat) => seat.worker ?? []);
    for (const seat of this.#seats) seat.control.stop();
    for (let lane = 0; lane < this.#seats.length; lane++) this.#options.wake(lane);
    const cancel = this.#options.after(graceMs, () => {
      for (const worker of workers) void worker.terminate();
    });
    await Promise.all([...workers.map((worker) => worker.ended), this.#spare?.terminate()]);
    await Promise.all(this.#waiting.map((worker) => worker.terminate()));
    cancel();
  }

  #assign(lane: number): void {
    const seat = this.#seats[lane];
    const { worker } = seat;
    if (worker === null) return;
    worker.onWake = this.#options.onWake;
    void worker.ended.then((why) => this.#died(lane, seat, seat.isHung ? 'it hung' : why));
    worker.assign(this.#options.assignment(lane, seat.control.buffer));
  }

  #died(lane: number, seat: Seat, why: string): void {
    if (this.#isClosing) return;
    seat.worker = null;
    // One that never served would be followed by others that do not either: not at full speed.
    this.#failures = seat.control.beats === 0 ? this.#failures + 1 : 0;
    this.#options.onDeath(lane, why);
    if (this.#failures === 0) this.#seatSpare();
    else this.#later(() => this.#seatSpare());
  }

  /** Gives the spare, once it is ready, to a lane that has no thread, and starts another. */
  #seatSpare(): void {
    const lane = this.#seats.findIndex((seat) => seat.worker === null);
    if (lane < 0 || this.#isClosing || this.#spare?.isReady !== true) return;
    this.#seats[lane] = newSeat(this.#spare);
    this.#spare = null;
    this.#assign(lane);
    this.#startSpare();
  }

  #startSpare(): void {
    if (this.#isClosing || this.#spare !== null) return;
    try {
      this.#spare = new LaneWorker(this.#options.entry);
    } catch (error) {
      this.#startFailed(String(error));
      return;
    }
    this.#watchSpare(this.#spare);
  }

  #watchSpare(spare: LaneWorker): void {
    spare.ready.then(
      () => this.#seatSpare(),
      () => undefined,
    );
    void spare.ended.then((why) => {
      // While it is the spare: before it was ready, or while it waited.
      if (spare === this.#spare) this.#startFailed(why);
    });
  }

  /** Tries again until it works: out of memory or of descriptors passes. */
  #startFailed(why: string): void {
    this.#spare = null;
    if (this.#isClosing) return;
    this.#failures++;
    this.#options.notice(`a worker thread does not start (${why}); trying again`);
    this.#later(() => this.#startSpare());
  }

  #later(fn: () => void): void {
    const delayMs = Math.min(FIRST_RETRY_MS * 2 ** this.#failures, MAX_RETRY_MS);
    this.#options.after(delayMs, fn);
  }
}

function newSeat(worker: LaneWorker): Seat {
  return {
    worker,
    control: ThreadControl.allocate(),
    beats: 0,
    stillTicks: 0,
    hasBeaten: false,
    isHung: false,
  };
}
