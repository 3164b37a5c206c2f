import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PUSH_CAPACITY, PUSH_WAITS_MS, PushTable } from '../../../workers/push-table.ts';
import { Rng } from '../../../workers/rng.ts';
import { SLOT_HEADER_BYTES, SLOT_LENGTH, SLOT_PORT, Slab } from '../../../workers/slab.ts';

const SUBSCRIBER = Int32Array.of(0, 0, 0xffff0000, 0x0100007f);

function fill(table: PushTable, row: number, port: number): void {
  const at = table.imageOffset(row);
  table.imageWords[(at + SLOT_LENGTH) >> 2] = 3;
  table.images[at + SLOT_PORT] = port & 255;
  table.images[at + SLOT_PORT + 1] = port >> 8;
  for (let i = 0; i < 4; i++) table.imageWords[(at >> 2) + 2 + i] = SUBSCRIBER[i]!;
  table.images.set([1, 2, 3], at + SLOT_HEADER_BYTES);
}

test('a push is tried three times at the waits of the original, then given up', () => {
  const table = new PushTable(0, 1, new Rng(1));
  const row = table.add(1000);
  fill(table, row, 53);
  const sentAt: number[] = [];
  let now = 1000;
  for (; !table.exhausted(row) || !table.isDue(row, now); now += 250) {
    if (!table.isDue(row, now)) continue;
    sentAt.push(now);
    table.sent(row, now);
  }
  assert.deepEqual(sentAt, [1000, 1500, 2500]);
  assert.equal(now, 2500 + PUSH_WAITS_MS[2]);
});

test('only the subscriber acknowledges: right id, address and port', () => {
  const table = new PushTable(0, 1, new Rng(1));
  const row = table.add(0);
  fill(table, row, 5301);
  const id = table.id(row);
  assert.ok(!table.acknowledge(id ^ 1, SUBSCRIBER, 0, 5301));
  assert.ok(!table.acknowledge(id, SUBSCRIBER, 0, 5302));
  assert.ok(!table.acknowledge(id, Int32Array.of(0, 0, 0xffff0000, 1), 0, 5301));
  assert.equal(table.size, 1);
  assert.ok(table.acknowledge(id, SUBSCRIBER, 0, 5301));
  assert.ok(!table.acknowledge(id, SUBSCRIBER, 0, 5301));
  assert.equal(table.size, 0);
});

test('ids are unique, never 0, and name their lane', () => {
  for (const [lane, lanes] of [
    [0, 1],
    [2, 3],
    [6, 7],
  ] as const) {
    const table = new PushTable(lane, lanes, new Rng(lane + 1));
    const ids = new Set<number>();
    for (let i = 0; i < 1000; i++) ids.add(table.id(table.add(0)));
    assert.equal(ids.size, 1000);
    for (const id of ids) assert.ok(id > 0 && id < 65536 && id % lanes === lane);
  }
});

test('a full table takes no more, and takes again after a removal', () => {
  const table = new PushTable(0, 1, new Rng(3));
  const rows: number[] = [];
  for (;;) {
    const row = table.add(0);
    if (row < 0) break;
    rows.push(row);
  }
  assert.equal(rows.length, PUSH_CAPACITY);
  table.remove(rows[5]!);
  assert.ok(table.add(0) >= 0);
  assert.equal(table.add(0), -1);
});

test('the image is copied to a slot whole', () => {
  const slab = Slab.allocate(2);
  const table = new PushTable(0, 1, new Rng(1));
  const row = table.add(0);
  fill(table, row, 53);
  table.copyToSlot(row, slab, 1);
  assert.deepEqual([...slab.bytes.subarray(2048 + 64, 2048 + 68)], [1, 2, 3, 0]);
  assert.equal(slab.i32[512], 3);
});
