/**
 * What the program that a server runs inside of announces itself: named in answers beside the peers
 * of the store, and kept beside it.
 *
 *   answer  <-- own records, at most half of it when the store has enough for the rest
 *           <-- a sample of the store
 *
 * Not in the store, so that strangers cannot evict them, no limit on strangers holds for them, and
 * they do not expire. They are bounded by a limit of their own, beyond which the oldest goes.
 *
 * Their host is the address the asker has of this machine. A TXT says 0.0.0.0, for which clients
 * take the address that they asked (as with the original server). A and SRV say the IPv4 address
 * that the question came to, or when that is not known or IPv6, the machine's; the original says
 * 0.0.0.0 in SRV, where nobody can do anything with it. AAAA says nothing, as with the original.
 */

import { DISCOVERY_MAX_LABEL_BYTES, PEER4_BYTES, TYPE } from '../codecs/dns/constants.ts';
import { FoldedName } from '../codecs/dns/name.ts';
import { decodeName, encodeName } from '../codecs/dns/text.ts';
import type { HalfSipHash } from '../codecs/hash/halfsiphash.ts';
import { MAPPED_AT } from '../codecs/mapped-address.ts';
import type { Key } from './key.ts';
import type { PeerSample, SampleBounds } from './peer-sample.ts';
import { SLOT_FAMILY, SLOT_LOCAL, type Slab } from './slab.ts';
import { MAX_KEY_BYTES } from './store/layout.ts';

const MAX_PORT = 65_535;
const ADDRESS4_BYTES = 4;

/** The records of one name. */
export interface OwnName {
  /** As it was announced first. */
  readonly id: string;
  /** As stores know it: folded wire labels without the root. */
  readonly key: Uint8Array;
  readonly ports: readonly number[];
}

interface Entry extends OwnName {
  readonly hash: number;
  readonly ports: number[];
}

/** An id as stores know it. */
export interface KeyOfId {
  readonly bytes: Uint8Array;
  readonly hash: number;
}

/**
 * The key of an id as people write it: dots part its labels, which may have 64 bytes, and nothing
 * is escaped.
 *
 * @throws RangeError when no name can have such an id.
 */
export function keyOfId(id: string, hash: HalfSipHash): KeyOfId {
  const wire = encodeName(id.replaceAll('\\', '\\\\'), DISCOVERY_MAX_LABEL_BYTES);
  const name = new FoldedName();
  if (wire.length === 1 || name.read(wire, 0, wire.length) < 0 || name.end > MAX_KEY_BYTES) {
    throw new RangeError(`id ${JSON.stringify(id)}: expected a name of at least one label`);
  }
  return { bytes: name.folded.slice(0, name.end), hash: hash.prefix(name.words, name.end) };
}

export class OwnRecords {
  readonly #hash: HalfSipHash;
  readonly #limit: number;
  readonly #machineAddress: (out: Uint8Array) => void;
  readonly #address = new Uint8Array(ADDRESS4_BYTES);
  /** By the hash of the key, as the lane has it: found without a string. */
  readonly #names = new Map<number, Entry[]>();
  /** Every record, the oldest first. */
  readonly #records = new Map<string, { readonly entry: Entry; readonly port: number }>();
  /** Which of a name's ports comes first, in turn. */
  #turn = 0;

  /**
   * `hash`: that of the lane's names. `machineAddress` writes the 4 bytes of an address that this
   * machine can be reached at.
   */
  constructor(hash: HalfSipHash, limit: number, machineAddress: (out: Uint8Array) => void) {
    this.#hash = hash;
    this.#limit = limit;
    this.#machineAddress = machineAddress;
  }

  get count(): number {
    return this.#records.size;
  }

  /**
   * Announces a port; again, it counts as new. Port 0, where nobody can be reached, is not kept.
   *
   * @throws RangeError when the id is no name, or the port none from 0 to 65535.
   */
  add(id: string, port: number): void {
    if (!Number.isInteger(port) || port < 0 || port > MAX_PORT) {
      throw new RangeError(`port ${port}: expected a whole number from 0 to ${MAX_PORT}`);
    }
    if (port === 0) return;
    const key = keyOfId(id, this.#hash);
    const label = recordLabel(key, port);
    const known = this.#records.get(label);
    if (known !== undefined) {
      this.#records.delete(label);
      this.#records.set(label, known);
      return;
    }
    if (this.#records.size >= this.#limit) this.#dropOldest();
    const entry = this.#find(key.bytes, key.bytes.length, key.hash) ?? this.#create(id, key);
    entry.ports.push(port);
    this.#records.set(label, { entry, port });
  }

  /** Takes an announcement back; one that is not there is none. Throws as `add`. */
  remove(id: string, port: number): void {
    this.#drop(recordLabel(keyOfId(id, this.#hash), port));
  }

  *names(): Generator<OwnName> {
    for (const entries of this.#names.values()) yield* entries;
  }

  /**
   * Adds the records of `key` to the peers that were sampled for the question of type `qtype` in
   * the slot at `base`: first, and at most as many as `bounds` allow. Allocates nothing.
   */
  join(
    sample: PeerSample,
    qtype: number,
    key: Key,
    bounds: SampleBounds,
    slab: Slab,
    base: number,
  ): void {
    if (this.#records.size === 0) return;
    const entry = this.#find(key.bytes, key.end, key.hash);
    if (entry === null) return;
    if (qtype === TYPE.TXT) this.#joinPairs(sample, entry.ports, bounds.txt4);
    // However many ports, one host is one address.
    else if (qtype === TYPE.A) this.#joinPeers(sample, entry.ports, 1, bounds.records, slab, base);
    else if (qtype === TYPE.SRV) {
      const { ports } = entry;
      this.#joinPeers(sample, ports, ports.length, bounds.records, slab, base);
    }
  }

  #joinPairs(sample: PeerSample, ports: readonly number[], most: number): void {
    const { pairs4, count4 } = sample;
    const count = share(ports.length, most, count4);
    const kept = Math.min(count4, most - count);
    pairs4.copyWithin(2 * count, 0, 2 * kept);
    let turn = this.#turn++ % ports.length;
    for (let i = 0; i < count; i++) {
      pairs4[2 * i] = 0;
      pairs4[2 * i + 1] = ports[turn];
      if (++turn === ports.length) turn = 0;
    }
    sample.count4 = kept + count;
  }

  #joinPeers(
    sample: PeerSample,
    ports: readonly number[],
    wanted: number,
    most: number,
    slab: Slab,
    base: number,
  ): void {
    const { peers4 } = sample;
    const count = share(wanted, most, sample.count4 + sample.count6);
    // Of those sampled, in random order, the last have to go.
    const kept = most - count;
    if (sample.count4 > kept) sample.count4 = kept;
    if (sample.count6 > kept - sample.count4) sample.count6 = kept - sample.count4;
    peers4.copyWithin(count * PEER4_BYTES, 0, sample.count4 * PEER4_BYTES);
    const address = this.#addressFor(slab, base);
    let turn = this.#turn++ % ports.length;
    for (let i = 0; i < count; i++) {
      const at = i * PEER4_BYTES;
      for (let b = 0; b < ADDRESS4_BYTES; b++) peers4[at + b] = address[b];
      peers4[at + ADDRESS4_BYTES] = ports[turn] >> 8;
      peers4[at + ADDRESS4_BYTES + 1] = ports[turn];
      if (++turn === ports.length) turn = 0;
    }
    sample.count4 += count;
  }

  /** The IPv4 address that the question in the slot came to, else the machine's. */
  #addressFor(slab: Slab, base: number): Uint8Array {
    const address = this.#address;
    const at = base + SLOT_LOCAL + MAPPED_AT;
    if (slab.bytes[base + SLOT_FAMILY] === 4 && slab.i32[at >> 2] !== 0) {
      for (let i = 0; i < ADDRESS4_BYTES; i++) address[i] = slab.bytes[at + i];
    } else {
      this.#machineAddress(address);
    }
    return address;
  }

  #create(id: string, { bytes, hash }: KeyOfId): Entry {
    const entry: Entry = { id, key: bytes, hash, ports: [] };
    const others = this.#names.get(hash);
    if (others === undefined) this.#names.set(hash, [entry]);
    else others.push(entry);
    return entry;
  }

  #find(bytes: Uint8Array, end: number, hash: number): Entry | null {
    const entries = this.#names.get(hash);
    if (entries === undefined) return null;
    for (let i = 0; i < entries.length; i++) {
      if (isKey(entries[i].key, bytes, end)) return entries[i];
    }
    return null;
  }

  #dropOldest(): void {
    for (const label of this.#records.keys()) {
      this.#drop(label);
      return;
    }
  }

  #drop(label: string): void {
    const record = this.#records.get(label);
    if (record === undefined) return;
    const { entry, port } = record;
    this.#records.delete(label);
    entry.ports.splice(entry.ports.indexOf(port), 1);
    if (entry.ports.length > 0) return;
    const others = (this.#names.get(entry.hash) ?? []).filter((other) => other !== entry);
    if (others.length === 0) this.#names.delete(entry.hash);
    else this.#names.set(entry.hash, others);
  }
}

/** How many of `count` go into an answer of `most` that has `taken`: half of it are theirs. */
function share(count: number, most: number, taken: number): number {
  return Math.min(count, Math.max(most - taken, (most + 1) >> 1));
}

function recordLabel({ bytes }: KeyOfId, port: number): string {
  return `${port} ${decodeName(bytes, 0, bytes.length)}`;
}

function isKey(key: Uint8Array, bytes: Uint8Array, end: number): boolean {
  if (key.length !== end) return false;
  for (let i = 0; i < end; i++) if (key[i] !== bytes[i]) return false;
  return true;
}
