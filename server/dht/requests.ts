/**
 * The requests of a node that are under way: transaction ids, sending within a window, sending
 * again, and which answer belongs to which.
 *
 *   send --> window full? --> waiting --room--> sent --late--> sent again ... --> timed out
 *              |                                 |
 *              +-- no: sent at once              +--reply: this tid, this address--> answered
 *
 * A reply counts when its transaction id is that of a request to the very address it came from. Ids
 * are 16 bits, so who forges a node's address may guess one with enough datagrams: after many
 * guesses in its name a node's answer still is one, but no proof, and has to be asked for again.
 * What comes late or twice to a request of ours that has ended is no guess.
 *
 * Time: one timer of the clock for all requests, set to what is due first.
 */

import { hostToU32, type NodeAddress } from '../../codecs/dht/address.ts';
import { K } from '../../codecs/dht/constants.ts';
import type { DhtReply } from '../../codecs/dht/message.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import { HalfSipHash } from '../../codecs/hash/halfsiphash.ts';
import type { Rng } from '../../workers/rng.ts';
import type { Clock } from '../clock.ts';
import { AdaptiveTimeout, type AdaptiveTimeoutOptions } from './adaptive-timeout.ts';
import { CongestionWindow } from './congestion.ts';
import { Deadlines } from './deadlines.ts';
import {
  type DhtError,
  DhtError as Failure,
  ioSuspended,
  nodeDestroyed,
  notSent,
  requestDestroyed,
  requestTimeout,
} from './errors.ts';
import { Fifo } from './fifo.ts';
import { checkParts, OwnRequest, type RequestOwner, type RequestParts } from './request.ts';
import type { DhtResponse, DhtTransport, SocketKind } from './types.ts';

/** Under way and waiting, per node: an eighth of the transaction ids. */
const MAX_REQUESTS = 8192;
/** For an answer, unless something else is said. */
const TIMEOUT_MS = 1000;
/** A reply so late after the request was sent again may be to an earlier sending. */
const MAX_MEASURED_SENDS = 2;
/**
 * Guesses in the name of an address, while a request to it is open, until its answer proves
 * nothing: one attempt in a thousand succeeds, and fewer guesses keep nobody out.
 */
const MAX_WRONG_REPLIES = 64;
/** Requests that ended last, to which answers may come late or twice; 5 KiB. */
const ENDED_REQUESTS = 512;
/** Ports of a host: an address is a number below 2^48. */
const PORTS = 0x1_0000;
/** Commands that are counted: PING, PING_NAT, FIND_NODE, DOWN_HINT. */
const COUNTED_COMMANDS = 4;
/** Rounds of the hash that makes transaction ids: strangers see its output. */
const TID_ROUNDS = 2;
const TID_FINAL_ROUNDS = 4;

export interface CommandCounts {
  /** Sent, not counting repetitions. */
  tx: number;
  /** Answered. */
  rx: number;
}

export interface RequestCounts {
  active: number;
  total: number;
  responses: number;
  timeouts: number;
  retries: number;
}

/** What requests need of their node. */
export interface RequestsHost {
  /** The socket that requests leave from at present. */
  socketKind(): SocketKind;
  /** Our id, when others may know it. */
  id(): Uint8Array | null;
  /** Before the request's owner is told. `isProof`: who answered is at that address. */
  answered(response: DhtResponse, isProof: boolean): void;
  /** After the request's owner was told. */
  timedOut(request: OwnRequest): void;
}

export interface RequestsParts {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly transport: DhtTransport;
  readonly host: RequestsHost;
  readonly maxWindow: number;
  readonly adaptiveTimeout?: AdaptiveTimeoutOptions | undefined;
  readonly tidKey?: readonly [number, number] | undefined;
}

/** Requests to one address. */
interface Correspondent {
  open: number;
  wrong: number;
}

/** An IPv4 address and port as one number below 2^48. Throws a TypeError when it is none. */
export function addressNumber(address: NodeAddress): number {
  const host = hostToU32(address.host);
  const { port } = address;
  if (host >= 0 && Number.isInteger(port) && port > 0 && port < PORTS) {
    return host * PORTS + port;
  }
  throw new TypeError(
    `node '${address.host}:${port}': expected an IPv4 address and a port of 1 to 65535`,
  );
}

export class Requests {
  readonly congestion: CongestionWindow;
  readonly counts: RequestCounts = { active: 0, total: 0, responses: 0, timeouts: 0, retries: 0 };
  readonly commands: readonly CommandCounts[];
  readonly #parts: RequestsParts;
  readonly #byTid = new Map<number, OwnRequest>();
  readonly #correspondents = new Map<number, Correspondent>();
  readonly #waiting = new Fifo<OwnRequest>();
  readonly #deadlines = new Deadlines();
  readonly #timeouts: AdaptiveTimeout | null;
  readonly #tidHash: HalfSipHash;
  readonly #tidWords = new Int32Array(1);
  /** What ended last, a ring: transaction ids and to whom they went. */
  readonly #endedTids = new Uint16Array(ENDED_REQUESTS);
  readonly #endedTo = new Float64Array(ENDED_REQUESTS);
  #ended = 0;
  #cancelTimer: (() => void) | null = null;
  #timerAt = Number.POSITIVE_INFINITY;
  #isSuspended = false;
  #isDestroyed = false;

  constructor(parts: RequestsParts) {
    this.#parts = parts;
    this.commands = Array.from({ length: COUNTED_COMMANDS }, () => ({ tx: 0, rx: 0 }));
    this.congestion = new CongestionWindow(parts.maxWindow, parts.clock.now());
    const { adaptiveTimeout, rng } = parts;
    this.#timeouts = adaptiveTimeout ? new AdaptiveTimeout(adaptiveTimeout, rng) : null;
    const [key0, key1] = parts.tidKey ?? [rng.next(), rng.next()];
    this.#tidHash = new HalfSipHash(key0, key1, TID_ROUNDS, TID_FINAL_ROUNDS);
  }

  /** Requests under way or waiting. */
  get open(): number {
    return this.#byTid.size;
  }

  /**
   * Makes a request and sends it, at once or when there is room; `force`: at once in any case.
   * Returns null when there can be no more: the node is destroyed, or far too many are open; the
   * owner is not told. Throws a TypeError on an address that is none, a RangeError on a request
   * that no datagram carries.
   */
  send(parts: RequestParts, owner: RequestOwner, force = false): OwnRequest | null {
    const address = addressNumber(parts.to);
    checkParts(parts);
    if (this.#isDestroyed || this.#byTid.size >= MAX_REQUESTS) return null;
    const socket = parts.socket ?? this.#parts.host.socketKind();
    const request = new OwnRequest(this, this.#newTid(), address, socket, parts, owner);
    this.#byTid.set(request.tid, request);
    const correspondent = this.#correspondents.get(address);
    if (correspondent === undefined) this.#correspondents.set(address, { open: 1, wrong: 0 });
    else correspondent.open++;
    parts.session?.attach(request);
    if (parts.isInternal && parts.command < COUNTED_COMMANDS) this.commands[parts.command].tx++;
    this.counts.active++;
    this.counts.total++;
    this.#sendOrWait(request, force);
    return request;
  }

  /** Why `send` returned null. */
  refusal(): DhtError {
    if (this.#isDestroyed) return nodeDestroyed();
    return new Failure(
      'TOO_MANY_REQUESTS',
      `${MAX_REQUESTS} requests are open, and no more may be`,
    );
  }

  /** A reply came to `socket`; returns false when nobody asked for it. */
  onReply(reply: DhtReply, from: NodeAddress, socket: SocketKind): boolean {
    const host = hostToU32(from.host);
    if (!this.isAwaited(reply.tid, host, from.port)) return false;
    const address = host * PORTS + from.port;
    const request = this.#byTid.get(reply.tid);
    const correspondent = this.#correspondents.get(address);
    if (request === undefined) return false;
    const now = this.#parts.clock.now();
    const response = respond(reply, from, socket, Math.max(0, now - request.sentAt));
    const isProof = correspondent !== undefined && correspondent.wrong < MAX_WRONG_REPLIES;
    if (request.sent <= MAX_MEASURED_SENDS) this.#timeouts?.put(address, response.rtt, now);
    this.#end(request);
    const { isInternal, command } = request.parts;
    if (isInternal && command < COUNTED_COMMANDS) this.commands[command].rx++;
    this.counts.responses++;
    this.#parts.host.answered(response, isProof);
    request.owner.onResponse(response, request);
    this.#fillWindow();
    this.#arm();
    return true;
  }

  /** Whether there is a request that such a reply answers; a guess at one is noted. */
  isAwaited(tid: number, host: number, port: number): boolean {
    if (this.#isSuspended) return false;
    const address = host * PORTS + port;
    const request = this.#byTid.get(tid);
    if (request !== undefined && request.address === address && request.sent > 0) return true;
    const correspondent = this.#correspondents.get(address);
    if (correspondent !== undefined && !this.#hasEnded(tid, address)) correspondent.wrong++;
    return false;
  }

  #hasEnded(tid: number, address: number): boolean {
    for (let i = 0; i < ENDED_REQUESTS; i++) {
      if (this.#endedTids[i] === tid && this.#endedTo[i] === address) return true;
    }
    return false;
  }

  /** Ends a request without an answer. */
  destroy(request: OwnRequest, error: DhtError = requestDestroyed()): void {
    if (request.isDone) return;
    this.#end(request);
    request.owner.onError(error, request);
  }

  /** Ends all requests. Those made meanwhile and until `resume` go nowhere. */
  suspend(): void {
    this.#isSuspended = true;
    this.#endAll(ioSuspended);
    this.congestion.clear();
  }

  resume(): void {
    this.#isSuspended = false;
  }

  /** Ends all requests; there are no more. */
  close(): void {
    this.#isDestroyed = true;
    this.#endAll(requestDestroyed);
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  #endAll(reason: () => DhtError): void {
    // Owners may make new ones, which end as well.
    while (this.#byTid.size > 0) {
      for (const request of [...this.#byTid.values()]) this.destroy(request, reason());
    }
  }

  /** One that is not in use: a counter under a keyed hash, so ids do not tell the next ones. */
  #newTid(): number {
    for (;;) {
      this.#tidWords[0]++;
      const tid = this.#tidHash.words(this.#tidWords, 1) & 0xffff;
      if (!this.#byTid.has(tid)) return tid;
    }
  }

  #sendOrWait(request: OwnRequest, force: boolean): void {
    const now = this.#parts.clock.now();
    if (force || !this.congestion.isFull(now)) this.#sendNow(request, now);
    else {
      request.dueAt = Number.POSITIVE_INFINITY;
      this.#waiting.push(request);
    }
    this.#arm();
  }

  #sendNow(request: OwnRequest, now: number): void {
    const { transport, host } = this.#parts;
    if (request.sent === 0) request.sentAt = now;
    request.sent++;
    this.congestion.sent(now);
    const id = request.socket === 'server' ? host.id() : null;
    try {
      const datagram = request.datagram(id);
      if (!this.#isSuspended) transport.send(request.socket, datagram, request.to);
    } catch (error) {
      // Told by the timer: nobody counts on an end before `send` has returned.
      request.refusal = notSent(error);
      request.dueAt = now;
      this.#deadlines.push(request);
      return;
    }
    const usual = this.#timeouts?.get(request.address, request.sent, now) ?? TIMEOUT_MS;
    request.dueAt = now + (request.parts.timeoutMs ?? usual);
    this.#deadlines.push(request);
  }

  #fillWindow(): void {
    const now = this.#parts.clock.now();
    while (this.#waiting.size > 0 && !this.congestion.isFull(now)) {
      const request = this.#waiting.shift();
      if (request !== undefined && !request.isDone) this.#sendNow(request, now);
    }
  }

  /** Takes a request out of everything; nobody is told. */
  #end(request: OwnRequest): void {
    request.isDone = true;
    this.#byTid.delete(request.tid);
    const correspondent = this.#correspondents.get(request.address);
    if (correspondent !== undefined && --correspondent.open === 0) {
      this.#correspondents.delete(request.address);
    }
    request.parts.session?.detach(request);
    if (request.sent > 0) {
      this.congestion.settled(this.#parts.clock.now());
      this.#endedTids[this.#ended] = request.tid;
      this.#endedTo[this.#ended] = request.address;
      this.#ended = (this.#ended + 1) % ENDED_REQUESTS;
    }
    this.counts.active--;
  }

  #onTimer(): void {
    this.#cancelTimer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#parts.clock.now();
    for (let late = this.#deadlines.due(now); late !== null; late = this.#deadlines.due(now)) {
      this.#onLate(late);
    }
    this.#fillWindow();
    this.#arm();
  }

  #onLate(request: OwnRequest): void {
    const { owner, refusal } = request;
    if (refusal !== null) {
      this.destroy(request, refusal);
      return;
    }
    if (!request.isSlow) {
      request.isSlow = true;
      owner.onSlow?.(request);
      if (request.isDone) return;
    }
    if (request.sent <= request.retries) {
      this.counts.retries++;
      this.#sendOrWait(request, false);
      return;
    }
    this.counts.timeouts++;
    this.destroy(request, requestTimeout());
    this.#parts.host.timedOut(request);
  }

  /** Sets the timer to what is due first: a late answer, or room in the window. */
  #arm(): void {
    let at = this.#deadlines.first();
    if (this.#waiting.size > 0) at = Math.min(at, this.congestion.turnsAt);
    if (at >= this.#timerAt || this.#isDestroyed) return;
    this.#cancelTimer?.();
    this.#timerAt = at;
    const delay = Math.max(0, at - this.#parts.clock.now());
    this.#cancelTimer = this.#parts.clock.after(delay, () => this.#onTimer());
  }
}

/** The reply as users see it: an id only if it is that of its address, and k nodes at most. */
function respond(reply: DhtReply, from: NodeAddress, socket: SocketKind, rtt: number): DhtResponse {
  const { host, port } = from;
  const { tid, to, token, error, value } = reply;
  const id = reply.id !== null && isIdOf(reply.id, host, port) ? reply.id : null;
  const closerNodes = reply.closerNodes.slice(0, K);
  return { tid, rtt, from: { id, host, port }, to, token, closerNodes, error, value, socket };
}

function isIdOf(id: Uint8Array, host: string, port: number): boolean {
  return sameBytes(id, nodeId(host, port));
}

/** Whether both have the same bytes. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) return false;
  }
  return true;
}
