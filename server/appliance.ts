/**
 * The appliance: opens the sockets, makes the lanes, and joins them by the pipeline. Everything
 * that lives as long as the server is made here, in the order of its parts, and taken down in
 * reverse.
 */
import { createHash } from 'node:crypto';
import { DomainTable } from '../codecs/dns/domains.ts';
import { QueryReader } from '../codecs/dns/query.ts';
import { MAC_BYTES, MAC_KEY_BYTES, mac } from '../codecs/mac/mac.ts';
import {
  allocateCounters,
  type CounterName,
  counterRow,
  sumCounters,
} from '../workers/counters.ts';
import {
  allocateLaneStores,
  createLane,
  type LaneStores,
  laneStoreBytes,
  nameHash,
  storeBuffers,
} from '../workers/create-lane.ts';
import { Ring } from '../workers/ring.ts';
import { Slab } from '../workers/slab.ts';
import { type Clock, systemClock } from './clock.ts';
import { Dispatcher } from './dispatch.ts';
import { openListeners } from './listeners.ts';
import { adviseHugePages } from './net/huge-pages.ts';
import { SOCKET_DNS } from './net/protocol-table.ts';
import type { UdpSocket } from './net/udp-socket.ts';
import type { ApplianceConfig } from './options/config.ts';
import { type LanePort, Pipeline } from './pipeline.ts';
import { secretBytes, secretUint32 } from './rng.ts';

/** Slots of each socket: eight batches in flight. */
const SLOTS_PER_SOCKET = 512;
/** Slots a lane sends its pushes from: what a batch of 64 announces sends at most. */
const ORIGIN_SLOTS = 1024;
/** How often lanes look at what is due: the original's retry timer ticks as often. */
const TICK_MS = 250;
const MAIN_ROW = 0;
const LANE_ROW = 1;

export interface Listening {
  readonly address: string;
  readonly port: number;
  readonly backend: string;
  readonly receiveBufferBytes: number;
}

export interface Appliance {
  readonly listening: readonly Listening[];
  /** Stops receiving, answers what is in flight, closes the sockets. May be called again. */
  close(): Promise<void>;
  /** Counters summed over all threads, by name (workers/counters.ts). */
  counters(): Record<CounterName, number>;
}

/** Starts a server. Rejects when no address can be opened, or one that the user named. */
export async function startAppliance(
  config: ApplianceConfig,
  clock: Clock = systemClock,
): Promise<Appliance> {
  const addresses = config.dns === 'off' ? [] : config.dns;
  const firstLaneSlot = addresses.length * SLOTS_PER_SOCKET;
  const slab = Slab.allocate(firstLaneSlot + ORIGIN_SLOTS);
  const counters = allocateCounters(2);
  const hashKey = [secretUint32(), secretUint32()] as const;
  const receivers = Math.max(1, addresses.length);
  const now = clock.now();
  const lane = inlineLane(config, { slab, counters, hashKey, receivers, now });
  const sockets = await openListeners(config, (receiver) => ({
    slab,
    firstSlot: receiver * SLOTS_PER_SOCKET,
    slotCount: SLOTS_PER_SOCKET,
    receiver,
    counters: counterRow(counters, MAIN_ROW),
  }));
  try {
    return runPipeline(config, clock, { slab, counters, hashKey, firstLaneSlot, lane, sockets });
  } catch (error) {
    await Promise.all(sockets.map((socket) => socket.close()));
    throw error;
  }
}

interface Parts {
  readonly slab: Slab;
  readonly counters: SharedArrayBuffer;
  readonly hashKey: readonly [number, number];
  readonly firstLaneSlot: number;
  readonly lane: LanePort;
  readonly sockets: readonly UdpSocket[];
}

/** Joins the parts by the pipeline and starts receiving. */
function runPipeline(config: ApplianceConfig, clock: Clock, parts: Parts): Appliance {
  const { slab, counters, hashKey, firstLaneSlot, lane, sockets } = parts;
  const reader = new QueryReader(new DomainTable(config.domains));
  const pipeline = new Pipeline({
    slab,
    counters: counterRow(counters, MAIN_ROW),
    sockets,
    socketUses: sockets.map(() => SOCKET_DNS),
    lanes: [lane],
    dispatcher: new Dispatcher(slab, 1, reader, nameHash(hashKey)),
    clock,
    slotsPerSocket: SLOTS_PER_SOCKET,
    firstLaneSlot,
  });
  for (const socket of sockets) {
    socket.start((slots, count) => pipeline.receive(socket, slots, count));
  }
  const stopTicks = clock.every(TICK_MS, () => pipeline.tickInline());
  return {
    listening: sockets.map(describe),
    counters: () => sumCounters(counters),
    async close() {
      stopTicks();
      for (const socket of sockets) socket.stop();
      pipeline.drainInline();
      await Promise.all(sockets.map((socket) => socket.close()));
    },
  };
}

/** What main and lanes share. */
interface Shared {
  readonly slab: Slab;
  readonly counters: SharedArrayBuffer;
  readonly hashKey: readonly [number, number];
  readonly receivers: number;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

function inlineLane(config: ApplianceConfig, shared: Shared): LanePort {
  const { slab, hashKey } = shared;
  const capacity = nextPowerOfTwo(slab.slotCount);
  const requests = Ring.allocate(capacity);
  const replies = Ring.allocate(capacity);
  const stores = allocateStores(config.limit, hashKey);
  adviseHugePages(config.udpBackend, [slab.buffer, ...storeBuffers(stores)]);
  const inline = createLane({
    lane: 0,
    lanes: 1,
    slab: slab.buffer,
    requests: requests.buffer,
    replies: replies.buffer,
    counters: shared.counters,
    counterRow: LANE_ROW,
    firstOriginSlot: slab.slotCount - ORIGIN_SLOTS,
    originSlots: ORIGIN_SLOTS,
    receivers: shared.receivers,
    domains: config.domains,
    nameserver: config.nameserver,
    zoneSerial: Math.floor(shared.now / 1000),
    ttlSeconds: config.ttlSeconds,
    stores,
    hashKey,
    tokenSecret: tokenSecret(config),
    seed: secretUint32(),
  });
  return { requests, replies, inline };
}

/** The stores' memory, or an Error that says how much it would have been. */
function allocateStores(limit: number, hashKey: readonly [number, number]): LaneStores {
  try {
    return allocateLaneStores(limit, hashKey);
  } catch (error) {
    const mebibytes = Math.ceil(laneStoreBytes(limit) / 2 ** 20);
    const what = `--limit ${limit} reserves ${mebibytes} MiB of address space`;
    throw new Error(`${what}, which this machine does not give; use a lower one`, { cause: error });
  }
}

/** A secret of any length in, 32 bytes out; and one MAC, so that a missing library shows now. */
function tokenSecret(config: ApplianceConfig): Uint8Array {
  const given = config.tokenSecret ?? secretBytes(MAC_KEY_BYTES);
  const secret = new Uint8Array(createHash('sha256').update(given).digest());
  try {
    mac(new Uint8Array(MAC_BYTES), secret, secret);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`tokens need the package sodium-native, which does not load: ${reason}`);
  }
  return secret;
}

function describe(socket: UdpSocket): Listening {
  const { address, port, backend, receiveBufferBytes } = socket;
  return { address, port, backend, receiveBufferBytes };
}

function nextPowerOfTwo(least: number): number {
  return 2 ** Math.ceil(Math.log2(least));
}
