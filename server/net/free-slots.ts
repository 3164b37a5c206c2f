/**
 * The free slots of one receiver: a stack, so that the slot used last, still in the cache, is
 * used next.
 *
 *   | free | free | free | (in flight) ... |      top = number of free slots
 *   0             top                capacity
 */
export class FreeSlots {
  readonly firstSlot: number;
  readonly capacity: number;
  readonly #stack: Int32Array;
  #top: number;

  /** All of slots `firstSlot` to `firstSlot + capacity - 1` are free. */
  constructor(firstSlot: number, capacity: number) {
    this.firstSlot = firstSlot;
    this.capacity = capacity;
    this.#stack = new Int32Array(capacity);
    this.#top = capacity;
    for (let i = 0; i < capacity; i++) this.#stack[i] = firstSlot + capacity - 1 - i;
  }

  get count(): number {
    return this.#top;
  }

  /** Copies the next `most` free slots, or as many as there are, to `slots`; they stay free. */
  peek(slots: Int32Array, most: number): number {
    const count = Math.min(most, this.#top);
    for (let i = 0; i < count; i++) slots[i] = this.#stack[this.#top - 1 - i];
    return count;
  }

  /** Takes the first `taken` of `peeked` slots, which may have been permuted since `peek`. */
  take(slots: Int32Array, taken: number, peeked: number): void {
    for (let i = taken; i < peeked; i++) this.#stack[this.#top - 1 - i] = slots[i];
    this.#top -= taken;
  }

  /** Makes slots free again. Throws a RangeError for a slot of another receiver or one too many. */
  release(slots: Int32Array, count: number): void {
    if (this.#top + count > this.capacity) {
      throw new RangeError(
        `${count} slots released, but only ${this.capacity - this.#top} are out`,
      );
    }
    const last = this.firstSlot + this.capacity - 1;
    for (let i = 0; i < count; i++) {
      const slot = slots[i];
      if (slot < this.firstSlot || slot > last) {
        throw new RangeError(
          `slot ${slot} released to the receiver of slots ${this.firstSlot} to ${last}`,
        );
      }
      this.#stack[this.#top + i] = slot;
    }
    this.#top += count;
  }
}
