import {
  CLASS,
  CLIENT_COOKIE_BYTES,
  HEADER_ANCOUNT,
  HEADER_ARCOUNT,
  HEADER_BYTES,
  HEADER_FLAGS,
  HEADER_NSCOUNT,
  HEADER_QDCOUNT,
  MAX_FULL_COOKIE_BYTES,
  MAX_RECORDS,
  MAX_TXT_RECORDS,
  MIN_FULL_COOKIE_BYTES,
  OPTION,
  OPTION_HEAD_BYTES,
  RCODE,
  RECORD_FIXED_BYTES,
  TYPE,
} from './constants.ts';
import type { DomainTable } from './domains.ts';
import { FoldedName, nameEquals, sameBytes, skipName } from './name.ts';
import { readU16 } from './wire.ts';

/** A pointer to the question's name: bytes 0xc0 0x0c. */
const QUESTION_POINTER = 0xc00c;

/** In the place of a COOKIE option's length: there is none, or it is malformed. */
export const NO_COOKIE = -1;
export const BAD_COOKIE = -2;

/**
 * Reads discovery queries, one after the other, into plain numbers: nothing is allocated per query
 * and nothing is copied but the folded name. Call it only behind `guardHeader`.
 *
 * All positions are offsets into the `bytes` given to `read`. What is read stays valid until the
 * next call, except that an answer written in place covers everything from `questionEnd` on: act on
 * the TXT records before.
 *
 * What counts as malformed: neither a question nor a record with a name, unless there is a COOKIE
 * option (RFC 7873 5.4); a record or its rdata past the end, a name that is over-long or points
 * forwards or into the header, a compressed question name, more than MAX_RECORDS records, TXT
 * strings that do not fill the rdata, OPT outside the additional section, twice, with an owner
 * other than the root or with broken options (RFC 6891 6.1.1); a COOKIE option of a wrong length is
 * left to the caller, whose answer to it has an OPT. Bytes behind the last record are
 * ignored as NSD and BIND do (the original's encoder leaves some behind when the domain is given
 * with a final dot). Rdata of other types, TSIG included, is skipped unread.
 */
export class QueryReader {
  readonly domains: DomainTable;
  readonly name = new FoldedName();
  /** The name the query is about, folded: `name.folded`. */
  readonly folded = this.name.folded;

  id = 0;
  /** The header's flags word. */
  flags = 0;
  /**
   * 0 or 1. With 0 (a push) the name is the owner of the first record that is no OPT; see
   * `isNameless`.
   */
  qdcount = 0;
  qtype = 0;
  qclass = 0;
  /** Behind the question: where records start, and where the answer's go. */
  questionEnd = 0;
  /** Length of the folded name without the root. */
  foldedEnd = 0;
  /** The id part is folded[0..keyEnd): wire labels without the root. */
  keyEnd = 0;
  /** Index of the domain the name is under, or -1: foreign. */
  domain = -1;
  /** The name is the domain itself. */
  isApex = false;
  /** There is neither a question nor a name: a cookie is all there is (RFC 7873 5.4). */
  isNameless = false;

  hasOpt = false;
  /** As sent; RFC 6891 6.2.3 reads anything below 512 as 512. */
  udpSize = 0;
  /** Above 0 the only answer is BADVERS. */
  ednsVersion = 0;
  /** DO is EDNS_FLAG_DO. */
  ednsFlags = 0;
  /**
   * Length of the first COOKIE option's data, which is at `cookieStart`: 8 (a client's half) or 16
   * to 40; NO_COOKIE; or BAD_COOKIE, to which the answer is FORMERR (RFC 7873 5.2.2). Further ones
   * are ignored (5.2). This and what follows is valid with `hasOpt` only.
   */
  cookieLength = NO_COOKIE;
  cookieStart = 0;
  /** The server is asked for its NSID (RFC 5001). */
  wantsNsid = false;

  /**
   * Of the first MAX_TXT_RECORDS TXT records (class IN, answers and additionals) those of the
   * query's name.
   */
  txtCount = 0;
  readonly txtStart = new Int32Array(MAX_TXT_RECORDS);
  readonly txtEnd = new Int32Array(MAX_TXT_RECORDS);
  /**
   * TXT records whose owner was compared with the name: a long near miss costs as much as a hit.
   */
  #compared = 0;

  constructor(domains: DomainTable) {
    this.domains = domains;
  }

  /** Reads the query of `length` bytes at `start`; RCODE.NOERROR or RCODE.FORMERR. */
  read(bytes: Uint8Array, start: number, length: number): number {
    const rcode = this.readQuestion(bytes, start, length);
    return rcode === RCODE.NOERROR ? this.readRecords(bytes, start, length) : rcode;
  }

  /**
   * First half of `read`: the question (or the first owner name when there is none) and its domain.
   * Enough to know which key a query is about; see `questionKey`.
   */
  readQuestion(bytes: Uint8Array, start: number, length: number): number {
    this.hasOpt = false;
    this.udpSize = 0;
    this.ednsVersion = 0;
    this.ednsFlags = 0;
    this.txtCount = 0;
    this.domain = -1;
    this.keyEnd = 0;
    this.foldedEnd = 0;
    this.isApex = false;
    this.isNameless = false;
    this.qtype = 0;
    this.qclass = 0;
    this.questionEnd = start + HEADER_BYTES;
    this.qdcount = 0;
    if (length < HEADER_BYTES) return RCODE.FORMERR;
    this.id = readU16(bytes, start);
    this.flags = readU16(bytes, start + HEADER_FLAGS);
    const questions = readU16(bytes, start + HEADER_QDCOUNT);
    if (questions > 1) return RCODE.FORMERR;
    if (questions === 0) return this.#readFirstOwner(bytes, start, length);
    const nameEnd = this.name.read(bytes, start + HEADER_BYTES, start + length);
    if (nameEnd < 0 || nameEnd + 4 > start + length) return RCODE.FORMERR;
    this.qdcount = 1;
    this.qtype = readU16(bytes, nameEnd);
    this.qclass = readU16(bytes, nameEnd + 2);
    this.questionEnd = nameEnd + 4;
    this.#matchDomain();
    return RCODE.NOERROR;
  }

  /**
   * Second half of `read`: EDNS and the discovery records. Only after `readQuestion` said NOERROR.
   */
  readRecords(bytes: Uint8Array, start: number, length: number): number {
    const end = start + length;
    const answers = readU16(bytes, start + HEADER_ANCOUNT);
    const beforeAdditional = answers + readU16(bytes, start + HEADER_NSCOUNT);
    const total = beforeAdditional + readU16(bytes, start + HEADER_ARCOUNT);
    if (total > MAX_RECORDS) return RCODE.FORMERR;
    this.txtCount = 0;
    this.#compared = 0;
    let owner = this.questionEnd;
    for (let i = 0; i < total; i++) {
      const fixed = skipName(bytes, owner, start, end);
      const rdata = fixed + RECORD_FIXED_BYTES;
      if (fixed < 0 || rdata > end) return RCODE.FORMERR;
      const rdataEnd = rdata + readU16(bytes, rdata - 2);
      if (rdataEnd > end) return RCODE.FORMERR;
      const type = readU16(bytes, fixed);
      if (type === TYPE.TXT) {
        if (!areStrings(bytes, rdata, rdataEnd)) return RCODE.FORMERR;
        const acted = i < answers || i >= beforeAdditional;
        if (acted && readU16(bytes, fixed + 2) === CLASS.IN) {
          this.#rememberTxt(bytes, owner, start, end, rdata, rdataEnd);
        }
      } else if (type === TYPE.OPT) {
        if (i < beforeAdditional || bytes[owner] !== 0) return RCODE.FORMERR;
        if (!this.#readOpt(bytes, fixed, rdataEnd)) return RCODE.FORMERR;
      }
      owner = rdataEnd;
    }
    if (this.isNameless && !(this.hasOpt && this.cookieLength !== NO_COOKIE)) return RCODE.FORMERR;
    return RCODE.NOERROR;
  }

  #rememberTxt(
    bytes: Uint8Array,
    owner: number,
    start: number,
    end: number,
    rdata: number,
    rdataEnd: number,
  ): void {
    if (this.#compared === MAX_TXT_RECORDS) return;
    this.#compared++;
    const count = this.txtCount;
    if (
      this.#repeatsQuestion(bytes, owner, start, rdata) ||
      nameEquals(bytes, owner, start, end, this.folded, 0, this.foldedEnd)
    ) {
      this.txtStart[count] = rdata;
      this.txtEnd[count] = rdataEnd;
      this.txtCount = count + 1;
    }
  }

  /** Whether the owner is a pointer to the question's name, or the very same bytes. */
  #repeatsQuestion(bytes: Uint8Array, owner: number, start: number, rdata: number): boolean {
    if (this.qdcount === 0) return false;
    if (readU16(bytes, owner) === QUESTION_POINTER) return true;
    const length = this.foldedEnd + 1;
    if (rdata - owner !== length + RECORD_FIXED_BYTES) return false;
    return sameBytes(bytes, owner, start + HEADER_BYTES, length);
  }

  /*
   * OPT (RFC 6891 6.1.2) behind its root owner, `fixed` points at the type:
   *
   *   +------+----------+------------+---------+-----------+----------+---------
   *   | type | UDP size | ext. RCODE | version | DO, flags | rdlength | options
   *   | 2    | 2        | 1          | 1       | 2         | 2        |
   *   +------+----------+------------+---------+-----------+----------+---------
   */
  #readOpt(bytes: Uint8Array, fixed: number, rdataEnd: number): boolean {
    if (this.hasOpt) return false;
    this.hasOpt = true;
    this.udpSize = readU16(bytes, fixed + 2);
    this.ednsVersion = bytes[fixed + 5];
    this.ednsFlags = readU16(bytes, fixed + 6);
    this.cookieLength = NO_COOKIE;
    this.wantsNsid = false;
    // What a later version's options look like is not known here, and BADVERS must be possible.
    if (this.ednsVersion > 0) return true;
    let at = fixed + RECORD_FIXED_BYTES;
    while (at < rdataEnd) {
      const data = at + OPTION_HEAD_BYTES;
      if (data > rdataEnd) return false;
      const length = readU16(bytes, at + 2);
      if (data + length > rdataEnd) return false;
      const code = readU16(bytes, at);
      if (code === OPTION.COOKIE) this.#noteCookie(data, length);
      else if (code === OPTION.NSID) this.wantsNsid = true;
      at = data + length;
    }
    return true;
  }

  #noteCookie(start: number, length: number): void {
    if (this.cookieLength !== NO_COOKIE) return;
    const isFull = length >= MIN_FULL_COOKIE_BYTES && length <= MAX_FULL_COOKIE_BYTES;
    this.cookieStart = start;
    this.cookieLength = isFull || length === CLIENT_COOKIE_BYTES ? length : BAD_COOKIE;
  }

  /**
   * Without a question: the first owner that is not the root (an OPT's) takes its place. If there
   * is none `readRecords` decides: only a cookie makes sense without a name.
   */
  #readFirstOwner(bytes: Uint8Array, start: number, length: number): number {
    const end = start + length;
    const total =
      readU16(bytes, start + HEADER_ANCOUNT) +
      readU16(bytes, start + HEADER_NSCOUNT) +
      readU16(bytes, start + HEADER_ARCOUNT);
    if (total > MAX_RECORDS) return RCODE.FORMERR;
    let owner = start + HEADER_BYTES;
    for (let i = 0; i < total; i++) {
      const fixed = this.name.read(bytes, owner, end);
      if (fixed < 0 || fixed + RECORD_FIXED_BYTES > end) return RCODE.FORMERR;
      if (this.name.labelCount > 0) {
        this.#matchDomain();
        return RCODE.NOERROR;
      }
      owner = fixed + RECORD_FIXED_BYTES + readU16(bytes, fixed + 8);
    }
    if (total === 0) return RCODE.FORMERR;
    this.isNameless = true;
    return RCODE.NOERROR;
  }

  #matchDomain(): void {
    const name = this.name;
    this.foldedEnd = name.end;
    this.domain = this.domains.match(name);
    this.keyEnd = name.keyEnd;
    this.isApex = this.domain >= 0 && name.keyEnd === 0;
  }
}

/**
 * For dispatch: the end of the query's key in `reader.folded` (it starts at 0), or 0 when the query
 * is keyless: a domain's apex, a foreign name, or malformed. `reader.domain` tells keys of two
 * domains apart.
 */
export function questionKey(
  reader: QueryReader,
  bytes: Uint8Array,
  start: number,
  length: number,
): number {
  return reader.readQuestion(bytes, start, length) === RCODE.NOERROR ? reader.keyEnd : 0;
}

/** Whether [at, end) is one or more character-strings that fill it exactly (RFC 1035 3.3.14). */
function areStrings(bytes: Uint8Array, from: number, end: number): boolean {
  if (from === end) return false;
  let at = from;
  while (at < end) at += 1 + bytes[at];
  return at === end;
}
