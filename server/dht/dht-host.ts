/**
 * Joins the control plane of a DHT node (node.ts) to the house: what lanes noticed comes to it, its
 * requests leave by the node's sockets, and signatures are checked for lanes on threads of their
 * own.
 *
 *   lane --length < 0------> collector --check--> verifier --verdict in the slot--> resume --> lane
 *   lane --state bits------> collector --noticed--> node: sighted, down hint
 *   admission --reply--> control --> node       --over budget--> challenge --> node: a ping
 *   node --send--> slot transport --> socket
 */

import { lookup } from 'node:dns/promises';
import { hostToU32, type NodeAddress, readHost, u32ToHost } from '../../codecs/dht/address.ts';
import { decodeReply } from '../../codecs/dht/message.ts';
import { readU16, varintSize } from '../../codecs/dht/varint.ts';
import { MAPPED_AT } from '../../codecs/mapped-address.ts';
import { COUNTER, type CounterRow } from '../../workers/counters.ts';
import { TableWriter } from '../../workers/dht/table-writer.ts';
import { Rng } from '../../workers/rng.ts';
import {
  SLOT_ADDRESS,
  SLOT_BYTES,
  SLOT_DOWN_HINT,
  SLOT_FORGED,
  SLOT_GENUINE,
  SLOT_HEADER_BYTES,
  SLOT_KEY_HASH,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_RECEIVER,
  SLOT_SIGHTED,
  SLOT_STATE,
  SLOT_UNPROVEN,
} from '../../workers/slab.ts';
import type { Clock } from '../clock.ts';
import type { Collector, DhtDesk } from '../collector.ts';
import { DhtAdmission } from '../dht-admission.ts';
import type { House } from '../lanes/house.ts';
import type { RateLimiter } from '../limits/rate-limiter.ts';
import type { DhtSockets } from '../listeners.ts';
import { type ListInterfaces, readInterfaces } from '../net/multicast/interfaces.ts';
import type { DhtConfig } from '../options/config.ts';
import type { Pipeline } from '../pipeline.ts';
import { secretUint32 } from '../rng.ts';
import { DHT_CLIENT_RECEIVER, type DhtMemory } from './dht-memory.ts';
import { InlineVerifier } from './inline-verifier.ts';
import { DhtNode } from './node.ts';
import { guessHost, nodeOptions } from './own-host.ts';
import { PoolVerifier } from './pool-verifier.ts';
import { ProvenTable } from './proven-table.ts';
import { DhtRecords } from './records.ts';
import { SlotTransport } from './slot-transport.ts';
import type { SocketKind } from './types.ts';
import type { Verifier } from './verifier.ts';

/** Sources beyond their budget looked at for a ping: half a percent of a core. */
const LOOKS_PER_SECOND = 8192;
const SECOND_MS = 1000;
/** How often the machine's interfaces are looked at: an address that comes is used soon. */
const INTERFACES_MS = 5000;

export interface DhtHostParts {
  readonly config: DhtConfig;
  readonly memory: DhtMemory;
  readonly house: House;
  readonly sockets: DhtSockets;
  readonly counters: CounterRow;
  readonly clock: Clock;
  readonly notice: (line: string) => void;
  /** The machine's interfaces; tests replace them. */
  readonly list?: ListInterfaces;
}

export class DhtHost implements DhtDesk {
  readonly node: DhtNode;
  /** What the node asks of others' records. */
  readonly records: DhtRecords;
  readonly proven: ProvenTable;
  readonly #parts: DhtHostParts;
  readonly #table: TableWriter;
  readonly #verifier: Verifier;
  #pipeline: Pipeline | null = null;
  #collector: Collector | null = null;
  #looksFrom = 0;
  #looks = 0;
  #interfaces = '';
  /** What the interfaces said of a bootstrap node's address. */
  #guess: string | null;
  #stopWatching: () => void = () => undefined;

  constructor(parts: DhtHostParts) {
    const { config, memory, house, sockets, counters, clock } = parts;
    this.#parts = parts;
    this.#table = new TableWriter(memory.table, { isPrivate: config.isPrivate });
    this.proven = new ProvenTable([secretUint32(), secretUint32()]);
    const checks = {
      slab: house.slab,
      table: memory.table,
      onDone: (slots: Int32Array, count: number) => this.#checked(slots, count),
    };
    this.#verifier = config.verifiesInline
      ? new InlineVerifier(checks, clock)
      : new PoolVerifier(checks, clock, {
          wakesByMessage: sockets.server.backend === 'dgram',
          notice: (line) => this.#notice(line),
          ...(config.verifierEntry === undefined ? {} : { entry: config.verifierEntry }),
        });
    const options = nodeOptions(config, readInterfaces(parts.list));
    this.#guess = options.guessedHost ?? null;
    this.node = new DhtNode(
      {
        clock,
        rng: new Rng(secretUint32()),
        transport: new SlotTransport({
          slab: house.slab,
          firstSlot: house.firstMainSlot,
          slotCount: house.mainSlots,
          counters,
          ...sockets,
        }),
        table: this.#table,
        proven: {
          add: (host, port, nowMs) => this.proven.add(hostToU32(host), port, nowMs),
        },
        resolve,
        tidKey: [secretUint32(), secretUint32()],
      },
      options,
    );
    this.records = new DhtRecords(this.node);
  }

  /** The admission of what comes to its sockets. */
  admission(limiter: RateLimiter | null): DhtAdmission {
    const { config, house, counters } = this.#parts;
    return new DhtAdmission({
      slab: house.slab,
      counters,
      limiter,
      sparesPrivate: config.isPrivate,
      proven: this.proven,
      challenge: (slot) => this.challenge(slot),
    });
  }

  /** Where others reach the node, as it is bound. */
  get address(): string {
    return this.#parts.sockets.server.address;
  }

  get port(): number {
    return this.#parts.sockets.server.port;
  }

  get backend(): string {
    return this.#parts.sockets.server.backend;
  }

  /** Begins; requests are answered from when the sockets are started. */
  start(pipeline: Pipeline, collector: Collector): void {
    this.#pipeline = pipeline;
    this.#collector = collector;
    this.#tellChanges();
    this.#watchInterfaces();
    this.#stopWatching = this.#parts.clock.every(INTERFACES_MS, () => this.#watchInterfaces());
    this.node.start();
  }

  async close(): Promise<void> {
    this.#stopWatching();
    await this.node.destroy();
    await this.#verifier.close();
  }

  check(slot: number): boolean {
    return this.#verifier.submit(slot);
  }

  noticed(slot: number): void {
    const { bytes, i32 } = this.#parts.house.slab;
    const base = slot * SLOT_BYTES;
    const state = bytes[base + SLOT_STATE];
    if ((state & SLOT_UNPROVEN) !== 0) this.challenge(slot);
    if ((state & SLOT_SIGHTED) !== 0) this.node.sighted(this.#source(base), this.#socket(base));
    if ((state & SLOT_DOWN_HINT) === 0) return;
    const node = this.#table.at(i32[(base + SLOT_KEY_HASH) >> 2]);
    if (node !== null) this.node.downHint(node);
  }

  /** Takes the reply in `slot`. */
  control(slot: number): void {
    const { counters, house } = this.#parts;
    const { bytes, i32, u16 } = house.slab;
    const base = slot * SLOT_BYTES;
    const length = i32[(base + SLOT_LENGTH) >> 2];
    const start = base + SLOT_HEADER_BYTES;
    // Looked at before it is decoded: what nobody asked for shall cost next to nothing.
    const tid = readU16(bytes, start + 1 + varintSize(bytes[start + 1]));
    const host = readHost(bytes, base + SLOT_ADDRESS + MAPPED_AT);
    if (!this.node.isAwaited(tid, host, u16[(base + SLOT_PORT) >> 1])) {
      counters[COUNTER.dropUnsolicited]++;
      return;
    }
    const reply = decodeReply(bytes, start, length);
    if (reply === null) {
      counters[COUNTER.dropMalformed]++;
      return;
    }
    if (this.node.onReply(reply, this.#source(base), this.#socket(base))) {
      counters[COUNTER.dhtReplies]++;
      counters[COUNTER.absorbed]++;
    } else {
      counters[COUNTER.dropUnsolicited]++;
    }
  }

  /** The source of the request in `slot` has had its budget: a ping lets it prove its address. */
  challenge(slot: number): void {
    const { clock, counters } = this.#parts;
    const now = clock.now();
    if (now - this.#looksFrom >= SECOND_MS) {
      this.#looksFrom = now;
      this.#looks = 0;
    }
    if (this.#looks >= LOOKS_PER_SECOND) return;
    this.#looks++;
    const base = slot * SLOT_BYTES;
    if (this.node.challenge(this.#source(base), this.#socket(base))) {
      counters[COUNTER.dhtChallenges]++;
    }
  }

  #checked(slots: Int32Array, count: number): void {
    const { counters, house } = this.#parts;
    for (let i = 0; i < count; i++) {
      const state = house.slab.bytes[slots[i] * SLOT_BYTES + SLOT_STATE];
      if ((state & (SLOT_GENUINE | SLOT_FORGED)) !== 0) {
        counters[COUNTER.dhtChecks]++;
        this.#pipeline?.resume(slots[i]);
        continue;
      }
      // The thread that had it ended: nobody can say whether it is genuine.
      counters[COUNTER.dropVerifyFailed]++;
      this.#collector?.drop(slots[i]);
    }
    this.#pipeline?.drainInline();
  }

  #source(base: number): NodeAddress {
    const { bytes, u16 } = this.#parts.house.slab;
    return {
      host: u32ToHost(readHost(bytes, base + SLOT_ADDRESS + MAPPED_AT)),
      port: u16[(base + SLOT_PORT) >> 1],
    };
  }

  /** The socket that the slot's datagram came by. */
  #socket(base: number): SocketKind {
    const { u16 } = this.#parts.house.slab;
    return u16[(base + SLOT_RECEIVER) >> 1] === DHT_CLIENT_RECEIVER ? 'client' : 'server';
  }

  /** Another address of this machine may be another place in the network. */
  #watchInterfaces(): void {
    const { list, config } = this.#parts;
    const interfaces = readInterfaces(list);
    const text = JSON.stringify(
      interfaces.map(({ name, addresses }) => [name, addresses.map((address) => address.text)]),
    );
    const isChanged = this.#interfaces !== '' && text !== this.#interfaces;
    this.#interfaces = text;
    if (!isChanged) return;
    this.node.networkChanged(interfaces);
    const guess = guessHost(interfaces, config.isPrivate, this.#guess);
    if (guess === null || guess === this.#guess) return;
    this.#guess = guess;
    this.node.guessHost(guess);
  }

  #tellChanges(): void {
    const { node } = this;
    node.on('listening', () => {
      if (this.#parts.config.bootstrap.length > 0 || node.host !== null) return;
      this.#notice('no public address known yet: --dht-host IP, or --dht-private for a LAN');
    });
    node.on('ready', () => this.#notice(`ready, ${count(this.#table.size)} known`));
    node.on('persistent', () => {
      this.#notice(`persistent, as ${node.host}:${node.port}`);
      // From here on there are signatures: the first announce shall not wait for the threads.
      if (this.#verifier instanceof PoolVerifier) void this.#verifier.warm();
    });
    node.on('ephemeral', () => this.#notice('ephemeral: others do not ask it any more'));
  }

  #notice(what: string): void {
    this.#parts.notice(`dht port ${this.port}: ${what}`);
  }
}

function count(nodes: number): string {
  return nodes === 1 ? '1 node' : `${nodes} nodes`;
}

async function resolve(hostName: string): Promise<string | null> {
  try {
    return (await lookup(hostName, { family: 4 })).address;
  } catch {
    // There is no such name, or nobody to ask; the other bootstrap nodes are tried.
    return null;
  }
}
