/** Name rows: keys, the table that finds them, and the order of their last use (layout.ts). */
import { firstMark, HashTable, nextMark } from './hash-table.ts';
import {
  HEADER_LRU_NEWEST,
  HEADER_LRU_OLDEST,
  HEADER_NAME_FREE,
  HEADER_NAME_HIGH,
  HEADER_NAMES,
  HEADER_OVERFLOW_FREE,
  HEADER_OVERFLOW_HIGH,
  HEADER_OVERFLOW_USED,
  INLINE_KEY_BYTES,
  NAME_DEAD,
  NAME_EXTENT,
  NAME_KEY,
  NAME_KEY_HASH,
  NAME_LIVE,
  NAME_LRU_NEWER,
  NAME_LRU_OLDER,
  NAME_NEWEST,
  NAME_OLDEST,
  NAME_OVERFLOW,
  NAME_WORDS,
  NONE,
  OVERFLOW_KEY,
  OVERFLOW_KEY_BYTES,
  OVERFLOW_WORDS,
  type StoreBuffers,
} from './layout.ts';

/** Overflow blocks a key of `length` bytes needs. */
export function overflowBlocksFor(length: number): number {
  return length <= INLINE_KEY_BYTES
    ? 0
    : Math.ceil((length - INLINE_KEY_BYTES) / OVERFLOW_KEY_BYTES);
}

export class Names {
  readonly header: Int32Array;
  readonly words: Int32Array;
  readonly overflow: Int32Array;
  readonly overflowBlocks: number;
  readonly table: HashTable;

  constructor(buffers: StoreBuffers) {
    this.header = new Int32Array(buffers.header);
    this.words = new Int32Array(buffers.names);
    this.overflow = new Int32Array(buffers.overflow);
    this.overflowBlocks = this.overflow.length / OVERFLOW_WORDS;
    this.table = new HashTable(buffers.nameTable, this);
  }

  hashOf(name: number): number {
    return this.words[name * NAME_WORDS + NAME_KEY_HASH];
  }

  live(name: number): number {
    return this.words[name * NAME_WORDS + NAME_LIVE] >>> 8;
  }

  dead(name: number): number {
    return this.words[name * NAME_WORDS + NAME_DEAD] >>> 8;
  }

  keyLength(name: number): number {
    return this.words[name * NAME_WORDS + NAME_LIVE] & 0xff;
  }

  domain(name: number): number {
    return this.words[name * NAME_WORDS + NAME_DEAD] & 0xff;
  }

  /** The name row of a key, or NONE. */
  find(key: Uint8Array, start: number, end: number, hash: number, domain: number): number {
    const { table } = this;
    let mark = firstMark(hash);
    for (let slot = table.home(hash); ; slot = table.next(slot)) {
      const entry = table.slots[slot];
      if (entry === 0) return NONE;
      if ((entry & 0xff) === mark) {
        const name = (entry >>> 8) - 1;
        if (this.#matches(name, key, start, end, hash | 0, domain)) return name;
      }
      mark = nextMark(mark);
    }
  }

  #matches(
    name: number,
    key: Uint8Array,
    start: number,
    end: number,
    hash: number,
    domain: number,
  ): boolean {
    const row = name * NAME_WORDS;
    if (this.words[row + NAME_KEY_HASH] !== hash) return false;
    if ((this.words[row + NAME_LIVE] & 0xff) !== end - start) return false;
    if ((this.words[row + NAME_DEAD] & 0xff) !== domain) return false;
    const inlineEnd = start + INLINE_KEY_BYTES;
    if (end <= inlineEnd) return sameBytes(this.words, row + NAME_KEY, key, start, end);
    return (
      sameBytes(this.words, row + NAME_KEY, key, start, inlineEnd) &&
      this.#overflowMatches(row, key, inlineEnd, end)
    );
  }

  #overflowMatches(row: number, key: Uint8Array, start: number, end: number): boolean {
    let block = this.words[row + NAME_OVERFLOW];
    for (let from = start; from < end; from += OVERFLOW_KEY_BYTES) {
      const to = Math.min(end, from + OVERFLOW_KEY_BYTES);
      const at = block * OVERFLOW_WORDS;
      if (!sameBytes(this.overflow, at + OVERFLOW_KEY, key, from, to)) return false;
      block = this.overflow[at];
    }
    return true;
  }

  /**
   * Copies a name's key to `out[offset..]`; returns its length. Safe against a name that changes
   * meanwhile (a snapshot in another thread): what it copies is then garbage of at most 255 bytes.
   */
  copyKey(name: number, out: Uint8Array, offset: number): number {
    const length = this.keyLength(name);
    const inline = Math.min(length, INLINE_KEY_BYTES);
    const row = name * NAME_WORDS;
    getBytes(this.words, row + NAME_KEY, out, offset, offset + inline);
    let block = this.words[row + NAME_OVERFLOW];
    for (let from = inline; from < length; from += OVERFLOW_KEY_BYTES) {
      if (block < 0 || block >= this.overflowBlocks) break;
      const to = Math.min(length, from + OVERFLOW_KEY_BYTES);
      const at = block * OVERFLOW_WORDS;
      getBytes(this.overflow, at + OVERFLOW_KEY, out, offset + from, offset + to);
      block = this.overflow[at];
    }
    return length;
  }

  /**
   * A new name without records. The caller has made room: a record row is free, hence a name row
   * and the overflow blocks of any key. The row is complete before anything refers to it.
   */
  create(key: Uint8Array, start: number, end: number, hash: number, domain: number): number {
    const name = this.#takeRow();
    const row = name * NAME_WORDS;
    const inlineEnd = Math.min(end, start + INLINE_KEY_BYTES);
    setBytes(this.words, row + NAME_KEY, key, start, inlineEnd);
    this.words[row + NAME_OVERFLOW] = NONE;
    let last = NONE;
    for (let from = inlineEnd; from < end; from += OVERFLOW_KEY_BYTES) {
      const block = this.#takeBlock(key, from, Math.min(end, from + OVERFLOW_KEY_BYTES));
      if (last === NONE) this.words[row + NAME_OVERFLOW] = block;
      else this.overflow[last * OVERFLOW_WORDS] = block;
      last = block;
    }
    this.words[row + NAME_LRU_OLDER] = NONE;
    this.words[row + NAME_LRU_NEWER] = NONE;
    this.words[row + NAME_OLDEST] = NONE;
    this.words[row + NAME_NEWEST] = NONE;
    this.words[row + NAME_LIVE] = end - start;
    this.words[row + NAME_DEAD] = domain;
    this.words[row + NAME_KEY_HASH] = hash;
    this.words[row + NAME_EXTENT] = NONE;
    this.table.insert(hash, name);
    this.header[HEADER_NAMES]++;
    return name;
  }

  #takeRow(): number {
    const name = this.header[HEADER_NAME_FREE];
    if (name === NONE) return this.header[HEADER_NAME_HIGH]++;
    this.header[HEADER_NAME_FREE] = this.words[name * NAME_WORDS + NAME_LRU_OLDER];
    return name;
  }

  #takeBlock(key: Uint8Array, start: number, end: number): number {
    let block = this.header[HEADER_OVERFLOW_FREE];
    if (block === NONE) block = this.header[HEADER_OVERFLOW_HIGH]++;
    else this.header[HEADER_OVERFLOW_FREE] = this.overflow[block * OVERFLOW_WORDS];
    this.header[HEADER_OVERFLOW_USED]++;
    this.overflow[block * OVERFLOW_WORDS] = NONE;
    setBytes(this.overflow, block * OVERFLOW_WORDS + OVERFLOW_KEY, key, start, end);
    return block;
  }

  /** Frees a name to which no record, live or tombstone, belongs any more. */
  release(name: number): void {
    const row = name * NAME_WORDS;
    this.table.remove(this.words[row + NAME_KEY_HASH], name);
    let block = this.words[row + NAME_OVERFLOW];
    while (block !== NONE) {
      const next = this.overflow[block * OVERFLOW_WORDS];
      this.freeBlock(block);
      this.header[HEADER_OVERFLOW_USED]--;
      block = next;
    }
    this.words[row + NAME_OVERFLOW] = NONE;
    this.freeRow(name);
    this.header[HEADER_NAMES]--;
  }

  freeRow(name: number): void {
    const row = name * NAME_WORDS;
    this.words[row + NAME_LIVE] = 0;
    this.words[row + NAME_DEAD] = 0;
    this.words[row + NAME_LRU_OLDER] = this.header[HEADER_NAME_FREE];
    this.header[HEADER_NAME_FREE] = name;
  }

  freeBlock(block: number): void {
    this.overflow[block * OVERFLOW_WORDS] = this.header[HEADER_OVERFLOW_FREE];
    this.header[HEADER_OVERFLOW_FREE] = block;
  }

  /** Makes a name the most recently used; a name without live records is in no order. */
  touch(name: number): void {
    if (this.header[HEADER_LRU_NEWEST] === name || this.live(name) === 0) return;
    this.lruRemove(name);
    this.lruAppend(name);
  }

  lruAppend(name: number): void {
    const newest = this.header[HEADER_LRU_NEWEST];
    const row = name * NAME_WORDS;
    this.words[row + NAME_LRU_OLDER] = newest;
    this.words[row + NAME_LRU_NEWER] = NONE;
    if (newest === NONE) this.header[HEADER_LRU_OLDEST] = name;
    else this.words[newest * NAME_WORDS + NAME_LRU_NEWER] = name;
    this.header[HEADER_LRU_NEWEST] = name;
  }

  lruRemove(name: number): void {
    const row = name * NAME_WORDS;
    const older = this.words[row + NAME_LRU_OLDER];
    const newer = this.words[row + NAME_LRU_NEWER];
    if (older === NONE) this.header[HEADER_LRU_OLDEST] = newer;
    else this.words[older * NAME_WORDS + NAME_LRU_NEWER] = newer;
    if (newer === NONE) this.header[HEADER_LRU_NEWEST] = older;
    else this.words[newer * NAME_WORDS + NAME_LRU_OLDER] = older;
  }
}

/** Four bytes as the little-endian word they are in memory. */
function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

/** The last `count` bytes before `end`, 1 to 3 of them; the rest of the word is zero. */
function tailWord(bytes: Uint8Array, end: number, count: number): number {
  let word = bytes[end - 1];
  if (count > 1) word = (word << 8) | bytes[end - 2];
  if (count > 2) word = (word << 8) | bytes[end - 3];
  return word;
}

/** Whether the words from `at` on begin with `bytes[start..end)`; a word at a time. */
function sameBytes(
  words: Int32Array,
  at: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  const tail = (end - start) & 3;
  let word = at;
  for (let i = start; i < end - tail; i += 4) {
    if (words[word++] !== wordAt(bytes, i)) return false;
  }
  if (tail === 0) return true;
  const mask = (1 << (tail << 3)) - 1;
  return (words[word] & mask) === tailWord(bytes, end, tail);
}

function setBytes(
  words: Int32Array,
  at: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const tail = (end - start) & 3;
  let word = at;
  for (let i = start; i < end - tail; i += 4) words[word++] = wordAt(bytes, i);
  if (tail !== 0) words[word] = tailWord(bytes, end, tail);
}

function getBytes(
  words: Int32Array,
  at: number,
  out: Uint8Array,
  start: number,
  end: number,
): void {
  for (let i = start; i < end; i++) {
    const byte = i - start;
    out[i] = words[at + (byte >> 2)] >> ((byte & 3) << 3);
  }
}
