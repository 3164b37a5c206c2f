/**
 * Lookups, announces and unannounces: one round of questions to all servers and to multicast, what
 * they found, and the rounds to come of those that are kept.
 */
import type { QuestionKind } from '../../codecs/dns/client-query.ts';
import type { Clock } from '../clock.ts';
import { secretUint32 } from '../rng.ts';
import type { Multicast } from './multicast/multicast.ts';
import { Lookup, Operation } from './operation.ts';
import type { DiscoveryConfig } from './options.ts';
import {
  type AnnounceOptions,
  DiscoveryError,
  type LookupOptions,
  type Peer,
  type RequestOptions,
} from './types.ts';
import { callUser } from './user-code.ts';
import { withServer } from './wire/pushes.ts';
import type { WireClient } from './wire/wire-client.ts';

/** How long a promise waits for answers by multicast. */
const MULTICAST_WAIT_MS = 500;
/** Subscriptions last a minute by default, and so may records: three rounds in that time. */
const RENEW_MS = 20_000;
const LEAST_RENEW_MS = 1000;
/** A third of the ttl: two rounds may be lost. */
const RENEWALS_PER_TTL = 3;
/** Clients started together drift apart. */
const RENEW_JITTER = 0.1;

export interface RoundsConfig {
  readonly config: DiscoveryConfig;
  readonly clock: Clock;
  readonly wires: readonly WireClient[];
  readonly multicast: Multicast | null;
  /** Every peer heard of, known or new. */
  readonly onPeer: (name: string, peer: Peer) => void;
  readonly onDone: (event: 'announced' | 'unannounced', name: string, port: number) => void;
  /** Questions are under way now. */
  readonly onBusy: () => void;
}

export interface Request<O extends RequestOptions> {
  readonly id: string;
  /** Wire form of the whole name. */
  readonly wire: Uint8Array;
  readonly options: O;
  readonly callback: ((error: Error | null) => void) | null;
  /** It was ended by its signal, or with the instance. */
  readonly onEnded?: () => void;
}

type AnnounceRequest = Request<AnnounceOptions> & { readonly port: number };

/** One question to everybody, whichever it is. */
interface Round {
  readonly kind: Exclude<QuestionKind, 'probe'>;
  readonly id: string;
  readonly wire: Uint8Array;
  /** As it was announced, and as the servers are told. */
  readonly port: number;
  readonly serverPort: number;
  readonly options: RequestOptions;
}

/** What became of a round. */
interface Outcome {
  /** A server answered, or multicast was all there was to ask. */
  readonly isGood: boolean;
  readonly errors: readonly Error[];
  readonly wasMulticast: boolean;
}

/** What ties a request to its callback, its signal and the instance. */
interface Ender {
  /** Calls the callback, the first time. */
  readonly call: (error: Error | null) => void;
  readonly release: () => void;
}

/** A lookup or announce that is asked again and again. */
interface Kept {
  readonly key: string;
  readonly stop: () => void;
}

export class Rounds {
  readonly #parts: RoundsConfig;
  /** Lookups that are not over, by folded name: what multicast and pushes bring is theirs too. */
  readonly #open = new Map<string, Set<Lookup>>();
  readonly #kept = new Map<string, Set<Kept>>();
  readonly #cancels = new Set<() => void>();
  /** Ends what is under way, with an error. */
  readonly #enders = new Set<(error: Error) => void>();
  #ended: Error | null = null;

  constructor(parts: RoundsConfig) {
    this.#parts = parts;
  }

  lookup(request: Request<LookupOptions>): Lookup {
    const { id, wire, options } = request;
    const round = { kind: 'lookup', id, wire, port: 0, serverPort: 0, options } as const;
    return this.#look(request, round, keptKey('lookup', id, 0));
  }

  announce(request: AnnounceRequest): Lookup {
    const { id, port } = request;
    return this.#look(request, announceRound('announce', request), keptKey('announce', id, port));
  }

  unannounce(request: AnnounceRequest): Operation<void> {
    const { id, port, callback, options } = request;
    const operation = new Operation<void>();
    for (const kept of this.#kept.get(keptKey('announce', id, port)) ?? []) kept.stop();
    const round = announceRound('unannounce', request);
    for (const client of this.#parts.wires) client.cancelAnnounces(round.wire, round.serverPort);
    const ender = this.#enderFor(options.signal, callback, (error) => operation.reject(error));
    if (ender === null) return operation;
    this.#ask(round, null, (outcome) => {
      const failure = failureOf(outcome);
      ender.release();
      ender.call(failure);
      if (failure === null) operation.resolve();
      else operation.reject(failure);
    });
    return operation;
  }

  /** A peer that multicast or a push brought. */
  found(id: string, peer: Peer): void {
    for (const lookup of this.#open.get(foldId(id)) ?? []) lookup.add(peer);
    callUser(() => this.#parts.onPeer(id, peer));
  }

  /** Ends everything with an error. */
  end(error: Error): void {
    this.#ended = error;
    for (const cancel of this.#cancels) cancel();
    for (const end of this.#enders) end(error);
  }

  #look(request: Request<LookupOptions>, round: Round, key: string): Lookup {
    const { id, options, callback } = request;
    const isKept = options.keep === true;
    let kept: Kept | null = null;
    const lookup = new Lookup(isKept, () => kept?.stop());
    const close = (error: Error | null) => {
      if (error !== null) request.onEnded?.();
      lookup.end(error);
      kept?.stop();
      this.#closeLookup(id, lookup);
    };
    const ender = this.#enderFor(options.signal, callback, close);
    if (ender === null) return lookup;
    this.#openLookup(id, lookup);
    const onStop = () => {
      close(null);
      ender.release();
      ender.call(null);
    };
    if (isKept) kept = this.#keep(key, round, lookup, onStop);
    this.#ask(round, lookup, (outcome) => {
      // Multicast may have found somebody where no server answered; an announce needs an answer.
      const isFound = () => round.kind === 'lookup' && lookup.peers.length > 0;
      const errorNow = () => (isFound() ? null : failureOf(outcome));
      ender.call(errorNow());
      const complete = () => {
        lookup.complete(errorNow());
        if (isKept) return;
        ender.release();
        this.#closeLookup(id, lookup);
      };
      if (outcome.wasMulticast) this.#after(MULTICAST_WAIT_MS, complete);
      else complete();
    });
    return lookup;
  }

  /**
   * Sees to it that a request ends with its signal and with the instance, until it is released.
   * Null: it has ended already.
   */
  #enderFor(
    signal: AbortSignal | undefined,
    callback: ((error: Error | null) => void) | null,
    onEnd: (error: Error) => void,
  ): Ender | null {
    let isCalled = false;
    const call = (error: Error | null) => {
      if (isCalled) return;
      isCalled = true;
      if (callback !== null) callUser(() => callback(error));
    };
    const release = () => {
      this.#enders.delete(end);
      signal?.removeEventListener('abort', abort);
    };
    const end = (error: Error) => {
      release();
      call(error);
      onEnd(error);
    };
    const abort = () => end(reasonOf(signal));
    if (this.#ended !== null || signal?.aborted === true) {
      const error = this.#ended ?? reasonOf(signal);
      onEnd(error);
      this.#parts.clock.soon(() => call(error));
      return null;
    }
    this.#enders.add(end);
    signal?.addEventListener('abort', abort);
    return { call, release };
  }

  /** Asks again until stopped; a kept announce of the same name and port takes its place. */
  #keep(key: string, round: Round, lookup: Lookup, onStop: () => void): Kept {
    const { clock, config } = this.#parts;
    const perTtl = (config.ttlSeconds * 1000) / RENEWALS_PER_TTL;
    // A lookup is a subscription as well, which servers keep for a minute or longer.
    const period = round.kind === 'announce' && perTtl < Infinity ? perTtl : RENEW_MS;
    const jitter = 1 - RENEW_JITTER * (secretUint32() / 2 ** 32);
    const periodMs = Math.max(LEAST_RENEW_MS, Math.min(period, perTtl) * jitter);
    let cancel = () => {};
    // It keeps the process alive: it is what the program is for.
    const renew = () => {
      cancel = clock.after(periodMs, renew);
      this.#ask(round, lookup, () => {});
    };
    cancel = clock.after(periodMs, renew);
    const kept: Kept = {
      key,
      stop: () => {
        cancel();
        const all = this.#kept.get(key);
        if (all?.delete(kept) !== true) return;
        if (all.size === 0) this.#kept.delete(key);
        onStop();
      },
    };
    const all = this.#kept.get(key) ?? new Set();
    if (round.kind === 'announce') for (const other of all) other.stop();
    this.#kept.set(key, all.add(kept));
    return kept;
  }

  /** One question to all servers and to multicast; `done` once each has answered or given up. */
  #ask(round: Round, lookup: Lookup | null, done: (outcome: Outcome) => void): void {
    const { wires, multicast, clock, onDone } = this.#parts;
    const { kind, id, wire, port, serverPort, options } = round;
    const asked = options.server === false ? [] : wires;
    const byMulticast = options.multicast !== false && multicast !== null && kind !== 'unannounce';
    const event = kind === 'announce' ? 'announced' : 'unannounced';
    const errors: Error[] = [];
    let isAnswered = false;
    let missing = asked.length + (byMulticast ? 1 : 0);
    const finish = () => {
      const isAlone = asked.length === 0 && multicast !== null && options.multicast !== false;
      const isGood = isAnswered || (isAlone && errors.length === 0);
      if (isAlone && isGood && kind !== 'lookup') callUser(() => onDone(event, id, port));
      done({ isGood, errors, wasMulticast: byMulticast });
    };
    const one = (error: Error | null) => {
      if (error !== null) errors.push(error);
      if (--missing === 0) finish();
    };
    for (const client of asked) {
      const question = { kind, name: wire, token: null, port: serverPort } as const;
      const label = kind === 'unannounce' ? null : id;
      client.ask(question, label, clock.now(), (error, answer, from) => {
        if (answer !== null && from !== null) {
          isAnswered = true;
          for (const peer of answer.peers) this.#heard(id, withServer(peer, from), lookup);
          if (kind !== 'lookup') callUser(() => onDone(event, id, port));
        }
        one(error);
      });
    }
    if (byMulticast) multicast.query(id, one);
    if (asked.length === 0 && !byMulticast) clock.soon(finish);
    this.#parts.onBusy();
  }

  /** A peer of a server's answer: this lookup's, and an event. */
  #heard(id: string, peer: Peer, lookup: Lookup | null): void {
    lookup?.add(peer);
    callUser(() => this.#parts.onPeer(id, peer));
  }

  #openLookup(id: string, lookup: Lookup): void {
    const key = foldId(id);
    const all = this.#open.get(key) ?? new Set();
    this.#open.set(key, all.add(lookup));
  }

  #closeLookup(id: string, lookup: Lookup): void {
    const key = foldId(id);
    const all = this.#open.get(key);
    if (all?.delete(lookup) === true && all.size === 0) this.#open.delete(key);
  }

  #after(ms: number, fn: () => void): void {
    if (this.#ended !== null) return;
    const cancel = this.#parts.clock.after(ms, () => {
      this.#cancels.delete(cancel);
      fn();
    });
    this.#cancels.add(cancel);
  }
}

function announceRound(kind: 'announce' | 'unannounce', request: AnnounceRequest): Round {
  const { id, wire, port, options } = request;
  const { publicPort, impliedPort } = options;
  // 0 stands for the port that the server sees.
  const serverPort = Number(publicPort) || (impliedPort === true ? 0 : port);
  return { kind, id, wire, port, serverPort, options };
}

function failureOf({ isGood, errors }: Outcome): DiscoveryError | null {
  return isGood ? null : new DiscoveryError('ERR_QUERY_FAILED', 'Query failed', errors);
}

function keptKey(kind: string, id: string, port: number): string {
  return `${kind} ${port} ${foldId(id)}`;
}

/** ASCII case does not matter in names (RFC 4343). */
function foldId(id: string): string {
  return id.replace(/[A-Z]+/g, (upper) => upper.toLowerCase());
}

function reasonOf(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new Error('aborted', { cause: reason });
}
