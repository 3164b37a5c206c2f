/**
 * Puts a lane's DHT responder together from plain, cloneable configuration: the same inline, in a
 * worker thread, in a client and in a simulated network of thousands (which gives small limits).
 */
import { HalfSipHash } from '../../codecs/hash/halfsiphash.ts';
import type { CounterRow } from '../counters.ts';
import type { OriginSlots } from '../origin-slots.ts';
import type { Outbox } from '../outbox.ts';
import type { Rng } from '../rng.ts';
import type { Slab } from '../slab.ts';
import { Announces } from './announces.ts';
import { CHECK_RATE, Checks } from './checks.ts';
import { DELAYED_PINGS, DelayedPings } from './delayed-pings.ts';
import { Exchange } from './exchange.ts';
import { Forwards } from './forwards.ts';
import { DEFLECTION_RATE, InternalCommands } from './internal-commands.ts';
import { OwnDatagrams } from './own-datagrams.ts';
import { RATE_CELLS, type Rate, RateSketch } from './rate-sketch.ts';
import { RECEIVER_RATE, Relay, SOURCE_RATE } from './relay.ts';
import { RelayGuard } from './relay-guard.ts';
import { DhtResponder } from './responder.ts';
import { RoutingTable } from './routing-table.ts';
import { Sightings } from './sightings.ts';
import { type DhtStoreBuffers, PEER_AGE_MS, VALUE_AGE_MS } from './store/layout.ts';
import { DhtStores } from './store/stores.ts';
import { DEFAULT_TOKEN_SETS, DhtTokens } from './tokens.ts';
import { Values } from './values.ts';

/** A reply passes back to a client for so long after its message. */
export const CLIENT_GUARD_MS = 10_000;
/** A client may name a server that answered through us for so long: hole punching takes rounds. */
export const SERVER_GUARD_MS = 60_000;

export interface DhtLaneConfig {
  /** The routing table's memory. */
  readonly table: SharedArrayBuffer;
  /** This lane's stores; what a predecessor was changing when it died is repaired. */
  readonly stores: DhtStoreBuffers;
  /** 32 bytes. */
  readonly tokenSecret: Uint8Array;
  /** Key of the hash over targets, the same in all threads. */
  readonly hashKey: readonly [number, number];
  /** Whether the network is a LAN or loopback one: private addresses are spared and relayed to. */
  readonly isPrivate: boolean;
  /** The number of the socket whose replies show no id; -1: there is none. */
  readonly clientReceiver: number;
  /** Among how many lanes the node's targets are shared out; 1 unless said. */
  readonly lanes?: number;
  readonly ages?: DhtAges;
  readonly sizes?: DhtLaneSizes;
}

/** How long things are kept. */
export interface DhtAges {
  /** Announces, forwards, refresh tokens and bumps. */
  readonly peerMs: number;
  /** Mutable and immutable values. */
  readonly valueMs: number;
}

/** How large the lane's tables on the heap are; some 1.9 MiB with the defaults. */
export interface DhtLaneSizes {
  /** Cells of a row of each rate sketch, a power of two. */
  readonly rateCells: number;
  /** Clients and servers of relayed messages. */
  readonly guardEntries: number;
  readonly delayedPings: number;
  /** Sets of the token cache, a power of two. */
  readonly tokenSets: number;
}

export const DEFAULT_LANE_SIZES: DhtLaneSizes = {
  rateCells: RATE_CELLS,
  guardEntries: 16_384,
  delayedPings: DELAYED_PINGS,
  tokenSets: DEFAULT_TOKEN_SETS,
};

/** Of a node that has little to do: one of thousands in one process, or a client's. 20 KiB. */
export const SMALL_LANE_SIZES: DhtLaneSizes = {
  rateCells: 64,
  guardEntries: 64,
  delayedPings: 32,
  tokenSets: 16,
};

/** What of the lane the responder works with. */
export interface DhtLaneParts {
  readonly slab: Slab;
  readonly counters: CounterRow;
  readonly outbox: Outbox;
  readonly slots: OriginSlots;
  readonly rng: Rng;
  readonly seed: number;
}

/** The hash over targets: the dispatcher and every lane must agree on it. 0 stands for none. */
export function targetHash(key: readonly [number, number]): HalfSipHash {
  return new HalfSipHash(key[0], key[1]);
}

/** Throws a RangeError when buffers are none of their layout, or a size is out of range. */
export function createDhtResponder(config: DhtLaneConfig, lane: DhtLaneParts): DhtResponder {
  const { isPrivate, hashKey, clientReceiver, lanes = 1 } = config;
  const { slab, counters, rng, seed } = lane;
  const {
    rateCells,
    guardEntries,
    delayedPings: pings,
    tokenSets,
  } = config.sizes ?? DEFAULT_LANE_SIZES;
  const { peerMs, valueMs } = config.ages ?? { peerMs: PEER_AGE_MS, valueMs: VALUE_AGE_MS };
  const table = new RoutingTable(config.table);
  const stores = new DhtStores(config.stores, hashKey);
  stores.adopt();
  const tokens = new DhtTokens(config.tokenSecret, seed, tokenSets);
  const hash = targetHash(hashKey);
  const exchange = new Exchange({ slab, counters, table, tokens, hash, clientReceiver, isPrivate });
  const own = new OwnDatagrams(lane);
  const delayedPings = new DelayedPings(own, exchange, pings);
  const forwards = new Forwards(stores.forwards, peerMs);
  const limit = (rate: Rate) => new RateSketch(rng, rate, rateCells);
  const checks = new Checks(exchange, limit(CHECK_RATE));
  const { peers, refreshes, mutables, immutables } = stores;
  return new DhtResponder({
    exchange,
    tokens,
    sightings: new Sightings(table, seed),
    stores,
    delayedPings,
    internal: new InternalCommands({
      exchange,
      table,
      delayedPings,
      deflections: limit(shareOf(DEFLECTION_RATE, lanes)),
    }),
    announces: new Announces({ exchange, peers, refreshes, forwards, checks, rng, ageMs: peerMs }),
    values: new Values({ exchange, mutables, immutables, checks, ageMs: valueMs }),
    relay: new Relay({
      exchange,
      forwards,
      table,
      own,
      clients: new RelayGuard(rng, guardEntries, CLIENT_GUARD_MS),
      servers: new RelayGuard(rng, guardEntries, SERVER_GUARD_MS),
      bySource: limit(SOURCE_RATE),
      byReceiver: limit(RECEIVER_RATE),
      byReceiverProven: limit(RECEIVER_RATE),
      isPrivate,
    }),
  });
}

/**
 * A lane's part of what a network is allowed by way of all lanes: only of what has no target and so
 * meets any of them. Whoever is busy with one target meets one lane, which must allow all of it.
 */
function shareOf(rate: Rate, lanes: number): Rate {
  return { perSecond: Math.ceil(rate.perSecond / lanes), burst: Math.ceil(rate.burst / lanes) };
}
