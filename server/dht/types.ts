/** What the parts of a DHT node are given and give. */
import type { NodeAddress } from '../../codecs/dht/address.ts';
import type { AddOutcome, KnownNode } from '../../workers/dht/table-writer.ts';
import type { Rng } from '../../workers/rng.ts';
import type { Clock } from '../clock.ts';
import type { AdaptiveTimeoutOptions } from './adaptive-timeout.ts';
import type { QueryCounts } from './query.ts';
import type { CommandCounts, RequestCounts } from './requests.ts';
import type { Session } from './session.ts';

/**
 * A node has two sockets: others know it by the server's, and what it asks while it may be behind a
 * firewall leaves from the client's, so that the server's opens no hole in that firewall.
 */
export type SocketKind = 'server' | 'client';

/** What carries datagrams. */
export interface DhtTransport {
  send(from: SocketKind, datagram: Uint8Array, to: NodeAddress): void;
  /** The local port of the server socket. */
  readonly serverPort: number;
  /** The machine's own address, for `localAddress()`. */
  readonly localHost?: string;
  /** Lets go of the sockets, and opens them again; awaited by `suspend()` and `resume()`. */
  suspend?(): Promise<void>;
  resume?(): Promise<void>;
}

/** The routing table, to its one writer (workers/dht/table-writer.ts). */
export interface NodeTable {
  readonly k: number;
  readonly size: number;
  add(host: string, port: number, tick: number): AddOutcome;
  remove(id: Uint8Array): boolean;
  /** A node that is too many of its network; null: none is. */
  surplus(): KnownNode | null;
  /** Who should make room for a node whose bucket is full; null: nobody. */
  displaceable(host: string, port: number): KnownNode | null;
  get(id: Uint8Array): KnownNode | null;
  setPinged(id: Uint8Array, tick: number): void;
  setSeen(id: Uint8Array, tick: number): void;
  addDownHint(id: Uint8Array): void;
  oldest(count: number): KnownNode[];
  latest(count: number): KnownNode[];
  bucketOf(id: Uint8Array): KnownNode[];
  closest(target: Uint8Array, count: number): KnownNode[];
  random(rng: Rng): KnownNode | null;
  all(): KnownNode[];
  /** Returns whom it has no place for any more. */
  setOwn(id: Uint8Array, isPersistent: boolean): readonly KnownNode[];
  /** What lanes mark nodes with that they hear from. */
  setTick(tick: number): void;
}

/** Who has shown to be at its address, by answering a request of ours from there. */
export interface ProvenAddresses {
  add(host: string, port: number, nowMs: number): void;
}

export interface DhtNodeParts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly transport: DhtTransport;
  readonly table: NodeTable;
  readonly proven: ProvenAddresses;
  /** The IPv4 address of a host name; null when it has none. */
  readonly resolve: (hostName: string) => Promise<string | null>;
  /**
   * The secret key of transaction ids: a stranger who sees some must not foretell others. Without
   * it they follow from `rng`, as a simulation wants.
   */
  readonly tidKey?: readonly [number, number];
}

/** A node asked or heard from; `id` null: it shows none, or one that is not its own. */
export interface NodeReference extends NodeAddress {
  readonly id: Uint8Array | null;
}

/** An answer to a request of ours. */
export interface DhtResponse {
  readonly tid: number;
  /** From the first sending to the answer, in milliseconds. */
  readonly rtt: number;
  readonly from: NodeReference;
  /** Our address, as the other side sees it. */
  readonly to: NodeAddress;
  readonly token: Uint8Array | null;
  /** At most k. */
  readonly closerNodes: readonly NodeAddress[];
  /** 0: none. */
  readonly error: number;
  readonly value: Uint8Array | null;
  /** The socket it came to. */
  readonly socket: SocketKind;
}

/** A request of the user's. */
export interface RequestMessage {
  readonly token?: Uint8Array | null;
  readonly command: number;
  readonly target?: Uint8Array | null;
  readonly value?: Uint8Array | null;
}

export interface RequestOptions {
  /** False: it is sent once. */
  readonly retry?: boolean;
  readonly socket?: SocketKind;
  readonly session?: Session;
}

export interface PingOptions extends RequestOptions {
  /** Bytes of value to send along, all zero. */
  readonly size?: number;
}

export interface QueryMessage {
  readonly target: Uint8Array;
  readonly command: number;
  readonly value?: Uint8Array | null;
}

/** `host:port`, `ip@host:port` (the ip is tried first), a port on 127.0.0.1, or both apart. */
export type BootstrapNode = string | number | NodeAddress;

export interface DhtNodeOptions {
  /** False or empty: none. */
  readonly bootstrap?: readonly BootstrapNode[] | false;
  /** Put into the routing table as they are. */
  readonly nodes?: readonly NodeAddress[];
  /** True: never in others' tables. False: at once. Otherwise it becomes persistent when stable. */
  readonly ephemeral?: boolean;
  readonly adaptive?: boolean;
  /** False: the server socket is known to be reachable. */
  readonly firewalled?: boolean;
  readonly quickFirewall?: boolean;
  /** Requests of one query under way. */
  readonly concurrency?: number;
  readonly maxWindow?: number;
  readonly maxPingDelay?: number;
  readonly sendDownHints?: boolean;
  /** Per tick of 5 s; -1: any number. */
  readonly downHintsRateLimit?: number;
  readonly filterNode?: (node: NodeReference) => boolean;
  readonly adaptiveTimeout?: AdaptiveTimeoutOptions;
  /** Our public IPv4 address, on the operator's word: whatever others say; otherwise they tell. */
  readonly host?: string | null;
  /**
   * What our IPv4 address may be. Of a bootstrap node only: it is used at once, and until others
   * agree on another one. Not used when no node of such a network can have it.
   */
  readonly guessedHost?: string | null;
  /** A node that others start from: reachable, persistent as soon as it knows its address. */
  readonly isBootstrap?: boolean;
  /** The network is a LAN or on one machine: private addresses are fine, persistent at once. */
  readonly isPrivate?: boolean;
}

export interface DhtNodeStats {
  readonly queries: QueryCounts;
  readonly requests: RequestCounts;
  readonly commands: {
    readonly ping: CommandCounts;
    readonly pingNat: CommandCounts;
    readonly findNode: CommandCounts;
    readonly downHint: CommandCounts;
  };
}
