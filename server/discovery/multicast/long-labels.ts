/**
 * Messages with labels of 64 bytes, which npm dns-packet 5 writes and refuses to read: the original
 * sends a 32-byte id so. Read here into the form that dns-packet gives for all others.
 */
import {
  CLASS,
  DISCOVERY_MAX_LABEL_BYTES,
  FLAG_QR,
  HEADER_BYTES,
  HEADER_FLAGS,
  HEADER_QDCOUNT,
  MAX_NAME_BYTES,
  TYPE,
} from '../../../codecs/dns/constants.ts';
import { expandName, RecordWalk } from '../../../codecs/dns/message-walk.ts';
import { skipName } from '../../../codecs/dns/name.ts';
import { readU16 } from '../../../codecs/dns/wire.ts';

export interface PlainQuestion {
  readonly name: string;
  readonly type: string;
  /** `UNKNOWN_32769`: IN with the QU bit. */
  readonly class: string;
}

export interface PlainRecord {
  readonly name: string;
  readonly type: string;
  readonly ttl: number;
  readonly class: string;
  readonly flush: boolean;
  /** Of TXT the strings, of SRV an object; null for other types. */
  readonly data: unknown;
}

export interface PlainMessage {
  readonly id: number;
  readonly type: 'query' | 'response';
  readonly flags: number;
  readonly questions: readonly PlainQuestion[];
  readonly answers: readonly PlainRecord[];
  readonly authorities: readonly PlainRecord[];
  readonly additionals: readonly PlainRecord[];
}

/** In a record's class: drop what was known (RFC 6762 10.2). In a question's: answer me alone. */
const TOP_BIT = 0x8000;
const TYPE_NAMES = new Map<number, string>(
  Object.entries(TYPE).map(([name, number]) => [number, name]),
);

const scratch = new Uint8Array(MAX_NAME_BYTES);

/**
 * The message, or null when it has no label of 64 bytes, or is malformed. `bytes` have passed the
 * guard: their counts fit in their length.
 */
export function readLongLabels(bytes: Uint8Array): PlainMessage | null {
  if (!hasLongLabel(bytes)) return null;
  const sections = { answers: [], authorities: [], additionals: [] } as Record<
    'answers' | 'authorities' | 'additionals',
    PlainRecord[]
  >;
  const questions: PlainQuestion[] = [];
  let at = HEADER_BYTES;
  for (let left = readU16(bytes, HEADER_QDCOUNT); left > 0; left--) {
    const name = readName(bytes, at);
    const behind = skipName(bytes, at, 0, bytes.length);
    if (name === null || behind < 0 || behind + 4 > bytes.length) return null;
    questions.push({
      name,
      type: typeName(readU16(bytes, behind)),
      class: className(readU16(bytes, behind + 2)),
    });
    at = behind + 4;
  }
  const walk = new RecordWalk(bytes, at);
  while (walk.next()) {
    const name = readName(bytes, walk.owner);
    if (name === null) return null;
    const other = walk.isAdditional ? sections.additionals : sections.authorities;
    (walk.isAnswer ? sections.answers : other).push(readRecord(bytes, walk, name));
  }
  if (walk.isMalformed) return null;
  const flags = readU16(bytes, HEADER_FLAGS);
  return {
    id: readU16(bytes, 0),
    type: (flags & FLAG_QR) === 0 ? 'query' : 'response',
    flags: flags & ~FLAG_QR,
    questions,
    ...sections,
  };
}

function readRecord(bytes: Uint8Array, walk: RecordWalk, name: string): PlainRecord {
  const { fixed, type, klass, rdata, rdataEnd } = walk;
  const ttl = readU16(bytes, fixed + 4) * 0x1_0000 + readU16(bytes, fixed + 6);
  let data: unknown = null;
  if (type === TYPE.TXT) data = readStrings(bytes, rdata, rdataEnd);
  if (type === TYPE.SRV) data = readService(bytes, rdata, rdataEnd);
  return {
    name,
    type: typeName(type),
    ttl,
    class: className(klass & ~TOP_BIT),
    flush: (klass & TOP_BIT) !== 0,
    data,
  };
}

/** The whole strings of a TXT record. */
function readStrings(bytes: Uint8Array, from: number, end: number): Buffer[] {
  const strings: Buffer[] = [];
  for (let at = from; at < end && at + 1 + bytes[at] <= end; at += 1 + bytes[at]) {
    strings.push(Buffer.from(bytes.slice(at + 1, at + 1 + bytes[at])));
  }
  return strings;
}

function readService(bytes: Uint8Array, from: number, end: number): object | null {
  const target = end - from < 7 ? null : readName(bytes, from + 6);
  if (target === null) return null;
  return {
    priority: readU16(bytes, from),
    weight: readU16(bytes, from + 2),
    port: readU16(bytes, from + 4),
    target,
  };
}

/** The name at `at`, its labels with dots between, as dns-packet gives it. */
function readName(bytes: Uint8Array, at: number): string | null {
  if (expandName(bytes, at, scratch) < 0) return null;
  const labels: string[] = [];
  for (let i = 0; scratch[i] !== 0; i += 1 + scratch[i]) {
    labels.push(Buffer.from(scratch.subarray(i + 1, i + 1 + scratch[i])).toString('utf8'));
  }
  return labels.length === 0 ? '.' : labels.join('.');
}

/** Whether there is a label of 64 bytes: looked at first, for most messages have none. */
function hasLongLabel(bytes: Uint8Array): boolean {
  if (bytes.indexOf(DISCOVERY_MAX_LABEL_BYTES, HEADER_BYTES) < 0) return false;
  let at = HEADER_BYTES;
  for (let left = readU16(bytes, HEADER_QDCOUNT); left > 0; left--) {
    if (isLongName(bytes, at)) return true;
    const behind = skipName(bytes, at, 0, bytes.length);
    if (behind < 0) return false;
    at = behind + 4;
  }
  const walk = new RecordWalk(bytes, at);
  while (walk.next()) if (isLongName(bytes, walk.owner)) return true;
  return false;
}

function isLongName(bytes: Uint8Array, at: number): boolean {
  if (expandName(bytes, at, scratch) < 0) return false;
  for (let i = 0; scratch[i] !== 0; i += 1 + scratch[i]) {
    if (scratch[i] === DISCOVERY_MAX_LABEL_BYTES) return true;
  }
  return false;
}

function typeName(type: number): string {
  return TYPE_NAMES.get(type) ?? `UNKNOWN_${type}`;
}

function className(klass: number): string {
  if (klass === CLASS.IN) return 'IN';
  return klass === CLASS.ANY ? 'ANY' : `UNKNOWN_${klass}`;
}
