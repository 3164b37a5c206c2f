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
import { adviseHugePages } from './net/huge-pages.ts';
import { SOCKET_DNS } from './net/protocol-table.ts';
import type { ApplianceConfig } from './options/config.ts';
import { Pipeline } from './pipeline.ts';
import { secretBytes, secretUint32 } from './rng.ts';
import { type DatagramTap, tapped } from './tap.ts';

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
  const addresses = config.dns === 'off' ? [] : config.dns;
  const house = buildHouse(
    addresses.length,
    Math.max(1, config.workers),
    config.limit,
    embeddedSizes(config),
  );
  adviseHugePages(config.udpBackend, [
    house.slab.buffer,
    ...house.lanes.flatMap((lane) => storeBuffers(lane.stores)),
  ]);
  const laneConfig = laneConfigs(config, house, clock.now());
  const inline = config.workers === 0 ? createLane(laneConfig(0), [], hooks?.lane(house)) : null;
  const lanes = await Lanes.start(config.workers, config, clock);
  try {
    const listeners = await openListeners(config, house, clock);
    try {
      const ports = house.lanes.map((_, lane) => lanePort(house, lane, inline));
      const tap = hooks?.tap(house) ?? null;
      return run(config, clock, { house, laneConfig, ports, lanes, listeners, tap });
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
  const collector = new Collector({
    slab,
    counters,
    receivers,
    lanes: ports,
    slotsPerReceiver: SLOTS_PER_RECEIVER,
    firstLaneSlot: house.firstLaneSlot,
    limiter,
    lanesSend,
  });
  const pipeline = new Pipeline({
    counters,
    admission: new Admission(slab, overflow, counters, limiter),
    dispatcher: new Dispatcher(slab, overflow, ports.length, reader, nameHash(house.hashKey)),
    collector,
    lanes: ports,
    mostWaiting: ports.length === 1 ? Number.POSITIVE_INFINITY : MOST_WAITING,
    clock,
  });
  lanes.serve({ ports, collector, laneConfig, counters });
  const turnEnds = () => lanes.turnEnds();
  listeners.start(
    tap === null
      ? (receiver, slots, count) => pipeline.receive(receiver, SOCKET_DNS, slots, count)
      : ({ receiver }, slots, count) => {
          tap.arrived(slots, count);
          pipeline.receive(receivers[receiver], SOCKET_DNS, slots, count);
        },
    {
      onStarved: turnEnds,
      onTurnEnd: turnEnds,
      waitsWhenStarved: config.workers > 0,
      restsAfterFew: lanesSend,
    },
  );
  const stopTicks = clock.every(TICK_MS, () => pipeline.tickInline());
  let closing: Promise<void> | null = null;
  const close = async () => {
    stopTicks();
    listeners.stop();
    await lanes.close();
    await listeners.close();
  };
  return {
    listening: listeners.listening,
    workers: config.workers,
    counters: () => sumCounters(house.counters),
    laneCounters: () => ports.map((port) => namedCounters(port.counters)),
    workerHealth: () => lanes.health(),
    killLane: (lane) => lanes.kill(lane),
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

/** The configuration of each lane; a successor's differs in its seed. */
function laneConfigs(
  config: ApplianceConfig,
  house: House,
  nowMs: number,
): (lane: number) => LaneConfig {
  const secret = tokenSecret(config);
  return (lane) => ({
    ...laneMemoryConfig(house, lane),
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
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`tokens need the package sodium-native, which does not load: ${reason}`);
  }
  return secret;
}
