/**
 * The memory of one record store: seven SharedArrayBuffers of fixed size, indices instead of
 * objects.
 *
 *   header          records                names                   nameTable / recordTable
 *   +-----------+   +----+----+----+--     +------+------+--       +---+---+---+---+--
 *   | 128 words |   |48 B|48 B|48 B|       | 80 B | 80 B |         | 4 | 4 | 4 | 4 | bytes
 *   +-----------+   +----+----+----+--     +------+------+--       +---+---+---+---+--
 *   overflow: 48-byte blocks for keys over 44 bytes     extents: arrays of records, buddy blocks
 *
 * Everything is here, nothing in JavaScript fields: whoever wraps the buffers has the store. Memory
 * that was never touched costs nothing, so an empty store of any limit is small. All links are
 * indices, -1 = none.
 *
 * record row, 12 words (48 bytes), little-endian:
 *
 *   word 0..3  address    16 bytes, IPv4 as v4-mapped ::ffff:a.b.c.d
 *        4     meta       port u16 | flags u8 (state, family) << 16 | origin u8 << 24
 *        5     expiresAt  unix seconds, i32, 0 = never; of a tombstone: when to forget it
 *        6     version    i32
 *        7     name       its name row
 *        8     position   its place in its name's extent (valid only while the name has extents)
 *        9     older      per-name age list; tombstones: their queue; free list: next
 *       10     newer      the other direction
 *       11     seq        odd while words 0..7 are being written; changes with every write
 *
 * name row, 20 words (80 bytes):
 *
 *   word 0     lruOlder   names by last use (only names with live records); free list: next
 *        1     lruNewer
 *        2     oldest     ends of the age list of its live records
 *        3     newest
 *        4     live       number of live records << 8 | key length u8
 *        5     dead       number of tombstones << 8 | domain u8
 *        6     keyHash    the caller's keyed hash
 *        7     extent     first extent block, -1 while the age list is enough
 *        8     overflow   first overflow block of a key over 44 bytes
 *        9..19 key        the first 44 bytes of the key
 *
 * overflow block, 12 words: next, then 44 bytes of key.
 * extent block, a power of two of at least 16 words: kind, count, sibling, owner, then record
 * indices (extents.ts). Table entry: (index + 1) << 8 | tag, distance; 0 = empty (hash-table.ts).
 *
 * Bytes per record with one name each:
 *
 *   keys to 44 bytes   48 + 80 + 2 * 4 / 0.7 = 139.4    (ids of 40 hex: 41)
 *   keys to 88 bytes   one overflow block more: 187.4   (ids of 64 hex: 65)
 *   keys of 255 bytes  five of them: 379.4              the worst a stranger can do
 *
 * Names of many records share a name row; their extents cost at most 43 bytes per record (three
 * records, two blocks), 4 to 17 of a crowd: always less than names of one record with long keys.
 */

/** Table entries hold a 24-bit index; ten million is the round figure below 2^24 - 1. */
export const MAX_RECORDS = 10_000_000;
/**
 * A key is an id in wire format without its domain: 255 bytes is a whole name (RFC 1035 section
 * 3.1).
 */
export const MAX_KEY_BYTES = 255;

export const NONE = -1;

export const RECORD_WORDS = 12;
export const RECORD_BYTES = RECORD_WORDS * 4;
export const RECORD_META = 4;
export const RECORD_EXPIRES_AT = 5;
export const RECORD_VERSION = 6;
export const RECORD_NAME = 7;
export const RECORD_POSITION = 8;
export const RECORD_OLDER = 9;
export const RECORD_NEWER = 10;
export const RECORD_SEQ = 11;

/** Flags within the meta word. */
export const STATE_MASK = 3 << 16;
export const STATE_FREE = 0;
export const STATE_LIVE = 1 << 16;
export const STATE_TOMBSTONE = 2 << 16;
/** Set for IPv6, clear for IPv4. */
export const FLAG_IPV6 = 4 << 16;

export const NAME_WORDS = 20;
export const NAME_BYTES = NAME_WORDS * 4;
export const NAME_LRU_OLDER = 0;
export const NAME_LRU_NEWER = 1;
export const NAME_OLDEST = 2;
export const NAME_NEWEST = 3;
export const NAME_LIVE = 4;
export const NAME_DEAD = 5;
export const NAME_KEY_HASH = 6;
export const NAME_EXTENT = 7;
export const NAME_OVERFLOW = 8;
/** First word of the inline key. */
export const NAME_KEY = 9;
/** Key bytes within the row: a 40-hex-character id is 41 bytes in wire format. */
export const INLINE_KEY_BYTES = (NAME_WORDS - NAME_KEY) * 4;

export const OVERFLOW_WORDS = 12;
export const OVERFLOW_BYTES = OVERFLOW_WORDS * 4;
/** First word of the key's part; the word before it is the next block. */
export const OVERFLOW_KEY = 1;
export const OVERFLOW_KEY_BYTES = (OVERFLOW_WORDS - OVERFLOW_KEY) * 4;
/**
 * Blocks the longest key needs beyond its row. Every record has as many, untouched until it needs
 * them: long keys then never push out the names of others, only the limit of records does.
 */
export const MAX_OVERFLOW_BLOCKS = Math.ceil(
  (MAX_KEY_BYTES - INLINE_KEY_BYTES) / OVERFLOW_KEY_BYTES,
);

/** Load at most 0.7: a search that fails looks at 6 slots, mostly of one cache line. */
const TABLE_SLOTS_PER_RECORD = 1 / 0.7;

/** Smallest extent block: 16 words, one cache line, 12 records. */
export const EXTENT_MIN_CLASS = 4;
/** Largest extent block, 2^24 words: MAX_RECORDS of one name. */
export const EXTENT_MAX_CLASS = 24;
/**
 * Words per record: the worst of names that keep extents, three records of two families in two
 * blocks, needs 10.7; a larger block is more than a quarter full and needs at most 4.3. However
 * scattered, the free words suffice for any name to grow, as blocks can be moved (extents.ts): with
 * n records it holds at most 5 n meanwhile, its old block included, the others 10.7 a record.
 */
const EXTENT_WORDS_PER_RECORD = 12;
const EXTENT_MIN_WORDS = 1024;

/** Header, in words; the totals from HEADER_TOTALS on are float64. */
export const HEADER_WORDS = 128;
export const HEADER_MAGIC = 0;
export const HEADER_LIMIT = 1;
export const HEADER_TOMBSTONE_SECONDS = 2;
export const HEADER_HASH_KEY_0 = 3;
export const HEADER_HASH_KEY_1 = 4;
/**
 * 1 from a mutation's first write to its last: found set by a successor, the store needs repair.
 */
export const HEADER_WRITING = 5;
export const HEADER_RECORD_FREE = 6;
/** Rows below the high mark have been used at least once; free lists hold only such rows. */
export const HEADER_RECORD_HIGH = 7;
export const HEADER_NAME_FREE = 8;
export const HEADER_NAME_HIGH = 9;
export const HEADER_OVERFLOW_FREE = 10;
export const HEADER_OVERFLOW_HIGH = 11;
export const HEADER_OVERFLOW_USED = 12;
export const HEADER_LRU_OLDEST = 13;
export const HEADER_LRU_NEWEST = 14;
export const HEADER_TOMBSTONE_OLDEST = 15;
export const HEADER_TOMBSTONE_NEWEST = 16;
export const HEADER_LIVE = 17;
export const HEADER_TOMBSTONES = 18;
export const HEADER_NAMES = 19;
export const HEADER_SWEEP_HAND = 20;
export const HEADER_EXTENT_HIGH = 21;
/** Free list heads of the extent classes, indexed by class. */
export const HEADER_EXTENT_FREE = 32;
/** Index of the first total in the header seen as float64. */
export const HEADER_TOTALS = 32;
export const TOTAL_EVICTED = HEADER_TOTALS;
export const TOTAL_EXPIRED = HEADER_TOTALS + 1;
export const TOTAL_TOMBSTONES_RECLAIMED = HEADER_TOTALS + 2;

/** Changes with every change of this layout: a successor never adopts memory it cannot read. */
export const LAYOUT_MAGIC = 0x57505332;

/** What a store is: pass it to another thread as it is. */
export interface StoreBuffers {
  readonly header: SharedArrayBuffer;
  readonly records: SharedArrayBuffer;
  readonly names: SharedArrayBuffer;
  readonly overflow: SharedArrayBuffer;
  readonly extents: SharedArrayBuffer;
  readonly nameTable: SharedArrayBuffer;
  readonly recordTable: SharedArrayBuffer;
}

export interface StoreOptions {
  /** Most records, live and tombstones together: 1 to MAX_RECORDS. */
  readonly limit: number;
  /** How long a removal is remembered, seconds; 0 forgets at once. Default 600. */
  readonly tombstoneSeconds?: number;
  /** Secret random uint32 halves of the key under which records are hashed. */
  readonly hashKey0: number;
  readonly hashKey1: number;
}

/** Longer than a replica's announce can be late. */
export const DEFAULT_TOMBSTONE_SECONDS = 600;
/** A day: beyond that a tombstone only takes room. */
export const MAX_TOMBSTONE_SECONDS = 86_400;

/** Bytes of each buffer of a store of `limit` records. */
export function storeSizes(limit: number): Record<keyof StoreBuffers, number> {
  const tableBytes = 4 * Math.max(8, Math.ceil(limit * TABLE_SLOTS_PER_RECORD) + 1);
  return {
    header: HEADER_WORDS * 4,
    records: limit * RECORD_BYTES,
    names: limit * NAME_BYTES,
    overflow: limit * MAX_OVERFLOW_BLOCKS * OVERFLOW_BYTES,
    extents: 4 * Math.max(EXTENT_MIN_WORDS, limit * EXTENT_WORDS_PER_RECORD),
    nameTable: tableBytes,
    recordTable: tableBytes,
  };
}

/**
 * Zeroed memory of a new, empty store.
 *
 * @throws RangeError when the limit or the tombstone time is out of range.
 */
export function allocateBuffers(options: StoreOptions): StoreBuffers {
  const { limit, hashKey0, hashKey1 } = options;
  const tombstoneSeconds = options.tombstoneSeconds ?? DEFAULT_TOMBSTONE_SECONDS;
  requireInteger('limit', limit, 1, MAX_RECORDS);
  requireInteger('tombstoneSeconds', tombstoneSeconds, 0, MAX_TOMBSTONE_SECONDS);
  requireInteger('hashKey0', hashKey0, 0, 0xffffffff);
  requireInteger('hashKey1', hashKey1, 0, 0xffffffff);
  const sizes = storeSizes(limit);
  const header = new SharedArrayBuffer(sizes.header);
  const words = new Int32Array(header);
  words[HEADER_MAGIC] = LAYOUT_MAGIC;
  words[HEADER_LIMIT] = limit;
  words[HEADER_TOMBSTONE_SECONDS] = tombstoneSeconds;
  words[HEADER_HASH_KEY_0] = hashKey0;
  words[HEADER_HASH_KEY_1] = hashKey1;
  resetHeads(words);
  return {
    header,
    records: new SharedArrayBuffer(sizes.records),
    names: new SharedArrayBuffer(sizes.names),
    overflow: new SharedArrayBuffer(sizes.overflow),
    extents: new SharedArrayBuffer(sizes.extents),
    nameTable: new SharedArrayBuffer(sizes.nameTable),
    recordTable: new SharedArrayBuffer(sizes.recordTable),
  };
}

/** Empties every list and count of the header; high marks and totals stay. */
export function resetHeads(header: Int32Array): void {
  header[HEADER_RECORD_FREE] = NONE;
  header[HEADER_NAME_FREE] = NONE;
  header[HEADER_OVERFLOW_FREE] = NONE;
  header[HEADER_OVERFLOW_USED] = 0;
  header[HEADER_LRU_OLDEST] = NONE;
  header[HEADER_LRU_NEWEST] = NONE;
  header[HEADER_TOMBSTONE_OLDEST] = NONE;
  header[HEADER_TOMBSTONE_NEWEST] = NONE;
  header[HEADER_LIVE] = 0;
  header[HEADER_TOMBSTONES] = 0;
  header[HEADER_NAMES] = 0;
  header[HEADER_EXTENT_HIGH] = 0;
  for (let k = EXTENT_MIN_CLASS; k <= EXTENT_MAX_CLASS; k++) header[HEADER_EXTENT_FREE + k] = NONE;
}

/**
 * The limit of a store that is being adopted.
 *
 * @throws RangeError when the buffers are not one store of this layout.
 */
export function checkBuffers(buffers: StoreBuffers): number {
  const header = new Int32Array(buffers.header);
  const limit = header[HEADER_LIMIT];
  if (header[HEADER_MAGIC] !== LAYOUT_MAGIC || limit < 1 || limit > MAX_RECORDS) {
    throw new RangeError('record store: the buffers do not hold a store of this layout');
  }
  for (const [part, bytes] of Object.entries(storeSizes(limit))) {
    const got = buffers[part as keyof StoreBuffers].byteLength;
    if (got !== bytes) {
      throw new RangeError(
        `record store: buffer "${part}" has ${got} bytes, a limit of ${limit} needs ${bytes}`,
      );
    }
  }
  return limit;
}

function requireInteger(what: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(
      `record store: ${what} is ${value}; allowed are whole numbers ${least} to ${most}`,
    );
  }
}
