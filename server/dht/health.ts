/**
 * Whether the network is there at all, judged each tick by what became of our requests, as npm
 * dht-rpc 6 does: only timeouts for two ticks, offline; more timeouts than answers for four ticks,
 * degraded; one answer, online; four good ticks, no longer degraded. Ticks with hardly a request
 * say nothing.
 */
import type { RequestCounts } from './requests.ts';

const WINDOW_TICKS = 4;
const OFFLINE_TICKS = 2;
/** Requests that ended within a tick, for it to say something. */
const LEAST_REQUESTS = 4;
const DEGRADED_TIMEOUT_SHARE = 0.5;

type Verdict = 'idle' | 'good' | 'degraded' | 'offline';

export interface HealthStats {
  readonly online: boolean;
  readonly degraded: boolean;
  /** Too early to say anything. */
  readonly cold: boolean;
  readonly idle: boolean;
  /** Within the last tick. */
  readonly responses: number;
  readonly timeouts: number;
  readonly timeoutsRate: number;
}

export class NetworkHealth {
  online = true;
  degraded = false;
  readonly #counts: RequestCounts;
  readonly #changed: () => void;
  #verdicts: Verdict[] = [];
  #offlineTicks = 0;
  #last = { responses: 0, timeouts: 0 };
  #responses = 0;
  #timeouts = 0;

  /** `changed` is called when `online` or `degraded` is another than before. */
  constructor(counts: RequestCounts, changed: () => void) {
    this.#counts = counts;
    this.#changed = changed;
  }

  get stats(): HealthStats {
    return {
      online: this.online,
      degraded: this.degraded,
      cold: this.#isCold,
      idle: this.#responses + this.#timeouts < LEAST_REQUESTS,
      responses: this.#responses,
      timeouts: this.#timeouts,
      timeoutsRate: this.#timeoutsRate,
    };
  }

  /** Forgets everything: the machine was asleep, or elsewhere. */
  reset(): void {
    this.#verdicts = [];
    this.#offlineTicks = 0;
    this.#set(true, false);
  }

  /** A tick is over. */
  update(): void {
    const { responses, timeouts } = this.#counts;
    this.#responses = responses - this.#last.responses;
    this.#timeouts = timeouts - this.#last.timeouts;
    this.#last = { responses, timeouts };
    const verdict = this.#judge();
    this.#verdicts.push(verdict);
    if (this.#verdicts.length > WINDOW_TICKS) this.#verdicts.shift();
    if (verdict === 'idle') return;
    this.#offlineTicks = verdict === 'offline' ? this.#offlineTicks + 1 : 0;
    let { online, degraded } = this;
    if (verdict !== 'offline') online = true;
    else if (this.#offlineTicks >= OFFLINE_TICKS) online = false;
    if (!online || this.#count('good') === WINDOW_TICKS) degraded = false;
    else if (this.#count('degraded') === WINDOW_TICKS) degraded = true;
    this.#set(online, degraded);
  }

  get #isCold(): boolean {
    return this.#verdicts.length < WINDOW_TICKS;
  }

  get #timeoutsRate(): number {
    return this.#timeouts === 0 ? 0 : this.#timeouts / (this.#responses + this.#timeouts);
  }

  #judge(): Verdict {
    const isFirst = this.#verdicts.length < WINDOW_TICKS - 1;
    if (isFirst || this.#responses + this.#timeouts < LEAST_REQUESTS) return 'idle';
    if (this.#responses === 0) return 'offline';
    return this.#timeoutsRate > DEGRADED_TIMEOUT_SHARE ? 'degraded' : 'good';
  }

  #count(verdict: Verdict): number {
    return this.#verdicts.filter((other) => other === verdict).length;
  }

  #set(online: boolean, degraded: boolean): void {
    if (online === this.online && degraded === this.degraded) return;
    this.online = online;
    this.degraded = degraded;
    this.#changed();
  }
}
