/**
 * What a node asks of the hyperdht nodes of its network: who announced themselves under a target,
 * and values that others keep, as npm hyperdht 6 asks. Each is a query for the record, which finds
 * the closest nodes and their tokens, and what stores then sends these the record.
 *
 * Queries begin when they are iterated, resumed, or `finished()` is called. Our node is not asked
 * itself. All throw a TypeError or RangeError on arguments that are no keys, targets or values.
 */
import type { NodeAddress } from '../../codecs/dht/address.ts';
import { COMMAND, K, MAX_RELAY_ADDRESSES } from '../../codecs/dht/constants.ts';
import {
  encodeAnnounce,
  encodeMutablePut,
  encodePeer,
  type Peer,
} from '../../codecs/dht/hyper-messages.ts';
import { announceSignable, mutableSignable, NAMESPACE } from '../../codecs/dht/namespaces.ts';
import { isSigned, sign } from '../../codecs/sign/ed25519.ts';
import type { DhtNode } from './node.ts';
import type { Commit, Query, QueryOptions } from './query.ts';
import {
  hashOf,
  type ImmutableAnswer,
  isSame,
  type LookupAnswer,
  type MutableAnswer,
  type PeerAnswer,
  type Reading,
  readImmutable,
  readLookup,
  readMutable,
  readPeer,
} from './record-answers.ts';
import {
  checkLength,
  checkNumber,
  contentOf,
  type KeyPair,
  pairOf,
  publicKeyOf,
  targetOf,
  uint,
} from './record-arguments.ts';
import { type MakeValue, storeAt, storing } from './record-commits.ts';
import { addressNumber } from './requests.ts';
import type { DhtResponse, NodeReference } from './types.ts';

/** Whom to ask, and how. */
export type AskOptions = Omit<QueryOptions<never>, 'map' | 'commit'>;

export interface LookupOptions extends AskOptions {
  /** Called for each of the closest that answered. */
  readonly commit?: Commit<LookupAnswer>;
}

export interface AnnounceOptions extends AskOptions {
  /** Milliseconds since 1970: those asked tell the latest. Default 0: none. */
  readonly bump?: number;
  /** Takes back earlier announces of the key, wherever they are found on the way. */
  readonly clear?: boolean;
}

export interface MutablePutOptions extends AskOptions {
  /** Nodes that keep a value take one with a higher seq. Default 0. */
  readonly seq?: number;
}

export interface MutableGetOptions extends AskOptions {
  /** The lowest seq that will do. Default 0. */
  readonly seq?: number;
  /** False: the first value that is found, not that with the highest seq. */
  readonly latest?: boolean;
}

export interface ImmutablePutResult {
  /** What the value is found by; 32 bytes. */
  readonly hash: Uint8Array;
  /** Who was asked to keep it, the closest first. */
  readonly closestNodes: readonly NodeReference[];
}

export interface MutablePutResult {
  readonly publicKey: Uint8Array;
  /** Who was asked to keep it, the closest first. */
  readonly closestNodes: readonly NodeReference[];
  readonly seq: number;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

export class DhtRecords {
  readonly #node: DhtNode;

  constructor(node: DhtNode) {
    this.#node = node;
  }

  /** Who has announced itself under its own key, and its relays, as the nodes know it. */
  findPeer(publicKey: Uint8Array, options: AskOptions = {}): Query<PeerAnswer> {
    const target = hashOf(publicKeyOf(publicKey));
    return this.#query(COMMAND.FIND_PEER, target, readPeer(target), options);
  }

  /** Who announced themselves under a target, as each node knows some: at most 20. */
  lookup(target: Uint8Array, options: LookupOptions = {}): Query<LookupAnswer> {
    return this.#query(COMMAND.LOOKUP, targetOf(target), readLookup, options);
  }

  /**
   * Looks up a target and announces a public key there, at each of the closest nodes, for 20
   * minutes. Of relay addresses they keep three. The query fails when none of them stored it.
   */
  announce(
    target: Uint8Array,
    keyPair: KeyPair,
    relayAddresses: readonly NodeAddress[] = [],
    options: AnnounceOptions = {},
  ): Query<LookupAnswer> {
    const { bump = 0, clear = false, ...asking } = options;
    const { publicKey, secretKey } = pairOf(keyPair);
    const relays = relayAddresses.slice(0, MAX_RELAY_ADDRESSES);
    for (const relay of relays) addressNumber(relay);
    const peer = { publicKey, relayAddresses: relays.map(({ host, port }) => ({ host, port })) };
    const at = targetOf(target);
    checkNumber('bump', bump);
    const make = signedAnnounce(NAMESPACE.ANNOUNCE, at, secretKey, peer, bump);
    const commit = storing(this.#node, { target: at, command: COMMAND.ANNOUNCE, make });
    const whole = { ...asking, commit };
    return clear ? this.lookupAndUnannounce(at, keyPair, whole) : this.lookup(at, whole);
  }

  /** Takes an announce back, wherever it is found. */
  unannounce(target: Uint8Array, keyPair: KeyPair, options: LookupOptions = {}): Promise<void> {
    return this.lookupAndUnannounce(target, keyPair, options).finished();
  }

  /** Looks up a target, and takes the announce of a key back where it is found on the way. */
  lookupAndUnannounce(
    target: Uint8Array,
    keyPair: KeyPair,
    options: LookupOptions = {},
  ): Query<LookupAnswer> {
    const { publicKey, secretKey } = pairOf(keyPair);
    const at = targetOf(target);
    const make = signedAnnounce(
      NAMESPACE.UNANNOUNCE,
      at,
      secretKey,
      { publicKey, relayAddresses: [] },
      0,
    );
    const message = { target: at, command: COMMAND.UNANNOUNCE, make };
    const ends: Promise<unknown>[] = [];
    const read = (reply: DhtResponse): LookupAnswer | null => {
      const answer = readLookup(reply);
      if (answer !== null && mayList(answer, publicKey)) {
        // Where it cannot be taken back, it will expire.
        ends.push(Promise.allSettled([storeAt(this.#node, message, reply)]));
      }
      return answer;
    };
    const commit: Commit<LookupAnswer> = async (reply, node, query) => {
      await Promise.all(ends);
      await options.commit?.(reply, node, query);
    };
    return this.#query(COMMAND.LOOKUP, at, read, { ...options, commit });
  }

  /** Has the closest nodes keep a value, for 48 hours. Rejects when none of them does. */
  async immutablePut(value: Uint8Array, options: AskOptions = {}): Promise<ImmutablePutResult> {
    const kept = contentOf(value);
    checkLength(kept, 0);
    const target = hashOf(kept);
    const message = { target, command: COMMAND.IMMUTABLE_PUT, make: () => kept };
    const commit = storing(this.#node, message);
    const query = this.#query(COMMAND.IMMUTABLE_GET, target, nothing, { ...options, commit });
    await query.finished();
    return { hash: target, closestNodes: query.closestNodes };
  }

  /** The value with this hash, from the first node that has it; null when none has. */
  async immutableGet(hash: Uint8Array, options: AskOptions = {}): Promise<ImmutableAnswer | null> {
    const target = targetOf(hash);
    const query = this.#query(COMMAND.IMMUTABLE_GET, target, readImmutable(target), options);
    for await (const answer of query) return answer;
    return null;
  }

  /**
   * Has the closest nodes keep a value under a public key, for 48 hours, in the place of one with a
   * lower seq. Rejects when none of them does; with the code SEQ_REUSED or SEQ_TOO_LOW when that is
   * because of the seq.
   */
  async mutablePut(
    keyPair: KeyPair,
    value: Uint8Array,
    options: MutablePutOptions = {},
  ): Promise<MutablePutResult> {
    const { seq = 0, ...asking } = options;
    const { publicKey, secretKey } = pairOf(keyPair);
    checkNumber('seq', seq);
    const kept = contentOf(value);
    const signature = sign(mutableSignable(seq, kept), secretKey);
    const put = encodeMutablePut({ publicKey, seq, value: kept, signature });
    checkLength(kept, put.length - kept.length);
    const target = hashOf(publicKey);
    const message = { target, command: COMMAND.MUTABLE_PUT, make: () => put };
    const commit = storing(this.#node, message);
    const query = this.#query(COMMAND.MUTABLE_GET, target, nothing, { ...asking, commit }, uint(0));
    await query.finished();
    return { publicKey, closestNodes: query.closestNodes, seq, signature };
  }

  /** The value under a public key with the highest seq that is found; null when there is none. */
  async mutableGet(
    publicKey: Uint8Array,
    options: MutableGetOptions = {},
  ): Promise<MutableAnswer | null> {
    const { seq = 0, latest = true, ...asking } = options;
    checkNumber('seq', seq);
    const key = publicKeyOf(publicKey);
    const target = hashOf(key);
    const query = this.#query(COMMAND.MUTABLE_GET, target, readMutable, asking, uint(seq));
    let best: MutableAnswer | null = null;
    for await (const answer of query) {
      if (answer.seq < seq || (best !== null && answer.seq <= best.seq)) continue;
      const signed = mutableSignable(answer.seq, answer.value);
      if (!isSigned(answer.signature, signed, key)) continue;
      if (!latest) return answer;
      best = answer;
    }
    return best;
  }

  #query<T>(
    command: number,
    target: Uint8Array,
    read: Reading<T>,
    options: AskOptions & { readonly commit?: Commit<T> },
    value: Uint8Array | null = null,
  ): Query<T> {
    // A query tells nothing for what is falsy, so nobody is told null.
    const map = read as (reply: DhtResponse) => T;
    return this.#node.query<T>({ target, command, value }, { ...options, map });
  }
}

/** Makes announces, or unannounces, each signed for the node that it is for. */
function signedAnnounce(
  namespace: Uint8Array,
  target: Uint8Array,
  secretKey: Uint8Array,
  peer: Peer,
  bump: number,
): MakeValue {
  const encoded = encodePeer(peer);
  return (token, nodeId) => {
    const signable = announceSignable(namespace, target, nodeId, token, encoded, null);
    return encodeAnnounce({ peer, refresh: null, signature: sign(signable, secretKey), bump });
  };
}

/** Whether a node may have an announce of the key: it lists it, or may not list all it has. */
function mayList({ peers }: LookupAnswer, publicKey: Uint8Array): boolean {
  return peers.length >= K || peers.some((peer) => isSame(peer.publicKey, publicKey));
}

/** For puts: what the nodes have is of no interest. */
function nothing(): null {
  return null;
}
