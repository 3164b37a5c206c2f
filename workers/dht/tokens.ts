/**
 * The DHT's tokens: who stores something shows with one that it receives what is sent to its
 * address. 32 bytes on the wire, a MAC of the address without its port, good in the epoch of 60 s
 * it was made in and in the next one (the original's are good for 7.5 to 15 s; clients use them
 * within a query's seconds).
 *
 * Keys are made as those of the DNS tokens (workers/token-keys.ts). A MAC costs about 1.2 us, so a
 * lane keeps those of the addresses it has seen lately, in rows of two cache lines, of which a hit
 * reads the first:
 *
 *   words 0..3 address | 4 epoch + 1, 0 = empty row | 5 whether previous is known
 *         8..15 current | 16..23 previous
 *
 * A full set of two rows replaces them in turn: a flood of addresses costs MACs, never memory.
 */
import { TOKEN_BYTES } from '../../codecs/dht/constants.ts';
import { MAC_BYTES, mac } from '../../codecs/mac/mac.ts';
import { EpochKeys, scatter } from '../token-keys.ts';

export const DHT_TOKEN_EPOCH_MS = 60_000;
/**
 * Two rows each: 2 MiB a lane, 16,384 addresses at a time. Half as many sets and of 4,096 busy
 * clients every sixth would push another one's row out.
 */
export const DEFAULT_TOKEN_SETS = 8192;
const WAYS = 2;
const ROW_WORDS = 32;
const EPOCH = 4;
const PREVIOUS_KNOWN = 5;
const CURRENT = 8;
const PREVIOUS = 16;
const MAC_WORDS = MAC_BYTES / 4;
const EMPTY = 0;
const LABEL = 'waypost dht token';

export class DhtTokens {
  /** MACs computed so far: what the rows could not spare. */
  computed = 0;
  readonly #keys: EpochKeys;
  readonly #seed: number;
  readonly #setMask: number;
  readonly #rows: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #turn: Uint8Array;
  readonly #addressWords = new Int32Array(4);
  readonly #address = new Uint8Array(this.#addressWords.buffer);
  readonly #macWords = new Int32Array(MAC_WORDS);
  readonly #mac = new Uint8Array(this.#macWords.buffer);
  #epoch = EMPTY;
  /** First word of the row loaded last. */
  #row = 0;

  /**
   * `secret`: 32 bytes, the same on servers behind one address. `seed` scatters the sets. `sets`, a
   * power of two: rows for twice as many addresses are kept.
   */
  constructor(secret: Uint8Array, seed: number, sets = DEFAULT_TOKEN_SETS) {
    if (!Number.isInteger(Math.log2(sets))) {
      throw new RangeError(`token rows in ${sets} sets: expected a power of two`);
    }
    this.#keys = new EpochKeys(secret, LABEL, DHT_TOKEN_EPOCH_MS);
    this.#seed = seed | 1;
    this.#setMask = sets - 1;
    this.#rows = new Int32Array(sets * WAYS * ROW_WORDS);
    this.#bytes = new Uint8Array(this.#rows.buffer);
    this.#turn = new Uint8Array(sets);
  }

  /** Moves to the epoch of `nowMs`. Call once per batch, before `load`. */
  setTime(nowMs: number): void {
    this.#keys.setTime(nowMs);
    this.#epoch = this.#keys.epoch + 1;
  }

  /** Makes the 16-byte address in the four words at `at` the one that `write` and `verify` mean. */
  load(words: Int32Array, at: number): void {
    const rows = this.#rows;
    const set = scatter(words, at, this.#seed) & this.#setMask;
    const first = set * WAYS * ROW_WORDS;
    for (let row = first; row < first + WAYS * ROW_WORDS; row += ROW_WORDS) {
      if (rows[row + 3] !== words[at + 3] || rows[row + 2] !== words[at + 2]) continue;
      if (rows[row + 1] !== words[at + 1] || rows[row] !== words[at]) continue;
      this.#row = row;
      if (rows[row + EPOCH] !== this.#epoch) this.#renew(row);
      return;
    }
    const row = first + (this.#turn[set] & (WAYS - 1)) * ROW_WORDS;
    this.#turn[set]++;
    for (let i = 0; i < 4; i++) rows[row + i] = words[at + i];
    rows[row + EPOCH] = EMPTY;
    this.#row = row;
    this.#renew(row);
  }

  /** Writes the token of the address loaded last, 32 bytes, to out[at..]. */
  write(out: Uint8Array, at: number): void {
    const bytes = this.#bytes;
    const from = (this.#row + CURRENT) << 2;
    for (let i = 0; i < TOKEN_BYTES; i++) out[at + i] = bytes[from + i];
  }

  /** Whether the 32 bytes at `at` are a token of the address loaded last. */
  verify(bytes: Uint8Array, at: number): boolean {
    const row = this.#row;
    if (equals(this.#bytes, (row + CURRENT) << 2, bytes, at)) return true;
    if (this.#rows[row + PREVIOUS_KNOWN] === 0) {
      this.#compute(row, this.#keys.previous);
      this.#rows.set(this.#macWords, row + PREVIOUS);
      this.#rows[row + PREVIOUS_KNOWN] = 1;
    }
    if (equals(this.#bytes, (row + PREVIOUS) << 2, bytes, at)) return true;
    return this.#keys.isNextNear && this.#isNext(bytes, at);
  }

  /** A token of the next epoch, from a server whose clock is ahead: rare, so it is not kept. */
  #isNext(bytes: Uint8Array, at: number): boolean {
    this.#compute(this.#row, this.#keys.next);
    return equals(this.#mac, 0, bytes, at);
  }

  /** Brings a row to the current epoch, keeping last epoch's token when the row had it. */
  #renew(row: number): void {
    const rows = this.#rows;
    const had = rows[row + EPOCH];
    const isPrevious = had !== EMPTY && had === this.#epoch - 1;
    if (isPrevious) rows.copyWithin(row + PREVIOUS, row + CURRENT, row + CURRENT + MAC_WORDS);
    rows[row + PREVIOUS_KNOWN] = isPrevious ? 1 : 0;
    this.#compute(row, this.#keys.current);
    rows.set(this.#macWords, row + CURRENT);
    rows[row + EPOCH] = this.#epoch;
  }

  /** Makes the MAC of a row's address. */
  #compute(row: number, key: Uint8Array): void {
    for (let i = 0; i < 4; i++) this.#addressWords[i] = this.#rows[row + i];
    mac(this.#mac, this.#address, key);
    this.computed++;
  }
}

/** Compares in constant time, so that a token cannot be guessed byte by byte. */
function equals(token: Uint8Array, tokenAt: number, bytes: Uint8Array, at: number): boolean {
  let difference = 0;
  for (let i = 0; i < TOKEN_BYTES; i++) difference |= token[tokenAt + i] ^ bytes[at + i];
  return difference === 0;
}
