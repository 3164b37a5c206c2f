/**
 * Our own address, from what others say they see. The last 16 of them are asked, as it were: an
 * address holds when all but a few agree, and its port when they agree on that too.
 *
 *   samples            1-3     4-7     8-11    12-16
 *   may say otherwise   0       1       2        3
 *
 * Whoever answers us may lie. Of one network (a /24) only the last few count; and before the
 * address is used for more than to tell it, it must be corroborated: three networks say so, or a
 * node that the operator has named.
 *
 * What the operator says stands. A guess of the machine's own is good enough to begin with, until
 * others agree on something else: three networks, or in a private network three nodes, or all who
 * were heard when they are fewer.
 */
import { hostToU32, type NodeAddress } from '../../codecs/dht/address.ts';

const MAX_SAMPLES = 16;
/** Of one network, unless the whole network is private. */
const MAX_PER_NETWORK = 4;
/** Networks that must agree before strangers are believed. */
const ENOUGH_NETWORKS = 3;
/** Nodes of a private network that must agree against a guess, unless fewer were heard. */
const ENOUGH_NODES = 3;
/** Ports of a host: a node is a number below 2^48. */
const PORTS = 0x1_0000;

interface Sample {
  readonly host: string;
  readonly port: number;
  /** Who said so, and its /24. */
  readonly node: number;
  readonly network: number;
  readonly isTrusted: boolean;
}

export class NatSampler {
  readonly #isPrivate: boolean;
  #samples: Sample[] = [];
  #pinned: NodeAddress | null = null;
  #guessed: NodeAddress | null = null;
  /** What others agree on. */
  #host: string | null = null;
  #port = 0;
  #isAgreed = false;

  /** `isPrivate`: nobody here lies. */
  constructor(isPrivate: boolean) {
    this.#isPrivate = isPrivate;
  }

  /** Null: not known, or not agreed on. */
  get host(): string | null {
    return this.#own === null ? this.#host : this.#own.host;
  }

  /** 0: not known, or another one for each who was asked. */
  get port(): number {
    return this.#own === null ? this.#port : this.#own.port;
  }

  get size(): number {
    return this.#samples.length;
  }

  /** Whether the address is good enough to be our id. */
  get isCorroborated(): boolean {
    if (this.#own !== null) return true;
    return this.#isPrivate ? this.#host !== null : this.#isAgreed;
  }

  /** Whether enough others agree on an address: what no guess stands against. */
  get isAgreed(): boolean {
    return this.#isAgreed;
  }

  /** The operator says so: whatever others say changes nothing. */
  pin(host: string, port: number): void {
    this.#pinned = { host, port };
  }

  /** Probably this, until others agree; null: no guess. */
  guess(address: NodeAddress | null): void {
    this.#guessed = address;
  }

  /** The node at `source` sees us at `address`; `isTrusted`: the operator named that node. */
  add(address: NodeAddress, source: NodeAddress, isTrusted: boolean): void {
    if (this.#pinned !== null) return;
    const { host, port } = address;
    const from = hostToU32(source.host);
    const network = from >>> 8;
    if (!this.#isPrivate) this.#makeRoom(network);
    this.#samples.push({ host, port, node: from * PORTS + source.port, network, isTrusted });
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
    this.#settle();
    this.#isAgreed = this.#port !== 0 && this.#agree();
  }

  /** What holds whatever a few others say. */
  get #own(): NodeAddress | null {
    if (this.#pinned !== null) return this.#pinned;
    return this.#guessed === null || this.#isAgreed ? null : this.#guessed;
  }

  /** Takes the first one of a network out that has all it may have. */
  #makeRoom(network: number): void {
    let count = 0;
    for (const sample of this.#samples) if (sample.network === network) count++;
    if (count < MAX_PER_NETWORK) return;
    this.#samples.splice(
      this.#samples.findIndex((sample) => sample.network === network),
      1,
    );
  }

  #settle(): void {
    const { length } = this.#samples;
    const least = length - Math.min(3, length >> 2);
    this.#host = null;
    this.#port = 0;
    // Whatever holds was said by one of the last four, or more than three say otherwise.
    for (const { host, port } of this.#samples.slice(-4).reverse()) {
      if (this.#count(host, port) >= least) {
        this.#host = host;
        this.#port = port;
        return;
      }
      if (this.#count(host, 0) >= least) this.#host = host;
    }
  }

  #agree(): boolean {
    const networks = new Set<number>();
    const nodes = new Set<number>();
    const heard = new Set<number>();
    for (const { host, node, network, isTrusted } of this.#samples) {
      heard.add(node);
      if (host !== this.#host) continue;
      if (isTrusted) return true;
      networks.add(network);
      nodes.add(node);
    }
    if (this.#isPrivate) return nodes.size >= Math.min(ENOUGH_NODES, heard.size);
    return networks.size >= ENOUGH_NETWORKS;
  }

  /** How many say `host`, and `port` unless that is 0. */
  #count(host: string, port: number): number {
    let count = 0;
    for (const sample of this.#samples) {
      if (sample.host === host && (port === 0 || sample.port === port)) count++;
    }
    return count;
  }
}
