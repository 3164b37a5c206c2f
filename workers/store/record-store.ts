/**
 * The record store of one lane: which peers are live under which name, in flat shared memory.
 *
 * One lane is the only writer; every change goes through `apply`. All state is in the buffers
 * (layout.ts), so that a lane's successor adopts them: `new RecordStore(buffers)`, and `repair()`
 * when `needsRepair`.
 *
 * A full store makes room by forgetting the oldest tombstone, else by evicting the oldest record of
 * the least recently used name. Lookups (`touch`) and announces both make a name recently used. A
 * watcher (watcher.ts) may have a peer take the place of the oldest record of its own name.
 */
import {
  ABSENT,
  ADDED,
  type ApplyResult,
  BOUNDED,
  type Change,
  FULL,
  INVALID,
  isValidChange,
  OP_PUT,
  REFRESHED,
  REMOVED,
  STALE,
} from './change.ts';
import { checkStore } from './check.ts';
import {
  allocateBuffers,
  checkBuffers,
  HEADER_LIVE,
  HEADER_LRU_OLDEST,
  HEADER_NAMES,
  HEADER_RECORD_HIGH,
  HEADER_SWEEP_HAND,
  HEADER_TOMBSTONE_OLDEST,
  HEADER_TOMBSTONE_SECONDS,
  HEADER_TOMBSTONES,
  HEADER_WRITING,
  NONE,
  RECORD_BYTES,
  RECORD_META,
  STATE_LIVE,
  type StoreBuffers,
  type StoreOptions,
  TOTAL_EVICTED,
  TOTAL_EXPIRED,
  TOTAL_TOMBSTONES_RECLAIMED,
} from './layout.ts';
import { Membership } from './membership.ts';
import { Names } from './names.ts';
import { isStale, Records } from './records.ts';
import { type RepairReport, repairStore } from './repair.ts';
import { type RandomSource, Sampler } from './sample.ts';
import { type RecordVisitor, visitRecords } from './snapshot.ts';
import { ADMITTED, REFUSED, REPLACES, type StoreWatcher, type Verdict } from './watcher.ts';

/** What a put that changes nothing gives inside; outside it is REFRESHED. */
const UNCHANGED = 0;
/** Rows freed per sweep unless told otherwise: well below a millisecond. */
export const SWEEP_FREED_MAX = 256;
/** Tombstones end at the latest with the clock's last second. */
const LATEST_SECOND = 0xffffffff;

/** Bytes `copyPeers` writes for an IPv4 and an IPv6 peer: address, port in network order. */
export const PEER4_BYTES = 6;
export const PEER6_BYTES = 18;

export type ChangeObserver = (change: Change, result: ApplyResult) => void;

export class RecordStore {
  readonly buffers: StoreBuffers;
  readonly limit: number;
  /** The shared record rows as bytes: `addressOffset` points into it. */
  readonly recordBytes: Uint8Array;
  /**
   * Called after each change that came into effect: ADDED, REMOVED, and REFRESHED unless the put
   * said what was stored already.
   */
  onChange: ChangeObserver | null = null;
  readonly header: Int32Array;
  readonly totals: Float64Array;
  readonly names: Names;
  readonly records: Records;
  readonly membership: Membership;
  readonly #sampler: Sampler;
  readonly #tombstoneSeconds: number;

  /**
   * Wraps existing buffers.
   *
   * @throws RangeError when they are not one store of this layout.
   */
  constructor(buffers: StoreBuffers) {
    this.limit = checkBuffers(buffers);
    this.buffers = buffers;
    this.header = new Int32Array(buffers.header);
    this.totals = new Float64Array(buffers.header);
    this.names = new Names(buffers);
    this.records = new Records(buffers);
    this.membership = new Membership(buffers, this.names, this.records);
    this.recordBytes = this.records.bytes;
    this.#sampler = new Sampler(this.records, this.membership, this);
    this.#tombstoneSeconds = this.header[HEADER_TOMBSTONE_SECONDS];
  }

  /**
   * A new, empty store.
   *
   * @throws RangeError when an option is out of range.
   */
  static allocate(options: StoreOptions): RecordStore {
    return new RecordStore(allocateBuffers(options));
  }

  /** Live records, among them expired ones nobody has met yet. */
  get live(): number {
    return this.header[HEADER_LIVE];
  }

  get tombstones(): number {
    return this.header[HEADER_TOMBSTONES];
  }

  /** Names with at least one record, live or tombstone. */
  get nameCount(): number {
    return this.header[HEADER_NAMES];
  }

  /** Live records that had to go for newer ones, ever. */
  get evicted(): number {
    return this.totals[TOTAL_EVICTED];
  }

  /** Live records whose time was over when they were met, ever. */
  get expired(): number {
    return this.totals[TOTAL_EXPIRED];
  }

  /** Tombstones forgotten, their time over or their room needed, ever. */
  get tombstonesReclaimed(): number {
    return this.totals[TOTAL_TOMBSTONES_RECLAIMED];
  }

  /**
   * Has `watcher` asked before a peer becomes live, and told of each that does or no longer is;
   * null: nobody. It counts what is there first.
   */
  watch(watcher: StoreWatcher | null): void {
    this.membership.watcher = watcher;
    watcher?.recount();
  }

  #judge(name: number): Verdict {
    return this.membership.watcher?.judge(name, this.records.identity) ?? ADMITTED;
  }

  /** The one door of change. Never throws; allocates nothing. */
  apply(change: Change): ApplyResult {
    if (!isValidChange(change)) return INVALID;
    this.header[HEADER_WRITING] = 1;
    const result = change.op === OP_PUT ? this.#put(change) : this.#remove(change);
    this.header[HEADER_WRITING] = 0;
    if (result === UNCHANGED) return REFRESHED;
    if (this.onChange !== null && result <= REMOVED) this.onChange(change, result);
    return result;
  }

  #put(change: Change): ApplyResult | typeof UNCHANGED {
    if (change.expiresAt !== 0 && change.expiresAt <= change.now) return STALE;
    this.records.setIdentity(change);
    const name = this.#findName(change);
    const record = name === NONE ? NONE : this.records.find(name);
    if (record === NONE) return this.#add(name, change);
    if (this.records.isOver(record, change.now)) {
      this.#dropOver(record);
      return this.#add(this.#findName(change), change);
    }
    if (isStale(this.records, record, change)) return STALE;
    if (this.records.isLive(record)) {
      // Clients repeat themselves: the same announce within the second changes nothing.
      if (this.records.isSame(record, change)) return UNCHANGED;
      this.records.renew(record, change);
      this.membership.renew(name, record);
      return REFRESHED;
    }
    const verdict = this.#judge(name);
    if (verdict === REFUSED) return BOUNDED;
    if (!this.membership.reserve(name, change.family)) return FULL;
    if (verdict === REPLACES) {
      // Its tombstone keeps the name, but the block reserved for it may have gone.
      this.#evictOldest(name);
      if (!this.membership.reserve(name, change.family)) return FULL;
    }
    this.membership.dequeueTombstone(name, record);
    this.records.renew(record, change);
    this.membership.link(name, record);
    return ADDED;
  }

  /** Adds a record that is not in the store under a name that may not be either. */
  #add(known: number, change: Change): ApplyResult {
    const { names, membership } = this;
    let name = known;
    const verdict = this.#judge(name);
    if (verdict === REFUSED) return BOUNDED;
    // Before anyone is evicted: what will be refused anyway must cost nobody a record.
    if (name !== NONE && !membership.reserve(name, change.family)) return FULL;
    if (verdict === REPLACES || !this.records.hasRoom()) {
      if (name !== NONE) names.touch(name);
      if (verdict === REPLACES) this.#evictOldest(name);
      else this.#makeRoom();
      // The name itself may have gone to make the room, or lost the block reserved for it.
      if (name !== NONE) name = this.#findName(change);
      if (name !== NONE && !membership.reserve(name, change.family)) return FULL;
    }
    if (name === NONE) {
      const { keyBytes, keyStart, keyEnd } = change;
      name = names.create(keyBytes, keyStart, keyEnd, change.keyHash, change.domain);
    }
    membership.link(name, this.records.create(name, change));
    return ADDED;
  }

  #remove(change: Change): ApplyResult {
    this.records.setIdentity(change);
    const name = this.#findName(change);
    const record = name === NONE ? NONE : this.records.find(name);
    if (record === NONE) return ABSENT;
    if (this.records.isOver(record, change.now)) {
      this.#dropOver(record);
      return ABSENT;
    }
    if (isStale(this.records, record, change)) return STALE;
    const forgetAt = Math.min(change.now + this.#tombstoneSeconds, LATEST_SECOND);
    if (!this.records.isLive(record)) {
      // A later removal of what is gone: a put between the two must find the later one.
      this.membership.dequeueTombstone(name, record);
      this.records.bury(record, change, forgetAt);
      this.membership.enqueueTombstone(name, record);
      return ABSENT;
    }
    if (this.#tombstoneSeconds === 0) {
      this.#drop(record);
      return REMOVED;
    }
    this.membership.unlink(name, record);
    this.records.bury(record, change, forgetAt);
    this.membership.enqueueTombstone(name, record);
    return REMOVED;
  }

  #findName(change: Change): number {
    const { keyBytes, keyStart, keyEnd } = change;
    return this.names.find(keyBytes, keyStart, keyEnd, change.keyHash, change.domain);
  }

  /** Frees one row of a full store: every row is a tombstone or live. */
  #makeRoom(): void {
    const tombstone = this.header[HEADER_TOMBSTONE_OLDEST];
    if (tombstone !== NONE) {
      this.#forget(tombstone);
      return;
    }
    this.#evictOldest(this.header[HEADER_LRU_OLDEST]);
  }

  /** Frees the oldest live record of a name that has one. */
  #evictOldest(name: number): void {
    this.#drop(this.membership.oldest(name));
    this.totals[TOTAL_EVICTED]++;
  }

  #dropOver(record: number): void {
    if (!this.records.isLive(record)) {
      this.#forget(record);
      return;
    }
    this.#drop(record);
    this.totals[TOTAL_EXPIRED]++;
  }

  /** Frees a live record without a trace. */
  #drop(record: number): void {
    const name = this.records.name(record);
    this.membership.unlink(name, record);
    this.#release(name, record);
  }

  /** Frees a tombstone. */
  #forget(record: number): void {
    const name = this.records.name(record);
    this.membership.dequeueTombstone(name, record);
    this.#release(name, record);
    this.totals[TOTAL_TOMBSTONES_RECLAIMED]++;
  }

  /** Frees a row that is in no list, and its name when that was its last. */
  #release(name: number, record: number): void {
    this.records.release(record);
    if (this.names.live(name) === 0 && this.names.dead(name) === 0) this.names.release(name);
  }

  /** Unlinks a live record whose time is over; for the sampler. */
  expire(record: number): void {
    this.header[HEADER_WRITING] = 1;
    this.#dropOver(record);
    this.header[HEADER_WRITING] = 0;
  }

  /**
   * Removes what is over: the oldest tombstones, then expired records among the next `maxRows` rows
   * of a hand that goes round. Call it regularly with a small `maxRows`.
   *
   * Looking at a row costs nanoseconds, freeing it about a microsecond: at most `maxFreed` are
   * freed, at most half of them (rounded up) tombstones, so that neither kind waits for the other.
   * The hand stays where that number was reached.
   *
   * @returns how many rows were freed; `maxFreed` means that there may be more: call again soon.
   */
  sweep(now: number, maxRows: number, maxFreed = SWEEP_FREED_MAX): number {
    this.header[HEADER_WRITING] = 1;
    let freed = 0;
    for (const most = (maxFreed + 1) >> 1; freed < most && freed < maxRows; freed++) {
      const oldest = this.header[HEADER_TOMBSTONE_OLDEST];
      if (oldest === NONE || !this.records.isOver(oldest, now)) break;
      this.#forget(oldest);
    }
    const high = this.header[HEADER_RECORD_HIGH];
    let hand = this.header[HEADER_SWEEP_HAND];
    for (let i = Math.min(maxRows, high); i > 0 && freed < maxFreed; i--) {
      if (hand >= high) hand = 0;
      if (this.records.isLive(hand) && this.records.isOver(hand, now)) {
        this.#dropOver(hand);
        freed++;
      }
      hand++;
    }
    this.header[HEADER_SWEEP_HAND] = hand;
    this.header[HEADER_WRITING] = 0;
    return freed;
  }

  /** The name of a key (see Change), or -1. Does not make it recently used. */
  find(keyBytes: Uint8Array, start: number, end: number, hash: number, domain: number): number {
    return this.names.find(keyBytes, start, end, hash, domain);
  }

  /** Makes a name the most recently used. A lookup calls it. */
  touch(name: number): void {
    this.header[HEADER_WRITING] = 1;
    this.names.touch(name);
    this.header[HEADER_WRITING] = 0;
  }

  /** Live records of a name, both families, among them expired ones nobody has met yet. */
  liveCount(name: number): number {
    return this.names.live(name);
  }

  /**
   * Chooses up to `max` of a name's live peers at random, each about equally likely, all distinct,
   * in random order, into `out` as record indices. They stay valid until the next change.
   *
   * `family` is 4, 6 or 0 (both). Expired records are never chosen; the first 32 it meets are
   * unlinked: the name is gone with its last one, so `name` must not be used again when nothing was
   * found.
   *
   * @returns how many there are: `max`, or as many as the name has. Of a name with hundreds of
   * peers of which nearly all have expired and were not swept yet it may be fewer.
   */
  sample(
    name: number,
    family: number,
    max: number,
    now: number,
    random: RandomSource,
    out: Int32Array,
  ): number {
    const most = Math.min(max, out.length);
    return this.#sampler.sample(name, family, most, now, random, out);
  }

  /** Offset of a record's 16 address bytes in `recordBytes`. */
  addressOffset(record: number): number {
    return record * RECORD_BYTES;
  }

  port(record: number): number {
    return this.records.port(record);
  }

  /** 4 or 6. */
  family(record: number): number {
    return this.records.isIpv6(record) ? 6 : 4;
  }

  origin(record: number): number {
    return this.records.origin(record);
  }

  /** Whole unix seconds, 0 = never. */
  expiresAt(record: number): number {
    return this.records.expiresAt(record);
  }

  version(record: number): number {
    return this.records.version(record);
  }

  /**
   * Writes `records[first..first + count)` to `out[offset..]` as the wire has them: the address (4
   * or 16 bytes, by the record's family), then the port in network order.
   *
   * @returns how many bytes it wrote.
   */
  copyPeers(
    records: Int32Array,
    count: number,
    out: Uint8Array,
    offset: number,
    first = 0,
  ): number {
    const { recordBytes } = this;
    let at = offset;
    for (let i = first; i < first + count; i++) {
      const record = records[i];
      const start = record * RECORD_BYTES;
      for (let b = this.records.isIpv6(record) ? 0 : 12; b < 16; b++) {
        out[at++] = recordBytes[start + b];
      }
      out[at++] = recordBytes[start + 17];
      out[at++] = recordBytes[start + 16];
    }
    return at - offset;
  }

  /**
   * Writes IPv4 peers as two 24-bit numbers each, first address bytes 1 to 3, then byte 4 and the
   * port: the units base64 works in.
   */
  copyPairs(records: Int32Array, count: number, out: Int32Array): void {
    const { words } = this.records;
    for (let i = 0; i < count; i++) {
      const row = records[i] * (RECORD_BYTES / 4);
      const address = words[row + 3];
      out[2 * i] = ((address & 0xff) << 16) | (address & 0xff00) | ((address >>> 16) & 0xff);
      out[2 * i + 1] = ((address >>> 24) << 16) | (words[row + RECORD_META] & 0xffff);
    }
  }

  /** Copies a name's key to `out[offset..]`, up to 255 bytes; returns its length. */
  copyKey(name: number, out: Uint8Array, offset: number): number {
    return this.names.copyKey(name, out, offset);
  }

  /** The name a record belongs to. */
  nameOf(record: number): number {
    return this.records.name(record);
  }

  /**
   * Visits the rows in use among `[first, end)`, tombstones too, each one whole, from any thread
   * (snapshot.ts).
   *
   * @returns how many were left out as torn.
   */
  forEachRecord(visitor: RecordVisitor, first?: number, end?: number): number {
    return visitRecords(this.records, this.names, visitor, first, end);
  }

  /** Whether a writer died in the middle of a change of these buffers. */
  get needsRepair(): boolean {
    return this.header[HEADER_WRITING] !== 0;
  }

  /** Rebuilds lists, tables and counts from the rows that are whole (repair.ts). */
  repair(): RepairReport {
    const { watcher } = this.membership;
    this.membership.watcher = null;
    const report = repairStore(this);
    this.watch(watcher);
    return report;
  }

  /**
   * Verifies every invariant; slow, for tests and after a repair.
   *
   * @throws Error naming the first that does not hold.
   */
  check(): void {
    checkStore(this);
  }

  /** Whether a row is a live record; for tests and repair. */
  isLive(record: number): boolean {
    return this.records.state(record) === STATE_LIVE;
  }
}
