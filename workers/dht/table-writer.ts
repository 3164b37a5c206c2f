/**
 * The routing table's one writer: who gets in, who goes, and what is known of each. It lives on the
 * thread of the control plane, which hands in its ticks (5 s each, in the original); lanes read the
 * same memory (routing-table.ts) and mark nodes as seen.
 */
import { hostToU32, readHost, readPort, u32ToHost } from '../../codecs/dht/address.ts';
import { ID_BYTES, K } from '../../codecs/dht/constants.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import type { Rng } from '../rng.ts';
import { TableBounds } from './table-bounds.ts';
import {
  BUCKETS,
  bucketOfId,
  compareIds,
  OWN_TOP,
  PLACE_ADDED,
  PLACE_ADDRESS,
  PLACE_DOWN_HINTS,
  PLACE_PINGED,
  PLACE_SEEN,
  placeAt,
  ROWS,
  rowAt,
} from './table-layout.ts';
import { NONE, type PlaceValues, TableRows } from './table-rows.ts';

/** A node of the table as it was when it was asked for; ticks are the writer's. */
export interface KnownNode {
  /** 32 bytes, the hash of the address. */
  readonly id: Uint8Array;
  /** IPv4, dotted. */
  readonly host: string;
  readonly port: number;
  /** When it came into the table. */
  readonly added: number;
  /** When it was last pinged or heard from, whichever is later. */
  readonly pinged: number;
  /** When it was last heard from, by any thread. */
  readonly seen: number;
  /** How often it was said to be down. */
  readonly downHints: number;
}

/**
 * What became of a node that was to be added: `bounded`, its address is not taken or its network
 * has all it may have (table-bounds.ts); `full`, its bucket is: ping the oldest of `bucketOf`;
 * `no-row`, all rows of the pool have a bucket already.
 */
export type AddOutcome = 'added' | 'known' | 'full' | 'bounded' | 'self' | 'no-row';

export interface TableWriterOptions {
  /** Whether the network is a LAN or on loopback: then private addresses are taken unbounded. */
  readonly isPrivate: boolean;
}

const MAX_PORT = 0xffff;

export class TableWriter {
  /** Nodes per bucket. */
  readonly k = K;
  /** The memory itself: for tests, which stop a writer in the middle of its stores. */
  readonly rows: TableRows;
  readonly #bounds: TableBounds;

  /**
   * Adopts memory from `RoutingTable.allocate`, with whatever is in it: also when its last writer
   * stopped in the middle of a change, which then is not there.
   */
  constructor(buffer: SharedArrayBuffer, options: TableWriterOptions) {
    this.rows = new TableRows(buffer);
    this.#bounds = new TableBounds(options.isPrivate);
    this.#forEach((place) => this.#bounds.count(this.#address(place), 1));
  }

  /** How many nodes it has. */
  get size(): number {
    return this.rows.size;
  }

  /** The tick with which lanes mark nodes as seen. */
  get tick(): number {
    return this.rows.tick;
  }

  /** Moves the tick. `add`, `setPinged` and `setSeen` do too when theirs is later. */
  setTick(tick: number): void {
    this.rows.setTick(tick);
  }

  /**
   * Adds the node at `host` (IPv4, dotted) and `port`, heard from at `tick`. Only for nodes that
   * answered: a source address proves nothing. A known node is left as it is.
   */
  add(host: string, port: number, tick: number): AddOutcome {
    this.#noteTick(tick);
    const address = hostToU32(host);
    if (address < 0 || port < 1 || port > MAX_PORT) return 'bounded';
    const id = nodeId(host, port);
    const rows = this.rows;
    if (compareIds(id, 0, rows.bytes, rows.own() << 2) === 0) return 'self';
    const bucket = rows.bucketOf(id);
    let rowStart = rows.rowOf(bucket);
    const index = rowStart === NONE ? NONE : rows.search(rowStart, id);
    if (index >= 0) return 'known';
    if (!this.#isWelcome(address, rowStart)) return 'bounded';
    if (rowStart !== NONE && rows.count(rowStart) === K) return 'full';
    if (rowStart === NONE) rowStart = rows.takeRow(bucket);
    if (rowStart === NONE) return 'no-row';
    const values = { id, address, port, seen: tick, pinged: tick, added: tick, downHints: 0 };
    rows.insert(rowStart, -1 - index, values);
    this.#bounds.count(address, 1);
    return 'added';
  }

  /** Removes a node; false when it is not known. */
  remove(id: Uint8Array): boolean {
    const rows = this.rows;
    const rowStart = rows.rowOf(rows.bucketOf(id));
    const index = rowStart === NONE ? NONE : rows.search(rowStart, id);
    if (index < 0) return false;
    const address = this.#address(rows.place(rowStart, index));
    rows.remove(rowStart, index);
    this.#bounds.count(address, -1);
    return true;
  }

  /**
   * A node of a network that has more than its share of the table, the one that came last; null:
   * there is none. After an `add` or `remove` such nodes are to be removed.
   */
  surplus(): KnownNode | null {
    for (const network of this.#bounds.crowded(this.size)) {
      let last = NONE;
      this.#forEach((place) => {
        if (this.#address(place) >>> 16 !== network) return;
        if (last === NONE || !this.#isEarlier(place, last)) last = place;
      });
      if (last !== NONE && !this.#isSettled(last)) return this.#node(last);
    }
    return null;
  }

  /**
   * The node that should make room for one at `host` and `port`, for which `add` finds its bucket
   * full: the last to come of the bucket's most crowded network, when that one has more than its
   * share and the newcomer's has fewer nodes. Null: nobody should.
   */
  displaceable(host: string, port: number): KnownNode | null {
    const bounds = this.#bounds;
    // One more of the newcomer's, one less of theirs: otherwise two would displace each other.
    const own = bounds.countOf(hostToU32(host)) + 1;
    let most = own;
    let last = NONE;
    for (const place of this.#places(this.rows.bucketOf(nodeId(host, port)))) {
      const crowd = bounds.crowdOf(this.#address(place), this.size);
      if (crowd < most || crowd <= own || this.#isSettled(place)) continue;
      if (crowd === most && last !== NONE && this.#isEarlier(place, last)) continue;
      most = crowd;
      last = place;
    }
    return last === NONE ? null : this.#node(last);
  }

  #isEarlier(place: number, other: number): boolean {
    const { words } = this.rows;
    return words[place + PLACE_ADDED] < words[other + PLACE_ADDED];
  }

  #isSettled(place: number): boolean {
    const bounds = this.#bounds;
    const ticks = this.tick - this.rows.words[place + PLACE_ADDED];
    return bounds.isSettled(bounds.countOf(this.#address(place)), ticks);
  }

  /** The node of an id, or null. */
  get(id: Uint8Array): KnownNode | null {
    const place = this.#find(id);
    return place === NONE ? null : this.#node(place);
  }

  /** The node at an entry (RoutingTable.find); null when nobody is there any more. */
  at(entry: number): KnownNode | null {
    const rows = this.rows;
    const row = Math.floor(entry / K);
    if (!Number.isInteger(entry) || row < 0 || row >= rows.words[ROWS]) return null;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      if (rows.rowOf(bucket) !== rowAt(row)) continue;
      return rows.isUsed(rowAt(row), entry % K) ? this.#node(placeAt(rowAt(row), entry % K)) : null;
    }
    return null;
  }

  /** Notes that a node is being pinged. */
  setPinged(id: Uint8Array, tick: number): void {
    this.#noteTick(tick);
    const place = this.#find(id);
    if (place !== NONE) this.rows.words[place + PLACE_PINGED] = tick;
  }

  /** Notes that a node was heard from. */
  setSeen(id: Uint8Array, tick: number): void {
    this.#noteTick(tick);
    const place = this.#find(id);
    if (place !== NONE) Atomics.store(this.rows.atomics, place + PLACE_SEEN, tick);
  }

  /** Notes that somebody said the node is down. */
  addDownHint(id: Uint8Array): void {
    const place = this.#find(id);
    if (place !== NONE) this.rows.words[place + PLACE_DOWN_HINTS]++;
  }

  /** The `count` nodes that were not heard from for longest, that one first. */
  oldest(count: number): KnownNode[] {
    return this.#bySeen()
      .slice(0, count)
      .map((place) => this.#node(place));
  }

  /** The `count` nodes that were heard from last, that one first. */
  latest(count: number): KnownNode[] {
    return this.#bySeen()
      .reverse()
      .slice(0, count)
      .map((place) => this.#node(place));
  }

  /** All nodes of the bucket that an id is in or would be in, ids ascending. */
  bucketOf(id: Uint8Array): KnownNode[] {
    const bucket = this.rows.bucketOf(id);
    return this.#places(bucket).map((place) => this.#node(place));
  }

  /** At most `count` nodes close to `target`, in the order of RoutingTable.writeClosest. */
  closest(target: Uint8Array, count: number): KnownNode[] {
    const bucket = this.rows.bucketOf(target);
    const top = this.#top();
    const found: number[] = [];
    for (let i = Math.min(bucket, top); i >= 0 && found.length < count; i--) {
      found.push(...this.#places(i));
    }
    for (let i = bucket + 1; i <= top && found.length < count; i++) found.push(...this.#places(i));
    return found.slice(0, count).map((place) => this.#node(place));
  }

  /** Any node, each as likely as another; null when there is none. */
  random(rng: Rng): KnownNode | null {
    if (this.size === 0) return null;
    let left = rng.below(this.size);
    let chosen: KnownNode | null = null;
    this.#forEach((place) => {
      if (left-- === 0) chosen = this.#node(place);
    });
    return chosen;
  }

  /** All nodes, by bucket from 0 on, ids ascending within each. */
  all(): KnownNode[] {
    const nodes: KnownNode[] = [];
    this.#forEach((place) => nodes.push(this.#node(place)));
    return nodes;
  }

  /**
   * Sets the node's own id (32 bytes) and whether it is shown. With another id all nodes change
   * their buckets, in one step for those who read, those heard from last having precedence; who
   * finds no room in his new one is returned, and no longer known.
   */
  setOwn(id: Uint8Array, isPersistent: boolean): KnownNode[] {
    const rows = this.rows;
    if (id.length !== ID_BYTES) throw new RangeError(`own id of ${id.length} bytes: expected 32`);
    if (compareIds(id, 0, rows.bytes, rows.own() << 2) === 0) {
      if (rows.isPersistent !== isPersistent) rows.setPersistent(isPersistent);
      return [];
    }
    const places = this.#bySeen().reverse();
    const nodes = places.map((place) => this.#node(place));
    const dropped: KnownNode[] = [];
    const buckets = new Map<number, PlaceValues[]>();
    const most = rows.countFreeRows();
    for (const node of nodes) {
      const bucket = bucketOfId(id, 0, node.id, 0);
      const members = buckets.get(bucket) ?? [];
      const hosts = members.map((member) => member.address);
      const address = hostToU32(node.host);
      const isOwn = compareIds(id, 0, node.id, 0) === 0;
      const hasRow = members.length > 0 ? members.length < K : buckets.size < most;
      if (isOwn || !hasRow || !this.#bounds.fitsBucket(address, hosts)) {
        dropped.push(node);
        continue;
      }
      members.push({ ...node, address });
      buckets.set(bucket, members);
    }
    rows.replace(id, isPersistent, buckets);
    for (const node of dropped) this.#bounds.count(hostToU32(node.host), -1);
    return dropped;
  }

  /** Whether a new node's address may be added, to a row that is or NONE. */
  #isWelcome(address: number, rowStart: number): boolean {
    const bounds = this.#bounds;
    if (!bounds.isAllowed(address) || !bounds.fitsTable(address, this.size + 1)) return false;
    if (rowStart === NONE) return true;
    const hosts: number[] = [];
    for (let i = 0; i < this.rows.count(rowStart); i++) {
      hosts.push(this.#address(this.rows.place(rowStart, i)));
    }
    return bounds.fitsBucket(address, hosts);
  }

  #noteTick(tick: number): void {
    if (tick > this.rows.tick) this.rows.setTick(tick);
  }

  #top(): number {
    return this.rows.words[this.rows.own() + OWN_TOP];
  }

  /** First word of the place of an id, or NONE. */
  #find(id: Uint8Array): number {
    const rows = this.rows;
    const rowStart = rows.rowOf(rows.bucketOf(id));
    const index = rowStart === NONE ? NONE : rows.search(rowStart, id);
    return index < 0 ? NONE : rows.place(rowStart, index);
  }

  #places(bucket: number): number[] {
    const rowStart = this.rows.rowOf(bucket);
    if (rowStart === NONE) return [];
    const count = this.rows.count(rowStart);
    return Array.from({ length: count }, (_, index) => this.rows.place(rowStart, index));
  }

  #forEach(visit: (place: number) => void): void {
    for (let bucket = 0; bucket <= this.#top(); bucket++) this.#places(bucket).forEach(visit);
  }

  /** All places, those not seen for longest first; the same order every time. */
  #bySeen(): number[] {
    const places: [place: number, seen: number, added: number][] = [];
    this.#forEach((place) => {
      places.push([place, this.#seen(place), this.rows.words[place + PLACE_ADDED]]);
    });
    places.sort((a, b) => a[1] - b[1] || a[2] - b[2] || a[0] - b[0]);
    return places.map(([place]) => place);
  }

  #seen(place: number): number {
    return Atomics.load(this.rows.atomics, place + PLACE_SEEN);
  }

  #address(place: number): number {
    return readHost(this.rows.bytes, (place + PLACE_ADDRESS) << 2);
  }

  #node(place: number): KnownNode {
    const { bytes, words } = this.rows;
    const seen = this.#seen(place);
    return {
      id: bytes.slice(place << 2, (place << 2) + ID_BYTES),
      host: u32ToHost(this.#address(place)),
      port: readPort(bytes, (place + PLACE_ADDRESS) << 2),
      added: words[place + PLACE_ADDED],
      pinged: Math.max(words[place + PLACE_PINGED], seen),
      seen,
      downHints: words[place + PLACE_DOWN_HINTS],
    };
  }
}
