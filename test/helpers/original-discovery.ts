/** npm dns-discovery 6.2.3 as a test drives it: callbacks as promises, peers collected. */
import { once } from 'node:events';
import { createRequire } from 'node:module';
import type { TestContext } from 'node:test';

interface OriginalPeer {
  readonly host: string;
  readonly port: number;
}

type Callback<T> = (error: Error | null, value: T) => void;

interface Original extends NodeJS.EventEmitter {
  lookup(name: string, cb: Callback<void>): void;
  announce(name: string, port: number, options: object, cb: Callback<void>): void;
  unannounce(name: string, port: number, options: object, cb: Callback<void>): void;
  whoami(cb: Callback<OriginalPeer>): void;
  destroy(cb: () => void): void;
}

const require = createRequire(import.meta.url);
const discovery = require('dns-discovery') as (options: object) => Original;

/** Path of the original's command line. */
export const ORIGINAL_CLI = require.resolve('dns-discovery/bin.js');

export class OriginalClient {
  readonly disc: Original;
  /** Every peer event, as `name host:port`. */
  readonly peers: string[] = [];

  constructor(t: TestContext, options: object) {
    this.disc = discovery({ multicast: false, ...options });
    this.disc.on('peer', (name: string, peer: OriginalPeer) => {
      this.peers.push(`${name} ${peer.host}:${peer.port}`);
    });
    t.after(() => new Promise<void>((resolve) => this.disc.destroy(resolve)));
  }

  lookup(name: string): Promise<void> {
    return promise((cb) => this.disc.lookup(name, cb));
  }

  announce(name: string, port: number, options: object = {}): Promise<void> {
    return promise((cb) => this.disc.announce(name, port, options, cb));
  }

  unannounce(name: string, port: number, options: object = {}): Promise<void> {
    return promise((cb) => this.disc.unannounce(name, port, options, cb));
  }

  whoami(): Promise<OriginalPeer> {
    return promise((cb) => this.disc.whoami(cb));
  }

  /** Resolves with the next peer event, as text. */
  async nextPeer(): Promise<string> {
    const [name, peer] = (await once(this.disc, 'peer')) as [string, OriginalPeer];
    return `${name} ${peer.host}:${peer.port}`;
  }

  /** The distinct peers seen of a name. */
  seen(name: string): Set<string> {
    return new Set(this.peers.filter((peer) => peer.startsWith(`${name} `)));
  }
}

function promise<T>(call: (cb: Callback<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, value) => (error ? reject(error) : resolve(value)));
  });
}
