/**
 * The promise of the rate limiter: over any 10 seconds no prefix is sent more than three times what
 * came from it, beyond the stated budget; whatever the traffic, however late the answers.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  AMPLIFICATION_BURST_BYTES,
  AMPLIFICATION_BYTES_PER_SECOND,
} from '../../server/limits/rate-limiter.ts';
import { BUDGET_SILENT, BUDGET_TRUNCATED } from '../../workers/slab.ts';
import { Asker, makeLimiter, networkOf, START_MS } from '../unit/limits/fixture.ts';
import { SeededRandom } from '../unit/store/fixture.ts';

const WINDOW_MS = 10_000;
const BUDGET = AMPLIFICATION_BURST_BYTES + (AMPLIFICATION_BYTES_PER_SECOND * WINDOW_MS) / 1000;
const SLOTS = 256;
const SPAN_MS = 40_000;

interface Traffic {
  readonly seed: number;
  readonly rate: number;
  readonly prefixes: number;
  /** The longest an answer is under way. */
  readonly delayMs: number;
  /** The longest pause between datagrams. */
  readonly pauseMs: number;
  readonly ipv6: boolean;
}

interface Pending {
  readonly prefix: number;
  readonly asked: number;
  readonly dueMs: number;
}

/** Bytes sent beyond three times the question, by prefix: [time, bytes]. */
type Excesses = Map<number, (readonly [number, number])[]>;

function run(traffic: Traffic): Excesses {
  const random = new SeededRandom(traffic.seed);
  const asker = new Asker(
    makeLimiter({ rate: traffic.rate, hashKey: [random.next(), random.next()] }),
    SLOTS,
  );
  const headers = traffic.ipv6 ? 48 : 28;
  const pending: (Pending | null)[] = Array(SLOTS).fill(null);
  const excesses: Excesses = new Map();
  const finish = (slot: number): void => {
    const item = pending[slot];
    if (item === null) return;
    pending[slot] = null;
    const budget = asker.budget(slot);
    if (random.chance(0.1)) {
      asker.prove(slot);
      asker.answer(1232, slot);
      return;
    }
    let most = budget;
    if (budget === BUDGET_TRUNCATED) most = asker.mostTruncated(item.asked, slot);
    const length = random.chance(0.1) ? 0 : random.chance(0.6) ? most : random.below(most + 1);
    asker.answer(budget === BUDGET_SILENT ? 0 : length, slot);
    if (budget === BUDGET_SILENT || length === 0) return;
    const excess = length + headers - 3 * (item.asked + headers);
    if (excess <= 0) return;
    const list = excesses.get(item.prefix) ?? [];
    list.push([asker.nowMs, excess]);
    excesses.set(item.prefix, list);
  };
  while (asker.nowMs < START_MS + SPAN_MS) {
    asker.nowMs += random.below(traffic.pauseMs + 1);
    for (let slot = 0; slot < SLOTS; slot++) {
      if ((pending[slot]?.dueMs ?? Number.POSITIVE_INFINITY) <= asker.nowMs) finish(slot);
    }
    for (let burst = 1 + random.below(40); burst > 0; burst--) {
      const slot = random.below(SLOTS);
      finish(slot);
      const prefix = random.chance(0.5) ? 0 : random.below(traffic.prefixes);
      const asked = random.chance(0.5) ? 12 + random.below(30) : 12 + random.below(400);
      const address = traffic.ipv6
        ? `2001:db8:${prefix.toString(16)}:${random.below(256).toString(16)}::1`
        : networkOf(0x0a0000 + prefix);
      asker.ask(address, asked, random.below(2), slot);
      pending[slot] = { prefix, asked, dueMs: asker.nowMs + random.below(traffic.delayMs + 1) };
    }
  }
  return excesses;
}

/** The most bytes in any window. */
function worstWindow(list: readonly (readonly [number, number])[]): number {
  let sum = 0;
  let worst = 0;
  let first = 0;
  for (const [at, bytes] of list) {
    sum += bytes;
    while (list[first][0] <= at - WINDOW_MS) sum -= list[first++][1];
    worst = Math.max(worst, sum);
  }
  return worst;
}

test('amplification over any 10 s is at most 3x and the budget', () => {
  let highest = 0;
  fc.assert(
    fc.property(
      fc.record({
        seed: fc.integer(),
        rate: fc.constantFrom(5, 200, 1_000_000),
        prefixes: fc.constantFrom(1, 5, 1000),
        delayMs: fc.constantFrom(0, 5, 3000, 6000),
        pauseMs: fc.constantFrom(0, 3, 400).map((ms) => ms + 20),
        ipv6: fc.boolean(),
      }),
      (traffic) => {
        for (const [prefix, list] of run(traffic)) {
          const worst = worstWindow(list);
          highest = Math.max(highest, worst);
          assert.ok(worst <= BUDGET, `prefix ${prefix}: ${worst} of ${BUDGET} bytes`);
        }
      },
    ),
    { numRuns: 40, seed: 20 },
  );
  // The traffic tries: it comes near what is allowed.
  assert.ok(highest > BUDGET * 0.8, `${highest} of ${BUDGET}`);
});
