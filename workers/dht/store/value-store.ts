/**
 * Values of at most a fixed length under keys of 32 bytes, each until a time of its own: forwards,
 * refresh tokens, mutable and immutable values of one lane (layout.ts).
 */
import type { ApplyResult } from '../../store/change.ts';
import { firstMark, HashTable, nextMark } from '../../store/hash-table.ts';
import { isWithin, ValueChange } from './change.ts';
import { ExpiringStore } from './expiring-store.ts';
import {
  type ArenaBuffers,
  KEY_BYTES,
  NONE,
  ROW_EXPIRES_AT,
  ROW_HASH,
  ROW_HOST,
  ROW_PREFIX,
  VALUE_DATA,
  VALUE_KEY,
  VALUE_LENGTH,
} from './layout.ts';
import { copyBytes, sameKey } from './rows.ts';

export class ValueStore extends ExpiringStore<ValueChange> {
  /** The shared rows as bytes: `keyStart` and `valueStart` point into it. A change may, too. */
  readonly bytes: Uint8Array;
  /** Most bytes of a value. */
  readonly valueBytes: number;
  readonly tables: readonly [HashTable];
  readonly #renewal = new ValueChange();

  /** See ExpiringStore. */
  constructor(buffers: ArenaBuffers) {
    super(buffers, 1);
    this.bytes = this.rows.bytes;
    this.valueBytes = (this.rows.rowWords - VALUE_DATA) * 4;
    this.tables = [new HashTable(buffers.tables[0], this)];
  }

  /** The row of the 32-byte key at `bytes[keyAt]`, valid until the next change, or -1. */
  find(bytes: Uint8Array, keyAt: number, hash: number): number {
    const row = this.#find(bytes, keyAt, hash);
    return row !== NONE && this.rows.isOver(row) ? NONE : row;
  }

  #find(key: Uint8Array, keyAt: number, hash: number): number {
    const table = this.tables[0];
    let mark = firstMark(hash);
    for (let slot = table.home(hash); ; slot = table.next(slot)) {
      const entry = table.slots[slot];
      if (entry === 0) return NONE;
      if ((entry & 0xff) === mark) {
        const row = (entry >>> 8) - 1;
        const isHash = this.hashOf(row) === (hash | 0);
        if (isHash && sameKey(this.bytes, this.keyStart(row), key, keyAt)) return row;
      }
      mark = nextMark(mark);
    }
  }

  hashOf(row: number): number {
    return this.rows.words[row * this.rows.rowWords + ROW_HASH];
  }

  /** Where a row's key begins in `bytes`. */
  keyStart(row: number): number {
    return (row * this.rows.rowWords + VALUE_KEY) * 4;
  }

  /** Where a row's value begins in `bytes`. */
  valueStart(row: number): number {
    return (row * this.rows.rowWords + VALUE_DATA) * 4;
  }

  valueLength(row: number): number {
    return this.rows.words[row * this.rows.rowWords + VALUE_LENGTH];
  }

  /** Milliseconds. */
  expiresAt(row: number): number {
    return this.rows.floats[(row * this.rows.rowWords + ROW_EXPIRES_AT) >> 1];
  }

  /** Puts a row's value again, until `expiresAt`: REFRESHED, or STALE when that is over. */
  renew(row: number, expiresAt: number): ApplyResult {
    const renewal = this.#renewal;
    renewal.key = this.bytes;
    renewal.keyAt = this.keyStart(row);
    renewal.hash = this.hashOf(row);
    renewal.value = this.bytes;
    renewal.valueAt = this.valueStart(row);
    renewal.valueLength = this.valueLength(row);
    renewal.prefix = this.rows.words[row * this.rows.rowWords + ROW_PREFIX];
    renewal.host = this.rows.words[row * this.rows.rowWords + ROW_HOST];
    renewal.expiresAt = expiresAt;
    return this.apply(renewal);
  }

  protected hasKey(change: ValueChange): boolean {
    return isWithin(change.key, change.keyAt, KEY_BYTES);
  }

  protected hasContent({ value, valueAt, valueLength }: ValueChange): boolean {
    const isCount = valueLength >>> 0 === valueLength && valueLength <= this.valueBytes;
    return isCount && isWithin(value, valueAt, valueLength);
  }

  seek(change: ValueChange): number {
    return this.#find(change.key, change.keyAt, change.hash);
  }

  protected writeKey(row: number, change: ValueChange): void {
    copyBytes(change.key, change.keyAt, this.bytes, this.keyStart(row), KEY_BYTES);
  }

  protected writeContent(row: number, { value, valueAt, valueLength }: ValueChange): void {
    this.rows.words[row * this.rows.rowWords + VALUE_LENGTH] = valueLength;
    copyBytes(value, valueAt, this.bytes, this.valueStart(row), valueLength);
  }

  protected enter(row: number): void {
    this.tables[0].insert(this.hashOf(row), row);
  }

  /** Nothing depends on a value. */
  protected settle(): void {}

  protected leave(row: number): void {
    this.tables[0].remove(this.hashOf(row), row);
  }
}
