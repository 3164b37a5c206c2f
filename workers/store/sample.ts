/**
 * A random choice of a name's live peers, without allocation and without writing (but for expired
 * records, a few of which are unlinked when met).
 *
 * Few peers: the age list is walked whole, then a partial shuffle chooses. Many: the extents are
 * walked from a random start with a random stride that has no common divisor with their length, so
 * that every place is met once, a choice of k costs k reads, and no read waits for another.
 */
import { EXTENT_COUNT, EXTENT_HEADER_WORDS } from './extents.ts';
import { NONE } from './layout.ts';
import { LIST_PEERS_MAX, type Membership } from './membership.ts';
import type { Records } from './records.ts';

/** Where chance comes from. */
export interface RandomSource {
  /** A uniform uint32. */
  next(): number;
}

/** Unlinks a record whose time is over. */
export interface Expirer {
  expire(record: number): void;
}

/** Places of expired records passed over, so that a name full of them cannot stall a lane. */
const EXPIRED_PLACES_MAX = 256;
/**
 * Records unlinked per choice: each costs some microseconds, and a lookup is not the place to clean
 * up after a crowd. The sweep meets the others.
 */
export const UNLINKS_PER_SAMPLE = 32;
/** How many strides there are to choose from. */
const STRIDES = 128;
/** Primes above any number of peers have no common divisor with it. */
const STRIDE_PRIMES = primesAbove(1 << 24, STRIDES);

const PER_WORD = 2 ** -32;

/** A uniform whole number below `n`, which is below 2^31. */
function below(random: RandomSource, n: number): number {
  return (random.next() * n * PER_WORD) | 0;
}

export class Sampler {
  readonly #records: Records;
  readonly #membership: Membership;
  readonly #expirer: Expirer;
  readonly #found = new Int32Array(LIST_PEERS_MAX + 1);
  readonly #expired = new Int32Array(UNLINKS_PER_SAMPLE);
  #expiredCount = 0;

  constructor(records: Records, membership: Membership, expirer: Expirer) {
    this.#records = records;
    this.#membership = membership;
    this.#expirer = expirer;
  }

  /** See RecordStore.sample. */
  sample(
    name: number,
    family: number,
    max: number,
    now: number,
    random: RandomSource,
    out: Int32Array,
  ): number {
    if (max <= 0) return 0;
    this.#expiredCount = 0;
    const count =
      this.#membership.extents.first(name) === NONE
        ? this.#sampleList(name, family, max, now, random, out)
        : this.#sampleExtents(name, family, max, now, random, out);
    // Last: the rows chosen stay where they are, but the name may be gone with its last record.
    if (this.#expiredCount > 0) this.#unlinkExpired();
    return count;
  }

  #sampleList(
    name: number,
    family: number,
    max: number,
    now: number,
    random: RandomSource,
    out: Int32Array,
  ): number {
    const records = this.#records;
    const found = this.#found;
    let count = 0;
    let record = this.#membership.oldest(name);
    for (; record !== NONE; record = this.#membership.newer(record)) {
      if (records.isOver(record, now)) this.#meetExpired(record);
      else if (family === 0 || records.isIpv6(record) === (family === 6)) found[count++] = record;
    }
    return count <= max
      ? rotate(found, count, random, out)
      : choose(found, count, max, random, out);
  }

  #meetExpired(record: number): void {
    if (this.#expiredCount < UNLINKS_PER_SAMPLE) this.#expired[this.#expiredCount++] = record;
  }

  #unlinkExpired(): void {
    for (let i = 0; i < this.#expiredCount; i++) this.#expirer.expire(this.#expired[i]);
    this.#expiredCount = 0;
  }

  #sampleExtents(
    name: number,
    family: number,
    max: number,
    now: number,
    random: RandomSource,
    out: Int32Array,
  ): number {
    const { extents } = this.#membership;
    const { words } = extents;
    const four = family === 6 ? NONE : extents.find(name, 4);
    const six = family === 4 ? NONE : extents.find(name, 6);
    const fours = four === NONE ? 0 : words[four + EXTENT_COUNT];
    const total = fours + (six === NONE ? 0 : words[six + EXTENT_COUNT]);
    if (total === 0) return 0;
    const stride = STRIDE_PRIMES[below(random, STRIDES)] % total;
    const places = Math.min(total, max + EXPIRED_PLACES_MAX);
    let place = below(random, total);
    let count = 0;
    for (let i = 0; i < places && count < max; i++) {
      const at = place < fours ? four + place : six + place - fours;
      const record = words[at + EXTENT_HEADER_WORDS];
      if (this.#records.isOver(record, now)) this.#meetExpired(record);
      else out[count++] = record;
      place += stride;
      if (place >= total) place -= total;
    }
    return count;
  }
}

/** All of them, from a random one on: clients that take the first answer spread over the peers. */
function rotate(found: Int32Array, count: number, random: RandomSource, out: Int32Array): number {
  let from = count < 2 ? 0 : below(random, count);
  for (let i = 0; i < count; i++) {
    out[i] = found[from];
    if (++from === count) from = 0;
  }
  return count;
}

/** `max` of `count`: the first steps of a Fisher-Yates shuffle. */
function choose(
  found: Int32Array,
  count: number,
  max: number,
  random: RandomSource,
  out: Int32Array,
): number {
  for (let i = 0; i < max; i++) {
    const at = i + below(random, count - i);
    out[i] = found[at];
    found[at] = found[i];
  }
  return max;
}

/**
 * The `count` smallest primes above `from`, by trial division; once per process, about a
 * millisecond.
 */
function primesAbove(from: number, count: number): Int32Array {
  const primes = new Int32Array(count);
  let candidate = from | 1;
  for (let i = 0; i < count; candidate += 2) {
    let isPrime = true;
    for (let d = 3; isPrime && d * d <= candidate; d += 2) isPrime = candidate % d !== 0;
    if (isPrime) primes[i++] = candidate;
  }
  return primes;
}
