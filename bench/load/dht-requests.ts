/**
 * The datagrams of the DHT's scenarios, as npm dht-rpc and hyperdht send them from a client: no id,
 * for a client has none. The generator puts the transaction id in.
 */
import { createRequire } from 'node:module';
import type { NodeAddress } from '../../codecs/dht/address.ts';
import {
  COMMAND,
  FLAG_ID,
  FLAG_TOKEN,
  HEAD_BYTES,
  ID_BYTES,
  INTERNAL,
  REPLY_BYTE,
  TOKEN_BYTES,
} from '../../codecs/dht/constants.ts';
import { encodeAnnounce, encodePeer, type Peer } from '../../codecs/dht/hyper-messages.ts';
import { type DhtRequest, encodeRequest } from '../../codecs/dht/message.ts';
import { announceSignable, NAMESPACE } from '../../codecs/dht/namespaces.ts';
import { writeU32 } from '../../codecs/dht/varint.ts';
import { blake2b256 } from '../../codecs/hash/blake2b.ts';
import { SOURCES, type WriteRequest } from './generator.ts';

interface SigningSodium {
  crypto_sign_seed_keypair(publicKey: Buffer, secretKey: Buffer, seed: Buffer): void;
  crypto_sign_detached(signature: Buffer, message: Uint8Array, secretKey: Buffer): void;
}

const sodium = createRequire(import.meta.url)('sodium-native') as SigningSodium;

/** Values that are put, more than any server keeps: each is new when its turn comes again. */
export const PUT_VALUES = 65_536;
const PUT_VALUE_BYTES = 32;
const KEYS = 64;
/** Announces that are signed ahead: so many of each source. */
const ANNOUNCES_PER_SOURCE = 2;

/** The token of each source, as the server under test gave it. */
export class DhtTokenBook {
  readonly tokens = new Uint8Array(SOURCES * TOKEN_BYTES);
  readonly known = new Uint8Array(SOURCES);

  learn(bytes: Uint8Array, start: number, source: number): void {
    const flags = bytes[start + 1];
    if ((flags & FLAG_TOKEN) === 0) return;
    const at = start + HEAD_BYTES + ((flags & FLAG_ID) === 0 ? 0 : ID_BYTES);
    for (let i = 0; i < TOKEN_BYTES; i++) this.tokens[source * TOKEN_BYTES + i] = bytes[at + i];
    this.known[source] = 1;
  }

  of(source: number): Uint8Array {
    return this.tokens.slice(source * TOKEN_BYTES, (source + 1) * TOKEN_BYTES);
  }
}

/** The id in a reply; null when it has none. */
export function idOf(bytes: Uint8Array, start: number): Uint8Array | null {
  if (bytes[start] !== REPLY_BYTE || (bytes[start + 1] & FLAG_ID) === 0) return null;
  return bytes.slice(start + HEAD_BYTES, start + HEAD_BYTES + ID_BYTES);
}

/** Targets, 32 bytes each, that have nothing to do with each other. */
export class Targets {
  readonly bytes: Uint8Array;
  readonly count: number;

  constructor(name: string, count: number, make = hashOfName) {
    this.count = count;
    this.bytes = new Uint8Array(count * ID_BYTES);
    for (let i = 0; i < count; i++) this.bytes.set(make(name, i), i * ID_BYTES);
  }

  at(index: number): Uint8Array {
    return this.bytes.slice(index * ID_BYTES, (index + 1) * ID_BYTES);
  }
}

function hashOfName(name: string, index: number): Uint8Array {
  const hash = new Uint8Array(ID_BYTES);
  blake2b256(hash, Buffer.from(`${name} ${index}`));
  return hash;
}

/** Targets of the values that `immutablePut` puts. */
function hashOfValue(_name: string, index: number): Uint8Array {
  const hash = new Uint8Array(ID_BYTES);
  blake2b256(hash, putValue(index));
  return hash;
}

function putValue(index: number): Uint8Array {
  const value = new Uint8Array(PUT_VALUE_BYTES);
  writeU32(value, 0, index);
  return value;
}

function requestTo(to: NodeAddress, rest: Partial<DhtRequest>): Uint8Array {
  const empty = { tid: 0, id: null, token: null, isInternal: false, target: null, value: null };
  return encodeRequest({ ...empty, to, command: 0, ...rest });
}

export function ping(to: NodeAddress): WriteRequest {
  const message = requestTo(to, { isInternal: true, command: INTERNAL.PING });
  return (bytes, start) => copy(message, bytes, start);
}

/** Requests of one target after the other. */
function withTargets(message: Uint8Array, targets: Targets): WriteRequest {
  const at = message.length - ID_BYTES;
  return (bytes, start, _source, sequence) => {
    copy(message, bytes, start);
    const from = (sequence % targets.count) * ID_BYTES;
    for (let i = 0; i < ID_BYTES; i++) bytes[start + at + i] = targets.bytes[from + i];
    return message.length;
  };
}

export function findNode(to: NodeAddress, targets: Targets): WriteRequest {
  const target = targets.at(0);
  const message = requestTo(to, { isInternal: true, command: INTERNAL.FIND_NODE, target });
  return withTargets(message, targets);
}

export function lookup(to: NodeAddress, targets: Targets): WriteRequest {
  return withTargets(requestTo(to, { command: COMMAND.LOOKUP, target: targets.at(0) }), targets);
}

export function immutableGet(to: NodeAddress, targets: Targets): WriteRequest {
  const target = targets.at(0);
  return withTargets(requestTo(to, { command: COMMAND.IMMUTABLE_GET, target }), targets);
}

let putTargets: Targets | null = null;

/** Where the first values that `immutablePut` puts are found. */
export function firstPut(count: number): Targets {
  return new Targets('', count, hashOfValue);
}

/** Values of 32 bytes, one after the other, each source with its token. */
export function immutablePut(to: NodeAddress, { tokens }: DhtTokenBook): WriteRequest {
  putTargets ??= firstPut(PUT_VALUES);
  const targets = putTargets;
  const token = new Uint8Array(TOKEN_BYTES);
  const [target, value] = [targets.at(0), putValue(0)];
  const message = requestTo(to, { command: COMMAND.IMMUTABLE_PUT, token, target, value });
  const valueAt = message.length - PUT_VALUE_BYTES;
  const targetAt = valueAt - 1 - ID_BYTES;
  return (bytes, start, source, sequence) => {
    copy(message, bytes, start);
    const index = sequence % targets.count;
    for (let i = 0; i < TOKEN_BYTES; i++) {
      bytes[start + HEAD_BYTES + i] = tokens[source * TOKEN_BYTES + i];
      bytes[start + targetAt + i] = targets.bytes[index * ID_BYTES + i];
    }
    writeU32(bytes, start + valueAt, index);
    return message.length;
  };
}

const keyPairs = Array.from({ length: KEYS }, (_, i) => {
  const publicKey = Buffer.alloc(32);
  const secretKey = Buffer.alloc(64);
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, Buffer.alloc(32, i));
  return { publicKey, secretKey };
});

/** What announces are signed for. */
export interface Announcer {
  readonly to: NodeAddress;
  readonly nodeId: Uint8Array;
  readonly tokens: DhtTokenBook;
}

/** A signed announce of `target` from `source` with one of the key pairs and three relays. */
function announceOf(announcer: Announcer, target: Uint8Array, key: number, source: number) {
  const { publicKey, secretKey } = keyPairs[key % KEYS];
  const relayAddresses = [1, 2, 3].map((host) => ({ host: `127.3.0.${host}`, port: 1000 + key }));
  const peer: Peer = { publicKey, relayAddresses };
  const token = announcer.tokens.of(source);
  const { ANNOUNCE } = NAMESPACE;
  const signature = Buffer.alloc(64);
  const { nodeId, to } = announcer;
  const signed = announceSignable(ANNOUNCE, target, nodeId, token, encodePeer(peer), null);
  sodium.crypto_sign_detached(signature, signed, secretKey);
  const value = encodeAnnounce({ peer, refresh: null, signature, bump: 0 });
  return requestTo(to, { command: COMMAND.ANNOUNCE, token, target, value });
}

/** Signs an announce of each target by `perTarget` peers, to be sent once each. */
export function announceAll(
  announcer: Announcer,
  targets: Targets,
  perTarget: number,
): { write: WriteRequest; count: number } {
  const count = targets.count * perTarget;
  const messages = Array.from({ length: count }, (_, i) =>
    announceOf(announcer, targets.at(Math.floor(i / perTarget)), i % perTarget, i % SOURCES),
  );
  const write: WriteRequest = (bytes, start, _source, sequence) =>
    copy(messages[sequence % count], bytes, start);
  return { write, count };
}

/** Announces of targets of their own, two from each source, again and again. */
export function announces(announcer: Announcer): WriteRequest {
  const count = SOURCES * ANNOUNCES_PER_SOURCE;
  return announceAll(announcer, new Targets('announce', count), 1).write;
}

function copy(message: Uint8Array, bytes: Uint8Array, start: number): number {
  bytes.set(message, start);
  return message.length;
}
