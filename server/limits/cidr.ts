/** Networks an operator names: a short list, read once, asked for every datagram. */
import { isMapped, isMappedWords, V4_MAPPED } from '../../codecs/mapped-address.ts';
import { ADDRESS_BYTES, formatAddress, writeAddress } from '../net/ip-address.ts';
import { quote } from '../options/option.ts';

/** Each costs every datagram some nanoseconds. */
export const MAX_CIDRS = 64;

const FORM = 'expected an address or a network such as 192.0.2.0/24, 2001:db8::/32 or 127.0.0.1';
const IPV4_BITS = 32;
const IPV6_BITS = 128;

/**
 * Networks by their words, 8 each, little-endian:
 *
 *   | address 4 words | mask 4 words |  ...      IPv4 as v4-mapped, so its mask begins with 96 ones
 */
export class CidrList {
  readonly count: number;
  readonly #words: Int32Array;

  private constructor(words: Int32Array) {
    this.#words = words;
    this.count = words.length / 8;
  }

  static readonly none = new CidrList(new Int32Array(0));

  /**
   * Reads networks and addresses separated by commas; the empty text is the empty list.
   *
   * @throws TypeError naming the part that is wrong and what is allowed.
   */
  static parse(text: string): CidrList {
    if (text.trim() === '') return CidrList.none;
    const parts = text.split(',');
    if (parts.length > MAX_CIDRS) {
      throw new TypeError(`${parts.length} networks: expected at most ${MAX_CIDRS}`);
    }
    const bytes = new Uint8Array(parts.length * 2 * ADDRESS_BYTES);
    parts.forEach((part, index) => {
      writeCidr(part.trim(), bytes, index * 2 * ADDRESS_BYTES);
    });
    return new CidrList(new Int32Array(bytes.buffer));
  }

  /**
   * Whether the 16-byte address at `bytes[offset]` (IPv4 as v4-mapped) is in one of the networks.
   * An IPv6 network never holds an IPv4 address: `::/0` is all of IPv6 and nothing else.
   */
  contains(bytes: Uint8Array, offset: number): boolean {
    const words = this.#words;
    if (words.length === 0) return false;
    const word0 = readWord(bytes, offset);
    const word1 = readWord(bytes, offset + 4);
    const word2 = readWord(bytes, offset + 8);
    const word3 = readWord(bytes, offset + 12);
    const isIpv4 = word0 === 0 && word1 === 0 && word2 === V4_MAPPED;
    for (let at = 0; at < words.length; at += 8) {
      if (
        (word3 & words[at + 7]) === words[at + 3] &&
        (word2 & words[at + 6]) === words[at + 2] &&
        (word1 & words[at + 5]) === words[at + 1] &&
        (word0 & words[at + 4]) === words[at] &&
        isMappedWords(words, at) === isIpv4
      ) {
        return true;
      }
    }
    return false;
  }
}

/** Writes address and mask of one network, 32 bytes at `offset`. */
function writeCidr(text: string, bytes: Uint8Array, offset: number): void {
  const slash = text.indexOf('/');
  const address = slash < 0 ? text : text.slice(0, slash);
  if (address.includes('%')) throw new TypeError(`${quote(text)}: a network has no scope: ${FORM}`);
  const family = familyOf(text, address, bytes, offset);
  const bits = family === 4 ? IPV4_BITS : IPV6_BITS;
  const length = slash < 0 ? bits : prefixLength(text, text.slice(slash + 1), family, bits);
  const ones = IPV6_BITS - bits + length;
  const mask = offset + ADDRESS_BYTES;
  for (let bit = 0; bit < ones; bit++) bytes[mask + (bit >> 3)] |= 0x80 >> (bit & 7);
  let isWhole = true;
  for (let i = 0; i < ADDRESS_BYTES; i++) {
    const masked = bytes[offset + i] & bytes[mask + i];
    if (masked !== bytes[offset + i]) isWhole = false;
    bytes[offset + i] = masked;
  }
  if (isWhole) return;
  const network = `${formatAddress(bytes, offset)}/${length}`;
  throw new TypeError(
    `${quote(text)} has bits set behind its /${length}: did you mean ${network}?`,
  );
}

function familyOf(text: string, address: string, bytes: Uint8Array, offset: number): 4 | 6 {
  try {
    const family = writeAddress(address, bytes, offset);
    if (family === 6 || !address.includes(':')) return family;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new TypeError(`${quote(text)}: ${quote(address)} is not an IP address: ${FORM}`);
  }
  const dotted = isMapped(bytes, offset) ? ` (${formatAddress(bytes, offset)})` : '';
  throw new TypeError(`${quote(text)}: write an IPv4 address in its own form${dotted}`);
}

function prefixLength(text: string, digits: string, family: number, most: number): number {
  const length = Number(digits);
  if (/^\d{1,3}$/.test(digits) && length <= most) return length;
  throw new TypeError(`${quote(text)}: the prefix length of IPv${family} is 0 to ${most}`);
}

function readWord(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}
