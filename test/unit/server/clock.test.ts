import assert from 'node:assert/strict';
import { test } from 'node:test';
import { steadyTime, systemClock } from '../../../server/clock.ts';

test('time follows the wall clock forward, and goes on when that is set back', () => {
  let wall = 1_000_000;
  let monotonic = 50;
  const now = steadyTime(
    () => wall,
    () => monotonic,
  );
  const pass = (ms: number): void => {
    wall += ms;
    monotonic += ms;
  };
  assert.equal(now(), 1_000_000);
  pass(10);
  assert.equal(now(), 1_000_010);
  wall += 3_600_000;
  assert.equal(now(), 4_600_010, 'set forward');
  wall -= 3_600_000;
  assert.equal(now(), 4_600_010, 'set back');
  pass(500);
  assert.equal(now(), 4_600_510, 'and on at the pace of real time');
  wall += 3_600_000;
  pass(1);
  assert.equal(now(), 4_600_511, 'the wall clock has caught up');
});

test('the system clock tells about the time', () => {
  assert.ok(Math.abs(systemClock.now() - Date.now()) < 1000);
});
