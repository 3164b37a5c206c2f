/** A routing table's writer stops at any of its stores; readers and a successor go on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RoutingTable } from '../../workers/dht/routing-table.ts';
import { TableWriter } from '../../workers/dht/table-writer.ts';
import { Rng } from '../../workers/rng.ts';
import { closestOf, makeTables, privateHost, randomId, textOf } from '../unit/dht-table/fixture.ts';

class Stopped extends Error {}

const TARGET = new Uint8Array(32).fill(0x5a);
/** Of a change with more stores, some are chosen: a new own id of 300 nodes has 30,000. */
const ALL_STORES = 100;

/** Runs `change`, which is stopped before its store number `most` + 1; returns how many it made. */
function stopAfter(writer: TableWriter, most: number, change: () => void): number {
  let made = 0;
  const count = (): void => {
    if (made >= most) throw new Stopped();
    made++;
  };
  const { rows } = writer;
  const { words, bytes } = rows;
  const real = { add: Atomics.add, store: Atomics.store };
  Object.assign(rows, { words: counting(words, count), bytes: counting(bytes, count) });
  // Only this thread has them, and only for now.
  Atomics.add = ((array: Int32Array, index: number, value: number) => {
    count();
    return real.add(array, index, value);
  }) as typeof Atomics.add;
  Atomics.store = ((array: Int32Array, index: number, value: number) => {
    count();
    return real.store(array, index, value);
  }) as typeof Atomics.store;
  try {
    change();
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
  } finally {
    Object.assign(Atomics, real);
    Object.assign(rows, { words, bytes });
  }
  return made;
}

function counting<T extends object>(array: T, count: () => void): T {
  return new Proxy(array, {
    get: (target, property) => {
      const value: unknown = Reflect.get(target, property);
      return typeof value === 'function' ? value.bind(target) : value;
    },
    set: (target, property, value) => {
      count();
      return Reflect.set(target, property, value);
    },
  });
}

interface View {
  readonly own: string;
  readonly isPersistent: boolean;
  readonly closest: readonly string[];
  readonly nodes: readonly string[];
}

/** What a reader sees, and what a successor has. */
function look(buffer: SharedArrayBuffer): View {
  const reader = new RoutingTable(buffer);
  const id = new Uint8Array(32);
  reader.ownId(id, 0);
  const closest = closestOf(reader, TARGET, 2000);
  const { isPersistent } = reader;
  const successor = new TableWriter(buffer, { isPrivate: true });
  assert.equal(reader.size, successor.size);
  const nodes = successor.all();
  for (const node of nodes) {
    const entry = reader.find(node.id, 0);
    assert.deepEqual(successor.at(entry), node);
  }
  return { own: id.toString(), isPersistent, closest, nodes: nodes.map(textOf) };
}

/** A change, chosen by `rng` but the same each time it is run with the same table. */
function makeChange(rng: Rng, writer: TableWriter): (writer: TableWriter) => void {
  const host = privateHost(1000 + rng.below(1 << 20));
  const id = writer.random(rng)?.id ?? randomId(rng);
  const own = randomId(rng);
  switch (rng.below(5)) {
    case 0:
      return (each) => void each.setOwn(own, true);
    case 1:
      return (each) => void each.setOwn(ownOf(each), !each.rows.isPersistent);
    case 2:
      return (each) => void each.remove(id);
    default:
      return (each) => void each.add(host, 1, 1);
  }
}

function ownOf(writer: TableWriter): Uint8Array {
  const start = writer.rows.own() << 2;
  return writer.rows.bytes.slice(start, start + 32);
}

function copyOf(buffer: SharedArrayBuffer): SharedArrayBuffer {
  return buffer.slice(0);
}

test('whoever stops leaves the table as it was before his change or after it', () => {
  const seen = { stopped: 0, before: 0, after: 0 };
  for (let seed = 1; seed <= 150; seed++) {
    const rng = new Rng(seed);
    const { buffer, writer } = makeTables(true, 40);
    const nodes = rng.below(4) === 0 ? rng.below(300) : rng.below(30);
    for (let n = 0; n < nodes; n++) writer.add(privateHost(n + rng.below(3)), 1, 1);
    if (rng.below(2) === 0) writer.setOwn(randomId(rng), rng.below(2) === 0);
    const change = makeChange(rng, writer);
    const before = look(buffer);
    const finished = copyOf(buffer);
    const whole = new TableWriter(finished, { isPrivate: true });
    const made = stopAfter(whole, Number.POSITIVE_INFINITY, () => change(whole));
    const after = look(finished);
    for (const stores of stopsOf(rng, made)) {
      const torn = copyOf(buffer);
      const victim = new TableWriter(torn, { isPrivate: true });
      assert.equal(
        stopAfter(victim, stores, () => change(victim)),
        stores,
      );
      seen.stopped++;
      const left = look(torn);
      const isBefore = isSame(left, before);
      seen[isBefore ? 'before' : 'after']++;
      if (!isBefore) assert.deepEqual(left, after, `seed ${seed}, stopped after ${stores} stores`);
      goOn(torn, rng, `seed ${seed}, stopped after ${stores} stores`);
    }
  }
  assert.ok(seen.before > 5000 && seen.after > 100, JSON.stringify(seen));
});

/** After how many of its stores a change is stopped: each, or of a long one some and the last. */
function stopsOf(rng: Rng, made: number): number[] {
  if (made <= ALL_STORES) return Array.from({ length: made }, (_, stores) => stores);
  const some = Array.from({ length: ALL_STORES / 2 }, () => rng.below(made));
  return [...some, made - 3, made - 2, made - 1];
}

function isSame(a: View, b: View): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** A successor changes the table as if nothing had happened. */
function goOn(buffer: SharedArrayBuffer, rng: Rng, why: string): void {
  const successor = new TableWriter(buffer, { isPrivate: true });
  const size = successor.size;
  const host = privateHost(5_000_000 + rng.below(1 << 20));
  const isAdded = successor.add(host, 9, 2) === 'added';
  const nodes = look(buffer).nodes;
  assert.equal(nodes.length, size + Number(isAdded), why);
  assert.equal(nodes.includes(`${host}:9`), isAdded, why);
  assert.equal(new Set(nodes).size, nodes.length, why);
}
