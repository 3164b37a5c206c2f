/**
 * A count-min sketch: how many of each of very many keys there are, in fixed memory. Both cells of
 * a key lie in one block, a cache line: a look costs one miss, not two.
 *
 *   block   | row 0: 8 int32 cells      | row 1: 8 int32 cells      |   64 bytes
 *             a key has one cell of each; its count is the smaller of the two
 *
 * Never too low, as long as what is taken away was added before: a cell holds its keys' counts, and
 * other keys can only make it higher. Too high by what others share both cells with the key: with n
 * counted in all and `width` cells in a row, the mean surplus of a cell is n / width, and that of
 * the estimate is less. Any one other key shares both with a probability of 1 / (8 width).
 *
 * Source: Cormode and Muthukrishnan, "An improved data stream summary: the count-min sketch and its
 * applications" (2005); the blocks are those of blocked Bloom filters (Putze, Sanders, Singler).
 */

/** Cells of one row in a block. */
const BLOCK_CELLS = 8;
const BLOCK_BITS = 3;
/** Smaller sketches would cost others' counts for the sake of 32 KiB. */
const MIN_WIDTH = 4096;
/** Two rows of 4-byte cells of that many are 128 MiB. */
const MAX_WIDTH = 1 << 24;

export class CountSketch {
  /** Cells in a row. */
  readonly width: number;
  readonly #cells: Int32Array;
  readonly #shift: number;

  /**
   * At least `cells` wide, and 4,096: rounded up to a power of two.
   *
   * @throws RangeError when that is more than 2^24.
   */
  constructor(cells: number) {
    let bits = Math.log2(MIN_WIDTH);
    while (2 ** bits < cells) bits++;
    if (!(2 ** bits <= MAX_WIDTH)) {
      throw new RangeError(`count sketch: ${cells} cells; allowed are at most ${MAX_WIDTH}`);
    }
    this.width = 2 ** bits;
    this.#shift = 32 - (bits - BLOCK_BITS);
    this.#cells = new Int32Array(2 * this.width);
  }

  /** Adds `delta` to the count of the key with this 32-bit hash, which must be a keyed one. */
  add(hash: number, delta: number): void {
    const block = (hash >>> this.#shift) * 2 * BLOCK_CELLS;
    this.#cells[block + (hash & 7)] += delta;
    this.#cells[block + BLOCK_CELLS + ((hash >>> BLOCK_BITS) & 7)] += delta;
  }

  /** The count of the key with this hash: right, or too high. */
  estimate(hash: number): number {
    const block = (hash >>> this.#shift) * 2 * BLOCK_CELLS;
    const first = this.#cells[block + (hash & 7)];
    const second = this.#cells[block + BLOCK_CELLS + ((hash >>> BLOCK_BITS) & 7)];
    return Math.min(first, second);
  }

  clear(): void {
    this.#cells.fill(0);
  }
}
