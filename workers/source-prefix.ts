/**
 * Where a datagram came from, as limits see it: the network, not the host. Whoever has one address
 * of a /24 or a /56 easily has the others, so they share what a stranger may have. Of that share in
 * turn one host must not have all: a host is an IPv4 address, or a /64, which one machine fills.
 *
 *   IPv4, /24   high = 0 | c | b | a            low = 4
 *   IPv6, /56   high = bytes 3 2 1 0            low = bytes 6 5 4 | 6
 *   IPv4, /32   high = d | c | b | a            low = 4
 *   IPv6, /64   high = bytes 3 2 1 0            low = bytes 7 6 5 4
 *
 * Two words that are the prefix itself, not a hash of it: equal words are equal prefixes, or with
 * the same family equal hosts. `low` of a prefix is never 0, so that 0 can mean nobody.
 */
import { isMappedWords } from '../codecs/mapped-address.ts';

export const PREFIX4_BITS = 24;
export const PREFIX6_BITS = 56;

/** The last word of ::1. */
const LOOPBACK6 = 1 << 24;
const LOW_24_BITS = 0xff_ffff;

/**
 * Whether the 16-byte address in the four words at `at` is of a network of the user's own:
 * loopback, private (RFC 1918, RFC 4193), shared by a provider's customers or a virtual network
 * (RFC 6598), or link-local (RFC 3927, RFC 4291).
 */
export function isPrivate(words: Int32Array, at: number): boolean {
  const word = words[isMappedWords(words, at) ? at + 3 : at];
  const first = word & 0xff;
  const second = (word >> 8) & 0xff;
  if (isMappedWords(words, at)) {
    if (first === 10 || first === 127) return true;
    if (first === 172) return (second & 0xf0) === 16;
    if (first === 100) return (second & 0xc0) === 64;
    return (first === 192 && second === 168) || (first === 169 && second === 254);
  }
  if ((first & 0xfe) === 0xfc || (first === 0xfe && (second & 0xc0) === 0x80)) return true;
  return word === 0 && words[at + 1] === 0 && words[at + 2] === 0 && words[at + 3] === LOOPBACK6;
}

/** First word of the prefix of the 16-byte address in the four words at `at`. */
export function prefixHigh(words: Int32Array, at: number): number {
  return isMappedWords(words, at) ? words[at + 3] & LOW_24_BITS : words[at];
}

/** Second word of the prefix; its low byte is the family, 4 or 6. */
export function prefixLow(words: Int32Array, at: number): number {
  return isMappedWords(words, at) ? 4 : (words[at + 1] << 8) | 6;
}

/** First word of the host of the 16-byte address in the four words at `at`. */
export function hostHigh(words: Int32Array, at: number): number {
  return isMappedWords(words, at) ? words[at + 3] : words[at];
}

/** Second word of the host. */
export function hostLow(words: Int32Array, at: number): number {
  return isMappedWords(words, at) ? 4 : words[at + 1];
}
