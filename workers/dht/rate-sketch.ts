/**
 * How often very many keys may do something, in fixed memory: each a burst, and so many a second
 * for ever. What is limited here are things that strangers cause at others' cost: relays, delayed
 * pings, signatures to check.
 *
 *   row 0   | debt, time | debt, time | ...    `cells` cells of 8 bytes; a key has one in each row
 *   row 1   | debt, time | debt, time | ...    and its debt is the smaller of the two
 *
 * A debt, in thousandths, shrinks as time passes. As in a count-min sketch (count-sketch.ts) it is
 * never taken for less than it is: nobody gets more than the burst and the rate, somebody who
 * shares both cells with others may get less. Nothing is forgotten or replaced, whoever asks.
 */
import { HalfSipHash } from '../../codecs/hash/halfsiphash.ts';
import type { Rng } from '../rng.ts';

/** Cells of a row unless told otherwise: 32 KiB in all. */
export const RATE_CELLS = 2048;

export interface Rate {
  readonly perSecond: number;
  /** At once, after a quiet time; at most 1,000,000. */
  readonly burst: number;
}

const CELL_WORDS = 2;
const DEBT = 0;
const TIME = 1;
const MILLI = 1000;
/** A time that is behind by less is a clock that disagrees; by more, it is one that has wrapped. */
const CLOCK_SLACK_MS = 60_000;

export class RateSketch {
  readonly #perSecond: number;
  readonly #mostDebt: number;
  /** After so long nothing is left of any debt. */
  readonly #clearMs: number;
  readonly #words: Int32Array;
  readonly #cells: number;
  readonly #hash: HalfSipHash;
  readonly #input = new Int32Array(2);
  /** The cells of the key looked up last. */
  #first = 0;
  #second = 0;

  /** `rng` gives the key that spreads keys over the cells; `cells`: a power of two. */
  constructor(rng: Rng, rate: Rate, cells = RATE_CELLS) {
    if (cells < 1 || cells > 1 << 16 || (cells & (cells - 1)) !== 0) {
      throw new RangeError(`rate sketch: ${cells} cells; allowed are powers of two up to 65536`);
    }
    this.#perSecond = rate.perSecond;
    this.#mostDebt = rate.burst * MILLI;
    this.#clearMs = Math.ceil(this.#mostDebt / rate.perSecond);
    this.#words = new Int32Array(2 * cells * CELL_WORDS);
    this.#cells = cells;
    this.#hash = new HalfSipHash(rng.next(), rng.next());
  }

  /** Whether the key of two words may do it once more at `nowMs`; if so, it is counted. */
  take(high: number, low: number, nowMs: number): boolean {
    if (!this.has(high, low, nowMs)) return false;
    this.#spend(this.#first);
    this.#spend(this.#second);
    return true;
  }

  /** The same, but nothing is counted: for who must not pay for what another limit refuses. */
  has(high: number, low: number, nowMs: number): boolean {
    this.#input[0] = high;
    this.#input[1] = low;
    const hash = this.#hash.words(this.#input, 2);
    const mask = this.#cells - 1;
    this.#first = (hash & mask) * CELL_WORDS;
    this.#second = (this.#cells + ((hash >>> 16) & mask)) * CELL_WORDS;
    const now = nowMs | 0;
    const debt = Math.min(this.#debt(this.#first, now), this.#debt(this.#second, now));
    return debt + MILLI <= this.#mostDebt;
  }

  #spend(cell: number): void {
    const debt = this.#words[cell + DEBT] + MILLI;
    this.#words[cell + DEBT] = Math.min(debt, this.#mostDebt);
  }

  /** The cell's debt, brought to the time `now`. */
  #debt(cell: number, now: number): number {
    const words = this.#words;
    const debt = words[cell + DEBT];
    const elapsed = (now - words[cell + TIME]) | 0;
    if (debt !== 0 && (elapsed === 0 || (elapsed < 0 && elapsed > -CLOCK_SLACK_MS))) return debt;
    words[cell + TIME] = now;
    if (debt === 0) return 0;
    const ms = elapsed < 0 ? this.#clearMs : Math.min(elapsed, this.#clearMs);
    words[cell + DEBT] = Math.max(0, debt - ms * this.#perSecond);
    return words[cell + DEBT];
  }
}
