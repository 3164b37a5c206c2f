/**
 * What users of a node store in the network, done in a world: values and peers, stored by one node
 * and found by another.
 */
import { createRequire } from 'node:module';
import { COMMAND } from '../../codecs/dht/constants.ts';
import {
  decodeLookupReply,
  decodeMutableValue,
  encodeAnnounce,
  encodeMutablePut,
  encodePeer,
} from '../../codecs/dht/hyper-messages.ts';
import { announceSignable, mutableSignable, NAMESPACE } from '../../codecs/dht/namespaces.ts';
import { blake2b256 } from '../../codecs/hash/blake2b.ts';
import type { DhtResponse } from '../../server/dht/types.ts';
import type { SimNode } from './sim-node.ts';
import type { World } from './world.ts';

interface Signing {
  crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void;
  crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void;
}

const sodium = createRequire(import.meta.url)('sodium-native') as Signing;

/** Something stored in the network, and how another node finds it. */
export interface Stored {
  readonly kind: string;
  /** Nodes that said they have it. */
  readonly copies: number;
  /** Why there are none, as the query said. */
  readonly error: string;
  findBy(node: SimNode): Promise<boolean>;
}

/** Puts of each kind, one after the other. */
export const PUTS = [putImmutable, putMutable, announce] as const;

interface Put {
  readonly kind: string;
  readonly target: Uint8Array;
  readonly get: number;
  readonly put: number;
  /** What is sent to who answered; the same to all, or signed for each. */
  readonly valueFor: (reply: DhtResponse) => Uint8Array;
  readonly isIt: (value: Uint8Array) => boolean;
}

/** A value under its hash. */
export function putImmutable(world: World, by: SimNode): Promise<Stored> {
  const value = Uint8Array.from({ length: 1 + world.rng.below(300) }, () => world.rng.below(256));
  const { IMMUTABLE_GET, IMMUTABLE_PUT } = COMMAND;
  return store(by, {
    kind: 'immutable value',
    target: hashOf(value),
    get: IMMUTABLE_GET,
    put: IMMUTABLE_PUT,
    valueFor: () => value,
    isIt: (found) => isEqual(found, value),
  });
}

/** A signed value under the hash of its author's key. */
export function putMutable(world: World, by: SimNode): Promise<Stored> {
  const { publicKey, sign } = keyPair(world);
  const value = Uint8Array.from({ length: 1 + world.rng.below(300) }, () => world.rng.below(256));
  const seq = 1 + world.rng.below(1000);
  const signature = sign(mutableSignable(seq, value));
  const put = encodeMutablePut({ publicKey, seq, value, signature });
  const { MUTABLE_GET, MUTABLE_PUT } = COMMAND;
  return store(by, {
    kind: 'mutable value',
    target: hashOf(publicKey),
    get: MUTABLE_GET,
    put: MUTABLE_PUT,
    valueFor: () => put,
    isIt: (found) => {
      const decoded = decodeMutableValue(found);
      return decoded !== null && decoded.seq === seq && isEqual(decoded.value, value);
    },
  });
}

/** A peer under a random topic. */
export function announce(world: World, by: SimNode): Promise<Stored> {
  const { publicKey, sign } = keyPair(world);
  const target = world.target();
  const peer = { publicKey, relayAddresses: [by.address] };
  const { LOOKUP, ANNOUNCE } = COMMAND;
  const { ANNOUNCE: namespace } = NAMESPACE;
  return store(by, {
    kind: 'announced peer',
    target,
    get: LOOKUP,
    put: ANNOUNCE,
    valueFor: ({ token, from }) => {
      const encoded = encodePeer(peer);
      const id = from.id ?? new Uint8Array(32);
      const of = announceSignable(namespace, target, id, token ?? id, encoded, null);
      return encodeAnnounce({ peer, refresh: null, signature: sign(of), bump: 0 });
    },
    isIt: (found) => {
      const peers = decodeLookupReply(found)?.peers ?? [];
      return peers.some((one) => isEqual(one.publicKey, publicKey));
    },
  });
}

async function store(by: SimNode, what: Put): Promise<Stored> {
  const { kind, target, get, put, valueFor, isIt } = what;
  let copies = 0;
  const commit = async (reply: DhtResponse) => {
    const message = { token: reply.token, target, command: put, value: valueFor(reply) };
    const { error } = await by.dht.request(message, reply.from);
    if (error === 0) copies++;
  };
  let error = '';
  try {
    await by.dht.query({ target, command: get, value: askFor(get) }, { commit }).finished();
  } catch (reason) {
    error = String(reason);
  }
  const findBy = async (node: SimNode) => {
    for await (const value of node.dht.query(
      { target, command: get, value: askFor(get) },
      { map: ({ value }) => value },
    )) {
      if (isIt(value as Uint8Array)) return true;
    }
    return false;
  };
  return { kind, copies, error, findBy };
}

/** Mutable values are asked for by the least number that is of interest: a uint, 0. */
function askFor(get: number): Uint8Array | null {
  return get === COMMAND.MUTABLE_GET ? Uint8Array.of(0) : null;
}

function keyPair(world: World) {
  const publicKey = new Uint8Array(32);
  const secretKey = new Uint8Array(64);
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, world.target());
  const sign = (message: Uint8Array) => {
    const signature = new Uint8Array(64);
    sodium.crypto_sign_detached(signature, message, secretKey);
    return signature;
  };
  return { publicKey, sign };
}

function hashOf(bytes: Uint8Array): Uint8Array {
  const hash = new Uint8Array(32);
  blake2b256(hash, bytes);
  return hash;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
