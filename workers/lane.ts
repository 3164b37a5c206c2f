/**
 * A lane: a worker's share of the keys, and the lanes' half of a datagram's way:
 *
 *   request ring --drain--> answer (in the slot) --publish--> reply ring
 *
 * It runs inline on the main thread or in a worker thread: the same code either way. It alone
 * writes its stores. Time is handed in, randomness is seeded, there is no I/O.
 */
import { COUNTER, type CounterRow } from './counters.ts';
import type { DiscoveryResponder } from './discovery.ts';
import { PROTOCOL_DNS } from './protocols.ts';
import type { Pusher } from './pusher.ts';
import type { Ring } from './ring.ts';
import { SLOT_BYTES, SLOT_LENGTH, SLOT_PROTOCOL, type Slab } from './slab.ts';

/** Slots taken from the request ring at a time: the same as a receive batch. */
const DRAIN_BATCH = 64;

export interface LaneParts {
  readonly slab: Slab;
  readonly requests: Ring;
  readonly replies: Ring;
  readonly counters: CounterRow;
  readonly discovery: DiscoveryResponder;
  readonly pusher: Pusher;
}

export class Lane {
  readonly #parts: LaneParts;
  readonly #batch = new Int32Array(DRAIN_BATCH);

  constructor(parts: LaneParts) {
    this.#parts = parts;
  }

  /** Answers everything on the request ring; returns how many datagrams that were. */
  drain(nowMs: number): number {
    const { requests, replies, discovery } = this.#parts;
    let total = 0;
    discovery.setTime(nowMs);
    for (;;) {
      const count = requests.pop(this.#batch, DRAIN_BATCH);
      if (count === 0) return total;
      for (let i = 0; i < count; i++) this.#answer(this.#batch[i]);
      replies.push(this.#batch, 0, count);
      total += count;
    }
  }

  /** Does what is due by `nowMs`: push retries, expiry. Call a few times a second. */
  tick(nowMs: number): void {
    this.#parts.discovery.tick(nowMs);
    this.#parts.pusher.tick(nowMs);
  }

  /** Turns the slot's datagram into its answer; a length of 0 means that nothing is sent. */
  #answer(slot: number): void {
    const { slab, counters, discovery } = this.#parts;
    const base = slot * SLOT_BYTES;
    let length = 0;
    if (slab.bytes[base + SLOT_PROTOCOL] === PROTOCOL_DNS) length = discovery.answer(slot);
    else counters[COUNTER.dropUnknownProtocol]++;
    slab.i32[(base + SLOT_LENGTH) >> 2] = length;
  }
}
