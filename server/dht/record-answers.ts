/**
 * What nodes answer when they are asked for records. Anybody may answer anything: what cannot be
 * read, or is not what was asked for, is no answer. Lookups are a node's word: nothing is signed in
 * them. A peer, and an immutable value, are known by their hash; a mutable value by its signature.
 */
import type { NodeAddress } from '../../codecs/dht/address.ts';
import {
  decodeLookupReply,
  decodeMutableValue,
  decodePeer,
  type Peer,
} from '../../codecs/dht/hyper-messages.ts';
import { BLAKE2B_BYTES, blake2b256 } from '../../codecs/hash/blake2b.ts';
import type { DhtResponse, NodeReference } from './types.ts';

/** Who answered. */
export interface RecordAnswer {
  /** What a record can be stored there with; 32 bytes. */
  readonly token: Uint8Array | null;
  readonly from: NodeReference;
  /** Our address, as the node sees it. */
  readonly to: NodeAddress;
}

export interface LookupAnswer extends RecordAnswer {
  /** Who announced themselves there, on the node's word. */
  readonly peers: readonly Peer[];
  /** Milliseconds since 1970; 0: none. */
  readonly bump: number;
}

export interface PeerAnswer extends RecordAnswer {
  readonly peer: Peer;
}

export interface ImmutableAnswer extends RecordAnswer {
  readonly value: Uint8Array;
}

export interface MutableAnswer extends ImmutableAnswer {
  readonly seq: number;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

/** Of a node's answer what a query tells; null: nothing. */
export type Reading<T> = (reply: DhtResponse) => T | null;

/** The BLAKE2b-256 hash: the target of a value or public key. Not for views of shared memory. */
export function hashOf(data: Uint8Array): Uint8Array {
  const hash = new Uint8Array(BLAKE2B_BYTES);
  blake2b256(hash, data);
  return hash;
}

export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

export function readLookup(reply: DhtResponse): LookupAnswer | null {
  const found = reply.value === null ? null : decodeLookupReply(reply.value);
  return found === null ? null : { ...sender(reply), ...found };
}

/** Reads the peer whose public key has the hash `target`. */
export function readPeer(target: Uint8Array): Reading<PeerAnswer> {
  return (reply) => {
    const peer = reply.value === null ? null : decodePeer(reply.value);
    if (peer === null || !isSame(hashOf(peer.publicKey), target)) return null;
    return { ...sender(reply), peer };
  };
}

/** Reads the value whose hash is `target`. */
export function readImmutable(target: Uint8Array): Reading<ImmutableAnswer> {
  return (reply) => {
    const { value } = reply;
    if (value === null || !isSame(hashOf(value), target)) return null;
    return { ...sender(reply), value };
  };
}

/** Its signature is still to be checked: that is dear, and not all are wanted. */
export function readMutable(reply: DhtResponse): MutableAnswer | null {
  const found = reply.value === null ? null : decodeMutableValue(reply.value);
  return found === null ? null : { ...sender(reply), ...found };
}

function sender({ token, from, to }: DhtResponse): RecordAnswer {
  return { token, from, to };
}
