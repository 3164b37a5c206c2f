/**
 * Puts a lane together from plain, cloneable configuration, so that the same call serves an inline
 * lane and one in a worker thread (where the configuration arrives by message).
 */
import { DomainTable } from '../codecs/dns/domains.ts';
import { QueryReader } from '../codecs/dns/query.ts';
import { HalfSipHash } from '../codecs/hash/halfsiphash.ts';
import { type BoundLimits, Bounds } from './bounds.ts';
import { type CookieSecrets, Cookies } from './cookies.ts';
import { counterRow } from './counters.ts';
import { createDhtResponder, type DhtLaneConfig } from './dht/create-responder.ts';
import { DiscoveryResponder } from './discovery.ts';
import { Lane } from './lane.ts';
import { type LaneHooks, NO_LANE_HOOKS } from './lane-hooks.ts';
import { NameCap } from './name-cap.ts';
import { OriginSlots } from './origin-slots.ts';
import { Outbox, type Sender } from './outbox.ts';
import { Overflow } from './overflow.ts';
import { Paths } from './paths.ts';
import { PushBudget } from './push-budget.ts';
import { PushTable } from './push-table.ts';
import { Pusher, SUBSCRIPTION_TTL_SECONDS } from './pusher.ts';
import { Ring } from './ring.ts';
import { Rng } from './rng.ts';
import { Slab } from './slab.ts';
import {
  allocateBuffers,
  DEFAULT_TOMBSTONE_SECONDS,
  type StoreBuffers,
  storeSizes,
} from './store/layout.ts';
import { RecordStore } from './store/record-store.ts';
import { Tokens } from './tokens.ts';

export interface LaneConfig {
  /** This lane's number and how many there are. */
  readonly lane: number;
  readonly lanes: number;
  readonly slab: SharedArrayBuffer;
  /** Where messages by TCP lie, and the slot its first block belongs to. */
  readonly overflow: SharedArrayBuffer;
  readonly firstOverflowSlot: number;
  readonly requests: SharedArrayBuffer;
  readonly replies: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  /** The lane's row of the counters. */
  readonly counterRow: number;
  /** The lane's own slots, for pushes. */
  readonly firstOriginSlot: number;
  readonly originSlots: number;
  /** How many sockets the slots' receiver numbers name. */
  readonly receivers: number;
  readonly domains: readonly string[];
  /** Host name in the apex records; null: `ns.<domain>`. */
  readonly nameserver: string | null;
  readonly zoneSerial: number;
  readonly ttlSeconds: number;
  readonly stores: LaneStores;
  /** Null: no node of the DHT. */
  readonly dht: DhtLaneConfig | null;
  /** How much of each store one prefix, and one name, may have of this lane (`laneBounds`). */
  readonly bounds: BoundLimits;
  /** Key of the hash over names, the same in all threads. */
  readonly hashKey: readonly [number, number];
  /** 32 bytes. */
  readonly tokenSecret: Uint8Array;
  readonly cookieSecrets: CookieSecrets;
  /** What the server calls itself (RFC 5001); null: it does not tell. */
  readonly nsid: Uint8Array | null;
  readonly seed: number;
  /** How long a subscription lives without being renewed; 0: for ever. A minute unless given. */
  readonly subscriptionTtlSeconds?: number;
  /** As `bounds`, for subscriptions; the same unless given. */
  readonly subscriptionBounds?: BoundLimits;
  /** Names with records at most: for stores without tombstones. As many as records unless given. */
  readonly nameCount?: number;
}

/** The memory of a lane's stores: it outlives the lane, its successor adopts it. */
export interface LaneStores {
  readonly records: StoreBuffers;
  readonly subscriptions: StoreBuffers;
  /** What the subscriptions' `origin` bytes mean (paths.ts). */
  readonly paths: SharedArrayBuffer;
}

/** Where a lane's stores differ from the usual. */
export interface StoreSizes {
  /** Most subscriptions; as many as announces unless given. */
  readonly subscriptionLimit?: number;
  /** How long a removed announce is remembered. */
  readonly tombstoneSeconds?: number;
}

/**
 * Memory for the stores of one lane.
 *
 * @param limit most announces, and unless told otherwise most subscriptions, kept by the lane.
 * @throws RangeError when a limit is out of range.
 */
export function allocateLaneStores(
  limit: number,
  [hashKey0, hashKey1]: readonly [number, number],
  { subscriptionLimit = limit, tombstoneSeconds = DEFAULT_TOMBSTONE_SECONDS }: StoreSizes = {},
): LaneStores {
  return {
    records: allocateBuffers({ limit, hashKey0, hashKey1, tombstoneSeconds }),
    // A subscription that ended needs no tombstone: it is of this server alone.
    subscriptions: allocateBuffers({
      limit: subscriptionLimit,
      hashKey0,
      hashKey1,
      tombstoneSeconds: 0,
    }),
    paths: Paths.allocate(),
  };
}

/** Bytes that `allocateLaneStores` reserves. */
export function laneStoreBytes(limit: number, subscriptionLimit = limit): number {
  return bytesOf(limit) + bytesOf(subscriptionLimit);
}

function bytesOf(limit: number): number {
  return Object.values(storeSizes(limit)).reduce((sum, size) => sum + size, 0);
}

/** The large buffers of the stores. */
export function storeBuffers(stores: LaneStores): SharedArrayBuffer[] {
  return [...Object.values(stores.records), ...Object.values(stores.subscriptions)];
}

/** The hash of names: the dispatcher and every lane must agree on it. */
export function nameHash(key: readonly [number, number]): HalfSipHash {
  return new HalfSipHash(key[0], key[1]);
}

/**
 * `senders`: by receiver number, where the lane sends by itself (outbox.ts). `hooks`: of the
 * program that the server runs inside of.
 */
export function createLane(
  config: LaneConfig,
  senders: readonly (Sender | null)[] = [],
  hooks: LaneHooks = NO_LANE_HOOKS,
): Lane {
  const { bounds, lanes, nameCount, seed } = config;
  const slab = new Slab(config.slab);
  const counters = counterRow(config.counters, config.counterRow);
  const replies = new Ring(config.replies);
  const outbox = new Outbox(slab, replies, senders);
  const rng = new Rng(seed);
  const domains = new DomainTable(config.domains);
  const reader = new QueryReader(domains);
  const subscriptions = adoptStore(config.stores.subscriptions);
  const store = adoptStore(config.stores.records);
  store.watch(new Bounds(store, bounds, rng, lanes));
  const subscriptionBounds = config.subscriptionBounds ?? bounds;
  subscriptions.watch(new Bounds(subscriptions, subscriptionBounds, rng, lanes));
  const tokens = new Tokens(config.tokenSecret, seed);
  const slots = new OriginSlots(slab, config.firstOriginSlot, config.originSlots);
  const pusher = new Pusher({
    slab,
    counters,
    domains,
    subscriptions,
    table: new PushTable(config.lane, config.lanes, rng),
    paths: new Paths(config.stores.paths, config.receivers),
    slots,
    outbox,
    pushBudget: new PushBudget(rng, config.lanes),
    rng,
    subscriptionTtlSeconds: config.subscriptionTtlSeconds ?? SUBSCRIPTION_TTL_SECONDS,
  });
  const discovery = new DiscoveryResponder({
    slab,
    overflow: new Overflow(config.overflow, config.firstOverflowSlot),
    counters,
    reader,
    cookies: new Cookies(config.cookieSecrets.active, config.cookieSecrets.previous),
    nsid: config.nsid,
    hash: nameHash(config.hashKey),
    store,
    tokens,
    pusher,
    rng,
    ttlSeconds: config.ttlSeconds,
    nameCap: nameCount === undefined ? null : new NameCap(store, nameCount),
    hooks,
    zone: {
      serial: config.zoneSerial,
      ...(config.nameserver === null ? {} : { nameserver: config.nameserver }),
    },
  });
  const requests = new Ring(config.requests);
  const dht =
    config.dht === null
      ? null
      : createDhtResponder(config.dht, { slab, counters, outbox, slots, rng, seed });
  return new Lane({ slab, requests, outbox, counters, discovery, pusher, dht });
}

/** A store on memory that may have lost its writer in the middle of a change. */
function adoptStore(buffers: StoreBuffers): RecordStore {
  const store = new RecordStore(buffers);
  if (store.needsRepair) store.repair();
  return store;
}
