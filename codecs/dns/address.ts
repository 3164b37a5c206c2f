/** Text of addresses and numbers, written as bytes: host=, port= and the targets of SRV records. */
import { isMapped, MAPPED_AT } from '../mapped-address.ts';

const COLON = 0x3a;
const DOT = 0x2e;
const ZERO = 0x30;

/** Writes `value` (0 to 65535) in decimal; returns the offset behind it. */
export function writeDecimal(target: Uint8Array, at: number, value: number): number {
  let out = at;
  if (value >= 10_000) target[out++] = ZERO + (((value / 10_000) | 0) % 10);
  if (value >= 1000) target[out++] = ZERO + (((value / 1000) | 0) % 10);
  if (value >= 100) target[out++] = ZERO + (((value / 100) | 0) % 10);
  if (value >= 10) target[out++] = ZERO + (((value / 10) | 0) % 10);
  target[out++] = ZERO + (value % 10);
  return out;
}

/**
 * Writes the dotted text of the 4 bytes at source[from]: at most 15 bytes. Returns the offset
 * behind it.
 */
export function writeIp4(target: Uint8Array, at: number, source: Uint8Array, from: number): number {
  let out = writeDecimal(target, at, source[from]);
  for (let i = 1; i < 4; i++) {
    target[out++] = DOT;
    out = writeDecimal(target, out, source[from + i]);
  }
  return out;
}

/**
 * Writes the RFC 5952 text of the 16 bytes at source[from]: lower case, no leading zeros, the first
 * longest run of at least two zero groups as `::`. Returns the offset behind it.
 */
export function writeIp6(target: Uint8Array, at: number, source: Uint8Array, from: number): number {
  let runStart = -1;
  let runLength = 1;
  for (let group = 0; group < 8; group++) {
    let end = group;
    while (end < 8 && (source[from + 2 * end] | source[from + 2 * end + 1]) === 0) end++;
    if (end - group > runLength) {
      runStart = group;
      runLength = end - group;
    }
    if (end > group) group = end;
  }
  let out = at;
  for (let group = 0; group < 8; group++) {
    if (group === runStart) {
      target[out++] = COLON;
      if (group === 0) target[out++] = COLON;
      group += runLength - 1;
      continue;
    }
    out = writeHex(target, out, (source[from + 2 * group] << 8) | source[from + 2 * group + 1]);
    if (group < 7) target[out++] = COLON;
  }
  return out;
}

/** Writes the text of a 16-byte address, v4-mapped ones dotted. Returns the offset behind it. */
export function writeAddress(
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  from: number,
): number {
  if (isMapped(source, from)) return writeIp4(target, at, source, from + MAPPED_AT);
  return writeIp6(target, at, source, from);
}

/**
 * Writes the address as a name, the root included, as the original's encoder makes one of the text:
 * IPv4 as four labels (`127`, `0`, `0`, `1`), IPv6 as a single label of its text. `size` is 4 or 16
 * bytes. At most 41 bytes. Returns the offset behind it.
 */
export function writeAddressName(
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  from: number,
  size: number,
): number {
  let out = at;
  if (size === 4) {
    for (let i = 0; i < 4; i++) {
      const end = writeDecimal(target, out + 1, source[from + i]);
      target[out] = end - out - 1;
      out = end;
    }
  } else {
    out = writeIp6(target, at + 1, source, from);
    target[at] = out - at - 1;
  }
  target[out] = 0;
  return out + 1;
}

function writeHex(target: Uint8Array, at: number, value: number): number {
  let out = at;
  if (value >= 0x1000) target[out++] = hexDigit(value >> 12);
  if (value >= 0x100) target[out++] = hexDigit((value >> 8) & 15);
  if (value >= 0x10) target[out++] = hexDigit((value >> 4) & 15);
  target[out++] = hexDigit(value & 15);
  return out;
}

function hexDigit(value: number): number {
  return value < 10 ? ZERO + value : 0x57 + value;
}
