/**
 * How many there are of each of up to `most` different numbers: exact, in memory of a fixed size.
 *
 *   keys:    | 17 |  - | -3 | 40 | ...      twice as many slots as keys, linear probing;
 *   counts:  |  2 |  0 |  9 |  1 | ...      0 = an empty slot
 */

/** 2^32 / the golden ratio: neighbours, as networks often are, come to lie far from each other. */
const GOLDEN = 0x9e3779b1 | 0;
const MIN_BITS = 4;

export class Tally {
  readonly #keys: Int32Array;
  readonly #counts: Int32Array;
  readonly #mask: number;
  readonly #shift: number;
  #size = 0;

  constructor(most: number) {
    let bits = MIN_BITS;
    while (2 ** bits < 2 * most) bits++;
    this.#keys = new Int32Array(2 ** bits);
    this.#counts = new Int32Array(2 ** bits);
    this.#mask = 2 ** bits - 1;
    this.#shift = 32 - bits;
  }

  /** Numbers whose count is not 0. */
  get size(): number {
    return this.#size;
  }

  /** The count of an int32. */
  get(key: number): number {
    return this.#counts[this.#slotOf(key)];
  }

  /** Adds `delta` to the count of an int32, which must not fall below 0. */
  add(key: number, delta: number): void {
    const slot = this.#slotOf(key);
    if (this.#counts[slot] === 0) this.#size++;
    this.#keys[slot] = key;
    this.#counts[slot] += delta;
    if (this.#counts[slot] === 0) {
      this.#size--;
      this.#closeGap(slot);
    }
  }

  clear(): void {
    this.#counts.fill(0);
    this.#size = 0;
  }

  /** Where the key stands, or the empty slot where it would. */
  #slotOf(key: number): number {
    let slot = this.#home(key);
    while (this.#counts[slot] !== 0 && this.#keys[slot] !== key) slot = (slot + 1) & this.#mask;
    return slot;
  }

  #home(key: number): number {
    return Math.imul(key, GOLDEN) >>> this.#shift;
  }

  /** Moves later entries of the run back over an empty slot, each no further than its home. */
  #closeGap(gap: number): void {
    const mask = this.#mask;
    let hole = gap;
    for (let slot = (gap + 1) & mask; this.#counts[slot] !== 0; slot = (slot + 1) & mask) {
      const distance = (slot - this.#home(this.#keys[slot])) & mask;
      if (distance < ((slot - hole) & mask)) continue;
      this.#keys[hole] = this.#keys[slot];
      this.#counts[hole] = this.#counts[slot];
      this.#counts[slot] = 0;
      hole = slot;
    }
  }
}
