/** What the store's tests share: keys, peers, a seeded source of chance, and a row as text. */
import { HalfSipHash } from '../../../codecs/hash/halfsiphash.ts';
import { type ApplyResult, Change, OP_PUT, OP_REMOVE } from '../../../workers/store/change.ts';
import { RecordStore } from '../../../workers/store/record-store.ts';

export const NOW = 1_000_000;
export const HASH = new HalfSipHash(0x03020100, 0x07060504);

/** xorshift32: small, seeded, good enough to choose test cases. */
export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0 || 0x9e3779b9;
    for (let i = 0; i < 8; i++) this.next();
  }

  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  below(n: number): number {
    return Math.floor((this.next() / 2 ** 32) * n);
  }

  chance(probability: number): boolean {
    return this.next() < probability * 2 ** 32;
  }
}

export function makeStore(limit: number, tombstoneSeconds = 600): RecordStore {
  return RecordStore.allocate({ limit, tombstoneSeconds, hashKey0: 11, hashKey1: 0xfedcba98 });
}

export function keyOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export interface Peer {
  readonly address: Uint8Array;
  readonly port: number;
  readonly family: number;
}

/** The n-th IPv4 peer. */
export function peer4(n: number, port = 6881): Peer {
  const address = new Uint8Array(16);
  address.set([0, 0, 0xff, 0xff, 10, n >>> 16, n >>> 8, n], 8);
  return { address, port, family: 4 };
}

/** The n-th IPv6 peer. */
export function peer6(n: number, port = 6881): Peer {
  const address = new Uint8Array(16);
  address.set([0x20, 0x01, 0x0d, 0xb8, n >>> 24, n >>> 16, n >>> 8, n]);
  address[15] = 1;
  return { address, port, family: 6 };
}

export type ChangeFields = Partial<Omit<Change, 'keyBytes' | 'keyStart' | 'keyEnd' | 'address'>>;

/** A change with the key of `name` (hashed) and the identity of `peer`. */
export function makeChange(
  op: number,
  name: string,
  peer: Peer,
  fields: ChangeFields = {},
): Change {
  const change = new Change();
  change.op = op;
  change.keyBytes = keyOf(name);
  change.keyEnd = change.keyBytes.length;
  change.keyHash = HASH.bytes(change.keyBytes, 0, change.keyEnd);
  change.address = peer.address;
  change.port = peer.port;
  change.family = peer.family;
  change.now = NOW;
  return Object.assign(change, fields);
}

export function put(
  store: RecordStore,
  name: string,
  peer: Peer,
  fields: ChangeFields = {},
): ApplyResult {
  return store.apply(makeChange(OP_PUT, name, peer, fields));
}

export function remove(
  store: RecordStore,
  name: string,
  peer: Peer,
  fields: ChangeFields = {},
): ApplyResult {
  return store.apply(makeChange(OP_REMOVE, name, peer, fields));
}

/** The name row of a key hashed as `makeChange` does, or -1. */
export function findName(store: RecordStore, name: string, domain = 0): number {
  const key = keyOf(name);
  return store.find(key, 0, key.length, HASH.bytes(key, 0, key.length), domain);
}

/** Port numbers of all live peers of a name, in ascending order. */
export function portsOf(store: RecordStore, name: string, now = NOW, family = 0): number[] {
  const row = findName(store, name);
  if (row < 0) return [];
  const out = new Int32Array(store.limit);
  const count = store.sample(row, family, out.length, now, new SeededRandom(1), out);
  return Array.from(out.subarray(0, count), (record) => store.port(record)).sort((a, b) => a - b);
}

/** All rows as text: identity -> content. */
export function dump(store: RecordStore): Map<string, string> {
  const rows = new Map<string, string>();
  const torn = store.forEachRecord((view) => {
    const key = new TextDecoder().decode(view.key.subarray(0, view.keyLength));
    const id = rowId(key, view.domain, view.address, view.port);
    if (rows.has(id)) throw new Error(`row ${id} is there twice`);
    const state = view.tombstone ? 'dead' : 'live';
    rows.set(id, rowText(state, view.family, view.expiresAt, view.version, view.origin));
  });
  if (torn !== 0) throw new Error(`${torn} torn rows`);
  return rows;
}

export function rowId(key: string, domain: number, address: Uint8Array, port: number): string {
  return `${domain}/${key}/${Buffer.from(address).toString('hex')}/${port}`;
}

export function rowText(
  state: 'live' | 'dead',
  family: number,
  expiresAt: number,
  version: number,
  origin: number,
): string {
  return `${state} v${family} until ${expiresAt} version ${version}.${origin}`;
}
