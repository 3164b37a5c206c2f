/**
 * Lanes that send by themselves: threads with a sender on the main thread's socket, killed at any
 * time while main goes on receiving on it.
 *
 * SENDER_KILLS: how many threads are killed, 40 unless told.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { writeAddress } from '../../../server/net/ip-address.ts';
import { packageRoot } from '../../../server/net/native/addon.ts';
import { allocateCounters, COUNTER, counterRow } from '../../../workers/counters.ts';
import {
  SLOT_ADDRESS,
  SLOT_BYTES,
  SLOT_FAMILY,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_PORT,
  Slab,
} from '../../../workers/slab.ts';
import { type House, missing, openHouse } from './udp-house.ts';

const skip = missing('batch');
const KILLS = Number(process.env.SENDER_KILLS ?? 40);
/** Threads at a time. */
const SENDERS = 2;
/** For a machine that is busy with other things. */
const DEADLINE_MS = 20_000;
const SLOTS = 256;
/** The slots from here on are those that threads send. */
const FIRST_SENT = 192;
const PER_SENDER = 32;

/** Sends its slots over and over, as a lane's BatchSender does; lengths are as main set them. */
const RAW_SENDER = `
  const { workerData } = require('node:worker_threads');
  const { file, fd, buffer, first, count, length, slotBytes, turns } = workerData;
  const addon = require(file);
  const handle = addon.duplicate(fd);
  const slab = new Uint8Array(buffer);
  const words = new Int32Array(buffer);
  const slots = Int32Array.from({ length: count }, (_, i) => first + i);
  const counts = new Uint32Array(4);
  for (;;) {
    for (const slot of slots) words[(slot * slotBytes) >> 2] = length;
    addon.send(handle, slab, slots, count, counts);
    Atomics.add(turns, 0, 1);
  }
`;

/** The same by openSender, with the loader of TypeScript, which a worker does not inherit. */
const TYPED_SENDER = `
  const { workerData } = require('node:worker_threads');
  const { fd, buffer, counters, first, count, length, slotBytes, turns } = workerData;
  import('tsx/esm/api').then(async (tsx) => {
    tsx.register();
    const { openSender } = await import(workerData.batchSocket);
    const { Slab } = await import(workerData.slab);
    const { counterRow } = await import(workerData.counterRows);
    const slab = new Slab(buffer);
    const sender = openSender(fd, slab, counterRow(counters, 1));
    const slots = Int32Array.from({ length: count }, (_, i) => first + i);
    for (let turn = 0; turn < workerData.rounds; turn++) {
      for (const slot of slots) slab.i32[(slot * slotBytes) >> 2] = length;
      sender.send(slots, count);
      Atomics.add(turns, 0, 1);
    }
    sender.close();
  });
`;

const MODULES = {
  batchSocket: new URL('../../../server/net/batch-socket.ts', import.meta.url).href,
  slab: new URL('../../../workers/slab.ts', import.meta.url).href,
  counterRows: new URL('../../../workers/counters.ts', import.meta.url).href,
};

const BODY_BYTES = 40;

/** A house whose last slots hold datagrams to itself, and that counts and checks what arrives. */
async function openLoop(): Promise<{ house: House; received: () => number; data: object }> {
  const slab = Slab.allocate(SLOTS);
  const house = await openHouse('batch', { slab, slotCount: FIRST_SENT });
  let received = 0;
  house.socket.start((slots, count) => {
    for (let i = 0; i < count; i++) {
      const base = slots[i] * SLOT_BYTES;
      const at = base + SLOT_HEADER_BYTES;
      // Filled with the number of the slot that was sent.
      assert.equal(slab.i32[(base + SLOT_LENGTH) >> 2], BODY_BYTES);
      assert.equal(slab.bytes[at], slab.bytes[at + BODY_BYTES - 1]);
    }
    received += count;
    house.socket.release(slots, count);
  });
  for (let slot = FIRST_SENT; slot < SLOTS; slot++) {
    const base = slot * SLOT_BYTES;
    slab.bytes[base + SLOT_FAMILY] = writeAddress('127.0.0.1', slab.bytes, base + SLOT_ADDRESS);
    slab.u16[(base + SLOT_PORT) >> 1] = house.socket.port;
    const at = base + SLOT_HEADER_BYTES;
    slab.bytes.fill(slot, at, at + BODY_BYTES);
  }
  const data = {
    fd: house.socket.fd,
    buffer: slab.buffer,
    count: PER_SENDER,
    length: BODY_BYTES,
    slotBytes: SLOT_BYTES,
  };
  return { house, received: () => received, data };
}

async function until(isTrue: () => boolean, what: () => string): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!isTrue()) {
    assert.ok(Date.now() < deadline, what());
    await setImmediate();
  }
}

const descriptors = () => readdirSync('/proc/self/fd').length;

function addonFile(): string {
  const build = createRequire(import.meta.url)('node-gyp-build') as {
    resolve(root: string): string;
  };
  return build.resolve(packageRoot());
}

/** Closes when no more arrives; every slot is back. */
async function close(house: House, received: () => number): Promise<void> {
  let last = -1;
  while (last !== received()) {
    last = received();
    for (let i = 0; i < 20; i++) await setImmediate();
  }
  assert.equal(house.sums().received, received());
  assert.equal(house.socket.freeSlots, FIRST_SENT, 'slots lost');
  await house.socket.close();
}

test(`${KILLS} threads killed while they send on the socket main receives on`, {
  skip,
}, async (context) => {
  const { house, received, data } = await openLoop();
  context.after(() => house.socket.close());
  const file = addonFile();
  const kill = async (place: number) => {
    const turns = new Int32Array(new SharedArrayBuffer(4));
    const first = FIRST_SENT + place * PER_SENDER;
    const worker = new Worker(RAW_SENDER, {
      eval: true,
      workerData: { ...data, file, first, turns },
    });
    const before = received();
    await until(
      () => Atomics.load(turns, 0) > 3 && received() > before,
      () => `no traffic: ${Atomics.load(turns, 0)} turns, ${received() - before} received`,
    );
    await worker.terminate();
  };
  const killAll = async (kills: number) => {
    let left = kills;
    const places = Array.from({ length: SENDERS }, (_, place) => place);
    await Promise.all(
      places.map(async (place) => {
        while (left-- > 0) await kill(place);
      }),
    );
  };
  await killAll(SENDERS);
  const before = descriptors();
  await killAll(KILLS);
  // Not equal: what earlier threads had may be closed only now.
  await until(
    () => descriptors() <= before,
    () => `descriptors leaked: ${descriptors() - before}`,
  );
  context.diagnostic(`${received()} datagrams received`);
  await close(house, received);
});

test('openSender in a thread sends on main’s socket, counts in its own row, and closes', {
  skip,
}, async () => {
  const { house, received, data } = await openLoop();
  const counters = allocateCounters(2);
  const turns = new Int32Array(new SharedArrayBuffer(4));
  const start = (rounds: number) =>
    new Worker(TYPED_SENDER, {
      eval: true,
      workerData: { ...data, ...MODULES, counters, first: FIRST_SENT, turns, rounds },
    });
  const finite = start(10);
  finite.on('error', (error) => assert.fail(error));
  await once(finite, 'exit');
  const row = counterRow(counters, 1);
  assert.equal(row[COUNTER.sent] + row[COUNTER.dropSendFull], 10 * PER_SENDER);
  await until(
    () => received() === row[COUNTER.sent],
    () => `${received()} of ${row[COUNTER.sent]} received`,
  );
  const before = descriptors();
  for (let i = 0; i < 3; i++) {
    const seen = Atomics.load(turns, 0);
    const endless = start(Number.POSITIVE_INFINITY);
    await until(
      () => Atomics.load(turns, 0) > seen + 5,
      () => 'the thread does not send',
    );
    await endless.terminate();
  }
  // Not equal: what earlier threads had may be closed only now.
  await until(
    () => descriptors() <= before,
    () => `descriptors leaked: ${descriptors() - before}`,
  );
  await close(house, received);
});
