import { writeAddress, writeAddressName, writeDecimal } from './address.ts';
import {
  CLASSIC_UDP_BYTES,
  EDNS_FLAG_DO,
  EDNS_UDP_BYTES,
  FLAG_AA,
  FLAG_CD,
  FLAG_QR,
  FLAG_RD,
  FLAG_TC,
  HEADER_ANCOUNT,
  HEADER_ARCOUNT,
  HEADER_BYTES,
  HEADER_FLAGS,
  HEADER_NSCOUNT,
  HEADER_QDCOUNT,
  MAX_RDATA_BYTES,
  OPT_BYTES,
  PEERS4_PER_STRING,
  RCODE,
  RECORD_FIXED_BYTES,
  TYPE,
} from './constants.ts';
import { ReplyOptions } from './edns.ts';
import type { QueryReader } from './query.ts';
import {
  fitPeers4,
  fitPeers6,
  HOST_KEY,
  PORT_KEY,
  peers4Bytes,
  peers6Bytes,
  TOKEN_STRING_BYTES,
  writeKey,
  writePeers4,
  writePeers6,
  writeToken,
} from './txt-strings.ts';
import {
  copyBytes,
  MessageViews,
  readU16,
  SRV_FIXED_BYTES,
  writeFixed,
  writeSrvFixed,
  writeU16,
} from './wire.ts';
import { encodeZone, type RecordTemplate, type ZoneOptions, type ZoneRecords } from './zone.ts';

/** The longest name made of an address, and of `host=` with its text. */
const TEXT_SCRATCH_BYTES = 64;
/** Pointers have 14 bits. */
const MAX_POINTER = 0x3fff;
/** The answer to ANY (RFC 8482 4.2): CPU `RFC8482`, no OS. */
const MINIMAL_HINFO = Uint8Array.from('\x07RFC8482\0', (byte) => byte.charCodeAt(0));

/**
 * Writes the answer IN PLACE over the query: header and question stay, answers go where the query's
 * records were. Whatever is still needed of those (the token, announced ports) must have been read
 * before `begin`.
 *
 *   start                      questionEnd                              start + limit
 *   +--------+----------------+-----------------------------+-----------+
 *   | header | question       | answers, authority ->       | OPT       |
 *   +--------+----------------+-----------------------------+-----------+
 *                                                   room for it is kept back when the query had one
 *
 *   options...; begin(...); txtPeers(...) | srv4(...)* | soaAuthority(); length = finish(rcode, aa)
 *
 * Every writer returns false, with nothing written, when its record does not fit. TC is set only
 * when not even the first answer fits: peers are a random choice of ours, so a smaller choice is a
 * whole RRset and not a cut one (RFC 2181 9), and a TC for every crowded name would send all its
 * resolvers to TCP. Whoever wants more than fits asks over TCP. Authority records are left out
 * silently. Answers before authority.
 */
export class ReplyWriter {
  /** What the OPT will carry when the query has one: fill it before `begin`. */
  readonly options = new ReplyOptions();
  readonly #zones: readonly ZoneRecords[];
  readonly #text = new Uint8Array(TEXT_SCRATCH_BYTES);
  readonly #views = new MessageViews();
  #bytes: Uint8Array = this.#text;
  /** Of the same memory as #bytes. */
  #view: DataView = this.#views.of(this.#text);
  #query: QueryReader;
  #start = 0;
  /** Where the next record goes. */
  #at = 0;
  /** Records must end here: the limit less the OPT's room. */
  #end = 0;
  #limitEnd = 0;
  /** Offset of the domain's name in the message, 0 while it is not there. */
  #apex = 0;
  #qdcount = 0;
  #ancount = 0;
  #nscount = 0;
  #truncated = false;
  #isShort = false;
  /** How many bytes of `options` the OPT has room for. */
  #optionBytes = 0;

  /**
   * `reader` is the one whose queries are answered: its domains' records are encoded here, once.
   */
  constructor(reader: QueryReader, zone: ZoneOptions = {}) {
    this.#query = reader;
    this.#zones = reader.domains.names.map((name) => encodeZone(name, zone));
  }

  /** Answers written so far. */
  get answers(): number {
    return this.#ancount;
  }

  /** Whether anything given to the writers since `begin` was left out for lack of room. */
  get isShort(): boolean {
    return this.#isShort;
  }

  /**
   * Starts the answer to `query`, just read from bytes[start..). At most `limit` bytes are written,
   * header and OPT included; see `udpReplyLimit`. When the question does not fit either, the answer
   * is a truncated header.
   */
  begin(bytes: Uint8Array, start: number, query: QueryReader, limit: number): void {
    this.#bytes = bytes;
    this.#view = this.#views.of(bytes);
    this.#query = query;
    this.#start = start;
    this.#limitEnd = start + limit;
    this.#end = this.#limitEnd;
    this.#optionBytes = 0;
    if (query.hasOpt) {
      this.#end -= OPT_BYTES;
      this.#optionBytes = this.options.fit(this.#end - query.questionEnd);
      this.#end -= this.#optionBytes;
    }
    this.#ancount = 0;
    this.#nscount = 0;
    this.#qdcount = query.qdcount;
    this.#at = query.questionEnd;
    this.#truncated = false;
    this.#isShort = false;
    this.#apex = 0;
    if (this.#at > this.#end) {
      this.#qdcount = 0;
      this.#at = start + HEADER_BYTES;
      this.truncate();
    } else if (query.qdcount === 1 && query.domain >= 0 && query.keyEnd < query.foldedEnd) {
      this.#apex = HEADER_BYTES + query.keyEnd;
    }
  }

  /**
   * The probe's TXT: token=, host=, port= of the asker. `token` are 44 bytes at `tokenOffset`, the
   * address 16 bytes at `addressOffset` (v4-mapped is written dotted: the original's client wants
   * that).
   */
  txtProbe(
    ttl: number,
    token: Uint8Array,
    tokenOffset: number,
    address: Uint8Array,
    addressOffset: number,
    port: number,
  ): boolean {
    const text = this.#text;
    const hostBytes = writeAddress(text, 0, address, addressOffset);
    const portBytes = writeDecimal(text, hostBytes, port) - hostBytes;
    const hostString = 1 + HOST_KEY.length + hostBytes;
    const portString = 1 + PORT_KEY.length + portBytes;
    const rdlength = TOKEN_STRING_BYTES + hostString + portString;
    if (!this.#answer(TYPE.TXT, ttl, rdlength)) return false;
    const bytes = this.#bytes;
    let at = writeToken(bytes, this.#at, token, tokenOffset);
    at = writeKey(bytes, at, hostBytes, HOST_KEY);
    at = copyBytes(bytes, at, text, 0, hostBytes);
    at = writeKey(bytes, at, portBytes, PORT_KEY);
    this.#at = copyBytes(bytes, at, text, hostBytes, portBytes);
    return true;
  }

  /**
   * A lookup's TXT: token=, then peers6= strings, then peers= strings, the remainder first and full
   * ones last (the original's client keeps the last one only). `pairs4` holds count4 pairs of
   * numbers (see writePeers4), `peers6` count6 records of 18 bytes, each list in the order of
   * preference: what does not fit is left off its end. The first 31 of pairs4 have priority, then
   * peers6, then the rest; over plain DNS of 512 bytes it stays at the 31.
   */
  txtPeers(
    ttl: number,
    token: Uint8Array,
    tokenOffset: number,
    pairs4: Int32Array,
    count4: number,
    peers6: Uint8Array,
    count6: number,
  ): boolean {
    const room = Math.min(this.#end - this.#at - 2 - RECORD_FIXED_BYTES, MAX_RDATA_BYTES);
    const free = room - TOKEN_STRING_BYTES;
    const preferred = fitPeers4(free, Math.min(count4, PEERS4_PER_STRING));
    const fitting6 = fitPeers6(free - peers4Bytes(preferred), count6);
    const bytes6 = peers6Bytes(fitting6);
    const isClassic = !this.#query.hasOpt && this.#limitEnd - this.#start <= CLASSIC_UDP_BYTES;
    const fitting4 = isClassic ? preferred : fitPeers4(free - bytes6, count4);
    const rdlength = TOKEN_STRING_BYTES + bytes6 + peers4Bytes(fitting4);
    if (fitting4 < count4 || fitting6 < count6) this.#isShort = true;
    if (!this.#answer(TYPE.TXT, ttl, rdlength)) return false;
    const bytes = this.#bytes;
    let at = writeToken(bytes, this.#at, token, tokenOffset);
    at = writePeers6(bytes, at, peers6, fitting6);
    this.#at = writePeers4(bytes, this.#view, at, pairs4, fitting4);
    return true;
  }

  /** An A record of the 4 bytes at address[offset]: a record of 6 bytes as for txtPeers will do. */
  a(ttl: number, address: Uint8Array, offset: number): boolean {
    if (!this.#answer(TYPE.A, ttl, 4)) return false;
    this.#at = copyBytes(this.#bytes, this.#at, address, offset, 4);
    return true;
  }

  /** An AAAA record of the 16 bytes at address[offset]. */
  aaaa(ttl: number, address: Uint8Array, offset: number): boolean {
    if (!this.#answer(TYPE.AAAA, ttl, 16)) return false;
    this.#at = copyBytes(this.#bytes, this.#at, address, offset, 16);
    return true;
  }

  /** An SRV record for the 6-byte peer record at peers[offset]: port and the address as a name. */
  srv4(ttl: number, peers: Uint8Array, offset: number): boolean {
    return this.#srv(ttl, peers, offset, 4);
  }

  /** An SRV record for the 18-byte peer record at peers[offset]. */
  srv6(ttl: number, peers: Uint8Array, offset: number): boolean {
    return this.#srv(ttl, peers, offset, 16);
  }

  /** The one HINFO record that answers a query for ANY (RFC 8482 4.2). */
  hinfo(ttl: number): boolean {
    if (!this.#answer(TYPE.HINFO, ttl, MINIMAL_HINFO.length)) return false;
    this.#at = copyBytes(this.#bytes, this.#at, MINIMAL_HINFO, 0, MINIMAL_HINFO.length);
    return true;
  }

  /** Sets TC: instead of the answer, for whoever is to ask again over TCP. */
  truncate(): void {
    this.#isShort = true;
    this.#truncated = true;
  }

  /** The SOA of the query's domain, as an answer. */
  soaAnswer(): boolean {
    const zone = this.#zones[this.#query.domain];
    return zone !== undefined && this.#zoneAnswer(zone.soa);
  }

  /** The NS of the query's domain, as an answer. */
  nsAnswer(): boolean {
    const zone = this.#zones[this.#query.domain];
    return zone !== undefined && this.#zoneAnswer(zone.ns);
  }

  /** The SOA of a negative answer (RFC 2308), when it fits. */
  soaAuthority(): boolean {
    const zone = this.#zones[this.#query.domain];
    if (zone === undefined || this.#qdcount === 0) return false;
    if (!this.#zoneRecord(zone.negativeSoa)) return false;
    this.#nscount++;
    return true;
  }

  /**
   * Completes the answer and returns its length. The header gets QR, AA as given, TC as it came
   * about, RD and CD as asked, the rest clear (as BIND and NSD do). A query with OPT gets ours: our
   * size, version 0, DO as asked (RFC 3225), the upper bits of `rcode`, `options`.
   */
  finish(rcode: number, aa: boolean): number {
    const bytes = this.#bytes;
    const start = this.#start;
    if (this.#limitEnd - start < HEADER_BYTES) return 0;
    const query = this.#query;
    const optBytes = OPT_BYTES + this.#optionBytes;
    const hasOpt = query.hasOpt && this.#at + optBytes <= this.#limitEnd;
    if (hasOpt) this.#writeOpt(rcode >> 4, query.ednsFlags & EDNS_FLAG_DO);
    const low = hasOpt || rcode < 16 ? rcode & 15 : RCODE.SERVFAIL;
    let flags = FLAG_QR | (query.flags & (FLAG_RD | FLAG_CD)) | low;
    if (aa) flags |= FLAG_AA;
    if (this.#truncated) flags |= FLAG_TC;
    writeU16(bytes, start + HEADER_FLAGS, flags);
    writeU16(bytes, start + HEADER_QDCOUNT, this.#qdcount);
    writeU16(bytes, start + HEADER_ANCOUNT, this.#ancount);
    writeU16(bytes, start + HEADER_NSCOUNT, this.#nscount);
    writeU16(bytes, start + HEADER_ARCOUNT, hasOpt ? 1 : 0);
    return this.#at - start;
  }

  /** Writes owner and fixed part of an answer if all of it fits, and moves to its rdata. */
  #answer(type: number, ttl: number, rdlength: number): boolean {
    const at = this.#at;
    if (this.#qdcount === 0 || this.#nscount > 0) return false;
    if (at + 2 + RECORD_FIXED_BYTES + rdlength > this.#end) {
      this.#leaveOut();
      return false;
    }
    const bytes = this.#bytes;
    bytes[at] = 0xc0;
    bytes[at + 1] = HEADER_BYTES;
    writeFixed(bytes, at + 2, type, ttl, rdlength);
    this.#at = at + 2 + RECORD_FIXED_BYTES;
    this.#ancount++;
    return true;
  }

  #srv(ttl: number, peers: Uint8Array, offset: number, size: number): boolean {
    const text = this.#text;
    const targetBytes = writeAddressName(text, 0, peers, offset, size);
    if (!this.#answer(TYPE.SRV, ttl, SRV_FIXED_BYTES + targetBytes)) return false;
    const at = writeSrvFixed(this.#bytes, this.#at, readU16(peers, offset + size));
    this.#at = copyBytes(this.#bytes, at, text, 0, targetBytes);
    return true;
  }

  #zoneAnswer(record: RecordTemplate): boolean {
    if (this.#qdcount === 0 || this.#nscount > 0) return false;
    if (!this.#zoneRecord(record)) {
      this.#leaveOut();
      return false;
    }
    this.#ancount++;
    return true;
  }

  /** An answer did not fit. */
  #leaveOut(): void {
    this.#isShort = true;
    if (this.#ancount === 0) this.#truncated = true;
  }

  /**
   * The owner is a pointer to where the question's name becomes the domain, else the name written
   * out.
   */
  #zoneRecord(record: RecordTemplate): boolean {
    const bytes = this.#bytes;
    const wire = this.#query.domains.wires[this.#query.domain];
    let at = this.#at;
    const owner = this.#apex > 0 ? 2 : wire.length;
    if (at + owner + record.bytes.length > this.#end) return false;
    if (this.#apex > 0) {
      writeU16(bytes, at, 0xc000 | this.#apex);
      at += 2;
    } else {
      if (at - this.#start > MAX_POINTER) return false;
      this.#apex = at - this.#start;
      at = copyBytes(bytes, at, wire, 0, wire.length);
    }
    const pointers = record.pointers;
    for (let i = 0; i < pointers.length; i++) {
      writeU16(record.bytes, pointers[i], 0xc000 | this.#apex);
    }
    this.#at = copyBytes(bytes, at, record.bytes, 0, record.bytes.length);
    return true;
  }

  #writeOpt(extendedRcode: number, ednsFlags: number): void {
    const bytes = this.#bytes;
    const at = this.#at;
    bytes[at] = 0;
    writeU16(bytes, at + 1, TYPE.OPT);
    writeU16(bytes, at + 3, EDNS_UDP_BYTES);
    bytes[at + 5] = extendedRcode;
    bytes[at + 6] = 0;
    writeU16(bytes, at + 7, ednsFlags);
    writeU16(bytes, at + 9, this.#optionBytes);
    this.#at = copyBytes(bytes, at + OPT_BYTES, this.options.bytes, 0, this.#optionBytes);
  }
}

/**
 * Turns the message at `start` (at least 12 bytes) into the answer to something that was not
 * decoded: the header alone, with id, opcode and RD as they came. Returns its length.
 */
export function errorHeader(bytes: Uint8Array, start: number, rcode: number): number {
  bytes[start + HEADER_FLAGS] = (bytes[start + HEADER_FLAGS] & 0x79) | 0x80;
  bytes[start + HEADER_FLAGS + 1] = rcode;
  for (let i = HEADER_QDCOUNT; i < HEADER_BYTES; i++) bytes[start + i] = 0;
  return HEADER_BYTES;
}

/**
 * The most bytes a UDP answer to `query` may have: 512 without EDNS, else what it asks for up to
 * 1232.
 */
export function udpReplyLimit(query: QueryReader): number {
  if (!query.hasOpt) return CLASSIC_UDP_BYTES;
  return Math.min(Math.max(query.udpSize, CLASSIC_UDP_BYTES), EDNS_UDP_BYTES);
}
