/** A slab whose slots are filled by hand, and a limiter to ask about them. */
import { CidrList } from '../../../server/limits/cidr.ts';
import { RateLimiter } from '../../../server/limits/rate-limiter.ts';
import { writeAddress } from '../../../server/net/ip-address.ts';
import { headerBytes, unamplifiedBytes } from '../../../workers/amplification.ts';
import {
  BUDGET_TRUNCATED,
  SLOT_ADDRESS,
  SLOT_BUDGET,
  SLOT_BYTES,
  SLOT_FAMILY,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_PROVEN,
  SLOT_STATE,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_UDP,
} from '../../../workers/slab.ts';

export const HASH_KEY = [0x01234567, 0x89abcdef] as const;
export const START_MS = 1_700_000_000_000;

export interface LimitSettings {
  readonly rate?: number;
  readonly exempt?: string;
  readonly hashKey?: readonly [number, number];
}

export function makeLimiter(settings: LimitSettings = {}): RateLimiter {
  return new RateLimiter({
    repliesPerSecond: settings.rate ?? 1_000_000,
    exempt: CidrList.parse(settings.exempt ?? ''),
    hashKey: settings.hashKey ?? HASH_KEY,
  });
}

/** Puts a query by UDP of `length` bytes into a slot. */
export function arrive(
  slab: Slab,
  slot: number,
  address: string,
  length: number,
  additionals = 0,
): void {
  const base = slot * SLOT_BYTES;
  slab.bytes.fill(0, base, base + SLOT_HEADER_BYTES + 12);
  slab.bytes[base + SLOT_FAMILY] = writeAddress(address, slab.bytes, base + SLOT_ADDRESS);
  slab.bytes[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
  slab.i32[(base + SLOT_LENGTH) >> 2] = length;
  slab.bytes[base + SLOT_HEADER_BYTES + 11] = additionals;
}

/** The n-th IPv4 /24, as an address of it. */
export function networkOf(n: number): string {
  return `${(n >>> 16) & 0xff}.${(n >>> 8) & 0xff}.${n & 0xff}.1`;
}

/** One client side: asks, and answers by hand, one datagram per slot. */
export class Asker {
  readonly limiter: RateLimiter;
  readonly slab: Slab;
  nowMs = START_MS;

  constructor(limiter: RateLimiter, slots = 1) {
    this.limiter = limiter;
    this.slab = Slab.allocate(slots);
  }

  /** The verdict on a query that stays in `slot`. */
  ask(address: string, length = 40, additionals = 0, slot = 0): number {
    arrive(this.slab, slot, address, length, additionals);
    return this.limiter.admit(this.slab, slot, this.nowMs);
  }

  /** The verdicts on `count` queries, each answered as long as it may be. */
  askMany(count: number, address: string, length = 40, additionals = 0): number[] {
    return Array.from({ length: count }, () => {
      const verdict = this.ask(address, length, additionals);
      this.answer(this.budget() === BUDGET_TRUNCATED ? this.mostTruncated(length) : this.budget());
      return verdict;
    });
  }

  budget(slot = 0): number {
    return this.slab.i32[(slot * SLOT_BYTES + SLOT_BUDGET) >> 2];
  }

  /** The lane's answer of `length` bytes comes back. */
  answer(length: number, slot = 0): void {
    this.slab.i32[(slot * SLOT_BYTES + SLOT_LENGTH) >> 2] = Math.max(0, length);
    this.limiter.settle(this.slab, slot);
  }

  /** The longest truncated answer to the query of `asked` bytes in `slot`. */
  mostTruncated(asked: number, slot = 0): number {
    const family = this.slab.bytes[slot * SLOT_BYTES + SLOT_FAMILY];
    return unamplifiedBytes(asked, headerBytes(family));
  }

  prove(slot = 0): void {
    this.slab.bytes[slot * SLOT_BYTES + SLOT_STATE] = SLOT_PROVEN;
  }
}

/** How often each verdict is among `verdicts`. */
export function tally(verdicts: readonly number[]): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const verdict of verdicts) counts[verdict] = (counts[verdict] ?? 0) + 1;
  return counts;
}
