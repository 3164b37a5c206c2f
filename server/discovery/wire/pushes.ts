/**
 * What a server pushes to its subscribers. A push carries no secret: who knows the server's address
 * and our port could forge one. So a push is a hint: it is acknowledged, the server is asked, and a
 * peer is told when the server's answer names it.
 */
import type { Answer } from '../../../codecs/dns/client-answer.ts';
import { nameKey, readPush } from '../../../codecs/dns/client-answer.ts';
import { writePushAck } from '../../../codecs/dns/client-query.ts';
import type { Peer } from '../types.ts';
import type { Destination } from './questions.ts';

/** Servers keep a subscription for a minute by default; an hour is the longest that is sensible. */
const SUBSCRIBED_MS = 600_000;
const MOST_SUBSCRIBED = 65_536;
/** Questions about one name: pushes that come meanwhile share the next. */
const LEAST_GAP_MS = 1000;
/** Peers pushed under a name that wait to be confirmed. */
const MOST_UNCONFIRMED = 64;
/** Names with such peers. */
const MOST_NAMES = 256;

type Confirmed = (error: Error | null, answer: Answer | null, from: Destination | null) => void;

export interface PushActions {
  ask(name: Uint8Array, nowMs: number, done: Confirmed): void;
  acknowledge(bytes: Uint8Array, to: Destination): void;
  tell(name: string, peer: Peer, from: Destination): void;
}

interface Subscription {
  /** As the user spelt it. */
  readonly label: string;
  readonly name: Uint8Array;
  readonly until: number;
}

interface Unconfirmed {
  readonly subscription: Subscription;
  peers: Peer[];
  isAsked: boolean;
  askAt: number;
}

export class Pushes {
  readonly #domain: Uint8Array;
  readonly #actions: PushActions;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #unconfirmed = new Map<string, Unconfirmed>();

  constructor(domain: Uint8Array, actions: PushActions) {
    this.#domain = domain;
    this.#actions = actions;
  }

  get isBusy(): boolean {
    return this.#unconfirmed.size > 0;
  }

  subscribe(name: Uint8Array, label: string, nowMs: number): void {
    const key = nameKey(name);
    this.#subscriptions.delete(key);
    if (this.#subscriptions.size >= MOST_SUBSCRIBED) {
      // The one that was looked up longest ago comes first.
      for (const oldest of this.#subscriptions.keys()) {
        this.#subscriptions.delete(oldest);
        break;
      }
    }
    this.#subscriptions.set(key, { label, name, until: nowMs + SUBSCRIBED_MS });
  }

  /** A query from the server; false when it is no push of a name that was looked up. */
  receive(bytes: Uint8Array, from: Destination, nowMs: number): boolean {
    const push = readPush(bytes, this.#domain);
    if (push === null) return false;
    let isWanted = false;
    for (const { key, peer } of push.services) {
      const subscription = this.#subscriptions.get(key);
      if (subscription === undefined || subscription.until < nowMs) continue;
      if (this.#note(key, subscription, withServer(peer, from), nowMs)) isWanted = true;
    }
    if (!isWanted) return false;
    this.#actions.acknowledge(writePushAck(push.id), from);
    this.tick(nowMs);
    return true;
  }

  /** Asks about the names whose turn it is. */
  tick(nowMs: number): void {
    for (const [key, unconfirmed] of this.#unconfirmed) {
      if (unconfirmed.isAsked || nowMs < unconfirmed.askAt) continue;
      if (unconfirmed.peers.length === 0) this.#unconfirmed.delete(key);
      else this.#ask(unconfirmed, nowMs);
    }
  }

  end(): void {
    this.#unconfirmed.clear();
    this.#subscriptions.clear();
  }

  /** Whether there is room for it; what is not acknowledged is pushed again. */
  #note(key: string, subscription: Subscription, peer: Peer, nowMs: number): boolean {
    let unconfirmed = this.#unconfirmed.get(key);
    if (unconfirmed === undefined) {
      if (this.#unconfirmed.size >= MOST_NAMES) return false;
      unconfirmed = { subscription, peers: [], isAsked: false, askAt: nowMs };
      this.#unconfirmed.set(key, unconfirmed);
    }
    const { peers } = unconfirmed;
    const isKnown = peers.some((other) => isSamePeer(other, peer));
    if (!isKnown && peers.length >= MOST_UNCONFIRMED) return false;
    if (!isKnown) peers.push(peer);
    return true;
  }

  #ask(unconfirmed: Unconfirmed, nowMs: number): void {
    const { subscription, peers } = unconfirmed;
    unconfirmed.peers = [];
    unconfirmed.isAsked = true;
    unconfirmed.askAt = nowMs + LEAST_GAP_MS;
    this.#actions.ask(subscription.name, nowMs, (_error, answer, from) => {
      unconfirmed.isAsked = false;
      if (answer === null || from === null) return;
      const named = answer.peers.map((peer) => withServer(peer, from));
      for (const peer of peers) {
        if (!named.some((other) => isSamePeer(other, peer))) continue;
        this.#actions.tell(subscription.label, peer, from);
      }
    });
  }
}

/** 0.0.0.0 and :: stand for the server itself. */
export function withServer(peer: Peer, from: Destination): Peer {
  const isServer = peer.host === '0.0.0.0' || peer.host === '::';
  const host = isServer ? from.address : peer.host;
  return { port: peer.port === 0 ? from.port : peer.port, host };
}

function isSamePeer(a: Peer, b: Peer): boolean {
  return a.port === b.port && a.host === b.host;
}
