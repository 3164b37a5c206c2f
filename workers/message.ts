/** Where a slot's message lies: what came by UDP in the slab, what came by TCP in the overflow. */
import type { Overflow } from './overflow.ts';
import {
  SLOT_BUDGET,
  SLOT_BYTES,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_TRANSPORT,
  type Slab,
  TRANSPORT_TCP,
} from './slab.ts';

/** One message after the other: `locate` fills it anew. */
export class Message {
  readonly #slab: Slab;
  readonly #overflow: Overflow;
  slot = 0;
  /** Where the slot's header begins in the slab. */
  base = 0;
  isTcp = false;
  /** The memory of the message, its view, and where in it the message begins. */
  bytes: Uint8Array;
  view: DataView;
  start = 0;
  length = 0;
  /** By UDP: what the answer to an unproven source may have (see slab.ts). */
  budget = 0;

  constructor(slab: Slab, overflow: Overflow) {
    this.#slab = slab;
    this.#overflow = overflow;
    this.bytes = slab.bytes;
    this.view = slab.view;
  }

  locate(slot: number): void {
    const slab = this.#slab;
    const base = slot * SLOT_BYTES;
    this.slot = slot;
    this.base = base;
    this.length = slab.i32[(base + SLOT_LENGTH) >> 2];
    this.budget = slab.i32[(base + SLOT_BUDGET) >> 2];
    this.isTcp = slab.bytes[base + SLOT_TRANSPORT] === TRANSPORT_TCP;
    const memory = this.isTcp ? this.#overflow : slab;
    this.bytes = memory.bytes;
    this.view = memory.view;
    this.start = this.isTcp ? this.#overflow.start(slot) : base + SLOT_HEADER_BYTES;
  }
}
