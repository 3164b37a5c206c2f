/** Signatures checked in a pool of threads and on the thread itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../server/clock.ts';
import {
  BUSY_DATAGRAMS,
  DEFAULT_QUEUE_SLOTS,
  defaultThreads,
  InlineVerifier,
  MOST_THREADS,
  PoolVerifier,
  type Verifier,
} from '../../../server/dht/verifier.ts';
import { VERIFY_BATCH } from '../../../server/dht/verifier-task.ts';
import { SLOTS_PER_THREAD } from '../../../server/dht/verifier-threads.ts';
import { SLOT_BYTES, SLOT_STATE } from '../../../workers/slab.ts';
import { assertChecked, Collector, fillAll, SLOTS, stateOf } from './checked-slots.ts';
import { makeMemory } from './fixture.ts';

for (const wakesByMessage of [false, true]) {
  const how = wakesByMessage ? 'messages' : 'an event, where there is the addon';
  test(`a pool says of every slot whether its signature is genuine: by ${how}`, async () => {
    const { slab, table } = makeMemory(SLOTS);
    fillAll(slab, 1);
    const back = new Collector();
    const options = { threads: 2, wakesByMessage };
    const verifier = new PoolVerifier({ slab, table, onDone: back.onDone }, systemClock, options);
    // The first ones wait for the pool to be loaded.
    for (let slot = 0; slot < SLOTS; slot++) assert.ok(verifier.submit(slot));
    assert.equal(verifier.pending, SLOTS);
    assert.deepEqual(back.slots, []);
    await back.until(SLOTS);
    assertChecked(slab, back.slots, SLOTS);
    assert.equal(verifier.pending, 0);
    assert.equal(verifier.failed, 0);
    // One that comes alone finds the threads asleep.
    for (const slot of [3, 4]) {
      const before = back.slots.length;
      assert.ok(verifier.submit(slot));
      await back.until(before + 1);
    }
    await verifier.close();
    assert.equal(verifier.threads.length, 0);
    assert.ok(!verifier.submit(1), 'closed');
  });
}

test('a full queue refuses, and has room again when slots have come back', async () => {
  const { slab, table } = makeMemory(SLOTS);
  fillAll(slab, 2);
  const back = new Collector();
  const options = { threads: 1, queueSlots: 4 };
  const verifier = new PoolVerifier({ slab, table, onDone: back.onDone }, systemClock, options);
  await verifier.warm();
  let taken = 0;
  while (taken < SLOTS && verifier.submit(taken)) taken++;
  assert.equal(taken, SLOTS_PER_THREAD + options.queueSlots);
  await back.until(taken);
  assert.ok(verifier.submit(taken));
  await back.until(taken + 1);
  assertChecked(slab, back.slots, taken + 1);
  await verifier.close();
});

test('slots of a thread that dies come back as failed, and others are checked', async () => {
  const { slab, table } = makeMemory(SLOTS);
  fillAll(slab, 3);
  const back = new Collector();
  const verifier = new PoolVerifier({ slab, table, onDone: back.onDone }, systemClock, {
    threads: 1,
  });
  await verifier.warm();
  for (let round = 1; round <= 3; round++) {
    const before = { slots: back.slots.length, failed: verifier.failed };
    for (let slot = 0; slot < SLOTS; slot++) assert.ok(verifier.submit(slot));
    const [thread] = verifier.threads;
    await thread.terminate();
    await back.until(before.slots + SLOTS);
    const failed = verifier.failed - before.failed;
    // What was under way, unless it was done when the thread died.
    assert.ok(failed <= SLOTS_PER_THREAD, `round ${round}: ${failed} failed`);
    assert.equal(verifier.pending, 0);
    const checked = back.slots.slice(before.slots).filter((slot) => stateOf(slab, slot) !== 0);
    assert.ok(checked.length >= SLOTS - failed);
    assertChecked(slab, checked, checked.length);
    for (const slot of checked) slab.bytes[slot * SLOT_BYTES + SLOT_STATE] = 0;
  }
  assert.ok(verifier.failed > 0, 'no thread died at its work');
  await verifier.close();
});

test('closing gives back all: what is in the queue unchecked, what is under way', async () => {
  const { slab, table } = makeMemory(SLOTS);
  fillAll(slab, 4);
  const back = new Collector();
  const verifier = new PoolVerifier({ slab, table, onDone: back.onDone }, systemClock, {
    threads: 1,
  });
  await verifier.warm();
  for (let slot = 0; slot < SLOTS; slot++) verifier.submit(slot);
  await verifier.close();
  assert.equal(back.slots.length, SLOTS);
  assert.equal(verifier.pending, 0);
  assert.ok(verifier.failed >= SLOTS - SLOTS_PER_THREAD, `${verifier.failed} failed`);
});

test('closing one that never had anything to do loads nothing', async () => {
  const { slab, table } = makeMemory(1);
  const verifier: Verifier = new PoolVerifier({ slab, table, onDone: assert.fail }, systemClock);
  await verifier.close();
  assert.equal(verifier.pending, 0);
});

test('by default there are as many threads as cores but one, and at most four', () => {
  assert.deepEqual([1, 2, 3, 5, 6, 128].map(defaultThreads), [1, 1, 2, 4, 4, MOST_THREADS]);
});

test('without threads a batch is checked in each turn, one when sockets are busy', async () => {
  const { slab, table } = makeMemory(SLOTS);
  fillAll(slab, 5);
  const back = new Collector();
  const turns: (() => void)[] = [];
  const clock = { soon: (fn: () => void) => void turns.push(fn) };
  let received = 1000;
  const parts = { slab, table, onDone: back.onDone };
  const verifier = new InlineVerifier(parts, clock, () => received);
  for (let slot = 0; slot < SLOTS; slot++) assert.ok(verifier.submit(slot));
  assert.equal(verifier.pending, SLOTS);
  assert.deepEqual(back.slots, []);
  const expected = [1, VERIFY_BATCH, VERIFY_BATCH, 1];
  const checked: number[] = [];
  for (const came of [0, 0, BUSY_DATAGRAMS - 1, BUSY_DATAGRAMS]) {
    received += came;
    assert.equal(turns.length, 1);
    turns.pop()?.();
    checked.push(back.slots.length - checked.reduce((sum, count) => sum + count, 0));
  }
  assert.deepEqual(checked, expected);
  while (turns.length > 0) turns.pop()?.();
  assertChecked(slab, back.slots, SLOTS);
  assert.equal(verifier.pending, 0);
  for (let i = 0; i < DEFAULT_QUEUE_SLOTS; i++) assert.ok(verifier.submit(1));
  assert.ok(!verifier.submit(1));
  await verifier.close();
  assert.equal(verifier.pending, 0);
});
