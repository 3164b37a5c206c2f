import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Dispatcher } from '../../../server/dispatch.ts';
import { SOCKET_DNS } from '../../../server/net/protocol-table.ts';
import type { UdpSocket } from '../../../server/net/udp-socket.ts';
import { Pipeline } from '../../../server/pipeline.ts';
import { allocateCounters, counterRow, inFlight, sumCounters } from '../../../workers/counters.ts';
import { Ring } from '../../../workers/ring.ts';
import {
  SLOT_BYTES,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_RECEIVER,
  SLOT_STATE,
  Slab,
} from '../../../workers/slab.ts';
import { DOMAIN, queryBytes } from '../../helpers/lane-harness.ts';

const PER_SOCKET = 8;

/** Two sockets that remember what they are given; one lane behind rings, answered by hand. */
function house(ringCapacity: number) {
  const slab = Slab.allocate(3 * PER_SOCKET);
  const buffer = allocateCounters(1);
  const counters = counterRow(buffer, 0);
  const sent: [number, number][] = [];
  const released: [number, number][] = [];
  const sockets = [0, 1].map((receiver) => ({
    receiver,
    send(slots: Int32Array, count: number): number {
      for (let i = 0; i < count; i++) sent.push([receiver, slots[i]]);
      counters[2] += count;
      return count;
    },
    release(slots: Int32Array, count: number): void {
      for (let i = 0; i < count; i++) released.push([receiver, slots[i]]);
    },
  })) as unknown as UdpSocket[];
  const lane = {
    requests: Ring.allocate(ringCapacity),
    replies: Ring.allocate(64),
    inline: null,
  };
  const pipeline = new Pipeline({
    slab,
    counters,
    sockets,
    socketUses: [SOCKET_DNS, SOCKET_DNS],
    lanes: [lane],
    dispatcher: { laneOf: () => 0 } as unknown as Dispatcher,
    clock: { now: () => 0, every: () => () => {}, after: () => () => {} },
    slotsPerSocket: PER_SOCKET,
    firstLaneSlot: 2 * PER_SOCKET,
  });
  const arrive = (slot: number, datagram: Uint8Array): void => {
    const base = slot * SLOT_BYTES;
    slab.bytes.set(datagram, base + SLOT_HEADER_BYTES);
    slab.i32[(base + SLOT_LENGTH) >> 2] = datagram.length;
    slab.u16[(base + SLOT_PORT) >> 1] = 1000;
    slab.u16[(base + SLOT_RECEIVER) >> 1] = Math.floor(slot / PER_SOCKET);
    counters[0]++;
  };
  return { slab, buffer, sent, released, sockets, lane, pipeline, arrive };
}

const QUERY = queryBytes({ name: DOMAIN });

test('accepted datagrams go to the lane, answers leave by their socket, slots return', () => {
  const { arrive, lane, pipeline, released, sent, sockets } = house(64);
  for (const slot of [0, 1]) arrive(slot, QUERY);
  for (const slot of [8, 9]) arrive(slot, QUERY);
  pipeline.receive(sockets[0], Int32Array.of(0, 1), 2);
  pipeline.receive(sockets[1], Int32Array.of(8, 9), 2);
  const waiting = new Int32Array(8);
  assert.equal(lane.requests.pop(waiting, 8), 4);
  lane.replies.push(Int32Array.of(9, 0, 1, 8), 0, 4);
  pipeline.collect(lane);
  const expected = [
    [1, 9],
    [0, 0],
    [0, 1],
    [1, 8],
  ];
  assert.deepEqual(sent, expected);
  assert.deepEqual(released, expected);
});

test('a full request ring is a counted drop, and its slots are free again', () => {
  const { arrive, buffer, pipeline, released, sockets } = house(2);
  for (let slot = 0; slot < 5; slot++) arrive(slot, QUERY);
  pipeline.receive(sockets[0], Int32Array.of(0, 1, 2, 3, 4), 5);
  assert.deepEqual(
    released,
    [2, 3, 4].map((slot) => [0, slot]),
  );
  const counters = sumCounters(buffer);
  assert.equal(counters.dropRingFull, 3);
  assert.equal(inFlight(counters), 2);
});

test('dropped and briefly answered datagrams never reach the lane', () => {
  const { arrive, buffer, lane, pipeline, released, sent, sockets } = house(64);
  arrive(0, QUERY.slice(0, 5));
  arrive(1, QUERY.with(2, 0x28));
  arrive(2, QUERY);
  pipeline.receive(sockets[0], Int32Array.of(0, 1, 2), 3);
  assert.equal(lane.requests.size, 1);
  assert.deepEqual(sent, [[0, 1]]);
  assert.deepEqual(released, [
    [0, 0],
    [0, 1],
  ]);
  assert.equal(inFlight(sumCounters(buffer)), 1);
});

test('an answer of length 0 is not sent; a slot of the lane is marked free', () => {
  const { arrive, lane, pipeline, released, sent, slab } = house(64);
  arrive(3, QUERY);
  slab.i32[(3 * SLOT_BYTES) >> 2] = 0;
  const push = 2 * PER_SOCKET + 1;
  arrive(push, QUERY);
  slab.u16[(push * SLOT_BYTES + SLOT_RECEIVER) >> 1] = 1;
  slab.bytes[push * SLOT_BYTES + SLOT_STATE] = 1;
  lane.replies.push(Int32Array.of(3, push), 0, 2);
  pipeline.collect(lane);
  assert.deepEqual(sent, [[1, push]]);
  assert.deepEqual(released, [[0, 3]]);
  assert.equal(slab.bytes[push * SLOT_BYTES + SLOT_STATE], 0);
});
