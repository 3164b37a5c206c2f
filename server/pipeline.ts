/**
 * The main thread's half of a datagram's way, one screen:
 *
 *   recv -> admit -> dispatch -> lane's request ring ... reply ring -> collect -> send -> release
 *
 * The other half is workers/lane.ts: drain -> answer -> publish. Slots are numbers throughout;
 * whoever holds a slot's number owns the slot, and `release` gives it back to the receiver it
 * belongs to. What comes back from the lanes is collector.ts.
 */
import { COUNTER, type CounterRow } from '../workers/counters.ts';
import { ACCEPT, type Admission, CONTROL, DROP } from './admission.ts';
import type { Clock } from './clock.ts';
import type { Collector, LanePort } from './collector.ts';
import type { Dispatcher } from './dispatch.ts';
import type { Receiver } from './net/receiver.ts';
import { UDP_BATCH } from './net/udp-socket.ts';

export interface PipelineConfig {
  readonly counters: CounterRow;
  readonly admission: Admission;
  readonly dispatcher: Dispatcher;
  readonly collector: Collector;
  readonly lanes: readonly LanePort[];
  /** Datagrams that may wait at a lane: of several not all, lest a hot name take all slots. */
  readonly mostWaiting: number;
  readonly clock: Clock;
  /** Takes a reply to a request of our own, of the DHT; the slot is released after. */
  readonly control?: (slot: number) => void;
}

export class Pipeline {
  readonly #config: PipelineConfig;
  readonly #perLane: readonly Int32Array[];
  readonly #perLaneCount: Int32Array;
  readonly #done = new Int32Array(UDP_BATCH);
  readonly #short = new Int32Array(UDP_BATCH);
  readonly #again = new Int32Array(1);

  constructor(config: PipelineConfig) {
    this.#config = config;
    this.#perLane = config.lanes.map(() => new Int32Array(UDP_BATCH));
    this.#perLaneCount = new Int32Array(config.lanes.length);
  }

  /**
   * Takes a batch from a receiver, at most UDP_BATCH, which was opened for `use`. Inline lanes
   * answer before it returns.
   */
  receive(receiver: Receiver, use: number, slots: Int32Array, count: number): void {
    const { admission, collector, dispatcher, clock } = this.#config;
    const now = clock.now();
    // First: what comes back settles what it was charged.
    collector.collectAll();
    admission.setTime(now);
    let short = 0;
    let dropped = 0;
    for (let i = 0; i < count; i++) {
      const slot = slots[i];
      const verdict = admission.admit(slot, use);
      if (verdict === ACCEPT) {
        const lane = dispatcher.laneOf(slot);
        this.#perLane[lane][this.#perLaneCount[lane]++] = slot;
      } else if (verdict === DROP || verdict === CONTROL) {
        if (verdict === CONTROL) this.#config.control?.(slot);
        this.#done[dropped++] = slot;
      } else {
        this.#short[short++] = slot;
      }
    }
    if (dropped > 0) receiver.release(this.#done, dropped);
    if (short > 0) {
      receiver.send(this.#short, short);
      receiver.release(this.#short, short);
    }
    this.#pushToLanes(receiver);
    this.#drainInline(now);
  }

  /**
   * Gives a slot to its lane again, whose signature has been checked; it never left the house, so
   * nothing can be full. `drainInline` is to follow.
   */
  resume(slot: number): void {
    const { lanes, collector, dispatcher } = this.#config;
    this.#again[0] = slot;
    const lane = dispatcher.laneOf(slot);
    const { requests, inline } = lanes[lane];
    if (inline === null) collector.handedOver(lane, this.#again, 1);
    requests.push(this.#again, 0, 1);
    if (inline === null) requests.wake();
  }

  /** Lets inline lanes answer what they were given. */
  drainInline(): void {
    this.#drainInline(this.#config.clock.now());
  }

  /** Lets inline lanes do what is due by now (push retries, expiry), and sends what they made. */
  tickInline(): void {
    const { lanes, collector, clock } = this.#config;
    const now = clock.now();
    for (let i = 0; i < lanes.length; i++) {
      const { inline } = lanes[i];
      if (inline === null) continue;
      inline.tick(now);
      collector.collect(i);
    }
  }

  #drainInline(now: number): void {
    const { lanes, collector } = this.#config;
    for (let i = 0; i < lanes.length; i++) {
      const { inline } = lanes[i];
      if (inline === null) continue;
      inline.drain(now);
      collector.collect(i);
    }
  }

  #pushToLanes(receiver: Receiver): void {
    const { lanes, counters, collector, mostWaiting } = this.#config;
    for (let i = 0; i < lanes.length; i++) {
      const count = this.#perLaneCount[i];
      if (count === 0) continue;
      this.#perLaneCount[i] = 0;
      const slots = this.#perLane[i];
      const { requests, inline } = lanes[i];
      if (inline === null) collector.handedOver(i, slots, count);
      const room = receiver.mayDrop ? Math.max(0, mostWaiting - requests.size) : count;
      const pushed = requests.push(slots, 0, Math.min(count, room));
      if (inline === null) requests.wake();
      if (pushed === count) continue;
      counters[COUNTER.dropRingFull] += count - pushed;
      slots.copyWithin(0, pushed, count);
      collector.refused(slots, count - pushed);
      receiver.release(slots, count - pushed);
    }
  }
}
