/**
 * The character-strings of a server's TXT answer, read from bytes that a stranger has sent; their
 * writer is txt-strings.ts.
 */
import { decodeBase64, isBase64Digits } from '../base64-decode.ts';
import { addressText } from './address-text.ts';
import { PEER4_BYTES, PEER6_BYTES } from './constants.ts';
import { readU16 } from './wire.ts';

/** Where somebody can be reached. */
export interface PeerAddress {
  readonly port: number;
  /** The text of an IPv4 or IPv6 address. */
  readonly host: string;
}

export const TOKEN_KEY = ascii('token=');
export const PEERS4_KEY = ascii('peers=');
export const PEERS6_KEY = ascii('peers6=');

/** The original names 100 peers at most. */
const MAX_OVERLONG_PEERS = 100;
const PEER4_TEXT_BYTES = (PEER4_BYTES / 3) * 4;
const MAX_OVERLONG_BYTES = PEERS4_KEY.length + MAX_OVERLONG_PEERS * PEER4_TEXT_BYTES;

/** An IPv4 address as 16 bytes, v4-mapped. */
const MAPPED_BYTES = 12;
const address = new Uint8Array(16).fill(0xff, MAPPED_BYTES - 2, MAPPED_BYTES);
/** What one string of peers decodes to: an overlong one has the most. */
const decoded = new Uint8Array(MAX_OVERLONG_PEERS * PEER4_BYTES);

/**
 * The offset behind the character-string at `at` of the rdata that ends at `end`, or -1 when it
 * runs over that.
 *
 * The original server writes more than 31 peers into one string, whose length byte is then too
 * small by 256 or more, and its own client fails at that. Such a string is told by being the rest
 * of the rdata, `peers=` and base64 to the end, and is read to there:
 *
 *   | 50 token=... | n mod 256 | peers=AAAA...AAAA (n bytes, 256 to 806) |
 */
export function stringEnd(bytes: Uint8Array, at: number, end: number): number {
  const next = at + 1 + bytes[at];
  if (isOverlong(bytes, at, end)) return end;
  return next > end ? -1 : next;
}

function isOverlong(bytes: Uint8Array, at: number, end: number): boolean {
  const length = end - at - 1;
  if (length <= 0xff || length > MAX_OVERLONG_BYTES || (length & 0xff) !== bytes[at]) return false;
  const value = valueStart(bytes, at + 1, end, PEERS4_KEY);
  return value > 0 && isBase64Digits(bytes, value, end);
}

/** Whether bytes[from..end) is one or more character-strings that fill it (RFC 1035 3.3.14). */
export function areStrings(bytes: Uint8Array, from: number, end: number): boolean {
  let at = from;
  while (at >= 0 && at < end) at = stringEnd(bytes, at, end);
  return from < end && at === end;
}

/** Where the value of the string bytes[from..end) begins when its key is `key`, else -1. */
export function valueStart(bytes: Uint8Array, from: number, end: number, key: Uint8Array): number {
  const value = from + key.length;
  if (value > end) return -1;
  for (let i = 0; i < key.length; i++) if (bytes[from + i] !== key[i]) return -1;
  return value;
}

/**
 * Adds the peers that the base64 of 6-byte records (IPv4) at bytes[from..end) names; none when it
 * is no base64. As the original does, bytes behind the last whole record are ignored. Peers with
 * port 0 cannot be reached and are left out.
 */
export function addPeers4(
  peers: PeerAddress[],
  bytes: Uint8Array,
  from: number,
  end: number,
): void {
  const count = decodeBase64(bytes, from, end, decoded);
  for (let at = 0; at + PEER4_BYTES <= count; at += PEER4_BYTES) {
    const port = readU16(decoded, at + 4);
    if (port === 0) continue;
    for (let i = 0; i < 4; i++) address[MAPPED_BYTES + i] = decoded[at + i];
    peers.push({ port, host: addressText(address, 0) });
  }
}

/** As `addPeers4`, of 18-byte records (IPv6). */
export function addPeers6(
  peers: PeerAddress[],
  bytes: Uint8Array,
  from: number,
  end: number,
): void {
  const count = decodeBase64(bytes, from, end, decoded);
  for (let at = 0; at + PEER6_BYTES <= count; at += PEER6_BYTES) {
    const port = readU16(decoded, at + 16);
    if (port !== 0) peers.push({ port, host: addressText(decoded, at) });
  }
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
