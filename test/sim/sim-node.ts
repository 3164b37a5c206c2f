/**
 * One node of the DHT on a simulated machine: the real control plane, responder, routing table and
 * stores, joined as the server joins them, with a slab of a few slots in place of its own.
 *
 *   socket --reply----> DhtNode.onReply
 *          --request--> slot -> responder.answer -> socket              (length > 0)
 *                                  |         -> verifier -> again          (length < 0)
 *                                  +--> its own slots -> socket         (relays, delayed pings)
 *                                  +--> bits of the slot's state -> DhtNode
 */

import { hostToU32, type NodeAddress, u32ToHost } from '../../codecs/dht/address.ts';
import { REPLY_BYTE, REQUEST_BYTE } from '../../codecs/dht/constants.ts';
import { decodeReply } from '../../codecs/dht/message.ts';
import { V4_MAPPED } from '../../codecs/mapped-address.ts';
import { InlineVerifier } from '../../server/dht/inline-verifier.ts';
import { DhtNode } from '../../server/dht/node.ts';
import { ProvenTable } from '../../server/dht/proven-table.ts';
import type { DhtNodeOptions, DhtTransport, SocketKind } from '../../server/dht/types.ts';
import { allocateCounters, counterRow } from '../../workers/counters.ts';
import {
  createDhtResponder,
  type DhtLaneConfig,
  SMALL_LANE_SIZES,
} from '../../workers/dht/create-responder.ts';
import type { DhtResponder } from '../../workers/dht/responder.ts';
import { RoutingTable } from '../../workers/dht/routing-table.ts';
import { allocateDhtStores } from '../../workers/dht/store/layout.ts';
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
  SLOT_DOWN_HINT,
  SLOT_FAMILY,
  SLOT_HEADER_BYTES,
  SLOT_KEY_HASH,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_PROTOCOL,
  SLOT_PROVEN,
  SLOT_RECEIVER,
  SLOT_SIGHTED,
  SLOT_STATE,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_UDP,
} from '../../workers/slab.ts';
import type { Machine, SimSocket } from './machine.ts';
import type { MachineClock } from './virtual-clock.ts';

/** Slots for requests: more than one only while signatures are checked. */
const REQUEST_SLOTS = 4;
const OWN_SLOTS = 4;
const SLOTS = REQUEST_SLOTS + OWN_SLOTS;
/** How long a signature takes, with the way to the thread that checks it. */
const CHECK_MS = 1;
const SERVER = 0;
const CLIENT = 1;
/** Three thousand nodes in one process: rows for what a test stores, not for the world. */
const STORE_LIMITS = { peers: 64, forwards: 16, refreshes: 16, mutables: 32, immutables: 32 };
/** Buckets that a network of some thousands fills. */
const TABLE_ROWS = 24;
const PROVEN_ENTRIES = 256;
/** How often the responder is told the time when nothing comes. */
const TICK_MS = 1000;

export interface SimNodeParts {
  readonly machine: Machine;
  readonly clock: MachineClock;
  readonly seed: number;
  /** The port of the server socket. */
  readonly port: number;
  readonly isPrivate: boolean;
  readonly options: DhtNodeOptions;
}

export class SimNode implements DhtTransport {
  readonly machine: Machine;
  readonly clock: MachineClock;
  readonly address: NodeAddress;
  readonly dht: DhtNode;
  readonly table: TableWriter;
  readonly responder: DhtResponder;
  readonly counters = counterRow(allocateCounters(1), 0);
  /** Signatures checked. */
  checks = 0;
  readonly #parts: SimNodeParts;
  readonly #slab = Slab.allocate(SLOTS);
  readonly #outbox: Outbox;
  readonly #proven: ProvenTable;
  readonly #sockets: SimSocket[] = [];
  readonly #verifier: InlineVerifier;
  readonly #free = Array.from({ length: REQUEST_SLOTS }, (_, slot) => slot);

  constructor(parts: SimNodeParts) {
    this.#parts = parts;
    const { machine, clock, seed, port, isPrivate, options } = parts;
    this.machine = machine;
    this.clock = clock;
    this.address = { host: u32ToHost(machine.address), port };
    const rng = new Rng(seed);
    const table = RoutingTable.allocate(TABLE_ROWS);
    const hashKey = [rng.next() | 0, rng.next() | 0] as const;
    this.table = new TableWriter(table, { isPrivate });
    this.#proven = new ProvenTable(hashKey, PROVEN_ENTRIES);
    const sender = { send: (slots: Int32Array, count: number) => this.#sendSlots(slots, count) };
    this.#outbox = new Outbox(this.#slab, Ring.allocate(SLOTS), [sender, sender]);
    const config: DhtLaneConfig = {
      table,
      stores: allocateDhtStores(STORE_LIMITS),
      tokenSecret: Uint8Array.from({ length: 32 }, () => rng.below(256)),
      hashKey,
      isPrivate,
      clientReceiver: CLIENT,
      sizes: SMALL_LANE_SIZES,
    };
    this.responder = createDhtResponder(config, {
      slab: this.#slab,
      counters: this.counters,
      outbox: this.#outbox,
      slots: new OriginSlots(this.#slab, REQUEST_SLOTS, OWN_SLOTS),
      rng: new Rng(rng.next()),
      seed: rng.next(),
    });
    this.#verifier = new InlineVerifier(
      {
        slab: this.#slab,
        table,
        onDone: (slots) => {
          for (const slot of slots) this.#answer(slot);
        },
      },
      { soon: (fn) => clock.after(CHECK_MS, fn) },
    );
    this.dht = new DhtNode(
      {
        clock,
        rng: new Rng(rng.next()),
        transport: this,
        table: this.table,
        proven: {
          add: (host, port, nowMs) => this.#proven.add(hostToU32(host), port, nowMs),
        },
        resolve: async (host) => (hostToU32(host) < 0 ? null : host),
      },
      options,
    );
  }

  get serverPort(): number {
    return this.#parts.port;
  }

  get isUp(): boolean {
    return !this.clock.isStopped;
  }

  start(): void {
    const { machine, clock } = this;
    const listen = (port: number, receiver: number) =>
      machine.open(port, (bytes, host, from) => this.#receive(bytes, host, from, receiver));
    this.#sockets.push(listen(this.serverPort, SERVER), listen(0, CLIENT));
    clock.every(TICK_MS, () => {
      this.responder.tick(clock.now());
      this.#outbox.flush();
    });
    this.dht.start();
  }

  /** Gone at once, without a word: sockets closed, timers dead. */
  crash(): void {
    for (const socket of this.#sockets) socket.close();
    this.clock.stop();
  }

  send(from: SocketKind, datagram: Uint8Array, to: NodeAddress): void {
    this.#sockets[from === 'server' ? SERVER : CLIENT]?.send(datagram, hostToU32(to.host), to.port);
  }

  #receive(bytes: Uint8Array, host: number, port: number, receiver: number): void {
    // A sleeping machine's network is down as well.
    if (this.clock.isAsleep) return;
    if (bytes[0] === REPLY_BYTE) {
      const reply = decodeReply(bytes);
      const from = { host: u32ToHost(host), port };
      if (reply !== null) this.dht.onReply(reply, from, receiver === SERVER ? 'server' : 'client');
    } else if (bytes[0] === REQUEST_BYTE && bytes.length <= SLOT_DATA_BYTES) {
      this.#request(bytes, host, port, receiver);
    }
  }

  #request(bytes: Uint8Array, host: number, port: number, receiver: number): void {
    const slot = this.#free.pop();
    if (slot === undefined) return;
    const { bytes: slots, i32, u16, view } = this.#slab;
    const base = slot * SLOT_BYTES;
    slots.fill(0, base, base + SLOT_HEADER_BYTES);
    i32[(base + SLOT_LENGTH) >> 2] = bytes.length;
    slots[base + SLOT_FAMILY] = 4;
    slots[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
    slots[base + SLOT_PROTOCOL] = PROTOCOL_DHT;
    u16[(base + SLOT_PORT) >> 1] = port;
    u16[(base + SLOT_RECEIVER) >> 1] = receiver;
    const address = (base + SLOT_ADDRESS) >> 2;
    i32[address + 2] = V4_MAPPED;
    view.setUint32(base + SLOT_ADDRESS + 12, host);
    i32[(base + SLOT_BUDGET) >> 2] = SLOT_DATA_BYTES;
    if (this.#proven.has(i32, address, port, this.clock.now())) {
      slots[base + SLOT_STATE] = SLOT_PROVEN;
    }
    slots.set(bytes, base + SLOT_HEADER_BYTES);
    this.#answer(slot);
  }

  #answer(slot: number): void {
    const { bytes, i32, u16, view } = this.#slab;
    const base = slot * SLOT_BYTES;
    this.responder.setTime(this.clock.now());
    const length = this.responder.answer(slot);
    i32[(base + SLOT_LENGTH) >> 2] = length;
    if (length < 0) {
      this.checks++;
      i32[(base + SLOT_LENGTH) >> 2] = -length;
      if (!this.#verifier.submit(slot)) this.#free.push(slot);
      return;
    }
    if (length > 0) this.#sendSlot(slot);
    this.#outbox.flush();
    const state = bytes[base + SLOT_STATE];
    if ((state & SLOT_SIGHTED) !== 0) {
      const host = u32ToHost(view.getUint32(base + SLOT_ADDRESS + 12));
      const socket = u16[(base + SLOT_RECEIVER) >> 1] === SERVER ? 'server' : 'client';
      this.dht.sighted({ host, port: u16[(base + SLOT_PORT) >> 1] }, socket);
    }
    if ((state & SLOT_DOWN_HINT) !== 0) {
      const node = this.table.at(i32[(base + SLOT_KEY_HASH) >> 2]);
      if (node !== null) this.dht.downHint(node);
    }
    this.#free.push(slot);
  }

  /** Sends the responder's own datagrams. */
  #sendSlots(slots: Int32Array, count: number): number {
    for (let i = 0; i < count; i++) this.#sendSlot(slots[i]);
    return count;
  }

  #sendSlot(slot: number): void {
    const { bytes, i32, u16, view } = this.#slab;
    const base = slot * SLOT_BYTES;
    const start = base + SLOT_HEADER_BYTES;
    const datagram = bytes.subarray(start, start + i32[(base + SLOT_LENGTH) >> 2]);
    const host = view.getUint32(base + SLOT_ADDRESS + 12);
    const port = u16[(base + SLOT_PORT) >> 1];
    this.#sockets[u16[(base + SLOT_RECEIVER) >> 1]].send(datagram, host, port);
  }
}
