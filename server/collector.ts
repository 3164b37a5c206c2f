/**
 * Takes slots back from the lanes: sends what main has to send, settles with the rate limiter, and
 * gives each slot to its receiver again. When a lane dies, takes back what it held.
 *
 *   reply ring -> send (main, or the lane has) -> settle -> release
 */
import { COUNTER, type CounterRow, DROP_COUNTERS } from '../workers/counters.ts';
import type { Lane } from '../workers/lane.ts';
import type { Ring } from '../workers/ring.ts';
import {
  SLOT_BYTES,
  SLOT_DOWN_HINT,
  SLOT_FREE,
  SLOT_LENGTH,
  SLOT_RECEIVER,
  SLOT_SIGHTED,
  SLOT_STATE,
  SLOT_TRANSPORT,
  SLOT_UNPROVEN,
  type Slab,
  TRANSPORT_UDP,
} from '../workers/slab.ts';
import type { RateLimiter } from './limits/rate-limiter.ts';
import type { Receiver } from './net/receiver.ts';
import { UDP_BATCH } from './net/udp-socket.ts';

/** Collecting again when a lane was faster than arming, before other work gets its turn. */
const ARM_TRIES = 4;
const NOBODY = 0;
const NOTICES = SLOT_SIGHTED | SLOT_DOWN_HINT | SLOT_UNPROVEN;

/** One lane as the main thread sees it: its rings, and the lane itself where it runs inline. */
export interface LanePort {
  readonly requests: Ring;
  readonly replies: Ring;
  readonly inline: Lane | null;
  /** Its row of the counters. */
  readonly counters: CounterRow;
  /** Its own slots, which it originates pushes in. */
  readonly firstOriginSlot: number;
  readonly originSlots: number;
}

/** What else comes of a request of the DHT: the control plane's side of a lane's answer. */
export interface DhtDesk {
  /** Has the signature of the datagram in `slot` checked, later; false when too many wait. */
  check(slot: number): boolean;
  /** Its answer, if any, has left; its state says SLOT_SIGHTED, _DOWN_HINT or _UNPROVEN. */
  noticed(slot: number): void;
}

export interface CollectorConfig {
  readonly slab: Slab;
  readonly counters: CounterRow;
  /** By number: a slot belongs to receiver number / slotsPerReceiver. */
  readonly receivers: readonly Receiver[];
  readonly lanes: readonly LanePort[];
  readonly slotsPerReceiver: number;
  /** Slots from here on are the lanes' own. */
  readonly firstLaneSlot: number;
  readonly limiter: RateLimiter | null;
  /** Whether lanes send UDP answers themselves (workers/outbox.ts). */
  readonly lanesSend: boolean;
  readonly dht?: DhtDesk;
}

export class Collector {
  readonly #config: CollectorConfig;
  readonly #done = new Int32Array(UDP_BATCH);
  readonly #outgoing = new Int32Array(UDP_BATCH);
  readonly #one = new Int32Array(1);
  /** Which lane holds a received slot: its number + 1. Only kept for lanes in threads. */
  readonly #holder: Uint8Array;
  /** By lane: what its counters must come to for all it has given back; see `reclaim`. */
  readonly #expected: Float64Array;

  constructor(config: CollectorConfig) {
    this.#config = config;
    this.#holder = new Uint8Array(config.firstLaneSlot);
    this.#expected = new Float64Array(config.lanes.length);
  }

  /** Takes what the lanes in threads have done so far; main is awake, so they need not wake it. */
  collectAll(): void {
    const { lanes } = this.#config;
    for (let i = 0; i < lanes.length; i++) {
      if (lanes[i].inline !== null) continue;
      lanes[i].replies.disarm();
      this.collect(i);
    }
  }

  /** Sends what is on a lane's reply ring, as far as main sends, and frees the slots. */
  collect(lane: number): void {
    const { replies } = this.#config.lanes[lane];
    for (;;) {
      const count = replies.pop(this.#done, UDP_BATCH);
      if (count === 0) return;
      const rest = this.#config.dht === undefined ? count : this.#takeChecks(count);
      this.#sendByReceiver(lane, rest);
      this.#releaseDone(rest);
    }
  }

  /**
   * Asks to be woken by the lanes' next answers, after collecting what is there. False: there is
   * more already, come back soon.
   */
  armAll(): boolean {
    const { lanes } = this.#config;
    for (let i = 0; i < lanes.length; i++) {
      if (lanes[i].inline === null && !this.#arm(i)) return false;
    }
    return true;
  }

  /** Notes slots that are about to go to a lane in a thread. */
  handedOver(lane: number, slots: Int32Array, count: number): void {
    for (let i = 0; i < count; i++) this.#holder[slots[i]] = lane + 1;
  }

  /** Slots that a lane's ring had no room for: nothing is sent. */
  refused(slots: Int32Array, count: number): void {
    const { slab, limiter } = this.#config;
    for (let i = 0; i < count; i++) {
      this.#holder[slots[i]] = NOBODY;
      limiter?.cancel(slab, slots[i]);
    }
  }

  /**
   * Takes back what a dead lane held: what it had published is sent, what waits on its request ring
   * stays for its successor, and what was in its hands, at most a batch, is dropped.
   *
   * Which of those it had counted already cannot be seen, but how many: its counters come to
   * originated - sent - absorbed - drops, and for the slots it gave back they must come to
   * `expected`. The rest of the difference is made up here, so the balance is exact again.
   */
  reclaim(lane: number): number {
    const { lanes, counters, slab, lanesSend } = this.#config;
    const port = lanes[lane];
    this.collect(lane);
    const waiting = new Set<number>();
    const peeked = new Int32Array(port.requests.capacity);
    const count = port.requests.peek(peeked);
    for (let i = 0; i < count; i++) waiting.add(peeked[i]);
    let lost = 0;
    for (let slot = 0; slot < this.#holder.length; slot++) {
      if (this.#holder[slot] !== lane + 1 || waiting.has(slot)) continue;
      // What a lane that sends had in its hands may have left: that is settled as if it had.
      if (lanesSend) this.#settled(slot);
      slab.i32[(slot * SLOT_BYTES + SLOT_LENGTH) >> 2] = 0;
      this.#done[0] = slot;
      this.#releaseDone(1);
      lost++;
    }
    for (let i = 0; i < port.originSlots; i++) this.#freeOwn(port.firstOriginSlot + i);
    const counted = netOf(port.counters);
    counters[COUNTER.dropLaneDied] += counted - this.#expected[lane] + lost;
    this.#expected[lane] = counted;
    return lost;
  }

  /** Takes back all a lane holds that nobody will serve again: at the close. */
  abandon(lane: number): number {
    const { requests } = this.#config.lanes[lane];
    while (requests.pop(this.#done, UDP_BATCH) > 0);
    return this.reclaim(lane);
  }

  /** Slots whose signatures are to be checked leave done[0..count); returns how many stay. */
  #takeChecks(count: number): number {
    const { slab, counters, dht } = this.#config;
    let rest = 0;
    for (let i = 0; i < count; i++) {
      const slot = this.#done[i];
      const length = (slot * SLOT_BYTES + SLOT_LENGTH) >> 2;
      if (slab.i32[length] >= 0) {
        this.#done[rest++] = slot;
        continue;
      }
      slab.i32[length] = -slab.i32[length];
      this.#holder[slot] = NOBODY;
      if (dht?.check(slot)) continue;
      counters[COUNTER.dropVerifyFull]++;
      this.drop(slot);
    }
    return rest;
  }

  /** Gives back a slot of a receiver that nothing is sent from; the caller has counted why. */
  drop(slot: number): void {
    const { slab, receivers, slotsPerReceiver } = this.#config;
    slab.i32[(slot * SLOT_BYTES + SLOT_LENGTH) >> 2] = 0;
    this.#settled(slot);
    this.#one[0] = slot;
    receivers[Math.floor(slot / slotsPerReceiver)].release(this.#one, 1);
  }

  #arm(lane: number): boolean {
    const { replies } = this.#config.lanes[lane];
    for (let i = 0; i < ARM_TRIES; i++) {
      if (replies.arm()) return true;
      this.collect(lane);
    }
    return false;
  }

  /**
   * Sends done[0..count) in runs of the same receiver; slots with nothing to send are passed over,
   * and those the lane has sent.
   */
  #sendByReceiver(lane: number, count: number): void {
    const { slab, receivers, lanesSend, firstLaneSlot, lanes } = this.#config;
    const hasSent = lanesSend && lanes[lane].inline === null;
    let expected = 0;
    let run = 0;
    let receiver = -1;
    for (let i = 0; i < count; i++) {
      const slot = this.#done[i];
      const base = slot * SLOT_BYTES;
      const isOwn = slot >= firstLaneSlot;
      const isCounted =
        slab.i32[base >> 2] === 0 ||
        (hasSent && slab.bytes[base + SLOT_TRANSPORT] === TRANSPORT_UDP);
      if (isCounted) {
        if (!isOwn) expected--;
        continue;
      }
      if (isOwn) expected++;
      const next = slab.u16[(base + SLOT_RECEIVER) >> 1];
      if (next !== receiver && run > 0) {
        receivers[receiver].send(this.#outgoing, run);
        run = 0;
      }
      receiver = next;
      this.#outgoing[run++] = slot;
    }
    if (run > 0) receivers[receiver].send(this.#outgoing, run);
    this.#expected[lane] += expected;
  }

  /**
   * Gives done[0..count) back: lanes' own slots by their state, the others to their receiver in
   * runs.
   */
  #releaseDone(count: number): void {
    const { receivers, slotsPerReceiver, firstLaneSlot } = this.#config;
    let run = 0;
    let receiver = -1;
    for (let i = 0; i < count; i++) {
      const slot = this.#done[i];
      if (slot >= firstLaneSlot) {
        this.#freeOwn(slot);
        continue;
      }
      this.#settled(slot);
      const next = Math.floor(slot / slotsPerReceiver);
      if (next !== receiver && run > 0) {
        receivers[receiver].release(this.#outgoing, run);
        run = 0;
      }
      receiver = next;
      this.#outgoing[run++] = slot;
    }
    if (run > 0) receivers[receiver].release(this.#outgoing, run);
  }

  #settled(slot: number): void {
    const { slab, limiter, dht } = this.#config;
    this.#holder[slot] = NOBODY;
    limiter?.settle(slab, slot);
    if (dht === undefined) return;
    if ((slab.bytes[slot * SLOT_BYTES + SLOT_STATE] & NOTICES) !== 0) dht.noticed(slot);
  }

  #freeOwn(slot: number): void {
    Atomics.store(this.#config.slab.bytes, slot * SLOT_BYTES + SLOT_STATE, SLOT_FREE);
  }
}

const DROPS = DROP_COUNTERS.map((name) => COUNTER[name]);

/** What a row adds to the balance: what it brought in less what it saw out. */
function netOf(row: CounterRow): number {
  let net = row[COUNTER.originated] - row[COUNTER.sent] - row[COUNTER.absorbed];
  for (const drop of DROPS) net -= row[drop];
  return net;
}
