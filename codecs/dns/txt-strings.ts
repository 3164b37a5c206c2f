/**
 * The character-strings a server's TXT answers are made of: `token=`, `host=`, `port=`, `peers6=`,
 * `peers=`.
 *
 *   | 50 token=.. | 247 peers6=<10> | .. | n peers=<remainder> | 254 peers=<31> | 254 peers=<31> |
 *
 * The original's client reads one answer and keeps the last `peers=` of it: the remainder comes
 * first.
 */
import { base64Unit, encodeBase64 } from '../base64.ts';
import {
  PEER4_BYTES,
  PEER6_BYTES,
  PEERS4_PER_STRING,
  PEERS6_PER_STRING,
  TOKEN_TEXT_BYTES,
} from './constants.ts';
import { copyBytes } from './wire.ts';

const TOKEN_KEY = ascii('token=');
export const HOST_KEY = ascii('host=');
export const PORT_KEY = ascii('port=');
const PEERS4_KEY = ascii('peers=');
const PEERS6_KEY = ascii('peers6=');

/** Length byte, key and token. */
export const TOKEN_STRING_BYTES = 1 + TOKEN_KEY.length + TOKEN_TEXT_BYTES;

/** Length byte and key of a string of peers, and what each of them adds to it. */
const PEERS4_HEAD_BYTES = 1 + PEERS4_KEY.length;
const PEER4_TEXT_BYTES = (PEER4_BYTES / 3) * 4;
const PEERS6_HEAD_BYTES = 1 + PEERS6_KEY.length;
const PEER6_TEXT_BYTES = (PEER6_BYTES / 3) * 4;

/** How many of `count` IPv4 peers fit in `room` bytes of strings. */
export function fitPeers4(room: number, count: number): number {
  return fit(room, count, PEERS4_HEAD_BYTES, PEER4_TEXT_BYTES, PEERS4_PER_STRING);
}

/** How many of `count` IPv6 peers fit in `room` bytes of strings. */
export function fitPeers6(room: number, count: number): number {
  return fit(room, count, PEERS6_HEAD_BYTES, PEER6_TEXT_BYTES, PEERS6_PER_STRING);
}

/** Bytes of the strings of `count` IPv4 peers. */
export function peers4Bytes(count: number): number {
  return PEERS4_HEAD_BYTES * Math.ceil(count / PEERS4_PER_STRING) + PEER4_TEXT_BYTES * count;
}

/** Bytes of the strings of `count` IPv6 peers. */
export function peers6Bytes(count: number): number {
  return PEERS6_HEAD_BYTES * Math.ceil(count / PEERS6_PER_STRING) + PEER6_TEXT_BYTES * count;
}

/**
 * Writes `count` IPv4 peers as `peers=` strings; returns the offset behind them. `pairs` holds two
 * 24-bit numbers for each: bytes 1 to 3 of the address, then byte 4 and the port. `view` is of the
 * same bytes as `target`.
 */
export function writePeers4(
  target: Uint8Array,
  view: DataView,
  at: number,
  pairs: Int32Array,
  count: number,
): number {
  let out = at;
  let pair = 0;
  let take = count % PEERS4_PER_STRING;
  if (take === 0) take = PEERS4_PER_STRING;
  for (let done = 0; done < count; take = PEERS4_PER_STRING) {
    out = writeKey(target, out, take * PEER4_TEXT_BYTES, PEERS4_KEY);
    done += take;
    for (const end = 2 * done; pair < end; pair += 2, out += 8) {
      view.setInt32(out, base64Unit(pairs[pair]), true);
      view.setInt32(out + 4, base64Unit(pairs[pair + 1]), true);
    }
  }
  return out;
}

/** Writes `count` 18-byte records as `peers6=` strings; returns the offset behind them. */
export function writePeers6(
  target: Uint8Array,
  at: number,
  peers: Uint8Array,
  count: number,
): number {
  let out = at;
  let take = count % PEERS6_PER_STRING;
  if (take === 0) take = PEERS6_PER_STRING;
  for (let done = 0; done < count; take = PEERS6_PER_STRING) {
    out = writeKey(target, out, take * PEER6_TEXT_BYTES, PEERS6_KEY);
    const from = done * PEER6_BYTES;
    done += take;
    out = encodeBase64(peers, from, done * PEER6_BYTES, target, out);
  }
  return out;
}

/** Writes the `token=` string of the 44 bytes at token[offset]; returns the offset behind it. */
export function writeToken(
  target: Uint8Array,
  at: number,
  token: Uint8Array,
  offset: number,
): number {
  const value = writeKey(target, at, TOKEN_TEXT_BYTES, TOKEN_KEY);
  return copyBytes(target, value, token, offset, TOKEN_TEXT_BYTES);
}

/** Writes a string's length byte and key; returns where its value of `valueBytes` goes. */
export function writeKey(
  target: Uint8Array,
  at: number,
  valueBytes: number,
  key: Uint8Array,
): number {
  target[at] = key.length + valueBytes;
  return copyBytes(target, at + 1, key, 0, key.length);
}

/** Whole strings that fit, then what still fits in one more. */
function fit(room: number, count: number, head: number, each: number, perString: number): number {
  if (room < head + each) return 0;
  const fullBytes = head + each * perString;
  const full = Math.floor(room / fullBytes);
  const rest = room - full * fullBytes;
  const more = rest < head + each ? 0 : Math.floor((rest - head) / each);
  return Math.min(count, full * perString + more);
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
