/**
 * What the node knows of its own place in the network, and what follows from it, as npm dht-rpc 6:
 *
 *   ephemeral, firewalled --first answers, PING_NAT answered (quick test)--> ephemeral, reachable
 *        |                                                                        |
 *        +---- 20 minutes of quiet, same address from all, PING_NAT from others --+--> persistent
 *        ^                                                                             |
 *        +---------------------- asleep, or another address ---------------------------+
 *
 * Persistent nodes show their id, are in others' tables and store things. The id is the hash of the
 * address, so it is taken when the address is known and given up when that is another one. A
 * bootstrap node, which others are to find before there is anybody to ask, begins with a guess.
 */
import type { NodeAddress } from '../../codecs/dht/address.ts';
import { INTERNAL } from '../../codecs/dht/constants.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import { writeU16 } from '../../codecs/dht/varint.ts';
import type { Bootstrap } from './bootstrap.ts';
import { NatSampler } from './nat-sampler.ts';
import type { OwnRequest, RequestOwner, RequestParts } from './request.ts';
import type { DhtNodeOptions, DhtResponse, NodeReference, NodeTable } from './types.ts';

/** Ticks of 5 s: 20 minutes without anything bad. */
const STABLE_TICKS = 240;
/** After a test that failed, or a sleep. */
export const MORE_STABLE_TICKS = 3 * STABLE_TICKS;
/** Who is to be persistent at once tries again after a minute, and then ever later. */
const RETRY_TICKS = 12;
/** Others' new word about our address has to hold so long before it is ours. */
const DRIFT_TICKS = 12;
/** Nodes that are asked whether they reach our server socket, and how many must. */
const FIREWALL_NODES = 5;
const FIREWALL_ANSWERS = 3;
/** Nodes without an id that tell our address: those to start from are. */
const MAX_NAMELESS_SAMPLES = 16;

export interface NetworkHost {
  readonly table: NodeTable;
  readonly serverPort: number;
  readonly bootstrap: Bootstrap;
  readonly isPrivate: boolean;
  readonly bootstrapped: boolean;
  sendRequest(parts: RequestParts, owner: RequestOwner): OwnRequest | null;
  /** The address is one that a node of our network can have. */
  isUsable(address: NodeAddress): boolean;
  /** The node is to be known by `id`; `isPersistent`: to others too. */
  setId(id: Uint8Array, isPersistent: boolean): void;
  /** The routing table's present own id. */
  readonly tableId: Uint8Array;
  emit(event: 'persistent' | 'ephemeral'): unknown;
  emit(event: 'nat-update', host: string | null, port: number): unknown;
}

export interface NetworkStateOptions {
  readonly firewalled: boolean;
  /** Persistent as soon as possible. */
  readonly isForced: boolean;
  /** Persistent when stable. */
  readonly isAdaptive: boolean;
  /** Our address as the operator knows it. */
  readonly host: string | null;
  /** What it may be, of a bootstrap node. */
  readonly guessedHost: string | null;
  readonly isBootstrap: boolean;
}

export class NetworkState {
  ephemeral = true;
  firewalled: boolean;
  readonly isForced: boolean;
  readonly isAdaptive: boolean;
  readonly #isBootstrap: boolean;
  readonly #node: NetworkHost;
  readonly #ownHost: string | null;
  #guessedHost: string | null = null;
  #nat: NatSampler;
  /** Nodes without an id that have told our address. */
  #nameless = new Set<string>();
  #stableTicks = STABLE_TICKS;
  #retryTicks = RETRY_TICKS;
  #driftTicks = 0;
  /** The host that was tested last: the same one is not tested again. */
  #lastHost: string | null = null;
  #isTesting = false;
  /** What our id is the hash of. */
  #known: NodeAddress = { host: '', port: 0 };

  constructor(node: NetworkHost, options: NetworkStateOptions) {
    this.#node = node;
    this.firewalled = options.firewalled;
    this.isForced = options.isForced;
    this.isAdaptive = options.isAdaptive;
    this.#isBootstrap = options.isBootstrap;
    this.#ownHost = options.host;
    this.#nat = this.#newSampler();
    if (options.guessedHost !== null) this.#guessedHost = this.#guessable(options.guessedHost);
  }

  /** The sockets are open. */
  start(): void {
    this.#begin(this.#nat);
  }

  /**
   * Our address may be at `host`: so it is until others agree on another one. Not heard when the
   * operator has named it, when others agree already, when it is none that a node of our network
   * can have, and by a node that is no bootstrap node: those ask others first.
   */
  guess(host: string): void {
    if (this.#guessable(host) === null || host === this.#guessedHost) return;
    if (this.#nat.isAgreed) return;
    this.#guessedHost = host;
    this.#begin(this.#nat);
    this.#node.emit('nat-update', this.#nat.host, this.#nat.port);
    this.#startOver();
    this.update(false, () => undefined);
  }

  get host(): string | null {
    return this.#nat.host;
  }

  get port(): number {
    return this.#nat.port;
  }

  /** A node with an id told our address. */
  sample(source: NodeReference, address: NodeAddress): void {
    if (!this.#node.isUsable(address)) return;
    const { host, port, isCorroborated } = this.#nat;
    this.#nat.add(address, source, this.#node.bootstrap.isNamed(source));
    const isOther = host !== this.#nat.host || port !== this.#nat.port;
    if (!isOther && isCorroborated === this.#nat.isCorroborated) return;
    this.#retryTicks = RETRY_TICKS;
    // Who waits for nothing but the address need not wait for the next round.
    if (this.isForced) this.#stableTicks = Math.min(this.#stableTicks, 1);
    if (isOther) this.#node.emit('nat-update', this.#nat.host, this.#nat.port);
  }

  /** A node without an id did: only some are asked, and each once. */
  sampleNameless(source: NodeReference, address: NodeAddress): void {
    const { entries } = this.#node.bootstrap;
    const isLearning = this.#isBootstrap && entries.length === 0;
    const most = isLearning ? MAX_NAMELESS_SAMPLES : Math.max(1, entries.length);
    const name = `${source.host}:${source.port}`;
    if (this.#nameless.size >= most || this.#nameless.has(name)) return;
    this.#nameless.add(name);
    this.sample(source, address);
  }

  onTick(): void {
    if (!this.ephemeral) {
      this.#watchAddress();
      return;
    }
    if (!this.isForced && !this.isAdaptive) return;
    if (--this.#stableTicks > 0) return;
    if (!this.isForced && this.#lastHost !== null && this.#lastHost === this.#nat.host) {
      this.#stableTicks = MORE_STABLE_TICKS;
      return;
    }
    this.update(false, () => undefined);
  }

  /** The machine was asleep: it may be elsewhere. */
  onWakeUp(): void {
    this.#stableTicks = MORE_STABLE_TICKS;
    this.#lastHost = null;
    if (this.isAdaptive) this.#becomeEphemeral();
  }

  /**
   * Finds out whether our server socket can be reached, and becomes persistent if it can (with
   * `onlyFirewall` not that). Calls `done` with whether anything came of it.
   */
  update(onlyFirewall: boolean, done: (isDone: boolean) => void): void {
    if (!this.ephemeral || (onlyFirewall && !this.firewalled) || this.#isTesting) {
      done(false);
      return;
    }
    const { host, port } = this.#nat;
    const isKnown = host !== null && port !== 0 && this.#nat.isCorroborated;
    if (!onlyFirewall) {
      this.#lastHost = isKnown ? host : null;
      const isSoon = this.isForced || !isKnown;
      this.#stableTicks = isSoon ? this.#retryTicks : MORE_STABLE_TICKS;
      this.#retryTicks = Math.min(2 * this.#retryTicks, STABLE_TICKS);
    }
    if (!isKnown) {
      done(false);
      return;
    }
    if (!this.firewalled) {
      done(this.#arrive(onlyFirewall, this.#nat, host, port));
      return;
    }
    this.#isTesting = true;
    const sampler = this.#newSampler();
    this.#testFirewall(sampler, (isFirewalled) => {
      this.#isTesting = false;
      if (!isFirewalled) this.firewalled = false;
      done(!isFirewalled && this.#arrive(onlyFirewall, sampler, host, port));
    });
  }

  /** The server socket can be reached: others know us by what `sampler` says of it. */
  #arrive(onlyFirewall: boolean, sampler: NatSampler, host: string, port: number): boolean {
    const isSame = host === this.#nat.host && port === this.#nat.port;
    if (!this.ephemeral || !isSame) return false;
    if (sampler.host !== host || sampler.port === 0) return false;
    const id = nodeId(sampler.host, sampler.port);
    this.#known = { host: sampler.host, port: sampler.port };
    if (!onlyFirewall) this.ephemeral = false;
    if (sampler !== this.#nat) {
      this.#nameless = new Set();
      this.#nat = sampler;
      this.#begin(sampler);
      if (sampler.host !== host || sampler.port !== port) {
        this.#node.emit('nat-update', sampler.host, sampler.port);
      }
    }
    this.#node.setId(id, !this.ephemeral);
    if (!this.ephemeral) this.#node.emit('persistent');
    return true;
  }

  /** Asks other nodes to answer to our server socket, from which nothing has gone to them. */
  #testFirewall(sampler: NatSampler, done: (isFirewalled: boolean) => void): void {
    const { table, bootstrap } = this.#node;
    // Without ids: who does not reach us is not to be taken for dead.
    const nodes = table.latest(FIREWALL_NODES).map(({ host, port }) => ({ id: null, host, port }));
    const ask = (): void => this.#pingNat(nodes, sampler, done);
    if (nodes.length >= FIREWALL_NODES) ask();
    else bootstrap.resolve(({ host, port }) => nodes.push({ id: null, host, port }), ask);
  }

  #pingNat(
    nodes: readonly NodeReference[],
    sampler: NatSampler,
    done: (isFirewalled: boolean) => void,
  ): void {
    let open = nodes.length;
    let answers = 0;
    const ended = (): void => {
      if (--open > 0) return;
      const least = nodes.length >= FIREWALL_NODES ? FIREWALL_ANSWERS : 1;
      const isReached = answers >= least && sampler.host !== null;
      const isSameHost = sampler.host === this.#nat.host;
      done(!isReached || !isSameHost || sampler.port !== this.#node.serverPort);
    };
    if (open === 0) {
      done(true);
      return;
    }
    for (const to of nodes) {
      const request = this.#node.sendRequest(
        { to, isInternal: true, command: INTERNAL.PING_NAT, value: this.portValue() },
        {
          onResponse: (response) => {
            if (this.#isOnServerSocket(response)) {
              answers++;
              sampler.add(response.to, to, this.#node.bootstrap.isNamed(to));
            }
            ended();
          },
          onError: ended,
        },
      );
      if (request === null) ended();
    }
  }

  #isOnServerSocket(response: DhtResponse): boolean {
    return response.socket === 'server' && this.#node.isUsable(response.to);
  }

  /** What PING_NAT asks for: an answer to this port. */
  portValue(): Uint8Array {
    const value = new Uint8Array(2);
    writeU16(value, 0, this.#node.serverPort);
    return value;
  }

  /**
   * A persistent node whose address has become another one is unknown by its id: it starts over.
   * The original notices only after a sleep.
   */
  #watchAddress(): void {
    const { host, port } = this.#nat;
    const isOther = host !== this.#known.host || port !== this.#known.port;
    const isSure = isOther && host !== null && port !== 0 && this.#nat.isCorroborated;
    this.#driftTicks = isSure ? this.#driftTicks + 1 : 0;
    if (this.#driftTicks < DRIFT_TICKS) return;
    // It was wrong: whatever others say later, it is not taken up again.
    this.#guessedHost = null;
    this.#nat.guess(null);
    this.#startOver();
  }

  #startOver(): void {
    this.#driftTicks = 0;
    this.#stableTicks = 1;
    this.#lastHost = null;
    this.#becomeEphemeral();
  }

  #becomeEphemeral(): void {
    if (this.ephemeral) return;
    this.ephemeral = true;
    this.#node.setId(this.#node.tableId, false);
    this.#node.emit('ephemeral');
  }

  /** Tells a sampler what is known without asking anybody. */
  #begin(sampler: NatSampler): void {
    const { serverPort: port } = this.#node;
    if (this.#ownHost !== null) sampler.pin(this.#ownHost, port);
    else sampler.guess(this.#guessedHost === null ? null : { host: this.#guessedHost, port });
  }

  /** `host` if we may take it for our own; otherwise null. */
  #guessable(host: string): string | null {
    if (!this.#isBootstrap || this.#ownHost !== null) return null;
    // Whatever the port, which is not known before the sockets are open.
    return this.#node.isUsable({ host, port: 1 }) ? host : null;
  }

  #newSampler(): NatSampler {
    return new NatSampler(this.#node.isPrivate);
  }
}

/** What a node's options say about its place. */
export function stateOptions(options: DhtNodeOptions): NetworkStateOptions {
  const isBootstrap = options.isBootstrap === true;
  const isChosen = typeof options.ephemeral === 'boolean';
  const isForced = isChosen ? !options.ephemeral : isBootstrap || options.isPrivate === true;
  return {
    firewalled: options.firewalled ?? !isBootstrap,
    isForced,
    isAdaptive: !isChosen && !isForced && options.adaptive !== false,
    host: options.host ?? null,
    guessedHost: options.guessedHost ?? null,
    isBootstrap,
  };
}
