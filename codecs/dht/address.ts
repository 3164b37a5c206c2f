/**
 * Addresses of the DHT's wire: an IPv4 address, first byte first, and the port, low byte first.
 * As a number (`host number`) an IPv4 address is unsigned with its first byte in the highest place,
 * so that a.b.c.d < a.b.c.e.
 */
import { MAPPED_AT } from '../mapped-address.ts';
import { ADDRESS_BYTES } from './constants.ts';
import { readU16, writeU16 } from './varint.ts';

export interface NodeAddress {
  /** IPv4, dotted. */
  readonly host: string;
  readonly port: number;
}

const DOT = 0x2e;
const ZERO = 0x30;

/** The number of a dotted IPv4 address; -1 when it is none. Leading zeros are refused. */
export function hostToU32(host: string): number {
  let value = 0;
  let parts = 0;
  let at = 0;
  while (parts < 4) {
    const start = at;
    let part = 0;
    while (at < host.length && at - start < 3 && isDigit(host.charCodeAt(at))) {
      part = part * 10 + host.charCodeAt(at++) - ZERO;
    }
    if (at === start || part > 255 || (at - start > 1 && host.charCodeAt(start) === ZERO))
      return -1;
    value = value * 256 + part;
    parts++;
    if (parts < 4 && host.charCodeAt(at++) !== DOT) return -1;
  }
  return at === host.length ? value : -1;
}

/** The dotted text of a host number. */
export function u32ToHost(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

/** The host number of the address at `at`. */
export function readHost(bytes: Uint8Array, at: number): number {
  const upper = (bytes[at] << 8) | bytes[at + 1];
  return ((upper << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

/** The port of the address at `at`. */
export function readPort(bytes: Uint8Array, at: number): number {
  return readU16(bytes, at + 4);
}

/** The address at `at`. */
export function readAddress(bytes: Uint8Array, at: number): NodeAddress {
  return { host: u32ToHost(readHost(bytes, at)), port: readPort(bytes, at) };
}

/** Writes an address by its host number; returns the offset behind it. */
export function writeHostPort(bytes: Uint8Array, at: number, host: number, port: number): number {
  bytes[at] = host >>> 24;
  bytes[at + 1] = host >>> 16;
  bytes[at + 2] = host >>> 8;
  bytes[at + 3] = host;
  return writeU16(bytes, at + 4, port);
}

/**
 * Writes the address whose v4-mapped 16 bytes are at addressBytes[addressAt], as slots have it;
 * returns the offset behind it.
 */
export function writeAddress(
  bytes: Uint8Array,
  at: number,
  addressBytes: Uint8Array,
  addressAt: number,
  port: number,
): number {
  for (let i = 0; i < 4; i++) bytes[at + i] = addressBytes[addressAt + MAPPED_AT + i];
  return writeU16(bytes, at + 4, port);
}

/**
 * Writes `address`; returns the offset behind it. Throws a TypeError when its host is no dotted
 * IPv4 address.
 */
export function writeNodeAddress(bytes: Uint8Array, at: number, address: NodeAddress): number {
  const host = hostToU32(address.host);
  if (host < 0) throw new TypeError(`host '${address.host}': expected IPv4, such as 192.0.2.1`);
  return writeHostPort(bytes, at, host, address.port);
}

/** The 6 bytes of `address`. Throws as writeNodeAddress. */
export function encodeAddress(address: NodeAddress): Uint8Array {
  const bytes = new Uint8Array(ADDRESS_BYTES);
  writeNodeAddress(bytes, 0, address);
  return bytes;
}

/**
 * Whether the address is one of a network of somebody's own: loopback, private (RFC 1918), shared
 * by a provider's customers (RFC 6598) or link-local (RFC 3927).
 */
export function isPrivateIpv4(host: number): boolean {
  const first = host >>> 24;
  const second = (host >>> 16) & 255;
  if (first === 10 || first === 127) return true;
  if (first === 172) return (second & 0xf0) === 16;
  if (first === 100) return (second & 0xc0) === 64;
  return (first === 192 && second === 168) || (first === 169 && second === 254);
}

/**
 * Whether no host has the address: this network, protocol assignments, documentation, benchmarks,
 * multicast, future use and broadcast (RFC 6890 and RFC 5737, as the original refuses them).
 */
export function isReservedIpv4(host: number): boolean {
  const first = host >>> 24;
  if (first === 0 || first >= 224) return true;
  const upper = host >>> 8;
  if (upper === 0xc0_0000 || upper === 0xc0_0002) return true;
  if (upper === 0xc6_3364 || upper === 0xcb_0071) return true;
  return host >>> 17 === 0xc6_12 >>> 1;
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= ZERO + 9;
}
