/**
 * Subscriptions and pushes: a lookup subscribes its asker for a minute, and each new announce is
 * told to up to 16 random subscribers of its name, as a query that they acknowledge (see
 * workers/push-table.ts).
 *
 *   subscribe -> subscription store (a record per subscriber; `origin` holds its path)
 *   notify    -> push table row per subscriber -> origin slot -> outbox
 *   tick      -> rows that are due: another try, or given up
 */
import type { DomainTable } from '../codecs/dns/domains.ts';
import { writePush } from '../codecs/dns/push.ts';
import { readU16 } from '../codecs/dns/wire.ts';
import { COUNTER, type CounterRow } from './counters.ts';
import { fillChange, type Key } from './key.ts';
import type { OriginSlots } from './origin-slots.ts';
import type { Outbox } from './outbox.ts';
import type { Paths } from './paths.ts';
import type { PushBudget } from './push-budget.ts';
import { PUSH_CAPACITY, type PushTable } from './push-table.ts';
import type { Rng } from './rng.ts';
import {
  SLOT_ADDRESS,
  SLOT_BUDGET,
  SLOT_BUSY,
  SLOT_BYTES,
  SLOT_DATA_BYTES,
  SLOT_FAMILY,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_LOCAL,
  SLOT_PORT,
  SLOT_RECEIVER,
  SLOT_SCOPE,
  SLOT_STATE,
  SLOT_TRANSPORT,
  type Slab,
  TRANSPORT_UDP,
} from './slab.ts';
import { ADDED, BOUNDED, Change, OP_PUT, OP_REMOVE, REFRESHED } from './store/change.ts';
import type { RecordStore } from './store/record-store.ts';

/** Subscribers told of one new announce, as in the original. */
export const PUSHES_PER_ANNOUNCE = 16;
/** How long a subscription lives without being renewed, as in the original. */
export const SUBSCRIPTION_TTL_SECONDS = 60;
/** A subscription of the last so many seconds is not renewed: it lives that much longer instead. */
export const FRESH_SECONDS = 4;
/** Per tick, as for announces; subscriptions live for a minute, so their turn comes sooner. */
const SWEEP_ROWS = 16_384;
const SWEEP_FREED = 4096;
const REMOVAL_ORIGIN = 255;
const ADDRESS_BYTES = 16;
/** The last second a subscription can expire at. */
const LAST_SECOND = 0xffff_ffff;

export interface PusherParts {
  readonly slab: Slab;
  readonly counters: CounterRow;
  readonly domains: DomainTable;
  readonly subscriptions: RecordStore;
  readonly table: PushTable;
  readonly paths: Paths;
  readonly slots: OriginSlots;
  readonly outbox: Outbox;
  readonly pushBudget: PushBudget;
  readonly rng: Rng;
  /** How long a subscription lives without being renewed; 0: for ever. */
  readonly subscriptionTtlSeconds: number;
}

export class Pusher {
  readonly #parts: PusherParts;
  readonly #change = new Change();
  readonly #subscribers = new Int32Array(PUSHES_PER_ANNOUNCE);
  /** Where the next tick begins. */
  #hand = 0;

  constructor(parts: PusherParts) {
    this.#parts = parts;
  }

  /** The way the asker in `slot` came, and pushes to it go: a number from 0 to 254. */
  pathOf(slot: number): number {
    return this.#parts.paths.intern(this.#parts.slab, slot);
  }

  /** Subscribes the asker in `slot` to the key; false when that could not be stored. */
  subscribe(key: Key, slot: number, path: number, nowSeconds: number): boolean {
    const change = this.#change;
    fillChange(change, OP_PUT, key, this.#parts.slab, slot, nowSeconds);
    change.origin = path;
    const ttl = this.#parts.subscriptionTtlSeconds;
    change.expiresAt = ttl === 0 ? 0 : Math.min(nowSeconds + 1 + FRESH_SECONDS + ttl, LAST_SECOND);
    const result = this.#parts.subscriptions.apply(change);
    if (result === BOUNDED) this.#parts.counters[COUNTER.subscribesBounded]++;
    return result === ADDED || result === REFRESHED;
  }

  /** Ends the subscription of the asker in `slot`. */
  unsubscribe(key: Key, slot: number, nowSeconds: number): void {
    const change = this.#change;
    fillChange(change, OP_REMOVE, key, this.#parts.slab, slot, nowSeconds);
    // Within one second the higher origin wins: a removal beats a subscription by any path.
    change.origin = REMOVAL_ORIGIN;
    this.#parts.subscriptions.apply(change);
  }

  /**
   * Tells at most `most` subscribers of the key that the asker in `slot` is now a peer on `port`.
   * Returns how many.
   */
  notify(key: Key, slot: number, port: number, ttl: number, nowMs: number, most: number): number {
    const { subscriptions, rng, table, counters, pushBudget, slab } = this.#parts;
    const name = subscriptions.find(key.bytes, 0, key.end, key.hash, key.domain);
    if (name < 0 || most === 0) return 0;
    const now = Math.floor(nowMs / 1000);
    const subscribers = this.#subscribers;
    const wanted = Math.min(most, subscriptions.liveCount(name));
    // What there is no row for is neither sampled nor charged.
    const rows = PUSH_CAPACITY - table.size;
    if (rows < wanted) counters[COUNTER.dropPushFull] += wanted - rows;
    const possible = Math.min(wanted, rows);
    const allowed = Math.min(possible, pushBudget.allowance(slab, slot, nowMs));
    counters[COUNTER.pushesBounded] += possible - allowed;
    if (allowed === 0) return 0;
    const count = subscriptions.sample(name, 0, allowed, now, rng, subscribers);
    pushBudget.spend(count);
    for (let i = 0; i < count; i++) {
      const row = table.add(nowMs);
      if (row < 0) return i;
      if (!this.#fillImage(row, key, subscribers[i], slot, port, ttl)) {
        table.remove(row);
        return i;
      }
      counters[COUNTER.pushes]++;
      this.#send(row, nowMs);
    }
    return count;
  }

  /** Takes the acknowledgement in `slot`; false when it belongs to no push. */
  acknowledge(slot: number): boolean {
    const { slab, table } = this.#parts;
    const base = slot * SLOT_BYTES;
    const id = readU16(slab.bytes, base + SLOT_HEADER_BYTES);
    const port = slab.u16[(base + SLOT_PORT) >> 1];
    return table.acknowledge(id, slab.i32, (base + SLOT_ADDRESS) >> 2, port);
  }

  /** Sends what is due for another try by `nowMs` and gives up what has had its tries. */
  tick(nowMs: number): void {
    const { subscriptions, table } = this.#parts;
    subscriptions.sweep(Math.floor(nowMs / 1000), SWEEP_ROWS, SWEEP_FREED);
    if (table.size === 0) return;
    let hasSlots = true;
    const first = this.#hand;
    for (let i = 0; i < PUSH_CAPACITY; i++) {
      const row = (first + i) % PUSH_CAPACITY;
      if (!table.isDue(row, nowMs) || this.#giveUp(row) || !hasSlots) continue;
      hasSlots = this.#retry(row, nowMs);
      // Where the slots run out the next tick begins: every row gets its turn.
      if (!hasSlots) this.#hand = row;
    }
  }

  #giveUp(row: number): boolean {
    const { table, counters } = this.#parts;
    if (!table.exhausted(row)) return false;
    counters[COUNTER.pushTimeouts]++;
    table.remove(row);
    return true;
  }

  #retry(row: number, nowMs: number): boolean {
    const { table, counters } = this.#parts;
    const isRetry = table.triesOf(row) > 0;
    if (!this.#send(row, nowMs)) return false;
    if (isRetry) counters[COUNTER.pushRetries]++;
    return true;
  }

  /**
   * Sends a try of the row. With no slot free the row stays due for the next tick.
   */
  #send(row: number, nowMs: number): boolean {
    const { slab, slots, table, outbox, counters } = this.#parts;
    const slot = slots.take();
    if (slot < 0) return false;
    table.copyToSlot(row, slab, slot);
    counters[COUNTER.originated]++;
    outbox.originate(slot);
    table.sent(row, nowMs);
    return true;
  }

  /**
   * Writes the row's slot header, by the subscriber's record, and its message; false when it has
   * none.
   */
  #fillImage(
    row: number,
    key: Key,
    subscriber: number,
    announcer: number,
    port: number,
    ttl: number,
  ): boolean {
    const { slab, table, subscriptions, paths, domains } = this.#parts;
    const { images, imageWords } = table;
    const at = table.imageOffset(row);
    const path = subscriptions.origin(subscriber);
    const subscriberPort = subscriptions.port(subscriber);
    images[at + SLOT_FAMILY] = subscriptions.family(subscriber);
    images[at + SLOT_TRANSPORT] = TRANSPORT_UDP;
    images[at + SLOT_PORT] = subscriberPort;
    images[at + SLOT_PORT + 1] = subscriberPort >> 8;
    const from = subscriptions.addressOffset(subscriber);
    for (let i = 0; i < ADDRESS_BYTES; i++) {
      images[at + SLOT_ADDRESS + i] = subscriptions.recordBytes[from + i];
    }
    for (let i = 0; i < 4; i++) imageWords[((at + SLOT_LOCAL) >> 2) + i] = paths.localWord(path, i);
    imageWords[(at + SLOT_SCOPE) >> 2] = paths.scope(path);
    imageWords[(at + SLOT_BUDGET) >> 2] = SLOT_DATA_BYTES;
    images[at + SLOT_RECEIVER] = paths.receiver(path);
    images[at + SLOT_RECEIVER + 1] = paths.receiver(path) >> 8;
    images[at + SLOT_STATE] = SLOT_BUSY;
    const length = writePush(
      images,
      at + SLOT_HEADER_BYTES,
      table.id(row),
      key.bytes,
      0,
      key.end,
      domains.wires[key.domain],
      ttl,
      port,
      slab.bytes,
      announcer * SLOT_BYTES + SLOT_ADDRESS,
    );
    imageWords[(at + SLOT_LENGTH) >> 2] = length;
    return length > 0;
  }
}
