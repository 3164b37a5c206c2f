/**
 * Who answered a ping of ours lately, from that address and port, and so receives what is sent
 * there: the DHT's way to prove an address without a token. Rows of three words, eight to a set:
 *
 *   0 IPv4 address as it lies in memory | 1 port, 0 = empty | 2 when it answered, seconds
 *
 * The seconds are the low 32 bits of them, and only differences count: they turn over in 2038. An
 * answer from further ahead than a proof holds is none: the clock was set back.
 *
 * The number of a set is a keyed hash, so strangers cannot aim at one. A full set lets the oldest
 * go: who is forgotten is pinged again.
 */

import { HalfSipHash } from '../../codecs/hash/halfsiphash.ts';
import { isMappedWords } from '../../codecs/mapped-address.ts';

/** As long as a proof holds: most NATs keep a mapping that is in use for longer. */
export const PROVEN_MS = 600_000;
/** More than can be proven in that time with 64 pings a second; 768 KiB. */
export const DEFAULT_PROVEN_ENTRIES = 65_536;
/** Of 32,768 addresses in 65,536 entries 99.5% are kept; with four to a set 96%. */
const WAYS = 8;
const ROW_WORDS = 3;
const PORT = 1;
const PROVEN_AT = 2;
const SECOND_MS = 1000;
const PROVEN_SECONDS = PROVEN_MS / SECOND_MS;
const NOT_FOUND = -1;

export class ProvenTable {
  readonly #rows: Int32Array;
  readonly #setMask: number;
  readonly #hash: HalfSipHash;
  readonly #key = new Int32Array(2);

  /** `entries`: a power of two, at least 8; a RangeError when not. */
  constructor(hashKey: readonly [number, number], entries = DEFAULT_PROVEN_ENTRIES) {
    if (!Number.isInteger(Math.log2(entries)) || entries < WAYS) {
      throw new RangeError(`proven addresses: ${entries} entries; expected a power of two from 8`);
    }
    this.#rows = new Int32Array(entries * ROW_WORDS);
    this.#setMask = entries / WAYS - 1;
    this.#hash = new HalfSipHash(hashKey[0], hashKey[1]);
  }

  /** Notes that `address`, a host number (codecs/dht/address.ts), answered from `port`. */
  add(address: number, port: number, nowMs: number): void {
    const rows = this.#rows;
    const word = inMemory(address);
    const now = secondsOf(nowMs);
    const first = this.#firstRow(word, port);
    let row = this.#find(first, word, port);
    if (row === NOT_FOUND) row = this.#oldest(first);
    rows[row] = word;
    rows[row + PORT] = port;
    rows[row + PROVEN_AT] = now;
  }

  /** Whether the 16-byte address in the four words at `at` has proven itself with this port. */
  has(words: Int32Array, at: number, port: number, nowMs: number): boolean {
    if (!isMappedWords(words, at)) return false;
    const row = this.#find(this.#firstRow(words[at + 3], port), words[at + 3], port);
    if (row === NOT_FOUND || port === 0) return false;
    const age = (secondsOf(nowMs) - this.#rows[row + PROVEN_AT]) | 0;
    return age < PROVEN_SECONDS && age > -PROVEN_SECONDS;
  }

  #find(first: number, word: number, port: number): number {
    const rows = this.#rows;
    for (let row = first; row < first + WAYS * ROW_WORDS; row += ROW_WORDS) {
      if (rows[row] === word && rows[row + PORT] === port) return row;
    }
    return NOT_FOUND;
  }

  /** An empty row of a set, or the one proven longest ago. */
  #oldest(first: number): number {
    const rows = this.#rows;
    let oldest = first;
    for (let row = first; row < first + WAYS * ROW_WORDS; row += ROW_WORDS) {
      if (rows[row + PORT] === 0) return row;
      if (((rows[row + PROVEN_AT] - rows[oldest + PROVEN_AT]) | 0) < 0) oldest = row;
    }
    return oldest;
  }

  #firstRow(word: number, port: number): number {
    this.#key[0] = word;
    this.#key[1] = port;
    return (this.#hash.words(this.#key, 2) & this.#setMask) * WAYS * ROW_WORDS;
  }
}

/** As rows have the time. */
function secondsOf(nowMs: number): number {
  return Math.floor(nowMs / SECOND_MS) | 0;
}

/** The word that holds an address with its first byte first, on a little-endian machine. */
function inMemory(address: number): number {
  return (
    (address >>> 24) | ((address >>> 8) & 0xff00) | ((address & 0xff00) << 8) | (address << 24)
  );
}
