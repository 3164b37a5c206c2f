/**
 * Replies and relayed requests, written in place. A reply is
 *
 *   13 flags tid:u16 to:6 [id:32] [token:32] [closer nodes: uint count + 6 each] [error:uint]
 *                          FLAG_ID FLAG_TOKEN FLAG_CLOSER_NODES                   FLAG_ERROR
 *   [value: uint length + bytes]
 *    FLAG_VALUE
 *
 * The head is the first four bytes; `writeAddress` (address.ts) writes `to` behind it.
 */
import { REPLY_BYTE, REQUEST_BYTE } from './constants.ts';
import { writeU16 } from './varint.ts';

/** Writes first byte, flags and transaction id of a reply; returns where `to` goes. */
export function writeReplyHead(
  bytes: Uint8Array,
  start: number,
  flags: number,
  tid: number,
): number {
  bytes[start] = REPLY_BYTE;
  bytes[start + 1] = flags;
  return writeU16(bytes, start + 2, tid);
}

/** As writeReplyHead, of a request. */
export function writeRequestHead(
  bytes: Uint8Array,
  start: number,
  flags: number,
  tid: number,
): number {
  bytes[start] = REQUEST_BYTE;
  bytes[start + 1] = flags;
  return writeU16(bytes, start + 2, tid);
}
