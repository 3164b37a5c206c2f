/**
 * Pings to addresses that sent us something: nodes that lanes have sighted, which are inserted when
 * they answer, and sources beyond their budget, which are proven when they answer. Source addresses
 * can be forged, so we ping whom a stranger names; hence one ping each, so many per second in all,
 * and to one network (a /24, a /16), and a queue for a burst that is short.
 *
 *   sighted --> known, queued, no room in its bucket: nothing
 *          \--> within this second's budget: one PING --answer--> routing table
 *          \--> else queued for the next second, if there is room
 *
 * An answer among many guesses in its name is no proof (requests.ts). Whoever forges them must not
 * keep a node out so cheaply: it is pinged again a few times, at moments that nobody foretells.
 */
import { hostToU32, isPrivateIpv4, type NodeAddress } from '../../codecs/dht/address.ts';
import { INTERNAL } from '../../codecs/dht/constants.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import type { Rng } from '../../workers/rng.ts';
import type { Clock } from '../clock.ts';
import type { OwnRequest, RequestOwner, RequestParts } from './request.ts';
import { addressNumber } from './requests.ts';
import type { NodeTable, SocketKind } from './types.ts';

const SECOND_MS = 1000;
const MAX_PER_SECOND = 64;
/** Of a /24. */
const MAX_PER_NETWORK_SECOND = 4;
/** Of a /16: whoever has one has ids without end, and must not be all that is pinged. */
const MAX_PER_UPPER_SECOND = 16;
/** Four seconds' worth, in all and of each. */
const MAX_QUEUED = 4 * MAX_PER_SECOND;
const MAX_QUEUED_PER_NETWORK = 4 * MAX_PER_NETWORK_SECOND;
const MAX_QUEUED_PER_UPPER = 4 * MAX_PER_UPPER_SECOND;
/** The network of a private address in a private network: only the total bounds it. */
const NO_NETWORK = -1;
/** An address is pinged once within so long, whatever for; its proof holds longer. */
const PING_AGAIN_MS = 30_000;
/** Addresses remembered, 30 seconds' worth of both kinds of pings. */
const MAX_PINGED = 4096;
/** Addresses whose answer was no proof, to be pinged again. */
const MAX_UNSURE = 64;
/** How often each, and when: so long after, or up to twice as long, and four times that next. */
const MAX_AGAIN = 3;
const AGAIN_MS = 2000;
const AGAIN_FACTOR = 4;

export interface VerificationHost {
  readonly clock: Clock;
  readonly table: NodeTable;
  readonly isPrivate: boolean;
  mayAsk(node: NodeAddress): boolean;
  hasRoom(id: Uint8Array): boolean;
  sendRequest(parts: RequestParts, owner: RequestOwner): OwnRequest | null;
}

/** So many per second, and so many per network and second. */
class SecondBudget {
  readonly #perNetwork = new Map<number, number>();
  readonly #perUpper = new Map<number, number>();
  #second = Number.NEGATIVE_INFINITY;
  #count = 0;

  /** Takes one for a /24. */
  take(network: number, nowMs: number): boolean {
    const second = Math.floor(nowMs / SECOND_MS);
    if (second !== this.#second) {
      this.#second = second;
      this.#count = 0;
      this.#perNetwork.clear();
      this.#perUpper.clear();
    }
    if (this.#count >= MAX_PER_SECOND) return false;
    if (network !== NO_NETWORK) {
      const ofNetwork = this.#perNetwork.get(network) ?? 0;
      const ofUpper = this.#perUpper.get(network >>> 8) ?? 0;
      if (ofNetwork >= MAX_PER_NETWORK_SECOND || ofUpper >= MAX_PER_UPPER_SECOND) return false;
      this.#perNetwork.set(network, ofNetwork + 1);
      this.#perUpper.set(network >>> 8, ofUpper + 1);
    }
    this.#count++;
    return true;
  }
}

interface Sighted {
  readonly node: NodeAddress;
  readonly address: number;
  readonly network: number;
  readonly socket: SocketKind;
}

/** An address whose answer was no proof. */
interface Unsure extends Sighted {
  tries: number;
  /** Null: it is being pinged. */
  cancel: (() => void) | null;
}

export class Verification {
  readonly #host: VerificationHost;
  readonly #rng: Rng;
  readonly #pings = new SecondBudget();
  readonly #challenges = new SecondBudget();
  #queue: Sighted[] = [];
  /** Addresses queued or pinged, not yet answered. */
  readonly #open = new Set<number>();
  /** Until when addresses are not pinged again, the soonest first. */
  readonly #pinged = new Map<number, number>();
  readonly #unsure = new Map<number, Unsure>();
  #cancelTimer: (() => void) | null = null;

  constructor(host: VerificationHost, rng: Rng) {
    this.#host = host;
    this.#rng = rng;
  }

  /** A node with a true id asked us something at `socket`. */
  sighted(from: NodeAddress, socket: SocketKind): void {
    if (!this.#host.mayAsk(from)) return;
    const address = addressNumber(from);
    if (this.#wasPinged(address) || this.#open.size >= MAX_QUEUED + MAX_PER_SECOND * 4) return;
    const { host, port } = from;
    const sighted = { node: { host, port }, address, network: this.#networkOf(host), socket };
    const id = nodeId(host, port);
    if (this.#host.table.get(id) !== null || !this.#host.hasRoom(id)) return;
    if (this.#queue.length === 0 && this.#pings.take(sighted.network, this.#host.clock.now())) {
      this.#open.add(address);
      this.#ping(sighted);
    } else this.#enqueue(sighted);
  }

  /**
   * A source is beyond its budget: does it exist? One short PING, not oftener than that. Returns
   * whether there was one.
   */
  challenge(from: NodeAddress, socket: SocketKind): boolean {
    if (!this.#host.mayAsk(from)) return false;
    const address = addressNumber(from);
    if (this.#wasPinged(address)) return false;
    const now = this.#host.clock.now();
    if (!this.#challenges.take(this.#networkOf(from.host), now)) return false;
    this.#remember(address, now);
    this.#send(from, socket, true, () => undefined);
    return true;
  }

  /** A request of ours was answered at `socket`, but that was no proof. */
  again({ host, port }: NodeAddress, socket: SocketKind): void {
    const address = addressNumber({ host, port });
    const known = this.#unsure.get(address);
    if (known === undefined) {
      if (this.#unsure.size >= MAX_UNSURE) return;
      const sighted = { node: { host, port }, address, network: this.#networkOf(host), socket };
      this.#pingLater({ ...sighted, tries: 0, cancel: null });
    } else if (known.cancel === null) this.#pingLater(known);
  }

  #pingLater(unsure: Unsure): void {
    const { address, tries } = unsure;
    this.#unsure.delete(address);
    if (tries >= MAX_AGAIN) return;
    const least = AGAIN_MS * AGAIN_FACTOR ** tries;
    unsure.tries++;
    unsure.cancel = this.#host.clock.after(least + this.#rng.below(least), () => {
      unsure.cancel = null;
      this.#pingAgain(unsure);
    });
    this.#unsure.set(address, unsure);
  }

  #pingAgain(unsure: Unsure): void {
    const { node, address, network, socket } = unsure;
    const now = this.#host.clock.now();
    if (!this.#host.mayAsk(node)) this.#unsure.delete(address);
    else if (!this.#pings.take(network, now)) this.#pingLater(unsure);
    else {
      this.#remember(address, now);
      this.#send(node, socket, false, () => {
        // Unless the answer was no proof again.
        if (unsure.cancel === null) this.#unsure.delete(address);
      });
    }
  }

  /** Whatever for: a source that may be forged draws one PING, not two. */
  #wasPinged(address: number): boolean {
    if (this.#open.has(address)) return true;
    const until = this.#pinged.get(address);
    return until !== undefined && this.#host.clock.now() < until;
  }

  #remember(address: number, now: number): void {
    this.#pinged.delete(address);
    for (const [oldest, until] of this.#pinged) {
      if (until > now && this.#pinged.size < MAX_PINGED) break;
      this.#pinged.delete(oldest);
    }
    this.#pinged.set(address, now + PING_AGAIN_MS);
  }

  /** Ends what it has under way. */
  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    for (const { address } of this.#queue) this.#open.delete(address);
    this.#queue = [];
    for (const { cancel } of this.#unsure.values()) cancel?.();
    this.#unsure.clear();
  }

  #networkOf(host: string): number {
    const number = hostToU32(host);
    return this.#host.isPrivate && isPrivateIpv4(number) ? NO_NETWORK : number >>> 8;
  }

  #enqueue(sighted: Sighted): void {
    if (this.#queue.length >= MAX_QUEUED || this.#isCrowded(sighted.network)) return;
    this.#queue.push(sighted);
    this.#open.add(sighted.address);
    this.#arm();
  }

  /** Whether enough of its networks are queued. */
  #isCrowded(network: number): boolean {
    if (network === NO_NETWORK) return false;
    let ofNetwork = 0;
    let ofUpper = 0;
    for (const queued of this.#queue) {
      if (queued.network === network) ofNetwork++;
      if (queued.network >>> 8 === network >>> 8) ofUpper++;
    }
    return ofNetwork >= MAX_QUEUED_PER_NETWORK || ofUpper >= MAX_QUEUED_PER_UPPER;
  }

  #arm(): void {
    if (this.#cancelTimer !== null || this.#queue.length === 0) return;
    const { clock } = this.#host;
    const delay = SECOND_MS - (clock.now() % SECOND_MS);
    this.#cancelTimer = clock.after(delay, () => {
      this.#cancelTimer = null;
      this.#drain();
    });
  }

  #drain(): void {
    const queued = this.#queue;
    this.#queue = [];
    const now = this.#host.clock.now();
    for (const sighted of queued) {
      if (this.#pings.take(sighted.network, now)) this.#ping(sighted);
      else this.#queue.push(sighted);
    }
    this.#arm();
  }

  /** The answer inserts it, as any answer does. */
  #ping({ node, address, socket }: Sighted): void {
    this.#remember(address, this.#host.clock.now());
    this.#send(node, socket, false, () => this.#open.delete(address));
  }

  #send(
    { host, port }: NodeAddress,
    socket: SocketKind,
    isShort: boolean,
    ended: () => void,
  ): void {
    const to = { id: null, host, port };
    const request = this.#host.sendRequest(
      { to, isInternal: true, command: INTERNAL.PING, retries: 0, socket, isShort },
      { onResponse: ended, onError: ended },
    );
    if (request === null) ended();
  }
}
