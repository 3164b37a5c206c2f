/**
 * Tokens prove that an asker receives what is sent to its address: a MAC of the address, valid for
 * the epoch it was made in and the next one. The original uses the same idea with sha256.
 *
 *   master secret --MAC("waypost dns token", epoch)--> epoch key --MAC(address)--> 32-byte token
 *
 * On the wire a token is its base64, 44 characters. Epochs follow the wall clock, so servers that
 * share the secret accept each other's tokens, with clocks up to 30 s apart. A MAC costs about
 * 1.2 us, so a lane keeps those of the addresses it has seen lately, a row of two cache lines each,
 * of which a hit reads the first:
 *
 *   words 0..3 address | 4 epoch | 5..15 current | 16..26 previous | 27 whether previous is known
 *         28..31 the address's last subscription: key hash, domain and port, path, second
 *
 * A MAC is kept as the eleven 24-bit units that base64 works in. The last subscription is kept here
 * because clients look the same name up again and again, the original's command line every second,
 * and each lookup subscribes: what is fresh need not be found and renewed in its store.
 *
 * A full set of two rows replaces them in turn: a flood of addresses costs MACs, never memory.
 */
import { base64Unit } from '../codecs/base64.ts';
import { TOKEN_TEXT_BYTES } from '../codecs/dns/constants.ts';
import { MAC_BYTES, mac } from '../codecs/mac/mac.ts';
import { EpochKeys, scatter } from './token-keys.ts';

export const TOKEN_EPOCH_MS = 5 * 60 * 1000;
const SETS = 16_384;
const WAYS = 2;
const ROW_WORDS = 32;
const EPOCH = 4;
const CURRENT = 5;
const PREVIOUS = 16;
const PREVIOUS_KNOWN = 27;
const SUBSCRIBED_HASH = 28;
const SUBSCRIBED_PORT = 29;
const SUBSCRIBED_PATH = 30;
const SUBSCRIBED_AT = 31;
/** Base64 works in units of three bytes; of the last, two are the MAC's. */
const UNITS = Math.ceil(MAC_BYTES / 3);
const LAST = UNITS - 1;
/** Three characters of the last unit stay, the fourth is `=`. */
const LAST_MASK = 0x00ffffff;
const PADDING = 0x3d000000;
/** Epochs start at the Unix epoch, so 0 is never a live one and marks an empty row. */
const EMPTY = 0;
/** A second before any window that is asked about. */
const LONG_AGO = -(2 ** 31);
/** glibc puts large blocks 16 bytes into a page: rows from here on begin with a cache line. */
const ALIGN_BYTES = 48;
const EPOCH_LABEL = 'waypost dns token';

/** What a subscription is to, but for the address: a key, the subscriber's port and its path. */
export interface Topic {
  hash: number;
  domainAndPort: number;
  path: number;
}

export class Tokens {
  /** MACs of addresses computed so far: what the rows could not spare. */
  computed = 0;
  readonly #textWords = new Int32Array(UNITS);
  /** The characters of the token of the address given to `load` last. */
  readonly text = new Uint8Array(this.#textWords.buffer);
  readonly #rows = new Int32Array(
    new ArrayBuffer(ALIGN_BYTES + SETS * WAYS * ROW_WORDS * 4),
    ALIGN_BYTES,
  );
  readonly #turn = new Uint8Array(SETS);
  readonly #keys: EpochKeys;
  readonly #seed: number;
  /** One byte more, always 0: the last unit's third. */
  readonly #units = new Uint8Array(MAC_BYTES + 1);
  readonly #mac = this.#units.subarray(0, MAC_BYTES);
  readonly #addressWords = new Int32Array(4);
  readonly #address = new Uint8Array(this.#addressWords.buffer);
  readonly #otherWords = new Int32Array(UNITS);
  readonly #nextUnits = new Int32Array(UNITS);
  #epoch = EMPTY;
  /** Offset of the row loaded last. */
  #row = 0;

  /** `secret`: 32 bytes, the same on servers behind one address. `seed` scatters the sets. */
  constructor(secret: Uint8Array, seed: number) {
    this.#keys = new EpochKeys(secret, EPOCH_LABEL, TOKEN_EPOCH_MS);
    this.#seed = seed | 1;
  }

  /** Moves to the epoch of `nowMs`. Call once per batch, before `load`. */
  setTime(nowMs: number): void {
    this.#keys.setTime(nowMs);
    this.#epoch = this.#keys.epoch;
  }

  /** Makes the token of the address at words[at..at+4) the one in `text` and for `verify`. */
  load(words: Int32Array, at: number): void {
    this.#row = this.#find(words, at);
    this.#spell(this.#rows, this.#row + CURRENT, this.#textWords);
  }

  /** Whether `length` bytes of `view` at `start` are a token of the address loaded last. */
  verify(view: DataView, start: number, length: number): boolean {
    if (length !== TOKEN_TEXT_BYTES) return false;
    if (equals(this.#textWords, view, start) || this.#isPrevious(view, start)) return true;
    return this.#keys.isNextNear && this.#isNext(view, start);
  }

  /** Whether the address loaded last subscribed to just this at most `seconds` ago. */
  isSubscribed(topic: Topic, nowSeconds: number, seconds: number): boolean {
    const rows = this.#rows;
    const row = this.#row;
    return (
      rows[row + SUBSCRIBED_HASH] === topic.hash &&
      rows[row + SUBSCRIBED_PORT] === topic.domainAndPort &&
      rows[row + SUBSCRIBED_PATH] === topic.path &&
      nowSeconds - rows[row + SUBSCRIBED_AT] <= seconds
    );
  }

  /** Notes that the address loaded last subscribed now. */
  subscribed(topic: Topic, nowSeconds: number): void {
    const rows = this.#rows;
    const row = this.#row;
    rows[row + SUBSCRIBED_HASH] = topic.hash;
    rows[row + SUBSCRIBED_PORT] = topic.domainAndPort;
    rows[row + SUBSCRIBED_PATH] = topic.path;
    rows[row + SUBSCRIBED_AT] = nowSeconds;
  }

  /** Forgets the last subscription of the address loaded last: it may have ended. */
  unsubscribed(): void {
    this.#rows[this.#row + SUBSCRIBED_AT] = LONG_AGO;
  }

  #find(words: Int32Array, at: number): number {
    const rows = this.#rows;
    const first = this.#firstRow(words, at);
    for (let row = first; row < first + WAYS * ROW_WORDS; row += ROW_WORDS) {
      if (rows[row + 3] !== words[at + 3] || rows[row + 2] !== words[at + 2]) continue;
      if (rows[row + 1] !== words[at + 1] || rows[row] !== words[at]) continue;
      if (rows[row + EPOCH] !== this.#epoch) this.#renew(row);
      return row;
    }
    const set = first / (WAYS * ROW_WORDS);
    const row = first + (this.#turn[set] & (WAYS - 1)) * ROW_WORDS;
    this.#turn[set]++;
    for (let i = 0; i < 4; i++) rows[row + i] = words[at + i];
    rows[row + EPOCH] = EMPTY;
    rows[row + SUBSCRIBED_AT] = LONG_AGO;
    this.#renew(row);
    return row;
  }

  /** The first row of an address's set. */
  #firstRow(words: Int32Array, at: number): number {
    return (scatter(words, at, this.#seed) & (SETS - 1)) * WAYS * ROW_WORDS;
  }

  #isPrevious(view: DataView, start: number): boolean {
    const row = this.#row;
    if (this.#rows[row + PREVIOUS_KNOWN] === 0) {
      this.#compute(row, this.#keys.previous, this.#rows, row + PREVIOUS);
      this.#rows[row + PREVIOUS_KNOWN] = 1;
    }
    this.#spell(this.#rows, row + PREVIOUS, this.#otherWords);
    return equals(this.#otherWords, view, start);
  }

  /** A token of the next epoch: rare, so it is not kept. */
  #isNext(view: DataView, start: number): boolean {
    this.#compute(this.#row, this.#keys.next, this.#nextUnits, 0);
    this.#spell(this.#nextUnits, 0, this.#otherWords);
    return equals(this.#otherWords, view, start);
  }

  /** The base64 of the units at `from`. */
  #spell(units: Int32Array, from: number, out: Int32Array): void {
    for (let i = 0; i < UNITS; i++) out[i] = base64Unit(units[from + i]);
    out[LAST] = (out[LAST] & LAST_MASK) | PADDING;
  }

  /** Brings a row to the current epoch, keeping last epoch's token when the row had it. */
  #renew(row: number): void {
    const rows = this.#rows;
    const had = rows[row + EPOCH];
    const isPrevious = had !== EMPTY && had === this.#epoch - 1;
    if (isPrevious) rows.copyWithin(row + PREVIOUS, row + CURRENT, row + CURRENT + UNITS);
    rows[row + PREVIOUS_KNOWN] = isPrevious ? 1 : 0;
    this.#compute(row, this.#keys.current, rows, row + CURRENT);
    rows[row + EPOCH] = this.#epoch;
  }

  /** Writes the units of the row's address's MAC to out[place..]. */
  #compute(row: number, key: Uint8Array, out: Int32Array, place: number): void {
    for (let i = 0; i < 4; i++) this.#addressWords[i] = this.#rows[row + i];
    mac(this.#mac, this.#address, key);
    this.computed++;
    const units = this.#units;
    for (let i = 0; i < UNITS; i++) {
      const unit = (units[3 * i] << 16) | (units[3 * i + 1] << 8) | units[3 * i + 2];
      out[place + i] = unit;
    }
  }
}

/** Compares in constant time, so that a token cannot be guessed byte by byte. */
function equals(text: Int32Array, view: DataView, start: number): boolean {
  let difference = 0;
  for (let i = 0; i < UNITS; i++) difference |= text[i] ^ view.getInt32(start + 4 * i, true);
  return difference === 0;
}
