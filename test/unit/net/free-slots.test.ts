import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FreeSlots } from '../../../server/net/free-slots.ts';

test('slots come lowest first, and the one released last comes next', () => {
  const free = new FreeSlots(10, 4);
  const slots = new Int32Array(8);
  assert.equal(free.peek(slots, 8), 4);
  assert.deepEqual([...slots.subarray(0, 4)], [10, 11, 12, 13]);
  assert.equal(free.count, 4, 'looking takes nothing');
  free.take(slots, 2, 4);
  assert.equal(free.count, 2);
  free.release(Int32Array.of(11), 1);
  assert.equal(free.peek(slots, 2), 2);
  assert.deepEqual([...slots.subarray(0, 2)], [11, 12]);
});

test('slots that were not taken stay free, in whatever order they come back', () => {
  const free = new FreeSlots(0, 3);
  const slots = new Int32Array(3);
  free.peek(slots, 3);
  slots.set([2, 0, 1]);
  free.take(slots, 1, 3);
  const rest = new Int32Array(3);
  assert.equal(free.peek(rest, 3), 2);
  assert.deepEqual([...rest.subarray(0, 2)].sort(), [0, 1]);
});

test('a foreign slot or one too many changes nothing', () => {
  const free = new FreeSlots(10, 4);
  const slots = new Int32Array(4);
  free.take(slots, 2, free.peek(slots, 2));
  assert.throws(() => free.release(slots, 3), RangeError);
  assert.throws(() => free.release(Int32Array.of(10, 14), 2), RangeError);
  assert.throws(() => free.release(Int32Array.of(9), 1), RangeError);
  assert.equal(free.count, 2);
});

test('no slot is ever lost or given out twice', () => {
  const step = fc.record({ ask: fc.nat(70), take: fc.nat(70), release: fc.nat(70) });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), fc.array(step), (capacity, steps) => {
      const free = new FreeSlots(5, capacity);
      const batch = new Int32Array(70);
      const out = new Set<number>();
      for (const { ask, take, release } of steps) {
        const peeked = free.peek(batch, ask);
        const taken = Math.min(take, peeked);
        batch.subarray(0, peeked).reverse();
        free.take(batch, taken, peeked);
        for (const slot of batch.subarray(0, taken)) {
          assert.ok(!out.has(slot) && slot >= 5 && slot < 5 + capacity);
          out.add(slot);
        }
        const back = Int32Array.from([...out].slice(0, release));
        free.release(back, back.length);
        for (const slot of back) out.delete(slot);
        assert.equal(free.count + out.size, capacity);
      }
    }),
    { numRuns: 200 },
  );
});
