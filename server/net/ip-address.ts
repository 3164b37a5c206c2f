/**
 * IP addresses between text and the 16 bytes a slot holds (IPv4 as v4-mapped ::ffff:a.b.c.d).
 *
 *   IPv4  | 0 x 10 | ff ff | a b c d |
 *   IPv6  | 16 bytes, network order   |
 */

import { isIPv4, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { isMapped } from '../../codecs/mapped-address.ts';

/** Bytes of an address in a slot. */
export const ADDRESS_BYTES = 16;

/**
 * Writes an IPv4 or IPv6 address as 16 bytes at `offset` and returns its family. A v4-mapped IPv6
 * address (::ffff:1.2.3.4) is IPv4. A scope (`%eth0`) is allowed and not written: see `scopeIndex`.
 * Throws a TypeError for anything else.
 */
export function writeAddress(text: string, bytes: Uint8Array, offset: number): 4 | 6 {
  if (isIPv4(text)) {
    bytes.fill(0, offset, offset + 10);
    bytes[offset + 10] = 0xff;
    bytes[offset + 11] = 0xff;
    writeDotted(text, 0, bytes, offset + 12);
    return 4;
  }
  if (!isIPv6(text)) {
    throw new TypeError(`'${text}' is not an IP address: expected IPv4 (192.0.2.1) or IPv6 (::1)`);
  }
  writeGroups(text, bytes, offset);
  return isMapped(bytes, offset) ? 4 : 6;
}

/**
 * The text of the 16 bytes at `offset`: dotted for IPv4 (v4-mapped), else RFC 5952 (lower case, no
 * leading zeros, the longest run of two or more zero groups, the first of equals, as `::`).
 */
export function formatAddress(bytes: Uint8Array, offset: number): string {
  if (isMapped(bytes, offset)) {
    const at = offset + 12;
    return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
  }
  let runStart = -1;
  let runLength = 1;
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && group(bytes, offset, end) === 0) end++;
    if (end - start > runLength) {
      runStart = start;
      runLength = end - start;
    }
  }
  let text = '';
  for (let i = 0; i < 8; i++) {
    if (i === runStart) {
      text += '::';
      i += runLength - 1;
    } else {
      if (text !== '' && !text.endsWith(':')) text += ':';
      text += group(bytes, offset, i).toString(16);
    }
  }
  return text;
}

/** Whether the 16 bytes at `offset` are all zero: the unknown or the IPv6 wildcard address. */
export function isZeroAddress(bytes: Uint8Array, offset: number): boolean {
  for (let i = 0; i < ADDRESS_BYTES; i++) if (bytes[offset + i] !== 0) return false;
  return true;
}

/**
 * The interface index of an address's scope (RFC 4007): `fe80::1%eth0` or `fe80::1%2`; 0 without
 * one. Throws a TypeError when there is no such interface.
 */
export function scopeIndex(text: string): number {
  const at = text.indexOf('%');
  if (at < 0) return 0;
  const scope = text.slice(at + 1);
  if (/^[1-9]\d{0,8}$/.test(scope)) return Number(scope);
  const interfaces = networkInterfaces();
  for (const address of interfaces[scope] ?? []) {
    if (address.family === 'IPv6' && address.scopeid > 0) return address.scopeid;
  }
  const names = Object.keys(interfaces).join(', ');
  throw new TypeError(
    `'${text}': no interface '${scope}' with a link-local address; there are: ${names}`,
  );
}

/**
 * The name of the interface with index `index`, as the scope of an address; the digits if it is
 * gone.
 */
export function scopeName(index: number): string {
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    for (const address of addresses ?? []) {
      if (address.family === 'IPv6' && address.scopeid === index) return name;
    }
  }
  return String(index);
}

function group(bytes: Uint8Array, offset: number, index: number): number {
  return (bytes[offset + 2 * index] << 8) | bytes[offset + 2 * index + 1];
}

/** Writes a.b.c.d, known to be valid, from `start` on. */
function writeDotted(text: string, start: number, bytes: Uint8Array, offset: number): void {
  let value = 0;
  for (let i = start; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x2e) {
      bytes[offset++] = value;
      value = 0;
    } else {
      value = value * 10 + code - 0x30;
    }
  }
  bytes[offset] = value;
}

/** Writes an IPv6 address known to be valid. */
function writeGroups(text: string, bytes: Uint8Array, offset: number): void {
  const scope = text.indexOf('%');
  const address = scope < 0 ? text : text.slice(0, scope);
  const gap = address.indexOf('::');
  const head = gap < 0 ? address : address.slice(0, gap);
  const tail = gap < 0 ? '' : address.slice(gap + 2);
  bytes.fill(0, offset, offset + ADDRESS_BYTES);
  writeParts(head, bytes, offset);
  writeParts(tail, bytes, offset + ADDRESS_BYTES - partsBytes(tail));
}

function partsBytes(text: string): number {
  if (text === '') return 0;
  return text.split(':').length * 2 + (text.includes('.') ? 2 : 0);
}

function writeParts(text: string, bytes: Uint8Array, offset: number): void {
  if (text === '') return;
  for (const part of text.split(':')) {
    if (part.includes('.')) {
      writeDotted(part, 0, bytes, offset);
    } else {
      const value = Number.parseInt(part, 16);
      bytes[offset++] = value >> 8;
      bytes[offset++] = value & 0xff;
    }
  }
}
