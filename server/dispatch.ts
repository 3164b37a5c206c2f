/**
 * Dispatch: which lane owns the key a datagram is about. Pure: the slot in, a lane's number out.
 *
 *   a query about an id      the hash of its folded name: a key has one lane, its only writer
 *   an acknowledgement       message id modulo lanes: a push's id names its lane (push-table.ts)
 *   anything else            the source port: keyless requests make no lane hot
 */
import { HEADER_FLAGS } from '../codecs/dns/constants.ts';
import { type QueryReader, questionKey } from '../codecs/dns/query.ts';
import { readU16 } from '../codecs/dns/wire.ts';
import type { HalfSipHash } from '../codecs/hash/halfsiphash.ts';
import {
  SLOT_BYTES,
  SLOT_HEADER_BYTES,
  SLOT_KEY_HASH,
  SLOT_LENGTH,
  SLOT_PORT,
  type Slab,
} from '../workers/slab.ts';

/** QR in the first byte of the flags; admission has looked at the rest. */
const RESPONSE_BIT = 0x80;

export class Dispatcher {
  readonly #slab: Slab;
  readonly #lanes: number;
  readonly #reader: QueryReader;
  readonly #hash: HalfSipHash;

  constructor(slab: Slab, lanes: number, reader: QueryReader, hash: HalfSipHash) {
    this.#slab = slab;
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
    const start = base + SLOT_HEADER_BYTES;
    const length = slab.i32[(base + SLOT_LENGTH) >> 2];
    slab.i32[(base + SLOT_KEY_HASH) >> 2] = 0;
    if ((slab.bytes[start + HEADER_FLAGS] & RESPONSE_BIT) !== 0) {
      return readU16(slab.bytes, start) % this.#lanes;
    }
    const keyEnd = questionKey(this.#reader, slab.bytes, start, length);
    if (keyEnd === 0) return slab.u16[(base + SLOT_PORT) >> 1] % this.#lanes;
    const hash = this.#hash.prefix(this.#reader.name.words, keyEnd);
    // 0 means keyless; one hash in 2^32 moves over.
    slab.i32[(base + SLOT_KEY_HASH) >> 2] = hash === 0 ? 1 : hash;
    return ((hash >>> 16) * this.#lanes) >>> 16;
  }
}
