/**
 * A DHT responder without sockets or threads: requests in, replies out, on a fake clock. What main
 * does around a lane is done here by hand: slots are filled, signatures checked, the table written.
 * After every request the counters must balance.
 */
import assert from 'node:assert/strict';
import { hostToU32, type NodeAddress, u32ToHost, writeHostPort } from '../../codecs/dht/address.ts';
import { COMMAND } from '../../codecs/dht/constants.ts';
import {
  type DhtReply,
  type DhtRequest,
  decodeReply,
  decodeRequest,
  encodeRequest,
} from '../../codecs/dht/message.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import {
  allocateCounters,
  COUNTER,
  type CounterName,
  counterRow,
  inFlight,
  sumCounters,
} from '../../workers/counters.ts';
import { createDhtResponder, type DhtLaneConfig } from '../../workers/dht/create-responder.ts';
import type { DhtResponder } from '../../workers/dht/responder.ts';
import { RoutingTable } from '../../workers/dht/routing-table.ts';
import { checkSignature } from '../../workers/dht/signature.ts';
import { allocateDhtStores, type DhtStoreLimits } from '../../workers/dht/store/layout.ts';
import { TableWriter } from '../../workers/dht/table-writer.ts';
import { OriginSlots } from '../../workers/origin-slots.ts';
import { Outbox } from '../../workers/outbox.ts';
import { PROTOCOL_DHT } from '../../workers/protocols.ts';
import { Ring } from '../../workers/ring.ts';
import { Rng } from '../../workers/rng.ts';
import {
  SLOT_ADDRESS,
  SLOT_BUDGET,
  SLOT_BYTES,
  SLOT_DATA_BYTES,
  SLOT_FAMILY,
  SLOT_FORGED,
  SLOT_FREE,
  SLOT_GENUINE,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_LOCAL,
  SLOT_PORT,
  SLOT_PROTOCOL,
  SLOT_PROVEN,
  SLOT_RECEIVER,
  SLOT_STATE,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_UDP,
} from '../../workers/slab.ts';

export const SERVER_SOCKET = 0;
export const CLIENT_SOCKET = 1;
const REQUEST_SLOT = 0;
const OWN_SLOTS = 8;
const MAPPED_AT = 12;

export interface DhtHarnessOptions {
  /** Where the node is; its id follows. */
  readonly host?: string;
  readonly port?: number;
  readonly isPersistent?: boolean;
  readonly isPrivate?: boolean;
  readonly limits?: Partial<DhtStoreLimits>;
  readonly seed?: number;
  readonly ownSlots?: number;
  /** What else is to differ. */
  readonly lane?: Partial<DhtLaneConfig>;
}

/** How a request comes: by the server socket, unproven and without a budget, or as said. */
export interface Arrival {
  readonly budget?: number;
  readonly isProven?: boolean;
  readonly receiver?: number;
  /** What the check of a signature says; it is checked unless said. */
  readonly verdict?: 'genuine' | 'forged';
}

/** A datagram of the node's own. */
export interface SentDatagram {
  readonly to: NodeAddress;
  readonly receiver: number;
  readonly bytes: Uint8Array;
}

/** What a request says; the rest is as of a client that has no id. */
export type Asked = Partial<DhtRequest> & { readonly command: number };

export class DhtHarness {
  /** Milliseconds since 1970. */
  nowMs = 1_700_000_000_000;
  readonly slab: Slab;
  readonly table: TableWriter;
  readonly responder: DhtResponder;
  readonly address: NodeAddress;
  readonly id: Uint8Array;
  /** The state of the last request's slot. */
  state = 0;
  /** How many signatures have been checked. */
  checks = 0;
  readonly #counters = allocateCounters(1);
  readonly #row = counterRow(this.#counters, 0);
  readonly #replies = Ring.allocate(64);
  readonly #outbox: Outbox;
  readonly #own: SentDatagram[] = [];
  #tid = 0;

  constructor(options: DhtHarnessOptions = {}) {
    const { host = '198.51.99.1', port = 49_737, seed = 1, ownSlots = OWN_SLOTS } = options;
    const { isPrivate = false, isPersistent = true, limits } = options;
    this.address = { host, port };
    this.id = nodeId(host, port);
    const table = RoutingTable.allocate();
    this.table = new TableWriter(table, { isPrivate });
    this.table.setOwn(this.id, isPersistent);
    this.slab = Slab.allocate(1 + ownSlots);
    this.#outbox = new Outbox(this.slab, this.#replies);
    const small = { peers: 1000, forwards: 100, refreshes: 100, mutables: 20, immutables: 20 };
    this.responder = createDhtResponder(
      {
        table,
        stores: allocateDhtStores({ ...small, ...limits }),
        tokenSecret: new Uint8Array(32).fill(7),
        hashKey: [123, 456],
        isPrivate,
        clientReceiver: CLIENT_SOCKET,
        ...options.lane,
      },
      {
        slab: this.slab,
        counters: this.#row,
        outbox: this.#outbox,
        slots: new OriginSlots(this.slab, 1, ownSlots),
        rng: new Rng(seed),
        seed,
      },
    );
  }

  /** Sends a datagram from an address; the reply's bytes, or null for none. */
  exchange(datagram: Uint8Array, from: NodeAddress, how: Arrival = {}): Uint8Array | null {
    this.#place(datagram, from, how);
    this.responder.setTime(this.nowMs);
    let length = this.#answer();
    if (length < 0) {
      assert.equal(-length, datagram.length, 'the length of what is to be checked');
      assert.deepEqual(
        this.#datagram(datagram.length),
        Uint8Array.from(datagram),
        'left as it was',
      );
      this.checks++;
      this.slab.bytes[REQUEST_SLOT * SLOT_BYTES + SLOT_STATE] |= this.#verdict(-length, how);
      length = this.#answer();
      assert.ok(length >= 0, 'asked twice for the check of a signature');
    }
    this.state = this.slab.bytes[REQUEST_SLOT * SLOT_BYTES + SLOT_STATE];
    if (length > 0) this.#row[COUNTER.sent]++;
    this.collect();
    assert.equal(inFlight(this.counters()), 0, 'the balance of the counters');
    return length === 0 ? null : this.#datagram(length);
  }

  /** Asks and decodes; null: no reply. */
  ask(asked: Asked, from: NodeAddress, how: Arrival = {}): DhtReply | null {
    const reply = this.exchange(encodeRequest(this.request(asked)), from, how);
    if (reply === null) return null;
    const decoded = decodeReply(reply);
    assert.ok(decoded !== null, 'a readable reply');
    return decoded;
  }

  /** A whole request. */
  request(asked: Asked): DhtRequest {
    const rest = { to: this.address, id: null, token: null, target: null, value: null };
    return { tid: this.#tid++ & 0xffff, isInternal: false, ...rest, ...asked };
  }

  /** The token of an address. */
  token(from: NodeAddress): Uint8Array {
    const target = new Uint8Array(32);
    const reply = this.ask({ command: COMMAND.FIND_PEER, target }, from, { isProven: true });
    assert.ok(reply?.token, 'a token');
    return reply.token;
  }

  /** Where the last reply goes: the slot's address and port. */
  get repliedTo(): NodeAddress {
    return this.#addressOf(REQUEST_SLOT);
  }

  /** Adds nodes to the table. */
  know(...nodes: readonly NodeAddress[]): void {
    for (const { host, port } of nodes) this.table.add(host, port, 1);
  }

  /** Moves the clock and lets the responder do what is due. */
  advance(ms: number): void {
    this.nowMs += ms;
    this.responder.tick(this.nowMs);
    this.collect();
  }

  /** What the node has sent on its own account since this was last asked. */
  takeOwn(): SentDatagram[] {
    return this.#own.splice(0);
  }

  /** The one datagram of the node's own, decoded as a request. */
  takeRelayed(): { readonly to: NodeAddress; readonly request: DhtRequest } {
    const own = this.takeOwn();
    assert.equal(own.length, 1, 'one datagram of our own');
    const request = decodeRequest(own[0].bytes);
    assert.ok(request !== null, 'a readable request');
    return { to: own[0].to, request };
  }

  counters(): Record<CounterName, number> {
    return sumCounters(this.#counters);
  }

  /** Takes the own datagrams as main does. */
  collect(): void {
    this.#outbox.flush();
    const slots = new Int32Array(64);
    const count = this.#replies.pop(slots, 64);
    for (let i = 0; i < count; i++) {
      const slot = slots[i];
      const base = slot * SLOT_BYTES;
      const length = this.slab.i32[(base + SLOT_LENGTH) >> 2];
      const start = base + SLOT_HEADER_BYTES;
      this.#own.push({
        to: this.#addressOf(slot),
        receiver: this.slab.u16[(base + SLOT_RECEIVER) >> 1],
        bytes: this.slab.bytes.slice(start, start + length),
      });
      this.#row[COUNTER.sent]++;
      this.slab.bytes[base + SLOT_STATE] = SLOT_FREE;
    }
  }

  #place(datagram: Uint8Array, from: NodeAddress, how: Arrival): void {
    const { bytes, i32, u16 } = this.slab;
    const base = REQUEST_SLOT * SLOT_BYTES;
    bytes.fill(0, base, base + SLOT_HEADER_BYTES);
    // Bytes of an older datagram lie behind this one, as in a slot that is used again.
    bytes.set(datagram, base + SLOT_HEADER_BYTES);
    i32[(base + SLOT_LENGTH) >> 2] = datagram.length;
    bytes[base + SLOT_FAMILY] = 4;
    bytes[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
    bytes[base + SLOT_PROTOCOL] = PROTOCOL_DHT;
    mapAddress(bytes, base + SLOT_ADDRESS, from);
    mapAddress(bytes, base + SLOT_LOCAL, this.address);
    u16[(base + SLOT_PORT) >> 1] = from.port;
    u16[(base + SLOT_RECEIVER) >> 1] = how.receiver ?? SERVER_SOCKET;
    i32[(base + SLOT_BUDGET) >> 2] = how.budget ?? SLOT_DATA_BYTES;
    bytes[base + SLOT_STATE] = how.isProven ? SLOT_PROVEN : 0;
    this.#row[COUNTER.received]++;
  }

  #answer(): number {
    const length = this.responder.answer(REQUEST_SLOT);
    if (length > 0) this.slab.i32[(REQUEST_SLOT * SLOT_BYTES + SLOT_LENGTH) >> 2] = length;
    return length;
  }

  #verdict(length: number, how: Arrival): number {
    if (how.verdict !== undefined) return how.verdict === 'genuine' ? SLOT_GENUINE : SLOT_FORGED;
    const start = REQUEST_SLOT * SLOT_BYTES + SLOT_HEADER_BYTES;
    const isGenuine = checkSignature(this.slab.bytes, start, length, this.id);
    return isGenuine ? SLOT_GENUINE : SLOT_FORGED;
  }

  #datagram(length: number): Uint8Array {
    const start = REQUEST_SLOT * SLOT_BYTES + SLOT_HEADER_BYTES;
    return this.slab.bytes.slice(start, start + length);
  }

  #addressOf(slot: number): NodeAddress {
    const base = slot * SLOT_BYTES;
    const host = this.slab.view.getUint32(base + SLOT_ADDRESS + MAPPED_AT);
    return { host: u32ToHost(host), port: this.slab.u16[(base + SLOT_PORT) >> 1] };
  }
}

/** Writes an IPv4 address as a slot has it. */
function mapAddress(bytes: Uint8Array, at: number, { host, port }: NodeAddress): void {
  const wire = new Uint8Array(6);
  writeHostPort(wire, 0, hostToU32(host), port);
  bytes.fill(0, at, at + MAPPED_AT);
  bytes.fill(0xff, at + MAPPED_AT - 2, at + MAPPED_AT);
  bytes.set(wire.subarray(0, 4), at + MAPPED_AT);
}
