/**
 * What `listen()` runs: the server of `waypost serve`, inline in this process, with this instance's
 * own announcements among its answers. Importing this module loads nothing of it: `start` does.
 */
import type { Clock } from '../../clock.ts';
import type { UdpBackend } from '../../options/config.ts';
import type { TrafficTap } from '../traffic.ts';
import type { NameJson, Peer } from '../types.ts';
import type { EmbeddedServer } from './embedded.ts';

export interface ListeningConfig {
  /** Each is opened on all addresses, IPv4 and, where there is IPv6, IPv6; 0: any free ports. */
  readonly ports: readonly number[];
  /** True: nobody named the ports, and one that opens is enough. False: all of them must. */
  readonly isDefault: boolean;
  /** The one domain it answers for. */
  readonly domain: string;
  /** How long an announce lives, in seconds, rounded up; 0 and Infinity: for ever. */
  readonly ttlSeconds: number;
  /** The most records of others, and the most of one's own, kept at once. */
  readonly limit: number;
  /** The same for subscriptions. */
  readonly push: { readonly ttlSeconds: number; readonly limit: number };
  /** The most names of others that have records; beyond, the one used least recently goes. */
  readonly records: number | undefined;
  /** The most peers of a name, own ones not counted; beyond, the oldest goes (bounds.ts). */
  readonly values: number | undefined;
  readonly udpBackend: UdpBackend;
  readonly clock: Clock;
  readonly traffic: TrafficTap;
  /** Somebody announced, for the first time or again; not this instance by itself. */
  readonly onPeer: (id: string, peer: Peer) => void;
  /** One plain line about what is not as it should be and does not keep the server from running. */
  readonly notice: (line: string) => void;
}

export interface ListeningAddress {
  readonly address: string;
  readonly port: number;
  readonly transport: 'udp' | 'tcp';
}

export class Listening {
  readonly #server: EmbeddedServer;
  /** What was opened. */
  readonly addresses: readonly ListeningAddress[];

  private constructor(server: EmbeddedServer) {
    this.#server = server;
    this.addresses = server.addresses;
  }

  /**
   * Opens the ports and answers on them. Rejects with an Error that says what to do, with the
   * system's `code` (EACCES, EADDRINUSE) when it was an address that did not open.
   */
  static async start(config: ListeningConfig): Promise<Listening> {
    const { startEmbedded } = await import('./embedded.ts');
    return new Listening(await startEmbedded(config));
  }

  /** At most 100 random peers that others announced under `id`; own ones are not among them. */
  peers(id: string): readonly Peer[] {
    return this.#server.peers(id);
  }

  /** All names with their peers, this instance's own ones (host 0.0.0.0) first. */
  toJSON(): NameJson[] {
    return this.#server.toJSON();
  }

  /**
   * Names this instance's own `port` in answers about `id`, until `unannounce`. Port 0 is nobody's.
   *
   * @throws RangeError when the id is no name, or the port none from 0 to 65535.
   */
  announce(id: string, port: number): void {
    this.#server.own.add(id, port);
  }

  /** Takes an `announce` back. Throws as that does. */
  unannounce(id: string, port: number): void {
    this.#server.own.remove(id, port);
  }

  /** Stops receiving, answers what is in flight, closes the sockets. May be called again. */
  close(): Promise<void> {
    return this.#server.close();
  }
}
