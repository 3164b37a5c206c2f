/**
 * The datagrams of the DNS scenarios, as npm dns-discovery's client sends them (dns-packet, no
 * compression).
 */
import { encode } from 'dns-packet';
import { TOKEN_TEXT_BYTES } from '../../codecs/dns/constants.ts';
import { SOURCES, type WriteRequest } from './generator.ts';

export const DOMAIN = 'dns-discovery.local';
/** Ids are 40 hex characters, as info hashes are; their first 8 are the number of the name. */
const ID_CHARS = 40;
const NUMBER_CHARS = 8;
const HEADER_BYTES = 12;
const RECURSION_DESIRED = 0x100;
const HEX = Buffer.from('0123456789abcdef');

/** The token of each source, as the server under test gave it. */
export class TokenBook {
  readonly chars = new Uint8Array(SOURCES * TOKEN_TEXT_BYTES);
  readonly known = new Uint8Array(SOURCES);

  /** Learns from an answer that holds `token=`. */
  learn(bytes: Uint8Array, start: number, length: number, source: number): void {
    const end = start + length - TOKEN_TEXT_BYTES;
    for (let at = start + HEADER_BYTES; at < end; at++) {
      if (bytes[at] !== 0x3d || bytes[at - 1] !== 0x6e || bytes[at - 5] !== 0x74) continue;
      for (let i = 0; i < TOKEN_TEXT_BYTES; i++) {
        this.chars[source * TOKEN_TEXT_BYTES + i] = bytes[at + 1 + i];
      }
      this.known[source] = 1;
      return;
    }
  }
}

export function probe(): WriteRequest {
  return fixed(query(DOMAIN, null), () => {});
}

/** A TXT question alone, as dig sends it without EDNS; `names` different ones. */
export function plainTxt(firstName: number, names: number): WriteRequest {
  return plainTxtOf((sequence) => firstName + (sequence % names));
}

/** The same of any names. */
export function plainTxtOf(nameOf: (sequence: number) => number): WriteRequest {
  return fixed(query(idName(), null), (bytes, start, _source, sequence) => {
    writeNumber(bytes, start + HEADER_BYTES + 1, nameOf(sequence));
  });
}

/** A name for each number that has nothing to do with the next one's. */
export function scatteredName(sequence: number): number {
  let word = Math.imul(sequence ^ (sequence >>> 15), 0x85ebca6b);
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
  return (word ^ (word >>> 16)) >>> 0;
}

export function lookup(tokens: TokenBook, firstName: number, names: number): WriteRequest {
  return withToken(tokens, [], (sequence) => firstName + (sequence % names));
}

/** `perName` announces of each name from firstName on, one source after the other. */
export function announce(tokens: TokenBook, firstName: number, perName: number): WriteRequest {
  return withToken(
    tokens,
    ['announce=8080'],
    (sequence) => firstName + Math.floor(sequence / perName),
  );
}

function withToken(
  tokens: TokenBook,
  more: string[],
  nameOf: (sequence: number) => number,
): WriteRequest {
  const strings = ['subscribe=true', `token=${'T'.repeat(TOKEN_TEXT_BYTES)}`, ...more];
  const message = query(idName(), strings);
  const tokenAt = message.indexOf('TTTTTTTT');
  const secondName = message.lastIndexOf('0'.repeat(ID_CHARS));
  return fixed(message, (bytes, start, source, sequence) => {
    const number = nameOf(sequence);
    writeNumber(bytes, start + HEADER_BYTES + 1, number);
    writeNumber(bytes, start + secondName, number);
    const token = source * TOKEN_TEXT_BYTES;
    for (let i = 0; i < TOKEN_TEXT_BYTES; i++) {
      bytes[start + tokenAt + i] = tokens.chars[token + i];
    }
  });
}

type Patch = (bytes: Uint8Array, start: number, source: number, sequence: number) => void;

function fixed(message: Buffer, patch: Patch): WriteRequest {
  return (bytes, start, source, sequence) => {
    bytes.set(message, start);
    patch(bytes, start, source, sequence);
    return message.length;
  };
}

function idName(): string {
  return `${'0'.repeat(ID_CHARS)}.${DOMAIN}`;
}

function query(name: string, strings: string[] | null): Buffer {
  return encode({
    type: 'query',
    id: 1,
    flags: RECURSION_DESIRED,
    questions: [{ type: 'TXT', name }],
    additionals: strings === null ? [] : [{ type: 'TXT', name, ttl: 0, data: strings }],
  });
}

function writeNumber(bytes: Uint8Array, at: number, number: number): void {
  for (let i = 0; i < NUMBER_CHARS; i++) {
    bytes[at + i] = HEX[(number >>> (4 * (NUMBER_CHARS - 1 - i))) & 15];
  }
}
