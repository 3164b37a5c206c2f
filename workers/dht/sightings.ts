/**
 * Who sends requests with an id, as a lane sees it: a known node whose address is proven is marked
 * as seen; one
 * that is not, and whose id is that of its address, is reported once in a while, so that the
 * control plane may ping it. An answer to that ping, not the request, brings it into the table.
 *
 * A hash is made only for nodes that are unknown and were not reported lately, and of these only so
 * many per second: whoever forges ids makes us hash, not ping, and not for long. What was reported
 * is remembered in rows of three words, two to a set:
 *
 *   0 IPv4 address as it lies in memory | 1 port, 0 = empty | 2 when, ms, wraps
 */
import { ADDRESS_BYTES, ID_BYTES } from '../../codecs/dht/constants.ts';
import { blake2b256 } from '../../codecs/hash/blake2b.ts';
import { isMapped, MAPPED_AT } from '../../codecs/mapped-address.ts';
import { NOT_FOUND, type RoutingTable } from './routing-table.ts';

/** The sender is in the table with this address, and now marked as seen. */
export const KNOWN = 1;
/** The sender may be worth a ping. */
export const SIGHTED = 2;
/** Neither: not its id, reported lately, known with this id elsewhere, or too many to look at. */
export const NOTHING = 0;

/** The same node again only after so long: it is being pinged, or its bucket is full. */
export const SIGHTING_AGAIN_MS = 30_000;
/** A quarter of a percent of a core; how many are pinged is bounded apart. */
export const HASHES_PER_SECOND = 8192;
/** 12 KiB a lane. More nodes in 30 s than this are at times reported early. */
const ROWS = 1024;
const ROW_WORDS = 3;
const WAYS = 2;
const PORT = 1;
const REPORTED_AT = 2;
const SECOND_MS = 1000;

export class Sightings {
  /** Hashes made so far. */
  hashed = 0;
  readonly #table: RoutingTable;
  readonly #seed: number;
  readonly #rows = new Int32Array(ROWS * ROW_WORDS);
  /** On the heap, as sodium-native needs them. */
  readonly #address = new Uint8Array(ADDRESS_BYTES);
  readonly #id = new Uint8Array(ID_BYTES);
  #turn = 0;
  /** Hashes that may be made, in thousandths, as of `#creditAt`. */
  #credit = HASHES_PER_SECOND * SECOND_MS;
  #creditAt = Number.NEGATIVE_INFINITY;

  /** `seed` scatters the rows. */
  constructor(table: RoutingTable, seed: number) {
    this.#table = table;
    this.#seed = seed | 1;
  }

  /**
   * Looks at the sender of a request: its 32-byte id at bytes[idAt], its 16-byte address at
   * addressBytes[addressAt], its port. Who is known is marked as seen when the source is proven.
   * Returns KNOWN, SIGHTED or NOTHING.
   */
  look(
    bytes: Uint8Array,
    idAt: number,
    addressBytes: Uint8Array,
    addressAt: number,
    port: number,
    nowMs: number,
    isProven: boolean,
  ): number {
    const table = this.#table;
    if (isProven) {
      if (table.touch(bytes, idAt, addressBytes, addressAt, port, table.tick)) return KNOWN;
    } else if (table.find(bytes, idAt) !== NOT_FOUND) {
      // Who forges the addresses of nodes that have gone cannot keep them in the table.
      return KNOWN;
    }
    const first = this.#firstRow(addressBytes, addressAt, port);
    if (this.#isRecent(first, addressBytes, addressAt, port, nowMs)) return NOTHING;
    if (!this.#takeCredit(nowMs)) return NOTHING;
    if (!this.#isOwnId(bytes, idAt, addressBytes, addressAt, port)) return NOTHING;
    // Only what was found true is remembered: a forger cannot keep a node from being reported.
    this.#remember(first, addressBytes, addressAt, port, nowMs);
    return SIGHTED;
  }

  /** Whether the id is the hash of the address; of IPv6 addresses it never is. */
  #isOwnId(id: Uint8Array, idAt: number, from: Uint8Array, at: number, port: number): boolean {
    const address = this.#address;
    if (!isMapped(from, at)) return false;
    for (let i = 0; i < 4; i++) address[i] = from[at + MAPPED_AT + i];
    address[4] = port;
    address[5] = port >>> 8;
    blake2b256(this.#id, address);
    this.hashed++;
    for (let i = 0; i < ID_BYTES; i++) {
      if (this.#id[i] !== id[idAt + i]) return false;
    }
    return true;
  }

  #isRecent(first: number, from: Uint8Array, at: number, port: number, nowMs: number): boolean {
    const row = this.#find(first, readWord(from, at + MAPPED_AT), port);
    return row !== NOT_FOUND && isWithin(this.#rows[row + REPORTED_AT], nowMs);
  }

  /** The row of an address in its set, or NOT_FOUND. */
  #find(first: number, address: number, port: number): number {
    const rows = this.#rows;
    for (let row = first; row < first + WAYS * ROW_WORDS; row += ROW_WORDS) {
      if (rows[row] === address && rows[row + PORT] === port) return row;
    }
    return NOT_FOUND;
  }

  /** In its own row, in one that is over, or in either of its set's in turn. */
  #remember(first: number, from: Uint8Array, at: number, port: number, nowMs: number): void {
    const rows = this.#rows;
    const address = readWord(from, at + MAPPED_AT);
    let row = this.#find(first, address, port);
    for (let way = 0; row === NOT_FOUND && way < WAYS; way++) {
      const candidate = first + way * ROW_WORDS;
      const isUsed = rows[candidate + PORT] !== 0;
      if (!isUsed || !isWithin(rows[candidate + REPORTED_AT], nowMs)) row = candidate;
    }
    if (row === NOT_FOUND) row = first + (this.#turn++ & (WAYS - 1)) * ROW_WORDS;
    rows[row] = address;
    rows[row + PORT] = port;
    rows[row + REPORTED_AT] = nowMs | 0;
  }

  #firstRow(from: Uint8Array, at: number, port: number): number {
    let mixed = readWord(from, at + MAPPED_AT) ^ this.#seed;
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b) ^ port;
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    mixed ^= mixed >>> 16;
    return (mixed & (ROWS / WAYS - 1)) * WAYS * ROW_WORDS;
  }

  /** Refills evenly, so that in a flood everyone's chance is the same. */
  #takeCredit(nowMs: number): boolean {
    const most = HASHES_PER_SECOND * SECOND_MS;
    const elapsed = nowMs - this.#creditAt;
    if (elapsed > 0) {
      this.#credit = Math.min(
        most,
        this.#credit + Math.min(elapsed, SECOND_MS) * HASHES_PER_SECOND,
      );
      this.#creditAt = nowMs;
    }
    if (this.#credit < SECOND_MS) return false;
    this.#credit -= SECOND_MS;
    return true;
  }
}

/** Whether `then`, a time that may have wrapped, is less than SIGHTING_AGAIN_MS ago. */
function isWithin(then: number, nowMs: number): boolean {
  const elapsed = ((nowMs | 0) - then) | 0;
  return elapsed >= 0 && elapsed < SIGHTING_AGAIN_MS;
}

function readWord(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}
