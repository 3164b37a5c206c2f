/** Queries and answers through the codec, for tests: hand-made messages in, parsed answers out. */
import assert from 'node:assert/strict';
import { CLASS, TYPE } from '../../codecs/dns/constants.ts';
import { DomainTable } from '../../codecs/dns/domains.ts';
import { QueryReader } from '../../codecs/dns/query.ts';
import { ReplyWriter } from '../../codecs/dns/reply.ts';
import { encodeName } from '../../codecs/dns/text.ts';
import { Arena } from './dns-bytes.ts';

export const DOMAIN = 'dns-discovery.local';
/** A 44-byte token, recorded from the original. */
export const TOKEN = 'bjka8cgIq0rHVN9eOE6mmowANrJbDh3SYBGRxh+qQtw=';

export interface RecordSpec {
  /** Text, or wire bytes for what no encoder makes. */
  name: string | number[];
  type: number;
  class?: number;
  ttl?: number;
  rdata: Uint8Array | number[];
  /** When it is to differ from the rdata's length. */
  rdlength?: number;
}

export interface MessageSpec {
  id?: number;
  flags?: number;
  question?: { name: string | number[]; type?: number; class?: number };
  answers?: RecordSpec[];
  authorities?: RecordSpec[];
  additionals?: RecordSpec[];
  trailing?: number[];
}

/** The message as specified; names may have 64-byte labels. */
export function buildMessage(spec: MessageSpec): Uint8Array {
  const sections = [spec.answers ?? [], spec.authorities ?? [], spec.additionals ?? []];
  const out = [
    ...u16(spec.id ?? 4242),
    ...u16(spec.flags ?? 0x0100),
    ...u16(spec.question ? 1 : 0),
  ];
  for (const section of sections) out.push(...u16(section.length));
  if (spec.question) {
    const { name, type = TYPE.TXT, class: klass = CLASS.IN } = spec.question;
    out.push(...wireName(name), ...u16(type), ...u16(klass));
  }
  for (const record of sections.flat()) {
    const { name, type, class: klass = CLASS.IN, ttl = 0, rdata } = record;
    out.push(...wireName(name), ...u16(type), ...u16(klass), ...u16(ttl >>> 16), ...u16(ttl));
    out.push(...u16(record.rdlength ?? rdata.length), ...rdata);
  }
  return Uint8Array.from([...out, ...(spec.trailing ?? [])]);
}

export function txtRecord(name: string | number[], ...strings: string[]): RecordSpec {
  return { name, type: TYPE.TXT, rdata: stringsOf(...strings) };
}

export function stringsOf(...strings: string[]): Uint8Array {
  return Buffer.concat(
    strings.map((text) => Buffer.from(`${String.fromCharCode(text.length)}${text}`, 'latin1')),
  );
}

/** An OPT record; `options` are raw. */
export function optRecord(size = 1232, version = 0, flags = 0, options: number[] = []): RecordSpec {
  return { name: '.', type: TYPE.OPT, class: size, ttl: (version << 16) | flags, rdata: options };
}

export function u16(value: number): number[] {
  return [(value >> 8) & 0xff, value & 0xff];
}

function wireName(name: string | number[]): ArrayLike<number> & Iterable<number> {
  return typeof name === 'string' ? encodeName(name, 64) : name;
}

/** A reader and a writer over an arena: what a lane has. */
export class Bench {
  readonly arena: Arena;
  readonly reader: QueryReader;
  readonly writer: ReplyWriter;
  length = 0;

  constructor(domains: string[] = [DOMAIN], canary = 0xa5) {
    this.arena = new Arena(canary);
    this.reader = new QueryReader(new DomainTable(domains));
    this.writer = new ReplyWriter(this.reader);
  }

  /** Loads and reads a message; the rcode. */
  read(message: Uint8Array | MessageSpec): number {
    const bytes = message instanceof Uint8Array ? message : buildMessage(message);
    this.length = this.arena.load(bytes);
    return this.reader.read(this.arena.bytes, this.arena.start, this.length);
  }

  /** Answers the query just read, at most `limit` bytes; checks that nothing else was touched. */
  reply(limit: number, write: (writer: ReplyWriter) => void, rcode = 0, aa = true): Buffer {
    this.writer.begin(this.arena.bytes, this.arena.start, this.reader, limit);
    write(this.writer);
    const length = this.writer.finish(rcode, aa);
    assert.ok(length <= limit, `${length} bytes with a limit of ${limit}`);
    assert.equal(this.arena.damage(Math.max(this.length, limit)), undefined);
    return Buffer.from(this.arena.message(length));
  }

  get key(): string {
    return Buffer.from(this.reader.folded.slice(0, this.reader.keyEnd)).toString('latin1');
  }
}

/** 6-byte peer records 10.0.x.y:port, all different. */
export function peers4(count: number): Uint8Array {
  return Uint8Array.from(
    Array.from({ length: count }, (_, i) => [10, 0, i >> 8, i & 255, ...u16(20_000 + i)]).flat(),
  );
}

/** 18-byte peer records 2001:db8::i:port. */
/** 6-byte records as the two 24-bit numbers each that `ReplyWriter.txtPeers` takes. */
export function pairsOf(records: Uint8Array): Int32Array {
  const pairs = new Int32Array(records.length / 3);
  pairs.forEach((_, i) => {
    pairs[i] = (records[3 * i] << 16) | (records[3 * i + 1] << 8) | records[3 * i + 2];
  });
  return pairs;
}

export function peers6(count: number): Uint8Array {
  const prefix = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  return Uint8Array.from(
    Array.from({ length: count }, (_, i) => [...prefix, ...u16(i), ...u16(30_000 + i)]).flat(),
  );
}

export function tokenBytes(token = TOKEN): Uint8Array {
  return Uint8Array.from(Buffer.from(token));
}

/** The 16 bytes of a dotted address, v4-mapped. */
export function mapped(address: string): Uint8Array {
  return Uint8Array.from([...Array(10).fill(0), 255, 255, ...address.split('.').map(Number)]);
}
