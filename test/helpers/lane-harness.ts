/**
 * A lane without sockets: admission and an inline lane on a fake clock, messages in and out as
 * bytes, by UDP or by TCP. What the pipeline does with sockets is done here by hand, so every
 * answer is deterministic.
 */
import { type DecodedPacket, decode, encode, type RecordType } from 'dns-packet';
import { EDNS_UDP_BYTES, OPTION } from '../../codecs/dns/constants.ts';
import { DomainTable } from '../../codecs/dns/domains.ts';
import { encodeNsid } from '../../codecs/dns/edns.ts';
import { QueryReader } from '../../codecs/dns/query.ts';
import { Admission, DROP, SHORT_REPLY } from '../../server/admission.ts';
import { Dispatcher } from '../../server/dispatch.ts';
import { formatAddress, writeAddress } from '../../server/net/ip-address.ts';
import { SOCKET_DNS } from '../../server/net/protocol-table.ts';
import type { CookieSecrets } from '../../workers/cookies.ts';
import {
  allocateCounters,
  type CounterName,
  counterRow,
  sumCounters,
} from '../../workers/counters.ts';
import {
  allocateLaneStores,
  createLane,
  type LaneConfig,
  nameHash,
} from '../../workers/create-lane.ts';
import type { Lane } from '../../workers/lane.ts';
import type { LaneHooks } from '../../workers/lane-hooks.ts';
import { Overflow } from '../../workers/overflow.ts';
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
  SLOT_LOCAL,
  SLOT_PORT,
  SLOT_PROVEN,
  SLOT_RECEIVER,
  SLOT_STATE,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_TCP,
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
  /** What one prefix, and one name, may have; hardly bounded unless given. */
  readonly bounds?: { readonly prefixLimit: number; readonly nameLimit: number };
  readonly seed?: number;
  /** Sockets there are. */
  readonly receivers?: number;
  readonly nsid?: string;
  readonly cookieSecrets?: CookieSecrets;
  readonly hooks?: LaneHooks;
  /** What else is to differ. */
  readonly lane?: Partial<LaneConfig>;
}

/** How a message comes: by UDP and without a budget, or as said. */
export interface Transfer {
  readonly tcp?: boolean;
  /** What admission allows an unproven source: bytes, BUDGET_SILENT or BUDGET_TRUNCATED. */
  readonly budget?: number;
  /** The address it arrives on; not known unless given. */
  readonly local?: string;
}

export const HASH_KEY = [123, 456] as const;
const UDP_SLOT = 0;
const ORIGIN_SLOTS = 64;
const TCP_SLOT = UDP_SLOT + 1 + ORIGIN_SLOTS;

export class LaneHarness {
  /** The socket by which datagrams come. */
  receiver = 0;
  /** Whether the lane found the source of the last message proven. */
  isProven = false;
  /** The fake clock, in milliseconds since the epoch. */
  nowMs = 1_700_000_000_000;
  readonly slab = Slab.allocate(TCP_SLOT + 1);
  readonly overflow = new Overflow(Overflow.allocate(1), TCP_SLOT);
  readonly #counters = allocateCounters(2);
  readonly #requests = Ring.allocate(128);
  readonly #replies = Ring.allocate(128);
  readonly #admission = new Admission(this.slab, this.overflow, counterRow(this.#counters, 0));
  readonly #lane: Lane;
  readonly #dispatcher: Dispatcher;
  /** Pushes the lane has sent since they were last taken. */
  #pushes: Sent[] = [];

  constructor(options: HarnessOptions = {}) {
    const domains = options.domains ?? ['dns-discovery.local'];
    const reader = new QueryReader(new DomainTable(domains));
    this.#dispatcher = new Dispatcher(this.slab, this.overflow, 1, reader, nameHash(HASH_KEY));
    const config: LaneConfig = {
      lane: 0,
      lanes: 1,
      slab: this.slab.buffer,
      overflow: this.overflow.buffer,
      firstOverflowSlot: TCP_SLOT,
      requests: this.#requests.buffer,
      replies: this.#replies.buffer,
      counters: this.#counters,
      counterRow: 1,
      firstOriginSlot: UDP_SLOT + 1,
      originSlots: ORIGIN_SLOTS,
      receivers: options.receivers ?? 1,
      domains,
      nameserver: null,
      zoneSerial: 1,
      ttlSeconds: options.ttlSeconds ?? 0,
      dht: null,
      stores: allocateLaneStores(options.limit ?? 10_000, HASH_KEY),
      bounds: options.bounds ?? { prefixLimit: 10_000_000, nameLimit: 10_000_000 },
      hashKey: HASH_KEY,
      tokenSecret: new Uint8Array(32).fill(1),
      cookieSecrets: options.cookieSecrets ?? {
        active: new Uint8Array(16).fill(2),
        previous: null,
      },
      nsid: options.nsid === undefined ? null : encodeNsid(options.nsid),
      seed: options.seed ?? 1,
      ...options.lane,
    };
    this.#lane = createLane(config, [], options.hooks);
  }

  /** Sends a message from an endpoint; the answer, or null for none. */
  exchange(message: Uint8Array, from: Endpoint, how: Transfer = {}): Uint8Array | null {
    const { bytes, u16, i32 } = this.slab;
    const slot = how.tcp ? TCP_SLOT : UDP_SLOT;
    const base = slot * SLOT_BYTES;
    bytes.fill(0, base, base + SLOT_HEADER_BYTES);
    if (how.tcp) this.overflow.bytes.set(message, this.overflow.start(slot));
    else bytes.set(message, base + SLOT_HEADER_BYTES);
    i32[(base + SLOT_LENGTH) >> 2] = message.length;
    bytes[base + SLOT_FAMILY] = writeAddress(from.address, bytes, base + SLOT_ADDRESS);
    bytes[base + SLOT_TRANSPORT] = how.tcp ? TRANSPORT_TCP : TRANSPORT_UDP;
    if (how.local !== undefined) writeAddress(how.local, bytes, base + SLOT_LOCAL);
    u16[(base + SLOT_PORT) >> 1] = from.port;
    u16[(base + SLOT_RECEIVER) >> 1] = this.receiver;
    i32[(base + SLOT_BUDGET) >> 2] = how.budget ?? SLOT_DATA_BYTES;
    counterRow(this.#counters, 0)[0]++;
    this.isProven = false;
    const verdict = this.#admission.admit(slot, SOCKET_DNS);
    if (verdict === DROP) return null;
    if (verdict === SHORT_REPLY) return this.#take(slot).bytes;
    this.#dispatcher.laneOf(slot);
    this.#requests.push(Int32Array.of(slot), 0, 1);
    this.#lane.drain(this.nowMs);
    this.isProven = bytes[base + SLOT_STATE] === SLOT_PROVEN;
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
      const isOwn = slot !== UDP_SLOT && slot !== TCP_SLOT;
      if (!isOwn) answer = sent?.bytes ?? null;
      else if (sent) this.#pushes.push(sent);
      if (isOwn) this.slab.bytes[slot * SLOT_BYTES + SLOT_STATE] = SLOT_FREE;
    }
    return answer;
  }

  #take(slot: number): Sent {
    const { u16, i32 } = this.slab;
    const base = slot * SLOT_BYTES;
    const memory = slot === TCP_SLOT ? this.overflow : this.slab;
    const start = slot === TCP_SLOT ? this.overflow.start(slot) : base + SLOT_HEADER_BYTES;
    counterRow(this.#counters, 0)[2]++;
    return {
      address: formatAddress(this.slab.bytes, base + SLOT_ADDRESS),
      port: u16[(base + SLOT_PORT) >> 1],
      receiver: u16[(base + SLOT_RECEIVER) >> 1],
      bytes: memory.bytes.slice(start, start + i32[base >> 2]),
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

/** The data of an option of the answer's OPT, or undefined. */
export function optionOf(packet: Packet, code: number): Uint8Array | undefined {
  const opt = packet.additionals?.find((record) => record.type === 'OPT');
  if (opt?.type !== 'OPT') return undefined;
  const option = opt.options.find((each) => each.code === code);
  return option === undefined ? undefined : Uint8Array.from(option.data ?? []);
}

export const DOMAIN = 'dns-discovery.local';

export interface Asking {
  readonly name: string;
  readonly type?: RecordType;
  readonly strings?: readonly string[];
  readonly edns?: number;
  readonly id?: number;
  /** A COOKIE option's data; with OPT, of 1232 bytes unless said. */
  readonly cookie?: Uint8Array;
  /** Asks for the NSID. */
  readonly nsid?: boolean;
}

/** A query's bytes as the original's client or a resolver would send it. */
export function queryBytes(asking: Asking): Uint8Array {
  const { name, type = 'TXT', strings, edns, id = 77, cookie, nsid } = asking;
  const additionals: object[] = [];
  if (strings) additionals.push({ type: 'TXT', name, ttl: 0, data: [...strings] });
  const options: object[] = [];
  if (cookie) options.push({ code: OPTION.COOKIE, data: Buffer.from(cookie) });
  if (nsid) options.push({ code: OPTION.NSID, data: Buffer.alloc(0) });
  if (edns !== undefined || options.length > 0) {
    const udpPayloadSize = edns ?? EDNS_UDP_BYTES;
    additionals.push({ type: 'OPT', name: '.', udpPayloadSize, flags: 0, options });
  }
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
  ask(asking: Asking, how: Transfer = {}): Packet {
    const answer = this.harness.exchange(queryBytes(asking), this.endpoint, how);
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
