/**
 * Addresses are 16 bytes everywhere, those of IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2):
 *
 *   bytes   0 .. 9 zero | 10, 11 ff | 12 .. 15 the IPv4 address
 *   words   0 | 0 | V4_MAPPED | the IPv4 address
 */

/** Where the IPv4 address is in the 16 bytes. */
export const MAPPED_AT = 12;
/** The third of the four little-endian words, signed. */
export const V4_MAPPED = 0xffff0000 | 0;

/** Whether the 16 bytes at `offset` are an IPv4 address. */
export function isMapped(bytes: Uint8Array, offset: number): boolean {
  if (bytes[offset + 10] !== 0xff || bytes[offset + 11] !== 0xff) return false;
  for (let i = 0; i < 10; i++) if (bytes[offset + i] !== 0) return false;
  return true;
}

/** Whether the four words at `at` are an IPv4 address. */
export function isMappedWords(words: Int32Array, at: number): boolean {
  return words[at + 2] === V4_MAPPED && words[at + 1] === 0 && words[at] === 0;
}
