/**
 * The overflow arena: where messages by TCP lie, which may have 65,535 bytes and do not fit in a
 * slot. Each slot of the TCP receiver has one block here, so the arena is bounded by the receiver's
 * slots; pages that no long message has touched cost nothing.
 *
 *   slot firstSlot        slot firstSlot + 1
 *   +-------------------+-------------------+--
 *   | block 65,536 B    | block             | ...
 *   +-------------------+-------------------+--
 *
 * The slot's header is in the slab as always; only the message, and then its answer, is here.
 */

export const OVERFLOW_BLOCK_BYTES = 65_536;
/** The longest message with a two-byte length (RFC 1035 section 4.2.2). */
export const MAX_MESSAGE_BYTES = 65_535;

/** Typed views over one arena. The same buffer is wrapped once in each thread. */
export class Overflow {
  readonly buffer: SharedArrayBuffer;
  readonly firstSlot: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;

  /** Wraps a buffer of `Overflow.allocate`, whose first block belongs to slot `firstSlot`. */
  constructor(buffer: SharedArrayBuffer, firstSlot: number) {
    this.buffer = buffer;
    this.firstSlot = firstSlot;
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }

  /** Blocks for `slotCount` slots, which may be 0. */
  static allocate(slotCount: number): SharedArrayBuffer {
    return new SharedArrayBuffer(slotCount * OVERFLOW_BLOCK_BYTES);
  }

  /** Where the message of `slot` begins in `bytes`. */
  start(slot: number): number {
    return (slot - this.firstSlot) * OVERFLOW_BLOCK_BYTES;
  }
}
