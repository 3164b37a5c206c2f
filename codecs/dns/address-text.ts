/** Addresses from text and into text, for clients: what servers tell is checked here. */
import { writeAddress } from './address.ts';
import { writeU16 } from './wire.ts';

/** The longest text of an address: an IPv6 one that ends in a dotted IPv4 one. */
export const MAX_ADDRESS_TEXT_BYTES = 45;
const ADDRESS_BYTES = 16;
/** An IPv4 address is the last four of the 16 bytes. */
const MAPPED_BYTES = 12;
const MAX_GROUP_DIGITS = 4;
const COLON = 0x3a;
const DOT = 0x2e;

const address = new Uint8Array(ADDRESS_BYTES);
const text = new Uint8Array(MAX_ADDRESS_TEXT_BYTES);

/**
 * The text of the 16 bytes at bytes[offset]: v4-mapped ones dotted, others as RFC 5952 writes them.
 */
export function addressText(bytes: Uint8Array, offset: number): string {
  return asciiText(text, 0, writeAddress(text, 0, bytes, offset));
}

/** bytes[from..to) as characters: for ASCII. */
export function asciiText(bytes: Uint8Array, from: number, to: number): string {
  let out = '';
  for (let at = from; at < to; at++) out += String.fromCharCode(bytes[at]);
  return out;
}

/**
 * The one form (see `addressText`) of the address that bytes[from..end) are the text of, or null
 * for what is none: IPv4 is four decimal numbers without leading zeros, IPv6 as in RFC 4291 2.2,
 * without a zone.
 */
export function canonicalAddress(bytes: Uint8Array, from: number, end: number): string | null {
  if (end - from > MAX_ADDRESS_TEXT_BYTES) return null;
  if (parseIp4(bytes, from, end, MAPPED_BYTES)) {
    address.fill(0, 0, MAPPED_BYTES - 2).fill(0xff, MAPPED_BYTES - 2, MAPPED_BYTES);
  } else if (!parseIp6(bytes, from, end)) {
    return null;
  }
  return addressText(address, 0);
}

/** Into address[at..at + 4). */
function parseIp4(bytes: Uint8Array, from: number, end: number, at: number): boolean {
  let parts = 0;
  let value = -1;
  for (let i = from; i <= end; i++) {
    if (i === end || bytes[i] === DOT) {
      if (value < 0 || parts === 4) return false;
      address[at + parts++] = value;
      value = -1;
    } else {
      const digit = bytes[i] - 0x30;
      if (digit < 0 || digit > 9 || value === 0) return false;
      value = value < 0 ? digit : value * 10 + digit;
      if (value > 0xff) return false;
    }
  }
  return parts === 4;
}

/** Into `address`: groups as they come, then those behind `::` are moved to the end. */
function parseIp6(bytes: Uint8Array, from: number, end: number): boolean {
  let at = from;
  let used = 0;
  let gap = -1;
  if (startsWithColons(bytes, from, end)) {
    gap = 0;
    at += 2;
  }
  while (at < end) {
    const stop = groupEnd(bytes, at, end);
    if (stop < end && bytes[stop] === DOT) {
      if (used > MAPPED_BYTES || !parseIp4(bytes, at, end, used)) return false;
      used += 4;
      break;
    }
    if (used === ADDRESS_BYTES || stop === at || stop > at + MAX_GROUP_DIGITS) return false;
    writeU16(address, used, hexNumber(bytes, at, stop));
    used += 2;
    if (stop === end) break;
    at = stop + 1;
    if (bytes[stop] !== COLON || at === end) return false;
    if (bytes[at] === COLON) {
      if (gap >= 0) return false;
      gap = used;
      at++;
    }
  }
  if (gap < 0 || used === ADDRESS_BYTES) return gap < 0 && used === ADDRESS_BYTES;
  const moved = ADDRESS_BYTES - (used - gap);
  address.copyWithin(moved, gap, used).fill(0, gap, moved);
  return true;
}

function startsWithColons(bytes: Uint8Array, from: number, end: number): boolean {
  return end - from >= 2 && bytes[from] === COLON && bytes[from + 1] === COLON;
}

/** Behind the hexadecimal digits at `from`. */
function groupEnd(bytes: Uint8Array, from: number, end: number): number {
  let at = from;
  while (at < end && hexDigit(bytes[at]) >= 0) at++;
  return at;
}

function hexNumber(bytes: Uint8Array, from: number, end: number): number {
  let value = 0;
  for (let at = from; at < end; at++) value = value * 16 + hexDigit(bytes[at]);
  return value;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = (byte | 0x20) - 0x61;
  return letter >= 0 && letter <= 5 ? letter + 10 : -1;
}
