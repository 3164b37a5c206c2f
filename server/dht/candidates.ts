/**
 * Whom a query may still ask, whom it has asked, and the closest that answered.
 *
 *   told of --> open, closest first --> asked --> answered --> among the closest k, or not
 *          \--> set aside ----^                \--> down: those who named it are told
 *
 * Everything here was named by strangers, so everything is bounded. Ids are hashes of addresses:
 * who owns a whole network (a /16) finds addresses in it that are close to any target, and would be
 * all of the closest. So a few of one network are asked and kept; more of it are set aside, and
 * only asked when there are no others left.
 */
import { hostToU32, isPrivateIpv4, type NodeAddress } from '../../codecs/dht/address.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import type { DhtResponse, NodeReference } from './types.ts';

/** Known and not yet asked, per query: replies name 20 each. */
const MAX_OPEN = 512;
/** Set aside, per query. */
const MAX_ASIDE = 256;
/** Asked in one query; in a network of a million some 60 are. */
const MAX_VISITS = 512;
/** Remembered in one query, asked or not. */
const MAX_SEEN = 4096;
/** Remembered of those who named a node, to be told when it is down. */
const MAX_REFERRERS = 16;
/** Of one network (a /16) asked at a time and among the closest: a quarter of k. */
const MAX_OF_NETWORK = 5;
/** The network of a private address in a private network: there it does not count. */
const NO_NETWORK = -1;

export interface Candidate extends NodeReference {
  readonly id: Uint8Array;
  /** Host number * 2^16 + port. */
  readonly address: number;
  readonly network: number;
}

const OPEN = 0;
const ASKED = 1;
const ANSWERED = 2;
const DOWN = 3;

interface Seen {
  state: number;
  readonly referrers: NodeReference[];
}

export class Candidates {
  readonly target: Uint8Array;
  readonly k: number;
  readonly #isPrivate: boolean;
  /** Answers of the closest nodes, the closest first. */
  readonly closest: DhtResponse[] = [];
  readonly #seen = new Map<number, Seen>();
  /** Both with the closest last. */
  #open: Candidate[] = [];
  #aside: Candidate[] = [];
  /** Answers that are not among the closest because of their network. */
  #surplus: DhtResponse[] = [];
  readonly #asking = new Map<number, number>();
  #visits = 0;
  #isBounded = true;

  constructor(target: Uint8Array, k: number, isPrivate: boolean) {
    this.target = target;
    this.k = k;
    this.#isPrivate = isPrivate;
  }

  /** How many may be asked; those set aside are not counted. */
  get openCount(): number {
    return this.#open.length;
  }

  /** Whether a node with this id would be among the closest. */
  isCloser(id: Uint8Array): boolean {
    const { closest, k } = this;
    return closest.length < k || this.#compare(id, idOf(closest[closest.length - 1])) < 0;
  }

  /**
   * A node was named, by `referrer` or by ourselves. Returns true when it is already known to be
   * down, which its referrer may want to know.
   */
  add(node: NodeAddress, referrer: NodeReference | null): boolean {
    const host = hostToU32(node.host);
    const address = host * 0x1_0000 + node.port;
    const seen = this.#seen.get(address);
    if (seen !== undefined) {
      if (seen.state === DOWN) return true;
      if (referrer !== null && seen.state !== ANSWERED && seen.referrers.length < MAX_REFERRERS) {
        seen.referrers.push(referrer);
      }
      return false;
    }
    if (this.#seen.size >= MAX_SEEN) return false;
    const id = nodeId(node.host, node.port);
    if (!this.isCloser(id)) return false;
    this.#seen.set(address, { state: OPEN, referrers: referrer === null ? [] : [referrer] });
    const isSpared = this.#isPrivate && isPrivateIpv4(host);
    const network = isSpared ? NO_NETWORK : host >>> 16;
    this.#insert(this.#open, { id, host: node.host, port: node.port, address, network }, MAX_OPEN);
    return false;
  }

  /** The closest one to ask; null when there is none, or too many were asked. */
  next(): Candidate | null {
    while (this.#visits < MAX_VISITS) {
      const candidate = this.#open.pop();
      if (candidate === undefined) return null;
      if (!this.isCloser(candidate.id)) continue;
      if (this.#isCrowded(candidate)) {
        this.#insert(this.#aside, candidate, MAX_ASIDE);
        continue;
      }
      this.#visits++;
      this.#setState(candidate.address, ASKED);
      this.#asking.set(candidate.network, (this.#asking.get(candidate.network) ?? 0) + 1);
      return candidate;
    }
    this.#open.length = 0;
    return null;
  }

  /**
   * Nobody is left to ask and the closest are not complete: from now on networks do not matter.
   * Returns whether that leaves somebody to ask.
   */
  unbound(): boolean {
    if (!this.#isBounded || this.closest.length >= this.k) return false;
    this.#isBounded = false;
    for (const response of this.#surplus) this.#keep(response);
    this.#open = this.#aside;
    this.#aside = [];
    this.#surplus = [];
    return this.#open.length > 0;
  }

  /** The candidate answered; `isGood`: it may be among the closest. */
  answered(candidate: Candidate, response: DhtResponse, isGood: boolean): void {
    this.#leave(candidate);
    this.#setState(candidate.address, ANSWERED);
    if (isGood && response.from.id !== null && this.isCloser(response.from.id)) {
      this.#keep(response);
    }
  }

  /** The candidate did not answer. Returns who named it. */
  failed(candidate: Candidate, isDown: boolean): readonly NodeReference[] {
    this.#leave(candidate);
    const seen = this.#seen.get(candidate.address);
    if (seen === undefined || !isDown) return [];
    seen.state = DOWN;
    return seen.referrers;
  }

  #leave(candidate: Candidate): void {
    const count = this.#asking.get(candidate.network) ?? 0;
    if (count > 1) this.#asking.set(candidate.network, count - 1);
    else this.#asking.delete(candidate.network);
  }

  #setState(address: number, state: number): void {
    const seen = this.#seen.get(address);
    if (seen !== undefined) seen.state = state;
  }

  /** Whether enough of its network are being asked, or answered and are closer. */
  #isCrowded({ network, id }: Candidate): boolean {
    if (!this.#isBounded || network === NO_NETWORK) return false;
    let count = this.#asking.get(network) ?? 0;
    for (const { from } of this.closest) {
      if (from.id === null || this.#compare(from.id, id) >= 0) break;
      if (this.#networkOf(from) === network) count++;
    }
    return count >= MAX_OF_NETWORK;
  }

  #networkOf(node: NodeAddress): number {
    const host = hostToU32(node.host);
    return this.#isPrivate && isPrivateIpv4(host) ? NO_NETWORK : host >>> 16;
  }

  #keep(response: DhtResponse): void {
    const { closest, k } = this;
    const id = idOf(response);
    let at = closest.length;
    while (at > 0) {
      const order = this.#compare(idOf(closest[at - 1]), id);
      if (order === 0) return;
      if (order < 0) break;
      at--;
    }
    closest.splice(at, 0, response);
    if (this.#isBounded) this.#dropSurplus(this.#networkOf(response.from));
    if (closest.length > k) closest.pop();
  }

  /** Takes the farthest of a network out of the closest when there are too many. */
  #dropSurplus(network: number): void {
    if (network === NO_NETWORK) return;
    const { closest, k } = this;
    let count = 0;
    let last = -1;
    for (let i = 0; i < closest.length; i++) {
      if (this.#networkOf(closest[i].from) !== network) continue;
      count++;
      last = i;
    }
    if (count <= MAX_OF_NETWORK) return;
    const [dropped] = closest.splice(last, 1);
    if (this.#surplus.length < k) this.#surplus.push(dropped);
  }

  /** Inserts in order; when there are more than `most`, the farthest goes. */
  #insert(list: Candidate[], candidate: Candidate, most: number): void {
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#compare(list[middle].id, candidate.id) > 0) low = middle + 1;
      else high = middle;
    }
    list.splice(low, 0, candidate);
    if (list.length > most) list.shift();
  }

  /** Below 0 when `a` is closer to the target than `b`. */
  #compare(a: Uint8Array, b: Uint8Array): number {
    const { target } = this;
    for (let i = 0; i < target.length; i++) {
      if (a[i] !== b[i]) return (target[i] ^ a[i]) - (target[i] ^ b[i]);
    }
    return 0;
  }
}

function idOf(response: DhtResponse): Uint8Array {
  const { id } = response.from;
  if (id === null) throw new Error('only answers with an id are kept');
  return id;
}
