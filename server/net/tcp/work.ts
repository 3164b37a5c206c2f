/**
 * What TCP may ask of the lanes at once. A message is not a measure of work: the answer of a
 * crowded name takes as long as that of a hundred others. So each message in flight is charged the
 * length its answer will probably have, and what all of them are charged is bounded: whoever asks
 * over UDP waits for no more than that. Over time, the bytes of long answers are bounded too.
 *
 *   in a slot: charge = max(weight of its connection, guard)      sum <= WORK_BYTES, and credit
 *   answered:  weight = what the connection's answers last were
 *              guard  = the longest that was charged less than half of it, forgotten in seconds
 *              credit - length, which comes back with time
 */
import { MAX_MESSAGE_BYTES } from '../../../workers/overflow.ts';
import type { Clock } from '../../clock.ts';

/** Charges of all messages in flight: 1 ms of a lane's work at 4 ns for a byte of an answer. */
export const WORK_BYTES = 256 * 1024;
/** The weight of a connection that has no answer yet. */
export const FIRST_WEIGHT_BYTES = 16 * 1024;
/** The least weight: a message costs something however short its answer is. */
export const LEAST_WEIGHT_BYTES = 256;
/** Of an answer, what costs nothing beyond its message, which is counted elsewhere. */
export const FREE_ANSWER_BYTES = 512;
/** Bytes of long answers per ms, of all connections: 32 MB/s, an eighth of a lane's time. */
export const PACE_BYTES_PER_MS = 32 * 1024;
/** What may be answered beyond the pace after a pause: one turn may do it all. */
export const BURST_BYTES = 256 * 1024;

/** What a connection that waits may ask for before the next one has its turn. */
const TURN_BYTES = 32 * 1024;
/** A shorter answer takes a quarter of the difference off a weight: one does not hide the rest. */
const WEIGHT_SHIFT = 2;
/** The guard loses an eighth of itself each tick: it is forgotten after about five seconds. */
const GUARD_SHIFT = 3;

export class Work {
  readonly #clock: Clock;
  readonly #firstSlot: number;
  /** By connection: the charge of its next message. */
  readonly #weight: Int32Array;
  /** By slot: what its message is charged; 0 when there is none. */
  readonly #charge: Int32Array;
  #chargedBytes = 0;
  #guard = 0;
  /** Below 0: the answers are ahead of the pace. */
  #credit = BURST_BYTES;
  #creditAt: number;

  constructor(connections: number, firstSlot: number, slotCount: number, clock: Clock) {
    this.#clock = clock;
    this.#firstSlot = firstSlot;
    this.#weight = new Int32Array(connections);
    this.#charge = new Int32Array(slotCount);
    this.#creditAt = clock.now();
  }

  /** What all messages in flight are charged; at most WORK_BYTES. */
  get chargedBytes(): number {
    return this.#chargedBytes;
  }

  /** Connection `n` is new. */
  begin(n: number): void {
    this.#weight[n] = FIRST_WEIGHT_BYTES;
  }

  /** What the next message of connection `n` is charged: at most MAX_MESSAGE_BYTES. */
  chargeOf(n: number): number {
    return Math.max(this.#weight[n], this.#guard);
  }

  /** How many messages `n` may place in its turn: at least 1, at most `most`. */
  turnOf(n: number, most: number): number {
    return Math.max(1, Math.min(most, Math.floor(TURN_BYTES / this.#weight[n])));
  }

  /**
   * Whether a message of `n` may be placed; always, when none is in flight. With little credit left
   * long answers go one by one, so that what the pace allows does not come in lumps.
   */
  hasRoom(n: number): boolean {
    const bytes = this.#chargedBytes + this.chargeOf(n);
    if (bytes <= MAX_MESSAGE_BYTES || bytes > WORK_BYTES) return bytes <= MAX_MESSAGE_BYTES;
    if (bytes > this.#credit) this.waitMs();
    return bytes <= this.#credit;
  }

  /** A message of `n` is in `slot` now. */
  place(slot: number, n: number): void {
    const charge = this.chargeOf(n);
    this.#charge[slot - this.#firstSlot] = charge;
    this.#chargedBytes += charge;
  }

  /** The message of `n` in `slot` has an answer. */
  answered(slot: number, n: number, length: number): void {
    const weight = this.#weight[n];
    const next = length >= weight ? length : weight - ((weight - length) >> WEIGHT_SHIFT);
    this.#weight[n] = Math.max(next, LEAST_WEIGHT_BYTES);
    const surprise = 2 * this.#charge[slot - this.#firstSlot];
    if (length > surprise) this.#guard = Math.max(this.#guard, length);
    if (length > FREE_ANSWER_BYTES) this.#credit -= length - FREE_ANSWER_BYTES;
  }

  /** The slots are free again, with whatever became of their messages. */
  release(slots: Int32Array, count: number): void {
    for (let i = 0; i < count; i++) {
      const at = slots[i] - this.#firstSlot;
      this.#chargedBytes -= this.#charge[at];
      this.#charge[at] = 0;
    }
  }

  /** Whether nothing should be placed until the time that `waitMs` tells. */
  get isAhead(): boolean {
    return this.#credit < 0;
  }

  /** How long nothing should be placed: until the answers are no longer ahead of the pace. */
  waitMs(): number {
    const now = this.#clock.now();
    const earned = (now - this.#creditAt) * PACE_BYTES_PER_MS;
    this.#credit = Math.min(BURST_BYTES, this.#credit + earned);
    this.#creditAt = now;
    return this.#credit < 0 ? Math.ceil(-this.#credit / PACE_BYTES_PER_MS) : 0;
  }

  /** To be called every TCP_TICK_MS: surprises are forgotten. */
  tick(): void {
    this.#guard -= Math.ceil(this.#guard / 2 ** GUARD_SHIFT);
  }
}
