/** Threads that check signatures and die, at their work or before, or hang. */
import assert from 'node:assert/strict';
import { test as nodeTest, type TestContext } from 'node:test';
import {
  FIRST_RETRY_MS,
  HANG_LOOKS,
  MAX_RETRY_MS,
  PoolVerifier,
  type PoolVerifierOptions,
  WATCH_MS,
} from '../../../server/dht/pool-verifier.ts';
import { SLOTS_PER_THREAD } from '../../../server/dht/verifier-threads.ts';
import type { Slab } from '../../../workers/slab.ts';
import { StillClock, settle } from '../../helpers/dht-node-clock.ts';
import { watchVerifierThreads } from '../../helpers/verifier-threads.ts';
import { assertChecked, Collector, fillAll, SLOTS, stateOf } from './checked-slots.ts';
import { makeMemory } from './fixture.ts';

const TIMEOUT_MS = 60_000;
const BAD_TASK = new URL('./bad-task.mjs', import.meta.url);

/** Knows how often somebody has wanted to be called after a while. */
class CountingClock extends StillClock {
  calls = 0;

  override after(delayMs: number, fn: () => void): () => void {
    this.calls++;
    return super.after(delayMs, fn);
  }
}

interface Bench {
  readonly slab: Slab;
  readonly back: Collector;
  readonly clock: CountingClock;
  readonly notices: string[];
  readonly verifier: PoolVerifier;
}

function bench(t: TestContext, seed: number, options: PoolVerifierOptions = {}): Bench {
  const { slab, table } = makeMemory(SLOTS);
  fillAll(slab, seed);
  const back = new Collector();
  const clock = new CountingClock();
  const notices: string[] = [];
  const notice = (line: string) => void notices.push(line);
  const verifier = new PoolVerifier({ slab, table, onDone: back.onDone }, clock, {
    threads: 1,
    notice,
    ...options,
  });
  t.after(() => verifier.close());
  return { slab, back, clock, notices, verifier };
}

const test = (title: string, body: (t: TestContext) => Promise<void>): void =>
  void nodeTest(title, { timeout: TIMEOUT_MS }, body);

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await settle();
}

function submitAll(verifier: PoolVerifier): number {
  let taken = 0;
  while (taken < SLOTS && verifier.submit(taken)) taken++;
  return taken;
}

test('threads that die twice in a row, the second time before they have loaded', async (t) => {
  const { slab, back, clock, notices, verifier } = bench(t, 11);
  await verifier.warm();
  assert.equal(submitAll(verifier), SLOTS);
  await verifier.threads[0].terminate();
  await until(() => clock.calls === 1);
  // What was under way has come back, as far as it was not done, and the queue waits.
  assert.ok(verifier.failed <= SLOTS_PER_THREAD, `${verifier.failed} failed`);
  assert.equal(verifier.pending, SLOTS - back.slots.length);
  clock.advance(FIRST_RETRY_MS);
  await until(() => verifier.threads.length === 1);
  await verifier.threads[0].terminate();
  // Nobody knows when there will be threads again: nothing waits for them.
  await back.until(SLOTS);
  assert.equal(verifier.pending, 0);
  const unchecked = back.slots.filter((slot) => stateOf(slab, slot) === 0);
  assert.equal(verifier.failed, unchecked.length);
  assert.ok(unchecked.length > 0);
  assert.equal(submitAll(verifier), 0);
  assert.deepEqual(notices, [
    'a thread that checks signatures ended (it exited with 1); trying others',
  ]);
  clock.advance(2 * FIRST_RETRY_MS);
  await verifier.warm();
  for (const slot of unchecked) assert.ok(verifier.submit(slot));
  await back.until(SLOTS + unchecked.length);
  const checked = back.slots.slice(SLOTS);
  assertChecked(slab, checked, unchecked.length);
  assert.equal(notices.at(-1), 'signatures are checked again');
});

for (const how of ['exit', 'throw']) {
  test(`threads that never start (${how}): tried ever later, and nothing waits`, async (t) => {
    const entry = new URL(`?${how}`, BAD_TASK);
    const { back, clock, notices, verifier } = bench(t, 12, { entry, threads: 2 });
    assert.equal(submitAll(verifier), SLOTS, 'before anybody knows');
    await back.until(SLOTS);
    assert.equal(verifier.failed, SLOTS);
    let delayMs = FIRST_RETRY_MS;
    for (let tries = 0; tries < 9; tries++) {
      await until(() => clock.calls === 1 + tries);
      assert.equal(verifier.pending, 0);
      assert.equal(submitAll(verifier), 0);
      clock.advance(delayMs - 1);
      await settle();
      assert.deepEqual(verifier.threads, [], `try ${tries}: too soon`);
      clock.advance(1);
      await until(() => verifier.threads.length === 2);
      delayMs = Math.min(2 * delayMs, MAX_RETRY_MS);
    }
    assert.equal(delayMs, MAX_RETRY_MS);
    const why = how === 'exit' ? 'it exited with 1' : 'nothing works here';
    assert.deepEqual(notices, [
      `a thread that checks signatures does not start (${why}); trying others`,
    ]);
  });
}

test('a system without threads to give ends nothing, and is asked again', async (t) => {
  let left = 1;
  watchVerifierThreads(t, { mayStart: () => left-- > 0 });
  const { back, clock, notices, verifier } = bench(t, 20);
  await verifier.warm();
  await verifier.threads[0].terminate();
  await until(() => clock.calls === 1);
  clock.advance(FIRST_RETRY_MS);
  await until(() => clock.calls === 2);
  assert.ok(!verifier.submit(0));
  assert.equal(notices.length, 1);
  left = 1;
  clock.advance(2 * FIRST_RETRY_MS);
  await verifier.warm();
  assert.ok(verifier.submit(0));
  await back.until(1);
  assert.equal(verifier.failed, 0);
});

test('with fewer threads than wanted there are none', async (t) => {
  let left = 2;
  const { started } = watchVerifierThreads(t, { mayStart: () => left-- > 0 });
  const { verifier } = bench(t, 21, { threads: 3 });
  await verifier.warm();
  assert.ok(!verifier.submit(0));
  assert.deepEqual(
    started.map(({ threadId }) => threadId),
    [-1, -1],
  );
});

test('warming up resolves when the threads do not start', async (t) => {
  const { verifier } = bench(t, 13, { entry: new URL('?throw', BAD_TASK) });
  await verifier.warm();
  await verifier.warm();
  assert.ok(!verifier.submit(0));
});

test('threads that hang as they load are ended', async (t) => {
  const entry = new URL('?hang', BAD_TASK);
  const { back, clock, notices, verifier } = bench(t, 14, { entry });
  assert.equal(submitAll(verifier), SLOTS);
  await until(() => verifier.threads.length === 1);
  clock.advance(WATCH_MS * HANG_LOOKS - 1);
  await settle();
  assert.equal(verifier.pending, SLOTS);
  clock.advance(1);
  await back.until(SLOTS);
  assert.equal(verifier.failed, SLOTS);
  assert.match(notices[0], /does not start \(it hung\)/);
});

test('a check that hangs ends the threads; the rest waits for others', async (t) => {
  const entry = new URL('?stuck', BAD_TASK);
  const { back, clock, notices, verifier } = bench(t, 15, { entry });
  await verifier.warm();
  const [thread] = verifier.threads;
  assert.equal(submitAll(verifier), SLOTS);
  // The first look is what others are compared with.
  clock.advance(WATCH_MS * (HANG_LOOKS + 1) - 1);
  await settle();
  assert.equal(verifier.pending, SLOTS);
  clock.advance(1);
  await back.until(SLOTS_PER_THREAD);
  assert.equal(thread.threadId, -1, 'it has ended, and cannot write into them any more');
  assert.equal(verifier.failed, SLOTS_PER_THREAD);
  assert.equal(verifier.pending, SLOTS - SLOTS_PER_THREAD);
  assert.match(notices[0], /ended \(it hung\)/);
});

for (const how of ['crash', 'fail']) {
  test(`threads that die of every check (${how}) are followed by others ever later`, async (t) => {
    const entry = new URL(`?${how}`, BAD_TASK);
    const { back, clock, notices, verifier } = bench(t, 16, { entry });
    let delayMs = FIRST_RETRY_MS;
    assert.equal(submitAll(verifier), SLOTS);
    for (let tries = 1; back.slots.length < SLOTS; tries++) {
      await until(() => clock.calls === tries);
      clock.advance(delayMs - 1);
      await settle();
      assert.deepEqual(verifier.threads, []);
      clock.advance(1);
      delayMs *= 2;
    }
    assert.equal(verifier.failed, SLOTS);
    const why = how === 'crash' ? 'it exited with 1' : 'a slot that fails';
    assert.deepEqual(notices, [`a thread that checks signatures ended (${why}); trying others`]);
  });
}

test('a close does not wait for threads that hang, nor for the next try', async (t) => {
  for (const how of ['hang', 'stuck', 'exit']) {
    const entry = new URL(`?${how}`, BAD_TASK);
    const { back, clock, verifier } = bench(t, 18, { entry });
    if (how !== 'hang') await verifier.warm();
    submitAll(verifier);
    await settle();
    const closed = verifier.close();
    await settle();
    // A second is what a batch may take.
    clock.advance(1000);
    await closed;
    assert.equal(verifier.pending, 0, how);
    assert.equal(back.slots.length, how === 'exit' ? 0 : SLOTS, how);
    assert.equal(clock.pending, 0, how);
    assert.deepEqual(verifier.threads, []);
  }
});

test('a close before there are threads starts none', async (t) => {
  const { back, clock, verifier } = bench(t, 19);
  assert.ok(verifier.submit(1));
  await verifier.close();
  assert.deepEqual(back.slots, [1]);
  assert.equal(verifier.failed, 1);
  assert.equal(clock.pending, 0);
  assert.deepEqual(verifier.threads, []);
});
