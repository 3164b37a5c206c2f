import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as layout from '../../../workers/slab.ts';

const { MAX_SLOTS, SLOT_BYTES, SLOT_DATA_BYTES, SLOT_HEADER_BYTES, Slab } = layout;

/** [name, offset, bytes] of each header field, in the order of the picture in workers/slab.ts. */
const FIELDS: readonly [string, number, number][] = [
  ['length', layout.SLOT_LENGTH, 4],
  ['family', layout.SLOT_FAMILY, 1],
  ['transport', layout.SLOT_TRANSPORT, 1],
  ['port', layout.SLOT_PORT, 2],
  ['address', layout.SLOT_ADDRESS, 16],
  ['local', layout.SLOT_LOCAL, 16],
  ['scope', layout.SLOT_SCOPE, 4],
  ['connection', layout.SLOT_CONNECTION, 4],
  ['generation', layout.SLOT_GENERATION, 4],
  ['budget', layout.SLOT_BUDGET, 4],
  ['receiver', layout.SLOT_RECEIVER, 2],
  ['protocol', layout.SLOT_PROTOCOL, 1],
  ['state', layout.SLOT_STATE, 1],
  ['keyHash', layout.SLOT_KEY_HASH, 4],
];

describe('slab', () => {
  test('the header fields fill the header without a gap, each aligned to its size', () => {
    let next = 0;
    for (const [name, offset, bytes] of FIELDS) {
      assert.equal(offset, next, name);
      assert.equal(offset % Math.min(bytes, 4), 0, name);
      next += bytes;
    }
    assert.equal(next, SLOT_HEADER_BYTES);
    assert.equal(SLOT_HEADER_BYTES + SLOT_DATA_BYTES, SLOT_BYTES);
  });

  test('a slab is a whole number of slots, zeroed', () => {
    const slab = Slab.allocate(3);
    assert.equal(slab.slotCount, 3);
    assert.equal(slab.bytes.length, 3 * SLOT_BYTES);
    assert.ok(slab.bytes.every((byte) => byte === 0));
  });

  test('all views and all wrappings see one memory', () => {
    const slab = Slab.allocate(2);
    const other = new Slab(slab.buffer);
    slab.i32[SLOT_BYTES / 4] = 0x04030201;
    assert.deepEqual([...other.bytes.subarray(SLOT_BYTES, SLOT_BYTES + 4)], [1, 2, 3, 4]);
    assert.equal(other.u16[SLOT_BYTES / 2], 0x0201);
  });

  test('a buffer that is no slab is refused', () => {
    for (const bytes of [0, 1, SLOT_BYTES - 1, SLOT_BYTES + 1]) {
      assert.throws(() => new Slab(new SharedArrayBuffer(bytes)), {
        name: 'RangeError',
        message: `slab of ${bytes} bytes: expected 1 to ${MAX_SLOTS} slots of ${SLOT_BYTES} bytes`,
      });
    }
    assert.throws(() => Slab.allocate(MAX_SLOTS + 1), RangeError);
    assert.throws(() => Slab.allocate(1.5), RangeError);
  });
});
