import { MAX_TXT_STRINGS } from './constants.ts';

/**
 * The keys this protocol gives a meaning, by length: announce 8, subscribe 9, unannounce 10, token
 * 5.
 */
const ANNOUNCE = ascii('announce');
const UNANNOUNCE = ascii('unannounce');
const SUBSCRIBE = ascii('subscribe');
const TOKEN = ascii('token');

const EQUALS = 0x3d;
const MAX_PORT_DIGITS = 5;

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/**
 * Reads what a client asks for in the character-strings of one TXT record, as npm dns-discovery
 * 6.2.3 reads them: `key=value`, or a flag without `=`; keys are case-sensitive, the last of
 * several equal keys counts, unknown keys are ignored. Reused; nothing is allocated.
 */
export class DiscoveryTxt {
  /** -1: none. Else 0 to 65535; 0 means the datagram's source port. */
  announce = -1;
  /** As `announce`. */
  unannounce = -1;
  /** A flag or any value but the empty one. False means: unsubscribe. */
  subscribe = false;
  /** Offset of the token's text in the bytes given to `read`. */
  tokenStart = 0;
  /** -1: none. */
  tokenLength = -1;

  /**
   * Reads bytes[start..end), a TXT record's rdata: its first MAX_TXT_STRINGS strings. False when
   * one of them runs over the end.
   */
  read(bytes: Uint8Array, start: number, end: number): boolean {
    this.announce = -1;
    this.unannounce = -1;
    this.subscribe = false;
    this.tokenStart = 0;
    this.tokenLength = -1;
    let at = start;
    for (let left = MAX_TXT_STRINGS; at < end && left > 0; left--) {
      const from = at + 1;
      const next = from + bytes[at];
      if (next > end) return false;
      this.#readString(bytes, from, next);
      at = next;
    }
    return true;
  }

  /** One string. The first letter and where the key ends leave one candidate to compare. */
  #readString(bytes: Uint8Array, from: number, end: number): void {
    if (end - from < TOKEN.length) return;
    const first = bytes[from];
    if (first === TOKEN[0] && keyIs(bytes, from, end, TOKEN)) {
      const value = from + TOKEN.length + 1;
      this.tokenStart = value;
      this.tokenLength = value > end ? -1 : end - value;
    } else if (first === SUBSCRIBE[0] && keyIs(bytes, from, end, SUBSCRIBE)) {
      this.subscribe = end - from !== SUBSCRIBE.length + 1;
    } else if (first === ANNOUNCE[0] && keyIs(bytes, from, end, ANNOUNCE)) {
      this.announce = readPort(bytes, from + ANNOUNCE.length + 1, end);
    } else if (first === UNANNOUNCE[0] && keyIs(bytes, from, end, UNANNOUNCE)) {
      this.unannounce = readPort(bytes, from + UNANNOUNCE.length + 1, end);
    }
  }
}

/** Whether the string's key, up to its first `=` or its end, is `key`. */
function keyIs(bytes: Uint8Array, from: number, end: number, key: Uint8Array): boolean {
  const keyEnd = from + key.length;
  if (keyEnd > end || (keyEnd < end && bytes[keyEnd] !== EQUALS)) return false;
  for (let i = 1; i < key.length; i++) if (bytes[from + i] !== key[i]) return false;
  return true;
}

/** The original's rule /^\d{1,5}$/; what is over 65535 is no port and counts as none. */
function readPort(bytes: Uint8Array, from: number, end: number): number {
  if (from >= end || end - from > MAX_PORT_DIGITS) return -1;
  let port = 0;
  for (let at = from; at < end; at++) {
    const digit = bytes[at] - 0x30;
    if (digit < 0 || digit > 9) return -1;
    port = port * 10 + digit;
  }
  return port <= 0xffff ? port : -1;
}
