/**
 * Virtual time: an event heap that is run as fast as the machine can. Time stands still while an
 * event runs, and after each of them everything that promises have queued is run to the end.
 *
 * Each simulated machine has a clock of its own (`machine`): it may be set wrong, it may sleep, and
 * when the machine crashes all its timers are gone at once.
 */
import type { Clock } from '../../server/clock.ts';
import { EventHeap, type SimEvent } from './event-heap.ts';
import { outsideOfJobs, runMicrotasks } from './microtasks.ts';

/** What the clocks say at the start: 2023-11-14, some whole second. */
export const EPOCH_MS = 1_700_000_000_000;
/** A simulation in which time does not move on for so many events never will. */
const MAX_EVENTS_AT_ONCE = 1_000_000;

export class VirtualClock {
  readonly #heap = new EventHeap();
  #nowUs = 0;
  #events = 0;

  /** Microseconds since the start. */
  get nowUs(): number {
    return this.#nowUs;
  }

  /** Milliseconds since the start. */
  get elapsedMs(): number {
    return Math.floor(this.#nowUs / 1000);
  }

  /** Events run so far. */
  get events(): number {
    return this.#events;
  }

  /** Events to come, cancelled ones among them. */
  get pending(): number {
    return this.#heap.size;
  }

  /** The clock of one machine, `offsetMs` away from the true time. */
  machine(offsetMs = 0): MachineClock {
    return new MachineClock(this, offsetMs);
  }

  /** Has `event` run `delayUs` from now. */
  push(delayUs: number, event: SimEvent): void {
    event.at = this.#nowUs + Math.max(0, Math.round(delayUs));
    this.#heap.push(event);
  }

  cancel(event: SimEvent): void {
    this.#heap.kill(event);
  }

  /** Lets `ms` pass. */
  advance(ms: number): Promise<void> {
    return outsideOfJobs(() => {
      const endUs = this.#nowUs + ms * 1000;
      this.#run(endUs, () => false);
      this.#nowUs = endUs;
    });
  }

  /**
   * Lets time pass until `promise` settles, and settles alike; rejects when that takes longer than
   * `limitMs`, or when nothing is left that could happen.
   */
  async until<T>(promise: Promise<T>, limitMs: number): Promise<T> {
    let isSettled = false;
    const settled = () => {
      isSettled = true;
    };
    promise.then(settled, settled);
    await outsideOfJobs(() => this.#run(this.#nowUs + limitMs * 1000, () => isSettled));
    if (!isSettled) throw new Error(`nothing came of it within ${limitMs} ms of virtual time`);
    return promise;
  }

  #run(endUs: number, isDone: () => boolean): void {
    let atOnce = 0;
    runMicrotasks();
    while (!isDone()) {
      const event = this.#heap.peek();
      if (event === undefined || event.at > endUs) return;
      this.#heap.pop();
      if (event.isDead) continue;
      atOnce = event.at === this.#nowUs ? atOnce + 1 : 0;
      if (atOnce > MAX_EVENTS_AT_ONCE) throw new Error(`time stands still at ${this.#nowUs} us`);
      this.#nowUs = event.at;
      this.#events++;
      event.run();
      runMicrotasks();
    }
  }
}

class Timer implements SimEvent {
  at = 0;
  order = 0;
  isDead = false;
  readonly periodUs: number;
  readonly fn: () => void;
  readonly machine: MachineClock;

  /** A period of 0 means once. */
  constructor(machine: MachineClock, periodUs: number, fn: () => void) {
    this.machine = machine;
    this.periodUs = periodUs;
    this.fn = fn;
  }

  run(): void {
    this.machine.fire(this);
  }
}

/** The time and the timers of one machine. */
export class MachineClock implements Clock {
  readonly #clock: VirtualClock;
  readonly #offsetMs: number;
  #isStopped = false;
  #asleepUntilUs = 0;

  constructor(clock: VirtualClock, offsetMs: number) {
    this.#clock = clock;
    this.#offsetMs = offsetMs;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  get isAsleep(): boolean {
    return this.#clock.nowUs < this.#asleepUntilUs;
  }

  now(): number {
    return EPOCH_MS + this.#offsetMs + this.#clock.elapsedMs;
  }

  every(periodMs: number, fn: () => void): () => void {
    return this.#start(periodMs, new Timer(this, periodMs * 1000, fn));
  }

  after(delayMs: number, fn: () => void): () => void {
    return this.#start(delayMs, new Timer(this, 0, fn));
  }

  soon(fn: () => void): void {
    this.#start(0, new Timer(this, 0, fn));
  }

  /** The machine crashed: none of its timers fires any more, and it gets no new ones. */
  stop(): void {
    this.#isStopped = true;
  }

  /** The lid is closed for `ms`: what falls due meanwhile happens when it is opened. */
  sleep(ms: number): void {
    this.#asleepUntilUs = this.#clock.nowUs + ms * 1000;
  }

  /** For the machine's timers. */
  fire(timer: Timer): void {
    if (this.#isStopped) return;
    if (this.isAsleep) {
      this.#clock.push(this.#asleepUntilUs - this.#clock.nowUs, timer);
      return;
    }
    if (timer.periodUs > 0) this.#clock.push(timer.periodUs, timer);
    // No longer in the heap: cancelling it later changes nothing.
    else timer.isDead = true;
    timer.fn();
  }

  #start(delayMs: number, timer: Timer): () => void {
    if (this.#isStopped) return () => undefined;
    this.#clock.push(delayMs * 1000, timer);
    return () => this.#clock.cancel(timer);
  }
}
