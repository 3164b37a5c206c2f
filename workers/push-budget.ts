/**
 * How many pushes the announces of one network (source-prefix.ts) may cause: whoever announces and
 * unannounces by turns has 16 strangers told each time.
 *
 *   row 0   | debt, time | debt, time | ...    2,048 cells of 8 bytes; a prefix has one in each row
 *   row 1   | debt, time | debt, time | ...    its debt is the smaller of the two
 *
 * A debt, in thousandths of a push, shrinks as time passes. As in a count-min sketch (see
 * count-sketch.ts) a prefix's debt is never taken for less than it is, so nobody is ever allowed
 * more than the burst and the rate; somebody who shares both cells with others may be allowed less.
 * Nothing is ever forgotten or replaced: 32 KiB, whoever asks.
 *
 * Each lane keeps a budget of its own for the names it owns, so of several each allows its part:
 * all together they allow a prefix what one lane alone would, but for the rounding up.
 */
import { HalfSipHash } from '../codecs/hash/halfsiphash.ts';
import type { Rng } from './rng.ts';
import { SLOT_ADDRESS, SLOT_BYTES, type Slab } from './slab.ts';
import { prefixHigh, prefixLow } from './source-prefix.ts';

/** Four announces a second, each told to 16: a network's peers do not change faster for long. */
export const PUSHES_PER_SECOND = 64;
/** A host that comes up announces many names at once: 32 of them with 16 subscribers each. */
export const PUSH_BURST = 512;
/** However many lanes there are, a new announce can be told to as many as there are told of one. */
export const LEAST_PUSH_BURST = 16;

const CELL_BITS = 11;
const CELLS = 1 << CELL_BITS;
const CELL_WORDS = 2;
const DEBT = 0;
const TIME = 1;
const MILLI = 1000;
/** A time that is behind by less is a clock that disagrees; by more, it is one that has wrapped. */
const CLOCK_SLACK_MS = 60_000;

export class PushBudget {
  /** What this lane allows a prefix. */
  readonly perSecond: number;
  readonly burst: number;
  /** The same in thousandths: nobody's debt is more. */
  readonly #mostDebt: number;
  /** After so long nothing is left of any debt. */
  readonly #clearMs: number;
  readonly #words = new Int32Array(2 * CELLS * CELL_WORDS);
  readonly #hash: HalfSipHash;
  readonly #input = new Int32Array(2);
  /** The cells of the source last asked about. */
  #first = 0;
  #second = CELLS * CELL_WORDS;

  /** `rng` gives the key that spreads prefixes over the cells; `lanes`: how many share the rate. */
  constructor(rng: Rng, lanes = 1) {
    this.perSecond = Math.ceil(PUSHES_PER_SECOND / lanes);
    this.burst = Math.max(LEAST_PUSH_BURST, Math.ceil(PUSH_BURST / lanes));
    this.#mostDebt = this.burst * MILLI;
    this.#clearMs = Math.ceil(this.#mostDebt / this.perSecond);
    this.#hash = new HalfSipHash(rng.next(), rng.next());
  }

  /** How many pushes the source of the datagram in `slot` may cause at `nowMs`: 0 to `burst`. */
  allowance(slab: Slab, slot: number, nowMs: number): number {
    const at = (slot * SLOT_BYTES + SLOT_ADDRESS) >> 2;
    this.#input[0] = prefixHigh(slab.i32, at);
    this.#input[1] = prefixLow(slab.i32, at);
    const hash = this.#hash.words(this.#input, 2);
    this.#first = (hash & (CELLS - 1)) * CELL_WORDS;
    this.#second = (CELLS + (hash >>> (32 - CELL_BITS))) * CELL_WORDS;
    const now = nowMs | 0;
    const debt = Math.min(this.#debt(this.#first, now), this.#debt(this.#second, now));
    return Math.floor((this.#mostDebt - debt) / MILLI);
  }

  /** The source last asked about has caused so many, at most what it was allowed. */
  spend(pushes: number): void {
    const words = this.#words;
    const cost = pushes * MILLI;
    const most = this.#mostDebt;
    words[this.#first + DEBT] = Math.min(most, words[this.#first + DEBT] + cost);
    words[this.#second + DEBT] = Math.min(most, words[this.#second + DEBT] + cost);
  }

  /** The cell's debt, brought to the time `now`. */
  #debt(cell: number, now: number): number {
    const words = this.#words;
    if (words[cell + DEBT] === 0) {
      words[cell + TIME] = now;
      return 0;
    }
    const elapsed = (now - words[cell + TIME]) | 0;
    if (elapsed === 0 || (elapsed < 0 && elapsed > -CLOCK_SLACK_MS)) return words[cell + DEBT];
    words[cell + TIME] = now;
    const ms = elapsed < 0 ? this.#clearMs : Math.min(elapsed, this.#clearMs);
    words[cell + DEBT] = Math.max(0, words[cell + DEBT] - ms * this.perSecond);
    return words[cell + DEBT];
  }
}
