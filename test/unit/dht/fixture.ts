/** Requests of all kinds for the tests of the DHT responder, signed by keys made from a number. */
import type { NodeAddress } from '../../../codecs/dht/address.ts';
import { COMMAND, INTERNAL } from '../../../codecs/dht/constants.ts';
import {
  decodeLookupReply,
  encodeAnnounce,
  encodeMutablePut,
  encodePeer,
  type LookupReply,
} from '../../../codecs/dht/hyper-messages.ts';
import type { DhtReply } from '../../../codecs/dht/message.ts';
import { announceSignable, mutableSignable, NAMESPACE } from '../../../codecs/dht/namespaces.ts';
import { blake2b256 } from '../../../codecs/hash/blake2b.ts';
import type { Arrival, DhtHarness } from '../../helpers/dht-harness.ts';
import { keyPair as keyPairOf, sign } from '../../helpers/signing.ts';

export const ALICE: NodeAddress = { host: '203.0.114.7', port: 4001 };
export const BOB: NodeAddress = { host: '203.0.115.8', port: 4002 };
export const CAROL: NodeAddress = { host: '203.0.116.9', port: 4003 };

export interface KeyPair {
  readonly publicKey: Uint8Array;
  readonly secretKey: Uint8Array;
}

export function keyPair(number: number): KeyPair {
  const seed = new Uint8Array(32);
  new DataView(seed.buffer).setUint32(0, number);
  const { publicKey, secretKey } = keyPairOf(seed);
  // Plain arrays, as what is decoded has.
  return { publicKey: Uint8Array.from(publicKey), secretKey: Uint8Array.from(secretKey) };
}

export function hash(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(32);
  blake2b256(out, bytes);
  return out;
}

export function topic(byte: number): Uint8Array {
  return new Uint8Array(32).fill(byte);
}

/** Some nodes, each in a network of its own. */
export function crowd(count: number): NodeAddress[] {
  return Array.from({ length: count }, (_, i) => ({
    host: `${20 + (i >> 8)}.${i & 255}.0.9`,
    port: 1000 + i,
  }));
}

export interface AnnounceOptions {
  readonly relays?: readonly NodeAddress[];
  readonly refresh?: Uint8Array;
  readonly bump?: number;
  readonly token?: Uint8Array;
  readonly how?: Arrival;
}

/** Announces, or unannounces, a key under a target, signed. */
export function announce(
  harness: DhtHarness,
  from: NodeAddress,
  target: Uint8Array,
  pair: KeyPair,
  options: AnnounceOptions = {},
  command: number = COMMAND.ANNOUNCE,
): DhtReply | null {
  const { relays = [], refresh = null, bump = 0, how } = options;
  const token = options.token ?? harness.token(from);
  const peer = { publicKey: pair.publicKey, relayAddresses: relays };
  const isAnnounce = command === COMMAND.ANNOUNCE;
  const namespace = isAnnounce ? NAMESPACE.ANNOUNCE : NAMESPACE.UNANNOUNCE;
  const encoded = encodePeer(peer);
  const signable = announceSignable(namespace, target, harness.id, token, encoded, refresh);
  const value = encodeAnnounce({ peer, refresh, signature: sign(signable, pair.secretKey), bump });
  return harness.ask({ command, target, token, value }, from, how);
}

export function unannounce(
  harness: DhtHarness,
  from: NodeAddress,
  target: Uint8Array,
  pair: KeyPair,
): DhtReply | null {
  return announce(harness, from, target, pair, {}, COMMAND.UNANNOUNCE);
}

export function lookup(
  harness: DhtHarness,
  target: Uint8Array,
  from: NodeAddress = BOB,
  how: Arrival = {},
): LookupReply | null {
  const reply = harness.ask({ command: COMMAND.LOOKUP, target }, from, how);
  return reply?.value == null ? null : decodeLookupReply(reply.value);
}

/** The peers of a lookup's answer, in hex and in order. */
export function peersOf(reply: LookupReply | null): string[] {
  return (reply?.peers ?? []).map(({ publicKey }) => Buffer.from(publicKey).toString('hex')).sort();
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function putMutable(
  harness: DhtHarness,
  from: NodeAddress,
  pair: KeyPair,
  seq: number,
  value: Uint8Array,
  how: Arrival = {},
): DhtReply | null {
  const signature = sign(mutableSignable(seq, value), pair.secretKey);
  const put = encodeMutablePut({ publicKey: pair.publicKey, seq, value, signature });
  const token = harness.token(from);
  const target = hash(pair.publicKey);
  return harness.ask({ command: COMMAND.MUTABLE_PUT, target, token, value: put }, from, how);
}

export function putImmutable(
  harness: DhtHarness,
  from: NodeAddress,
  value: Uint8Array,
): DhtReply | null {
  const token = harness.token(from);
  const target = hash(value);
  return harness.ask({ command: COMMAND.IMMUTABLE_PUT, target, token, value }, from);
}

export const PING = { command: INTERNAL.PING, isInternal: true } as const;

export function pingNat(
  harness: DhtHarness,
  value: readonly number[] | null,
  from = ALICE,
): DhtReply | null {
  const bytes = value === null ? null : Uint8Array.from(value);
  return harness.ask({ command: INTERNAL.PING_NAT, isInternal: true, value: bytes }, from);
}
