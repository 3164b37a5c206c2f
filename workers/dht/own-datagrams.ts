/**
 * Datagrams that a DHT lane sends on its own account, in slots of its own: relayed messages and
 * delayed replies. Each goes out by the socket and from the address that what caused it came to:
 * elsewhere a NAT would not let it through.
 */
import { COUNTER, type CounterRow } from '../counters.ts';
import type { OriginSlots } from '../origin-slots.ts';
import type { Outbox } from '../outbox.ts';
import {
  SLOT_ADDRESS,
  SLOT_BUDGET,
  SLOT_BYTES,
  SLOT_CONNECTION,
  SLOT_DATA_BYTES,
  SLOT_GENERATION,
  SLOT_KEY_HASH,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_PROTOCOL,
  SLOT_RECEIVER,
  SLOT_SCOPE,
  type Slab,
} from '../slab.ts';

/** What is copied of a header: family, transport, port, both addresses and the scope. */
const FIRST_WORD = 1;
const LAST_WORD = SLOT_SCOPE >> 2;

export interface OwnDatagramParts {
  readonly slab: Slab;
  readonly counters: CounterRow;
  readonly outbox: Outbox;
  readonly slots: OriginSlots;
}

export class OwnDatagrams {
  readonly #parts: OwnDatagramParts;

  constructor(parts: OwnDatagramParts) {
    this.#parts = parts;
  }

  /**
   * A slot of our own, addressed as the slot header at words[at..at+16) is; -1: none is free. Its
   * datagram is written and `send` called at once.
   */
  take(words: Int32Array, at: number): number {
    const { slab, slots } = this.#parts;
    const slot = slots.take();
    if (slot < 0) return -1;
    const base = slot * SLOT_BYTES;
    const first = base >> 2;
    for (let i = FIRST_WORD; i <= LAST_WORD; i++) slab.i32[first + i] = words[at + i];
    slab.i32[(base + SLOT_CONNECTION) >> 2] = 0;
    slab.i32[(base + SLOT_GENERATION) >> 2] = 0;
    slab.i32[(base + SLOT_BUDGET) >> 2] = SLOT_DATA_BYTES;
    slab.i32[(base + SLOT_KEY_HASH) >> 2] = 0;
    // Byte by byte: the state beside them is main's as well.
    const receiver = words[at + (SLOT_RECEIVER >> 2)];
    slab.u16[(base + SLOT_RECEIVER) >> 1] = receiver;
    slab.bytes[base + SLOT_PROTOCOL] = receiver >>> 16;
    return slot;
  }

  /** Sends it elsewhere than where the header said: to the IPv4 address and port at bytes[at]. */
  redirect(slot: number, bytes: Uint8Array, at: number): void {
    const { slab } = this.#parts;
    const base = slot * SLOT_BYTES;
    for (let i = 0; i < 4; i++) slab.bytes[base + SLOT_ADDRESS + 12 + i] = bytes[at + i];
    slab.u16[(base + SLOT_PORT) >> 1] = bytes[at + 4] | (bytes[at + 5] << 8);
  }

  /** Hands the slot with a datagram of `length` bytes on. */
  send(slot: number, length: number): void {
    const { slab, counters, outbox } = this.#parts;
    slab.i32[(slot * SLOT_BYTES + SLOT_LENGTH) >> 2] = length;
    counters[COUNTER.originated]++;
    outbox.originate(slot);
  }
}
