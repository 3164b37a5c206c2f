/** Answers to questions that came by multicast, in the form of npm dns-packet. Pure. */
import { isIPv4, isIPv6 } from 'node:net';
import { encodingLength, type Packet } from 'dns-packet';
import {
  HEADER_BYTES,
  PEER4_BYTES,
  PEER6_BYTES,
  PEERS4_PER_STRING,
  PEERS6_PER_STRING,
} from '../../../codecs/dns/constants.ts';
import { formatAddress, writeAddress } from '../../net/ip-address.ts';
import type { Peer } from '../types.ts';
import { foldAscii } from './names.ts';
import type { Sender } from './peers.ts';

/** IPv4 peers of one answer: two strings, for an answer has to fit in one Ethernet frame. */
export const MAX_TOLD4 = 2 * PEERS4_PER_STRING;
/** IPv6 peers of one answer. */
export const MAX_TOLD6 = PEERS6_PER_STRING;
/** Records of one answer of addresses or services, as with the original. */
export const MAX_RECORDS_TOLD = 10;
/** Others looked at for one answer, from a random one on: more than can be told. */
export const MAX_OTHERS_LOOKED_AT = 128;
/** Records under our domain, of those that an asker says it knows, that are looked at. */
export const MAX_KNOWN_LOOKED_AT = 64;

const TYPES = ['TXT', 'A', 'AAAA', 'SRV', 'ANY'] as const;
export type AskedType = (typeof TYPES)[number];

/** A question about a name of ours. */
export interface Asked {
  /** As it was asked: answers repeat it. */
  readonly name: string;
  /** '' is the domain itself. */
  readonly id: string;
  readonly type: AskedType;
  readonly asker: Sender;
}

/** A record of an answer, for dns-packet. */
export interface Told {
  readonly type: 'TXT' | 'A' | 'AAAA' | 'SRV';
  readonly name: string;
  readonly ttl: number;
  readonly data: string | readonly Buffer[] | object;
}

/** Our own addresses on the network that an answer goes to; null: none, or not known. */
export interface OwnAddresses {
  readonly ip4: string | null;
  readonly ip6: string | null;
}

export interface AnswerSources {
  /** The value of `token=`. */
  readonly token: string;
  readonly ports: (id: string) => readonly number[];
  readonly others: (id: string) => readonly Peer[];
  /** An unsigned 32-bit number: which peers are told when there are too many. */
  readonly random: () => number;
}

export function isAskedType(type: unknown): type is AskedType {
  return TYPES.some((known) => known === type);
}

/** Bytes of a message with these records, as dns-packet writes it: without compression. */
export function messageBytes(answers: readonly Told[], questions: readonly object[] = []): number {
  return encodingLength({ questions, answers } as Packet);
}

/** Bytes that a record adds to a message. */
export function recordBytes(answer: Told): number {
  return messageBytes([answer]) - HEADER_BYTES;
}

/** Whether there may be something to tell of `id`, at the least cost. */
export function isAnythingKnown(id: string, { ports, others }: AnswerSources): boolean {
  return id === '' || ports(id).length > 0 || others(id).length > 0;
}

/** The records that answer; none when nothing is known. */
export function answersTo(
  asked: Asked,
  ttl: number,
  us: OwnAddresses,
  sources: AnswerSources,
): Told[] {
  return recordsFor(asked, us, sources).map((record) => ({ ...record, ttl }));
}

type Untimed = Omit<Told, 'ttl'>;

interface Other extends Peer {
  /** 6 or 18 bytes: address and port. */
  readonly bytes: Buffer;
}

function recordsFor(asked: Asked, us: OwnAddresses, sources: AnswerSources): Untimed[] {
  const { name, id, type, asker } = asked;
  if (id === '') {
    if (type !== 'TXT' && type !== 'ANY') return [];
    return [txt(name, [`token=${sources.token}`, `host=${asker.address}`, `port=${asker.port}`])];
  }
  const ports = sources.ports(id);
  const others = othersOf(sources.others(id), ports, sources);
  if (ports.length === 0 && others.length === 0) return [];
  const answers: Untimed[] = [];
  if (type === 'TXT' || type === 'ANY') {
    answers.push(txt(name, [`token=${sources.token}`, ...peerStrings(ports, others, sources)]));
  }
  if (type === 'SRV' || type === 'ANY') answers.push(...services(name, ports, others, us));
  if (type === 'A') answers.push(...addresses(name, 'A', ports, others, us.ip4));
  if (type === 'AAAA') answers.push(...addresses(name, 'AAAA', ports, others, us.ip6));
  return answers;
}

/**
 * What an asker says that it knows (RFC 6762 7.1), of what is under our domain. Finding a record
 * costs the same however many there are.
 */
export class KnownAnswers {
  readonly #records = new Map<string, KnownRecord[]>();

  /** `known` is a message's answers, as dns-packet decodes them: nothing is certain. */
  constructor(known: unknown, isOurs: (name: string) => boolean) {
    let left = MAX_KNOWN_LOOKED_AT;
    for (const record of Array.isArray(known) ? (known as KnownRecord[]) : []) {
      if (typeof record?.name !== 'string' || !isOurs(record.name)) continue;
      if (left-- === 0) return;
      const key = `${record.type} ${foldAscii(record.name)}`;
      const same = this.#records.get(key);
      if (same === undefined) this.#records.set(key, [record]);
      else same.push(record);
    }
  }

  /** Whether there is a record that a question could be about. */
  has({ name, type }: Asked): boolean {
    if (this.#records.size === 0) return false;
    const folded = foldAscii(name);
    return this.#records.has(`${type === 'ANY' ? 'TXT' : type} ${folded}`);
  }

  /** Whether all of `answers` are among them, with at least half of their life to come. */
  hasAll(answers: readonly Told[]): boolean {
    return answers.every((answer) =>
      this.#records
        .get(`${answer.type} ${foldAscii(answer.name)}`)
        ?.some(
          ({ ttl, data }) =>
            typeof ttl === 'number' && ttl >= answer.ttl / 2 && isSameData(answer.data, data),
        ),
    );
  }
}

interface KnownRecord {
  readonly name?: unknown;
  readonly type?: unknown;
  readonly ttl?: unknown;
  readonly data?: unknown;
}

function isSameData(ours: Told['data'], theirs: unknown): boolean {
  if (typeof ours === 'string') return ours === theirs;
  if (Array.isArray(ours)) {
    if (!Array.isArray(theirs) || theirs.length !== ours.length) return false;
    return ours.every(
      (text: Buffer, i) => theirs[i] instanceof Uint8Array && text.equals(theirs[i]),
    );
  }
  if (typeof theirs !== 'object' || theirs === null) return false;
  const known = theirs as Record<string, unknown>;
  return Object.entries(ours).every(([key, value]) => known[key] === value);
}

/**
 * `peers6=` and `peers=` strings. As with servers, the remainder comes before full strings and our
 * own ports come last: old clients keep the last `peers=` only.
 */
function peerStrings(
  ports: readonly number[],
  others: readonly Other[],
  { random }: AnswerSources,
): string[] {
  const own = some(ports, MAX_TOLD4, random).map((port) => peerBytes('0.0.0.0', port));
  const fours = others.filter(isFour);
  const told = some(fours, MAX_TOLD4 - own.length, random);
  const four = [...told.map(({ bytes }) => bytes), ...own];
  const sixes = others.filter((other) => !isFour(other));
  const six = some(sixes, MAX_TOLD6, random).map(({ bytes }) => bytes);
  const remainder = four.length % PEERS4_PER_STRING;
  const strings = six.length === 0 ? [] : [`peers6=${Buffer.concat(six).toString('base64')}`];
  for (let at = 0; at < four.length; ) {
    const size = at === 0 && remainder > 0 ? remainder : PEERS4_PER_STRING;
    strings.push(`peers=${Buffer.concat(four.slice(at, at + size)).toString('base64')}`);
    at += size;
  }
  return strings;
}

/** `host` is an address without a scope. */
function peerBytes(host: string, port: number): Buffer {
  const bytes = Buffer.alloc(PEER6_BYTES);
  const family = writeAddress(host, bytes, 0);
  bytes.writeUInt16BE(port, PEER6_BYTES - 2);
  return family === 4 ? bytes.subarray(PEER6_BYTES - PEER4_BYTES) : bytes;
}

function isFour({ bytes }: Other): boolean {
  return bytes.length === PEER4_BYTES;
}

function services(
  name: string,
  ports: readonly number[],
  others: readonly Peer[],
  { ip4 }: OwnAddresses,
): Untimed[] {
  // 0.0.0.0 is "whom you have this from" to clients of this protocol.
  const own = ports.map((port) => ({ port, host: ip4 ?? '0.0.0.0' }));
  return [...own, ...others].slice(0, MAX_RECORDS_TOLD).map(({ port, host }) => ({
    type: 'SRV',
    name,
    // All that dns-packet reads, in its order: known answers are compared.
    data: { priority: 0, weight: 0, port, target: host },
  }));
}

function addresses(
  name: string,
  type: 'A' | 'AAAA',
  ports: readonly number[],
  others: readonly Other[],
  own: string | null,
): Untimed[] {
  const isRight = type === 'A' ? isFour : (other: Other) => !isFour(other);
  const hosts = ports.length > 0 && own !== null ? [own] : [];
  hosts.push(...others.filter(isRight).map(({ host }) => host));
  return [...new Set(hosts)].slice(0, MAX_RECORDS_TOLD).map((data) => ({ type, name, data }));
}

/** Who else is known, without what stands for us, and without scopes, which mean nothing there. */
function othersOf(
  peers: readonly Peer[],
  ports: readonly number[],
  { random }: AnswerSources,
): Other[] {
  const others: Other[] = [];
  for (const { port, host } of some(peers, MAX_OTHERS_LOOKED_AT, random)) {
    if (port === 0 || (isUnspecified(host) && ports.includes(port))) continue;
    const text = host.split('%')[0];
    if (!isIPv4(text) && !isIPv6(text)) continue;
    const bytes = peerBytes(text, port);
    others.push({ port, host: canonicalHost(text, bytes), bytes });
  }
  return others;
}

/** v4-mapped ones dotted. */
function canonicalHost(text: string, bytes: Buffer): string {
  if (isIPv4(text)) return text;
  return bytes.length === PEER4_BYTES ? bytes.subarray(0, 4).join('.') : formatAddress(bytes, 0);
}

function isUnspecified(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** At most `most` of them, from a random one on. */
function some<T>(all: readonly T[], most: number, random: () => number): readonly T[] {
  if (all.length <= most) return all;
  const from = random() % all.length;
  return [...all.slice(from), ...all.slice(0, from)].slice(0, Math.max(0, most));
}

function txt(name: string, strings: readonly string[]): Untimed {
  return { type: 'TXT', name, data: strings.map((text) => Buffer.from(text, 'latin1')) };
}
