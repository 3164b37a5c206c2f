/**
 * Which addresses a routing table takes, and how many of one network. A node's id is the hash of
 * its address, so who has many addresses has many ids, wherever in the table they fall. What bounds
 * him is that addresses of one network are cheap together and those of many networks are not:
 *
 *   one address in a bucket     1 node     ports cost nothing
 *   a /24 in a bucket           2 nodes    two neighbours are common, more rarely matter
 *   a /16 in the whole table    5%, at least 1 node, once the table knows 24 networks
 *
 * so 100,000 ids made in one /16 hold at most 5% of a table: what they had while it was young goes,
 * in full buckets for newcomers of other networks, and all that is too much when the table knows
 * many. A table of fewer networks is that of a small DHT, in the networks of a few operators
 * perhaps: there a share would leave out honest nodes; and 20 of a network that have been there for
 * half an hour stay whoever comes. Never taken are addresses that no host has
 * (codecs/dht/address.ts) and, in a public network, those of somebody's own network: who names them
 * wants our datagrams to go there. In a private network these are taken, and as all nodes may be of
 * one /24, or of one address, nothing bounds them.
 */
import { isPrivateIpv4, isReservedIpv4 } from '../../codecs/dht/address.ts';
import { K } from '../../codecs/dht/constants.ts';

export const MOST_PER_ADDRESS_IN_BUCKET = 1;
export const MOST_PER_24_IN_BUCKET = 2;
export const SHARE_OF_16_IN_TABLE = 0.05;
/** With 20 equal networks each has its share; some have more than others. */
export const NETWORKS_FOR_SHARES = 24;
/** Half an hour in ticks of 5 s, after which npm dht-rpc calls a node old. */
export const SETTLED_TICKS = 360;

export class TableBounds {
  readonly #isPrivate: boolean;
  /** Nodes of each /16, but for those that nothing bounds. */
  readonly #per16 = new Map<number, number>();

  /** `isPrivate`: the network is a LAN or on loopback. */
  constructor(isPrivate: boolean) {
    this.#isPrivate = isPrivate;
  }

  /** Whether a node at this host number may be in the table at all. */
  isAllowed(host: number): boolean {
    if (isReservedIpv4(host)) return false;
    return this.#isPrivate || !isPrivateIpv4(host);
  }

  /** Whether `host` may join the bucket of `members`. */
  fitsBucket(host: number, members: readonly number[]): boolean {
    if (this.#isSpared(host)) return true;
    let same = 0;
    let near = 0;
    for (const member of members) {
      if (member === host) same++;
      if (member >>> 8 === host >>> 8) near++;
    }
    return same < MOST_PER_ADDRESS_IN_BUCKET && near < MOST_PER_24_IN_BUCKET;
  }

  /** Whether one more of its /16 may join the table, which then has `size` nodes. */
  fitsTable(host: number, size: number): boolean {
    if (this.#isSpared(host)) return true;
    return (this.#per16.get(host >>> 16) ?? 0) < this.#mostPer16(size);
  }

  /** Each /16 (the upper half of its host numbers) with more than its share of `size` nodes. */
  *crowded(size: number): Iterable<number> {
    const most = this.#mostPer16(size);
    for (const [network, count] of this.#per16) if (count > most) yield network;
  }

  /**
   * Whether a node that has been in the table for `ticks` stays although its network, of `count`
   * nodes, has more than its share: who has been there for half an hour was there before the crowd,
   * and nobody shall throw out the nodes of a whole network by bringing others.
   */
  isSettled(count: number, ticks: number): boolean {
    return count <= K && ticks >= SETTLED_TICKS;
  }

  /** Counts a node that joined (`change` 1) or left (-1). */
  count(host: number, change: 1 | -1): void {
    if (this.#isSpared(host)) return;
    const count = (this.#per16.get(host >>> 16) ?? 0) + change;
    if (count > 0) this.#per16.set(host >>> 16, count);
    else this.#per16.delete(host >>> 16);
  }

  /**
   * How crowded the network of `host` is, its nodes of `size`; 0 when it has no more than its share
   * whatever the other networks are.
   */
  crowdOf(host: number, size: number): number {
    const count = this.#per16.get(host >>> 16) ?? 0;
    return count > Math.max(1, size * SHARE_OF_16_IN_TABLE) ? count : 0;
  }

  /** How many nodes the network of `host` has. */
  countOf(host: number): number {
    return this.#per16.get(host >>> 16) ?? 0;
  }

  #mostPer16(size: number): number {
    if (this.#per16.size < NETWORKS_FOR_SHARES) return Number.POSITIVE_INFINITY;
    return Math.max(1, Math.floor(size * SHARE_OF_16_IN_TABLE));
  }

  /** Nothing bounds the addresses of a private network. */
  #isSpared(host: number): boolean {
    return this.#isPrivate && isPrivateIpv4(host);
  }
}
