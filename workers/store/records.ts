/** Record rows: a peer under a name, found by (name, address, port) (layout.ts). */

import { HalfSipHash } from '../../codecs/hash/halfsiphash.ts';
import { isMappedWords, V4_MAPPED } from '../../codecs/mapped-address.ts';
import type { Change } from './change.ts';
import { firstMark, HashTable, nextMark } from './hash-table.ts';
import {
  FLAG_IPV6,
  HEADER_HASH_KEY_0,
  HEADER_HASH_KEY_1,
  HEADER_LIMIT,
  HEADER_RECORD_FREE,
  HEADER_RECORD_HIGH,
  NONE,
  RECORD_EXPIRES_AT,
  RECORD_META,
  RECORD_NAME,
  RECORD_OLDER,
  RECORD_SEQ,
  RECORD_VERSION,
  RECORD_WORDS,
  STATE_FREE,
  STATE_LIVE,
  STATE_MASK,
  STATE_TOMBSTONE,
  type StoreBuffers,
} from './layout.ts';

/**
 * Flipping the sign makes the order of int32 that of uint32. Unsigned loads would be compared as
 * floating-point numbers.
 */
const SIGN = 1 << 31;

export class Records {
  readonly header: Int32Array;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  /** The same memory as `words`, for the sequence numbers. */
  readonly seqs: Int32Array;
  readonly table: HashTable;
  readonly limit: number;
  /** The identity being sought or stored: four address words, port. */
  readonly identity = new Int32Array(5);
  readonly #hashInput = new Int32Array(6);
  readonly #hash: HalfSipHash;

  constructor(buffers: StoreBuffers) {
    this.header = new Int32Array(buffers.header);
    this.words = new Int32Array(buffers.records);
    this.bytes = new Uint8Array(buffers.records);
    this.seqs = new Int32Array(buffers.records);
    this.limit = this.header[HEADER_LIMIT];
    this.#hash = new HalfSipHash(this.header[HEADER_HASH_KEY_0], this.header[HEADER_HASH_KEY_1]);
    this.table = new HashTable(buffers.recordTable, this);
  }

  state(record: number): number {
    return this.words[record * RECORD_WORDS + RECORD_META] & STATE_MASK;
  }

  isLive(record: number): boolean {
    return this.state(record) === STATE_LIVE;
  }

  isIpv6(record: number): boolean {
    return (this.words[record * RECORD_WORDS + RECORD_META] & FLAG_IPV6) !== 0;
  }

  port(record: number): number {
    return this.words[record * RECORD_WORDS + RECORD_META] & 0xffff;
  }

  origin(record: number): number {
    return this.words[record * RECORD_WORDS + RECORD_META] >>> 24;
  }

  expiresAt(record: number): number {
    return this.words[record * RECORD_WORDS + RECORD_EXPIRES_AT] >>> 0;
  }

  version(record: number): number {
    return this.words[record * RECORD_WORDS + RECORD_VERSION] >>> 0;
  }

  name(record: number): number {
    return this.words[record * RECORD_WORDS + RECORD_NAME];
  }

  /** Whether the record's (or tombstone's) time is over at `now`. */
  isOver(record: number, now: number): boolean {
    const expiresAt = this.words[record * RECORD_WORDS + RECORD_EXPIRES_AT];
    return expiresAt !== 0 && (expiresAt ^ SIGN) <= (now ^ SIGN);
  }

  /** Takes over the identity of a change for `find` and `create`. */
  setIdentity(change: Change): void {
    const { address, addressOffset: at } = change;
    const identity = this.identity;
    if (change.family === 4) {
      identity[0] = 0;
      identity[1] = 0;
      identity[2] = V4_MAPPED;
    } else {
      for (let i = 0; i < 3; i++) identity[i] = readWord(address, at + i * 4);
    }
    identity[3] = readWord(address, at + 12);
    identity[4] = change.port;
  }

  /** The row of the identity under a name, live or tombstone, or NONE. */
  find(name: number): number {
    const identity = this.identity;
    const hash = this.#hashIdentity(name, identity, 0, identity[4]);
    const { table } = this;
    let mark = firstMark(hash);
    for (let slot = table.home(hash); ; slot = table.next(slot)) {
      const entry = table.slots[slot];
      if (entry === 0) return NONE;
      if ((entry & 0xff) === mark && this.#matches((entry >>> 8) - 1, name)) {
        return (entry >>> 8) - 1;
      }
      mark = nextMark(mark);
    }
  }

  /** Whether a put would leave the live row as it is. */
  isSame(record: number, change: Change): boolean {
    const row = record * RECORD_WORDS;
    return (
      this.words[row + RECORD_EXPIRES_AT] === (change.expiresAt | 0) &&
      this.words[row + RECORD_VERSION] === (change.version | 0) &&
      this.words[row + RECORD_META] >>> 24 === change.origin
    );
  }

  #matches(record: number, name: number): boolean {
    const { words } = this;
    const identity = this.identity;
    const row = record * RECORD_WORDS;
    return (
      words[row + RECORD_NAME] === name &&
      words[row + 3] === identity[3] &&
      (words[row + RECORD_META] & 0xffff) === identity[4] &&
      words[row + 2] === identity[2] &&
      words[row + 1] === identity[1] &&
      words[row] === identity[0]
    );
  }

  hashOf(record: number): number {
    const row = record * RECORD_WORDS;
    const { words } = this;
    return this.#hashIdentity(words[row + RECORD_NAME], words, row, this.port(record));
  }

  /**
   * Keyed: the name is the server's own choice, but the address and the port are the stranger's.
   */
  #hashIdentity(name: number, address: Int32Array, at: number, port: number): number {
    const input = this.#hashInput;
    input[0] = name;
    input[1] = address[at + 3];
    input[2] = port;
    if (isMappedWords(address, at)) {
      return this.#hash.words(input, 3);
    }
    input[3] = address[at];
    input[4] = address[at + 1];
    input[5] = address[at + 2];
    return this.#hash.words(input, 6);
  }

  hasRoom(): boolean {
    return this.header[HEADER_RECORD_FREE] !== NONE || this.header[HEADER_RECORD_HIGH] < this.limit;
  }

  /** Writes a whole live row with the identity set before, and makes it findable. */
  create(name: number, change: Change): number {
    const record = this.#takeRow();
    const row = record * RECORD_WORDS;
    const { words } = this;
    this.#beginRow(row);
    for (let i = 0; i < 4; i++) words[row + i] = this.identity[i];
    words[row + RECORD_EXPIRES_AT] = change.expiresAt;
    words[row + RECORD_VERSION] = change.version;
    words[row + RECORD_NAME] = name;
    words[row + RECORD_META] = liveMeta(change);
    this.#endRow(row);
    this.table.insert(this.hashOf(record), record);
    return record;
  }

  #takeRow(): number {
    const record = this.header[HEADER_RECORD_FREE];
    if (record === NONE) return this.header[HEADER_RECORD_HIGH]++;
    this.header[HEADER_RECORD_FREE] = this.words[record * RECORD_WORDS + RECORD_OLDER];
    return record;
  }

  /** Gives a row, live or tombstone, the state of a put; a live row keeps its family. */
  renew(record: number, change: Change): void {
    const row = record * RECORD_WORDS;
    const { words } = this;
    const meta = words[row + RECORD_META];
    this.#beginRow(row);
    words[row + RECORD_EXPIRES_AT] = change.expiresAt;
    words[row + RECORD_VERSION] = change.version;
    words[row + RECORD_META] =
      (meta & STATE_MASK) === STATE_LIVE
        ? (meta & 0xffffff) | (change.origin << 24)
        : liveMeta(change);
    this.#endRow(row);
  }

  /** Turns a row into a tombstone until `forgetAt`. */
  bury(record: number, change: Change, forgetAt: number): void {
    const row = record * RECORD_WORDS;
    const { words } = this;
    const meta = words[row + RECORD_META];
    this.#beginRow(row);
    words[row + RECORD_EXPIRES_AT] = forgetAt;
    words[row + RECORD_VERSION] = change.version;
    words[row + RECORD_META] =
      (meta & 0xffff) | (meta & FLAG_IPV6) | STATE_TOMBSTONE | (change.origin << 24);
    this.#endRow(row);
  }

  /** Takes a row out of the table and frees it; its name may be freed only after this. */
  release(record: number): void {
    this.table.remove(this.hashOf(record), record);
    const row = record * RECORD_WORDS;
    this.#beginRow(row);
    this.words[row + RECORD_META] = STATE_FREE;
    this.#endRow(row);
    this.freeRow(record);
  }

  freeRow(record: number): void {
    this.words[record * RECORD_WORDS + RECORD_OLDER] = this.header[HEADER_RECORD_FREE];
    this.header[HEADER_RECORD_FREE] = record;
  }

  /** Puts a row torn by a writer's death out of use. */
  discardTorn(record: number): void {
    const row = record * RECORD_WORDS;
    this.words[row + RECORD_META] = STATE_FREE;
    this.#endRow(row);
  }

  // Read-modify-write, not a plain atomic store: the odd number must be visible before any word of
  // the row and the even one after all of them, and only a full barrier holds later stores back.
  #beginRow(row: number): void {
    Atomics.add(this.seqs, row + RECORD_SEQ, 1);
  }

  #endRow(row: number): void {
    Atomics.add(this.seqs, row + RECORD_SEQ, 1);
  }
}

function liveMeta(change: Change): number {
  return change.port | STATE_LIVE | (change.family === 6 ? FLAG_IPV6 : 0) | (change.origin << 24);
}

function readWord(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

/** Whether a change is older than what the row says: version first, then origin. */
export function isStale(records: Records, record: number, change: Change): boolean {
  const stored = records.words[record * RECORD_WORDS + RECORD_VERSION] ^ SIGN;
  const version = change.version ^ SIGN;
  if (version !== stored) return version < stored;
  return change.origin < records.origin(record);
}
