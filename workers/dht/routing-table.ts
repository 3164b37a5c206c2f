/**
 * The routing table as any thread reads it (table-layout.ts): who is known, and the nodes closest
 * to a target. Its one writer is in table-writer.ts.
 *
 * Nothing here waits for the writer. What was read while the writer changed it is read again, a few
 * times at most: a change takes it microseconds and it makes few of them. Nothing is allocated.
 */
import { ADDRESS_BYTES, ID_BYTES, K } from '../../codecs/dht/constants.ts';
import { isMapped, MAPPED_AT } from '../../codecs/mapped-address.ts';
import {
  allocateTable,
  BUCKETS,
  bucketOfId,
  compareIds,
  DEFAULT_ROWS,
  FLAG_PERSISTENT,
  GENERATION,
  ORDER_ADDRESSES,
  ORDER_COUNT,
  OWN_FLAGS,
  OWN_MAP_BYTES,
  OWN_TOP,
  orderAt,
  ownAt,
  PLACE_ADDRESS,
  PLACE_SEEN,
  placeAt,
  ROW_WORDS,
  ROWS,
  rowAt,
  SIZE,
  TICK,
  tableWords,
} from './table-layout.ts';

/** No entry. */
export const NOT_FOUND = -1;

/** The writer would have to change one row so often within a microsecond or two. */
const READ_ATTEMPTS = 8;
/** Adding to it is a full barrier: the second look at a generation must not precede the reads. */
const fence = new Int32Array(1);

export class RoutingTable {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;

  /** Wraps memory from `allocate`. Throws a RangeError when it is something else. */
  constructor(buffer: SharedArrayBuffer) {
    this.#words = tableWords(buffer);
    this.#bytes = new Uint8Array(buffer);
  }

  /**
   * Memory of an empty table with an own id of zeros, not persistent. `rows`, 1 to 255: one per
   * bucket that has nodes, and as many again while the own id changes; a network of n nodes fills
   * about log2(n) - 1 of them. A row is 1600 bytes.
   */
  static allocate(rows = DEFAULT_ROWS): SharedArrayBuffer {
    return allocateTable(rows);
  }

  /** How many nodes it has. */
  get size(): number {
    return Atomics.load(this.#words, SIZE);
  }

  /** Another number whenever the own id or whether it is shown has changed; wraps. */
  get generation(): number {
    return Atomics.load(this.#words, GENERATION);
  }

  /** The writer's present tick: what `touch` marks a node with. */
  get tick(): number {
    return Atomics.load(this.#words, TICK);
  }

  /** Whether the node shows its id and serves what stores something. */
  get isPersistent(): boolean {
    const own = ownAt(Atomics.load(this.#words, GENERATION));
    return (this.#words[own + OWN_FLAGS] & FLAG_PERSISTENT) !== 0;
  }

  /** Writes the node's own id, 32 bytes, to out[at..]: one id, not parts of two. */
  ownId(out: Uint8Array, at: number): void {
    for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
      const generation = Atomics.load(this.#words, GENERATION);
      this.#copy(ownAt(generation), ID_BYTES, out, at);
      if (this.#isStill(GENERATION, generation)) return;
    }
  }

  /**
   * Writes the addresses (6 bytes each, as on the wire) of at most `most` nodes closest to the
   * 32-byte target at target[targetAt] to out[at..]; returns how many. The order is the original's:
   * the target's bucket, those of shorter prefixes down to 0, then those of longer ones; within a
   * bucket ids ascending.
   */
  writeClosest(
    target: Uint8Array,
    targetAt: number,
    most: number,
    out: Uint8Array,
    at: number,
  ): number {
    let count = 0;
    for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
      const generation = Atomics.load(this.#words, GENERATION);
      const own = ownAt(generation);
      const bucket = bucketOfId(this.#bytes, own << 2, target, targetAt);
      const top = this.#words[own + OWN_TOP];
      count = 0;
      for (let i = Math.min(bucket, top); i >= 0 && count < most; i--) {
        count += this.#writeBucket(own, i, most - count, out, at + count * ADDRESS_BYTES);
      }
      for (let i = bucket + 1; i <= top && count < most; i++) {
        count += this.#writeBucket(own, i, most - count, out, at + count * ADDRESS_BYTES);
      }
      if (this.#isStill(GENERATION, generation)) break;
    }
    return count;
  }

  /** Writes the first `most` addresses of a bucket to out[at..]; returns how many. */
  #writeBucket(own: number, bucket: number, most: number, out: Uint8Array, at: number): number {
    const rowStart = this.#rowOf(own, bucket);
    if (rowStart === NOT_FOUND) return 0;
    for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
      const generation = Atomics.load(this.#words, rowStart);
      const order = orderAt(rowStart, generation);
      const count = Math.min(this.#bytes[(order << 2) + ORDER_COUNT], most);
      this.#copy(order + (ORDER_ADDRESSES >> 2), count * ADDRESS_BYTES, out, at);
      if (this.#isStill(rowStart, generation)) return count;
    }
    return 0;
  }

  /** The entry of the node whose 32-byte id is at bytes[idAt], or NOT_FOUND. */
  find(bytes: Uint8Array, idAt: number): number {
    for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
      const generation = Atomics.load(this.#words, GENERATION);
      const own = ownAt(generation);
      const bucket = bucketOfId(this.#bytes, own << 2, bytes, idAt);
      const rowStart = this.#rowOf(own, bucket);
      const entry = rowStart === NOT_FOUND ? NOT_FOUND : this.#search(rowStart, bytes, idAt);
      if (this.#isStill(GENERATION, generation)) return entry;
    }
    return NOT_FOUND;
  }

  /**
   * Marks a node as heard from: that of the id at bytes[idAt], if it is known with the v4-mapped
   * address at addressBytes[addressAt] and `port`. Returns whether it is. One store, so any thread
   * may; should the writer replace the node at this very moment, the new one is marked, which was
   * heard from just now too.
   */
  touch(
    bytes: Uint8Array,
    idAt: number,
    addressBytes: Uint8Array,
    addressAt: number,
    port: number,
    tick: number,
  ): boolean {
    const entry = this.find(bytes, idAt);
    if (entry === NOT_FOUND) return false;
    const place = placeAt(rowAt((entry / K) | 0), entry % K);
    if (!this.#hasAddress(place, addressBytes, addressAt, port)) return false;
    Atomics.store(this.#words, place + PLACE_SEEN, tick);
    return true;
  }

  #hasAddress(place: number, address: Uint8Array, addressAt: number, port: number): boolean {
    const bytes = this.#bytes;
    const at = (place + PLACE_ADDRESS) << 2;
    for (let i = 0; i < 4; i++) {
      if (bytes[at + i] !== address[addressAt + MAPPED_AT + i]) return false;
    }
    if ((bytes[at + 4] | (bytes[at + 5] << 8)) !== port) return false;
    return isMapped(address, addressAt);
  }

  /** The entry of an id in its row. */
  #search(rowStart: number, id: Uint8Array, idAt: number): number {
    const bytes = this.#bytes;
    for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
      const generation = Atomics.load(this.#words, rowStart);
      const order = orderAt(rowStart, generation) << 2;
      let low = 0;
      let high = Math.min(bytes[order + ORDER_COUNT], K);
      let entry = NOT_FOUND;
      while (low < high) {
        const middle = (low + high) >> 1;
        const place = Math.min(bytes[order + middle], K - 1);
        const difference = compareIds(id, idAt, bytes, placeAt(rowStart, place) << 2);
        if (difference > 0) low = middle + 1;
        else high = middle;
        if (difference !== 0) continue;
        entry = entryOf(rowStart, place);
        break;
      }
      if (this.#isStill(rowStart, generation)) return entry;
    }
    return NOT_FOUND;
  }

  /** First word of a bucket's row, or NOT_FOUND. */
  #rowOf(own: number, bucket: number): number {
    const row = this.#bytes[(own << 2) + OWN_MAP_BYTES + bucket];
    if (row === 0 || row > this.#words[ROWS] || bucket >= BUCKETS) return NOT_FOUND;
    return rowAt(row - 1);
  }

  /** Copies `length` bytes from word `from` on, by words: half the time of bytes. */
  #copy(from: number, length: number, out: Uint8Array, at: number): void {
    const words = this.#words;
    const whole = length >> 2;
    let to = at;
    for (let i = 0; i < whole; i++) {
      const word = words[from + i];
      out[to] = word;
      out[to + 1] = word >>> 8;
      out[to + 2] = word >>> 16;
      out[to + 3] = word >>> 24;
      to += 4;
    }
    for (let i = whole << 2; i < length; i++) out[at + i] = this.#bytes[(from << 2) + i];
  }

  /** Whether a generation is what it was before all that was read since. */
  #isStill(word: number, generation: number): boolean {
    Atomics.add(fence, 0, 1);
    return Atomics.load(this.#words, word) === generation;
  }
}

/** The number of a place among those of all rows. */
function entryOf(rowStart: number, place: number): number {
  return ((rowStart - rowAt(0)) / ROW_WORDS) * K + place;
}
