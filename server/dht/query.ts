/**
 * An iterative lookup, as npm dht-rpc 6 walks: ask the closest known nodes, each names closer ones,
 * until the k closest have answered; then, if wanted, send each the command again with its token.
 *
 *   idle --resume--> opening --bootstrap nodes known-> walking --nobody left--> committing --> done
 *
 * A node that is late once no longer takes a place among those asked at a time, and when only such
 * are left and k answered, they are not waited for. Everything happens as requests end; what an
 * iterator has not taken yet is kept, and when that is much, nobody else is asked.
 */
import { EventEmitter } from 'node:events';
import type { NodeAddress } from '../../codecs/dht/address.ts';
import { DHT_ERROR, INTERNAL } from '../../codecs/dht/constants.ts';
import { type Candidate, Candidates } from './candidates.ts';
import { DhtError, nodeDestroyed } from './errors.ts';
import type { OwnRequest, RequestOwner, RequestParts } from './request.ts';
import type { Session } from './session.ts';
import type { DhtResponse, NodeReference, NodeTable } from './types.ts';

/** Asked at a time while nodes of an earlier query have the chance to answer first. */
const SLOW_START = 3;
/** Sendings after the first one, of a node that does not answer. */
const RETRIES = 5;
const DOWN_HINT_RETRIES = 3;
/** Answers kept for an iterator that is behind. */
const MAX_UNREAD = 16;

/** Called for each of the closest that answered; `node` is the DhtNode. */
export type Commit<T> = (reply: DhtResponse, node: QueryHost, query: Query<T>) => Promise<unknown>;

export interface QueryOptions<T = DhtResponse> {
  /** True: the command again, with the token, to the closest nodes; or a function for each. */
  readonly commit?: boolean | Commit<T> | null;
  /** What of an answer is told; nothing for what is falsy. */
  readonly map?: (reply: DhtResponse) => T;
  /** Ask these first. */
  readonly nodes?: readonly NodeAddress[];
  readonly closestNodes?: readonly NodeAddress[];
  /** Ask first who answered an earlier query. */
  readonly replies?: readonly DhtResponse[];
  readonly closestReplies?: readonly DhtResponse[];
  /** Nobody but them. */
  readonly onlyClosestNodes?: boolean;
  readonly concurrency?: number;
  readonly retries?: number;
  readonly session?: Session;
  /** Sent at once, whatever is under way, and never again. */
  readonly force?: boolean;
}

export interface QueryCounts {
  active: number;
  total: number;
}

/** What a query needs of its node. */
export interface QueryHost {
  readonly table: NodeTable;
  readonly concurrency: number;
  readonly isPrivate: boolean;
  readonly queryCounts: QueryCounts;
  session(): Session;
  sendRequest(parts: RequestParts, owner: RequestOwner, force?: boolean): OwnRequest | null;
  /** Calls `each` for every node to start from that is not in the table, then `done`. */
  bootstrapNodes(each: (node: NodeAddress) => void, done: () => void): void;
  /** Whether a node that somebody named may be asked. */
  mayAsk(node: NodeAddress): boolean;
  sendDownHint(to: NodeReference, down: NodeAddress, session: Session): void;
}

export interface QueryParts {
  readonly target: Uint8Array;
  readonly isInternal: boolean;
  readonly command: number;
  readonly value: Uint8Array | null;
}

const IDLE = 0;
const OPENING = 1;
const WALKING = 2;
const COMMITTING = 3;
const DONE = 4;

/** Events: `data` (an answer, as `map` makes it), `end`, `error`, `close` (last in any case). */
export class Query<T = DhtResponse> extends EventEmitter {
  readonly target: Uint8Array;
  readonly command: number;
  readonly value: Uint8Array | null;
  readonly k: number;
  concurrency: number;
  /** Answers with an error, and nodes that did not answer. */
  errors = 0;
  successes = 0;
  /** Nodes asked that have not answered. */
  inflight = 0;
  readonly #parts: QueryParts;
  readonly #node: QueryHost;
  readonly #options: QueryOptions<T>;
  readonly #candidates: Candidates;
  readonly #session: Session;
  readonly #ownsSession: boolean;
  readonly #retries: number;
  #state = IDLE;
  #isFromTable = false;
  #isSlowStart = false;
  #slow = 0;
  #error: Error | null = null;
  #isFlowing = false;
  readonly #unread: T[] = [];
  #wake: (() => void) | null = null;

  constructor(node: QueryHost, parts: QueryParts, options: QueryOptions<T> = {}) {
    super();
    this.#node = node;
    this.#parts = parts;
    this.#options = options;
    this.target = parts.target;
    this.command = parts.command;
    this.value = parts.value;
    this.k = node.table.k;
    this.concurrency = options.concurrency || node.concurrency;
    const isDownHint = parts.isInternal && parts.command === INTERNAL.DOWN_HINT;
    this.#retries = options.retries ?? (isDownHint ? DOWN_HINT_RETRIES : RETRIES);
    this.#candidates = new Candidates(parts.target, this.k, node.isPrivate);
    this.#session = options.session ?? node.session();
    this.#ownsSession = options.session === undefined;
    node.queryCounts.total++;
    node.queryCounts.active++;
    for (const start of startNodes(options)) this.#candidates.add(start, null);
    this.on('newListener', (event) => {
      // The listener is not there yet.
      if (event === 'data') queueMicrotask(() => this.resume());
    });
  }

  /** The answers of the closest nodes, the closest first; complete when the query has ended. */
  get closestReplies(): readonly DhtResponse[] {
    return this.#candidates.closest;
  }

  get closestNodes(): NodeReference[] {
    return this.closestReplies.map((reply) => reply.from);
  }

  get destroyed(): boolean {
    return this.#state === DONE;
  }

  /** Starts it, and has answers told as they come. */
  resume(): this {
    this.#isFlowing = true;
    for (const data of this.#unread.splice(0)) this.emit('data', data);
    this.#start();
    return this;
  }

  /** Resolves when it has ended; rejects when it could not do what it should. */
  finished(): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        if (this.#error === null) resolve();
        else reject(this.#error);
      };
      if (this.#state === DONE) settle();
      else {
        this.once('close', settle);
        this.resume();
      }
    });
  }

  /** The answers, as `map` makes them. Leaving the loop ends the query. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    this.#start();
    try {
      for (;;) {
        if (this.#unread.length > 0) {
          yield this.#unread.shift() as T;
          this.#askMore();
          continue;
        }
        if (this.#state === DONE) break;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (this.#error !== null) throw this.#error;
    } finally {
      this.destroy();
    }
  }

  /** Ends it where it is. */
  destroy(error: Error | null = null): void {
    if (this.#state === DONE) return;
    this.#state = DONE;
    this.#error = error;
    this.#node.queryCounts.active--;
    if (this.#ownsSession) this.#session.destroy();
    this.#wakeReader();
    // Without a listener an 'error' would be thrown; finished() and the iterator tell it as well.
    if (error !== null && this.listenerCount('error') > 0) this.emit('error', error);
    this.emit('close');
  }

  #start(): void {
    if (this.#state !== IDLE) return;
    this.#state = OPENING;
    this.#addFromTable();
    const open = (): void => {
      if (this.#state !== OPENING) return;
      this.#state = WALKING;
      this.#askMore();
    };
    if (this.#candidates.openCount >= this.k || this.#options.onlyClosestNodes) open();
    else this.#node.bootstrapNodes((node) => this.#candidates.add(node, null), open);
  }

  #addFromTable(): void {
    const missing = this.k - this.#candidates.openCount;
    if (missing <= 0) return;
    this.#isFromTable = true;
    if (this.#options.onlyClosestNodes) return;
    for (const node of this.#node.table.closest(this.target, missing)) {
      this.#candidates.add(node, null);
    }
  }

  #askMore(): void {
    if (this.#state !== WALKING) return;
    if (!this.#isFlowing && this.#unread.length >= MAX_UNREAD) return;
    const most = (this.#isSlowStart ? SLOW_START : this.concurrency) + this.#slow;
    while (this.inflight < most) {
      const candidate = this.#candidates.next();
      if (candidate === null) break;
      if (!this.#ask(candidate)) return;
    }
    if (!this.#isFromTable && this.successes === 0 && this.errors === 0) this.#isSlowStart = true;
    if (this.#candidates.openCount > 0) return;
    const isComplete = this.closestReplies.length >= this.k;
    if (this.inflight > 0 && !(this.#slow === this.inflight && isComplete)) {
      if (this.#slow === this.inflight && this.#candidates.unbound()) this.#askMore();
      return;
    }
    if (this.#candidates.unbound()) {
      this.#askMore();
      return;
    }
    // Most of those it was told to start from are gone.
    if (!this.#isFromTable && this.successes < this.k / 4) {
      this.#addFromTable();
      this.#isFromTable = true;
      this.#askMore();
      return;
    }
    this.#flush();
  }

  #ask(candidate: Candidate): boolean {
    const { isInternal, command, target, value } = this.#parts;
    const force = this.#options.force === true;
    this.inflight++;
    const request = this.#node.sendRequest(
      {
        to: candidate,
        isInternal,
        command,
        target,
        value,
        session: this.#session,
        retries: force ? 0 : this.#retries,
      },
      {
        onResponse: (response, request) => this.#onResponse(candidate, response, request),
        onError: (error, request) => this.#onError(candidate, error, request),
        onSlow: () => {
          this.#slow++;
          this.#askMore();
        },
      },
      force,
    );
    if (request === null) this.destroy(nodeDestroyed());
    return request !== null;
  }

  #onResponse(candidate: Candidate, response: DhtResponse, request: OwnRequest): void {
    this.#settle(request);
    if (this.#state !== WALKING) return;
    const isGood = response.error === DHT_ERROR.NONE;
    if (isGood) this.successes++;
    else this.errors++;
    this.#candidates.answered(candidate, response, isGood);
    if (!this.#options.onlyClosestNodes) this.#addNamed(response);
    if (this.successes + this.errors >= this.concurrency) this.#isSlowStart = false;
    if (isGood) this.#tell(response);
    this.#askMore();
  }

  #addNamed({ closerNodes, from }: DhtResponse): void {
    for (const node of closerNodes) {
      if (!this.#node.mayAsk(node)) continue;
      const isDown = this.#candidates.add(node, from);
      if (isDown) this.#node.sendDownHint(from, node, this.#session);
    }
  }

  #onError(candidate: Candidate, error: DhtError, request: OwnRequest): void {
    this.#settle(request);
    if (this.#state === DONE) return;
    const isDown = error.code === 'REQUEST_TIMEOUT';
    for (const referrer of this.#candidates.failed(candidate, isDown)) {
      this.#node.sendDownHint(referrer, candidate, this.#session);
    }
    this.errors++;
    this.#askMore();
  }

  #settle(request: OwnRequest): void {
    if (request.isSlow) this.#slow--;
    this.inflight--;
  }

  #tell(response: DhtResponse): void {
    const { map } = this.#options;
    // Without a map, T is what it is by default.
    const data = map === undefined ? (response as T) : map(response);
    if (!data) return;
    if (this.#isFlowing) this.emit('data', data);
    else {
      this.#unread.push(data);
      this.#wakeReader();
    }
  }

  #wakeReader(): void {
    this.#wake?.();
    this.#wake = null;
  }

  #flush(): void {
    this.#state = COMMITTING;
    const { commit } = this.#options;
    if (!commit) {
      this.#end();
      return;
    }
    let pending = this.closestReplies.length;
    let successes = 0;
    if (pending === 0) {
      this.destroy(new DhtError('TOO_FEW_REPLIES', 'Too few nodes responded'));
      return;
    }
    const done = (error: Error | null): void => {
      if (error === null) successes++;
      if (--pending > 0) return;
      if (successes > 0) this.#end();
      else this.destroy(error);
    };
    for (const reply of [...this.closestReplies]) {
      if (commit === true) this.#commit(reply.from, reply.token, true, done);
      else callCommit(commit, reply, this.#node, this, done);
    }
  }

  /** Sends the command again with a token; a node whose secrets have turned gives a fresh one. */
  #commit(
    to: NodeReference,
    token: Uint8Array | null,
    mayRetry: boolean,
    done: (error: Error | null) => void,
  ): void {
    if (token === null) {
      done(new DhtError('NO_TOKEN', 'No token received for closest node'));
      return;
    }
    const { isInternal, command, target, value } = this.#parts;
    const sent = this.#node.sendRequest(
      { to, isInternal, command, target, value, token },
      {
        onResponse: (response) => {
          const isStale = response.error === DHT_ERROR.INVALID_TOKEN && response.token !== null;
          if (isStale && mayRetry) this.#commit(to, response.token, false, done);
          else done(null);
        },
        onError: done,
      },
    );
    if (sent === null) done(nodeDestroyed());
  }

  #end(): void {
    if (this.#state === DONE) return;
    this.emit('end');
    this.destroy();
  }
}

function* startNodes<T>(options: QueryOptions<T>): Generator<NodeAddress> {
  const nodes = options.nodes ?? options.closestNodes;
  if (nodes !== undefined) yield* nodes;
  else for (const reply of options.replies ?? options.closestReplies ?? []) yield reply.from;
}

function callCommit<T>(
  commit: Commit<T>,
  reply: DhtResponse,
  node: QueryHost,
  query: Query<T>,
  done: (error: Error | null) => void,
): void {
  const fail = (error: unknown): void => {
    done(error instanceof Error ? error : new Error(String(error)));
  };
  try {
    Promise.resolve(commit(reply, node, query)).then(() => done(null), fail);
  } catch (error) {
    fail(error);
  }
}
