/**
 * What lookup(), announce() and the like return: awaitable, and a lookup iterable. The promise is
 * made when it is asked for, so that a call whose outcome nobody looks at cannot end the process by
 * an unhandled rejection.
 */
import type { Peer } from './types.ts';

interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

type Outcome<T> = { readonly value: T } | { readonly error: Error };

export class Operation<T> implements Promise<T> {
  readonly [Symbol.toStringTag] = 'Operation';
  #outcome: Outcome<T> | null = null;
  #waiters: Waiter<T>[] = [];
  #hasWaiters = false;

  /** Whether somebody awaits it, or did. */
  get isAwaited(): boolean {
    return this.#hasWaiters;
  }

  get isOver(): boolean {
    return this.#outcome !== null;
  }

  // biome-ignore lint/suspicious/noThenProperty: to be awaited is what it is for
  then<A = T, B = never>(
    onValue?: ((value: T) => A | PromiseLike<A>) | null,
    onError?: ((error: Error) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#promise().then(onValue, onError);
  }

  catch<B = never>(onError?: ((error: Error) => B | PromiseLike<B>) | null): Promise<T | B> {
    return this.#promise().catch(onError);
  }

  finally(onEnd?: (() => void) | null): Promise<T> {
    return this.#promise().finally(onEnd);
  }

  /** Ends it; only the first end counts. */
  resolve(value: T): void {
    this.#end({ value });
  }

  /** As `resolve`. */
  reject(error: Error): void {
    this.#end({ error });
  }

  #promise(): Promise<T> {
    this.#hasWaiters = true;
    return new Promise((resolve, reject) => {
      const outcome = this.#outcome;
      if (outcome === null) this.#waiters.push({ resolve, reject });
      else if ('error' in outcome) reject(outcome.error);
      else resolve(outcome.value);
    });
  }

  #end(outcome: Outcome<T>): void {
    if (this.#outcome !== null) return;
    this.#outcome = outcome;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { resolve, reject } of waiters) {
      if ('error' in outcome) reject(outcome.error);
      else resolve(outcome.value);
    }
  }
}

/** Distinct peers that a lookup keeps. */
const MOST_PEERS = 65_536;

/**
 * A lookup: await it for the peers found when all servers have answered and multicast had its time,
 * or iterate over them as they come. A kept lookup's iteration ends with its signal, with `break`,
 * or when the instance is destroyed.
 */
export class Lookup extends Operation<Peer[]> implements AsyncIterable<Peer> {
  readonly #known = new Set<string>();
  readonly #peers: Peer[] = [];
  readonly #isKept: boolean;
  readonly #onStop: () => void;
  #wakes: (() => void)[] = [];
  #hasEnded = false;
  #iterators = 0;
  #error: Error | null = null;

  /** `onStop`: nobody iterates any more. */
  constructor(isKept: boolean, onStop: () => void) {
    super();
    this.#isKept = isKept;
    this.#onStop = onStop;
  }

  /** The distinct peers so far. */
  get peers(): Peer[] {
    return [...this.#peers];
  }

  /** Notes a peer; one that is known already is not told again. */
  add(peer: Peer): void {
    const key = `${peer.host} ${peer.port}`;
    if (this.#hasEnded || this.#known.has(key) || this.#known.size >= MOST_PEERS) return;
    this.#known.add(key);
    this.#peers.push(peer);
    this.#wake();
  }

  /** The question is complete: the promise is, and unless it is kept, the iteration too. */
  complete(error: Error | null): void {
    if (error === null) this.resolve(this.peers);
    else this.reject(error);
    if (!this.#isKept) this.end(error);
  }

  /** No more peers come. */
  end(error: Error | null): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#error = error;
    if (error === null) this.resolve(this.peers);
    else this.reject(error);
    this.#wake();
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Peer, void, undefined> {
    this.#iterators++;
    return new PeerIterator(
      (from) => this.#next(from),
      (wake) => this.#wakes.push(wake),
      () => this.#left(),
    );
  }

  /** What an iterator that has told `told` peers has to say now; null: nothing yet. */
  #next(told: number): IteratorResult<Peer, void> | Error | null {
    if (told < this.#peers.length) return { done: false, value: this.#peers[told] };
    if (!this.#hasEnded) return null;
    return this.#error ?? { done: true, value: undefined };
  }

  /** An iterator was left; with the last one nobody listens any more. */
  #left(): void {
    if (--this.#iterators === 0) this.#onStop();
  }

  #wake(): void {
    const wakes = this.#wakes;
    this.#wakes = [];
    for (const wake of wakes) wake();
  }
}

type Ask = (told: number) => IteratorResult<Peer, void> | Error | null;

/** One iteration over a lookup. It may be left while it waits for the next peer. */
class PeerIterator implements AsyncIterableIterator<Peer, void, undefined> {
  readonly #ask: Ask;
  readonly #onWake: (wake: () => void) => void;
  readonly #onLeft: () => void;
  #told = 0;
  #isOver = false;
  #waiting: (() => void)[] = [];

  constructor(ask: Ask, onWake: (wake: () => void) => void, onLeft: () => void) {
    this.#ask = ask;
    this.#onWake = onWake;
    this.#onLeft = onLeft;
  }

  async next(): Promise<IteratorResult<Peer, void>> {
    while (!this.#isOver) {
      const next = this.#ask(this.#told);
      if (next instanceof Error) {
        this.#end();
        throw next;
      }
      if (next !== null) {
        if (next.done === true) this.#end();
        else this.#told++;
        return next;
      }
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
        this.#onWake(() => this.#wake());
      });
    }
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<Peer, void>> {
    this.#end();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** For `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#wake();
    this.#onLeft();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
