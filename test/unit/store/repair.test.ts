/** A writer dies at any point of a change; its successor adopts the memory and repairs it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecordStore } from '../../../workers/store/record-store.ts';
import { dump, findName, makeStore, peer4, portsOf, put, SeededRandom } from './fixture.ts';
import { Interrupted, interruptible } from './interrupt.ts';
import {
  makeWorld,
  type Operation,
  randomOperation,
  runOperation,
  type World,
} from './operations.ts';

/** Runs one operation that may be interrupted after `writes` writes; says whether it was. */
function interrupt(world: World, op: Operation, writes: number): boolean {
  const interrupter = interruptible(world.store);
  interrupter.left = writes;
  try {
    runOperation(world, op);
    return false;
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    return true;
  }
}

/** Every row is as it was before the operation or as the operation would leave it. */
function assertWholeOrAbsent(
  rows: Map<string, string>,
  before: Map<string, string>,
  after: Map<string, string>,
): void {
  for (const [id, text] of rows) {
    assert.ok(before.get(id) === text || after.get(id) === text, `${id} is ${text}: torn`);
  }
  for (const [id, text] of before) {
    if (after.get(id) === text)
      assert.equal(rows.get(id), text, `${id} was not part of the change`);
  }
}

function killOnce(seed: number): boolean {
  const random = new SeededRandom(seed);
  const limit = [1, 2, 7, 50, 120][random.below(5)];
  const names = 1 + random.below(limit < 50 ? 6 : 3);
  const peers = limit < 50 ? 5 : 60;
  const world = makeWorld({
    limit,
    tombstoneSeconds: random.chance(0.3) ? 0 : 30,
    collide: random.chance(0.3),
    seed,
  });
  const operations = random.below(limit * 4) + 3;
  for (let i = 0; i < operations; i++) {
    runOperation(world, randomOperation(random, names, peers));
  }
  let op = randomOperation(random, names, peers);
  while (op.kind === 'repair') op = randomOperation(random, names, peers);
  // The model has finished the change by the time the store is interrupted, but for a look-up.
  const before = world.model.dump();
  const killed = interrupt(world, op, random.below(op.kind === 'lookup' ? 12 : 40));
  if (!killed) return false;
  const after = op.kind === 'lookup' ? withoutExpired(world, op) : world.model.dump();

  const successor = new RecordStore(world.store.buffers);
  // Killed between two changes of one look-up: then nothing is amiss.
  if (!successor.needsRepair) successor.check();
  const report = successor.repair();
  assert.equal(successor.needsRepair, false);
  successor.check();
  const rows = dump(successor);
  assert.equal(report.kept, rows.size);
  if (op.kind === 'sweep') assertSubset(rows, before);
  else assertWholeOrAbsent(rows, before, after);
  // It goes on working.
  for (let i = 0; i < 20; i++) put(successor, `later ${i % 3}`, peer4(i));
  successor.check();
  return true;
}

/** A look-up may free any expired row of its name. */
function withoutExpired(world: World, op: Operation): Map<string, string> {
  for (const name of [...world.model.names.keys()]) world.model.sample(name, 0, world.now);
  assert.equal(op.kind, 'lookup');
  return world.model.dump();
}

function assertSubset(rows: Map<string, string>, before: Map<string, string>): void {
  for (const [id, text] of rows) assert.equal(before.get(id), text, `${id} is as it was`);
}

test('a writer killed at any write leaves nothing torn and loses nothing else', () => {
  let killed = 0;
  for (let seed = 1; seed <= 2500; seed++) {
    try {
      if (killOnce(seed)) killed++;
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  assert.ok(killed > 900, `${killed} of 2500 runs were interrupted`);
});

test('repair can itself be interrupted and run again', () => {
  const store = makeStore(100);
  for (let i = 0; i < 100; i++) put(store, `name ${i % 7}`, peer4(i, 1000 + i));
  const before = dump(store);
  for (let writes = 1; writes < 900; writes += 7) {
    const dying = new RecordStore(store.buffers);
    interruptible(dying).left = writes;
    assert.throws(() => dying.repair(), Interrupted);
    assert.equal(store.needsRepair, true);
  }
  store.repair();
  store.check();
  assert.deepEqual([...dump(store)].sort(), [...before].sort());
});

test('a healthy store is adopted as it is', () => {
  const store = makeStore(100);
  for (let i = 0; i < 60; i++) put(store, 'crowd', peer4(i, 1000 + i));
  const successor = new RecordStore(store.buffers);
  assert.equal(successor.needsRepair, false);
  successor.check();
  assert.equal(portsOf(successor, 'crowd').length, 60);
  put(successor, 'crowd', peer4(60, 1060));
  assert.equal(portsOf(store, 'crowd').length, 61);
});

test('only the buffers of one store are adopted', () => {
  const { buffers } = makeStore(10);
  const other = makeStore(11).buffers;
  assert.throws(() => new RecordStore({ ...buffers, names: other.names }), {
    name: 'RangeError',
    message: /buffer "names" has 880 bytes, a limit of 10 needs 800/,
  });
  const header = new SharedArrayBuffer(buffers.header.byteLength);
  assert.throws(() => new RecordStore({ ...buffers, header }), /do not hold a store/);
});

/** Ports of a name's records from the oldest to the newest. */
function byAge(store: RecordStore, name: string): number[] {
  const ports: number[] = [];
  let record = store.membership.oldest(findName(store, name));
  for (; record >= 0; record = store.membership.newer(record)) ports.push(store.port(record));
  return ports;
}

test('repair keeps the order of age and of use around the record that was being moved', () => {
  let kills = 0;
  for (let writes = 1; writes < 30; writes++) {
    const store = makeStore(200);
    for (let i = 1; i <= 20; i++) put(store, 'moving', peer4(i, i));
    for (let i = 1; i <= 20; i++) put(store, `name ${i}`, peer4(i, 100 + i));
    for (let i = 20; i <= 30; i++) put(store, 'last', peer4(i, i));
    store.touch(findName(store, 'name 10'));
    const interrupter = interruptible(store);
    interrupter.left = writes;
    try {
      put(store, 'moving', peer4(8, 8), { version: 1 });
    } catch (error) {
      assert.ok(error instanceof Interrupted);
      kills++;
    }
    const successor = new RecordStore(store.buffers);
    successor.repair();
    successor.check();
    const others = byAge(successor, 'moving').filter((port) => port !== 8);
    assert.deepEqual(others, [1, 2, 3, 4, 5, 6, 7, ...range(9, 20)], `killed after ${writes}`);
    assert.deepEqual(byAge(successor, 'last'), range(20, 30));
    const uses = evictAll(successor).filter((port) => port > 100);
    assert.deepEqual(uses, [...range(101, 109), ...range(111, 120), 110], `killed after ${writes}`);
  }
  assert.ok(kills > 10, `${kills} kills`);
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** Ports in the order in which new names push them out. */
function evictAll(store: RecordStore): number[] {
  const ports = new Map<number, number>();
  store.forEachRecord((view) => ports.set(view.record, view.port));
  const out: number[] = [];
  for (let i = 0; store.evicted < 51; i++) {
    put(store, `new ${i}`, peer4(i, 60_000));
    for (const [record, port] of ports) {
      if (store.isLive(record) && store.port(record) === port) continue;
      out.push(port);
      ports.delete(record);
    }
  }
  return out;
}
