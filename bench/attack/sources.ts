/**
 * Where attacks come from: addresses of 127.0.0.0/8, all of which are this machine's own, as 32-bit
 * numbers. One prefix is left to the proven client.
 */

/** The n-th address of an attack. */
export type Sources = (n: number) => number;

const LOOPBACK = 0x7f000000;
const LOW_24_BITS = 0xffffff;
/** Odd, so multiplying by it permutes the 24-bit numbers. */
const SPREAD = 0x9e3779b1;

/** 127.200.7.0/24. */
export const CLIENT_PREFIX = 0x7fc80700;
/** Where an attacker that sits in one network sits: 127.66.6.0/24. */
const ATTACK_PREFIX = 0x7f420600;

export const SPOOFED_SOURCES = 10_000_000;
/** Prefixes of an attacker who has addresses in many networks and receives there. */
export const MANY_PREFIXES = 1024;
const HOSTS = 250;

/** One host. */
export function oneSource(): number {
  return ATTACK_PREFIX + 1;
}

/** The hosts of one /24. */
export function onePrefix(n: number): number {
  return ATTACK_PREFIX + 1 + (n % HOSTS);
}

/** Four hosts in each of MANY_PREFIXES networks, one network after the other. */
export function manyPrefixes(n: number): number {
  const prefix = n % MANY_PREFIXES;
  const host = Math.floor(n / MANY_PREFIXES) % 4;
  return LOOPBACK + (100 << 16) + (prefix << 8) + 1 + host;
}

/** Ten million addresses in 65,535 networks, in no order. */
export function spoofed(n: number): number {
  const low = Math.imul(1 + (n % SPOOFED_SOURCES), SPREAD) & LOW_24_BITS;
  const address = LOOPBACK + low;
  // Not the client's network, and not the two that nobody can have.
  if ((address & ~0xff) === (CLIENT_PREFIX & ~0xff)) return address - 0x100;
  if (low === 0) return LOOPBACK + 1;
  return low === LOW_24_BITS ? address - 1 : address;
}

/** Dotted. */
export function addressText(address: number): string {
  return [24, 16, 8, 0].map((bits) => (address >>> bits) & 0xff).join('.');
}
