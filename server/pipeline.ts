/**
 * The main thread's half of a datagram's way, one screen:
 *
 *   recv -> admit -> dispatch -> lane's request ring ... reply ring -> collect -> send -> release
 *
 * The other half is workers/lane.ts: drain -> answer -> publish. Slots are numbers throughout;
 * whoever holds a slot's number owns the slot, and `release` gives it back to the receiver it
 * belongs to.
 */
import { COUNTER, type CounterRow } from '../workers/counters.ts';
import type { Lane } from '../workers/lane.ts';
import type { Ring } from '../workers/ring.ts';
import { SLOT_BYTES, SLOT_FREE, SLOT_RECEIVER, SLOT_STATE, type Slab } from '../workers/slab.ts';
import { ACCEPT, Admission, DROP } from './admission.ts';
import type { Clock } from './clock.ts';
import type { Dispatcher } from './dispatch.ts';
import type { UdpSocket } from './net/udp-socket.ts';
import { UDP_BATCH } from './net/udp-socket.ts';

/** One lane as the main thread sees it: its rings, and the lane itself where it runs inline. */
export interface LanePort {
  readonly requests: Ring;
  readonly replies: Ring;
  readonly inline: Lane | null;
}

export interface PipelineConfig {
  readonly slab: Slab;
  readonly counters: CounterRow;
  readonly sockets: readonly UdpSocket[];
  readonly socketUses: readonly number[];
  readonly lanes: readonly LanePort[];
  readonly dispatcher: Dispatcher;
  readonly clock: Clock;
  /** A slot's number names its receiver: number / slotsPerSocket. */
  readonly slotsPerSocket: number;
  /** Slots from here on are the lanes' own, for what they originate. */
  readonly firstLaneSlot: number;
}

export class Pipeline {
  readonly #config: PipelineConfig;
  readonly #admission: Admission;
  readonly #perLane: readonly Int32Array[];
  readonly #perLaneCount: Int32Array;
  readonly #done = new Int32Array(UDP_BATCH);
  readonly #outgoing = new Int32Array(UDP_BATCH);
  readonly #short = new Int32Array(UDP_BATCH);

  constructor(config: PipelineConfig) {
    this.#config = config;
    this.#admission = new Admission(config.slab, config.counters);
    this.#perLane = config.lanes.map(() => new Int32Array(UDP_BATCH));
    this.#perLaneCount = new Int32Array(config.lanes.length);
  }

  /** Takes a batch from a socket. Inline lanes answer before it returns. */
  receive(socket: UdpSocket, slots: Int32Array, count: number): void {
    const { dispatcher, socketUses } = this.#config;
    const use = socketUses[socket.receiver];
    let short = 0;
    let dropped = 0;
    for (let i = 0; i < count; i++) {
      const slot = slots[i];
      const verdict = this.#admission.admit(slot, use);
      if (verdict === ACCEPT) {
        const lane = dispatcher.laneOf(slot);
        this.#perLane[lane][this.#perLaneCount[lane]++] = slot;
      } else if (verdict === DROP) {
        this.#done[dropped++] = slot;
      } else {
        this.#short[short++] = slot;
      }
    }
    if (dropped > 0) socket.release(this.#done, dropped);
    if (short > 0) {
      socket.send(this.#short, short);
      socket.release(this.#short, short);
    }
    this.#pushToLanes(socket);
    this.drainInline();
  }

  /** Lets inline lanes work off their rings, and sends what they made. */
  drainInline(): void {
    const now = this.#config.clock.now();
    for (const lane of this.#config.lanes) {
      if (lane.inline === null) continue;
      lane.inline.drain(now);
      this.collect(lane);
    }
  }

  /** Lets inline lanes do what is due by now (push retries, expiry), and sends what they made. */
  tickInline(): void {
    const now = this.#config.clock.now();
    for (const lane of this.#config.lanes) {
      if (lane.inline === null) continue;
      lane.inline.tick(now);
      this.collect(lane);
    }
  }

  /** Sends what is on a lane's reply ring and frees the slots. */
  collect(lane: LanePort): void {
    for (;;) {
      const count = lane.replies.pop(this.#done, UDP_BATCH);
      if (count === 0) return;
      this.#sendBySocket(count);
      this.#releaseDone(count);
    }
  }

  #pushToLanes(socket: UdpSocket): void {
    const { lanes, counters } = this.#config;
    for (let i = 0; i < lanes.length; i++) {
      const count = this.#perLaneCount[i];
      if (count === 0) continue;
      this.#perLaneCount[i] = 0;
      const slots = this.#perLane[i];
      const pushed = lanes[i].requests.push(slots, 0, count);
      if (pushed === count) continue;
      counters[COUNTER.dropRingFull] += count - pushed;
      slots.copyWithin(0, pushed, count);
      socket.release(slots, count - pushed);
    }
  }

  /**
   * Sends done[0..count) in runs of the same socket; slots with nothing to send are passed over.
   */
  #sendBySocket(count: number): void {
    const { slab, sockets } = this.#config;
    let run = 0;
    let receiver = -1;
    for (let i = 0; i < count; i++) {
      const slot = this.#done[i];
      const base = slot * SLOT_BYTES;
      if (slab.i32[base >> 2] === 0) continue;
      const next = slab.u16[(base + SLOT_RECEIVER) >> 1];
      if (next !== receiver && run > 0) {
        sockets[receiver].send(this.#outgoing, run);
        run = 0;
      }
      receiver = next;
      this.#outgoing[run++] = slot;
    }
    if (run > 0) sockets[receiver].send(this.#outgoing, run);
  }

  /**
   * Gives done[0..count) back: lanes' own slots by their state, the others to their receiver in
   * runs.
   */
  #releaseDone(count: number): void {
    const { slab, sockets, slotsPerSocket, firstLaneSlot } = this.#config;
    let run = 0;
    let receiver = -1;
    for (let i = 0; i < count; i++) {
      const slot = this.#done[i];
      if (slot >= firstLaneSlot) {
        Atomics.store(slab.bytes, slot * SLOT_BYTES + SLOT_STATE, SLOT_FREE);
        continue;
      }
      const next = Math.floor(slot / slotsPerSocket);
      if (next !== receiver && run > 0) {
        sockets[receiver].release(this.#outgoing, run);
        run = 0;
      }
      receiver = next;
      this.#outgoing[run++] = slot;
    }
    if (run > 0) sockets[receiver].release(this.#outgoing, run);
  }
}
