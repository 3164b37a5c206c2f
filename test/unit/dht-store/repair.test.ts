/** A writer dies at any write of a change; its successor adopts the memory and repairs it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ArenaBuffers } from '../../../workers/dht/store/layout.ts';
import type { RecordStore } from '../../../workers/store/record-store.ts';
import { SeededRandom } from '../store/fixture.ts';
import { Interrupted, type Interrupter, interruptible } from '../store/interrupt.ts';
import { checkStore } from './check.ts';
import {
  bumpsOf,
  dump,
  makeWorld,
  modelBumps,
  type Operation,
  passTime,
  randomOperation,
  reopen,
  runOnModel,
  runOnStore,
  runOperation,
  type World,
} from './operations.ts';

type Rows = [string, string][];

function copyOf(buffers: ArenaBuffers): ArenaBuffers {
  const copy = (from: SharedArrayBuffer) => {
    const to = new SharedArrayBuffer(from.byteLength);
    new Uint8Array(to).set(new Uint8Array(from));
    return to;
  };
  const { header, rows, tables } = buffers;
  return { header: copy(header), rows: copy(rows), tables: tables.map(copy) };
}

/** What walks a record store's arrays walks those of any store. */
function killable(world: World): Interrupter {
  return interruptible(world.store as unknown as RecordStore);
}

/** Runs the operation until the write after `writes` writes; says whether that came. */
function isKilled(world: World, op: Operation, writes: number): boolean {
  killable(world).left = writes;
  try {
    runOnStore(world, op);
    return false;
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    return true;
  }
}

/** Each row is as before or after, what the change did not touch is there, in the same order. */
function assertWholeOrAbsent(rows: Rows, before: Rows, after: Rows): void {
  const old = new Map(before);
  const fresh = new Map(after);
  for (const [key, text] of rows) {
    assert.ok(old.get(key) === text || fresh.get(key) === text, `${key} is ${text}: torn`);
  }
  const moved = after.at(-1)?.[0];
  const keep = ([key, text]: [string, string]) => key !== moved && fresh.get(key) === text;
  assert.deepEqual(rows.filter(keep), before.filter(keep), 'others, in the order of their age');
}

/** Bumps as before, as after, or gone: with a row that was torn, or while it was changed. */
function assertBumps(bumps: number[], before: number[], after: number[], torn: boolean): void {
  for (const [t, bump] of bumps.entries()) {
    const isWhole = bump === before[t] || bump === after[t];
    const isGone = bump === 0 && (torn || before[t] !== after[t]);
    assert.ok(isWhole || isGone, `bump of ${t}: ${bump}, not ${before[t]} or ${after[t]}`);
  }
}

/** Kills the writer at each write of the operation in turn; returns how many there were. */
function killEverywhere(world: World, op: Operation): number {
  passTime(world, op);
  const { buffers } = world.store;
  const before: Rows = dump(world.store);
  const bumpsBefore = bumpsOf(world);
  runOnModel(world, op);
  const after = world.model.dump();
  const bumpsAfter = modelBumps(world);
  for (let writes = 0; ; writes++) {
    world.store = reopen(world, copyOf(buffers));
    const killed = isKilled(world, op, writes);
    const successor = reopen(world, world.store.buffers);
    // Killed between two changes of one tick: then nothing is amiss.
    if (!successor.needsRepair) checkStore(successor);
    const report = successor.repair();
    checkStore(successor);
    const rows = dump(successor);
    assert.equal(report.kept, rows.length);
    assert.ok(report.dropped <= 1, `${report.dropped} torn rows`);
    if (op.kind === 'tick') assert.deepEqual(rows, before.slice(before.length - rows.length));
    else assertWholeOrAbsent(rows, before, after);
    assertBumps(bumpsOf(world, successor), bumpsBefore, bumpsAfter, report.dropped > 0);
    world.store = successor;
    if (killed) continue;
    assert.deepEqual(rows, after);
    return writes;
  }
}

function runAndKill(peers: boolean, seed: number): number {
  const random = new SeededRandom(seed);
  const limit = [1, 2, 5, 20][random.below(4)];
  const targets = 1 + random.below(3);
  const world = makeWorld(peers, limit, targets, random.chance(0.3));
  const keys = 1 + limit;
  for (let i = random.below(limit * 4); i >= 0; i--) {
    runOperation(world, randomOperation(random, targets, keys));
  }
  let op = randomOperation(random, targets, keys);
  while (op.kind === 'repair' || op.kind === 'adopt') op = randomOperation(random, targets, keys);
  // Most rows are over after their usual age, not all.
  if (op.kind === 'tick') op = { ...op, passed: 1000 };
  return killEverywhere(world, op);
}

for (const peers of [false, true]) {
  const kind = peers ? 'peers' : 'values';
  test(`a writer of ${kind} killed at any write leaves nothing torn and loses nothing else`, () => {
    let kills = 0;
    for (let seed = 1; seed <= 200; seed++) {
      try {
        kills += runAndKill(peers, seed);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    assert.ok(kills > 3_000, `${kills} kills`);
  });

  test(`the repair of ${kind} can itself be interrupted at any write and run again`, () => {
    const seed = 5;
    const random = new SeededRandom(seed);
    const world = makeWorld(peers, 12, 3);
    for (let i = 0; i < 60; i++) {
      const op = randomOperation(random, 3, 6);
      if (op.kind === 'put') runOperation(world, op);
    }
    const before = dump(world.store);
    const bumps = bumpsOf(world);
    const { buffers } = world.store;
    let kills = 0;
    for (; ; kills++) {
      // Not from the beginning each time: every repair meets what the one before left.
      const store = reopen(world, buffers);
      world.store = store;
      if (!isKilled(world, { ...randomOperation(random, 3, 6), kind: 'repair' }, kills)) break;
      assert.equal(store.needsRepair, kills > 0, `seed ${seed}, killed after ${kills} writes`);
    }
    const store = reopen(world, buffers);
    checkStore(store);
    assert.deepEqual(dump(store), before);
    assert.deepEqual(bumpsOf(world, store), bumps);
    assert.ok(kills > 50, `${kills} kills`);
  });
}

test('a store goes on working after its repair', () => {
  const seed = 9;
  const random = new SeededRandom(seed);
  for (let round = 0; round < 30; round++) {
    const world = makeWorld(round % 2 === 0, 10, 2);
    for (let i = 0; i < 40; i++) runOperation(world, randomOperation(random, 2, 8));
    const op = { ...randomOperation(random, 2, 8), kind: 'put' } as const;
    isKilled(world, op, 1 + random.below(60));
    world.store = reopen(world, world.store.buffers);
    world.store.repair();
    for (let i = 0; i < 40; i++) {
      passTime(world, op);
      runOnStore(world, randomOperation(random, 2, 8));
      checkStore(world.store);
    }
  }
});
