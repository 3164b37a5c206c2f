/** What only the portable backend has: datagrams that node:dgram holds back when it closes. */
import assert from 'node:assert/strict';
import { Socket } from 'node:dgram';
import { type TestContext, test } from 'node:test';
import { CLOSE_WAIT_MS, DgramSocket } from '../../../server/net/dgram-socket.ts';
import { writeAddress } from '../../../server/net/ip-address.ts';
import { allocateCounters, counterRow, sumCounters } from '../../../workers/counters.ts';
import {
  SLOT_ADDRESS,
  SLOT_BYTES,
  SLOT_FAMILY,
  SLOT_LENGTH,
  SLOT_PORT,
  Slab,
} from '../../../workers/slab.ts';
import { Client, closeHouse, openHouse, until } from './udp-house.ts';

type OnSent = (error: Error | null) => void;

/** Lets what hangs on settled promises run. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** A socket whose three datagrams are queued, the clock it waits by, and whether it is closed. */
async function queued(t: TestContext) {
  const timer = { delayMs: 0, fire: null as (() => void) | null };
  const clock = {
    after(delayMs: number, fire: () => void) {
      Object.assign(timer, { delayMs, fire });
      return () => {
        timer.fire = null;
      };
    },
  };
  const slab = Slab.allocate(4);
  const counters = allocateCounters(1);
  const socket = await DgramSocket.open(
    {
      address: '127.0.0.1',
      port: 0,
      slab,
      firstSlot: 0,
      slotCount: 4,
      receiver: 0,
      counters: counterRow(counters, 0),
    },
    clock,
  );
  const settlers: OnSent[] = [];
  t.mock.method(Socket.prototype, 'send', (...args: unknown[]) => {
    settlers.push(args.at(-1) as OnSent);
  });
  for (let slot = 0; slot < 3; slot++) {
    const at = slot * SLOT_BYTES;
    slab.i32[(at + SLOT_LENGTH) >>> 2] = 5;
    slab.u16[(at + SLOT_PORT) >>> 1] = 9;
    slab.bytes[at + SLOT_FAMILY] = writeAddress('127.0.0.1', slab.bytes, at + SLOT_ADDRESS);
  }
  assert.equal(socket.send(Int32Array.of(0, 1, 2), 3), 3);
  const state = { closed: false };
  const close = () => socket.close().then(() => Object.assign(state, { closed: true }));
  return { close, settlers, state, timer, sums: () => sumCounters(counters) };
}

test('a close waits until what is queued has left', async (t) => {
  const { close, settlers, state, timer, sums } = await queued(t);
  const closing = close();
  await settle();
  for (const settleOne of settlers.slice(1)) settleOne(null);
  await settle();
  assert.equal(state.closed, false);
  settlers[0](null);
  await closing;
  assert.equal(timer.fire, null, 'the timer is cancelled');
  assert.equal(sums().sent, 3);
});

test('a close waits no longer than it may', async (t) => {
  const { close, state, timer } = await queued(t);
  const closing = close();
  await settle();
  assert.equal(state.closed, false);
  assert.ok(timer.delayMs === CLOSE_WAIT_MS && CLOSE_WAIT_MS < 1_000);
  timer.fire?.();
  await closing;
});

test('a close with nothing queued does not wait, and a refusal settles too', async (t) => {
  const { close, settlers, timer, sums } = await queued(t);
  for (const settleOne of settlers) settleOne(new Error('refused'));
  await close();
  assert.equal(timer.delayMs, 0, 'no timer');
  assert.deepEqual([sums().sent, sums().dropSendError], [0, 3]);
});

test('starved, it still says that its turn ends: who sleeps must be woken again', async () => {
  const house = await openHouse('dgram', { slotCount: 1 });
  const client = await Client.open();
  const held: number[] = [];
  const calls: string[] = [];
  house.socket.start((slots) => held.push(slots[0]), {
    onStarved: () => calls.push('starved'),
    onTurnEnd: () => calls.push('turn ends'),
  });
  client.send('one', house.socket.port, '127.0.0.1');
  client.send('two', house.socket.port, '127.0.0.1');
  await until(() => house.sums().dropNoSlot === 1, 'a drop');
  assert.deepEqual(calls, ['turn ends', 'starved', 'turn ends']);
  house.socket.send(Int32Array.from(held), 1);
  house.socket.release(Int32Array.from(held), 1);
  client.close();
  await closeHouse(house);
});
