/**
 * How long to wait for an answer, by how long the same node took before: a mean and a deviation per
 * address, as npm adaptive-timeout keeps them for dht-rpc 6. Without a mean, a list by attempt.
 */
import type { Rng } from '../../workers/rng.ts';

export interface AdaptiveTimeoutOptions {
  /** Addresses kept. */
  readonly maxSize?: number;
  readonly maxAge?: number;
  /** Milliseconds by attempt, for a node that never answered. */
  readonly fallback?: readonly number[];
  readonly min?: number;
  readonly max?: number;
  /** Up to so many milliseconds more, at random. */
  readonly jitter?: number;
}

const DEFAULT_SIZE = 65_536;
const DEFAULT_AGE_MS = 600_000;
const DEFAULT_FALLBACK_MS: readonly number[] = [250, 500, 1000, 2000, 4000];
const DEFAULT_MIN_MS = 300;
const DEFAULT_MAX_MS = 4000;
const DEFAULT_JITTER_MS = 256;

interface RoundTrips {
  mean: number;
  deviation: number;
  expiresAt: number;
}

export class AdaptiveTimeout {
  readonly #known = new Map<number, RoundTrips>();
  readonly #rng: Rng;
  readonly #size: number;
  readonly #ageMs: number;
  readonly #fallback: readonly number[];
  readonly #min: number;
  readonly #max: number;
  readonly #jitter: number;

  constructor(options: AdaptiveTimeoutOptions, rng: Rng) {
    this.#rng = rng;
    this.#size = options.maxSize ?? DEFAULT_SIZE;
    this.#ageMs = options.maxAge ?? DEFAULT_AGE_MS;
    const fallback = options.fallback ?? DEFAULT_FALLBACK_MS;
    this.#fallback = fallback.length > 0 ? fallback : DEFAULT_FALLBACK_MS;
    this.#min = options.min ?? DEFAULT_MIN_MS;
    this.#max = options.max ?? DEFAULT_MAX_MS;
    this.#jitter = options.jitter ?? DEFAULT_JITTER_MS;
  }

  /** The node at `address` answered after `rttMs`. */
  put(address: number, rttMs: number, nowMs: number): void {
    const before = this.#get(address, nowMs);
    let mean = rttMs;
    let deviation = rttMs / 2;
    if (before !== undefined) {
      // New samples weigh a quarter and an eighth (RFC 6298).
      deviation = before.deviation + (Math.abs(before.mean - rttMs) - before.deviation) / 4;
      mean = before.mean + (rttMs - before.mean) / 8;
    }
    this.#known.delete(address);
    if (this.#known.size >= this.#size) {
      // The least recently answered one is first in the map.
      for (const oldest of this.#known.keys()) {
        this.#known.delete(oldest);
        break;
      }
    }
    this.#known.set(address, { mean, deviation, expiresAt: nowMs + this.#ageMs });
  }

  /** How long to wait after sending for the `attempt`th time, 1 the first. */
  get(address: number, attempt: number, nowMs: number): number {
    const known = this.#get(address, nowMs);
    const jitter = this.#jitter < 1 ? 0 : this.#rng.below(this.#jitter);
    if (known === undefined) {
      const { length } = this.#fallback;
      return this.#fallback[Math.min(attempt, length) - 1] + jitter;
    }
    const wait = Math.round((known.mean + 2 * known.deviation) * attempt) + jitter;
    return Math.min(Math.max(wait, this.#min), this.#max);
  }

  #get(address: number, nowMs: number): RoundTrips | undefined {
    const known = this.#known.get(address);
    if (known === undefined || known.expiresAt > nowMs) return known;
    this.#known.delete(address);
    return undefined;
  }
}
