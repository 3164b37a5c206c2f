import {
  DISCOVERY_MAX_LABEL_BYTES,
  HEADER_BYTES,
  MAX_LABELS,
  MAX_NAME_BYTES,
  MAX_POINTER_HOPS,
} from './constants.ts';
import { MessageViews } from './wire.ts';

/** Byte -> byte with A-Z turned to a-z (RFC 4343); length bytes (<= 0x40) map to themselves. */
export const FOLD = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) FOLD[byte] = byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte;

/**
 * One uncompressed name, case-folded, with its labels' positions: a scratch that is filled again
 * and again.
 *
 *   folded       [4] t e s t [13] d n s - d i s c o v e r y [5] l o c a l [0]
 *   labelStarts   0           5                              19            ^ end
 */
export class FoldedName {
  /** The same memory as `folded`: names are folded, hashed and compared four bytes at a time. */
  readonly words = new Int32Array((MAX_NAME_BYTES + 1) / 4);
  /** Wire form; valid up to and including the root's 0 at `end`. */
  readonly folded = new Uint8Array(this.words.buffer);
  /** Where in `folded` each label's length byte is; valid up to `labelCount`. */
  readonly labelStarts = new Uint8Array(MAX_LABELS + 1);
  labelCount = 0;
  /** Offset of the root's 0 in `folded`: the length without it. */
  end = 0;
  /** Where the id part ends, set by `DomainTable.match`: the key is folded[0..keyEnd). */
  keyEnd = 0;
  readonly #views = new MessageViews();

  /**
   * Reads the name at `offset`, which must end before `messageEnd`. Returns the offset behind it,
   * or -1 for a compressed, over-long or cut-off name; then the contents are void. Labels may have
   * 64 bytes.
   */
  read(bytes: Uint8Array, offset: number, messageEnd: number): number {
    const limit = Math.min(messageEnd, offset + MAX_NAME_BYTES);
    let at = offset;
    let labels = 0;
    for (;;) {
      if (at >= limit) return -1;
      const length = bytes[at];
      if (length === 0) break;
      const next = at + 1 + length;
      if (length > DISCOVERY_MAX_LABEL_BYTES || next >= limit) return -1;
      this.labelStarts[labels++] = at - offset;
      at = next;
    }
    this.#fold(bytes, offset, at - offset);
    this.end = at - offset;
    this.labelCount = labels;
    this.keyEnd = 0;
    return at + 1;
  }

  /** Length bytes are at most 0x40 and so are left alone. */
  #fold(bytes: Uint8Array, offset: number, length: number): void {
    const { words } = this;
    const view = this.#views.of(bytes);
    let at = 0;
    for (; at + 4 <= length; at += 4) {
      words[at >> 2] = foldWord(view.getInt32(offset + at, true));
    }
    for (; at < length; at++) this.folded[at] = FOLD[bytes[offset + at]];
    this.folded[length] = 0;
  }
}

/** `FOLD` of four bytes at once. */
function foldWord(word: number): number {
  const seven = word & 0x7f7f7f7f;
  // Bit 7 of each byte: whether it is at least A, and whether it is above Z.
  const isUpper = ((seven + 0x3f3f3f3f) ^ (seven + 0x25252525)) & ~word & 0x80808080;
  return word | (isUpper >>> 2);
}

/** Whether the `length` bytes at `a` and at `b` are the same. */
export function sameBytes(bytes: Uint8Array, a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (bytes[a + i] !== bytes[b + i]) return false;
  return true;
}

/**
 * Walks over the possibly compressed name at `offset` of the message [messageStart, messageEnd) and
 * returns the offset behind it, or -1 when it is malformed. A pointer ends it and must go
 * backwards, not into the header; what it leads to is not looked at (as NSD skips names): following
 * 16 long names is the work that a hostile datagram would ask for. Labels of 64 bytes pass as
 * everywhere on this port.
 */
export function skipName(
  bytes: Uint8Array,
  offset: number,
  messageStart: number,
  messageEnd: number,
): number {
  const limit = Math.min(messageEnd, offset + MAX_NAME_BYTES);
  let at = offset;
  while (at < limit) {
    const length = bytes[at];
    if (length === 0) return at + 1;
    if (length >= 0xc0) {
      if (at + 1 >= messageEnd) return -1;
      const target = (((length & 0x3f) << 8) | bytes[at + 1]) + messageStart;
      return target >= messageStart + HEADER_BYTES && target < offset ? at + 2 : -1;
    }
    if (length > DISCOVERY_MAX_LABEL_BYTES) return -1;
    at += 1 + length;
  }
  return -1;
}

/**
 * Whether the possibly compressed name at `offset` equals folded[foldedStart..foldedEnd) (wire
 * form, folded, foldedEnd is the root's position), ASCII case aside. False for a malformed name:
 * pointers must go strictly backwards, not into the header, and at most MAX_POINTER_HOPS are
 * followed.
 */
export function nameEquals(
  bytes: Uint8Array,
  offset: number,
  messageStart: number,
  messageEnd: number,
  folded: Uint8Array,
  foldedStart: number,
  foldedEnd: number,
): boolean {
  let at = offset;
  let mine = foldedStart;
  let chunkStart = offset;
  let hops = 0;
  for (;;) {
    if (at >= messageEnd) return false;
    const length = bytes[at];
    if (length >= 0xc0) {
      if (at + 1 >= messageEnd || ++hops > MAX_POINTER_HOPS) return false;
      const target = (((length & 0x3f) << 8) | bytes[at + 1]) + messageStart;
      if (target < messageStart + HEADER_BYTES || target >= chunkStart) return false;
      at = target;
      chunkStart = target;
      continue;
    }
    if (length === 0) return mine === foldedEnd;
    const next = at + 1 + length;
    if (next > messageEnd || mine + 1 + length > foldedEnd) return false;
    // Length bytes above 0x40 never equal a folded one: FoldedName has none.
    if (folded[mine] !== length) return false;
    while (++at < next) if (FOLD[bytes[at]] !== folded[++mine]) return false;
    mine++;
  }
}
