/** The OPT record of an answer, as a client reads it. */
import {
  CLIENT_COOKIE_BYTES,
  MAX_FULL_COOKIE_BYTES,
  MIN_FULL_COOKIE_BYTES,
  OPTION,
  OPTION_HEAD_BYTES,
} from './constants.ts';
import type { RecordWalk } from './message-walk.ts';
import { readU16 } from './wire.ts';

/*
 * OPT (RFC 6891 6.1.2) from its type on:
 *
 *   +------+----------+------------+---------+-------+----------+----------------------+
 *   | type | UDP size | ext. RCODE | version | flags | rdlength | code length data ... |
 *   | 2    | 2        | 1          | 1       | 2     | 2        | 2    2               |
 *   +------+----------+------------+---------+-------+----------+----------------------+
 */
const OPT_EXTENDED_RCODE = 4;
const OPT_VERSION = 5;

export interface Opt {
  readonly extendedRcode: number;
  readonly cookie: Uint8Array | null;
}

/** Whether the options fill the rdata and a COOKIE has one of its lengths (RFC 7873 5.3). */
export function areOptions(bytes: Uint8Array, { fixed, rdata, rdataEnd }: RecordWalk): boolean {
  // What a later version's options look like is not known here.
  if (bytes[fixed + OPT_VERSION] > 0) return true;
  let at = rdata;
  while (at < rdataEnd) {
    const data = at + OPTION_HEAD_BYTES;
    if (data > rdataEnd) return false;
    const length = readU16(bytes, at + 2);
    if (readU16(bytes, at) === OPTION.COOKIE && !isCookieLength(length)) return false;
    at = data + length;
  }
  return at === rdataEnd;
}

function isCookieLength(length: number): boolean {
  const isFull = length >= MIN_FULL_COOKIE_BYTES && length <= MAX_FULL_COOKIE_BYTES;
  return isFull || length === CLIENT_COOKIE_BYTES;
}

/** The extended rcode and a copy of the cookie; the first of several counts (RFC 7873 5.2). */
export function readOpt(bytes: Uint8Array, { fixed, rdata, rdataEnd }: RecordWalk): Opt {
  const extendedRcode = bytes[fixed + OPT_EXTENDED_RCODE];
  if (bytes[fixed + OPT_VERSION] > 0) return { extendedRcode, cookie: null };
  let at = rdata;
  while (at < rdataEnd) {
    const data = at + OPTION_HEAD_BYTES;
    const end = data + readU16(bytes, at + 2);
    if (readU16(bytes, at) === OPTION.COOKIE) {
      return { extendedRcode, cookie: Uint8Array.from(bytes.subarray(data, end)) };
    }
    at = end;
  }
  return { extendedRcode, cookie: null };
}
