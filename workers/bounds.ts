/**
 * How much of a store one stranger may have (source-prefix.ts): a prefix, a /24 or a /56, and of
 * its share again one host, an address or a /64.
 *
 *                                                   a prefix                   a host
 *   live records in the store                       prefixLimit                half of that
 *   live records under one name                     a 32nd of nameLimit        half of that
 *   live records of one name                        nameLimit, of all together
 *
 * What may not be added is refused (BOUNDED); a renewal of what is there never is.
 *
 * The guarantees:
 *
 *   The store. A prefix never has more than prefixLimit live records in it, whatever it does and
 *   however full it is. A removal's tombstone costs nobody a record: tombstones go before anybody
 *   is evicted. So of the L rows of a full store all others together keep at least L - prefixLimit
 *   whatever one prefix does; at its bound it is refused and evicts nobody, below it the usual
 *   eviction takes place (the oldest record of the least recently used name, its own included).
 *
 *   A name. It cannot be locked: of a name that has all it may, a newcomer takes the place of the
 *   oldest record, the one that was not renewed for longest. A newcomer is a prefix that has none
 *   yet, or less than a 16th of its share (counts are at times a little too high, and he must be
 *   let in); others are refused. Whatever P prefixes do, they leave the others at least nameLimit -
 *   P x its 32nd of a full name. Where that is nothing they leave every newcomer a place, until it
 *   is the oldest and the next one comes: with 32 prefixes whose records are renewed all the time
 *   that is the next newcomer, and who lost his place to him is a newcomer again.
 *
 *   A prefix. One host leaves its neighbours half of what the prefix may have.
 *
 * Not guarded against: somebody with addresses in many prefixes has as many shares.
 *
 * Counts are count-min sketches in the heap of the lane, never too low: a bound is never exceeded,
 * but may be met early: by up to 4 records of a full store on average (count-sketch.ts), or, with
 * a probability of crowds / (8 x sketch width), by somebody else's crowd: in 100,000 records with
 * as many crowds at a name's bounds as there can be, 1,171, that is one network and name in 450.
 */
import { HalfSipHash } from '../codecs/hash/halfsiphash.ts';
import { CountSketch } from './count-sketch.ts';
import type { Rng } from './rng.ts';
import { hostHigh, hostLow, isPrivate, prefixHigh, prefixLow } from './source-prefix.ts';
import { HEADER_RECORD_HIGH, NONE, RECORD_WORDS } from './store/layout.ts';
import type { RecordStore } from './store/record-store.ts';
import { ADMITTED, REFUSED, REPLACES, type StoreWatcher, type Verdict } from './store/watcher.ts';

/** Peers of a name: 66 times what the longest answer holds. */
export const DEFAULT_NAME_LIMIT = 8192;
/** One network has at most an eighth of a store: seven others have a share of their own. */
export const PREFIX_SHARE = 8;
/** One network is at most a 32nd of a crowded name: never most of what an answer names. */
export const NAME_SHARE = 32;
/** One host has at most half of what its network may: a neighbour of his is not locked out. */
export const HOST_SHARE = 2;
/** Who has less than a 16th of its share is a newcomer: well above what a sketch is wrong by. */
export const NEWCOMER_SHARE = 16;
/** A crowded name has at most a quarter of a lane's store: it does not evict all others. */
export const NAME_STORE_SHARE = 4;
/** A smaller store of a single lane is somebody's own: there a name may have all of it. */
export const LARGE_STORE_RECORDS = 4096;
/** Records of the store per sketch cell; each counts twice, for its prefix and for its host. */
const RECORDS_PER_CELL = 2;
const FAMILY = 0xff;
/** Of a prefix's records one lane gets more than its part by more than this once in 1,000 times. */
const LANE_DEVIATIONS = 3;

export interface BoundLimits {
  /** Live records of one prefix in the store. */
  readonly prefixLimit: number;
  /** Live records of one name. */
  readonly nameLimit: number;
  /** Live records of one host in the store; half of `prefixLimit` when left out. */
  readonly hostLimit?: number;
  /**
   * Whether private addresses (source-prefix.ts) have no share that ends: they are bounded by the
   * store's limit and by `nameLimit` as given, at which the oldest peer of the name goes for a new
   * one. For a server of somebody's own network, which is a single prefix. Default: no.
   */
  readonly sparesPrivate?: boolean;
}

/** What one prefix may have of a store of `limit` records unless told otherwise. */
export function defaultPrefixLimit(limit: number): number {
  return Math.max(1, Math.floor(limit / PREFIX_SHARE));
}

/**
 * The bounds of one lane of `lanes`. Names are spread over the lanes by their hashes, so a prefix
 * has about limit / lanes = x of its records in each, with a standard deviation below sqrt(x): a
 * lane allows x + 3 sqrt(x), at most all, so that hardly anybody meets a lane's bound before his
 * own. In all lanes together a prefix may thus have up to 3 sqrt(limit x lanes) more than
 * `prefixLimit`, if it chooses its names. A name is all in one lane.
 */
export function laneBounds(limits: BoundLimits, lanes: number): BoundLimits {
  const { prefixLimit, nameLimit, hostLimit = hostShare(prefixLimit) } = limits;
  return {
    prefixLimit: lanePart(prefixLimit, lanes),
    hostLimit: lanePart(hostLimit, lanes),
    nameLimit,
  };
}

function lanePart(limit: number, lanes: number): number {
  if (lanes === 1) return limit;
  const part = limit / lanes;
  return Math.min(limit, Math.ceil(part + LANE_DEVIATIONS * Math.sqrt(part)));
}

function hostShare(limit: number): number {
  return Math.ceil(limit / HOST_SHARE);
}

export class Bounds implements StoreWatcher {
  readonly prefixLimit: number;
  /**
   * As given, but of a lane's part of a store, or of a large one, at most a quarter; no less than
   * two prefixes' shares, though, so that none is most of a name.
   */
  readonly nameLimit: number;
  /** Live records of one host. */
  readonly hostLimit: number;
  /** Live records of one prefix under one name. */
  readonly sharedLimit: number;
  /** Live records of one host under one name. */
  readonly sharedHostLimit: number;
  /** Of a full name, who has fewer takes the place of the oldest. */
  readonly newcomerLimit: number;
  /** A name with fewer peers is within all of its bounds. */
  readonly #unbounded: number;
  readonly #sparesPrivate: boolean;
  /** Live records of one name that private addresses are spared up to. */
  readonly #givenNameLimit: number;
  readonly #store: RecordStore;
  readonly #prefixes: CountSketch;
  readonly #pairs: CountSketch;
  readonly #hash: HalfSipHash;
  /** Of the address looked at last, with room for a name: prefix, and host with its family. */
  readonly #prefix = new Int32Array(3);
  readonly #host = new Int32Array(4);
  #prefixHash = 0;
  #hostHash = 0;

  /**
   * Bounds for a store, that of one of `lanes` lanes; they hold from `store.watch(bounds)` on.
   * `rng` gives the key that spreads prefixes over the sketches.
   *
   * @throws RangeError when a limit is no whole number of at least 1.
   */
  constructor(store: RecordStore, limits: BoundLimits, rng: Rng, lanes = 1) {
    this.prefixLimit = atLeastOne('prefixLimit', limits.prefixLimit);
    const nameLimit = atLeastOne('nameLimit', limits.nameLimit);
    this.#sparesPrivate = limits.sparesPrivate === true;
    this.#givenNameLimit = nameLimit;
    this.hostLimit = atLeastOne('hostLimit', limits.hostLimit ?? hostShare(this.prefixLimit));
    this.sharedLimit = Math.max(1, Math.floor(nameLimit / NAME_SHARE));
    this.sharedHostLimit = hostShare(this.sharedLimit);
    this.newcomerLimit = Math.max(1, Math.floor(this.sharedLimit / NEWCOMER_SHARE));
    const isShared = lanes > 1 || store.limit >= LARGE_STORE_RECORDS;
    const twoShares = 2 * Math.min(this.sharedLimit, this.prefixLimit);
    const quarter = Math.floor(store.limit / NAME_STORE_SHARE);
    this.nameLimit = isShared ? Math.min(nameLimit, Math.max(quarter, twoShares)) : nameLimit;
    this.#unbounded = Math.min(this.sharedHostLimit, this.nameLimit);
    this.#store = store;
    this.#prefixes = new CountSketch(store.limit / RECORDS_PER_CELL);
    this.#pairs = new CountSketch(store.limit / RECORDS_PER_CELL);
    this.#hash = new HalfSipHash(rng.next(), rng.next());
  }

  /** See StoreWatcher. */
  judge(name: number, address: Int32Array): Verdict {
    const store = this.#store;
    if (this.#sparesPrivate && isPrivate(address, 0)) {
      const isFull = name !== NONE && store.liveCount(name) >= this.#givenNameLimit;
      return isFull ? REPLACES : ADMITTED;
    }
    // What cannot be over a bound needs no look at the sketches.
    if (store.live >= this.hostLimit) {
      this.#look(address, 0);
      if (this.#prefixes.estimate(this.#prefixHash) >= this.prefixLimit) return REFUSED;
      if (this.#prefixes.estimate(this.#hostHash) >= this.hostLimit) return REFUSED;
    }
    if (name === NONE) return ADMITTED;
    const live = store.liveCount(name);
    if (live < this.#unbounded) return ADMITTED;
    this.#look(address, 0);
    const ofPrefix = this.#pairs.estimate(this.#prefixPair(name));
    if (live >= this.nameLimit) return ofPrefix < this.newcomerLimit ? REPLACES : REFUSED;
    if (ofPrefix >= this.sharedLimit) return REFUSED;
    const ofHost = this.#pairs.estimate(this.#hostPair(name));
    return ofHost < this.sharedHostLimit ? ADMITTED : REFUSED;
  }

  /** See StoreWatcher. */
  count(name: number, words: Int32Array, at: number, delta: number): void {
    this.#look(words, at);
    this.#prefixes.add(this.#prefixHash, delta);
    this.#prefixes.add(this.#hostHash, delta);
    this.#pairs.add(this.#prefixPair(name), delta);
    this.#pairs.add(this.#hostPair(name), delta);
  }

  /** Counts the store's live records, as whoever adopts it must: linear in the rows ever used. */
  recount(): void {
    const { header, records } = this.#store;
    this.#prefixes.clear();
    this.#pairs.clear();
    const high = header[HEADER_RECORD_HIGH];
    for (let record = 0; record < high; record++) {
      if (!records.isLive(record)) continue;
      this.count(records.name(record), records.words, record * RECORD_WORDS, 1);
    }
  }

  /** Live records of the prefix of an address (four words), or a little more. */
  ofPrefix(address: Int32Array): number {
    this.#look(address, 0);
    return this.#prefixes.estimate(this.#prefixHash);
  }

  /** Live records of the host of an address, or a little more. */
  ofHost(address: Int32Array): number {
    this.#look(address, 0);
    return this.#prefixes.estimate(this.#hostHash);
  }

  /** Live records of the prefix of an address under a name, or a little more. */
  ofPair(name: number, address: Int32Array): number {
    this.#look(address, 0);
    return this.#pairs.estimate(this.#prefixPair(name));
  }

  /** Live records of the host of an address under a name, or a little more. */
  ofHostPair(name: number, address: Int32Array): number {
    this.#look(address, 0);
    return this.#pairs.estimate(this.#hostPair(name));
  }

  /** Hashes an address's prefix and host; one that was admitted is counted next: they are kept. */
  #look(words: Int32Array, at: number): void {
    const prefix = this.#prefix;
    const host = this.#host;
    const high = hostHigh(words, at);
    const low = hostLow(words, at);
    const family = prefixLow(words, at) & FAMILY;
    // Of nobody's at first: no address has the family 0.
    if (host[0] === high && host[1] === low && host[2] === family) return;
    host[0] = high;
    host[1] = low;
    host[2] = family;
    prefix[0] = prefixHigh(words, at);
    prefix[1] = prefixLow(words, at);
    // Inputs of different lengths: a host's hash is no prefix's.
    this.#prefixHash = this.#hash.words(prefix, 2);
    this.#hostHash = this.#hash.words(host, 3);
  }

  /** Of the address that was looked at last. */
  #prefixPair(name: number): number {
    this.#prefix[2] = name;
    return this.#hash.words(this.#prefix, 3);
  }

  #hostPair(name: number): number {
    this.#host[3] = name;
    return this.#hash.words(this.#host, 4);
  }
}

function atLeastOne(what: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value;
  throw new RangeError(`bounds: ${what} is ${value}; allowed are whole numbers from 1`);
}
