/**
 * The house: the memory that main and all lanes share, laid out once.
 *
 *   slots   | receiver 0 | receiver 1 | ... | TCP | lane 0's own | lane 1's own | ... | main's |
 *           | 512        | 512        |     | 512 | 1024         | 1024         |     | 64     |
 *
 * The TCP receiver comes last of the receivers and uses the first 128 of its numbers, for each of
 * which the overflow arena has a block.
 */
import { allocateCounters, counterRow } from '../../workers/counters.ts';
import {
  allocateLaneStores,
  type LaneConfig,
  type LaneStores,
  laneStoreBytes,
  type StoreSizes,
} from '../../workers/create-lane.ts';
import { Overflow } from '../../workers/overflow.ts';
import { Ring } from '../../workers/ring.ts';
import { Slab } from '../../workers/slab.ts';
import type { LanePort } from '../collector.ts';
import { UDP_BATCH } from '../net/udp-socket.ts';
import { secretUint32 } from '../rng.ts';

/** Slots of each receiver: eight batches in flight. */
export const SLOTS_PER_RECEIVER = 512;
/** Messages by TCP in flight, of all connections: 8 MiB when all are of the longest. */
export const TCP_SLOTS = 128;
/** Slots a lane sends its pushes from: what a batch of 64 announces sends at most. */
const ORIGIN_SLOTS = 1024;
/** Datagrams waiting at one of several lanes: half of a socket's slots are left to the others. */
export const MOST_WAITING = SLOTS_PER_RECEIVER / 2;
/** Slots main sends its own requests from: a batch. */
const MAIN_SLOTS = UDP_BATCH;
const MAIN_ROW = 0;

export interface House {
  readonly slab: Slab;
  readonly overflow: Overflow;
  readonly counters: SharedArrayBuffer;
  /** UDP sockets; the TCP receiver's number is the next. */
  readonly udpReceivers: number;
  readonly firstLaneSlot: number;
  /** Main's own slots, for the control plane of the DHT. */
  readonly firstMainSlot: number;
  readonly mainSlots: number;
  readonly hashKey: readonly [number, number];
  readonly lanes: readonly LaneMemory[];
}

export interface LaneMemory {
  readonly requests: Ring;
  readonly replies: Ring;
  readonly stores: LaneStores;
  readonly firstOriginSlot: number;
  readonly counterRow: number;
}

/**
 * Reserves everything. `limit`: records of all lanes together; `sizes`: where one lane's stores
 * differ from what follows of it.
 */
export function buildHouse(
  udpReceivers: number,
  laneCount: number,
  limit: number,
  sizes: StoreSizes = {},
): House {
  const firstTcpSlot = udpReceivers * SLOTS_PER_RECEIVER;
  const firstLaneSlot = firstTcpSlot + SLOTS_PER_RECEIVER;
  const firstMainSlot = firstLaneSlot + laneCount * ORIGIN_SLOTS;
  const slab = Slab.allocate(firstMainSlot + MAIN_SLOTS);
  const hashKey = [secretUint32(), secretUint32()] as const;
  const perLane = Math.ceil(limit / laneCount);
  const lanes = Array.from({ length: laneCount }, (_, lane) => ({
    requests: Ring.allocate(nextPowerOfTwo(slab.slotCount)),
    replies: Ring.allocate(nextPowerOfTwo(slab.slotCount)),
    stores: reserveStores(perLane, limit, hashKey, sizes),
    firstOriginSlot: firstLaneSlot + lane * ORIGIN_SLOTS,
    counterRow: MAIN_ROW + 1 + lane,
  }));
  return {
    slab,
    overflow: new Overflow(Overflow.allocate(TCP_SLOTS), firstTcpSlot),
    counters: allocateCounters(1 + laneCount),
    udpReceivers,
    firstLaneSlot,
    firstMainSlot,
    mainSlots: MAIN_SLOTS,
    hashKey,
    lanes,
  };
}

/** The main thread's row of the counters. */
export function mainCounters(house: House): Float64Array {
  return counterRow(house.counters, MAIN_ROW);
}

/** The part of a lane's configuration that is memory. */
export function laneMemoryConfig(house: House, lane: number) {
  const { requests, replies, stores, firstOriginSlot, counterRow: row } = house.lanes[lane];
  return {
    lane,
    lanes: house.lanes.length,
    slab: house.slab.buffer,
    overflow: house.overflow.buffer,
    firstOverflowSlot: house.overflow.firstSlot,
    requests: requests.buffer,
    replies: replies.buffer,
    counters: house.counters,
    counterRow: row,
    firstOriginSlot,
    originSlots: ORIGIN_SLOTS,
    receivers: house.udpReceivers + 1,
    stores,
    hashKey: house.hashKey,
  } satisfies Partial<LaneConfig>;
}

/** A lane as the pipeline knows it; `inline` where it runs on the main thread. */
export function lanePort(house: House, lane: number, inline: LanePort['inline']): LanePort {
  const { requests, replies, firstOriginSlot, counterRow: row } = house.lanes[lane];
  const counters = counterRow(house.counters, row);
  return { requests, replies, inline, counters, firstOriginSlot, originSlots: ORIGIN_SLOTS };
}

/** The stores' memory, or an Error that says how much it would have been. */
function reserveStores(
  perLane: number,
  limit: number,
  hashKey: readonly [number, number],
  sizes: StoreSizes,
): LaneStores {
  try {
    return allocateLaneStores(perLane, hashKey, sizes);
  } catch (error) {
    const mebibytes = Math.ceil(
      (laneStoreBytes(perLane, sizes.subscriptionLimit) / 2 ** 20) * (limit / perLane),
    );
    const what = `--limit ${limit} reserves ${mebibytes} MiB of address space`;
    throw new Error(`${what}, which this machine does not give; use a lower one`, { cause: error });
  }
}

function nextPowerOfTwo(least: number): number {
  return 2 ** Math.ceil(Math.log2(least));
}
