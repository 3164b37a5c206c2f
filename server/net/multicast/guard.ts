import {
  HEADER_ANCOUNT,
  HEADER_ARCOUNT,
  HEADER_BYTES,
  HEADER_FLAGS,
  HEADER_NSCOUNT,
  HEADER_QDCOUNT,
  MAX_NAME_BYTES,
  MIN_QUESTION_BYTES,
  MIN_RECORD_BYTES,
  TYPE,
} from '../../../codecs/dns/constants.ts';
import { expandName, RecordWalk } from '../../../codecs/dns/message-walk.ts';
import { skipName } from '../../../codecs/dns/name.ts';
import { readU16 } from '../../../codecs/dns/wire.ts';

/** The longest message of multicast DNS, headers of IP and UDP included (RFC 6762 section 17). */
export const MAX_MULTICAST_BYTES = 9000;
/** Questions of one message: a browser of many services asks some ten at a time. */
export const MAX_MULTICAST_QUESTIONS = 64;
/** Records of all sections: a host with many services sends some dozens. */
export const MAX_MULTICAST_RECORDS = 256;
/**
 * Labels of all names, those behind pointers included: each becomes a string, at about the cost of
 * a tenth of a small question.
 */
export const MAX_MULTICAST_LABELS = 256;
/** Strings in TXT records: a service has some 30 at most, a name of ours some five. */
export const MAX_MULTICAST_STRINGS = 128;

/** What a header says about a datagram of multicast DNS, before anything of it is decoded. */
export const MULTICAST_VERDICT = {
  /** A query or a response whose counts are plausible: decode it. */
  OK: 0,
  TOO_SHORT: 1,
  TOO_LONG: 2,
  /** An opcode other than QUERY: to be ignored (RFC 6762 18.3). */
  OPCODE: 3,
  /** Counts that no honest message of this length has. */
  COUNTS: 4,
  /** Malformed, or made to be costly. */
  COSTLY: 5,
} as const;

const CNAME = 5;
const PTR = 12;
const NSEC = 47;
/** Bytes of type bitmaps in NSEC records, each of which becomes eight strings. */
const MAX_BITMAP_BYTES = 256;
/** Options of EDNS: mDNS has one (the sleep proxy's owner). */
const MAX_OPTIONS = 16;

const scratch = new Uint8Array(MAX_NAME_BYTES);

/**
 * Judges a datagram; one of `MULTICAST_VERDICT`. npm dns-packet must not be given what fails here:
 * it makes arrays as long as a header says before it reads on, and follows pointers to pointers as
 * far as they go, which costs 9 ms for a message of 9000 bytes.
 */
export function guardMulticast(bytes: Uint8Array): number {
  if (bytes.length < HEADER_BYTES) return MULTICAST_VERDICT.TOO_SHORT;
  if (bytes.length > MAX_MULTICAST_BYTES) return MULTICAST_VERDICT.TOO_LONG;
  if ((bytes[HEADER_FLAGS] & 0x78) !== 0) return MULTICAST_VERDICT.OPCODE;
  const questions = readU16(bytes, HEADER_QDCOUNT);
  const records =
    readU16(bytes, HEADER_ANCOUNT) +
    readU16(bytes, HEADER_NSCOUNT) +
    readU16(bytes, HEADER_ARCOUNT);
  if (questions > MAX_MULTICAST_QUESTIONS || records > MAX_MULTICAST_RECORDS) {
    return MULTICAST_VERDICT.COUNTS;
  }
  const least = HEADER_BYTES + questions * MIN_QUESTION_BYTES + records * MIN_RECORD_BYTES;
  if (least > bytes.length) return MULTICAST_VERDICT.COUNTS;
  return isBounded(bytes, questions) ? MULTICAST_VERDICT.OK : MULTICAST_VERDICT.COSTLY;
}

/** What is left of what a message may have. */
interface Budget {
  labels: number;
  strings: number;
  bitmapBytes: number;
  options: number;
}

/**
 * Whether every name is one, after few pointers, every record of a type of multicast DNS with data
 * of exactly the length it says, and all of them together cheap to decode. dns-packet goes on
 * behind what it has read of a record's data, whatever the record says: were these two different,
 * it would read other records than those judged here.
 */
function isBounded(bytes: Uint8Array, questions: number): boolean {
  const budget: Budget = {
    labels: MAX_MULTICAST_LABELS,
    strings: MAX_MULTICAST_STRINGS,
    bitmapBytes: MAX_BITMAP_BYTES,
    options: MAX_OPTIONS,
  };
  let at = HEADER_BYTES;
  for (let left = questions; left > 0; left--) {
    const behind = skipName(bytes, at, 0, bytes.length);
    if (behind < 0 || behind + 4 > bytes.length || !isName(bytes, at, budget)) return false;
    at = behind + 4;
  }
  const walk = new RecordWalk(bytes, at);
  while (walk.next()) {
    if (!isName(bytes, walk.owner, budget) || !isData(bytes, walk, budget)) return false;
  }
  return !walk.isMalformed;
}

/** Whether a record's data is what its type says, from its first byte to its last. */
function isData(bytes: Uint8Array, { type, rdata, rdataEnd }: RecordWalk, budget: Budget): boolean {
  switch (type) {
    case TYPE.A:
      return rdataEnd - rdata === 4;
    case TYPE.AAAA:
      return rdataEnd - rdata === 16;
    case TYPE.TXT:
      return countStrings(bytes, rdata, rdataEnd, budget) >= 0;
    case TYPE.HINFO:
      return countStrings(bytes, rdata, rdataEnd, budget) === 2;
    case TYPE.OPT:
      return areOptions(bytes, rdata, rdataEnd, budget);
    case TYPE.SRV:
      return nameEnd(bytes, rdata + 6, budget) === rdataEnd;
    case PTR:
    case CNAME:
      return nameEnd(bytes, rdata, budget) === rdataEnd;
    case NSEC:
      return areBitmaps(bytes, nameEnd(bytes, rdata, budget), rdataEnd, budget);
    default:
      // None of multicast DNS: what dns-packet makes of it need not be known.
      return false;
  }
}

/** Strings in bytes[from..end); -1 when the last is cut off or the budget is used up. */
function countStrings(bytes: Uint8Array, from: number, end: number, budget: Budget): number {
  let count = 0;
  let at = from;
  for (; at < end; at += 1 + bytes[at]) {
    count++;
    if (--budget.strings < 0) return -1;
  }
  return at === end ? count : -1;
}

/** Code, length and data of each (RFC 6891 6.1.2). */
function areOptions(bytes: Uint8Array, from: number, end: number, budget: Budget): boolean {
  let at = from;
  while (at < end) {
    if (at + 4 > end || --budget.options < 0) return false;
    at += 4 + readU16(bytes, at + 2);
  }
  return at === end;
}

/** Window, length and bits of each (RFC 4034 4.1.2). */
function areBitmaps(bytes: Uint8Array, from: number, end: number, budget: Budget): boolean {
  if (from < 0 || from > end) return false;
  budget.bitmapBytes -= end - from;
  if (budget.bitmapBytes < 0) return false;
  let at = from;
  while (at + 2 <= end) at += 2 + bytes[at + 1];
  return at === end;
}

/** The offset behind the name at `at`; -1 when it is none. */
function nameEnd(bytes: Uint8Array, at: number, budget: Budget): number {
  return isName(bytes, at, budget) ? skipName(bytes, at, 0, bytes.length) : -1;
}

function isName(bytes: Uint8Array, at: number, budget: Budget): boolean {
  if (expandName(bytes, at, scratch) < 0) return false;
  for (let i = 0; scratch[i] !== 0; i += 1 + scratch[i]) budget.labels--;
  return budget.labels >= 0;
}
