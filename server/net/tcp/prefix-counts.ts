/**
 * How many connections each network has, and a number for it: an open-addressed table over flat
 * arrays, of a fixed size, keyed by the two words of workers/source-prefix.ts.
 *
 *   row   | high i32 | low i32 | count i32 | number i32 |    count 0 = free, and the end of a probe
 *
 * Rows move; the number, from 0 to `most` - 1, stays until the count is 0 again.
 */
import { FreeSlots } from '../free-slots.ts';

export class PrefixCounts {
  readonly #high: Int32Array;
  readonly #low: Int32Array;
  readonly #count: Int32Array;
  readonly #number: Int32Array;
  readonly #free: FreeSlots;
  readonly #one = new Int32Array(1);
  readonly #mask: number;

  /** For at most `most` networks at once: twice as many rows, so probes are short. */
  constructor(most: number) {
    const rows = 2 ** Math.ceil(Math.log2(most * 2));
    this.#high = new Int32Array(rows);
    this.#low = new Int32Array(rows);
    this.#count = new Int32Array(rows);
    this.#number = new Int32Array(rows);
    this.#free = new FreeSlots(0, most);
    this.#mask = rows - 1;
  }

  get(high: number, low: number): number {
    return this.#count[this.#find(high, low)];
  }

  /** The number of a network; -1 when it has no connection. */
  numberOf(high: number, low: number): number {
    const row = this.#find(high, low);
    return this.#count[row] === 0 ? -1 : this.#number[row];
  }

  /** Counts one more and returns the network's number. */
  add(high: number, low: number): number {
    const row = this.#find(high, low);
    if (this.#count[row] === 0) {
      this.#free.peek(this.#one, 1);
      this.#free.take(this.#one, 1, 1);
      this.#high[row] = high;
      this.#low[row] = low;
      this.#number[row] = this.#one[0];
    }
    this.#count[row] += 1;
    return this.#number[row];
  }

  /** Takes back one `add`. */
  subtract(high: number, low: number): void {
    const row = this.#find(high, low);
    if (this.#count[row] === 0) throw new RangeError('a connection of a network that has none');
    this.#count[row] -= 1;
    if (this.#count[row] > 0) return;
    this.#one[0] = this.#number[row];
    this.#free.release(this.#one, 1);
    this.#closeGap(row);
  }

  /** The row of a network, or the free row where it would go. */
  #find(high: number, low: number): number {
    let row = this.#home(high, low);
    while (this.#count[row] !== 0 && (this.#high[row] !== high || this.#low[row] !== low)) {
      row = (row + 1) & this.#mask;
    }
    return row;
  }

  #home(high: number, low: number): number {
    const mixed = Math.imul(high ^ Math.imul(low, 0x85ebca6b), 0x9e3779b1);
    return (mixed ^ (mixed >>> 15)) & this.#mask;
  }

  /** Moves rows back over a freed one, so that no probe ends before its row. */
  #closeGap(freed: number): void {
    let gap = freed;
    for (let row = (gap + 1) & this.#mask; this.#count[row] !== 0; row = (row + 1) & this.#mask) {
      const home = this.#home(this.#high[row], this.#low[row]);
      const distance = (row - home) & this.#mask;
      if (distance < ((row - gap) & this.#mask)) continue;
      this.#high[gap] = this.#high[row];
      this.#low[gap] = this.#low[row];
      this.#count[gap] = this.#count[row];
      this.#number[gap] = this.#number[row];
      this.#count[row] = 0;
      gap = row;
    }
  }
}
