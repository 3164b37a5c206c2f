/**
 * The memory of one DHT store: a header, rows of equal size, and hash tables that find them.
 *
 *   header              rows                            tables
 *   +----------------+  +--------+--------+--------+--  +---+---+---+---+--
 *   | 32 words       |  | row 0  | row 1  | row 2  |    | 4 | 4 | 4 | 4 | bytes
 *   +----------------+  +--------+--------+--------+--  +---+---+---+---+--
 *
 * Everything that must outlive its writer is here, so that a successor adopts it. Memory that was
 * never touched costs nothing: rows are taken from the lowest on. Links are row numbers, -1 = none.
 *
 * What every row begins with, in words of 4 bytes, little-endian:
 *
 *   word 0..1  expiresAt   float64, milliseconds of the caller's clock
 *        2..3  stamp       float64, grows with every put: the order of age, should the list be torn
 *        4     state       0 free, 1 live
 *        5     seq         odd while the row is being written; changes with every write
 *        6     hash        the caller's keyed hash of the key or target
 *        7     older       all live rows in the order of their last put
 *        8     newer       the other direction; free list: next
 *        9     prefix      the network that brought it (Change.prefix), 0 = not counted
 *       10     host        and the host (Change.host), 0 = not counted
 *
 * then of a value (value-store.ts):             of a peer (peer-store.ts):
 *
 *   word 11      length of the value, bytes       word 11      position among its target's peers
 *        12..19  key, 32 bytes                         12..19  target, 32 bytes
 *        20..    value, room for `valueBytes`          20..27  public key, 32 bytes
 *                                                      28      relay addresses, 0 to 3
 *                                                      29..33  their bytes, 6 each
 *                                                      34..35  bump    \  float64; of a target,
 *                                                      36..37  until    | in its peer at position 0
 *                                                      38      count   /
 */

import { MAX_RELAY_ADDRESSES, MAX_VALUE_BYTES } from '../../../codecs/dht/constants.ts';

export const NONE = -1;

/** Bytes of a key, target or public key. */
export const KEY_BYTES = 32;
export const RELAY_BYTES = 6;
/** The longest encoding of a peer: public key, number of relays, relays. */
export const PEER_BYTES_MAX = KEY_BYTES + 1 + MAX_RELAY_ADDRESSES * RELAY_BYTES;
/** Of a forward: the address of who announced it (16 bytes and port), then the peer. */
export const FORWARD_VALUE_BYTES = 18 + PEER_BYTES_MAX;
/** Of a refresh token: a byte, the target, the peer. */
export const REFRESH_VALUE_BYTES = 1 + KEY_BYTES + PEER_BYTES_MAX;

/** How long peers, forwards, refresh tokens and bumps are kept, milliseconds; as the original. */
export const PEER_AGE_MS = 20 * 60 * 1000;
/** How long mutable and immutable values are kept, milliseconds; as the original. */
export const VALUE_AGE_MS = 48 * 3600 * 1000;

/** Offsets in words; of float64 fields half of them. */
export const ROW_EXPIRES_AT = 0;
export const ROW_STAMP = 2;
export const ROW_STATE = 4;
export const ROW_SEQ = 5;
export const ROW_HASH = 6;
export const ROW_OLDER = 7;
export const ROW_NEWER = 8;
export const ROW_PREFIX = 9;
export const ROW_HOST = 10;

export const STATE_FREE = 0;
export const STATE_LIVE = 1;

export const VALUE_LENGTH = 11;
export const VALUE_KEY = 12;
export const VALUE_DATA = 20;

export const PEER_POSITION = 11;
export const PEER_TARGET = 12;
export const PEER_KEY = 20;
export const PEER_RELAY_COUNT = 28;
export const PEER_RELAYS = 29;
export const PEER_BUMP = 34;
export const PEER_BUMP_UNTIL = 36;
export const PEER_COUNT = 38;
/** Even, so that the float64 fields of every row are aligned. */
export const PEER_WORDS = 40;

/** Header, in words; float64 from HEADER_FLOATS on. */
export const HEADER_WORDS = 32;
export const HEADER_MAGIC = 0;
export const HEADER_LIMIT = 1;
export const HEADER_ROW_WORDS = 2;
export const HEADER_PREFIX_LIMIT = 3;
/** 1 from a change's first write to its last: found set by a successor, it needs repair. */
export const HEADER_WRITING = 4;
export const HEADER_FREE = 5;
/** Rows below have been used at least once; the free list holds only such rows. */
export const HEADER_HIGH = 6;
export const HEADER_OLDEST = 7;
export const HEADER_NEWEST = 8;
export const HEADER_SIZE = 9;
/** Peers only: targets that have at least one. */
export const HEADER_TARGETS = 10;
/** Index in the header seen as float64. */
export const TOTAL_STAMP = 8;
export const TOTAL_EVICTED = 9;
export const TOTAL_EXPIRED = 10;

/** Changes with every change of this layout: a successor never adopts memory it cannot read. */
const LAYOUT_MAGIC = 0x57504432;

/** 16 times the DHT's largest store; with the longest values the offsets stay below 2^31. */
export const MAX_ROWS = 1_048_576;
/** More than a datagram holds. */
export const MAX_ROW_VALUE_BYTES = 1_920;
/** Who has one network has at most this part of a store: fifteen others have a share, too. */
const PREFIX_SHARE = 16;
/** Of a store so small that its 16th is next to nothing, one network has this many rows. */
const PREFIX_ROWS_MIN = 16;
/** A host has at most this part of what its network has: its neighbours have the other half. */
export const HOST_SHARE = 2;
/** Load at most 0.7: a search that fails looks at 6 slots, mostly of one cache line. */
const TABLE_SLOTS_PER_ROW = 1 / 0.7;
const TABLE_SLOTS_MIN = 8;

/** One store: pass it to another thread as it is. */
export interface ArenaBuffers {
  readonly header: SharedArrayBuffer;
  readonly rows: SharedArrayBuffer;
  /** Values: one, by key. Peers: by place, and by target and public key. */
  readonly tables: readonly SharedArrayBuffer[];
}

/** What the five stores of a lane have room for: rows, 1 to MAX_ROWS. */
export interface DhtStoreLimits {
  readonly peers: number;
  readonly forwards: number;
  readonly refreshes: number;
  readonly mutables: number;
  readonly immutables: number;
}

/** Of a whole server: as many as the original keeps. */
export const DHT_STORE_LIMITS: DhtStoreLimits = {
  peers: 65_536,
  forwards: 65_536,
  refreshes: 65_536,
  mutables: 32_768,
  immutables: 32_768,
};

/** The five stores of a lane: pass it to another thread as it is. */
export type DhtStoreBuffers = Readonly<Record<keyof DhtStoreLimits, ArenaBuffers>>;

/**
 * Memory of empty stores: about 2 KB and at most 180 bytes a row, of a value 1.5 KB; what is never
 * used costs nothing.
 *
 * @throws RangeError when a limit is out of range.
 */
export function allocateDhtStores(limits: DhtStoreLimits): DhtStoreBuffers {
  return {
    peers: allocatePeers(limits.peers),
    forwards: allocateValues(limits.forwards, FORWARD_VALUE_BYTES),
    refreshes: allocateValues(limits.refreshes, REFRESH_VALUE_BYTES),
    mutables: allocateValues(limits.mutables, MAX_VALUE_BYTES),
    immutables: allocateValues(limits.immutables, MAX_VALUE_BYTES),
  };
}

/**
 * Memory of an empty store of `limit` peers.
 *
 * @throws RangeError when the limit is out of range.
 */
export function allocatePeers(limit: number): ArenaBuffers {
  return allocate(limit, PEER_WORDS, 2);
}

/**
 * Memory of an empty store of `limit` values of at most `valueBytes`, rounded up to 8.
 *
 * @throws RangeError when a number is out of range.
 */
export function allocateValues(limit: number, valueBytes: number): ArenaBuffers {
  requireInteger('valueBytes', valueBytes, MAX_ROW_VALUE_BYTES);
  // Even, so that the float64 fields of every row are aligned.
  const rowWords = 2 * Math.ceil((VALUE_DATA + valueBytes / 4) / 2);
  return allocate(limit, rowWords, 1);
}

function allocate(limit: number, rowWords: number, tables: number): ArenaBuffers {
  requireInteger('limit', limit, MAX_ROWS);
  const header = new SharedArrayBuffer(HEADER_WORDS * 4);
  const words = new Int32Array(header);
  words[HEADER_MAGIC] = LAYOUT_MAGIC;
  words[HEADER_LIMIT] = limit;
  words[HEADER_ROW_WORDS] = rowWords;
  words[HEADER_PREFIX_LIMIT] = Math.max(PREFIX_ROWS_MIN, Math.floor(limit / PREFIX_SHARE));
  resetHeads(words);
  return {
    header,
    rows: new SharedArrayBuffer(limit * rowWords * 4),
    tables: Array.from({ length: tables }, () => new SharedArrayBuffer(tableBytes(limit))),
  };
}

function requireInteger(what: string, value: number, most: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= most) return;
  throw new RangeError(`DHT store: ${what} is ${value}; allowed are whole numbers 1 to ${most}`);
}

function tableBytes(limit: number): number {
  return 4 * Math.max(TABLE_SLOTS_MIN, Math.ceil(limit * TABLE_SLOTS_PER_ROW) + 1);
}

/** Empties the lists and counts; the high mark and the totals stay. */
export function resetHeads(header: Int32Array): void {
  header[HEADER_FREE] = NONE;
  header[HEADER_OLDEST] = NONE;
  header[HEADER_NEWEST] = NONE;
  header[HEADER_SIZE] = 0;
  header[HEADER_TARGETS] = 0;
}

/**
 * Makes sure that buffers are one store of this layout, with as many tables.
 *
 * @throws RangeError when they are not.
 */
export function checkArena(buffers: ArenaBuffers, tables: number): void {
  const header = new Int32Array(buffers.header);
  const limit = header[HEADER_LIMIT];
  const isStore =
    header[HEADER_MAGIC] === LAYOUT_MAGIC &&
    header.length === HEADER_WORDS &&
    buffers.rows.byteLength === limit * header[HEADER_ROW_WORDS] * 4 &&
    buffers.tables.length === tables &&
    buffers.tables.every((table) => table.byteLength === tableBytes(limit));
  if (!isStore) throw new RangeError('DHT store: the buffers are not one store of this layout');
}
