/**
 * The peers that an answer will name: a random choice, copied out of the store before anything of
 * the query is acted upon.
 */
import {
  EDNS_PEERS4,
  EDNS_PEERS6,
  PEER4_BYTES,
  PEER6_BYTES,
  PEERS4_PER_STRING,
  TYPE,
} from '../codecs/dns/constants.ts';
import type { QueryReader } from '../codecs/dns/query.ts';
import type { Key } from './key.ts';
import type { Rng } from './rng.ts';
import type { RecordStore } from './store/record-store.ts';

/** The most peers an answer can name: of each family in a TXT, and in an A, AAAA or SRV answer. */
export interface SampleBounds {
  readonly txt4: number;
  readonly txt6: number;
  readonly records: number;
}

/** As many addresses or services as the original's server tells. */
const UDP_RECORDS = 10;
/**
 * What 512 bytes have room for: one full string of IPv4, which is all that old clients read, or a
 * string of IPv6 and a bit.
 */
export const CLASSIC_BOUNDS: SampleBounds = {
  txt4: PEERS4_PER_STRING,
  txt6: 14,
  records: UDP_RECORDS,
};
/** What 1232 bytes have room for. */
export const EDNS_BOUNDS: SampleBounds = {
  txt4: EDNS_PEERS4,
  txt6: EDNS_PEERS6,
  records: UDP_RECORDS,
};
/**
 * What 65,535 bytes have room for: 256 full `peers=` strings and a remainder, or 263 `peers6=`. A
 * thousand records of an RRset are more than resolvers care for, and fit (59,000 bytes at most).
 */
export const TCP_BOUNDS: SampleBounds = { txt4: 7957, txt6: 2639, records: 1000 };

export class PeerSample {
  readonly #store: RecordStore;
  readonly #rng: Rng;
  readonly #records = new Int32Array(TCP_BOUNDS.txt4);
  /** For TXT: `count4` IPv4 peers as `ReplyWriter.txtPeers` takes them. */
  readonly pairs4 = new Int32Array(TCP_BOUNDS.txt4 * 2);
  /** For A and SRV: `count4` records of 6 bytes. */
  readonly peers4 = new Uint8Array(TCP_BOUNDS.records * PEER4_BYTES);
  /** `count6` records of 18 bytes. */
  readonly peers6 = new Uint8Array(TCP_BOUNDS.txt6 * PEER6_BYTES);
  count4 = 0;
  count6 = 0;

  constructor(store: RecordStore, rng: Rng) {
    this.#store = store;
    this.#rng = rng;
  }

  /** Chooses for the query in `reader`, whose key is `key`. */
  take(reader: QueryReader, key: Key, bounds: SampleBounds, nowSeconds: number): void {
    const { qtype } = reader;
    this.count4 = 0;
    this.count6 = 0;
    const isTxt = qtype === TYPE.TXT;
    const isSrv = qtype === TYPE.SRV;
    if (!isTxt && !isSrv && qtype !== TYPE.A && qtype !== TYPE.AAAA) return;
    const store = this.#store;
    let name = this.#find(key);
    if (name < 0) return;
    store.touch(name);
    if (isTxt) this.#takePairs(name, bounds.txt4, nowSeconds);
    else if (isSrv || qtype === TYPE.A) {
      this.count4 = this.#takePeers(name, 4, bounds.records, nowSeconds, this.peers4);
    }
    if (qtype === TYPE.A) return;
    // Nothing of IPv4: what there was may have been expired, and the name gone with it.
    if (this.count4 === 0) name = this.#find(key);
    if (name < 0 || store.liveCount(name) === this.count4) return;
    const most6 = isTxt ? bounds.txt6 : bounds.records - (isSrv ? this.count4 : 0);
    this.count6 = this.#takePeers(name, 6, most6, nowSeconds, this.peers6);
  }

  /** The key's name in the store, or -1. */
  #find(key: Key): number {
    return this.#store.find(key.bytes, 0, key.end, key.hash, key.domain);
  }

  #takePairs(name: number, most: number, nowSeconds: number): void {
    const store = this.#store;
    this.count4 = store.sample(name, 4, most, nowSeconds, this.#rng, this.#records);
    store.copyPairs(this.#records, this.count4, this.pairs4);
  }

  #takePeers(name: number, family: 4 | 6, most: number, now: number, out: Uint8Array): number {
    const store = this.#store;
    const count = store.sample(name, family, most, now, this.#rng, this.#records);
    store.copyPeers(this.#records, count, out, 0);
    return count;
  }
}
