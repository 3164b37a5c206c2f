import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Admission } from '../../../server/admission.ts';
import { Collector } from '../../../server/collector.ts';
import type { Dispatcher } from '../../../server/dispatch.ts';
import { SOCKET_DNS } from '../../../server/net/protocol-table.ts';
import { Pipeline } from '../../../server/pipeline.ts';
import {
  allocateCounters,
  COUNTER,
  counterRow,
  inFlight,
  sumCounters,
} from '../../../workers/counters.ts';
import { Overflow } from '../../../workers/overflow.ts';
import { Ring } from '../../../workers/ring.ts';
import {
  SLOT_BUSY,
  SLOT_BYTES,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_RECEIVER,
  SLOT_STATE,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_UDP,
} from '../../../workers/slab.ts';
import { DOMAIN, queryBytes } from '../../helpers/lane-harness.ts';

const PER_SOCKET = 8;
const FIRST_OWN = 2 * PER_SOCKET;

/** Two sockets that remember what they are given; one lane behind rings, answered by hand. */
function house(ringCapacity: number, lanesSend = false) {
  const slab = Slab.allocate(3 * PER_SOCKET);
  const buffer = allocateCounters(2);
  const counters = counterRow(buffer, 0);
  const sent: [number, number][] = [];
  const released: [number, number][] = [];
  const receivers = [0, 1].map((receiver) => ({
    receiver,
    mayDrop: true,
    send(slots: Int32Array, count: number): number {
      for (let i = 0; i < count; i++) sent.push([receiver, slots[i]]);
      counters[COUNTER.sent] += count;
      return count;
    },
    release(slots: Int32Array, count: number): void {
      for (let i = 0; i < count; i++) released.push([receiver, slots[i]]);
    },
  }));
  const lane = {
    requests: Ring.allocate(ringCapacity),
    replies: Ring.allocate(64),
    inline: null,
    counters: counterRow(buffer, 1),
    firstOriginSlot: FIRST_OWN,
    originSlots: PER_SOCKET,
  };
  const collector = new Collector({
    slab,
    counters,
    receivers,
    lanes: [lane],
    slotsPerReceiver: PER_SOCKET,
    firstLaneSlot: FIRST_OWN,
    limiter: null,
    lanesSend,
  });
  const pipeline = new Pipeline({
    counters,
    admission: new Admission(slab, new Overflow(Overflow.allocate(0), 0), counters),
    dispatcher: { laneOf: () => 0 } as unknown as Dispatcher,
    collector,
    lanes: [lane],
    mostWaiting: Number.POSITIVE_INFINITY,
    clock: { now: () => 0, every: () => () => {}, after: () => () => {}, soon: () => {} },
  });
  const arrive = (slot: number, datagram: Uint8Array): void => {
    const base = slot * SLOT_BYTES;
    slab.bytes.set(datagram, base + SLOT_HEADER_BYTES);
    slab.i32[(base + SLOT_LENGTH) >> 2] = datagram.length;
    slab.bytes[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
    slab.u16[(base + SLOT_PORT) >> 1] = 1000;
    slab.u16[(base + SLOT_RECEIVER) >> 1] = Math.floor(slot / PER_SOCKET);
    counters[COUNTER.received]++;
  };
  const receive = (receiver: number, ...slots: number[]): void =>
    pipeline.receive(receivers[receiver], SOCKET_DNS, Int32Array.from(slots), slots.length);
  return { slab, buffer, sent, released, lane, collector, arrive, receive };
}

const QUERY = queryBytes({ name: DOMAIN });

test('accepted datagrams go to the lane, answers leave by their socket, slots return', () => {
  const { arrive, collector, lane, receive, released, sent } = house(64);
  for (const slot of [0, 1, 8, 9]) arrive(slot, QUERY);
  receive(0, 0, 1);
  receive(1, 8, 9);
  const waiting = new Int32Array(8);
  assert.equal(lane.requests.pop(waiting, 8), 4);
  lane.replies.push(Int32Array.of(9, 0, 1, 8), 0, 4);
  collector.collect(0);
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
  const { arrive, buffer, receive, released } = house(2);
  for (let slot = 0; slot < 5; slot++) arrive(slot, QUERY);
  receive(0, 0, 1, 2, 3, 4);
  assert.deepEqual(
    released,
    [2, 3, 4].map((slot) => [0, slot]),
  );
  const counters = sumCounters(buffer);
  assert.equal(counters.dropRingFull, 3);
  assert.equal(inFlight(counters), 2);
});

test('dropped and briefly answered datagrams never reach the lane', () => {
  const { arrive, buffer, lane, receive, released, sent } = house(64);
  arrive(0, QUERY.slice(0, 5));
  arrive(1, QUERY.with(2, 0x28));
  arrive(2, QUERY);
  receive(0, 0, 1, 2);
  assert.equal(lane.requests.size, 1);
  assert.deepEqual(sent, [[0, 1]]);
  assert.deepEqual(released, [
    [0, 0],
    [0, 1],
  ]);
  assert.equal(inFlight(sumCounters(buffer)), 1);
});

test('an answer of length 0 is not sent; a slot of the lane is marked free', () => {
  const { arrive, collector, lane, receive, released, sent, slab } = house(64);
  arrive(3, QUERY);
  receive(0, 3);
  lane.requests.pop(new Int32Array(1), 1);
  slab.i32[(3 * SLOT_BYTES) >> 2] = 0;
  slab.i32[(FIRST_OWN * SLOT_BYTES) >> 2] = 20;
  slab.bytes[FIRST_OWN * SLOT_BYTES + SLOT_STATE] = SLOT_BUSY;
  lane.replies.push(Int32Array.of(3, FIRST_OWN), 0, 2);
  collector.collect(0);
  assert.deepEqual(sent, [[0, FIRST_OWN]]);
  assert.deepEqual(released, [[0, 3]]);
  assert.equal(slab.bytes[FIRST_OWN * SLOT_BYTES + SLOT_STATE], 0);
});

test('what a lane has sent itself is only released', () => {
  const { arrive, collector, lane, receive, released, sent } = house(64, true);
  arrive(3, QUERY);
  receive(0, 3);
  lane.requests.pop(new Int32Array(1), 1);
  lane.replies.push(Int32Array.of(3), 0, 1);
  collector.collect(0);
  assert.deepEqual(sent, []);
  assert.deepEqual(released, [[0, 3]]);
});

for (const lanesSend of [false, true]) {
  const who = lanesSend ? 'the lane sends' : 'main sends';
  test(`a dead lane: published is sent, waiting stays, held is dropped (${who})`, () => {
    const { arrive, buffer, collector, lane, receive, released, slab } = house(64, lanesSend);
    const row = lane.counters;
    for (let slot = 0; slot < 7; slot++) arrive(slot, QUERY);
    receive(0, 0, 1, 2, 3, 4, 5, 6);
    // It took five: published one answer and one without, and died with three in its hands, of
    // which it had counted one.
    lane.requests.pop(new Int32Array(5), 5);
    slab.i32[(1 * SLOT_BYTES) >> 2] = 0;
    row[COUNTER.absorbed]++;
    if (lanesSend) row[COUNTER.sent]++;
    lane.replies.push(Int32Array.of(0, 1), 0, 2);
    row[COUNTER.absorbed]++;
    // A push it had counted and not published, and one that was published.
    row[COUNTER.originated]++;
    slab.bytes[FIRST_OWN * SLOT_BYTES + SLOT_STATE] = SLOT_BUSY;
    if (!lanesSend) {
      row[COUNTER.originated]++;
      slab.i32[((FIRST_OWN + 1) * SLOT_BYTES) >> 2] = 20;
      lane.replies.push(Int32Array.of(FIRST_OWN + 1), 0, 1);
    }
    assert.equal(collector.reclaim(0), 3);
    const counters = sumCounters(buffer);
    assert.equal(counters.dropLaneDied, 3);
    assert.equal(inFlight(counters), 2, 'the two on the ring');
    assert.equal(lane.requests.size, 2);
    assert.deepEqual(released.map(([, slot]) => slot).sort(), [0, 1, 2, 3, 4]);
    assert.equal(slab.bytes[FIRST_OWN * SLOT_BYTES + SLOT_STATE], 0);
    // Nothing more to take back: a second death costs nothing.
    assert.equal(collector.reclaim(0), 0);
    assert.equal(inFlight(sumCounters(buffer)), 2);
  });
}
