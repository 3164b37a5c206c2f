/**
 * A lane without sockets: admission and an inline lane on a fake clock, datagrams in and out as
 * bytes. What the pipeline does with sockets is done here by hand, so every answer is
 * deterministic.
 */
import { type DecodedPacket, decode, encode, type RecordType } from 'dns-packet';
import { DomainTable } from '../../codecs/dns/domains.ts';
import { QueryReader } from '../../codecs/dns/query.ts';
import { Admission, DROP, SHORT_REPLY } from '../../server/admission.ts';
import { Dispatcher } from '../../server/dispatch.ts';
import { formatAddress, writeAddress } from '../../server/net/ip-address.ts';
import { SOCKET_DNS } from '../../server/net/protocol-table.ts';
import {
  allocateCounters,
  type CounterName,
  counterRow,
  sumCounters,
} from '../../workers/counters.ts';
import { allocateLaneStores, createLane, nameHash } from '../../workers/create-lane.ts';
import type { Lane } from '../../workers/lane.ts';
import { Ring } from '../../workers/ring.ts';
import {
  SLOT_ADDRESS,
  SLOT_BUDGET,
  SLOT_BYTES,
  SLOT_DATA_BYTES,
  SLOT_FAMILY,
  SLOT_FREE,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_RECEIVER,
  SLOT_STATE,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_UDP,
} from '../../workers/slab.ts';

/** What dns-packet 5 decodes; its types leave the rcode out. */
export type Packet = DecodedPacket & { readonly rcode: string };

/** Decodes an answer with dns-packet. */
export function decodePacket(bytes: Uint8Array): Packet {
  return decode(Buffer.from(bytes)) as Packet;
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface Sent extends Endpoint {
  /** The socket it leaves by. */
  readonly receiver: number;
  readonly bytes: Uint8Array;
}

export interface HarnessOptions {
  readonly domains?: readonly string[];
  readonly ttlSeconds?: number;
  readonly limit?: number;
  readonly seed?: number;
  /** Sockets there are. */
  readonly receivers?: number;
}

const HASH_KEY = [123, 456] as const;
const ORIGIN_SLOTS = 64;

export class LaneHarness {
  /** The socket by which datagrams come. */
  receiver = 0;
  /** The fake clock, in milliseconds since the epoch. */
  nowMs = 1_700_000_000_000;
  readonly slab = Slab.allocate(1 + ORIGIN_SLOTS);
  readonly #counters = allocateCounters(2);
  readonly #requests = Ring.allocate(128);
  readonly #replies = Ring.allocate(128);
  readonly #admission = new Admission(this.slab, counterRow(this.#counters, 0));
  readonly #lane: Lane;
  readonly #dispatcher: Dispatcher;
  /** Pushes the lane has sent since they were last taken. */
  #pushes: Sent[] = [];

  constructor(options: HarnessOptions = {}) {
    const domains = options.domains ?? ['dns-discovery.local'];
    const reader = new QueryReader(new DomainTable(domains));
    this.#dispatcher = new Dispatcher(this.slab, 1, reader, nameHash(HASH_KEY));
    this.#lane = createLane({
      lane: 0,
      lanes: 1,
      slab: this.slab.buffer,
      requests: this.#requests.buffer,
      replies: this.#replies.buffer,
      counters: this.#counters,
      counterRow: 1,
      firstOriginSlot: 1,
      originSlots: ORIGIN_SLOTS,
      receivers: options.receivers ?? 1,
      domains,
      nameserver: null,
      zoneSerial: 1,
      ttlSeconds: options.ttlSeconds ?? 0,
      stores: allocateLaneStores(options.limit ?? 10_000, HASH_KEY),
      hashKey: HASH_KEY,
      tokenSecret: new Uint8Array(32).fill(1),
      seed: options.seed ?? 1,
    });
  }

  /** Sends a datagram from an endpoint; the answer, or null for none. */
  exchange(datagram: Uint8Array, from: Endpoint): Uint8Array | null {
    const { bytes, u16, i32 } = this.slab;
    bytes.fill(0, 0, SLOT_HEADER_BYTES);
    bytes.set(datagram, SLOT_HEADER_BYTES);
    i32[SLOT_LENGTH >> 2] = datagram.length;
    bytes[SLOT_FAMILY] = writeAddress(from.address, bytes, SLOT_ADDRESS);
    bytes[SLOT_TRANSPORT] = TRANSPORT_UDP;
    u16[SLOT_PORT >> 1] = from.port;
    u16[SLOT_RECEIVER >> 1] = this.receiver;
    i32[SLOT_BUDGET >> 2] = SLOT_DATA_BYTES;
    counterRow(this.#counters, 0)[0]++;
    const verdict = this.#admission.admit(0, SOCKET_DNS);
    if (verdict === DROP) return null;
    if (verdict === SHORT_REPLY) return this.#take(0).bytes;
    this.#dispatcher.laneOf(0);
    this.#requests.push(Int32Array.of(0), 0, 1);
    this.#lane.drain(this.nowMs);
    return this.#collect();
  }

  /** Moves the clock and lets the lane do what is due. */
  advance(ms: number): void {
    this.nowMs += ms;
    this.#lane.tick(this.nowMs);
    this.#collect();
  }

  /** The pushes sent since the last call. */
  takePushes(): Sent[] {
    const pushes = this.#pushes;
    this.#pushes = [];
    return pushes;
  }

  counters(): Record<CounterName, number> {
    return sumCounters(this.#counters);
  }

  #collect(): Uint8Array | null {
    const out = new Int32Array(128);
    const count = this.#replies.pop(out, 128);
    let answer: Uint8Array | null = null;
    for (let i = 0; i < count; i++) {
      const slot = out[i];
      const sent = this.slab.i32[(slot * SLOT_BYTES) >> 2] > 0 ? this.#take(slot) : null;
      if (slot === 0) answer = sent?.bytes ?? null;
      else if (sent) this.#pushes.push(sent);
      if (slot > 0) this.slab.bytes[slot * SLOT_BYTES + SLOT_STATE] = SLOT_FREE;
    }
    return answer;
  }

  #take(slot: number): Sent {
    const { bytes, u16, i32 } = this.slab;
    const base = slot * SLOT_BYTES;
    const start = base + SLOT_HEADER_BYTES;
    counterRow(this.#counters, 0)[2]++;
    return {
      address: formatAddress(bytes, base + SLOT_ADDRESS),
      port: u16[(base + SLOT_PORT) >> 1],
      receiver: u16[(base + SLOT_RECEIVER) >> 1],
      bytes: bytes.slice(start, start + i32[base >> 2]),
    };
  }
}

/** Decoded TXT strings of the first answer, as a map of the last of each key. */
export function txtOf(packet: Packet): Map<string, string> {
  const map = new Map<string, string>();
  const answer = packet.answers?.[0];
  if (answer?.type !== 'TXT') return map;
  for (const item of [answer.data].flat()) {
    const text = item.toString();
    const equals = text.indexOf('=');
    map.set(text.slice(0, equals), text.slice(equals + 1));
  }
  return map;
}

/** All `peers=` strings of the first answer as text `host:port`. */
export function peersOf(packet: Packet): string[] {
  const answer = packet.answers?.[0];
  if (answer?.type !== 'TXT') return [];
  const peers: string[] = [];
  for (const item of [answer.data].flat()) {
    const text = item.toString();
    if (text.startsWith('peers=')) peers.push(...readPeers(text.slice('peers='.length)));
  }
  return peers;
}

function readPeers(base64: string): string[] {
  const bytes = Buffer.from(base64, 'base64');
  const peers: string[] = [];
  for (let at = 0; at + 6 <= bytes.length; at += 6) {
    peers.push(`${[...bytes.subarray(at, at + 4)].join('.')}:${bytes.readUInt16BE(at + 4)}`);
  }
  return peers;
}

export const DOMAIN = 'dns-discovery.local';

export interface Asking {
  readonly name: string;
  readonly type?: RecordType;
  readonly strings?: readonly string[];
  readonly edns?: number;
  readonly id?: number;
}

/** A query's bytes as the original's client or a resolver would send it. */
export function queryBytes({ name, type = 'TXT', strings, edns, id = 77 }: Asking): Uint8Array {
  const additionals: object[] = [];
  if (strings) additionals.push({ type: 'TXT', name, ttl: 0, data: [...strings] });
  if (edns)
    additionals.push({ type: 'OPT', name: '.', udpPayloadSize: edns, flags: 0, options: [] });
  return encode({
    type: 'query',
    id,
    flags: 0x100,
    questions: [{ type, name }],
    additionals: additionals as never,
  });
}

/** A client at one endpoint of a harness, with its token. */
export class HarnessClient {
  readonly harness: LaneHarness;
  readonly endpoint: Endpoint;

  constructor(harness: LaneHarness, address: string, port: number) {
    this.harness = harness;
    this.endpoint = { address, port };
  }

  /** Asks and decodes; fails when there is no answer. */
  ask(asking: Asking): Packet {
    const answer = this.harness.exchange(queryBytes(asking), this.endpoint);
    if (answer === null) throw new Error(`no answer to ${asking.type ?? 'TXT'} ${asking.name}`);
    return decodePacket(answer);
  }

  token(domain = DOMAIN): string {
    return txtOf(this.ask({ name: domain })).get('token') ?? '';
  }

  announce(id: string, port: number, more: readonly string[] = []): Packet {
    return this.#act(id, [`announce=${port}`, 'subscribe=true', ...more]);
  }

  unannounce(id: string, port: number): Packet {
    return this.#act(id, [`unannounce=${port}`]);
  }

  lookup(id: string): Packet {
    return this.#act(id, ['subscribe=true']);
  }

  #act(id: string, strings: readonly string[]): Packet {
    return this.ask({ name: `${id}.${DOMAIN}`, strings: [`token=${this.token()}`, ...strings] });
  }
}
