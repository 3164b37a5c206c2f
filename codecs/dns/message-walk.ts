/** Ways through a message that a stranger has sent: to a client, which may read whole messages. */
import {
  DISCOVERY_MAX_LABEL_BYTES,
  HEADER_ANCOUNT,
  HEADER_ARCOUNT,
  HEADER_BYTES,
  HEADER_NSCOUNT,
  MAX_POINTER_HOPS,
  MIN_RECORD_BYTES,
  RECORD_FIXED_BYTES,
} from './constants.ts';
import { skipName } from './name.ts';
import { readU16 } from './wire.ts';

/** What TCP's length prefix can say. */
export const MAX_MESSAGE_BYTES = 65_535;
/** Of the flags word: 0 is QUERY. */
export const OPCODE_BITS = 0x7800;

/**
 * The records of a message, one after the other:
 *
 *   const walk = new RecordWalk(bytes, behindTheQuestion);
 *   while (walk.next()) { ... }
 *   if (walk.isMalformed) ...
 *
 * Malformed: counts that cannot fit in the length (checked before the first record), a name that is
 * over-long or points forwards or into the header, a record over the end. Bytes behind the last
 * record are ignored, as everywhere on this port. What a pointer leads to is not looked at: one way
 * through is linear in the length.
 */
export class RecordWalk {
  /** Offset of the record's owner. */
  owner = 0;
  /** Offset of its type, behind the owner: RECORD_FIXED_BYTES before the rdata. */
  fixed = 0;
  type = 0;
  klass = 0;
  /** The rdata is bytes[rdata..rdataEnd). */
  rdata = 0;
  rdataEnd = 0;
  isMalformed = false;
  readonly #bytes: Uint8Array;
  readonly #answers: number;
  readonly #beforeAdditional: number;
  readonly #total: number;
  #index = -1;

  /** `start` is the offset of the first record; `bytes` the message, at least a header. */
  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.#answers = readU16(bytes, HEADER_ANCOUNT);
    this.#beforeAdditional = this.#answers + readU16(bytes, HEADER_NSCOUNT);
    this.#total = this.#beforeAdditional + readU16(bytes, HEADER_ARCOUNT);
    this.rdataEnd = start;
    this.isMalformed = start + this.#total * MIN_RECORD_BYTES > bytes.length;
  }

  get isAnswer(): boolean {
    return this.#index < this.#answers;
  }

  get isAdditional(): boolean {
    return this.#index >= this.#beforeAdditional;
  }

  /** Moves to the next record; false behind the last one, or when it is malformed. */
  next(): boolean {
    if (this.isMalformed || this.#index + 1 >= this.#total) return false;
    this.#index++;
    const bytes = this.#bytes;
    this.isMalformed = true;
    this.owner = this.rdataEnd;
    this.fixed = skipName(bytes, this.owner, 0, bytes.length);
    this.rdata = this.fixed + RECORD_FIXED_BYTES;
    if (this.fixed < 0 || this.rdata > bytes.length) return false;
    this.rdataEnd = this.rdata + readU16(bytes, this.rdata - 2);
    if (this.rdataEnd > bytes.length) return false;
    this.type = readU16(bytes, this.fixed);
    this.klass = readU16(bytes, this.fixed + 2);
    this.isMalformed = false;
    return true;
  }
}

/**
 * Writes the possibly compressed name at `offset` to out[0..], in full, case kept, with the root's
 * 0; returns its length. -1 when it is longer than `out` or malformed: pointers must go strictly
 * backwards, not into the header, and at most MAX_POINTER_HOPS are followed. Labels may have 64
 * bytes.
 */
export function expandName(bytes: Uint8Array, offset: number, out: Uint8Array): number {
  const end = bytes.length;
  let at = offset;
  let chunkStart = offset;
  let hops = 0;
  let length = 0;
  for (;;) {
    if (at >= end) return -1;
    const size = bytes[at];
    if (size >= 0xc0) {
      if (at + 1 >= end || ++hops > MAX_POINTER_HOPS) return -1;
      const target = ((size & 0x3f) << 8) | bytes[at + 1];
      if (target < HEADER_BYTES || target >= chunkStart) return -1;
      at = target;
      chunkStart = target;
      continue;
    }
    const next = at + 1 + size;
    if (size > DISCOVERY_MAX_LABEL_BYTES || next > end) return -1;
    // The root's 0 must fit behind every label.
    if (length + 1 + size + (size > 0 ? 1 : 0) > out.length) return -1;
    while (at < next) out[length++] = bytes[at++];
    if (size === 0) return length;
  }
}
