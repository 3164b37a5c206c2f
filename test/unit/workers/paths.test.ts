import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Paths } from '../../../workers/paths.ts';
import { SLOT_LOCAL, SLOT_RECEIVER, Slab } from '../../../workers/slab.ts';

function arrive(slab: Slab, receiver: number, local: number): void {
  slab.u16[SLOT_RECEIVER >> 1] = receiver;
  slab.i32[(SLOT_LOCAL >> 2) + 3] = local;
}

test('the same way has the same path, and a path tells its way', () => {
  const slab = Slab.allocate(1);
  const paths = new Paths(Paths.allocate(), 2);
  arrive(slab, 1, 77);
  const path = paths.intern(slab, 0);
  assert.equal(paths.receiver(path), 1);
  assert.equal(paths.localWord(path, 3), 77);
  arrive(slab, 0, 77);
  assert.notEqual(paths.intern(slab, 0), path);
  arrive(slab, 1, 77);
  assert.equal(paths.intern(slab, 0), path);
});

test('more local addresses than a byte can name fall back to the socket alone', () => {
  const slab = Slab.allocate(1);
  const paths = new Paths(Paths.allocate(), 2);
  for (let local = 1; local < 1000; local++) {
    arrive(slab, 1, local);
    const path = paths.intern(slab, 0);
    assert.ok(path < 255);
    assert.equal(paths.receiver(path), 1);
    assert.equal(paths.localWord(path, 3), local <= 253 ? local : 0);
  }
});

test('a successor finds the paths of the one before', () => {
  const slab = Slab.allocate(1);
  const buffer = Paths.allocate();
  arrive(slab, 1, 77);
  const path = new Paths(buffer, 2).intern(slab, 0);
  const successor = new Paths(buffer, 2);
  assert.equal(successor.receiver(path), 1);
  assert.equal(successor.localWord(path, 3), 77);
  assert.equal(successor.intern(slab, 0), path);
});
