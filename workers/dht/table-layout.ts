/**
 * The memory of a routing table: one SharedArrayBuffer, one writer, readers on any thread.
 *
 *   header    own A      own B      row 0      row 1      ... the pool
 *   +------+  +-------+  +-------+  +--------+  +--------+--
 *   | 64 B |  | 320 B |  | 320 B |  | 1600 B |  | 1600 B |
 *   +------+  +-------+  +-------+  +--------+  +--------+--
 *
 * header, words: 0 generation | 1 rows in the pool | 2 entries | 3 the writer's tick | 4 magic
 *
 * own, two copies, of which the one with the number of the generation's lowest bit is read; the
 * writer prepares the other and then adds 1 to the generation:
 *
 *   bytes 0..31 own id | 32..35 flags | 36..39 highest bucket with a row, -1 = none
 *         64..319 for each bucket (the length of the prefix that its ids share with the own id) the
 *         number of its row + 1, 0 = it has none. A row that is taken is added in place.
 *
 * row, 1600 bytes:
 *
 *   +------------+---------+---------+---------+---------+--   --+----------+
 *   | generation | order A | order B | place 0 | place 1 |  ...  | place 19 |
 *   | 32 B       | 144 B   | 144 B   | 64 B    | 64 B    |       | 64 B     |
 *   +------------+---------+---------+---------+---------+--   --+----------+
 *
 *   order:  bytes 0..19 the places in use, ids ascending | 20 how many | 24..143 their addresses in
 *           this order, 6 bytes each as on the wire: what an answer names is one run of bytes
 *   place:  bytes 0..31 id | 32..37 address as on the wire | 40 seen i32 | 44 pinged i32
 *           48 added i32 | 52 down hints i32
 *
 * What is doubled is a row's order, not its places: a node stays in its place, so that any thread
 * may mark it as seen by one store which no change of the row can undo. A place outside the order
 * is nobody's; the writer fills one before it flips the order, and empties one after. So what the
 * order of generation g names is untouched for as long as the generation is g: a reader who finds
 * it unchanged behind a fence has read the truth, and one who does not reads again. A writer that
 * stopped anywhere leaves all that was there before.
 *
 * A row costs memory when it is taken: a table of a small network touches a few pages.
 */
import { ID_BYTES, K } from '../../codecs/dht/constants.ts';

/** Ids are hashes of 48 bits, so a prefix shared by chance is shorter; both copies need rows. */
export const DEFAULT_ROWS = 64;
/** A bucket's row has its number in a byte. */
export const MAX_ROWS = 255;
/** Lengths of a shared prefix: 0 to 255; the own id itself would be in the last one. */
export const BUCKETS = ID_BYTES * 8;

export const HEADER_WORDS = 16;
export const GENERATION = 0;
export const ROWS = 1;
export const SIZE = 2;
export const TICK = 3;
export const MAGIC = 4;
/** Changes with the layout. */
export const LAYOUT_MAGIC = 0x57505431;

export const OWN_WORDS = 80;
export const OWN_FLAGS = 8;
export const OWN_TOP = 9;
/** Byte offset within own. */
export const OWN_MAP_BYTES = 64;
export const FLAG_PERSISTENT = 1;

export const ROW_HEAD_WORDS = 8;
export const ORDER_WORDS = 36;
/** Byte offsets within an order. */
export const ORDER_COUNT = 20;
export const ORDER_ADDRESSES = 24;
export const PLACE_WORDS = 16;
export const PLACE_ADDRESS = 8;
export const PLACE_SEEN = 10;
export const PLACE_PINGED = 11;
export const PLACE_ADDED = 12;
export const PLACE_DOWN_HINTS = 13;
export const ROW_PLACES = ROW_HEAD_WORDS + 2 * ORDER_WORDS;
export const ROW_WORDS = ROW_PLACES + K * PLACE_WORDS;
export const FIRST_ROW = HEADER_WORDS + 2 * OWN_WORDS;

/**
 * Zeroed memory for a table of at most `rows` rows.
 *
 * @throws RangeError when `rows` is not 1 to MAX_ROWS.
 */
export function allocateTable(rows: number): SharedArrayBuffer {
  if (!Number.isInteger(rows) || rows < 1 || rows > MAX_ROWS) {
    throw new RangeError(`routing table of ${rows} rows: allowed are 1 to ${MAX_ROWS}`);
  }
  const buffer = new SharedArrayBuffer(4 * (FIRST_ROW + rows * ROW_WORDS));
  const words = new Int32Array(buffer);
  words[ROWS] = rows;
  words[MAGIC] = LAYOUT_MAGIC;
  words[ownAt(0) + OWN_TOP] = -1;
  words[ownAt(1) + OWN_TOP] = -1;
  return buffer;
}

/**
 * The words of a table.
 *
 * @throws RangeError when the buffer is none of this layout.
 */
export function tableWords(buffer: SharedArrayBuffer): Int32Array {
  const words = new Int32Array(buffer);
  if (words[MAGIC] !== LAYOUT_MAGIC || words.length !== FIRST_ROW + words[ROWS] * ROW_WORDS) {
    throw new RangeError('routing table: the buffer does not hold a table of this layout');
  }
  return words;
}

/** First word of the own part that is read at a generation. */
export function ownAt(generation: number): number {
  return HEADER_WORDS + (generation & 1) * OWN_WORDS;
}

/** First word of a row. */
export function rowAt(row: number): number {
  return FIRST_ROW + row * ROW_WORDS;
}

/** First word of the order that is read at a row's generation. */
export function orderAt(rowStart: number, generation: number): number {
  return rowStart + ROW_HEAD_WORDS + (generation & 1) * ORDER_WORDS;
}

/** First word of a place. */
export function placeAt(rowStart: number, place: number): number {
  return rowStart + ROW_PLACES + place * PLACE_WORDS;
}

/** The bucket of an id: how many leading bits it shares with the own id, at most BUCKETS - 1. */
export function bucketOfId(
  ownBytes: Uint8Array,
  ownStart: number,
  id: Uint8Array,
  idAt: number,
): number {
  for (let i = 0; i < ID_BYTES; i++) {
    const difference = ownBytes[ownStart + i] ^ id[idAt + i];
    if (difference !== 0) return i * 8 + Math.clz32(difference) - 24;
  }
  return BUCKETS - 1;
}

/** Below 0, 0 or above 0 as the id at `aAt` is below, equal to or above the other one. */
export function compareIds(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): number {
  for (let i = 0; i < ID_BYTES; i++) {
    const difference = a[aAt + i] - b[bAt + i];
    if (difference !== 0) return difference;
  }
  return 0;
}
