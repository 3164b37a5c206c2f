import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CongestionWindow, SLOT_MS } from '../../../server/dht/congestion.ts';

const T0 = 1_000_000;

function send(window: CongestionWindow, count: number, now: number): void {
  for (let i = 0; i < count; i++) window.sent(now);
}

describe('congestion window', () => {
  test('so many may be sent within a slot, and answers make room', () => {
    const window = new CongestionWindow(3, T0);
    send(window, 2, T0);
    assert.equal(window.isFull(T0), false);
    window.sent(T0);
    assert.equal(window.isFull(T0), true);
    window.settled(T0);
    assert.equal(window.isFull(T0), false);
  });

  test('the next slot has room of its own, but twice a slot is the most', () => {
    const window = new CongestionWindow(3, T0);
    send(window, 3, T0);
    assert.equal(window.isFull(T0 + SLOT_MS - 1), true);
    assert.equal(window.isFull(T0 + SLOT_MS), false);
    send(window, 3, T0 + SLOT_MS);
    assert.equal(window.isFull(T0 + 2 * SLOT_MS), true);
    assert.equal(window.isFull(T0 + 3 * SLOT_MS), true);
  });

  test('what was never answered is forgotten when all slots have turned', () => {
    const window = new CongestionWindow(3, T0);
    send(window, 3, T0);
    send(window, 3, T0 + SLOT_MS);
    assert.equal(window.isFull(T0 + 4 * SLOT_MS), false);
  });

  test('a long rest turns all slots at once', () => {
    const window = new CongestionWindow(3, T0);
    send(window, 6, T0);
    assert.equal(window.isFull(T0 + 1000 * SLOT_MS + 17), false);
    assert.equal(window.turnsAt, T0 + 1001 * SLOT_MS);
  });

  test('an answer to what an earlier slot sent never makes room below nothing', () => {
    const window = new CongestionWindow(2, T0);
    window.sent(T0);
    window.settled(T0 + SLOT_MS);
    window.settled(T0 + SLOT_MS);
    send(window, 2, T0 + SLOT_MS);
    assert.equal(window.isFull(T0 + SLOT_MS), true);
  });

  test('cleared, it is as new', () => {
    const window = new CongestionWindow(2, T0);
    send(window, 4, T0);
    window.clear();
    assert.equal(window.isFull(T0), false);
  });
});
