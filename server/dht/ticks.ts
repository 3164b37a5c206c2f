/**
 * The time of a node in ticks of 5 s, as npm dht-rpc 6 counts it: nodes of the routing table are
 * stamped with it, and what has to be done now and then is done every so many. One timer per node.
 *
 * A tick that comes much too late means that the machine was asleep: then the count jumps, so that
 * all that is known is old.
 */
import type { Rng } from '../../workers/rng.ts';
import type { Clock } from '../clock.ts';
import { OLD_TICKS } from './pinger.ts';
import type { NodeTable } from './types.ts';

export const TICK_MS = 5000;
/** A tick so late means that the machine was asleep. */
const SLEEP_MS = 3 * TICK_MS;
/** An idle node looks for new nodes every 5 minutes. */
const REFRESH_TICKS = 60;
/** The first tick is drawn below this, so that nodes started together do not act together. */
const MAX_FIRST_TICK = 100;
/** Masks of ticks: a round of pings, and a look at whether the table is nearly empty. */
const PING_ROUND_MASK = 7;
const SMALL_TABLE_MASK = 63;

export interface TicksHost {
  readonly clock: Clock;
  readonly table: NodeTable;
  readonly bootstrapped: boolean;
  refresh(): void;
  /** A tick of a node that is ready. */
  onTick(isPingRound: boolean): void;
  onWakeUp(): void;
}

export class Ticks {
  readonly #node: TicksHost;
  #now: number;
  #refreshTicks: number;
  #lastAt = 0;
  #stop: (() => void) | null = null;

  constructor(node: TicksHost, rng: Rng) {
    this.#node = node;
    this.#now = MAX_FIRST_TICK - rng.below(MAX_FIRST_TICK / 2);
    this.#refreshTicks = REFRESH_TICKS - rng.below(REFRESH_TICKS / 2);
    node.table.setTick(this.#now);
  }

  /** The present tick; it never decreases. */
  get now(): number {
    return this.#now;
  }

  start(): void {
    this.stop();
    const { clock } = this.#node;
    this.#lastAt = clock.now();
    this.#stop = clock.every(TICK_MS, () => this.#onTick());
  }

  stop(): void {
    this.#stop?.();
    this.#stop = null;
  }

  /** A query has begun: as good as a refresh. */
  putRefreshOff(): void {
    this.#refreshTicks = REFRESH_TICKS;
  }

  /** Everything known is old; a refresh and a round of pings follow in the next ticks. */
  wakeUp(): void {
    this.#now += 2 * OLD_TICKS;
    this.#now += PING_ROUND_MASK - 1 - (this.#now & PING_ROUND_MASK);
    this.#node.table.setTick(this.#now);
    this.#refreshTicks = 1;
    this.#node.onWakeUp();
  }

  #onTick(): void {
    const { clock, table } = this.#node;
    const nowMs = clock.now();
    if (nowMs - this.#lastAt > SLEEP_MS) this.wakeUp();
    else table.setTick(++this.#now);
    this.#lastAt = nowMs;
    if (!this.#node.bootstrapped) return;
    this.#node.onTick((this.#now & PING_ROUND_MASK) === 0);
    const isSmall = (this.#now & SMALL_TABLE_MASK) === 0 && table.size < table.k;
    if (isSmall || --this.#refreshTicks <= 0) this.#node.refresh();
  }
}
