/**
 * The writer's half of a routing table's memory (table-layout.ts): every store is here, in the
 * order that leaves readers, and whoever adopts the memory later, all that was there before.
 */
import { writeHostPort } from '../../codecs/dht/address.ts';
import { ADDRESS_BYTES, ID_BYTES, K } from '../../codecs/dht/constants.ts';
import {
  BUCKETS,
  bucketOfId,
  compareIds,
  FLAG_PERSISTENT,
  GENERATION,
  ORDER_ADDRESSES,
  ORDER_COUNT,
  OWN_FLAGS,
  OWN_MAP_BYTES,
  OWN_TOP,
  OWN_WORDS,
  orderAt,
  ownAt,
  PLACE_ADDED,
  PLACE_ADDRESS,
  PLACE_DOWN_HINTS,
  PLACE_PINGED,
  PLACE_SEEN,
  placeAt,
  ROWS,
  rowAt,
  SIZE,
  TICK,
  tableWords,
} from './table-layout.ts';

/** No row, or no place. */
export const NONE = -1;

/** What a place is filled with. */
export interface PlaceValues {
  readonly id: Uint8Array;
  /** Host number. */
  readonly address: number;
  readonly port: number;
  readonly seen: number;
  readonly pinged: number;
  readonly added: number;
  readonly downHints: number;
}

export class TableRows {
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  /** The same memory as `words`, for what is read and written atomically. */
  readonly atomics: Int32Array;

  /** Adopts the memory, also of a writer that stopped in the middle of a change. */
  constructor(buffer: SharedArrayBuffer) {
    this.words = tableWords(buffer);
    this.bytes = new Uint8Array(buffer);
    this.atomics = new Int32Array(buffer);
    const own = this.own();
    let size = 0;
    let top = NONE;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const rowStart = this.rowOf(bucket);
      if (rowStart === NONE) continue;
      size += this.count(rowStart);
      top = bucket;
    }
    this.words[own + OWN_TOP] = top;
    this.#setSize(size);
  }

  get size(): number {
    return this.words[SIZE];
  }

  get tick(): number {
    return this.words[TICK];
  }

  get isPersistent(): boolean {
    return (this.words[this.own() + OWN_FLAGS] & FLAG_PERSISTENT) !== 0;
  }

  setTick(tick: number): void {
    Atomics.store(this.atomics, TICK, tick);
  }

  /** First word of the own part in use; the own id is its first 32 bytes. */
  own(): number {
    return ownAt(Atomics.load(this.atomics, GENERATION));
  }

  /** The bucket of an id. */
  bucketOf(id: Uint8Array): number {
    return bucketOfId(this.bytes, this.own() << 2, id, 0);
  }

  /** First word of a bucket's row, or NONE. */
  rowOf(bucket: number): number {
    const row = this.bytes[(this.own() << 2) + OWN_MAP_BYTES + bucket];
    return row === 0 ? NONE : rowAt(row - 1);
  }

  /** How many nodes a row has. */
  count(rowStart: number): number {
    return this.bytes[(this.#order(rowStart) << 2) + ORDER_COUNT];
  }

  /** First word of the place that is at `index` of a row's order. */
  place(rowStart: number, index: number): number {
    return placeAt(rowStart, this.bytes[(this.#order(rowStart) << 2) + index]);
  }

  /** Whether a place is in its row's order. */
  isUsed(rowStart: number, place: number): boolean {
    const order = this.#order(rowStart) << 2;
    for (let i = 0; i < this.bytes[order + ORDER_COUNT]; i++) {
      if (this.bytes[order + i] === place) return true;
    }
    return false;
  }

  /** Where in its row's order an id is; -1 - (where it would be) when it is not there. */
  search(rowStart: number, id: Uint8Array): number {
    const count = this.count(rowStart);
    for (let index = 0; index < count; index++) {
      const at = this.place(rowStart, index) << 2;
      const difference = compareIds(id, 0, this.bytes, at);
      if (difference === 0) return index;
      if (difference < 0) return -1 - index;
    }
    return -1 - count;
  }

  /** Gives a bucket an empty row from the pool and returns its first word; NONE when none is. */
  takeRow(bucket: number): number {
    const row = this.#freeRows().next();
    if (row.done) return NONE;
    const rowStart = rowAt(row.value);
    const own = this.own();
    this.#empty(rowStart);
    this.bytes[(own << 2) + OWN_MAP_BYTES + bucket] = row.value + 1;
    if (bucket > this.words[own + OWN_TOP]) this.words[own + OWN_TOP] = bucket;
    return rowStart;
  }

  /** Adds a node that is not in the row, which has room, at `index` of its order. */
  insert(rowStart: number, index: number, values: PlaceValues): void {
    const place = this.#freePlace(rowStart);
    this.#fill(placeAt(rowStart, place), values);
    const from = this.#order(rowStart) << 2;
    const to = this.#otherOrder(rowStart) << 2;
    const count = this.bytes[from + ORDER_COUNT];
    for (let i = 0; i < count; i++) {
      this.bytes[to + (i < index ? i : i + 1)] = this.bytes[from + i];
    }
    this.bytes[to + index] = place;
    this.bytes[to + ORDER_COUNT] = count + 1;
    this.#writeAddresses(rowStart, to);
    this.#flip(rowStart);
    this.#setSize(this.size + 1);
  }

  /** Removes the node at `index` of a row's order. */
  remove(rowStart: number, index: number): void {
    const from = this.#order(rowStart) << 2;
    const to = this.#otherOrder(rowStart) << 2;
    const count = this.bytes[from + ORDER_COUNT] - 1;
    for (let i = 0; i < count; i++) {
      this.bytes[to + i] = this.bytes[from + (i < index ? i : i + 1)];
    }
    this.bytes[to + ORDER_COUNT] = count;
    this.#writeAddresses(rowStart, to);
    this.#flip(rowStart);
    this.#setSize(this.size - 1);
  }

  /** How many rows no bucket has. */
  countFreeRows(): number {
    return [...this.#freeRows()].length;
  }

  /** Shows the own id as it is, or no longer. */
  setPersistent(isPersistent: boolean): void {
    const from = this.own();
    const to = this.#otherOwn();
    for (let i = 0; i < OWN_WORDS; i++) this.words[to + i] = this.words[from + i];
    this.words[to + OWN_FLAGS] = isPersistent ? FLAG_PERSISTENT : 0;
    this.#flip(GENERATION);
  }

  /**
   * Replaces own id and all rows at once: those who read see the table before or after. `buckets`:
   * the nodes of each bucket, at most K, for no more buckets than rows are free.
   */
  replace(
    id: Uint8Array,
    isPersistent: boolean,
    buckets: ReadonlyMap<number, readonly PlaceValues[]>,
  ): void {
    const to = this.#otherOwn();
    const map = (to << 2) + OWN_MAP_BYTES;
    for (let i = 0; i < ID_BYTES; i++) this.bytes[(to << 2) + i] = id[i];
    for (let bucket = 0; bucket < BUCKETS; bucket++) this.bytes[map + bucket] = 0;
    this.words[to + OWN_FLAGS] = isPersistent ? FLAG_PERSISTENT : 0;
    const free = [...this.#freeRows()];
    let size = 0;
    let top = NONE;
    for (const [bucket, nodes] of buckets) {
      const row = free.pop();
      if (row === undefined) throw new RangeError('routing table: more buckets than free rows');
      this.#fillRow(rowAt(row), nodes);
      this.bytes[map + bucket] = row + 1;
      size += nodes.length;
      top = Math.max(top, bucket);
    }
    this.words[to + OWN_TOP] = top;
    this.#flip(GENERATION);
    this.#setSize(size);
  }

  #fillRow(rowStart: number, nodes: readonly PlaceValues[]): void {
    const sorted = [...nodes].sort((a, b) => compareIds(a.id, 0, b.id, 0));
    const to = this.#otherOrder(rowStart) << 2;
    sorted.forEach((values, index) => {
      this.#fill(placeAt(rowStart, index), values);
      this.bytes[to + index] = index;
    });
    this.bytes[to + ORDER_COUNT] = sorted.length;
    this.#writeAddresses(rowStart, to);
    this.#flip(rowStart);
  }

  #fill(place: number, values: PlaceValues): void {
    const at = place << 2;
    for (let i = 0; i < ID_BYTES; i++) this.bytes[at + i] = values.id[i];
    writeHostPort(this.bytes, (place + PLACE_ADDRESS) << 2, values.address, values.port);
    this.words[place + PLACE_SEEN] = values.seen;
    this.words[place + PLACE_PINGED] = values.pinged;
    this.words[place + PLACE_ADDED] = values.added;
    this.words[place + PLACE_DOWN_HINTS] = values.downHints;
  }

  /** The addresses of an order's places, in its order. */
  #writeAddresses(rowStart: number, order: number): void {
    const { bytes } = this;
    const count = bytes[order + ORDER_COUNT];
    for (let index = 0; index < count; index++) {
      const from = (placeAt(rowStart, bytes[order + index]) + PLACE_ADDRESS) << 2;
      const to = order + ORDER_ADDRESSES + index * ADDRESS_BYTES;
      for (let i = 0; i < ADDRESS_BYTES; i++) bytes[to + i] = bytes[from + i];
    }
  }

  /** A row of the pool may have been another bucket's: whoever still reads it there must notice. */
  #empty(rowStart: number): void {
    this.bytes[(this.#otherOrder(rowStart) << 2) + ORDER_COUNT] = 0;
    this.#flip(rowStart);
  }

  #freePlace(rowStart: number): number {
    for (let place = 0; place < K; place++) {
      if (!this.isUsed(rowStart, place)) return place;
    }
    throw new RangeError('routing table: a full row has no free place');
  }

  /** The numbers of the rows that no bucket has. */
  *#freeRows(): Generator<number> {
    const map = (this.own() << 2) + OWN_MAP_BYTES;
    const used = new Set(this.bytes.slice(map, map + BUCKETS));
    for (let row = 0; row < this.words[ROWS]; row++) {
      if (!used.has(row + 1)) yield row;
    }
  }

  #order(rowStart: number): number {
    return orderAt(rowStart, Atomics.load(this.atomics, rowStart));
  }

  #otherOrder(rowStart: number): number {
    return orderAt(rowStart, Atomics.load(this.atomics, rowStart) + 1);
  }

  #otherOwn(): number {
    return ownAt(Atomics.load(this.atomics, GENERATION) + 1);
  }

  // Read-modify-write, not a plain atomic store: all that was written before must be visible before
  // it, and nothing that is written after, and only a full barrier holds later stores back.
  #flip(word: number): void {
    Atomics.add(this.atomics, word, 1);
  }

  #setSize(size: number): void {
    Atomics.store(this.atomics, SIZE, size);
  }
}
