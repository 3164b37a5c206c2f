/**
 * A lane: a worker's share of the keys, and the lanes' half of a datagram's way:
 *
 *   request ring --drain--> answer (in the slot) --publish--> reply ring
 *
 * It runs inline on the main thread or in a worker thread: the same code either way. It alone
 * writes its stores. Time is handed in, randomness is seeded; whether its answers are sent by main
 * or from here is the outbox's matter (outbox.ts).
 */
import { COUNTER, type CounterRow } from './counters.ts';
import type { DhtResponder } from './dht/responder.ts';
import type { DiscoveryResponder } from './discovery.ts';
import type { Outbox } from './outbox.ts';
import { PROTOCOL_DHT, PROTOCOL_DNS } from './protocols.ts';
import type { Pusher } from './pusher.ts';
import type { Ring } from './ring.ts';
import { SLOT_BYTES, SLOT_LENGTH, SLOT_PROTOCOL, type Slab } from './slab.ts';

/** Slots taken from the request ring at a time: the same as a receive batch. */
const DRAIN_BATCH = 64;
/** Batches per `drain`, so that under load the time moves on and the ticks get their turn. */
const DRAIN_ROUNDS = 8;

export interface LaneParts {
  readonly slab: Slab;
  readonly requests: Ring;
  readonly outbox: Outbox;
  readonly counters: CounterRow;
  readonly discovery: DiscoveryResponder;
  readonly pusher: Pusher;
  /** Null: this server is no node of the DHT. */
  readonly dht: DhtResponder | null;
}

export class Lane {
  readonly #parts: LaneParts;
  readonly #batch = new Int32Array(DRAIN_BATCH);
  #wantsMain = false;

  constructor(parts: LaneParts) {
    this.#parts = parts;
  }

  /** Answers what is on the request ring, eight batches at most; returns how many datagrams. */
  drain(nowMs: number): number {
    const { requests, outbox, discovery, dht } = this.#parts;
    let total = 0;
    discovery.setTime(nowMs);
    dht?.setTime(nowMs);
    for (let round = 0; round < DRAIN_ROUNDS; round++) {
      const count = requests.pop(this.#batch, DRAIN_BATCH);
      if (count === 0) break;
      for (let i = 0; i < count; i++) this.#answer(this.#batch[i]);
      if (outbox.publish(this.#batch, count)) this.#wantsMain = true;
      if (outbox.flush()) this.#wantsMain = true;
      total += count;
    }
    // What was due by now, without a request: delayed pings.
    if (total === 0 && outbox.flush()) this.#wantsMain = true;
    return total;
  }

  /** Does what is due by `nowMs`: push retries, expiry. Call a few times a second. */
  tick(nowMs: number): void {
    this.#parts.discovery.tick(nowMs);
    this.#parts.pusher.tick(nowMs);
    this.#parts.dht?.tick(nowMs);
    if (this.#parts.outbox.flush()) this.#wantsMain = true;
  }

  /** Whether main has something to do since this was last asked, beside taking slots back. */
  takeWantsMain(): boolean {
    const wants = this.#wantsMain;
    this.#wantsMain = false;
    return wants;
  }

  /**
   * Turns the slot's datagram into its answer; a length of 0 means that nothing is sent, a negative
   * one that its signature is to be checked first.
   */
  #answer(slot: number): void {
    const { slab, counters, discovery, dht } = this.#parts;
    const base = slot * SLOT_BYTES;
    const protocol = slab.bytes[base + SLOT_PROTOCOL];
    let length = 0;
    if (protocol === PROTOCOL_DNS) length = discovery.answer(slot);
    else if (protocol === PROTOCOL_DHT && dht !== null) length = dht.answer(slot);
    else counters[COUNTER.dropUnknownProtocol]++;
    slab.i32[(base + SLOT_LENGTH) >> 2] = length;
  }
}
