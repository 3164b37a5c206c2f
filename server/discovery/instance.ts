/**
 * A discovery instance: the methods and events of npm dns-discovery 6.2.3, and on the same object
 * promises, iteration, signals and renewal. It starts no thread; what it opens it opens when it is
 * made (multicast) or when it is first needed (sockets to servers, the server of `listen`).
 */
import { EventEmitter } from 'node:events';
import { type Clock, systemClock } from '../clock.ts';
import { secretBytes, secretUint32 } from '../rng.ts';
import { decodeMessage } from './decode-message.ts';
import type { Listening } from './listening/listening.ts';
import { LocalRecords } from './local-records.ts';
import { Multicast } from './multicast/multicast.ts';
import { type Lookup, Operation } from './operation.ts';
import { checkName, checkOptions, checkPort, type DiscoveryConfig, wireName } from './options.ts';
import { Rounds } from './rounds.ts';
import type { TrafficTap } from './traffic.ts';
import {
  type AnnounceOptions,
  DiscoveryError,
  type DiscoveryEvents,
  type DiscoveryOptions,
  type LookupOptions,
  type NameJson,
  type Peer,
  type RequestOptions,
  type TrafficType,
  type Whoami,
} from './types.ts';
import { callUser } from './user-code.ts';
import { Whoamis } from './whoami.ts';
import { ClientSockets, isOfFamily6, resolveHost } from './wire/client-sockets.ts';
import { withServer } from './wire/pushes.ts';
import type { Destination } from './wire/questions.ts';
import { WireClient } from './wire/wire-client.ts';

/** How often what is due is looked for while questions are under way. */
const TICK_MS = 20;
/** As the original; a listening instance's token keys change as often. */
const SECRETS_MS = 300_000;
const MAX_TCP_BYTES = 65_535;
/** Where `listen()` listens. */
const DEFAULT_PORTS = [53, 5300];

export type Callback = (error: Error | null) => void;

/** What tests replace. */
export interface Internals {
  readonly clock: Clock;
}

export class Discovery extends EventEmitter<DiscoveryEvents> {
  readonly #config: DiscoveryConfig;
  readonly #clock: Clock;
  readonly #own: LocalRecords;
  readonly #sockets: ClientSockets;
  readonly #wires: readonly WireClient[];
  readonly #multicast: Multicast | null;
  readonly #rounds: Rounds;
  readonly #tap: TrafficTap;
  readonly #stopSecrets: () => void;
  /** Of a host with addresses of both: the user's socket's. */
  readonly #firstFamily: 4 | 6;
  #stopTicks: (() => void) | null = null;
  #isListening = false;
  #listening: Listening | null = null;
  /** A `listen` under way. */
  #starting: Promise<unknown> = Promise.resolve();
  #destroying: Promise<void> | null = null;
  #isClosed = false;

  /** @throws TypeError or RangeError for an option that is not allowed. */
  constructor(options: DiscoveryOptions = {}, internals: Internals = { clock: systemClock }) {
    super();
    const config = checkOptions(options ?? {});
    this.#config = config;
    this.#clock = internals.clock;
    this.#own = new LocalRecords(config.limit);
    this.#tap = {
      isWanted: () => this.listenerCount('traffic') > 0,
      tell: (type, details) => callUser(() => void this.emit('traffic', type, details)),
    };
    const socket = options?.socket ?? null;
    this.#firstFamily = socket !== null && isOfFamily6(socket) ? 6 : 4;
    this.#sockets = new ClientSockets({
      socket,
      host: config.host,
      clock: this.#clock,
      onMessage: (bytes, address, port) => this.#receive(bytes, address, port),
      onSent: (bytes, to) => this.#tell('out', bytes, to.port, to.address),
      onError: (error) => this.#fail(error),
    });
    this.#wires = config.servers.map((server) => this.#wire(server));
    this.#multicast = this.#openMulticast();
    this.#rounds = new Rounds({
      config,
      clock: this.#clock,
      wires: this.#wires,
      multicast: this.#multicast,
      onPeer: (name, peer) => void this.emit('peer', name, peer),
      onDone: (event, name, port) => void this.emit(event, name, { port }),
      onBusy: () => this.#startTicks(),
    });
    this.#stopSecrets = this.#clock.every(SECRETS_MS, () => this.emit('secrets-rotated'));
  }

  /**
   * Looks for who announced `name`: event `peer` for each, again for those told before. `name` is
   * text, or bytes, which stand for their hex digits. The callback, and the promise, come when all
   * servers have answered or given up; with an error when none answered and nobody was found.
   */
  lookup(name: string | Uint8Array, callback?: Callback): Lookup;
  lookup(name: string | Uint8Array, options?: LookupOptions | null, callback?: Callback): Lookup;
  lookup(
    name: string | Uint8Array,
    options?: LookupOptions | Callback | null,
    callback?: Callback,
  ): Lookup {
    const [given, done] = split(options, callback);
    const id = checkName(name);
    const wire = wireName(id, this.#config.domain);
    this.#checkSignal(given);
    return this.#rounds.lookup({ id, wire, options: given, callback: done });
  }

  /**
   * Announces that `name` is to be found at `port` of this machine, and looks it up. The callback
   * and the promise are as those of `lookup`; the promise brings the peers found.
   */
  announce(name: string | Uint8Array, port: number, callback?: Callback): Lookup;
  announce(
    name: string | Uint8Array,
    port: number,
    options?: AnnounceOptions | null,
    callback?: Callback,
  ): Lookup;
  announce(
    name: string | Uint8Array,
    port: number,
    options?: AnnounceOptions | Callback | null,
    callback?: Callback,
  ): Lookup {
    const [given, done] = split(options, callback);
    const request = this.#request(name, port, given);
    const { id } = request;
    if (this.#destroying === null && given.signal?.aborted !== true) {
      this.#own.add(id, request.port);
      this.#listening?.announce(id, request.port);
    }
    // An announce that is given up is not told by multicast any more either.
    const onEnded = () => this.#forget(id, request.port);
    return this.#rounds.announce({ ...request, callback: done, onEnded });
  }

  /** Takes an announce back. Options, callback and promise are as those of `announce`. */
  unannounce(name: string | Uint8Array, port: number, callback?: Callback): Operation<void>;
  unannounce(
    name: string | Uint8Array,
    port: number,
    options?: AnnounceOptions | null,
    callback?: Callback,
  ): Operation<void>;
  unannounce(
    name: string | Uint8Array,
    port: number,
    options?: AnnounceOptions | Callback | null,
    callback?: Callback,
  ): Operation<void> {
    const [given, done] = split(options, callback);
    const request = this.#request(name, port, given);
    this.#forget(request.id, request.port);
    return this.#rounds.unannounce({ ...request, callback: done });
  }

  /**
   * How the servers see us: with two servers that see the same port, host and port; else the port
   * is 0. Fails when no server answers, or when two see different hosts.
   */
  whoami(callback?: (error: Error | null, self?: Whoami) => void): Operation<Whoami> {
    const domain = wireName('', this.#config.domain);
    const told =
      callback === undefined
        ? null
        : (error: Error | null, self?: Whoami) => callUser(() => callback(error, self));
    const asking = new Whoamis(this.#wires.length, told);
    if (this.#wires.length === 0) this.#clock.soon(() => asking.noServers());
    for (const [index, wire] of this.#wires.entries()) {
      const question = { kind: 'probe', name: domain, token: null, port: 0 } as const;
      wire.ask(question, null, this.#clock.now(), (error, answer, from) =>
        asking.answered(index, error, answer, from),
      );
    }
    this.#startTicks();
    return asking.operation;
  }

  /**
   * Makes this instance a server that others announce to: the ports given, or 53 and 5300, one of
   * which must be free. Event `listening`, or `error`. The promise brings what was opened.
   *
   * @throws Error when it listens already; RangeError for a port that is none.
   */
  listen(ports?: number | readonly number[] | null, onListening?: () => void): Listen;
  listen(onListening?: () => void): Listen;
  listen(
    ports?: number | readonly number[] | null | (() => void),
    onListening?: () => void,
  ): Listen {
    if (typeof ports === 'function') return this.listen(null, ports);
    const list = ports === undefined || ports === null ? [] : [ports].flat();
    const checked = list.map((port) => checkPort('port', port, true));
    if (this.#isListening) throw new Error('Server is already listening');
    if (onListening !== undefined) this.once('listening', onListening);
    this.#isListening = true;
    const operation = new Operation<Listening['addresses']>();
    const starting = this.#startListening(checked);
    this.#starting = starting;
    starting.then(
      (listening) => {
        operation.resolve(listening.addresses);
        this.emit('listening');
      },
      (error: Error) => {
        this.#isListening = false;
        if (onListening !== undefined) this.off('listening', onListening);
        operation.reject(error);
        if (this.#destroying !== null) return;
        if (!operation.isAwaited || this.listenerCount('error') > 0) this.emit('error', error);
      },
    );
    return operation;
  }

  /** Closes everything; what is under way fails. Event `close`, and the promise, when done. */
  destroy(onClose?: () => void): Promise<void> {
    if (onClose !== undefined) {
      if (this.#isClosed) this.#clock.soon(onClose);
      else this.once('close', onClose);
    }
    this.#destroying ??= this.#close().then(() => {
      this.#isClosed = true;
      this.emit('close');
    });
    return this.#destroying;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }

  /** Who is announced here: by this instance (host 0.0.0.0), and when it listens by others. */
  toJSON(): NameJson[] {
    if (this.#listening !== null) return this.#listening.toJSON();
    return Array.from(this.#own.names(), ([name, ports]) => ({
      name,
      records: ports.map((port) => ({ port, host: '0.0.0.0' })),
    }));
  }

  #forget(id: string, port: number): void {
    this.#own.remove(id, port);
    this.#listening?.unannounce(id, port);
  }

  #request(name: string | Uint8Array, given: number, options: AnnounceOptions) {
    const id = checkName(name);
    const { publicPort, impliedPort } = options;
    if (publicPort !== undefined && publicPort !== null) checkPort('publicPort', publicPort, true);
    const isImplied = impliedPort === true || Number(publicPort ?? 0) > 0;
    const port = checkPort('port', isImplied ? (given ?? 0) : given, isImplied);
    this.#checkSignal(options);
    return { id, wire: wireName(id, this.#config.domain), port, options };
  }

  #checkSignal({ signal }: RequestOptions): void {
    if (signal === undefined || signal === null || signal instanceof AbortSignal) return;
    throw new TypeError('signal: expected an AbortSignal');
  }

  async #startListening(ports: readonly number[]): Promise<Listening> {
    const { domain, ttlSeconds, limit, push, records, values, udpBackend } = this.#config;
    // Loaded when it is wanted: it brings the server's native packages.
    const { Listening: Server } = await import('./listening/listening.ts');
    const listening = await Server.start({
      ports: ports.length === 0 ? DEFAULT_PORTS : ports,
      isDefault: ports.length === 0,
      domain,
      ttlSeconds,
      limit,
      push,
      records,
      values,
      udpBackend,
      clock: this.#clock,
      traffic: this.#tap,
      onPeer: (name, peer) => void this.emit('peer', name, peer),
      notice: () => undefined,
    });
    if (this.#destroying !== null) {
      await listening.close();
      throw destroyed();
    }
    this.#listening = listening;
    for (const [name, own] of this.#own.names()) {
      for (const port of own) listening.announce(name, port);
    }
    return listening;
  }

  async #close(): Promise<void> {
    this.#stopSecrets();
    this.#stopTicks?.();
    this.#stopTicks = null;
    this.#rounds.end(destroyed());
    for (const wire of this.#wires) wire.end(destroyed());
    await this.#starting.catch(() => undefined);
    const multicast = this.#multicast;
    if (multicast !== null) await new Promise<void>((done) => multicast.destroy(done));
    await this.#listening?.close();
    await new Promise<void>((done) => this.#sockets.close(done));
  }

  #wire(server: DiscoveryConfig['servers'][number]): WireClient {
    const { domain, timeoutMs, mostSends } = this.#config;
    return new WireClient(
      {
        server,
        domain: wireName('', domain),
        timeoutMs,
        mostSends,
        randomId: () => secretUint32() & 0xffff,
        secretBytes,
      },
      {
        send: (bytes, to) => this.#sockets.send(bytes, to),
        askTcp: (bytes, to, timeoutMs, done) => this.#askTcp(bytes, to, timeoutMs, done),
        resolve: (host, done) => this.#resolve(host, done),
        pushed: (name, peer, from) => this.#rounds.found(name, withServer(peer, from)),
      },
    );
  }

  #askTcp(
    bytes: Uint8Array,
    to: Destination,
    timeoutMs: number,
    done: (answer: Uint8Array | null) => void,
  ): void {
    this.#tell('out', bytes, to.port, to.address);
    this.#sockets.askTcp(bytes, to, timeoutMs, (answer) => {
      if (answer !== null) this.#tell('in', answer, to.port, to.address, MAX_TCP_BYTES);
      done(answer);
    });
  }

  /** What waits for the addresses need not wait for the next tick as well. */
  #resolve(host: string, done: Parameters<typeof resolveHost>[2]): void {
    let isSoon = true;
    resolveHost(host, this.#firstFamily, (addresses, error) => {
      done(addresses, error);
      if (!isSoon && this.#destroying === null) this.#tick();
    });
    isSoon = false;
  }

  #openMulticast(): Multicast | null {
    const { multicast, domain, loopback, interfaces, ttlSeconds } = this.#config;
    if (multicast === false) return null;
    return new Multicast({
      instance: multicast === true ? null : multicast,
      domain,
      loopback,
      interfaces,
      own: this.#own,
      others: (name): readonly Peer[] => this.#listening?.peers(name) ?? [],
      ttlSeconds,
      clock: this.#clock,
      traffic: this.#tap,
      onPeer: (name, peer) => this.#rounds.found(name, peer),
      onError: (error) => this.#fail(error),
    });
  }

  #receive(bytes: Uint8Array, address: string, port: number): void {
    if (this.#destroying !== null) return;
    this.#tell('in', bytes, port, address);
    const now = this.#clock.now();
    for (const wire of this.#wires) {
      if (wire.receive(bytes, address, port, now)) break;
    }
    this.#startTicks();
  }

  #tell(
    direction: 'in' | 'out',
    bytes: Uint8Array,
    port: number,
    host: string,
    mostBytes?: number,
  ): void {
    if (!this.#tap.isWanted()) return;
    const message = decodeMessage(bytes, mostBytes);
    if (message === null) return;
    const kind = message.type === 'response' ? 'response' : 'query';
    const type: TrafficType = `${direction}:${kind}`;
    this.#tap.tell(type, { message, peer: { port, host } });
  }

  #fail(error: Error): void {
    // Later: it may come in the middle of a call.
    this.#clock.soon(() => {
      if (this.#destroying === null) this.emit('error', error);
    });
  }

  /** Ticks as long as there is something to wait for, and keeps the process alive so long. */
  #startTicks(): void {
    if (this.#stopTicks !== null || this.#destroying !== null) return;
    if (!this.#wires.some((wire) => wire.isBusy)) return;
    this.#stopTicks = this.#clock.after(TICK_MS, () => {
      this.#stopTicks = null;
      this.#tick();
      this.#startTicks();
    });
  }

  #tick(): void {
    const now = this.#clock.now();
    for (const wire of this.#wires) wire.tick(now);
  }
}

/** What `listen` returns. */
export type Listen = Operation<Listening['addresses']>;

function destroyed(): DiscoveryError {
  return new DiscoveryError('ERR_DESTROYED', 'the discovery instance was destroyed');
}

/** `(callback)`, `(options)`, `(options, callback)` or nothing. */
function split<O extends object>(
  options: O | Callback | null | undefined,
  callback: Callback | undefined,
): [O, Callback | null] {
  if (typeof options === 'function') return [{} as O, options as Callback];
  if (options === undefined || options === null) return [{} as O, callback ?? null];
  if (typeof options !== 'object') throw new TypeError('options: expected an object');
  return [options, callback ?? null];
}

export type { Destination };
