/** What the appliance is started with: the checked options of a command, as plain values. */
import type { CookieSecrets } from '../../workers/cookies.ts';
import type { DhtStoreLimits } from '../../workers/dht/store/layout.ts';
import type { CidrList } from '../limits/cidr.ts';
import type { SendFrom } from './workers.ts';

/**
 * An IP address (with a zone where needed: `fe80::1%eth0`), never a host name, and a UDP port; port
 * 0 lets the kernel choose one.
 */
export interface ListenAddress {
  readonly address: string;
  readonly port: number;
  /**
   * Set on the `::` that a bare port or `:port` stands for: a machine without IPv6 (EAFNOSUPPORT,
   * EADDRNOTAVAIL) goes on without it even when the user named the addresses.
   */
  readonly ifIpv6?: true;
}

/** How much strangers may ask for; see SECURITY.md. */
export interface Limits {
  /** Replies per second and prefix to unproven sources; null: no limit. */
  readonly rateLimit: number | null;
  readonly rateLimitExempt: CidrList;
  /** Records, and subscriptions, of one prefix. */
  readonly prefixLimit: number;
  /** Peers of one name. */
  readonly nameLimit: number;
  /** 0: no TCP. */
  readonly tcpConnections: number;
  readonly tcpConnectionsPerPrefix: number;
  readonly tcpIdleMs: number;
}

export const UDP_BACKENDS = ['auto', 'batch', 'dgram'] as const;

/** `batch` is the addon (recvmmsg/sendmmsg), `dgram` is node:dgram, `auto` the best that loads. */
export type UdpBackend = (typeof UDP_BACKENDS)[number];

/** What is said of a server only by the program it runs inside of (server/discovery/). */
export interface EmbeddedConfig {
  /** How long a subscription lives without being renewed; 0: for ever. */
  readonly subscriptionTtlSeconds: number;
  /** The most subscriptions kept at once. */
  readonly subscriptionLimit: number;
  /** The most names with records; null: as many as records. */
  readonly nameCount: number | null;
  /** How its user asks for another port, for what is said of one that does not open. */
  readonly otherPort: string;
}

/** A node of the DHT. */
export interface DhtConfig {
  /** IPv4. The port is that of its server socket; the client socket takes any. */
  readonly at: ListenAddress;
  /** Whether the user named it: then it must open. */
  readonly isRequired: boolean;
  /** A port that is taken is no failure: the next four are tried, then any. */
  readonly anyPort: boolean;
  /** `HOST:PORT` or `IP@HOST:PORT`; none: it is a bootstrap node. */
  readonly bootstrap: readonly string[];
  /** A bootstrap node's public IPv4 address; null: found out. */
  readonly host: string | null;
  /** The network is a LAN or one machine. */
  readonly isPrivate: boolean;
  /** Signatures are checked on the main thread: many nodes in one process need no pool each. */
  readonly verifiesInline?: true;
  /** What threads that check signatures run (server/dht/verifier-task.ts); tests have their own. */
  readonly verifierEntry?: URL;
  /** Where its limits differ from the usual (workers/dht/store). */
  readonly stores?: Partial<DhtStoreLimits>;
}

export interface ApplianceConfig {
  /** Where DNS discovery is answered, or `off`. */
  readonly dns: readonly ListenAddress[] | 'off';
  /** Null: no node of the DHT. */
  readonly dht: DhtConfig | null;
  /**
   * True when the user named the addresses: one that cannot be opened is fatal. False for the
   * default list: failures are notices as long as one address works.
   */
  readonly dnsRequired: boolean;
  /** Lower-case, without a trailing dot; the first one is the default for single-label names. */
  readonly domains: readonly string[];
  /** The host name in the domains' NS and SOA records; null = `ns.` and the domain. */
  readonly nameserver: string | null;
  /** How long a record is kept without a new announce; 0 = for ever. */
  readonly ttlSeconds: number;
  /** The most records kept at once. */
  readonly limit: number;
  readonly udpBackend: UdpBackend;
  /** Threads that answer beside the main one; 0: the main thread answers itself. */
  readonly workers: number;
  /** With workers: which thread sends answers by UDP. */
  readonly sendFrom: SendFrom;
  readonly limits: Limits;
  /** What NSID (RFC 5001) says of this server; null: nothing. */
  readonly nsid: Uint8Array | null;
  /** Secrets of the DNS cookies; null: one made of the token secret. */
  readonly cookieSecrets: CookieSecrets | null;
  /** The master secret of the tokens, 32 to 64 bytes; null = a random one for this run. */
  readonly tokenSecret: Uint8Array | null;
  /** Called with one plain line for whatever an operator should read. */
  readonly notice: (line: string) => void;
  /** What worker threads run instead of a lane's usual code: for tests of lanes that fail. */
  readonly laneEntry?: URL;
  /** Of a server inside a program, with `workers` 0: private addresses are spared (bounds.ts). */
  readonly embedded?: EmbeddedConfig;
}
