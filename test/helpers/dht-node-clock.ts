/** A clock that stands still until it is told to go on. */
import type { Clock } from '../../server/clock.ts';

interface Timer {
  at: number;
  readonly order: number;
  readonly periodMs: number;
  readonly fn: () => void;
}

export class StillClock implements Clock {
  #now = 1_700_000_000_000;
  #order = 0;
  readonly #timers = new Set<Timer>();

  /** Timers that will fire. */
  get pending(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#now;
  }

  every(periodMs: number, fn: () => void): () => void {
    return this.#add(periodMs, periodMs, fn);
  }

  after(delayMs: number, fn: () => void): () => void {
    return this.#add(delayMs, 0, fn);
  }

  soon(fn: () => void): void {
    this.#add(0, 0, fn);
  }

  /** Lets time pass; timers fire in their order, those they set among them. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (let timer = this.#first(end); timer !== null; timer = this.#first(end)) {
      this.#now = Math.max(this.#now, timer.at);
      // What was missed while asleep is not made up for.
      if (timer.periodMs > 0) timer.at = this.#now + timer.periodMs;
      else this.#timers.delete(timer);
      timer.fn();
    }
    this.#now = end;
  }

  /** Lets time pass in steps, and promises do what they do after each. */
  async pass(ms: number, stepMs = 100): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      this.advance(Math.min(left, stepMs));
      await settle();
    }
  }

  /** Time jumps while nothing runs: the machine was asleep. */
  sleep(ms: number): void {
    this.#now += ms;
  }

  #add(delayMs: number, periodMs: number, fn: () => void): () => void {
    const timer = { at: this.#now + delayMs, order: this.#order++, periodMs, fn };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  #first(end: number): Timer | null {
    let first: Timer | null = null;
    for (const timer of this.#timers) {
      if (timer.at > end) continue;
      const isEarlier =
        first === null ||
        timer.at < first.at ||
        (timer.at === first.at && timer.order < first.order);
      if (isEarlier) first = timer;
    }
    return first;
  }
}

/** All that promises have queued has run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
