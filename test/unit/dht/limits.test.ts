/** What bounds who may cause what: rates by network, and what has passed a moment ago. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RateSketch } from '../../../workers/dht/rate-sketch.ts';
import { RelayGuard } from '../../../workers/dht/relay-guard.ts';
import { Rng } from '../../../workers/rng.ts';

const START = 1_700_000_000_000;
const RATE = { perSecond: 10, burst: 30 };

describe('a rate sketch', () => {
  test('gives a burst, then a steady rate, then a burst again', () => {
    const sketch = new RateSketch(new Rng(1), RATE);
    const spend = (times: number, nowMs: number) => {
      let taken = 0;
      for (let i = 0; i < times; i++) if (sketch.take(5, 4, nowMs)) taken++;
      return taken;
    };
    assert.equal(spend(100, START), 30);
    assert.equal(spend(100, START + 99), 0);
    assert.equal(spend(100, START + 100), 1);
    let taken = 0;
    for (let ms = 100; ms <= 10_000; ms += 7) taken += spend(3, START + ms);
    assert.ok(Math.abs(taken - 99) <= 1, `${taken} taken`);
    assert.equal(spend(100, START + 3_600_000), 30);
  });

  test('says what is left without counting it', () => {
    const sketch = new RateSketch(new Rng(1), RATE);
    for (let i = 0; i < 100; i++) assert.equal(sketch.has(5, 4, START), true);
    for (let i = 0; i < 30; i++) assert.equal(sketch.take(5, 4, START), true);
    assert.equal(sketch.has(5, 4, START), false);
    assert.equal(sketch.has(5, 4, START + 100), true);
  });

  test('keys do not share, but by chance', () => {
    const sketch = new RateSketch(new Rng(1), RATE);
    let taken = 0;
    for (let key = 0; key < 1000; key++) if (sketch.take(key, 4, START)) taken++;
    assert.equal(taken, 1000);
    for (let i = 0; i < 100; i++) sketch.take(-1, 4, START);
    assert.equal(sketch.take(-1, 4, START), false);
    assert.equal(sketch.take(-1, 6, START), true);
  });

  test('nobody gets more than the rate, however many others there are', () => {
    const sketch = new RateSketch(new Rng(1), RATE, 64);
    const rng = new Rng(2);
    let taken = 0;
    for (let ms = 0; ms < 10_000; ms++) {
      sketch.take(rng.next() | 0, 4, START + ms);
      if (sketch.take(7, 4, START + ms)) taken++;
    }
    assert.ok(taken <= 30 + 100, `${taken} taken`);
  });

  test('time may wrap, stand still and go back a little', () => {
    const sketch = new RateSketch(new Rng(1), RATE);
    const late = 2 ** 31 * 791 - 1000;
    for (let i = 0; i < 30; i++) assert.ok(sketch.take(1, 4, late));
    assert.equal(sketch.take(1, 4, late - 500), false);
    assert.equal(sketch.take(1, 4, late + 2000), true);
  });

  test('cells are a power of two', () => {
    for (const cells of [0, 3, 100, 2 ** 17]) {
      assert.throws(() => new RateSketch(new Rng(1), RATE, cells), /powers of two up to 65536/);
    }
  });
});

describe('a relay guard', () => {
  const HOST = 0x01020304;

  test('knows what was noted, so long and so often', () => {
    const guard = new RelayGuard(new Rng(1), 64, 1000);
    assert.equal(guard.take(HOST, 1, 2, 3, START), false);
    guard.note(HOST, 1, 2, 3, START);
    assert.equal(guard.has(HOST, 1, 2, 3, START + 999), true);
    assert.equal(guard.has(HOST, 1, 2, 3, START + 1000), false);
    assert.equal(guard.take(HOST, 1, 2, 3, START + 999), true);
    assert.equal(guard.take(HOST, 1, 2, 3, START + 999), false);
  });

  test('every part of a key counts', () => {
    const guard = new RelayGuard(new Rng(1), 64, 1000);
    guard.note(HOST, 0xffff, 0xffff, -1, START);
    assert.equal(guard.has(HOST, 0xffff, 0xffff, -1, START), true);
    assert.equal(guard.has(HOST + 1, 0xffff, 0xffff, -1, START), false);
    assert.equal(guard.has(HOST, 0xfffe, 0xffff, -1, START), false);
    assert.equal(guard.has(HOST, 0xffff, 0xfffe, -1, START), false);
    assert.equal(guard.has(HOST, 0xffff, 0xffff, 1, START), false);
  });

  test('more than eight times in a row are eight', () => {
    const guard = new RelayGuard(new Rng(1), 64, 1000);
    for (let i = 0; i < 20; i++) guard.note(HOST, 1, 2, 3, START);
    let taken = 0;
    while (guard.take(HOST, 1, 2, 3, START)) taken++;
    assert.equal(taken, 8);
  });

  test('a flood makes the oldest be forgotten, not the newest', () => {
    const guard = new RelayGuard(new Rng(1), 256, 10_000);
    for (let i = 0; i < 10_000; i++) {
      guard.note(i, 1, 2, 3, START + i);
      assert.equal(guard.has(i, 1, 2, 3, START + i), true);
    }
    let kept = 0;
    for (let i = 0; i < 10_000; i++) if (guard.has(i, 1, 2, 3, START + 9999)) kept++;
    assert.equal(kept, 256);
    for (let i = 9990; i < 10_000; i++) assert.ok(guard.has(i, 1, 2, 3, START + 9999));
  });

  test('what is weeks old does not come back when the time wraps', () => {
    const guard = new RelayGuard(new Rng(1), 64, 1000);
    guard.note(HOST, 1, 2, 3, START);
    for (let day = 1; day < 60; day++) {
      assert.equal(guard.has(HOST, 1, 2, 3, START + day * 86_400_000 - 777), false, `day ${day}`);
    }
  });
});
