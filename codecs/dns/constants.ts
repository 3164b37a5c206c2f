/** Numbers of the DNS wire format, and the bounds this server puts on what it reads. */

/** Resource record types (RFC 1035 3.2.2 and 3.3.2, 3596, 2782, 6891). */
export const TYPE = {
  A: 1,
  NS: 2,
  SOA: 6,
  HINFO: 13,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  ANY: 255,
} as const;

/** Classes (RFC 1035 3.2.4); ANY is a query class only. */
export const CLASS = { IN: 1, ANY: 255 } as const;

/**
 * Response codes (RFC 1035 4.1.1); BADVERS and BADCOOKIE (RFC 7873 8) need the OPT record's upper
 * bits (RFC 6891 6.1.3).
 */
export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
  BADCOOKIE: 23,
} as const;

/*
 * The header (RFC 1035 4.1.1), offsets in bytes:
 *
 *    0        2              4         6         8         10        12
 *   +--------+--------------+---------+---------+---------+---------+----------
 *   | ID     | flags        | QDCOUNT | ANCOUNT | NSCOUNT | ARCOUNT | question
 *   +--------+--------------+---------+---------+---------+---------+----------
 *             QR Opcode AA TC RD | RA Z AD CD RCODE
 */
export const HEADER_BYTES = 12;
export const HEADER_FLAGS = 2;
export const HEADER_QDCOUNT = 4;
export const HEADER_ANCOUNT = 6;
export const HEADER_NSCOUNT = 8;
export const HEADER_ARCOUNT = 10;

export const FLAG_QR = 0x8000;
export const FLAG_AA = 0x0400;
export const FLAG_TC = 0x0200;
export const FLAG_RD = 0x0100;
export const FLAG_CD = 0x0010;

/** Root name, type and class: nothing shorter is a question. */
export const MIN_QUESTION_BYTES = 5;
/** Type, class, ttl and rdlength: a record after its owner name. */
export const RECORD_FIXED_BYTES = 10;
/** Root name and the fixed part: nothing shorter is a record. */
export const MIN_RECORD_BYTES = 1 + RECORD_FIXED_BYTES;

/** A whole name with its length bytes and the root's (RFC 1035 2.3.4). */
export const MAX_NAME_BYTES = 255;
/** Labels of one byte each that fit in a name. */
export const MAX_LABELS = 127;
/** One label (RFC 1035 2.3.4): what this code writes for names given as text. */
export const MAX_LABEL_BYTES = 63;
/**
 * One label on the discovery port. Old clients send a 32-byte id as 64 hex characters behind the
 * length byte 0x40, which RFC 1035 reserves; nothing else is sent there. 0x41 to 0xbf stay errors.
 */
export const DISCOVERY_MAX_LABEL_BYTES = 64;
/**
 * Answer, authority and additional records of one query. A client of this protocol sends one TXT;
 * with an OPT, a TSIG and a few announces to spare. It bounds the work one datagram can ask for.
 */
export const MAX_RECORDS = 16;
/** TXT records of one query that are looked at: clients send one, each may cost a token check. */
export const MAX_TXT_RECORDS = 4;
/**
 * Strings of one TXT record that are looked at: clients send four at most, a datagram holds 2,000
 * empty ones.
 */
export const MAX_TXT_STRINGS = 32;
/**
 * Compression pointers followed in one name: an encoder needs 1 or 2, an attacker would like
 * hundreds.
 */
export const MAX_POINTER_HOPS = 8;

/** Rdlength has 16 bits. */
export const MAX_RDATA_BYTES = 65_535;

/** What a UDP answer may have without EDNS (RFC 1035 4.2.1). */
export const CLASSIC_UDP_BYTES = 512;
/**
 * The EDNS size this server announces and never exceeds: fits IPv6's minimum MTU (DNS flag day
 * 2020).
 */
export const EDNS_UDP_BYTES = 1232;
/** An OPT record without options (RFC 6891 6.1.2). */
export const OPT_BYTES = 11;
export const EDNS_FLAG_DO = 0x8000;

/** EDNS options (RFC 5001, RFC 7873). */
export const OPTION = { NSID: 3, COOKIE: 10 } as const;
/** Code and length before an option's data (RFC 6891 6.1.2). */
export const OPTION_HEAD_BYTES = 4;
/** The half of a cookie that the client chooses (RFC 7873 4). */
export const CLIENT_COOKIE_BYTES = 8;
/** The half that we choose, of RFC 9018's one size; others' may have 8 to 32 bytes. */
export const SERVER_COOKIE_BYTES = 16;
/** Both halves: the data of a COOKIE option of ours. */
export const COOKIE_BYTES = CLIENT_COOKIE_BYTES + SERVER_COOKIE_BYTES;
/** A COOKIE option has 8 bytes, or 16 to 40; else it is malformed (RFC 7873 5.2.2). */
export const MIN_FULL_COOKIE_BYTES = 16;
export const MAX_FULL_COOKIE_BYTES = 40;
/** A server's name for itself: short enough to leave the answer its room in 512 bytes. */
export const MAX_NSID_BYTES = 128;

/** Bytes of the base64 text of a 32-byte token. */
export const TOKEN_TEXT_BYTES = 44;
/** 4 bytes IPv4 and 2 bytes port, big endian: what `peers=` carries. */
export const PEER4_BYTES = 6;
/** 16 bytes IPv6 and 2 bytes port, big endian: what `peers6=` carries. */
export const PEER6_BYTES = 18;
/**
 * The most peers in a UDP answer to who speaks EDNS: four full strings of IPv4, or of IPv6. A name
 * with more has a random choice of them told; over TCP all.
 */
export const EDNS_PEERS4 = 124;
export const EDNS_PEERS6 = 40;
/** 6 + 31 * 8 base64 characters = 254: one more does not fit in a character-string. */
export const PEERS4_PER_STRING = 31;
/** 7 + 10 * 24 base64 characters = 247: one more does not fit in a character-string. */
export const PEERS6_PER_STRING = 10;
