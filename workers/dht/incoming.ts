/**
 * One request of the DHT where it lies in its slot, and what is known of who sent it.
 *
 *   03 flags tid to [id] [token] command [target] [value]
 *
 * The reply takes its place and overwrites it, so what a reply still needs is copied: the target,
 * the transaction id. A source is proven by a valid token, or main knew it before.
 */
import { ID_BYTES, MAX_DATAGRAM_BYTES } from '../../codecs/dht/constants.ts';
import { RequestReader } from '../../codecs/dht/request.ts';
import type { HalfSipHash } from '../../codecs/hash/halfsiphash.ts';
import { headerBytes, unamplifiedBytes } from '../amplification.ts';
import type { CounterRow } from '../counters.ts';
import {
  BUDGET_SILENT,
  BUDGET_TRUNCATED,
  SLOT_ADDRESS,
  SLOT_BUDGET,
  SLOT_BYTES,
  SLOT_FAMILY,
  SLOT_FORGED,
  SLOT_GENUINE,
  SLOT_HEADER_BYTES,
  SLOT_KEY_HASH,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_PROVEN,
  SLOT_STATE,
  type Slab,
} from '../slab.ts';
import { hostHigh, isPrivate, prefixHigh } from '../source-prefix.ts';
import type { RoutingTable } from './routing-table.ts';
import type { Change } from './store/change.ts';
import type { DhtTokens } from './tokens.ts';

const TARGET_WORDS = ID_BYTES >> 2;
/** The bits by which main says what became of a signature. */
const CHECKED = SLOT_GENUINE | SLOT_FORGED;

export interface ExchangeParts {
  readonly slab: Slab;
  readonly counters: CounterRow;
  readonly table: RoutingTable;
  readonly tokens: DhtTokens;
  /** The hash over targets: the dispatcher's too. */
  readonly hash: HalfSipHash;
  /** The number of the socket whose replies show no id. */
  readonly clientReceiver: number;
  /** Whether the network is a LAN or loopback one. */
  readonly isPrivate: boolean;
}

export class Incoming {
  readonly slab: Slab;
  readonly bytes: Uint8Array;
  readonly reader = new RequestReader();
  readonly #targetWords = new Int32Array(TARGET_WORDS);
  /** The target, 32 bytes; only if `hasTarget`. */
  readonly target = new Uint8Array(this.#targetWords.buffer);
  /** The time of this batch, milliseconds since 1970. */
  nowMs = 0;
  slot = 0;
  /** Where the slot's header and its datagram begin. */
  base = 0;
  start = 0;
  /** Of the request. */
  length = 0;
  hasTarget = false;
  /** Whether the request has a valid token. */
  hasToken = false;
  /** Whether the source has proven its address, by that or before. */
  isProven = false;
  /** The most bytes of the reply. */
  protected limit = 0;
  protected readonly parts: ExchangeParts;
  #state = 0;
  #hash = 0;
  #isTokenLoaded = false;

  constructor(parts: ExchangeParts) {
    this.parts = parts;
    this.slab = parts.slab;
    this.bytes = parts.slab.bytes;
  }

  /** Takes the datagram in `slot`; false when it is not a readable request by IPv4. */
  read(slot: number): boolean {
    const { slab, bytes, reader } = this;
    const base = slot * SLOT_BYTES;
    this.slot = slot;
    this.base = base;
    this.start = base + SLOT_HEADER_BYTES;
    this.length = slab.i32[(base + SLOT_LENGTH) >> 2];
    this.#state = bytes[base + SLOT_STATE];
    this.#hash = 0;
    this.isProven = (this.#state & SLOT_PROVEN) !== 0;
    this.hasToken = false;
    this.#isTokenLoaded = false;
    if (bytes[base + SLOT_FAMILY] === 6 || !reader.read(bytes, this.start, this.length)) {
      return false;
    }
    this.hasTarget = reader.targetStart >= 0;
    if (this.hasTarget) {
      const from = reader.targetStart;
      for (let i = 0; i < ID_BYTES; i++) this.target[i] = bytes[from + i];
    }
    return true;
  }

  /** False when there is a token and it is not valid; a valid one proves the source. */
  checkToken(): boolean {
    const { tokenStart } = this.reader;
    if (tokenStart < 0) return true;
    this.loadToken();
    if (!this.parts.tokens.verify(this.bytes, tokenStart)) return false;
    this.hasToken = true;
    this.isProven = true;
    this.mark(SLOT_PROVEN);
    return true;
  }

  /** Decides how long the reply may be; false: there may be none. */
  setLimit(): boolean {
    this.limit = MAX_DATAGRAM_BYTES;
    if (this.isProven) return true;
    const budget = this.slab.i32[(this.base + SLOT_BUDGET) >> 2];
    if (budget === BUDGET_SILENT) return false;
    let most = budget;
    if (budget === BUDGET_TRUNCATED) {
      most = unamplifiedBytes(this.length, headerBytes(this.bytes[this.base + SLOT_FAMILY]));
    }
    if (most < MAX_DATAGRAM_BYTES) this.limit = most;
    return true;
  }

  /** Adds a bit to the slot's state. */
  mark(bit: number): void {
    this.bytes[this.base + SLOT_STATE] |= bit;
  }

  /** Takes a bit from the slot's state. */
  unmark(bit: number): void {
    this.bytes[this.base + SLOT_STATE] &= ~bit;
  }

  /** Whether the signature has been checked, and was found right; a wrong one: `isForged`. */
  get isGenuine(): boolean {
    return (this.#state & CHECKED) === SLOT_GENUINE;
  }

  get isForged(): boolean {
    return (this.#state & SLOT_FORGED) !== 0;
  }

  /** Whether limits by address do not hold for the source: a private one of a private network. */
  get isSpared(): boolean {
    return this.parts.isPrivate && isPrivate(this.slab.i32, this.addressWord);
  }

  /** Says who a put comes from; a store does not count who is spared. */
  attribute(change: Change): void {
    const { i32 } = this.slab;
    const at = this.addressWord;
    const { isSpared } = this;
    change.prefix = isSpared ? 0 : prefixHigh(i32, at);
    change.host = isSpared ? 0 : hostHigh(i32, at);
  }

  /** Where the source's address begins in the words of the slab. */
  get addressWord(): number {
    return (this.base + SLOT_ADDRESS) >> 2;
  }

  get port(): number {
    return this.slab.u16[(this.base + SLOT_PORT) >> 1];
  }

  /** Whether commands that store or look up are served. */
  get isPersistent(): boolean {
    return this.parts.table.isPersistent;
  }

  /** The target's keyed hash, never 0; a dispatcher of several lanes has left it in the slot. */
  get targetHash(): number {
    if (this.#hash === 0) {
      const left = this.slab.i32[(this.base + SLOT_KEY_HASH) >> 2];
      const hash = left === 0 ? this.parts.hash.words(this.#targetWords, TARGET_WORDS) : left;
      this.#hash = hash === 0 ? 1 : hash;
    }
    return this.#hash;
  }

  /** The same of any 32 bytes. */
  hashOf(key: Uint8Array): number {
    return this.parts.hash.bytes(key, 0, ID_BYTES);
  }

  /** Whether the 32 bytes at `at` are the target. */
  isTarget(bytes: Uint8Array, at = 0): boolean {
    if (!this.hasTarget) return false;
    for (let i = 0; i < ID_BYTES; i++) if (bytes[at + i] !== this.target[i]) return false;
    return true;
  }

  /** Makes the source's token the one that is checked and written. */
  protected loadToken(): void {
    if (this.#isTokenLoaded) return;
    this.#isTokenLoaded = true;
    this.parts.tokens.load(this.slab.i32, this.addressWord);
  }
}
