/** The nodes to start from when few or none are known: parsed once, resolved when needed. */
import { hostToU32, type NodeAddress } from '../../codecs/dht/address.ts';
import { INTERNAL } from '../../codecs/dht/constants.ts';
import type { OwnRequest, RequestOwner, RequestParts } from './request.ts';
import type { BootstrapNode } from './types.ts';

export interface BootstrapEntry {
  /** Tried first: a name server may be out of reach, or lie. */
  readonly suggested: string | null;
  /** An IPv4 address or a host name. */
  readonly host: string;
  readonly port: number;
}

/** What is needed to find out who they are. */
export interface BootstrapHost {
  resolve(hostName: string): Promise<string | null>;
  sendRequest(parts: RequestParts, owner: RequestOwner): OwnRequest | null;
}

/** Throws a TypeError that says what is wrong with an entry. */
export function parseBootstrap(node: BootstrapNode): BootstrapEntry {
  if (typeof node === 'number') return entry('127.0.0.1', node, String(node));
  if (typeof node === 'object') return entry(node.host, node.port, `${node.host}:${node.port}`);
  const colon = node.lastIndexOf(':');
  const port = colon < 0 ? Number.NaN : Number(node.slice(colon + 1));
  return entry(node.slice(0, Math.max(0, colon)), port, node);
}

function entry(text: string, port: number, shown: string): BootstrapEntry {
  const at = text.indexOf('@');
  const suggested = at < 0 ? null : text.slice(0, at);
  const host = text.slice(at + 1);
  const isGood = host !== '' && Number.isInteger(port) && port > 0 && port < 0x1_0000;
  if (isGood && (suggested === null || hostToU32(suggested) >= 0)) return { suggested, host, port };
  throw new TypeError(
    `bootstrap node '${shown}': expected host:port or ip@host:port, such as 192.0.2.1:49737`,
  );
}

export class Bootstrap {
  readonly entries: readonly BootstrapEntry[];
  readonly #host: BootstrapHost;
  /** Addresses that entries had, 'host:port': what these nodes say is believed. */
  readonly #resolved = new Set<string>();

  constructor(nodes: readonly BootstrapNode[], host: BootstrapHost) {
    this.entries = nodes.map(parseBootstrap);
    this.#host = host;
  }

  /** Whether the operator named the node. */
  isNamed(node: NodeAddress): boolean {
    return this.#resolved.has(`${node.host}:${node.port}`);
  }

  /** Calls `each` for every one whose address is known or found, then `done`. */
  resolve(each: (node: NodeAddress) => void, done: () => void): void {
    let open = this.entries.length;
    if (open === 0) {
      done();
      return;
    }
    for (const entry of this.entries) {
      this.#resolveOne(entry, (host) => {
        if (host !== null) {
          this.#note(host, entry.port);
          each({ host, port: entry.port });
        }
        if (--open === 0) done();
      });
    }
  }

  #resolveOne(entry: BootstrapEntry, found: (host: string | null) => void): void {
    const { suggested, port } = entry;
    if (suggested === null) {
      this.#lookUp(entry.host, found);
      return;
    }
    const to = { id: null, host: suggested, port };
    const request = this.#host.sendRequest(
      { to, isInternal: true, command: INTERNAL.PING },
      {
        onResponse: () => found(suggested),
        onError: (error) => {
          if (error.code === 'REQUEST_TIMEOUT') this.#lookUp(entry.host, found);
          else found(null);
        },
      },
    );
    if (request === null) found(null);
    // Its answer is to be believed already.
    else this.#note(suggested, port);
  }

  #lookUp(host: string, found: (host: string | null) => void): void {
    if (hostToU32(host) >= 0) {
      found(host);
      return;
    }
    this.#host.resolve(host).then(
      (address) => found(address !== null && hostToU32(address) >= 0 ? address : null),
      () => found(null),
    );
  }

  #note(host: string, port: number): void {
    // A name may have another address each time: some are remembered, not all there ever were.
    if (this.#resolved.size >= 8 * this.entries.length) this.#resolved.clear();
    this.#resolved.add(`${host}:${port}`);
  }
}
