/** Base64 (RFC 4648 section 4) from text to bytes, strictly: what clients read. */

const PAD = 0x3d;
const NO_DIGIT = 0xff;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** The value of each character; NO_DIGIT for what is none. */
const DIGITS = new Uint8Array(256).fill(NO_DIGIT);
for (let i = 0; i < ALPHABET.length; i++) DIGITS[ALPHABET.charCodeAt(i)] = i;

/** Whether text[start..end) are characters of the alphabet only; padding is none. */
export function isBase64Digits(text: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (DIGITS[text[at]] === NO_DIGIT) return false;
  return true;
}

/**
 * Writes the bytes that text[start..end) stands for to out[0..]; returns how many they are. -1 for
 * what is not the padded base64 of anything (other characters, a length that is no multiple of
 * four, bits behind the last byte that are not zero) or has more bytes than `out`.
 */
export function decodeBase64(
  text: Uint8Array,
  start: number,
  end: number,
  out: Uint8Array,
): number {
  if ((end - start) % 4 !== 0) return -1;
  if (start === end) return 0;
  const padding = text[end - 1] !== PAD ? 0 : text[end - 2] !== PAD ? 1 : 2;
  const count = ((end - start) / 4) * 3 - padding;
  if (count > out.length || !isBase64Digits(text, start, end - padding)) return -1;
  let to = 0;
  for (let at = start; at < end; at += 4) {
    const last = at + 4 === end ? padding : 0;
    const high = (DIGITS[text[at]] << 18) | (DIGITS[text[at + 1]] << 12);
    const third = last === 2 ? 0 : DIGITS[text[at + 2]] << 6;
    const unit = high | third | (last > 0 ? 0 : DIGITS[text[at + 3]]);
    // What padding leaves over of the last digit must be zero, or many texts would mean the same.
    if ((unit & (last === 2 ? 0xffff : last === 1 ? 0xff : 0)) !== 0) return -1;
    out[to++] = unit >> 16;
    if (last < 2) out[to++] = unit >> 8;
    if (last < 1) out[to++] = unit;
  }
  return count;
}
