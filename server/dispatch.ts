/**
 * Dispatch: which lane owns the key a datagram is about. Pure: the slot in, a lane's number out.
 *
 *   a query about an id      the hash of its folded name: a key has one lane, its only writer
 *   a request of the DHT     the hash of its target
 *   an acknowledgement       message id modulo lanes: a push's id names its lane (push-table.ts)
 *   anything else            the source port: keyless requests make no lane hot
 */
import { ID_BYTES } from '../codecs/dht/constants.ts';
import { RequestReader } from '../codecs/dht/request.ts';
import { HEADER_FLAGS } from '../codecs/dns/constants.ts';
import { type QueryReader, questionKey } from '../codecs/dns/query.ts';
import { readU16 } from '../codecs/dns/wire.ts';
import type { HalfSipHash } from '../codecs/hash/halfsiphash.ts';
import type { Overflow } from '../workers/overflow.ts';
import { PROTOCOL_DNS } from '../workers/protocols.ts';
import {
  SLOT_BYTES,
  SLOT_HEADER_BYTES,
  SLOT_KEY_HASH,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_PROTOCOL,
  SLOT_TRANSPORT,
  type Slab,
  TRANSPORT_UDP,
} from '../workers/slab.ts';

/** 2^32 by the golden ratio: ports come in steps (even ones only, for instance) and must spread. */
const SPREAD = 0x9e3779b1 | 0;
/** QR in the first byte of the flags; admission has looked at the rest. */
const RESPONSE_BIT = 0x80;

export class Dispatcher {
  readonly #slab: Slab;
  readonly #overflow: Overflow;
  readonly #lanes: number;
  readonly #reader: QueryReader;
  readonly #hash: HalfSipHash;
  readonly #dhtReader = new RequestReader();

  constructor(
    slab: Slab,
    overflow: Overflow,
    lanes: number,
    reader: QueryReader,
    hash: HalfSipHash,
  ) {
    this.#slab = slab;
    this.#overflow = overflow;
    this.#lanes = lanes;
    this.#reader = reader;
    this.#hash = hash;
  }

  /**
   * The lane of the admitted datagram in `slot`. Writes the key's hash into the slot's header,
   * where the lane finds it; 0 leaves it to the lane.
   */
  laneOf(slot: number): number {
    if (this.#lanes === 1) return 0;
    const slab = this.#slab;
    const base = slot * SLOT_BYTES;
    const isUdp = slab.bytes[base + SLOT_TRANSPORT] === TRANSPORT_UDP;
    const bytes = isUdp ? slab.bytes : this.#overflow.bytes;
    const start = isUdp ? base + SLOT_HEADER_BYTES : this.#overflow.start(slot);
    const length = slab.i32[(base + SLOT_LENGTH) >> 2];
    slab.i32[(base + SLOT_KEY_HASH) >> 2] = 0;
    if (slab.bytes[base + SLOT_PROTOCOL] !== PROTOCOL_DNS) return this.#dhtLane(base, length);
    if ((bytes[start + HEADER_FLAGS] & RESPONSE_BIT) !== 0) {
      return readU16(bytes, start) % this.#lanes;
    }
    const keyEnd = questionKey(this.#reader, bytes, start, length);
    if (keyEnd === 0) return this.#byPort(base);
    const hash = this.#hash.prefix(this.#reader.name.words, keyEnd);
    // 0 means keyless; one hash in 2^32 moves over.
    slab.i32[(base + SLOT_KEY_HASH) >> 2] = hash === 0 ? 1 : hash;
    // The low half: a lane's tables are spread by the high one, and need all of it.
    return this.#share(hash & 0xffff);
  }

  #dhtLane(base: number, length: number): number {
    const slab = this.#slab;
    const reader = this.#dhtReader;
    if (!reader.read(slab.bytes, base + SLOT_HEADER_BYTES, length) || reader.targetStart < 0) {
      return this.#byPort(base);
    }
    const { targetStart } = reader;
    const hash = this.#hash.bytes(slab.bytes, targetStart, targetStart + ID_BYTES);
    slab.i32[(base + SLOT_KEY_HASH) >> 2] = hash === 0 ? 1 : hash;
    return this.#share(hash & 0xffff);
  }

  #byPort(base: number): number {
    return this.#share(Math.imul(this.#slab.u16[(base + SLOT_PORT) >> 1], SPREAD) >>> 16);
  }

  /** The lane whose equal share of the 16-bit numbers `part` is in. */
  #share(part: number): number {
    return (part * this.#lanes) >>> 16;
  }
}
