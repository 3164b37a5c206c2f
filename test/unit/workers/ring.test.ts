import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ring } from '../../../workers/ring.ts';
import { Rng } from '../../../workers/rng.ts';

test('a ring hands out what was put in, in order, through many wraps', () => {
  const ring = Ring.allocate(8);
  const rng = new Rng(1);
  const out = new Int32Array(16);
  let put = 0;
  let got = 0;
  for (let step = 0; step < 100_000; step++) {
    const batch = Int32Array.from({ length: rng.below(12) }, (_, i) => put + i);
    const room = 8 - ring.size;
    const pushed = ring.push(batch, 0, batch.length);
    assert.equal(pushed, Math.min(room, batch.length));
    put += pushed;
    const popped = ring.pop(out, rng.below(12));
    for (let i = 0; i < popped; i++) assert.equal(out[i], got++);
    assert.equal(ring.size, put - got);
  }
  assert.ok(put > 100_000);
});

test('push starts at `from`', () => {
  const ring = Ring.allocate(4);
  const out = new Int32Array(4);
  assert.equal(ring.push(Int32Array.of(7, 8, 9), 1, 3), 2);
  assert.equal(ring.pop(out, 4), 2);
  assert.deepEqual([...out.subarray(0, 2)], [8, 9]);
});

test('head and tail may wrap at 2^32', () => {
  const ring = Ring.allocate(4);
  const words = new Int32Array(ring.buffer);
  words[0] = 0x7fff_fffe;
  words[16] = 0x7fff_fffe;
  const out = new Int32Array(4);
  for (let i = 0; i < 8; i++) {
    assert.equal(ring.push(Int32Array.of(i, i + 100), 0, 2), 2);
    assert.equal(ring.pop(out, 4), 2);
    assert.equal(out[1], i + 100);
  }
});

test('a capacity that is no power of two is refused', () => {
  assert.throws(() => Ring.allocate(6), /ring of 6 entries: the capacity must be a power of two/);
});
