/** What a discovery client sends: questions to servers, and acknowledgements of their pushes. */
import {
  CLASS,
  FLAG_QR,
  FLAG_RD,
  HEADER_ARCOUNT,
  HEADER_BYTES,
  HEADER_FLAGS,
  HEADER_QDCOUNT,
  OPT_BYTES,
  OPTION,
  OPTION_HEAD_BYTES,
  RECORD_FIXED_BYTES,
  TYPE,
} from './constants.ts';
import { writeFixed, writeU16 } from './wire.ts';

/** Type and class behind a question's name. */
const QUESTION_FIXED_BYTES = 4;
/** A pointer to the question's name: the owner of the record about it. */
const QUESTION_POINTER = 0xc000 | HEADER_BYTES;
const POINTER_BYTES = 2;
const MAX_PORT = 65_535;

/**
 * Text of a token: ours and the original's have 44 bytes. With its key it must fit in one
 * character-string of 255.
 */
export const MAX_TOKEN_TEXT_BYTES = 200;

/** `probe` asks for the token and for what the server sees of the asker. */
export type QuestionKind = 'probe' | 'lookup' | 'announce' | 'unannounce';

/** The OPT of a question. */
export interface EdnsRequest {
  /** The longest answer that may come by UDP. */
  readonly udpBytes: number;
  /** 8 bytes of the client's choice; with the server's half 16 to 40 (RFC 7873 4). */
  readonly cookie: Uint8Array;
}

export interface Question {
  readonly kind: QuestionKind;
  /** Wire form with the root; for a probe the domain. */
  readonly name: Uint8Array;
  /** Printable ASCII, at most MAX_TOKEN_TEXT_BYTES; null: none. Not sent by a probe. */
  readonly token: string | null;
  /** What is announced or unannounced; 0: the port that the server sees. */
  readonly port: number;
}

/**
 * Writes the question as npm dns-discovery 6.2.3 does, but with the record's owner as a pointer,
 * without `token=null`, and with an OPT that carries a cookie when `edns` is given.
 *
 *   +--------+-----------------+--------------------------------------+----------------------+
 *   | header | name, TXT IN    | pointer to the name, TXT IN, ttl 0:  | OPT: UDP size, COOKIE|
 *   | RD     |                 | subscribe=true token=T announce=PORT |                      |
 *   +--------+-----------------+--------------------------------------+----------------------+
 *                                not with a probe                       only with `edns`
 *
 * An unannounce says `token=T unannounce=PORT`. Throws a RangeError for a token or a port that does
 * not fit.
 */
export function writeQuestion(
  id: number,
  question: Question,
  edns: EdnsRequest | null,
): Uint8Array<ArrayBuffer> {
  const strings = stringsOf(question);
  let rdataBytes = 0;
  for (const text of strings) rdataBytes += 1 + text.length;
  const hasTxt = strings.length > 0;
  const txtBytes = hasTxt ? POINTER_BYTES + RECORD_FIXED_BYTES + rdataBytes : 0;
  const optBytes = edns === null ? 0 : OPT_BYTES + OPTION_HEAD_BYTES + edns.cookie.length;
  const { name } = question;
  const txt = HEADER_BYTES + name.length + QUESTION_FIXED_BYTES;
  const bytes = new Uint8Array(txt + txtBytes + optBytes);
  writeU16(bytes, 0, id);
  writeU16(bytes, HEADER_FLAGS, FLAG_RD);
  writeU16(bytes, HEADER_QDCOUNT, 1);
  writeU16(bytes, HEADER_ARCOUNT, (hasTxt ? 1 : 0) + (edns === null ? 0 : 1));
  bytes.set(name, HEADER_BYTES);
  writeU16(bytes, txt - QUESTION_FIXED_BYTES, TYPE.TXT);
  writeU16(bytes, txt - QUESTION_FIXED_BYTES + 2, CLASS.IN);
  if (hasTxt) {
    writeU16(bytes, txt, QUESTION_POINTER);
    writeFixed(bytes, txt + POINTER_BYTES, TYPE.TXT, 0, rdataBytes);
    writeStrings(bytes, txt + POINTER_BYTES + RECORD_FIXED_BYTES, strings);
  }
  if (edns !== null) writeOpt(bytes, txt + txtBytes, edns);
  return bytes;
}

/** The empty response by which a push is acknowledged: a header that repeats its id. */
export function writePushAck(id: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES);
  writeU16(bytes, 0, id);
  writeU16(bytes, HEADER_FLAGS, FLAG_QR);
  return bytes;
}

/** The strings of the record about the name, ASCII, in the original's order. */
function stringsOf({ kind, token, port }: Question): string[] {
  if (kind === 'probe') return [];
  const strings: string[] = [];
  if (kind !== 'unannounce') strings.push('subscribe=true');
  if (token !== null) {
    if (token.length > MAX_TOKEN_TEXT_BYTES) {
      throw new RangeError(
        `a token of ${token.length} characters: expected at most ${MAX_TOKEN_TEXT_BYTES}`,
      );
    }
    strings.push(`token=${token}`);
  }
  if (kind !== 'lookup') {
    if (!Number.isInteger(port) || port < 0 || port > MAX_PORT) {
      throw new RangeError(`port ${port}: expected 0 to ${MAX_PORT}`);
    }
    strings.push(`${kind}=${port}`);
  }
  return strings;
}

function writeStrings(bytes: Uint8Array, at: number, strings: readonly string[]): void {
  let out = at;
  for (const text of strings) {
    bytes[out++] = text.length;
    for (let i = 0; i < text.length; i++) bytes[out++] = text.charCodeAt(i);
  }
}

/**
 * An OPT with one COOKIE option (RFC 6891 6.1.2, RFC 7873 4); owner, extended rcode, version and
 * flags are 0.
 */
function writeOpt(bytes: Uint8Array, at: number, { udpBytes, cookie }: EdnsRequest): void {
  writeU16(bytes, at + 1, TYPE.OPT);
  writeU16(bytes, at + 3, udpBytes);
  writeU16(bytes, at + 9, OPTION_HEAD_BYTES + cookie.length);
  writeU16(bytes, at + OPT_BYTES, OPTION.COOKIE);
  writeU16(bytes, at + OPT_BYTES + 2, cookie.length);
  bytes.set(cookie, at + OPT_BYTES + OPTION_HEAD_BYTES);
}
