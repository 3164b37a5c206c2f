/**
 * What an answer to a source that proved nothing may always have: three times the question, both
 * with their IP and UDP headers. The limiter keeps account of what is more (server/limits), a lane
 * holds a truncated answer to it.
 */

/** An answer may always be so many times as long as the question, headers counted. */
export const AMPLIFICATION_FACTOR = 3;
/** IPv4 header of 20 bytes and UDP header of 8. */
export const IPV4_UDP_HEADER_BYTES = 28;
/** IPv6 header of 40 bytes and UDP header of 8. */
export const IPV6_UDP_HEADER_BYTES = 48;

/** The longest answer to a question of `asked` bytes that is, with headers, within the factor. */
export function unamplifiedBytes(asked: number, headers: number): number {
  return AMPLIFICATION_FACTOR * (asked + headers) - headers;
}

/** Bytes of the IP and UDP headers of a datagram of a family, 4 or 6. */
export function headerBytes(family: number): number {
  return family === 6 ? IPV6_UDP_HEADER_BYTES : IPV4_UDP_HEADER_BYTES;
}
