/**
 * Base64 (RFC 4648 section 4) from bytes to bytes, without strings: what `token=` and `peers=`
 * carry. Three bytes become two lookups of two characters each.
 */
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const PAD = 0x3d;

/** The two characters of each 12-bit number: first character in the low byte. */
const PAIRS = new Uint16Array(4096);
for (let i = 0; i < 4096; i++) {
  PAIRS[i] = ALPHABET.charCodeAt(i >> 6) | (ALPHABET.charCodeAt(i & 63) << 8);
}

/** Writes the base64 of data[start..end) to out[offset..]; returns the offset after it. */
export function encodeBase64(
  data: Uint8Array,
  start: number,
  end: number,
  out: Uint8Array,
  offset: number,
): number {
  let from = start;
  let to = offset;
  for (; from + 3 <= end; from += 3, to += 4) {
    const high = PAIRS[(data[from] << 4) | (data[from + 1] >> 4)];
    const low = PAIRS[((data[from + 1] & 15) << 8) | data[from + 2]];
    out[to] = high;
    out[to + 1] = high >> 8;
    out[to + 2] = low;
    out[to + 3] = low >> 8;
  }
  if (from === end) return to;
  const two = end - from === 2;
  const high = PAIRS[(data[from] << 4) | (two ? data[from + 1] >> 4 : 0)];
  out[to] = high;
  out[to + 1] = high >> 8;
  out[to + 2] = two ? PAIRS[(data[from + 1] & 15) << 8] & 255 : PAD;
  out[to + 3] = PAD;
  return to + 4;
}

/** The four characters of a 24-bit number, the first in the lowest byte. */
export function base64Unit(unit: number): number {
  return PAIRS[unit >> 12] | (PAIRS[unit & 0xfff] << 16);
}
