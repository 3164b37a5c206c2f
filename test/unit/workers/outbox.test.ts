import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Outbox } from '../../../workers/outbox.ts';
import { Ring } from '../../../workers/ring.ts';
import {
  SLOT_BUSY,
  SLOT_BYTES,
  SLOT_FREE,
  SLOT_RECEIVER,
  SLOT_STATE,
  Slab,
} from '../../../workers/slab.ts';

const TCP = 2;

/** Two UDP sockets and TCP behind them; slots 0 to 7 are received ones, 8 and on the lane's. */
function house(lanesSend: boolean) {
  const slab = Slab.allocate(16);
  const replies = Ring.allocate(16);
  const sent: [number, number][] = [];
  const sender = (receiver: number) => ({
    send(slots: Int32Array, count: number): number {
      for (let i = 0; i < count; i++) sent.push([receiver, slots[i]]);
      return count;
    },
  });
  const outbox = new Outbox(slab, replies, lanesSend ? [sender(0), sender(1), null] : []);
  const slot = (number: number, receiver: number, length: number): number => {
    slab.i32[(number * SLOT_BYTES) >> 2] = length;
    slab.u16[(number * SLOT_BYTES + SLOT_RECEIVER) >> 1] = receiver;
    return number;
  };
  const published = (): number[] => {
    const out = new Int32Array(16);
    return [...out.subarray(0, replies.pop(out, 16))];
  };
  return { slab, sent, outbox, slot, published };
}

test('where main sends, everything goes to it and it must look at once', () => {
  const { outbox, published, sent, slot } = house(false);
  assert.equal(outbox.publish(Int32Array.of(slot(0, 0, 50), slot(1, 1, 0)), 2), true);
  outbox.originate(slot(8, 0, 60));
  assert.equal(outbox.flush(), true);
  assert.deepEqual(published(), [0, 1, 8]);
  assert.deepEqual(sent, []);
});

test('where the lane sends, UDP leaves by its sockets and main only gets slots back', () => {
  const { outbox, published, sent, slab, slot } = house(true);
  const batch = Int32Array.of(slot(0, 0, 50), slot(1, 1, 50), slot(2, 1, 0), slot(3, 0, 50));
  assert.equal(outbox.publish(batch, 4), false);
  assert.deepEqual(sent, [
    [0, 0],
    [1, 1],
    [0, 3],
  ]);
  slab.bytes[slot(8, 1, 60) * SLOT_BYTES + SLOT_STATE] = SLOT_BUSY;
  outbox.originate(8);
  assert.equal(outbox.flush(), false);
  assert.deepEqual(sent.at(-1), [1, 8]);
  assert.equal(slab.bytes[8 * SLOT_BYTES + SLOT_STATE], SLOT_FREE);
  assert.deepEqual(published(), [0, 1, 2, 3], 'the slots of the lane are no concern of main');
});

test('TCP is left to main, also what has no answer: its connection must not wait for ever', () => {
  const { outbox, published, sent, slot } = house(true);
  assert.equal(outbox.publish(Int32Array.of(slot(4, TCP, 50)), 1), true);
  assert.equal(outbox.publish(Int32Array.of(slot(5, TCP, 0)), 1), true);
  assert.deepEqual(sent, []);
  assert.deepEqual(published(), [4, 5]);
});

test('more pushes than a batch are sent in several', () => {
  const { outbox, slot } = house(true);
  for (let i = 0; i < 200; i++) outbox.originate(slot(8 + (i % 8), 0, 60));
  assert.equal(outbox.flush(), false);
  assert.equal(outbox.flush(), false, 'and nothing is left');
});
