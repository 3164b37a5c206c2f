/**
 * The rows of one DHT store: which are in use, in the order of their last put, and how many each
 * network and each host has (layout.ts). What a row says beyond that is its store's.
 *
 *   header.oldest -> row <-> row <-> row <- header.newest
 *
 * A row's words are written between `begin` and `end`, which make its sequence number odd and even
 * again: a row that is odd when its writer died is torn, all others are whole, and repair rebuilds
 * everything else from them. Links stand outside.
 */
import type { Change } from './change.ts';
import {
  type ArenaBuffers,
  HEADER_FREE,
  HEADER_HIGH,
  HEADER_LIMIT,
  HEADER_NEWEST,
  HEADER_OLDEST,
  HEADER_PREFIX_LIMIT,
  HEADER_ROW_WORDS,
  HEADER_SIZE,
  HOST_SHARE,
  KEY_BYTES,
  NONE,
  ROW_EXPIRES_AT,
  ROW_HASH,
  ROW_HOST,
  ROW_NEWER,
  ROW_OLDER,
  ROW_PREFIX,
  ROW_SEQ,
  ROW_STAMP,
  ROW_STATE,
  resetHeads,
  STATE_FREE,
  STATE_LIVE,
  TOTAL_STAMP,
} from './layout.ts';
import { Tally } from './tally.ts';

export interface RepairReport {
  /** Rows in use after the repair. */
  readonly kept: number;
  /** Rows that were torn. */
  readonly dropped: number;
}

export interface Salvage {
  /** Rows, the one whose last put is the oldest first. */
  readonly order: readonly number[];
  /** Rows that were torn. */
  readonly dropped: number;
}

export class Rows {
  readonly header: Int32Array;
  readonly totals: Float64Array;
  readonly words: Int32Array;
  readonly floats: Float64Array;
  readonly bytes: Uint8Array;
  /** The same memory as `words`, for the sequence numbers. */
  readonly seqs: Int32Array;
  readonly limit: number;
  readonly rowWords: number;
  /** Milliseconds: what is over at this time is not there. */
  now = 0;
  readonly #prefixLimit: number;
  /** Rows by network and by host; counted anew on adoption. */
  readonly #perPrefix: Tally;
  readonly #perHost: Tally;

  constructor(buffers: ArenaBuffers) {
    this.header = new Int32Array(buffers.header);
    this.totals = new Float64Array(buffers.header);
    this.words = new Int32Array(buffers.rows);
    this.floats = new Float64Array(buffers.rows);
    this.bytes = new Uint8Array(buffers.rows);
    this.seqs = new Int32Array(buffers.rows);
    this.limit = this.header[HEADER_LIMIT];
    this.rowWords = this.header[HEADER_ROW_WORDS];
    this.#prefixLimit = this.header[HEADER_PREFIX_LIMIT];
    this.#perPrefix = new Tally(this.limit);
    this.#perHost = new Tally(this.limit);
    for (let row = 0; row < this.header[HEADER_HIGH]; row++) {
      if (this.isLive(row)) this.#count(row, 1);
    }
  }

  get isFull(): boolean {
    return this.header[HEADER_SIZE] === this.limit;
  }

  /** Networks that have rows, but for those spared the bound. */
  get networks(): number {
    return this.#perPrefix.size;
  }

  /** Hosts that have rows, but for those spared the bound. */
  get hosts(): number {
    return this.#perHost.size;
  }

  get oldest(): number {
    return this.header[HEADER_OLDEST];
  }

  isLive(row: number): boolean {
    return this.words[row * this.rowWords + ROW_STATE] === STATE_LIVE;
  }

  /** Whether the row's time is over. */
  isOver(row: number): boolean {
    return this.floats[(row * this.rowWords + ROW_EXPIRES_AT) >> 1] <= this.now;
  }

  /** Whether a network may have one more row, and a host of it. */
  admits(prefix: number, host: number): boolean {
    return (
      this.#isBelow(this.#perPrefix, prefix | 0, this.#prefixLimit) &&
      this.#isBelow(this.#perHost, host | 0, this.#prefixLimit / HOST_SHARE)
    );
  }

  #isBelow(tally: Tally, key: number, most: number): boolean {
    return key === 0 || tally.get(key) < most;
  }

  #count(row: number, delta: number): void {
    const at = row * this.rowWords;
    const prefix = this.words[at + ROW_PREFIX];
    const host = this.words[at + ROW_HOST];
    if (prefix !== 0) this.#perPrefix.add(prefix, delta);
    if (host !== 0) this.#perHost.add(host, delta);
  }

  /** A row that is in no list; there must be one: the store is not full. */
  take(): number {
    const row = this.header[HEADER_FREE];
    if (row === NONE) return this.header[HEADER_HIGH]++;
    this.header[HEADER_FREE] = this.words[row * this.rowWords + ROW_NEWER];
    return row;
  }

  // Read-modify-write, not a plain atomic store: the odd number must be visible before any word of
  // the row and the even one after all of them, and only a full barrier holds later stores back.
  begin(row: number): void {
    Atomics.add(this.seqs, row * this.rowWords + ROW_SEQ, 1);
  }

  end(row: number): void {
    Atomics.add(this.seqs, row * this.rowWords + ROW_SEQ, 1);
  }

  /** Writes what a new row begins with, between `begin` and `end`. */
  fill(row: number, change: Change): void {
    const at = row * this.rowWords;
    this.words[at + ROW_HASH] = change.hash;
    this.words[at + ROW_PREFIX] = change.prefix;
    this.words[at + ROW_HOST] = change.host;
    this.words[at + ROW_STATE] = STATE_LIVE;
    this.renew(row, change.expiresAt);
  }

  /** Gives a row a new age, between `begin` and `end`. */
  renew(row: number, expiresAt: number): void {
    const at = (row * this.rowWords) >> 1;
    this.totals[TOTAL_STAMP]++;
    this.floats[at + (ROW_EXPIRES_AT >> 1)] = expiresAt;
    this.floats[at + (ROW_STAMP >> 1)] = this.totals[TOTAL_STAMP];
  }

  /** Makes a new row the newest. */
  link(row: number): void {
    this.#append(row);
    this.header[HEADER_SIZE]++;
    this.#count(row, 1);
  }

  /** Makes a linked row the newest. */
  moveToNewest(row: number): void {
    if (this.header[HEADER_NEWEST] === row) return;
    this.#detach(row);
    this.#append(row);
  }

  /** Takes a row out of the order and of use. */
  release(row: number): void {
    this.#count(row, -1);
    this.#detach(row);
    this.header[HEADER_SIZE]--;
    this.words[row * this.rowWords + ROW_STATE] = STATE_FREE;
    this.#free(row);
  }

  #free(row: number): void {
    this.words[row * this.rowWords + ROW_NEWER] = this.header[HEADER_FREE];
    this.header[HEADER_FREE] = row;
  }

  #append(row: number): void {
    const { words, rowWords } = this;
    const newest = this.header[HEADER_NEWEST];
    words[row * rowWords + ROW_OLDER] = newest;
    words[row * rowWords + ROW_NEWER] = NONE;
    if (newest === NONE) this.header[HEADER_OLDEST] = row;
    else words[newest * rowWords + ROW_NEWER] = row;
    this.header[HEADER_NEWEST] = row;
  }

  #detach(row: number): void {
    const { words, rowWords } = this;
    const older = words[row * rowWords + ROW_OLDER];
    const newer = words[row * rowWords + ROW_NEWER];
    if (older === NONE) this.header[HEADER_OLDEST] = newer;
    else words[older * rowWords + ROW_NEWER] = newer;
    if (newer === NONE) this.header[HEADER_NEWEST] = older;
    else words[newer * rowWords + ROW_OLDER] = older;
  }

  /**
   * The first half of a repair: puts torn rows out of use, and empties the lists but for the free
   * one. The rows that are whole come back in the order of their last put, to be linked again.
   */
  salvage(): Salvage {
    const high = this.header[HEADER_HIGH];
    const order: number[] = [];
    let dropped = 0;
    for (let row = 0; row < high; row++) {
      if ((Atomics.load(this.seqs, row * this.rowWords + ROW_SEQ) & 1) !== 0) {
        this.words[row * this.rowWords + ROW_STATE] = STATE_FREE;
        this.end(row);
        dropped++;
      }
      if (this.isLive(row)) order.push(row);
    }
    order.sort((a, b) => this.#stamp(a) - this.#stamp(b));
    resetHeads(this.header);
    this.#perPrefix.clear();
    this.#perHost.clear();
    for (let row = high - 1; row >= 0; row--) if (!this.isLive(row)) this.#free(row);
    return { order, dropped };
  }

  #stamp(row: number): number {
    return this.floats[(row * this.rowWords + ROW_STAMP) >> 1];
  }
}

/** Whether 32 bytes of two arrays are the same. */
export function sameKey(a: Uint8Array, atA: number, b: Uint8Array, atB: number): boolean {
  for (let i = 0; i < KEY_BYTES; i++) if (a[atA + i] !== b[atB + i]) return false;
  return true;
}

/** Copies between arrays that do not overlap, or at the same place. */
export function copyBytes(
  from: Uint8Array,
  fromAt: number,
  to: Uint8Array,
  toAt: number,
  length: number,
): void {
  for (let i = 0; i < length; i++) to[toAt + i] = from[fromAt + i];
}
