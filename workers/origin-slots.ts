/**
 * The slots a lane sends from on its own account. The lane takes a free one and marks it busy; the
 * main thread, or the lane itself where it sends, marks it free when the kernel has the datagram;
 * of a lane that died main frees them all. The state byte in the slot's header
 * is the whole protocol, so either side may be slow: with no free slot there is simply no push yet.
 */
import { SLOT_BUSY, SLOT_BYTES, SLOT_FREE, SLOT_STATE, type Slab } from './slab.ts';

export class OriginSlots {
  readonly #slab: Slab;
  readonly #first: number;
  readonly #count: number;
  #next = 0;

  /** Slots [first, first + count) of the slab. */
  constructor(slab: Slab, first: number, count: number) {
    this.#slab = slab;
    this.#first = first;
    this.#count = count;
  }

  /** A free slot, now busy, or -1. Slots come back in the order they left: one busy, all busy. */
  take(): number {
    const slot = this.#first + this.#next;
    const state = slot * SLOT_BYTES + SLOT_STATE;
    if (Atomics.load(this.#slab.bytes, state) !== SLOT_FREE) return -1;
    Atomics.store(this.#slab.bytes, state, SLOT_BUSY);
    this.#next = this.#next + 1 === this.#count ? 0 : this.#next + 1;
    return slot;
  }
}
