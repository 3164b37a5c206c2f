/**
 * The rate limiter's memory: 4 MiB, the buckets of 114,688 prefixes, set-associative.
 *
 *   set, 256 bytes (16,384 of them)
 *   +-------------------------+--------------+---------+---------+--   --+---------+-----------+
 *   | keys of rows 0..6       | not used     | row 0   | row 1   |  ...  | row 6   | newcomers |
 *   | high, low: 8 bytes each | 8 bytes      | 24 B    | 24 B    |       | 24 B    | 24 B      |
 *   +-------------------------+--------------+---------+---------+--   --+---------+-----------+
 *   \____ one cache line, mostly all a search needs ___/
 *
 *   key: see workers/source-prefix.ts; low = 0: the row was never used
 *   row, and newcomers, 6 words:
 *     0 time       ms, wraps: the buckets are as of then
 *     1 credit     thousandths of a byte of amplification left
 *     2 reserved   thousandths of a byte set aside for answers under way
 *     3 replies    thousandths of a reply left
 *     4 slips      thousandths of a truncated answer left
 *     5 meta       generation, bits 0..13 (counts the owners) | TOGGLE, bit 14
 *
 * Always credit + reserved <= burst, so an answer set aside long ago never makes room for more than
 * the burst.
 *
 * Who is not in the table takes the row of its set that is nearest to untouched. So that nobody
 * gains by being forgotten, a set remembers in `newcomers` the least that any prefix it forgot had
 * left (it refills like any row), and a newcomer starts from there. A row that is limited, or has
 * answers under way, is never taken. Strangers cannot aim at a set: its number is a keyed hash.
 */
import { HalfSipHash } from '../../codecs/hash/halfsiphash.ts';
import { prefixHigh, prefixLow } from '../../workers/source-prefix.ts';

export const SETS = 16_384;
export const ROWS_PER_SET = 7;
const SET_WORDS = 64;
/** log2 of the places of a set, its newcomers' included: a row's number is set << 3 | place. */
const PLACE_BITS = 3;
const PLACE_MASK = (1 << PLACE_BITS) - 1;
const NEWCOMERS = 7;
const KEY_WORDS = 2;
const STATES_AT = 16;
const STATE_WORDS = 6;

export const TIME = 0;
export const CREDIT = 1;
export const RESERVED = 2;
export const REPLIES = 3;
export const SLIPS = 4;
export const META = 5;

export const GENERATION_MASK = (1 << 14) - 1;
/** Flips with every datagram that finds no reply left. */
export const TOGGLE = 1 << 14;

/** Replies and slips have bursts of one second's worth. */
const REPLY_FILL_MS = 1000;
/**
 * After so long without a datagram a row is as new: what is still set aside then was lost with a
 * slot, or comes back too late to matter.
 */
const FORGET_MS = 10_000;
/** A time that is behind by less is a clock that disagrees; by more, it is one that has wrapped. */
const CLOCK_SLACK_MS = 60_000;

const MILLI = 1000;
const NOBODY = -1;

export interface Buckets {
  readonly repliesPerSecond: number;
  readonly slipsPerSecond: number;
  readonly burstBytes: number;
  readonly bytesPerSecond: number;
  /** A row with less credit than this is limited. */
  readonly limitedBelowBytes: number;
}

export class LimiterTable {
  readonly words = new Int32Array(SETS * SET_WORDS);
  readonly #hash: HalfSipHash;
  readonly #key = new Int32Array(KEY_WORDS);
  // Thousandths per millisecond are units per second, so the rates need no conversion.
  readonly #replyRate: number;
  readonly #slipRate: number;
  readonly #byteRate: number;
  readonly #burstReplies: number;
  readonly #burstSlips: number;
  readonly #burst: number;
  readonly #creditFillMs: number;
  readonly #limitedBelow: number;
  /** Milliseconds a thousandth of a reply takes: only to compare rows. */
  readonly #msPerReply: number;
  readonly #msPerByte: number;

  constructor(buckets: Buckets, hashKey: readonly [number, number]) {
    this.#hash = new HalfSipHash(hashKey[0], hashKey[1]);
    this.#replyRate = buckets.repliesPerSecond;
    this.#slipRate = buckets.slipsPerSecond;
    this.#byteRate = buckets.bytesPerSecond;
    this.#burstReplies = buckets.repliesPerSecond * MILLI;
    this.#burstSlips = buckets.slipsPerSecond * MILLI;
    this.#burst = buckets.burstBytes * MILLI;
    this.#creditFillMs = Math.ceil(this.#burst / this.#byteRate);
    this.#limitedBelow = buckets.limitedBelowBytes * MILLI;
    this.#msPerReply = 1 / this.#replyRate;
    this.#msPerByte = 1 / this.#byteRate;
    for (let set = 0; set < SETS; set++) {
      for (let place = 0; place <= NEWCOMERS; place++) {
        this.#fill(this.stateOf((set << PLACE_BITS) | place));
      }
    }
  }

  /** Index in `words` of a row's buckets. */
  stateOf(row: number): number {
    return (row >> PLACE_BITS) * SET_WORDS + STATES_AT + (row & PLACE_MASK) * STATE_WORDS;
  }

  #keyOf(row: number): number {
    return (row >> PLACE_BITS) * SET_WORDS + (row & PLACE_MASK) * KEY_WORDS;
  }

  /**
   * The row of the prefix of the address in the four words at `addressAt`, made if need be, its
   * buckets as of `nowMs`; -1 when all rows of its set are limited or in use.
   */
  claim(address: Int32Array, addressAt: number, nowMs: number): number {
    const { words } = this;
    const now = nowMs | 0;
    const high = prefixHigh(address, addressAt);
    const low = prefixLow(address, addressAt);
    this.#key[0] = high;
    this.#key[1] = low;
    const set = this.#hash.words(this.#key, KEY_WORDS) & (SETS - 1);
    const first = set * SET_WORDS;
    for (let place = 0; place < ROWS_PER_SET; place++) {
      const key = first + place * KEY_WORDS;
      if (words[key] === high && words[key + 1] === low) {
        this.#refill(first + STATES_AT + place * STATE_WORDS, now);
        return (set << PLACE_BITS) | place;
      }
    }
    return this.#replace(set, high, low, now);
  }

  /** Whether a row still belongs to the address's prefix, without a break since `generation`. */
  isOf(row: number, generation: number, address: Int32Array, addressAt: number): boolean {
    const { words } = this;
    const key = this.#keyOf(row);
    return (
      words[key] === prefixHigh(address, addressAt) &&
      words[key + 1] === prefixLow(address, addressAt) &&
      (words[this.stateOf(row) + META] & GENERATION_MASK) === generation
    );
  }

  /** Ends a reservation; `unused` of it becomes credit again. Thousandths of a byte. */
  returnBytes(row: number, reserved: number, unused: number): void {
    const { words } = this;
    const state = this.stateOf(row);
    const left = Math.max(0, words[state + RESERVED] - reserved);
    words[state + RESERVED] = left;
    words[state + CREDIT] = Math.min(this.#burst - left, words[state + CREDIT] + unused);
  }

  returnReply(row: number, thousandths: number): void {
    const at = this.stateOf(row) + REPLIES;
    this.words[at] = Math.min(this.#burstReplies, this.words[at] + thousandths);
  }

  returnSlip(row: number, thousandths: number): void {
    const at = this.stateOf(row) + SLIPS;
    this.words[at] = Math.min(this.#burstSlips, this.words[at] + thousandths);
  }

  /** Gives the best row of a set to a new prefix. */
  #replace(set: number, high: number, low: number, now: number): number {
    const { words } = this;
    const first = set * SET_WORDS;
    const place = this.#nearestToUntouched(first, now);
    if (place === NOBODY) return NOBODY;
    const state = first + STATES_AT + place * STATE_WORDS;
    const newcomers = first + STATES_AT + NEWCOMERS * STATE_WORDS;
    this.#refill(newcomers, now);
    for (let bucket = CREDIT; bucket <= SLIPS; bucket++) {
      if (bucket === RESERVED) continue;
      const least = Math.min(words[newcomers + bucket], words[state + bucket]);
      words[newcomers + bucket] = least;
      words[state + bucket] = least;
    }
    words[state + TIME] = now;
    words[state + RESERVED] = 0;
    words[state + META] = (words[state + META] + 1) & GENERATION_MASK;
    const key = first + place * KEY_WORDS;
    words[key] = high;
    words[key + 1] = low;
    return (set << PLACE_BITS) | place;
  }

  /** The place whose buckets will be full soonest, of those that may be taken, or -1. */
  #nearestToUntouched(first: number, now: number): number {
    const { words } = this;
    let best = NOBODY;
    let bestMs = Number.POSITIVE_INFINITY;
    for (let place = 0; place < ROWS_PER_SET; place++) {
      const state = first + STATES_AT + place * STATE_WORDS;
      this.#refill(state, now);
      const credit = words[state + CREDIT];
      const replies = words[state + REPLIES];
      if (words[state + RESERVED] !== 0) continue;
      if (credit < this.#limitedBelow || replies < MILLI) continue;
      const byteMs = (this.#burst - credit) * this.#msPerByte;
      const replyMs = (this.#burstReplies - replies) * this.#msPerReply;
      const ms = Math.max(byteMs, replyMs);
      if (ms >= bestMs) continue;
      best = place;
      bestMs = ms;
      if (ms === 0) break;
    }
    return best;
  }

  /** Brings buckets to the time `now`. */
  #refill(state: number, now: number): void {
    const { words } = this;
    const elapsed = (now - words[state + TIME]) | 0;
    if (elapsed === 0) return;
    if (elapsed < 0 || elapsed >= FORGET_MS) {
      this.#refillLong(state, now, elapsed);
      return;
    }
    words[state + TIME] = now;
    const creditMs = Math.min(elapsed, this.#creditFillMs);
    const room = this.#burst - words[state + RESERVED];
    words[state + CREDIT] = Math.min(room, words[state + CREDIT] + creditMs * this.#byteRate);
    const ms = Math.min(elapsed, REPLY_FILL_MS);
    words[state + REPLIES] = Math.min(
      this.#burstReplies,
      words[state + REPLIES] + ms * this.#replyRate,
    );
    words[state + SLIPS] = Math.min(this.#burstSlips, words[state + SLIPS] + ms * this.#slipRate);
  }

  #refillLong(state: number, now: number, elapsed: number): void {
    if (elapsed < 0 && elapsed > -CLOCK_SLACK_MS) return;
    this.words[state + TIME] = now;
    this.#fill(state);
  }

  /** As new: full buckets, nothing under way, and whoever still has something set aside is late. */
  #fill(state: number): void {
    const { words } = this;
    words[state + CREDIT] = this.#burst;
    words[state + RESERVED] = 0;
    words[state + REPLIES] = this.#burstReplies;
    words[state + SLIPS] = this.#burstSlips;
    words[state + META] = (words[state + META] + 1) & GENERATION_MASK;
  }
}
