/**
 * Reads the store of an inline lane: on the lane's own thread, between its turns, without writing
 * anything.
 */
import { decodeName } from '../../../codecs/dns/text.ts';
import type { HalfSipHash } from '../../../codecs/hash/halfsiphash.ts';
import { keyOfId, type OwnRecords } from '../../../workers/own-records.ts';
import type { Rng } from '../../../workers/rng.ts';
import { NONE, type StoreBuffers } from '../../../workers/store/layout.ts';
import { RecordStore } from '../../../workers/store/record-store.ts';
import { Sampler } from '../../../workers/store/sample.ts';
import { formatAddress } from '../../net/ip-address.ts';
import type { NameJson, Peer } from '../types.ts';

/** As many as the original tells of by multicast. */
const MOST_PEERS = 100;
/** Both families. */
const ANY_FAMILY = 0;
/** The only domain. */
const DOMAIN = 0;
/** For "the address that you asked". */
const OWN_HOST = '0.0.0.0';

/**
 * The id that the wire labels bytes[0..end) spell, as people write ids: labels with dots between
 * them, nothing escaped but bytes that are no UTF-8 (`\255`).
 */
export function idText(bytes: Uint8Array, end: number): string {
  const escaped = decodeName(bytes, 0, end) ?? '';
  return escaped.replace(/\\(\d{3}|.)/gsu, (whole, what: string) => {
    if (what.length < 3) return what;
    return Number(what) < 0x80 ? String.fromCharCode(Number(what)) : whole;
  });
}

export class StoredNames {
  readonly #store: RecordStore;
  readonly #hash: HalfSipHash;
  readonly #rng: Rng;
  readonly #sampler: Sampler;
  readonly #found = new Int32Array(MOST_PEERS);

  /** `hash`: that of the lane's names. */
  constructor(buffers: StoreBuffers, hash: HalfSipHash, rng: Rng) {
    this.#store = new RecordStore(buffers);
    this.#hash = hash;
    this.#rng = rng;
    const { records, membership } = this.#store;
    // What has expired is the lane's to remove.
    this.#sampler = new Sampler(records, membership, { expire: () => undefined });
  }

  /** At most 100 random peers of `id`; none when it is no name. */
  peers(id: string, nowSeconds: number): Peer[] {
    const name = this.#find(id);
    if (name === NONE) return [];
    const found = this.#found;
    const count = this.#sampler.sample(name, ANY_FAMILY, MOST_PEERS, nowSeconds, this.#rng, found);
    return Array.from(found.subarray(0, count), (record) => ({
      port: this.#store.port(record),
      host: formatAddress(this.#store.recordBytes, this.#store.addressOffset(record)),
    }));
  }

  /** Every name with its live peers, those of `own` first. */
  toJSON(own: OwnRecords, nowSeconds: number): NameJson[] {
    const names = new Map<string, { readonly name: string; readonly records: Peer[] }>();
    for (const { id, key, ports } of own.names()) {
      const records = ports.map((port) => ({ port, host: OWN_HOST }));
      names.set(idText(key, key.length), { name: id, records });
    }
    this.#store.forEachRecord((view) => {
      const isOver = view.expiresAt !== 0 && view.expiresAt <= nowSeconds;
      if (view.tombstone || isOver) return;
      const name = idText(view.key, view.keyLength);
      const peer = { port: view.port, host: formatAddress(view.address, 0) };
      const entry = names.get(name);
      if (entry === undefined) names.set(name, { name, records: [peer] });
      else entry.records.push(peer);
    });
    return [...names.values()];
  }

  #find(id: string): number {
    try {
      const { bytes, hash } = keyOfId(id, this.#hash);
      return this.#store.find(bytes, 0, bytes.length, hash, DOMAIN);
    } catch (error) {
      if (error instanceof RangeError) return NONE;
      throw error;
    }
  }
}
