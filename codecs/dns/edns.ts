/** The EDNS options of an answer: our half of a cookie, and who we are. */
import { COOKIE_BYTES, MAX_NSID_BYTES, OPTION, OPTION_HEAD_BYTES } from './constants.ts';
import { copyBytes, writeU16 } from './wire.ts';

/** A COOKIE option of both halves. */
const COOKIE_OPTION_BYTES = OPTION_HEAD_BYTES + COOKIE_BYTES;
export const MAX_OPTIONS_BYTES = COOKIE_OPTION_BYTES + OPTION_HEAD_BYTES + MAX_NSID_BYTES;

/**
 * What goes into an answer's OPT, in the order of its worth: where there is no room for all, the
 * NSID is left out first. Reused: `clear`, then at most one of each, the cookie first.
 *
 *   | 10 | 24 | client's half (8), server's half (16) | 3 | n | NSID (n) |
 */
export class ReplyOptions {
  readonly bytes = new Uint8Array(MAX_OPTIONS_BYTES);
  /** Bytes in use. */
  length = 0;
  /** How many of them are the cookie's. */
  cookieLength = 0;

  clear(): void {
    this.length = 0;
    this.cookieLength = 0;
  }

  /** Adds a COOKIE option; returns where in `bytes` its COOKIE_BYTES of data are to be written. */
  addCookie(): number {
    const data = this.#head(OPTION.COOKIE, COOKIE_BYTES);
    this.length = data + COOKIE_BYTES;
    this.cookieLength = this.length;
    return data;
  }

  /** Adds an NSID option of at most MAX_NSID_BYTES (RFC 5001). */
  addNsid(nsid: Uint8Array): void {
    this.length = copyBytes(this.bytes, this.#head(OPTION.NSID, nsid.length), nsid, 0, nsid.length);
  }

  /** The most of the options, in whole ones, that `room` bytes hold. */
  fit(room: number): number {
    if (this.length <= room) return this.length;
    return this.cookieLength <= room ? this.cookieLength : 0;
  }

  #head(code: number, dataBytes: number): number {
    writeU16(this.bytes, this.length, code);
    writeU16(this.bytes, this.length + 2, dataBytes);
    return this.length + OPTION_HEAD_BYTES;
  }
}

/**
 * The bytes of an NSID given as text. RFC 5001 leaves them to the operator; printable ASCII is what
 * every tool shows. Throws a RangeError that says what is allowed.
 */
export function encodeNsid(text: string): Uint8Array {
  if (!/^[\x20-\x7e]+$/.test(text) || text.length > MAX_NSID_BYTES) {
    throw new RangeError(
      `NSID ${JSON.stringify(text)}: expected 1 to ${MAX_NSID_BYTES} printable ASCII characters`,
    );
  }
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
