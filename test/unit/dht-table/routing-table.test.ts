/** The flat routing table against a model of objects, and against the original's. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { ADDRESS_BYTES, K } from '../../../codecs/dht/constants.ts';
import { nodeId } from '../../../codecs/dht/node-id.ts';
import { RoutingTable } from '../../../workers/dht/routing-table.ts';
import * as layout from '../../../workers/dht/table-layout.ts';
import { TableWriter } from '../../../workers/dht/table-writer.ts';
import { Rng } from '../../../workers/rng.ts';
import {
  closestOf,
  makeTables,
  mapped,
  privateHost,
  randomId,
  TableModel,
  type Tables,
  textOf,
} from './fixture.ts';

interface OriginalTable {
  add(node: object): boolean;
  closest(id: Uint8Array, k?: number): { host: string; port: number }[];
}
// As dht-rpc finds it: it is a dependency of dht-rpc, not of ours.
const dhtRpc = createRequire(import.meta.url).resolve('dht-rpc');
const Original = createRequire(dhtRpc)('kademlia-routing-table') as new (
  id: Uint8Array,
) => OriginalTable;

test('closest nodes are those of kademlia-routing-table, in its order', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const rng = new Rng(seed);
    const own = randomId(rng);
    const original = new Original(own);
    const { writer, reader } = makeTables(true);
    writer.setOwn(own, false);
    const nodes = 1 + rng.below(600);
    for (let n = 0; n < nodes; n++) {
      const host = privateHost(rng.below(1 << 24));
      const port = 1 + rng.below(65_535);
      const isAdded = original.add({ id: nodeId(host, port), host, port });
      const outcome = writer.add(host, port, 1);
      assert.equal(outcome === 'added', isAdded, `seed ${seed}: ${outcome}`);
    }
    for (let query = 0; query < 50; query++) {
      const target = query === 0 ? own : randomId(rng);
      // Near the own id the walk goes through many buckets.
      if (query % 3 === 1) target.set(own.subarray(0, rng.below(3)));
      const most = query % 5 === 0 ? rng.below(60) : 20;
      const expected = most === 0 ? [] : original.closest(target, most).map(textOf);
      assert.deepEqual(closestOf(reader, target, most), expected, `seed ${seed}`);
      assert.deepEqual(writer.closest(target, most).map(textOf), expected, `seed ${seed}`);
    }
  }
});

test('a table does what a model of objects does, whatever the order of changes', () => {
  for (let seed = 1; seed <= 12; seed++) runAgainstModel(seed);
});

function runAgainstModel(seed: number): void {
  const rng = new Rng(seed);
  const tables = makeTables(true);
  const model = new TableModel();
  let tick = 1;
  for (let step = 0; step < 700; step++) {
    tick += rng.below(2);
    change(rng, tables.writer, model, tick);
    if (step % 25 === 0) assertSame(tables, model, rng, `seed ${seed}, step ${step}`);
  }
  const adopted = new TableWriter(tables.buffer, { isPrivate: true });
  assertSame({ ...tables, writer: adopted }, model, rng, `seed ${seed}, adopted`);
}

function change(rng: Rng, writer: TableWriter, model: TableModel, tick: number): void {
  const host = privateHost(rng.below(900));
  const some = model.nodes[rng.below(Math.max(1, model.nodes.length))] ?? null;
  const id = some === null || rng.below(8) === 0 ? randomId(rng) : some.id;
  const node = model.get(id);
  switch (rng.below(12)) {
    case 0:
      assert.equal(writer.remove(id), model.remove(id));
      break;
    case 1:
      writer.setPinged(id, tick);
      if (node !== null) node.pinged = tick;
      break;
    case 2:
      writer.setSeen(id, tick);
      if (node !== null) node.seen = tick;
      break;
    case 3:
      writer.addDownHint(id);
      if (node !== null) node.downHints++;
      break;
    case 4:
      if (rng.below(10) === 0) changeOwn(rng, writer, model);
      break;
    default:
      assert.equal(writer.add(host, 1000, tick), model.add(host, 1000, tick));
  }
}

/** Whoever is dropped must have found a full bucket; the rest is all there. */
function changeOwn(rng: Rng, writer: TableWriter, model: TableModel): void {
  const id = rng.below(3) === 0 ? model.own : randomId(rng);
  const dropped = writer.setOwn(id, rng.below(2) === 0);
  model.own = id;
  for (const node of dropped) {
    model.remove(node.id);
  }
  for (const node of dropped) {
    assert.ok(
      model.members(model.bucket(node.id)).length === 20,
      'dropped although there was room',
    );
  }
}

function assertSame({ writer, reader }: Tables, model: TableModel, rng: Rng, why: string): void {
  const expected = model.all();
  const shown = expected.map((node) => ({ ...node, pinged: Math.max(node.pinged, node.seen) }));
  assert.deepEqual(writer.all(), shown, why);
  assert.equal(writer.size, expected.length, why);
  assert.equal(reader.size, expected.length, why);
  const own = new Uint8Array(32);
  reader.ownId(own, 0);
  assert.deepEqual(own, Uint8Array.from(model.own), why);
  for (const node of expected) {
    const entry = reader.find(node.id, 0);
    assert.equal(writer.at(entry)?.host, node.host, why);
    assert.equal(writer.get(node.id)?.seen, node.seen, why);
  }
  const target = randomId(rng);
  assert.equal(reader.find(target, 0), -1, why);
  assert.equal(writer.get(target), null, why);
  assert.deepEqual(closestOf(reader, target, 20), model.closest(target, 20).map(textOf), why);
  const members = model.members(model.bucket(target)).map(textOf);
  assert.deepEqual(writer.bucketOf(target).map(textOf), members, why);
  const bySeen = expected.map((node) => node.seen).sort((a, b) => a - b);
  assert.deepEqual(
    writer.oldest(7).map((node) => node.seen),
    bySeen.slice(0, 7),
    why,
  );
  assert.deepEqual(
    writer.latest(5).map((node) => node.seen),
    bySeen.reverse().slice(0, 5),
    why,
  );
}

test('any thread marks a node as seen, by its id and address alone', () => {
  const { writer, reader } = makeTables(true);
  writer.add('10.0.0.1', 4000, 3);
  const id = nodeId('10.0.0.1', 4000);
  assert.equal(reader.tick, 3);
  assert.ok(reader.touch(id, 0, mapped('10.0.0.1'), 0, 4000, 9));
  assert.equal(writer.get(id)?.seen, 9);
  assert.equal(writer.get(id)?.pinged, 9);
  assert.ok(!reader.touch(id, 0, mapped('10.0.0.2'), 0, 4000, 12));
  assert.ok(!reader.touch(id, 0, mapped('10.0.0.1'), 0, 4001, 12));
  assert.ok(!reader.touch(nodeId('10.0.0.2', 4000), 0, mapped('10.0.0.1'), 0, 4000, 12));
  assert.ok(!reader.touch(id, 0, new Uint8Array(16).fill(10), 0, 4000, 12), 'not IPv4');
  assert.equal(writer.get(id)?.seen, 9);
});

test('a mark survives changes of the same row and of the own id', () => {
  const rng = new Rng(4);
  const { writer, reader } = makeTables(true);
  writer.add('10.0.0.1', 4000, 1);
  const id = nodeId('10.0.0.1', 4000);
  assert.ok(reader.touch(id, 0, mapped('10.0.0.1'), 0, 4000, 8));
  for (let n = 2; n < 200; n++) writer.add(privateHost(n), 4000, 1);
  for (const node of writer.all().slice(0, 50)) {
    if (node.seen === 1) writer.remove(node.id);
  }
  assert.equal(writer.get(id)?.seen, 8);
  // Seen last, it is the first to get a place.
  writer.setOwn(randomId(rng), true);
  assert.equal(writer.get(id)?.seen, 8);
});

test('the own id and whether it is shown change together, and with them the generation', () => {
  const { writer, reader } = makeTables(true);
  assert.equal(reader.isPersistent, false);
  const before = reader.generation;
  const id = nodeId('10.0.0.9', 1);
  writer.setOwn(id, true);
  const shown = new Uint8Array(34);
  reader.ownId(shown, 1);
  assert.deepEqual(shown.subarray(1, 33), id);
  assert.equal(reader.isPersistent, true);
  assert.notEqual(reader.generation, before);
  const persistent = reader.generation;
  writer.setOwn(id, true);
  assert.equal(reader.generation, persistent, 'nothing changed');
  writer.setOwn(id, false);
  assert.equal(reader.isPersistent, false);
  assert.notEqual(reader.generation, persistent);
  assert.equal(writer.add('10.0.0.9', 1, 1), 'self');
  assert.throws(() => writer.setOwn(new Uint8Array(31), true), /own id of 31 bytes: expected 32/);
});

test('random gives every node about as often, and nobody from an empty table', () => {
  const rng = new Rng(7);
  const { writer } = makeTables(true);
  assert.equal(writer.random(rng), null);
  for (let n = 1; n <= 30; n++) writer.add(privateHost(n), 1, 1);
  const size = writer.size;
  const counts = new Map<string, number>();
  for (let i = 0; i < size * 100; i++) {
    const host = writer.random(rng)?.host ?? 'none';
    counts.set(host, (counts.get(host) ?? 0) + 1);
  }
  assert.equal(counts.size, size);
  for (const [host, count] of counts) assert.ok(count > 50 && count < 150, `${host}: ${count}`);
});

test('a small pool of rows is used up to its last, and whoever comes then is told so', () => {
  const { writer, reader } = makeTables(true, 3);
  const outcomes = new Set<string>();
  for (let n = 1; n < 2000; n++) outcomes.add(writer.add(privateHost(n), 1, 1));
  assert.deepEqual([...outcomes].sort(), ['added', 'full', 'no-row']);
  assert.equal(writer.size, 60);
  assert.equal(closestOf(reader, new Uint8Array(32), 100).length, 60);
});

test('an entry of nobody is null', () => {
  const { writer, reader } = makeTables(true, 3);
  writer.add('10.0.0.1', 1, 1);
  const entry = reader.find(nodeId('10.0.0.1', 1), 0);
  assert.equal(writer.at(entry)?.host, '10.0.0.1');
  for (const none of [-1, 0.5, 59, 60, 1e9, entry + 1]) assert.equal(writer.at(none), null);
  writer.remove(nodeId('10.0.0.1', 1));
  assert.equal(writer.at(entry), null);
});

test('the parts of the layout fit into each other, and an order begins with a word', () => {
  assert.equal(layout.OWN_MAP_BYTES + layout.BUCKETS, layout.OWN_WORDS * 4);
  assert.ok(layout.ORDER_ADDRESSES + K * ADDRESS_BYTES <= layout.ORDER_WORDS * 4);
  assert.ok(layout.ORDER_COUNT >= K && layout.ORDER_COUNT < layout.ORDER_ADDRESSES);
  assert.equal(layout.ORDER_ADDRESSES % 4, 0);
  assert.ok(layout.PLACE_ADDRESS * 4 + ADDRESS_BYTES <= layout.PLACE_SEEN * 4);
  assert.ok(layout.PLACE_DOWN_HINTS < layout.PLACE_WORDS);
  assert.equal(layout.ROW_WORDS * 4, 1600);
});

test('memory of another kind and impossible sizes are refused by name', () => {
  assert.throws(() => new RoutingTable(new SharedArrayBuffer(4096)), /does not hold a table/);
  assert.throws(() => RoutingTable.allocate(0), /table of 0 rows: allowed are 1 to 255/);
  assert.throws(() => RoutingTable.allocate(256), /allowed are 1 to 255/);
});
