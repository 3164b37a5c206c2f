/** Pushes one network may cause, on a fake clock. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  LEAST_PUSH_BURST,
  PUSH_BURST,
  PUSHES_PER_SECOND,
  PushBudget,
} from '../../../workers/push-budget.ts';
import { PUSHES_PER_ANNOUNCE } from '../../../workers/pusher.ts';
import { Rng } from '../../../workers/rng.ts';
import { Slab } from '../../../workers/slab.ts';
import { arrive, networkOf, START_MS } from '../limits/fixture.ts';
import { SeededRandom } from '../store/fixture.ts';

class Source {
  readonly #budget: PushBudget;
  readonly #slab = Slab.allocate(1);

  constructor(lanes = 1) {
    this.#budget = new PushBudget(new Rng(3), lanes);
  }

  allowance(address: string, nowMs: number): number {
    arrive(this.#slab, 0, address, 40);
    return this.#budget.allowance(this.#slab, 0, nowMs);
  }

  /** How many of `wanted` pushes are made. */
  push(address: string, wanted: number, nowMs: number): number {
    const made = Math.min(wanted, this.allowance(address, nowMs));
    this.#budget.spend(made);
    return made;
  }
}

test('a burst, then a steady rate', () => {
  const source = new Source();
  const host = '192.0.2.1';
  let made = 0;
  for (let i = 0; i < 100; i++) made += source.push(host, 16, START_MS);
  assert.equal(made, PUSH_BURST);
  assert.equal(source.allowance(host, START_MS + 15), 0);
  assert.equal(source.allowance(host, START_MS + 16), 1);
  made = 0;
  for (let ms = 16; ms <= 10_000; ms++) made += source.push(host, 16, START_MS + ms);
  assert.equal(made, PUSHES_PER_SECOND * 10);
  assert.equal(source.allowance(host, START_MS + 3_600_000), PUSH_BURST);
});

test('a network shares one budget, others have their own', () => {
  const source = new Source();
  source.push('192.0.2.1', 100, START_MS);
  assert.equal(source.allowance('192.0.2.77', START_MS), PUSH_BURST - 100);
  assert.equal(source.allowance('192.0.3.1', START_MS), PUSH_BURST);
  source.push('2001:db8:0:1::1', 7, START_MS);
  assert.equal(source.allowance('2001:db8:0:ff::1', START_MS), PUSH_BURST - 7);
  assert.equal(source.allowance('2001:db8:0:100::1', START_MS), PUSH_BURST);
});

test('a time that wraps or goes back harms nothing', () => {
  for (const wrap of [2 ** 31, 2 ** 32]) {
    const source = new Source();
    source.push('192.0.2.1', 512, wrap - 500);
    assert.equal(source.allowance('192.0.2.1', wrap + 500), PUSHES_PER_SECOND);
    assert.equal(source.allowance('192.0.2.1', wrap - 500), PUSHES_PER_SECOND);
    assert.equal(source.allowance('192.0.2.1', wrap + 1500), 2 * PUSHES_PER_SECOND);
    assert.equal(source.allowance('192.0.2.1', wrap + 2 ** 31 + 5000), PUSH_BURST);
  }
});

test('nobody gets more than his own, in any crowd', () => {
  const seed = 14;
  const random = new SeededRandom(seed);
  const source = new Source();
  // Debts as they are, in thousandths.
  const debts = new Map<number, [number, number]>();
  let now = START_MS;
  let made = 0;
  for (let i = 0; i < 200_000; i++) {
    if (i % 100 === 0) now += random.below(20);
    const network = random.chance(0.1) ? random.below(5) : random.below(20_000);
    const [debt, at] = debts.get(network) ?? [0, now];
    const owed = Math.max(0, debt - (now - at) * PUSHES_PER_SECOND);
    const got = source.push(networkOf(0x0a0000 + network), 16, now);
    assert.ok(owed + got * 1000 <= PUSH_BURST * 1000, `seed ${seed}, push ${i}`);
    debts.set(network, [owed + got * 1000, now]);
    made += got;
  }
  assert.ok(made > 0);
});

test('fault: with N lanes a network caused N times the pushes', () => {
  for (const [lanes, rate, burst] of [
    [1, 64, 512],
    [3, 22, 171],
    [16, 4, 32],
    [64, 1, 16],
  ]) {
    const sources = Array.from({ length: lanes }, () => new Source(lanes));
    const push = (nowMs: number): number =>
      sources.reduce((sum, source) => sum + source.push('192.0.2.1', 1000, nowMs), 0);
    assert.equal(push(START_MS), lanes * burst, `${lanes} lanes`);
    let made = 0;
    for (let ms = 100; ms <= 10_000; ms += 100) made += push(START_MS + ms);
    assert.equal(made, 10 * lanes * rate, `${lanes} lanes`);
    assert.ok(lanes * rate < PUSHES_PER_SECOND + lanes);
  }
  assert.equal(LEAST_PUSH_BURST, PUSHES_PER_ANNOUNCE);
});
