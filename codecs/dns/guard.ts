import {
  HEADER_ANCOUNT,
  HEADER_ARCOUNT,
  HEADER_BYTES,
  HEADER_FLAGS,
  HEADER_NSCOUNT,
  HEADER_QDCOUNT,
  MAX_RECORDS,
  MIN_QUESTION_BYTES,
  MIN_RECORD_BYTES,
} from './constants.ts';
import { readU16 } from './wire.ts';

export { readU16 };

/**
 * What a header says about a datagram, before anything of it is decoded.
 *
 * Unsendable: no answer may leave. TOO_SHORT has no id to answer to; answering a RESPONSE would let
 * two servers talk to each other for ever (RFC 1035 7.3, RFC 5358). Sendable: FORMERR and NOTIMP, a
 * header of 12 bytes as the answer (`errorHeader`), never larger than what came in.
 */
export const VERDICT = {
  /** A query whose counts are plausible: decode it. */
  QUERY_OK: 0,
  /** QR is set: an acknowledgement of one of our pushes, or noise. Unsendable. */
  RESPONSE: 1,
  /** Less than a header. Unsendable. */
  TOO_SHORT: 2,
  /** Counts that no honest query has. Sendable. */
  FORMERR: 3,
  /** An opcode other than QUERY. Sendable. */
  NOTIMP: 4,
} as const;

/** Whether an answer may leave for this verdict. */
export function isSendable(verdict: number): boolean {
  return verdict !== VERDICT.RESPONSE && verdict !== VERDICT.TOO_SHORT;
}

/**
 * Judges the message of `length` bytes at `start` by its header alone; one of `VERDICT`.
 *
 * FORMERR: more than one question (RFC 9619), no question and no record, more than MAX_RECORDS
 * records, or counts that cannot fit in the length. No question with records is let through: a push
 * has none, and the original server answers it with an empty response.
 */
export function guardHeader(bytes: Uint8Array, start: number, length: number): number {
  if (length < HEADER_BYTES) return VERDICT.TOO_SHORT;
  const flags = bytes[start + HEADER_FLAGS];
  if ((flags & 0x80) !== 0) return VERDICT.RESPONSE;
  if ((flags & 0x78) !== 0) return VERDICT.NOTIMP;
  const questions = readU16(bytes, start + HEADER_QDCOUNT);
  const records =
    readU16(bytes, start + HEADER_ANCOUNT) +
    readU16(bytes, start + HEADER_NSCOUNT) +
    readU16(bytes, start + HEADER_ARCOUNT);
  if (questions > 1 || records > MAX_RECORDS || questions + records === 0) return VERDICT.FORMERR;
  if (HEADER_BYTES + questions * MIN_QUESTION_BYTES + records * MIN_RECORD_BYTES > length) {
    return VERDICT.FORMERR;
  }
  return VERDICT.QUERY_OK;
}
