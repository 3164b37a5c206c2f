/** A discovery client of ours for one test: without multicast, destroyed when the test ends. */
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import discovery, { Discovery } from '../../server/discovery/discovery.ts';
import type {
  AnnounceOptions,
  DiscoveryOptions,
  LookupOptions,
  Peer,
  TrafficDetails,
  TrafficType,
  Whoami,
} from '../../server/discovery/types.ts';
import { type FakeClock, until } from './tcp-client.ts';

/** `host:port`, as one writes it. */
export function addressText({ host, port }: Peer): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export interface Traffic {
  readonly type: TrafficType;
  readonly details: TrafficDetails;
}

export class TestClient {
  readonly disc: Discovery;
  /** Every peer event, as `name host:port`. */
  readonly peers: string[] = [];

  constructor(t: TestContext, options: DiscoveryOptions) {
    this.disc = discovery({ multicast: false, ...options });
    this.disc.on('peer', (name, peer) => this.peers.push(`${name} ${addressText(peer)}`));
    t.after(() => this.destroy());
  }

  destroy(): Promise<void> {
    return this.disc.destroy();
  }

  async lookup(name: string | Buffer, options: LookupOptions = {}): Promise<void> {
    await this.disc.lookup(name, options);
  }

  async announce(name: string | Buffer, port: number, options: AnnounceOptions = {}) {
    await this.disc.announce(name, port, options);
  }

  async unannounce(name: string | Buffer, port: number, options: AnnounceOptions = {}) {
    await this.disc.unannounce(name, port, options);
  }

  async whoami(): Promise<Whoami> {
    return await this.disc.whoami();
  }

  /** Looks up; the distinct peers the events told of that name meanwhile, sorted. */
  async find(name: string, options: LookupOptions = {}): Promise<string[]> {
    const from = this.peers.length;
    await this.lookup(name, options);
    return distinct(this.peers.slice(from), name);
  }

  /** The distinct peers told of a name so far, sorted. */
  seen(name: string): string[] {
    return distinct(this.peers, name);
  }

  /** Resolves with the next peer event, as text. */
  async nextPeer(): Promise<string> {
    const [name, peer] = (await once(this.disc, 'peer')) as [string, Peer];
    return `${name} ${addressText(peer)}`;
  }

  /** What passes from now on. */
  keepTraffic(): Traffic[] {
    const kept: Traffic[] = [];
    this.disc.on('traffic', (type, details) => kept.push({ type, details }));
    return kept;
  }
}

/** An instance on a clock of the test's, without multicast, destroyed when the test ends. */
export function discoveryAt(t: TestContext, clock: FakeClock, options: DiscoveryOptions) {
  const disc = new Discovery({ multicast: false, ...options }, { clock });
  t.after(async () => {
    let isClosed = false;
    void disc.destroy(() => {
      isClosed = true;
    });
    await until(() => {
      clock.advance(10);
      return isClosed;
    }, 'the close');
  });
  return disc;
}

function distinct(told: readonly string[], name: string): string[] {
  const prefix = `${name} `;
  const own = told.filter((peer) => peer.startsWith(prefix));
  return [...new Set(own.map((peer) => peer.slice(prefix.length)))].sort();
}
