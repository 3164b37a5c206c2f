/**
 * Who is where, as hyperdht's persistent nodes keep it: peers under topics, and peers who announced
 * themselves (forwards.ts).
 *
 *   FIND_PEER   the peer who announced itself under this target
 *   LOOKUP      20 random peers of a topic, and its bump
 *   ANNOUNCE    signed: it stands for 20 minutes. Or renewed, unsigned, by a refresh token: the
 *               announce told a hash, and whoever knows what it is the hash of may renew it once;
 *               that in turn is the next one's hash
 *   UNANNOUNCE  signed
 *
 * A signature is checked only of who has shown a valid token, is readable and keeps to the rate of
 * its network: the datagram stays as it is, main has it checked and gives the slot back.
 */
import {
  DHT_ERROR,
  ID_BYTES,
  K,
  MAX_BUMP_DRIFT_MS,
  MAX_RELAY_ADDRESSES,
  PUBLIC_KEY_BYTES,
  TOKEN_BYTES,
} from '../../codecs/dht/constants.ts';
import { AnnounceReader } from '../../codecs/dht/hyper.ts';
import { writeVarint } from '../../codecs/dht/varint.ts';
import { BLAKE2B_BYTES, blake2b256 } from '../../codecs/hash/blake2b.ts';
import { COUNTER } from '../counters.ts';
import type { Rng } from '../rng.ts';
import { type ApplyResult, OP_PUT, OP_REMOVE } from '../store/change.ts';
import type { Checks } from './checks.ts';
import type { Exchange } from './exchange.ts';
import type { Forwards } from './forwards.ts';
import { PeerChange, ValueChange } from './store/change.ts';
import { REFRESH_VALUE_BYTES } from './store/layout.ts';
import type { PeerStore } from './store/peer-store.ts';
import type { ValueStore } from './store/value-store.ts';

const RELAY_BYTES = 6;
/** A bump is at most a time in milliseconds: 9 bytes. */
const BUMP_ROOM = 9;

/*
 * What is kept of a refresh token:
 *
 *   0 whether the peer announced itself | 1..32 the target | 33.. the peer
 */
const REFRESH_TARGET = 1;
const REFRESH_PEER = 33;

export interface AnnounceParts {
  readonly exchange: Exchange;
  readonly peers: PeerStore;
  readonly refreshes: ValueStore;
  readonly forwards: Forwards;
  readonly checks: Checks;
  readonly rng: Rng;
  /** How long an announce stands. */
  readonly ageMs: number;
}

export class Announces {
  readonly #parts: AnnounceParts;
  readonly #reader = new AnnounceReader();
  readonly #peerChange = new PeerChange();
  readonly #refreshChange = new ValueChange();
  /** On the heap, as the hash needs it; also a refresh token. */
  readonly #key = new Uint8Array(TOKEN_BYTES);
  readonly #digest = new Uint8Array(BLAKE2B_BYTES);
  /** What a refresh token stands for; its peer is that of the announce at hand. */
  readonly #kept = new Uint8Array(REFRESH_VALUE_BYTES);
  #peerLength = 0;

  constructor(parts: AnnounceParts) {
    this.#parts = parts;
  }

  findPeer(): number {
    const { exchange: x, forwards } = this.#parts;
    x.counters[COUNTER.dhtFindPeers]++;
    if (!x.hasTarget) return x.drop(COUNTER.dropMalformed);
    const row = forwards.find(x);
    if (row < 0) return x.reply(DHT_ERROR.NONE, true, true);
    return x.replyValue(forwards.bytes, forwards.peerStart(row), forwards.peerLength(row));
  }

  /** value: number of peers, the peers, the topic's bump */
  lookup(): number {
    const { exchange: x, peers, forwards, rng } = this.#parts;
    x.counters[COUNTER.dhtLookups]++;
    if (!x.hasTarget) return x.drop(COUNTER.dropMalformed);
    const { bytes, target, targetHash } = x;
    const forward = forwards.find(x);
    x.beginValue();
    const start = x.valueAt + 1;
    const end = x.valueEnd - BUMP_ROOM;
    let at = start + peers.sample(target, 0, targetHash, rng, K, bytes, start, end);
    let count = peers.sampleCount;
    let isShort = peers.isSampleCut;
    if (forward >= 0 && count < K) {
      const length = forwards.peerLength(forward);
      const from = forwards.peerStart(forward);
      if (at + length <= end) {
        for (let i = 0; i < length; i++) bytes[at + i] = forwards.bytes[from + i];
        at += length;
        count++;
      } else isShort = true;
    }
    if (count === 0) return x.endWithoutValue(isShort);
    bytes[x.valueAt] = count;
    at = writeVarint(bytes, at, peers.bumpOf(target, 0, targetHash));
    return x.endValue(at - x.valueAt, isShort);
  }

  announce(): number {
    const { exchange: x, checks } = this.#parts;
    const reader = this.#reader;
    if (!x.hasTarget || !x.hasToken || !this.#read(x)) return x.drop(COUNTER.dropMalformed);
    if (reader.peerStart < 0) {
      return reader.refreshStart < 0 ? x.drop(COUNTER.dropMalformed) : this.#refresh(x);
    }
    if (reader.signatureStart < 0) return x.drop(COUNTER.dropMalformed);
    if (!x.isGenuine) return checks.ask();
    x.counters[COUNTER.dhtAnnounces]++;
    this.#keep(x);
    const { bump } = reader;
    const result = this.#store(x, bump <= x.nowMs + MAX_BUMP_DRIFT_MS ? bump : 0);
    if (!x.isStored(result)) return x.reply(DHT_ERROR.UNKNOWN_COMMAND, false, false);
    if (reader.refreshStart >= 0) x.isStored(this.#putRefresh(x, x.bytes, reader.refreshStart));
    return x.reply(DHT_ERROR.NONE, false, false);
  }

  unannounce(): number {
    const { exchange: x, checks, forwards } = this.#parts;
    const reader = this.#reader;
    if (!x.hasTarget || !x.hasToken || !this.#read(x)) return x.drop(COUNTER.dropMalformed);
    if (reader.peerStart < 0 || reader.signatureStart < 0) return x.drop(COUNTER.dropMalformed);
    if (!x.isGenuine) return checks.ask();
    x.counters[COUNTER.dhtUnannounces]++;
    this.#keep(x);
    if (this.#kept[0] === 1) forwards.remove(x);
    this.#removePeer(x);
    return x.reply(DHT_ERROR.NONE, false, false);
  }

  #read(x: Exchange): boolean {
    const { valueStart, valueLength } = x.reader;
    return valueStart >= 0 && this.#reader.read(x.bytes, valueStart, valueLength);
  }

  /** Makes `#kept` that of the announce at hand: as the original keeps it, with three relays. */
  #keep(x: Exchange): void {
    const { peerStart, relaysStart, relayCount } = this.#reader;
    const kept = this.#kept;
    for (let i = 0; i < ID_BYTES; i++) kept[REFRESH_TARGET + i] = x.target[i];
    for (let i = 0; i < PUBLIC_KEY_BYTES; i++) {
      this.#key[i] = x.bytes[peerStart + i];
      kept[REFRESH_PEER + i] = x.bytes[peerStart + i];
    }
    const relays = Math.min(relayCount, MAX_RELAY_ADDRESSES);
    let at = REFRESH_PEER + PUBLIC_KEY_BYTES;
    kept[at++] = relays;
    for (let i = 0; i < relays * RELAY_BYTES; i++) kept[at + i] = x.bytes[relaysStart + i];
    this.#peerLength = PUBLIC_KEY_BYTES + 1 + relays * RELAY_BYTES;
    blake2b256(this.#digest, this.#key);
    kept[0] = x.isTarget(this.#digest) ? 1 : 0;
  }

  /** Stores the peer of `#kept`. Who announces itself is a forward, and no peer of a topic. */
  #store(x: Exchange, bump: number): ApplyResult {
    const { forwards, peers, ageMs } = this.#parts;
    const kept = this.#kept;
    if (kept[0] === 1) {
      const result = forwards.put(x, kept, REFRESH_PEER, this.#peerLength);
      this.#removePeer(x);
      return result;
    }
    const change = this.#fillPeer(x, OP_PUT);
    change.relays = kept;
    change.relaysAt = REFRESH_PEER + PUBLIC_KEY_BYTES + 1;
    change.relayCount = kept[REFRESH_PEER + PUBLIC_KEY_BYTES];
    change.bump = bump;
    change.expiresAt = x.nowMs + ageMs;
    return peers.apply(change);
  }

  #removePeer(x: Exchange): void {
    this.#parts.peers.apply(this.#fillPeer(x, OP_REMOVE));
  }

  #fillPeer(x: Exchange, op: typeof OP_PUT | typeof OP_REMOVE): PeerChange {
    const change = this.#peerChange;
    change.op = op;
    change.hash = x.targetHash;
    x.attribute(change);
    change.target = x.target;
    change.publicKey = this.#kept;
    change.publicKeyAt = REFRESH_PEER;
    return change;
  }

  /** Renews what the token's hash stands for; the token is the next one's hash. */
  #refresh(x: Exchange): number {
    const { refreshes } = this.#parts;
    const token = this.#key;
    for (let i = 0; i < TOKEN_BYTES; i++) token[i] = x.bytes[this.#reader.refreshStart + i];
    blake2b256(this.#digest, token);
    const row = refreshes.find(this.#digest, 0, x.hashOf(this.#digest));
    if (row < 0) return x.absorb();
    const from = refreshes.valueStart(row);
    const length = refreshes.valueLength(row);
    for (let i = 0; i < length; i++) this.#kept[i] = refreshes.bytes[from + i];
    // The original renews it whatever the target; here it may be another lane's.
    if (!x.isTarget(this.#kept, REFRESH_TARGET)) return x.absorb();
    this.#peerLength = length - REFRESH_PEER;
    x.counters[COUNTER.dhtRefreshes]++;
    if (!x.isStored(this.#store(x, 0))) {
      return x.reply(DHT_ERROR.UNKNOWN_COMMAND, false, false);
    }
    const change = this.#refreshChange;
    change.op = OP_REMOVE;
    change.key = this.#digest;
    change.keyAt = 0;
    change.hash = x.hashOf(this.#digest);
    refreshes.apply(change);
    x.isStored(this.#putRefresh(x, token, 0));
    return x.reply(DHT_ERROR.NONE, false, false);
  }

  #putRefresh(x: Exchange, hash: Uint8Array, at: number): ApplyResult {
    const { refreshes, ageMs } = this.#parts;
    for (let i = 0; i < TOKEN_BYTES; i++) this.#key[i] = hash[at + i];
    const change = this.#refreshChange;
    change.op = OP_PUT;
    change.key = this.#key;
    change.keyAt = 0;
    change.hash = x.hashOf(this.#key);
    x.attribute(change);
    change.value = this.#kept;
    change.valueAt = 0;
    change.valueLength = REFRESH_PEER + this.#peerLength;
    change.expiresAt = x.nowMs + ageMs;
    return refreshes.apply(change);
  }
}
