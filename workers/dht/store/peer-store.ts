/**
 * Who announced what: peers (a public key with up to three relay addresses) under targets of 32
 * bytes, of one lane (layout.ts).
 *
 * The n peers of a target have the positions 0 to n - 1, and a table finds them by target and
 * position: a random choice of k peers costs k searches however large n is, and nothing needs to be
 * allocated. What is the target's own (n, its bump) is in its peer at position 0, its head. When a
 * peer goes, the last one takes its position.
 *
 *   places:  (target, 0) -> head      keys:  (target, public key) -> row
 *            (target, 1) -> row
 */
import { MAX_RELAY_ADDRESSES } from '../../../codecs/dht/constants.ts';
import { HalfSipHash } from '../../../codecs/hash/halfsiphash.ts';
import { firstMark, HashTable, nextMark } from '../../store/hash-table.ts';
import type { RandomSource } from '../../store/sample.ts';
import { isWithin, type PeerChange } from './change.ts';
import { ExpiringStore } from './expiring-store.ts';
import {
  type ArenaBuffers,
  HEADER_TARGETS,
  KEY_BYTES,
  NONE,
  PEER_BUMP,
  PEER_BUMP_UNTIL,
  PEER_COUNT,
  PEER_KEY,
  PEER_POSITION,
  PEER_RELAY_COUNT,
  PEER_RELAYS,
  PEER_TARGET,
  PEER_WORDS,
  RELAY_BYTES,
  ROW_HASH,
} from './layout.ts';
import { copyBytes, sameKey } from './rows.ts';
import { Shuffle } from './shuffle.ts';

/** Peers per choice. */
export const SAMPLE_MAX = 64;
/** Peers whose time is over that a choice passes over: a target full of them stalls no lane. */
const OVER_MAX = 64;
const KEY_WORDS = KEY_BYTES / 4;
/** 2^32 / the golden ratio: multiples of it are spread evenly over a table. */
const GOLDEN = 0x9e3779b1 | 0;

export class PeerStore extends ExpiringStore<PeerChange> {
  /** How many peers the last `sample` wrote, and whether the next one did not fit. */
  sampleCount = 0;
  isSampleCut = false;
  /** Places, keys. */
  readonly tables: readonly [HashTable, HashTable];
  readonly #hash: HalfSipHash;
  /** A public key and the hash of its target. */
  readonly #hashed = new Int32Array(KEY_WORDS + 1);
  readonly #hashedBytes = new Uint8Array(this.#hashed.buffer);
  readonly #chosen = new Int32Array(SAMPLE_MAX);
  /** Of the memory that was last written to: a lane's answers are all in one slab. */
  #out: DataView = new DataView(new ArrayBuffer(0));
  readonly #shuffle = new Shuffle(SAMPLE_MAX + OVER_MAX);

  /**
   * See ExpiringStore. `hashKey`: secret random uint32 halves of the key under which public keys
   * are hashed, the same for all who wrap these buffers.
   */
  constructor(buffers: ArenaBuffers, hashKey: readonly [number, number]) {
    super(buffers, 2);
    this.#hash = new HalfSipHash(hashKey[0], hashKey[1]);
    this.tables = [
      new HashTable(buffers.tables[0], { hashOf: (row) => this.#placeHashOf(row) }),
      new HashTable(buffers.tables[1], { hashOf: (row) => this.#keyHashOf(row) }),
    ];
  }

  /** Targets that have peers. */
  get targets(): number {
    return this.rows.header[HEADER_TARGETS];
  }

  /** Peers of the 32-byte target at `bytes[at]`, among them those over that nobody has met yet. */
  countOf(bytes: Uint8Array, at: number, hash: number): number {
    const head = this.#headOf(bytes, at, hash);
    return head === NONE ? 0 : this.#word(head, PEER_COUNT);
  }

  /** The target's bump; 0 = none. It goes with the target's last peer. */
  bumpOf(bytes: Uint8Array, at: number, hash: number): number {
    const head = this.#headOf(bytes, at, hash);
    return head === NONE ? 0 : this.#bump(head);
  }

  /**
   * Chooses up to `most` (at most SAMPLE_MAX) peers of the target at `bytes[at]`, all distinct,
   * every choice and order equally likely, and writes them to `out[outAt..outEnd)` as the wire has
   * them: public key, number of relays, their addresses; fewer when one does not fit.
   *
   * Those whose time is over are passed over: of a target with dozens of them that no tick has met
   * yet it may find fewer than there are.
   *
   * @returns how many bytes it wrote; `sampleCount` is how many peers that were.
   */
  sample(
    bytes: Uint8Array,
    at: number,
    hash: number,
    random: RandomSource,
    most: number,
    out: Uint8Array,
    outAt: number,
    outEnd: number,
  ): number {
    this.sampleCount = 0;
    this.isSampleCut = false;
    const head = this.#headOf(bytes, at, hash);
    if (head === NONE) return 0;
    const count = this.#word(head, PEER_COUNT);
    const wanted = Math.min(most, count, SAMPLE_MAX);
    const looks = Math.min(count, wanted + OVER_MAX);
    const chosen = this.#chosen;
    const shuffle = this.#shuffle;
    const { numbers } = shuffle;
    shuffle.draw(0, wanted, count, random);
    let found = 0;
    // All are found before the first is written: so the reads of memory do not wait for each other.
    for (let i = 0; i < looks && found < wanted; i++) {
      if (i >= wanted) shuffle.draw(i, i + 1, count, random);
      const row = this.placeOf(head, numbers[i]);
      if (row !== NONE && !this.rows.isOver(row)) chosen[found++] = row;
    }
    if (this.#out.buffer !== out.buffer) this.#out = new DataView(out.buffer);
    const start = out.byteOffset + outAt;
    const limit = start + outEnd - outAt;
    let end = start;
    for (let i = 0; i < found; i++) {
      const length = this.#writePeer(chosen[i], end, limit - end);
      if (length === 0) {
        this.isSampleCut = true;
        break;
      }
      end += length;
      this.sampleCount++;
    }
    return end - start;
  }

  /** Writes a row's peer, in words, as far as it goes; returns its length, 0 = it does not fit. */
  #writePeer(row: number, at: number, room: number): number {
    const relayCount = this.#word(row, PEER_RELAY_COUNT);
    const length = KEY_BYTES + 1 + relayCount * RELAY_BYTES;
    if (length > room) return 0;
    const out = this.#out;
    const { words } = this.rows;
    const key = row * PEER_WORDS + PEER_KEY;
    for (let i = 0; i < KEY_WORDS; i++) out.setInt32(at + 4 * i, words[key + i], true);
    out.setUint8(at + KEY_BYTES, relayCount);
    let word = row * PEER_WORDS + PEER_RELAYS;
    let next = at + KEY_BYTES + 1;
    for (; next + 4 <= at + length; next += 4) out.setInt32(next, words[word++], true);
    if (next < at + length) out.setInt16(next, words[word], true);
    return length;
  }

  #word(row: number, field: number): number {
    return this.rows.words[row * PEER_WORDS + field];
  }

  /** The head of the target at `bytes[at]`, or NONE. */
  #headOf(bytes: Uint8Array, at: number, hash: number): number {
    const places = this.tables[0];
    let mark = firstMark(hash);
    for (let slot = places.home(hash); ; slot = places.next(slot)) {
      const entry = places.slots[slot];
      if (entry === 0) return NONE;
      if ((entry & 0xff) === mark) {
        const row = (entry >>> 8) - 1;
        const isHead =
          this.#word(row, PEER_POSITION) === 0 && this.#word(row, ROW_HASH) === (hash | 0);
        if (isHead && sameKey(this.rows.bytes, byteOf(row, PEER_TARGET), bytes, at)) return row;
      }
      mark = nextMark(mark);
    }
  }

  /** The row at a position of the target of another row, over or not, or -1. */
  placeOf(other: number, position: number): number {
    const places = this.tables[0];
    const { slots } = places;
    const { words } = this.rows;
    const own = other * PEER_WORDS;
    const hash = words[own + ROW_HASH];
    const sought = placeHash(hash, position);
    let mark = firstMark(sought);
    for (let slot = places.home(sought); ; slot = places.next(slot)) {
      const entry = slots[slot];
      if (entry === 0) return NONE;
      if ((entry & 0xff) === mark) {
        const at = ((entry >>> 8) - 1) * PEER_WORDS;
        const isPlace = words[at + PEER_POSITION] === position && words[at + ROW_HASH] === hash;
        if (isPlace && isSameTarget(words, at, own)) return (entry >>> 8) - 1;
      }
      mark = nextMark(mark);
    }
  }

  #placeHashOf(row: number): number {
    return placeHash(this.#word(row, ROW_HASH), this.#word(row, PEER_POSITION));
  }

  #keyHashOf(row: number): number {
    return this.#keyHash(this.rows.bytes, byteOf(row, PEER_KEY), this.#word(row, ROW_HASH));
  }

  /**
   * Keyed: strangers choose their public keys, and targets to go with them. The two are hashed as
   * one: a sum of two hashes would be the same for all whose target is their public key.
   */
  #keyHash(publicKey: Uint8Array, at: number, targetHash: number): number {
    copyBytes(publicKey, at, this.#hashedBytes, 0, KEY_BYTES);
    this.#hashed[KEY_WORDS] = targetHash;
    return this.#hash.words(this.#hashed, KEY_WORDS + 1);
  }

  #bump(head: number): number {
    const until = this.rows.floats[(head * PEER_WORDS + PEER_BUMP_UNTIL) >> 1];
    return until > this.rows.now ? this.rows.floats[(head * PEER_WORDS + PEER_BUMP) >> 1] : 0;
  }

  #setBump(row: number, bump: number, until: number): void {
    const at = (row * PEER_WORDS) >> 1;
    const { floats } = this.rows;
    // Torn here there is no bump, instead of an old one that lasts longer.
    floats[at + (PEER_BUMP >> 1)] = 0;
    floats[at + (PEER_BUMP_UNTIL >> 1)] = until;
    floats[at + (PEER_BUMP >> 1)] = bump;
  }

  /** Carries a row's bump to its target's head, if it is the higher one: only heads have one. */
  #carryBump(row: number, head: number): void {
    const bump = this.#bump(row);
    if (bump > this.#bump(head)) {
      this.#setBump(head, bump, this.rows.floats[(row * PEER_WORDS + PEER_BUMP_UNTIL) >> 1]);
    }
  }

  protected hasKey({ target, targetAt, publicKey, publicKeyAt }: PeerChange): boolean {
    return isWithin(target, targetAt, KEY_BYTES) && isWithin(publicKey, publicKeyAt, KEY_BYTES);
  }

  protected hasContent({ relays, relaysAt, relayCount, bump }: PeerChange): boolean {
    const isCount = relayCount >>> 0 === relayCount && relayCount <= MAX_RELAY_ADDRESSES;
    const isBump = bump >= 0 && Number.isSafeInteger(bump);
    return isCount && isBump && isWithin(relays, relaysAt, relayCount * RELAY_BYTES);
  }

  seek(change: PeerChange): number {
    const keys = this.tables[1];
    const { bytes } = this.rows;
    const { target, targetAt, publicKey, publicKeyAt } = change;
    const sought = this.#keyHash(publicKey, publicKeyAt, change.hash);
    let mark = firstMark(sought);
    for (let slot = keys.home(sought); ; slot = keys.next(slot)) {
      const entry = keys.slots[slot];
      if (entry === 0) return NONE;
      if ((entry & 0xff) === mark) {
        const row = (entry >>> 8) - 1;
        const isKey =
          this.#word(row, ROW_HASH) === (change.hash | 0) &&
          sameKey(bytes, byteOf(row, PEER_KEY), publicKey, publicKeyAt);
        if (isKey && sameKey(bytes, byteOf(row, PEER_TARGET), target, targetAt)) return row;
      }
      mark = nextMark(mark);
    }
  }

  protected writeKey(row: number, change: PeerChange): void {
    const { bytes } = this.rows;
    copyBytes(change.target, change.targetAt, bytes, byteOf(row, PEER_TARGET), KEY_BYTES);
    copyBytes(change.publicKey, change.publicKeyAt, bytes, byteOf(row, PEER_KEY), KEY_BYTES);
    this.#setBump(row, 0, 0);
  }

  protected writeContent(row: number, change: PeerChange): void {
    const { relays, relaysAt, relayCount, bump } = change;
    const { words, bytes } = this.rows;
    words[row * PEER_WORDS + PEER_RELAY_COUNT] = relayCount;
    copyBytes(relays, relaysAt, bytes, byteOf(row, PEER_RELAYS), relayCount * RELAY_BYTES);
    if (bump > this.#bump(row)) this.#setBump(row, bump, change.expiresAt);
  }

  /** A row gets the next position of its target. */
  protected enter(row: number): void {
    const { words, header } = this.rows;
    const head = this.placeOf(row, 0);
    const position = head === NONE ? 0 : this.#word(head, PEER_COUNT);
    words[row * PEER_WORDS + PEER_POSITION] = position;
    this.tables[0].insert(this.#placeHashOf(row), row);
    this.tables[1].insert(this.#keyHashOf(row), row);
    words[(head === NONE ? row : head) * PEER_WORDS + PEER_COUNT] = position + 1;
    if (head === NONE) header[HEADER_TARGETS]++;
    this.settle(row);
  }

  protected settle(row: number): void {
    if (this.#word(row, PEER_POSITION) === 0) return;
    this.#carryBump(row, this.placeOf(row, 0));
    this.#setBump(row, 0, 0);
  }

  /** The last peer of the row's target takes its position. */
  protected leave(row: number): void {
    const places = this.tables[0];
    const { words, header } = this.rows;
    const hash = this.#word(row, ROW_HASH);
    const position = this.#word(row, PEER_POSITION);
    const head = this.placeOf(row, 0);
    const last = this.#word(head, PEER_COUNT) - 1;
    const successor = this.placeOf(row, last);
    places.remove(placeHash(hash, position), row);
    this.tables[1].remove(this.#keyHashOf(row), row);
    if (successor !== row) {
      places.remove(placeHash(hash, last), successor);
      words[successor * PEER_WORDS + PEER_POSITION] = position;
      places.insert(placeHash(hash, position), successor);
    }
    if (last === 0) header[HEADER_TARGETS]--;
    if (row === head) this.#carryBump(row, successor);
    words[(row === head ? successor : head) * PEER_WORDS + PEER_COUNT] = last;
  }
}

/** Where a field of a row begins, in bytes. */
function byteOf(row: number, field: number): number {
  return (row * PEER_WORDS + field) * 4;
}

function isSameTarget(words: Int32Array, a: number, b: number): boolean {
  for (let i = PEER_TARGET; i < PEER_TARGET + KEY_WORDS; i++) {
    if (words[a + i] !== words[b + i]) return false;
  }
  return true;
}

/** The target's hash is keyed: nobody can choose places. */
function placeHash(hash: number, position: number): number {
  return (hash + Math.imul(position, GOLDEN)) | 0;
}
