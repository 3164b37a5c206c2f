/** What the tests of the DHT stores share: keys by number, stores, changes, rows as text. */
import { HalfSipHash } from '../../../codecs/hash/halfsiphash.ts';
import { PeerChange, ValueChange } from '../../../workers/dht/store/change.ts';
import {
  allocatePeers,
  allocateValues,
  HEADER_OLDEST,
  NONE,
  PEER_KEY,
  PEER_RELAY_COUNT,
  PEER_RELAYS,
  PEER_TARGET,
  PEER_WORDS,
  ROW_EXPIRES_AT,
  ROW_HOST,
  ROW_NEWER,
  ROW_PREFIX,
} from '../../../workers/dht/store/layout.ts';
import { PeerStore } from '../../../workers/dht/store/peer-store.ts';
import type { Rows } from '../../../workers/dht/store/rows.ts';
import { ValueStore } from '../../../workers/dht/store/value-store.ts';
import { type ApplyResult, OP_PUT, OP_REMOVE } from '../../../workers/store/change.ts';

export const NOW = 1_700_000_000_000;
export const AGE = 1000;
export const HASH_KEY: readonly [number, number] = [0x01020304, 0xf5f6f7f8];
export const VALUE_BYTES = 37;
const HASH = new HalfSipHash(0x03020100, 0x07060504);
/** Keys do not begin at 0, so that an offset forgotten somewhere shows. */
const AT = 3;

/** The n-th 32-byte key of a kind, `AT` bytes into its array. */
export function keyOf(kind: number, n: number): Uint8Array {
  const key = new Uint8Array(AT + 32 + 2);
  const seed = Int32Array.of(kind, n, 0);
  const words = Int32Array.from({ length: 8 }, (_, i) => {
    seed[2] = i;
    return HASH.words(seed, 3);
  });
  key.set(new Uint8Array(words.buffer), AT);
  return key;
}

export function hashOf(key: Uint8Array, collide = false): number {
  return collide ? 7 : HASH.bytes(key, AT, AT + 32);
}

export function makeValues(limit: number): ValueStore {
  const store = new ValueStore(allocateValues(limit, VALUE_BYTES));
  store.setTime(NOW);
  return store;
}

export function makePeers(limit: number): PeerStore {
  const store = new PeerStore(allocatePeers(limit), HASH_KEY);
  store.setTime(NOW);
  return store;
}

export type Fields = {
  expiresAt?: number;
  prefix?: number;
  host?: number;
  bump?: number;
  collide?: boolean;
};

/** A put of value `content` under key `n`. */
export function valueChange(n: number, content: number, fields: Fields = {}): ValueChange {
  const change = new ValueChange();
  change.op = OP_PUT;
  change.key = keyOf(1, n);
  change.keyAt = AT;
  change.hash = hashOf(change.key, fields.collide);
  change.value = Uint8Array.from({ length: VALUE_BYTES + AT }, (_, i) => content + i);
  change.valueAt = AT;
  change.valueLength = content % (VALUE_BYTES + 1);
  change.expiresAt = fields.expiresAt ?? NOW + AGE;
  change.prefix = fields.prefix ?? 0;
  change.host = fields.host ?? 0;
  return change;
}

/** A put of peer `n`, with `content` % 4 relays, under target `t`. */
export function peerChange(t: number, n: number, content = 0, fields: Fields = {}): PeerChange {
  const change = new PeerChange();
  change.op = OP_PUT;
  change.target = keyOf(2, t);
  change.targetAt = AT;
  change.hash = hashOf(change.target, fields.collide);
  change.publicKey = keyOf(3, n);
  change.publicKeyAt = AT;
  change.relays = Uint8Array.from({ length: AT + 18 }, (_, i) => content + i);
  change.relaysAt = AT;
  change.relayCount = content % 4;
  change.expiresAt = fields.expiresAt ?? NOW + AGE;
  change.prefix = fields.prefix ?? 0;
  change.host = fields.host ?? 0;
  change.bump = fields.bump ?? 0;
  return change;
}

export function putValue(
  store: ValueStore,
  n: number,
  content: number,
  fields?: Fields,
): ApplyResult {
  return store.apply(valueChange(n, content, fields));
}

export function removeValue(store: ValueStore, n: number): ApplyResult {
  return store.apply(Object.assign(valueChange(n, 0), { op: OP_REMOVE }));
}

export function putPeer(store: PeerStore, t: number, n: number, fields?: Fields): ApplyResult {
  return store.apply(peerChange(t, n, n, fields));
}

export function removePeer(store: PeerStore, t: number, n: number): ApplyResult {
  return store.apply(Object.assign(peerChange(t, n), { op: OP_REMOVE }));
}

export function findValue(store: ValueStore, n: number): number {
  const key = keyOf(1, n);
  return store.find(key, AT, hashOf(key));
}

export function bumpOf(store: PeerStore, t: number, collide = false): number {
  const target = keyOf(2, t);
  return store.bumpOf(target, AT, hashOf(target, collide));
}

export function countOf(store: PeerStore, t: number): number {
  const target = keyOf(2, t);
  return store.countOf(target, AT, hashOf(target));
}

/** The peers a choice gives, as hexadecimal text of their wire format without the relays. */
export function samplePeers(
  store: PeerStore,
  t: number,
  most: number,
  random: { next(): number },
  room = 64 * 51,
): string[] {
  const target = keyOf(2, t);
  const out = Buffer.alloc(room + 10, 0xee);
  const bytes = store.sample(target, AT, hashOf(target), random, most, out, 5, 5 + room);
  const found: string[] = [];
  let at = 5;
  for (; at < 5 + bytes; at += 33 + 6 * out[at + 32]) {
    found.push(out.subarray(at, at + 32).toString('hex'));
  }
  const isUntouched = out.subarray(5 + bytes).every((byte) => byte === 0xee);
  if (at !== 5 + bytes || found.length !== store.sampleCount || !isUntouched) {
    throw new Error(`${store.sampleCount} peers in ${bytes} bytes`);
  }
  return found;
}

/** The name of peer `n` as `samplePeers` has it. */
export function peerName(n: number): string {
  return hex(keyOf(3, n), AT, 32);
}

export function hex(bytes: Uint8Array, at: number, length: number): string {
  return Buffer.from(bytes.slice(at, at + length)).toString('hex');
}

/** Rows from the one put first to the one put last. */
export function rowsByAge(rows: Rows): number[] {
  const found: number[] = [];
  for (let row = rows.header[HEADER_OLDEST]; row !== NONE && found.length <= rows.limit; ) {
    found.push(row);
    row = rows.words[row * rows.rowWords + ROW_NEWER];
  }
  return found;
}

/** All values by age: key -> content, expiry, network. */
export function dumpValues(store: ValueStore): [string, string][] {
  return rowsByAge(store.rows).map((row) => {
    const content = hex(store.bytes, store.valueStart(row), store.valueLength(row));
    return [hex(store.bytes, store.keyStart(row), 32), rowText(store.rows, row, content)];
  });
}

/** All peers by age: target and public key -> relays, expiry, network. */
export function dumpPeers({ rows }: PeerStore): [string, string][] {
  return rowsByAge(rows).map((row) => {
    const at = row * PEER_WORDS;
    const target = hex(rows.bytes, (at + PEER_TARGET) * 4, 32);
    const publicKey = hex(rows.bytes, (at + PEER_KEY) * 4, 32);
    const relays = hex(rows.bytes, (at + PEER_RELAYS) * 4, 6 * rows.words[at + PEER_RELAY_COUNT]);
    return [`${target}/${publicKey}`, rowText(rows, row, relays)];
  });
}

function rowText(rows: Rows, row: number, content: string): string {
  const expiresAt = rows.floats[(row * rows.rowWords + ROW_EXPIRES_AT) >> 1];
  const at = row * rows.rowWords;
  const source = `${rows.words[at + ROW_PREFIX]} ${rows.words[at + ROW_HOST]}`;
  return `${content} until ${expiresAt - NOW} of ${source}`;
}

/** The same of a change: what a row that holds it says. */
export function changeText(change: ValueChange | PeerChange): [string, string] {
  const text = (content: string) =>
    `${content} until ${change.expiresAt - NOW} of ${change.prefix} ${change.host}`;
  if (change instanceof ValueChange) {
    const content = hex(change.value, change.valueAt, change.valueLength);
    return [hex(change.key, change.keyAt, 32), text(content)];
  }
  const target = hex(change.target, change.targetAt, 32);
  const publicKey = hex(change.publicKey, change.publicKeyAt, 32);
  const relays = hex(change.relays, change.relaysAt, 6 * change.relayCount);
  return [`${target}/${publicKey}`, text(relays)];
}
