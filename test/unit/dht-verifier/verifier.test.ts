/** Signatures checked in a pool of threads and on the thread itself. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../../server/clock.ts';
import { InlineVerifier } from '../../../server/dht/inline-verifier.ts';
import { defaultThreads, MOST_THREADS, PoolVerifier } from '../../../server/dht/pool-verifier.ts';
import { DEFAULT_QUEUE_SLOTS, type Verifier } from '../../../server/dht/verifier.ts';
import { VERIFY_BATCH } from '../../../server/dht/verifier-task.ts';
import { SLOTS_PER_THREAD } from '../../../server/dht/verifier-threads.ts';
import { Ring } from '../../../workers/ring.ts';
import { SLOT_BYTES, SLOT_STATE } from '../../../workers/slab.ts';
import { StillClock, settle } from '../../helpers/dht-node-clock.ts';
import { assertChecked, Collector, fillAll, SLOTS, stateOf } from './checked-slots.ts';
import { makeMemory } from './fixture.ts';

const WAKES_MS = 30_000;

for (const wakesByMessage of [false, true]) {
  const how = wakesByMessage ? 'messages' : 'an event, where there is the addon';
  // The clock stands still: nothing but being woken has main look.
  test(`a pool says of every slot whether its signature is genuine: by ${how}`, {
    timeout: WAKES_MS,
  }, async (t) => {
    const { slab, table } = makeMemory(SLOTS);
    fillAll(slab, 1);
    const back = new Collector();
    const clock = new StillClock();
    const options = { threads: 2, wakesByMessage };
    const verifier = new PoolVerifier({ slab, table, onDone: back.onDone }, clock, options);
    const rings = watchRings(t);
    // The first ones wait for the pool to be loaded.
    for (let slot = 0; slot < SLOTS; slot++) assert.ok(verifier.submit(slot));
    assert.equal(verifier.pending, SLOTS);
    assert.deepEqual(back.slots, []);
    await back.until(SLOTS);
    assertChecked(slab, back.slots, SLOTS);
    assert.equal(verifier.pending, 0);
    assert.equal(verifier.failed, 0);
    // Ones that come alone, to threads that sleep for ever unless they are woken.
    for (const slot of [3, 4, 5]) {
      while (!rings().every((ring) => ring.isArmed)) await settle();
      const before = back.slots.length;
      assert.ok(verifier.submit(slot));
      await back.until(before + 1);
    }
    await verifier.close();
    assert.equal(verifier.threads.length, 0);
    assert.ok(!verifier.submit(1), 'closed');
    assert.equal(clock.pending, 0);
  });
}

/** The rings that slots have gone by to threads since. */
function watchRings(t: TestContext): () => readonly Ring[] {
  const woken = new Set<Ring>();
  const { wake } = Ring.prototype;
  Ring.prototype.wake = function (this: Ring) {
    woken.add(this);
    wake.call(this);
  };
  t.after(() => {
    Ring.prototype.wake = wake;
  });
  return () => [...woken];
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
  assert.equal(verifier.failed, SLOTS - SLOTS_PER_THREAD);
  const checked = back.slots.filter((slot) => stateOf(slab, slot) !== 0);
  assertChecked(slab, checked, SLOTS_PER_THREAD);
});

test('threads that wait for work, or are ended, keep or lose no process', {
  timeout: WAKES_MS,
}, () => {
  const script = fileURLToPath(new URL('./warm.ts', import.meta.url));
  for (const how of ['leave', 'close']) {
    const args = ['--import', 'tsx', script, how];
    const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    assert.deepEqual([status, stdout], [0, `warm\n${how === 'close' ? 'closed\n' : ''}`]);
  }
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

test('without threads a batch is checked in each turn', async () => {
  const { slab, table } = makeMemory(SLOTS);
  fillAll(slab, 5);
  const back = new Collector();
  const turns: (() => void)[] = [];
  const clock = { soon: (fn: () => void) => void turns.push(fn) };
  const verifier = new InlineVerifier({ slab, table, onDone: back.onDone }, clock);
  for (let slot = 0; slot < SLOTS; slot++) assert.ok(verifier.submit(slot));
  assert.equal(verifier.pending, SLOTS);
  assert.deepEqual(back.slots, []);
  for (let checked = 0; checked < SLOTS; checked += VERIFY_BATCH) {
    assert.equal(back.slots.length, checked);
    assert.equal(turns.length, 1);
    turns.pop()?.();
  }
  assert.equal(turns.length, 0);
  assertChecked(slab, back.slots, SLOTS);
  assert.equal(verifier.pending, 0);
  for (let i = 0; i < DEFAULT_QUEUE_SLOTS; i++) assert.ok(verifier.submit(1));
  assert.ok(!verifier.submit(1));
  await verifier.close();
  assert.equal(verifier.pending, 0);
});
