/**
 * A node of the DHT as npm dht-rpc 6 has it, without what answers others: that is done in lanes
 * (workers/dht), which tell it whom they saw. It asks: it finds its place in the network, keeps the
 * routing table, and runs queries.
 *
 *            onReply          sighted, downHint, challenge
 *               v                    v
 *   requests.ts --- answered --> node.ts --- 5 s ticks --> pinger, network-state, health
 *      ^    \__ proof, NAT samples __/  \
 *      |                                 +-- table: TableWriter; transport: two sockets
 *   query.ts, bootstrap.ts, verification.ts, session.ts
 *
 * It has no socket, no thread and no time of its own. Given the same, it does the same.
 */
import { EventEmitter } from 'node:events';
import {
  hostToU32,
  isPrivateIpv4,
  isReservedIpv4,
  type NodeAddress,
} from '../../codecs/dht/address.ts';
import { ID_BYTES, MAX_PING_DELAY_MS, TOKEN_BYTES } from '../../codecs/dht/constants.ts';
import type { DhtReply } from '../../codecs/dht/message.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import type { KnownNode } from '../../workers/dht/table-writer.ts';
import type { Clock } from '../clock.ts';
import { Bootstrap } from './bootstrap.ts';
import { DEFAULT_MAX_WINDOW } from './congestion.ts';
import { deferred } from './deferred.ts';
import { DEFAULT_DOWN_HINTS, DownHints } from './down-hints.ts';
import { nodeDestroyed } from './errors.ts';
import { NetworkHealth } from './health.ts';
import { lookAround } from './look-around.ts';
import { Members } from './members.ts';
import { delayedPingParts, findNodeParts, pingParts, reference } from './messages.ts';
import { NetworkState, stateOptions } from './network-state.ts';
import { Pinger } from './pinger.ts';
import { Query, type QueryCounts, type QueryOptions } from './query.ts';
import { checkParts, type OwnRequest, type RequestOwner, type RequestParts } from './request.ts';
import { addressNumber, Requests } from './requests.ts';
import { Session } from './session.ts';
import { Ticks } from './ticks.ts';
import type {
  DhtNodeOptions,
  DhtNodeParts,
  DhtNodeStats,
  DhtResponse,
  NodeReference,
  NodeTable,
  PingOptions,
  QueryMessage,
  RequestMessage,
  RequestOptions,
  SocketKind,
} from './types.ts';
import { Verification } from './verification.ts';

/** Requests of one query at a time. */
const DEFAULT_CONCURRENCY = 10;
/** A refresh asks so few at a time while there is other work. */
const LEAST_BACKGROUND = 2;
const BACKGROUND_SHARE = 8;
const BUSY_REQUESTS = 3;

/**
 * Events: `listening`, `ready` (bootstrapped), `persistent`, `ephemeral`, `wakeup`, `nat-update`
 * (host, port), `network-change` (interfaces), `network-update`, `add-node` and `remove-node` (the
 * node), `suspend`, `resume`, `close`.
 */
export class DhtNode extends EventEmitter {
  readonly clock: Clock;
  readonly table: NodeTable;
  readonly bootstrap: Bootstrap;
  readonly concurrency: number;
  readonly maxPingDelay: number;
  readonly isPrivate: boolean;
  readonly health: NetworkHealth;
  readonly stats: DhtNodeStats;
  readonly queryCounts: QueryCounts = { active: 0, total: 0 };
  bootstrapped = false;
  destroyed = false;
  suspended = false;
  online = true;
  degraded = false;
  readonly #parts: DhtNodeParts;
  readonly #options: DhtNodeOptions;
  readonly #requests: Requests;
  readonly #network: NetworkState;
  readonly #pinger: Pinger;
  readonly #verification: Verification;
  readonly #downHints: DownHints;
  readonly #members: Members;
  readonly #ready = deferred();
  readonly #ticks: Ticks;
  #isStarted = false;

  constructor(parts: DhtNodeParts, options: DhtNodeOptions = {}) {
    super();
    const { clock, rng, table, transport } = parts;
    this.#parts = parts;
    this.#options = options;
    this.clock = clock;
    this.table = table;
    this.concurrency = options.concurrency || DEFAULT_CONCURRENCY;
    this.maxPingDelay = options.maxPingDelay || MAX_PING_DELAY_MS;
    this.isPrivate = options.isPrivate === true;
    this.bootstrap = new Bootstrap(options.bootstrap || [], this);
    this.#ticks = new Ticks(this, rng);
    const id = Uint8Array.from({ length: ID_BYTES }, () => rng.below(256));
    this.#members = new Members(this, parts.proven, id);
    this.#requests = new Requests({
      clock,
      rng,
      transport,
      host: {
        socketKind: () => this.socketKind,
        id: () => this.id,
        answered: (response, isProof) => {
          if (isProof) this.#members.answered(response);
          else this.#verification.again(response.from, response.socket);
        },
        timedOut: (request) => this.#members.timedOut(request),
      },
      maxWindow: options.maxWindow ?? DEFAULT_MAX_WINDOW,
      adaptiveTimeout: options.adaptiveTimeout,
      tidKey: parts.tidKey,
    });
    this.health = new NetworkHealth(this.#requests.counts, () => this.#healthChanged());
    this.#network = new NetworkState(this, stateOptions(options));
    this.#pinger = new Pinger(this);
    this.#verification = new Verification(this, rng);
    this.#downHints = new DownHints(
      options.sendDownHints !== false,
      options.downHintsRateLimit ?? DEFAULT_DOWN_HINTS,
      (request, owner) => this.sendRequest(request, owner),
    );
    const [ping, pingNat, findNode, downHint] = this.#requests.commands;
    this.stats = {
      queries: this.queryCounts,
      requests: this.#requests.counts,
      commands: { ping, pingNat, findNode, downHint },
    };
    for (const node of [...(options.nodes ?? [])].reverse()) this.addNode(node);
  }

  /** Our id, while others may know it. */
  get id(): Uint8Array | null {
    return this.ephemeral ? null : this.tableId;
  }

  /** Our address as others see it; null while it is not known. */
  get host(): string | null {
    return this.#network.host;
  }

  /** 0 while it is not known, or when each sees another one. */
  get port(): number {
    return this.#network.port;
  }

  /** The time in units of 5 s, as nodes of the table are stamped. */
  get tick(): number {
    return this.#ticks.now;
  }

  /** What the routing table is sorted by: our id, or before there is one something random. */
  get tableId(): Uint8Array {
    return this.#members.ownId;
  }

  get ephemeral(): boolean {
    return this.#network.ephemeral;
  }

  get firewalled(): boolean {
    return this.#network.firewalled;
  }

  get adaptive(): boolean {
    return this.#network.isAdaptive;
  }

  /** Whether the NAT before us gives us another port for each whom we ask. */
  get randomized(): boolean {
    return this.host !== null && this.port === 0;
  }

  get serverPort(): number {
    return this.#parts.transport.serverPort;
  }

  /** Requests under way. */
  get openRequests(): number {
    return this.#requests.open;
  }

  /** What requests leave from: while firewalled, not from what others are to reach. */
  get socketKind(): SocketKind {
    return this.firewalled ? 'client' : 'server';
  }

  /** Begins: the sockets are open. `listening` is emitted before it returns. */
  start(): void {
    if (this.#isStarted || this.destroyed) return;
    this.#isStarted = true;
    this.#network.start();
    this.#ticks.start();
    this.emit('listening');
    const isQuick = this.#options.quickFirewall !== false;
    lookAround(this, this.#network, isQuick, () => this.#becomeReady());
  }

  /**
   * A reply came from the network; false when nobody asked for it, and it is to be counted as
   * dropped.
   */
  onReply(reply: DhtReply, from: NodeAddress, socket: SocketKind): boolean {
    return this.#requests.onReply(reply, from, socket);
  }

  /** A node that is not in the table has sent a request with its true id. */
  sighted(from: NodeAddress, socket: SocketKind = 'server'): void {
    if (this.destroyed || this.suspended || !this.passesFilter(from)) return;
    this.#verification.sighted(from, socket);
  }

  /** Somebody says that a node of the table is down. */
  downHint(node: KnownNode): void {
    if (!this.destroyed && !this.suspended) this.#pinger.downHint(node);
  }

  /** A source has used up what strangers may: it is pinged, once in a while. */
  challenge(from: NodeAddress, socket: SocketKind = 'server'): boolean {
    if (this.destroyed || this.suspended) return false;
    return this.#verification.challenge(from, socket);
  }

  /**
   * Whether a reply with this transaction id from this host number and port is one that `onReply`
   * would take: to be asked before it is decoded.
   */
  isAwaited(tid: number, host: number, port: number): boolean {
    return this.#requests.isAwaited(tid, host, port);
  }

  /** The machine's network interfaces have changed: others may see another address. */
  networkChanged(interfaces: unknown): void {
    if (this.destroyed) return;
    this.#members.forgetSamples();
    if (this.bootstrapped) this.refresh();
    this.emit('network-change', interfaces);
    this.emit('network-update');
  }

  /** Our address may be this one; see DhtNodeOptions.guessedHost. */
  guessHost(host: string): void {
    if (!this.destroyed) this.#network.guess(host);
  }

  /** Asks the nodes closest to `target` for those closest to it. */
  findNode<T = DhtResponse>(target: Uint8Array, options?: QueryOptions<T>): Query<T> {
    this.#throwIfDestroyed();
    this.#ticks.putRefreshOff();
    return new Query(this, findNodeParts(target), options);
  }

  /** Sends a user's command to the nodes closest to `target`. Throws RangeError as requests do. */
  query<T = DhtResponse>(message: QueryMessage, options?: QueryOptions<T>): Query<T> {
    this.#throwIfDestroyed();
    this.#ticks.putRefreshOff();
    const { target, command, value = null } = message;
    checkParts(message, options?.commit === true ? TOKEN_BYTES : 0);
    return new Query(this, { target, isInternal: false, command, value }, options);
  }

  /** Sends a user's command to one node. */
  request(
    message: RequestMessage,
    to: NodeAddress,
    options?: RequestOptions,
  ): Promise<DhtResponse> {
    return this.#ask({ ...message, to: reference(to), isInternal: false }, options);
  }

  ping(to: NodeAddress, options?: PingOptions): Promise<DhtResponse> {
    return this.#ask(pingParts(to, options?.size ?? 0), options);
  }

  /** Has a node answer after `delayMs`. Throws a RangeError when that is more than it would. */
  delayedPing(to: NodeAddress, delayMs: number, options?: RequestOptions): Promise<DhtResponse> {
    return this.#ask(delayedPingParts(to, delayMs, this.maxPingDelay), options);
  }

  session(): Session {
    return new Session(this);
  }

  /** Looks for new nodes in the background. */
  refresh(): void {
    if (this.destroyed || this.suspended) return;
    const node = this.table.random(this.#parts.rng);
    this.backgroundQuery(node?.id ?? this.tableId).resume();
  }

  /** Puts a node into the routing table, if it has room, on the caller's word. */
  addNode(node: NodeAddress): void {
    addressNumber(node);
    this.insertNode(node);
  }

  /** Known nodes, those heard from last first. */
  toArray(options: { limit?: number } = {}): NodeAddress[] {
    const { limit = Number.POSITIVE_INFINITY } = options;
    return this.table.latest(limit).map(({ host, port }) => ({ host, port }));
  }

  /** Resolves when the first look around has ended. */
  fullyBootstrapped(): Promise<void> {
    return this.#ready.promise;
  }

  /** As `fullyBootstrapped`; the older name. */
  ready(): Promise<void> {
    return this.fullyBootstrapped();
  }

  /** Our address in the local network. */
  localAddress(): NodeAddress | null {
    if (!this.#isStarted) return null;
    return { host: this.#parts.transport.localHost ?? '127.0.0.1', port: this.serverPort };
  }

  /** Where others reach us; null while it is not known, or they cannot. */
  remoteAddress(): NodeAddress | null {
    const { host, port, serverPort } = this;
    if (host === null || port === 0 || this.firewalled || port !== serverPort) return null;
    return { host, port };
  }

  /** Stops asking anybody until `resume`. What is under way fails with IO_SUSPENDED. */
  async suspend(): Promise<void> {
    if (this.suspended || this.destroyed) return;
    this.suspended = true;
    this.#ticks.stop();
    this.#verification.close();
    this.#requests.suspend();
    await this.#parts.transport.suspend?.();
    this.emit('suspend');
  }

  /** Goes on, as after a sleep. */
  async resume(): Promise<void> {
    if (!this.suspended || this.destroyed) return;
    this.suspended = false;
    if (this.#isStarted) this.#ticks.start();
    this.#ticks.wakeUp();
    await this.#parts.transport.resume?.();
    if (this.destroyed) return;
    // The server socket may have another port now.
    if (this.#isStarted) this.#network.start();
    this.#requests.resume();
    this.refresh();
    this.emit('resume');
  }

  /** Ends everything; nothing is sent or told after `close`. */
  async destroy(): Promise<void> {
    if (this.destroyed) return;
    this.destroyed = true;
    this.#ticks.stop();
    this.#verification.close();
    this.#requests.close();
    this.#ready.reject(nodeDestroyed());
    this.emit('close');
  }

  // What the parts of the node need of it.

  sendRequest(parts: RequestParts, owner: RequestOwner, force = false): OwnRequest | null {
    return this.#requests.send(parts, owner, force);
  }

  resolve(hostName: string): Promise<string | null> {
    return this.#parts.resolve(hostName);
  }

  /** Nodes to start from that are not in the table. */
  bootstrapNodes(each: (node: NodeAddress) => void, done: () => void): void {
    if (this.table.size === 0) for (const node of this.#members.lost) each(node);
    const other = (node: NodeAddress): void => {
      if (!this.#isOwn(node)) each(node);
    };
    this.bootstrap.resolve(other, done);
  }

  /** Whether an address is one that a node of our network can have. */
  isUsable({ host, port }: NodeAddress): boolean {
    const number = hostToU32(host);
    if (number < 0 || port === 0 || isReservedIpv4(number)) return false;
    return this.isPrivate || !isPrivateIpv4(number);
  }

  /** Whether a node that a stranger named may be asked. */
  mayAsk(node: NodeAddress): boolean {
    return this.isUsable(node) && !this.#isOwn(node) && this.passesFilter(node);
  }

  hasRoom(id: Uint8Array): boolean {
    return this.#pinger.hasRoom(id);
  }

  sendDownHint(to: NodeReference, down: NodeAddress, session: Session): void {
    this.#downHints.send(to, down, session);
  }

  /** Our address, as a node sees it; those without an id are heard only at first. */
  sample(from: NodeReference, to: NodeAddress): void {
    if (from.id === null) this.#network.sampleNameless(from, to);
    else this.#network.sample(from, to);
  }

  setId(id: Uint8Array, isPersistent: boolean): void {
    if (this.#members.setOwn(id, isPersistent) && this.bootstrapped) this.refresh();
  }

  insertNode(node: NodeAddress): void {
    this.#members.add(reference(node));
  }

  removeNode(node: KnownNode): void {
    this.#members.remove(node);
  }

  onTick(isPingRound: boolean): void {
    this.#network.onTick();
    if (isPingRound) this.#pinger.pingSome();
    this.#downHints.onTick();
    this.health.update();
  }

  onWakeUp(): void {
    this.health.reset();
    this.#network.onWakeUp();
    this.emit('wakeup');
  }

  /** A node that has answered finds its bucket full. */
  onFull(node: NodeAddress, id: Uint8Array): void {
    this.#pinger.onFull(node, id);
  }

  passesFilter({ host, port }: NodeAddress): boolean {
    const { filterNode } = this.#options;
    return filterNode === undefined || filterNode({ id: nodeId(host, port), host, port });
  }

  /** Others may name us to ourselves. */
  #isOwn({ host, port }: NodeAddress): boolean {
    return !this.ephemeral && host === this.host && port === this.port;
  }

  #becomeReady(): void {
    if (this.bootstrapped || this.destroyed) return;
    this.bootstrapped = true;
    this.#ready.resolve();
    this.emit('ready');
  }

  /** Finds the nodes closest to `target`, a few at a time while there is other work. */
  backgroundQuery(target: Uint8Array): Query {
    this.#ticks.putRefreshOff();
    const share = Math.max(LEAST_BACKGROUND, Math.floor(this.concurrency / BACKGROUND_SHARE));
    const few = Math.min(this.concurrency, share);
    const query = new Query(this, findNodeParts(target), { concurrency: few });
    query.on('data', () => {
      query.concurrency = this.openRequests < BUSY_REQUESTS ? this.concurrency : few;
    });
    return query;
  }

  #ask(parts: RequestParts, options: RequestOptions = {}): Promise<DhtResponse> {
    const { socket, session = null, retry } = options;
    const whole = { ...parts, socket, session, ...(retry === false ? { retries: 0 } : {}) };
    return new Promise((resolve, reject) => {
      const request = this.sendRequest(whole, { onResponse: resolve, onError: reject });
      if (request === null) reject(this.#requests.refusal());
    });
  }

  #healthChanged(): void {
    this.online = this.health.online;
    this.degraded = this.health.degraded;
    this.emit('network-update');
  }

  #throwIfDestroyed(): void {
    if (this.destroyed) throw nodeDestroyed();
  }
}
