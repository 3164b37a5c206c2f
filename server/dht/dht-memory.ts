/** The memory a node of the DHT shares with its lanes: the routing table, each lane's stores. */
import type { DhtLaneConfig } from '../../workers/dht/create-responder.ts';
import { RoutingTable } from '../../workers/dht/routing-table.ts';
import {
  allocateDhtStores,
  DHT_STORE_LIMITS,
  type DhtStoreBuffers,
} from '../../workers/dht/store/layout.ts';
import type { DhtConfig } from '../options/config.ts';

/** The client socket; those of the DHT are opened before all others (listeners.ts). */
export const DHT_CLIENT_RECEIVER = 1;

export interface DhtMemory {
  readonly table: SharedArrayBuffer;
  /** By lane. */
  readonly stores: readonly DhtStoreBuffers[];
}

/** Reserves it for `lanes` lanes, which share the limits out among them. */
export function reserveDht({ stores }: DhtConfig, lanes: number): DhtMemory {
  const all = { ...DHT_STORE_LIMITS, ...stores };
  const each = (limit: number) => Math.ceil(limit / lanes);
  const limits = {
    peers: each(all.peers),
    forwards: each(all.forwards),
    refreshes: each(all.refreshes),
    mutables: each(all.mutables),
    immutables: each(all.immutables),
  };
  return {
    table: RoutingTable.allocate(),
    stores: Array.from({ length: lanes }, () => allocateDhtStores(limits)),
  };
}

/** The configuration of one lane's share of the node. */
export function dhtLaneConfig(
  memory: DhtMemory,
  lane: number,
  config: DhtConfig,
  shared: Pick<DhtLaneConfig, 'tokenSecret' | 'hashKey'>,
): DhtLaneConfig {
  return {
    table: memory.table,
    stores: memory.stores[lane],
    isPrivate: config.isPrivate,
    clientReceiver: DHT_CLIENT_RECEIVER,
    lanes: memory.stores.length,
    ...shared,
  };
}
