/** The control plane's datagrams on their way into slots and out by two sockets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SlotTransport } from '../../../server/dht/slot-transport.ts';
import { allocateCounters, counterRow, inFlight, sumCounters } from '../../../workers/counters.ts';
import {
  SLOT_ADDRESS,
  SLOT_BUDGET,
  SLOT_BYTES,
  SLOT_DATA_BYTES,
  SLOT_FAMILY,
  SLOT_KEY_HASH,
  SLOT_STATE,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_UDP,
} from '../../../workers/slab.ts';
import { settle } from '../../helpers/dht-node-clock.ts';
import { fakeSockets } from './fake-sockets.ts';

const FIRST_SLOT = 3;
const TO = { host: '10.1.2.3', port: 40_001 };

function bench(slotCount: number) {
  const slab = Slab.allocate(FIRST_SLOT + slotCount + 1);
  slab.bytes.fill(0xee);
  const buffer = allocateCounters(1);
  const counters = counterRow(buffer, 0);
  const sockets = fakeSockets(slab, counters);
  const parts = { slab, firstSlot: FIRST_SLOT, slotCount, counters, ...sockets };
  return { slab, sockets, transport: new SlotTransport(parts), sums: () => sumCounters(buffer) };
}

test('a datagram leaves at the end of the turn by the socket it is for', async () => {
  const { slab, sockets, transport, sums } = bench(4);
  assert.equal(transport.serverPort, sockets.server.port);
  transport.send('client', Uint8Array.of(1, 2, 3), TO);
  assert.equal(sockets.sent.length, 0);
  assert.equal(inFlight(sums()), 1);
  await settle();
  assert.equal(inFlight(sums()), 0);
  const [sent] = sockets.sent;
  assert.deepEqual([...sent.datagram], [1, 2, 3]);
  assert.deepEqual([sent.by, sent.receiver, sent.to], ['client', 1, '10.1.2.3:40001']);
  assert.equal(sent.slot, FIRST_SLOT);
  // Nothing is left of what was in the slot before.
  const { header } = sent;
  const words = new Int32Array(header.buffer);
  assert.equal(header[SLOT_FAMILY], 4);
  assert.equal(header[SLOT_TRANSPORT], TRANSPORT_UDP);
  assert.equal(header[SLOT_STATE], 0);
  assert.equal(words[SLOT_KEY_HASH >> 2], 0);
  assert.equal(words[SLOT_BUDGET >> 2], SLOT_DATA_BYTES);
  const mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3];
  assert.deepEqual([...header.subarray(SLOT_ADDRESS, SLOT_ADDRESS + 16)], mapped);
  // Nor is anything touched that is others'.
  const [before, after] = [FIRST_SLOT * SLOT_BYTES - 1, (FIRST_SLOT + 4) * SLOT_BYTES];
  assert.deepEqual([slab.bytes[before], slab.bytes[after]], [0xee, 0xee]);
});

test('datagrams of both sockets in one flush leave with one call each, in order', async () => {
  const { sockets, transport, sums } = bench(8);
  for (let i = 0; i < 7; i++) {
    transport.send(i % 3 === 0 ? 'server' : 'client', Uint8Array.of(i), TO);
  }
  await settle();
  assert.deepEqual(sockets.calls, [
    ['server', 3],
    ['client', 4],
  ]);
  assert.deepEqual(
    sockets.sent.map(({ by, receiver, datagram }) => [by, receiver, datagram[0]]),
    [...[0, 3, 6].map((i) => ['server', 0, i]), ...[1, 2, 4, 5].map((i) => ['client', 1, i])],
  );
  assert.equal(inFlight(sums()), 0);
});

test('with more in one turn than there are slots those before leave at once', async () => {
  const { sockets, transport, sums } = bench(4);
  for (let turn = 0; turn < 2; turn++) {
    sockets.calls.length = 0;
    sockets.sent.length = 0;
    for (let i = 0; i < 11; i++) {
      transport.send('server', Uint8Array.of(i, turn), { host: '10.0.0.1', port: 1 + i });
    }
    assert.deepEqual(sockets.calls, [
      ['server', 4],
      ['server', 4],
    ]);
    await settle();
    assert.equal(sockets.calls.length, 3);
    assert.deepEqual(
      sockets.sent.map(({ datagram, to }) => [datagram[0], datagram[1], to]),
      Array.from({ length: 11 }, (_, i) => [i, turn, `10.0.0.1:${1 + i}`]),
    );
  }
  assert.equal(sums().originated, 22);
  assert.equal(inFlight(sums()), 0);
});

test('as many as there are slots leave together; a flush of nothing is none', async () => {
  const { sockets, transport } = bench(4);
  for (let i = 0; i < 4; i++) transport.send('server', Uint8Array.of(i), TO);
  assert.deepEqual(sockets.calls, []);
  transport.flush();
  assert.deepEqual(sockets.calls, [['server', 4]]);
  await settle();
  assert.equal(sockets.calls.length, 1);
});

test('too long datagrams, and hosts that are none, are refused and not counted', async () => {
  const { sockets, transport, sums } = bench(4);
  const longest = new Uint8Array(SLOT_DATA_BYTES).fill(7);
  const tooLong = new Uint8Array(SLOT_DATA_BYTES + 1);
  assert.throws(() => transport.send('server', tooLong, TO), {
    name: 'RangeError',
    message: new RegExp(`^${SLOT_DATA_BYTES + 1} bytes: expected .* at most ${SLOT_DATA_BYTES}`),
  });
  for (const host of ['::1', 'localhost', '1.2.3', '256.1.1.1', '']) {
    const to = { host, port: 1 };
    assert.throws(() => transport.send('server', longest, to), /expected IPv4/, host);
  }
  await settle();
  assert.deepEqual(sockets.calls, []);
  assert.equal(sums().originated, 0);
  transport.send('server', longest, TO);
  await settle();
  assert.deepEqual(sockets.sent[0].datagram, longest);
});
