/**
 * The appliance: opens the sockets, starts the lanes, and joins them by the pipeline. Everything
 * that lives as long as the server is made here, in the order of its parts, and taken down in
 * reverse.
 */

import { createHash } from 'node:crypto';
import { DomainTable } from '../codecs/dns/domains.ts';
import { QueryReader } from '../codecs/dns/query.ts';
import { MAC_BYTES, MAC_KEY_BYTES, mac } from '../codecs/mac/mac.ts';
import { DEFAULT_NAME_LIMIT, laneBounds } from '../workers/bounds.ts';
import { deriveCookieSecret } from '../workers/cookies.ts';
import { type CounterName, namedCounters, sumCounters } from '../workers/counters.ts';
import {
  createLane,
  type LaneConfig,
  nameHash,
  type StoreSizes,
  storeBuffers,
} from '../workers/create-lane.ts';
import type { LaneHooks } from '../workers/lane-hooks.ts';
import { Admission } from './admission.ts';
import { type Clock, systemClock } from './clock.ts';
import { Collector } from './collector.ts';
import { DhtHost } from './dht/dht-host.ts';
import { type DhtMemory, dhtLaneConfig, reserveDht } from './dht/dht-memory.ts';
import { Dispatcher } from './dispatch.ts';
import {
  buildHouse,
  type House,
  laneMemoryConfig,
  lanePort,
  MOST_WAITING,
  mainCounters,
  SLOTS_PER_RECEIVER,
} from './lanes/house.ts';
import { TICK_MS } from './lanes/lane-thread.ts';
import { Lanes } from './lanes/lanes.ts';
import { RateLimiter } from './limits/rate-limiter.ts';
import { type Listeners, openListeners } from './listeners.ts';
import { messageOf } from './message-of.ts';
import { adviseHugePages } from './net/huge-pages.ts';
import type { ApplianceConfig } from './options/config.ts';
import { Pipeline } from './pipeline.ts';
import { secretBytes, secretUint32 } from './rng.ts';
import { type DatagramTap, tapped } from './tap.ts';

/** A server socket and a client socket. */
const DHT_SOCKETS = 2;

export interface Listening {
  readonly address: string;
  readonly port: number;
  readonly transport: 'udp' | 'tcp';
  /** UDP: how datagrams are received. */
  readonly backend: string;
  readonly receiveBufferBytes: number;
}

export interface Appliance {
  readonly listening: readonly Listening[];
  /** The node of the DHT; null: there is none. */
  readonly dht: DhtHost | null;
  /** Threads beside the main one that answer. */
  readonly workers: number;
  /** Stops receiving, answers what is in flight, closes the sockets. May be called again. */
  close(): Promise<void>;
  /** Counters summed over all threads, by name (workers/counters.ts). */
  counters(): Record<CounterName, number>;
  /** The counters of each lane, in their order. */
  laneCounters(): Record<CounterName, number>[];
  /** Worker threads that serve a lane, and whether a spare one waits to replace them. */
  workerHealth(): { serving: number; hasSpare: boolean };
  /** Ends a worker thread as if it had died; its successor takes over. For tests. */
  killLane(lane: number): void;
}

/**
 * What the program that a server runs inside of hangs into it; `waypost serve` hangs in nothing.
 * Both are asked for once, with the memory laid out and before anything arrives.
 */
export interface ApplianceHooks {
  /** For the lane, which must run inline (`workers` 0). */
  lane(house: House): LaneHooks;
  tap(house: House): DatagramTap;
}

/** Starts a server. Rejects when no address can be opened, or one that the user named. */
export async function startAppliance(
  config: ApplianceConfig,
  clock: Clock = systemClock,
  hooks: ApplianceHooks | null = null,
): Promise<Appliance> {
  const dnsSockets = config.dns === 'off' ? 0 : config.dns.length;
  const laneCount = Math.max(1, config.workers);
  const house = buildHouse(
    dnsSockets + (config.dht === null ? 0 : DHT_SOCKETS),
    laneCount,
    config.limit,
    embeddedSizes(config),
  );
  const dhtMemory = config.dht === null ? null : reserveDht(config.dht, laneCount);
  adviseHugePages(config.udpBackend, [
    house.slab.buffer,
    ...house.lanes.flatMap((lane) => storeBuffers(lane.stores)),
  ]);
  const laneConfig = laneConfigs(config, house, dhtMemory, clock.now());
  const inline = config.workers === 0 ? createLane(laneConfig(0), [], hooks?.lane(house)) : null;
  const lanes = await Lanes.start(config.workers, config, clock);
  try {
    const listeners = await openListeners(config, house, clock);
    try {
      const ports = house.lanes.map((_, lane) => lanePort(house, lane, inline));
      const tap = hooks?.tap(house) ?? null;
      return run(config, clock, { house, dhtMemory, laneConfig, ports, lanes, listeners, tap });
    } catch (error) {
      await listeners.close();
      throw error;
    }
  } catch (error) {
    await lanes.close();
    throw error;
  }
}

interface Parts {
  readonly house: House;
  readonly dhtMemory: DhtMemory | null;
  readonly laneConfig: (lane: number) => LaneConfig;
  readonly ports: ReturnType<typeof lanePort>[];
  readonly lanes: Lanes;
  readonly listeners: Listeners;
  readonly tap: DatagramTap | null;
}

/** Joins the parts by the pipeline and starts receiving. */
function run(config: ApplianceConfig, clock: Clock, parts: Parts): Appliance {
  const { house, laneConfig, ports, lanes, listeners, tap } = parts;
  const { slab, overflow } = house;
  const counters = mainCounters(house);
  const limiter = rateLimiter(config);
  const reader = new QueryReader(new DomainTable(config.domains));
  const receivers = tap === null ? listeners.receivers : tapped(listeners.receivers, tap);
  const lanesSend = lanes.send(listeners.descriptors);
  const dht = dhtHost(config, clock, parts);
  const collector = new Collector({
    slab,
    counters,
    receivers,
    lanes: ports,
    slotsPerReceiver: SLOTS_PER_RECEIVER,
    firstLaneSlot: house.firstLaneSlot,
    limiter,
    lanesSend,
    ...(dht === null ? {} : { dht }),
  });
  const dhtAdmission = dht?.admission(limiter) ?? null;
  const pipeline = new Pipeline({
    counters,
    admission: new Admission(slab, overflow, counters, limiter, dhtAdmission),
    dispatcher: new Dispatcher(slab, overflow, ports.length, reader, nameHash(house.hashKey)),
    collector,
    lanes: ports,
    mostWaiting: ports.length === 1 ? Number.POSITIVE_INFINITY : MOST_WAITING,
    clock,
    ...(dht === null ? {} : { control: (slot: number) => dht.control(slot) }),
  });
  lanes.serve({ ports, collector, laneConfig, counters });
  const turnEnds = () => lanes.turnEnds();
  listeners.start(
    tap === null
      ? (receiver, use, slots, count) => pipeline.receive(receiver, use, slots, count)
      : ({ receiver }, use, slots, count) => {
          tap.arrived(slots, count);
          pipeline.receive(receivers[receiver], use, slots, count);
        },
    {
      onStarved: turnEnds,
      onTurnEnd: turnEnds,
      waitsWhenStarved: config.workers > 0,
      restsAfterFew: lanesSend,
    },
  );
  dht?.start(pipeline, collector);
  const stopTicks = clock.every(TICK_MS, () => pipeline.tickInline());
  const close = once(async () => {
    stopTicks();
    listeners.stop();
    await dht?.close();
    await lanes.close();
    await listeners.close();
  });
  return {
    listening: listeners.listening,
    dht,
    workers: config.workers,
    counters: () => sumCounters(house.counters),
    laneCounters: () => ports.map((port) => namedCounters(port.counters)),
    workerHealth: () => lanes.health(),
    killLane: (lane) => lanes.kill(lane),
    close,
  };
}

/** Does it the first time; later calls get the same promise. */
function once(act: () => Promise<void>): () => Promise<void> {
  let acting: Promise<void> | null = null;
  return () => {
    acting ??= act();
    return acting;
  };
}

/** The node of the DHT on its sockets; null: none is wanted, or its sockets did not open. */
function dhtHost(config: ApplianceConfig, clock: Clock, parts: Parts): DhtHost | null {
  const { house, dhtMemory, listeners } = parts;
  if (config.dht === null || dhtMemory === null || listeners.dht === null) return null;
  return new DhtHost({
    config: config.dht,
    memory: dhtMemory,
    house,
    sockets: listeners.dht,
    counters: mainCounters(house),
    clock,
    notice: config.notice,
  });
}

/** The configuration of each lane; a successor's differs in its seed. */
function laneConfigs(
  config: ApplianceConfig,
  house: House,
  dhtMemory: DhtMemory | null,
  nowMs: number,
): (lane: number) => LaneConfig {
  const secret = tokenSecret(config);
  const shared = { tokenSecret: secret, hashKey: house.hashKey };
  return (lane) => ({
    ...laneMemoryConfig(house, lane),
    dht:
      dhtMemory === null || config.dht === null
        ? null
        : dhtLaneConfig(dhtMemory, lane, config.dht, shared),
    domains: config.domains,
    nameserver: config.nameserver,
    zoneSerial: Math.floor(nowMs / 1000),
    ttlSeconds: config.ttlSeconds,
    tokenSecret: secret,
    bounds: laneBounds(config.limits, house.lanes.length),
    ...embeddedLane(config),
    cookieSecrets: config.cookieSecrets ?? {
      active: deriveCookieSecret(secret),
      previous: null,
    },
    nsid: config.nsid,
    seed: secretUint32(),
  });
}

/** Where the stores of a server inside a program differ from others'. */
function embeddedSizes({ embedded }: ApplianceConfig): StoreSizes {
  if (embedded === undefined) return {};
  // It has no replicas to remember a removal for, and a name that has gone is to count no more.
  return { subscriptionLimit: embedded.subscriptionLimit, tombstoneSeconds: 0 };
}

/** And its one lane. */
function embeddedLane({ embedded, limits }: ApplianceConfig): Partial<LaneConfig> {
  if (embedded === undefined) return {};
  const { nameCount, subscriptionLimit, subscriptionTtlSeconds } = embedded;
  return {
    bounds: { ...laneBounds(limits, 1), sparesPrivate: true },
    subscriptionTtlSeconds,
    subscriptionBounds: {
      prefixLimit: limits.prefixLimit,
      nameLimit: Math.max(subscriptionLimit, DEFAULT_NAME_LIMIT),
      sparesPrivate: true,
    },
    ...(nameCount === null ? {} : { nameCount }),
  };
}

function rateLimiter(config: ApplianceConfig): RateLimiter | null {
  const { rateLimit, rateLimitExempt } = config.limits;
  if (rateLimit === null) return null;
  return new RateLimiter({
    repliesPerSecond: rateLimit,
    exempt: rateLimitExempt,
    hashKey: [secretUint32(), secretUint32()],
  });
}

/** A secret of any length in, 32 bytes out; and one MAC, so that a missing library shows now. */
function tokenSecret(config: ApplianceConfig): Uint8Array {
  const given = config.tokenSecret ?? secretBytes(MAC_KEY_BYTES);
  const secret = new Uint8Array(createHash('sha256').update(given).digest());
  try {
    mac(new Uint8Array(MAC_BYTES), secret, secret);
  } catch (error) {
    const reason = messageOf(error);
    throw new Error(`tokens need the package sodium-native, which does not load: ${reason}`);
  }
  return secret;
}
