/** The public types of the discovery client. */
import type { Socket } from 'node:dgram';
import type { UdpBackend } from '../options/config.ts';

/** Where somebody can be reached. */
export interface Peer {
  readonly port: number;
  /** An IPv4 or IPv6 address. */
  readonly host: string;
}

/** What `multicast` takes beside a boolean: an instance of npm multicast-dns, or its like. */
export interface MulticastDns {
  query(
    message: { readonly questions: { readonly type: 'TXT'; readonly name: string }[] },
    done?: (error?: Error | null) => void,
  ): void;
  /** Sends a response; older ones call it `response`. */
  respond?(message: object, to?: object): void;
  response?(message: object, to?: object): void;
  on(
    event: 'query' | 'response',
    listener: (message: object, from: { readonly address: string; readonly port: number }) => void,
  ): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  destroy(done?: () => void): void;
}

/** Options of `discovery()`; the first group is that of npm dns-discovery 6.2.3. */
export interface DiscoveryOptions {
  /**
   * Discovery servers, each `host`, `host:port` or `host:port,secondPort`, IPv6 addresses in
   * brackets. Without a port: 5300, then 53. Default: none.
   */
  readonly server?: string | readonly string[] | undefined;
  /** As `server`; wins over it, as with the original. */
  readonly servers?: string | readonly string[] | undefined;
  /** Seconds a listening instance keeps a record. Default: for ever. */
  readonly ttl?: number | undefined;
  /** Records kept at most. Default: 10000. */
  readonly limit?: number | undefined;
  /** Multicast DNS: whether, or by which instance. Default: true. */
  readonly multicast?: boolean | MulticastDns | undefined;
  /** Default: `dns-discovery.local`. */
  readonly domain?: string | undefined;
  /** The UDP socket to ask servers by; it is closed by `destroy`. Default: one of its own. */
  readonly socket?: Socket | undefined;
  /** Discover oneself over multicast. Default: false. */
  readonly loopback?: boolean | undefined;
  /** Subscriptions at a listening instance: seconds (default: ttl, or 60), number (limit). */
  readonly push?: { readonly ttl?: number; readonly limit?: number } | undefined;
  /** Names kept at most. Default: no bound but `limit`. */
  readonly records?: number | undefined;
  /** Peers of a name kept at most. Default: no bound but `limit`. */
  readonly values?: number | undefined;
  /** How often a question is sent before it fails, at most. Default: as `timeout` allows. */
  readonly retries?: number | undefined;
  /** Milliseconds until a question fails. Default: 7500. */
  readonly timeout?: number | undefined;

  /** The local address to ask servers from. Default: the system's choice. */
  readonly host?: string | undefined;
  /** Interfaces for multicast DNS, by name or address. Default: all, as they come and go. */
  readonly interfaces?: string | readonly string[] | undefined;
  /** How a listening instance receives datagrams. Default: auto. */
  readonly udpBackend?: UdpBackend | undefined;
}

export interface RequestOptions {
  /** false: do not ask the servers. */
  readonly server?: boolean | undefined;
  /** false: no multicast. */
  readonly multicast?: boolean | undefined;
  /** Ends the wait; the operation fails with the signal's reason, renewals stop. */
  readonly signal?: AbortSignal | undefined;
}

export interface LookupOptions extends RequestOptions {
  /**
   * Goes on looking until aborted or destroyed: subscribed at the servers, asking again every
   * `ttl` / 3 or 20 seconds. An iteration over it then does not end by itself.
   */
  readonly keep?: boolean | undefined;
}

export interface AnnounceOptions extends RequestOptions {
  /** Announced to servers instead of the port, which multicast goes on to tell. */
  readonly publicPort?: number | undefined;
  /** Announce to servers the port that they see the client's socket at. */
  readonly impliedPort?: boolean | undefined;
  /** Announces again every `ttl` / 3 or 20 seconds until aborted, unannounced or destroyed. */
  readonly keep?: boolean | undefined;
}

/** What a server sees of us: `port` is 0 when it is unknown whether all see the same. */
export interface Whoami {
  readonly port: number;
  readonly host: string;
}

export type TrafficType =
  | 'in:query'
  | 'in:response'
  | 'in:multicastquery'
  | 'in:multicastresponse'
  | 'out:query'
  | 'out:response'
  | 'out:multicastquery'
  | 'out:multicastresponse';

export interface TrafficDetails {
  /** As npm dns-packet decodes it. */
  readonly message: unknown;
  readonly peer?: { readonly port: number; readonly host: string };
}

/** Events and their arguments. */
export interface DiscoveryEvents {
  peer: [name: string, peer: Peer];
  announced: [name: string, details: { readonly port: number }];
  unannounced: [name: string, details: { readonly port: number }];
  listening: [];
  close: [];
  traffic: [type: TrafficType, details: TrafficDetails];
  'secrets-rotated': [];
  error: [error: Error];
}

export type DiscoveryErrorCode =
  | 'ERR_QUERY_FAILED'
  | 'ERR_PROBE_FAILED'
  | 'ERR_INCONSISTENT'
  | 'ERR_DESTROYED'
  | 'ERR_TOO_MANY';

/** Why an operation failed; `errors` has one for each server that was asked. */
export class DiscoveryError extends Error {
  override readonly name = 'DiscoveryError';
  readonly code: DiscoveryErrorCode;
  readonly errors: readonly Error[];

  constructor(code: DiscoveryErrorCode, message: string, errors: readonly Error[] = []) {
    super(message);
    this.code = code;
    this.errors = errors;
  }
}

/** One name of `toJSON()`. */
export interface NameJson {
  readonly name: string;
  readonly records: readonly Peer[];
}
