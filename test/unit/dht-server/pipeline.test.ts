/** Datagrams of the DHT on main's side: admission, dispatch, checks of signatures, what is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMAND, INTERNAL, REPLY_BYTE, REQUEST_BYTE } from '../../../codecs/dht/constants.ts';
import { encodeReply, encodeRequest } from '../../../codecs/dht/message.ts';
import { DomainTable } from '../../../codecs/dns/domains.ts';
import { QueryReader } from '../../../codecs/dns/query.ts';
import { V4_MAPPED } from '../../../codecs/mapped-address.ts';
import { Admission } from '../../../server/admission.ts';
import { Collector, type LanePort } from '../../../server/collector.ts';
import { DhtAdmission } from '../../../server/dht-admission.ts';
import { Dispatcher } from '../../../server/dispatch.ts';
import { CidrList } from '../../../server/limits/cidr.ts';
import { RateLimiter } from '../../../server/limits/rate-limiter.ts';
import { SOCKET_DHT } from '../../../server/net/protocol-table.ts';
import type { Receiver } from '../../../server/net/receiver.ts';
import { Pipeline } from '../../../server/pipeline.ts';
import {
  allocateCounters,
  COUNTER,
  type CounterRow,
  counterRow,
  inFlight,
  sumCounters,
} from '../../../workers/counters.ts';
import { nameHash } from '../../../workers/create-lane.ts';
import { Overflow } from '../../../workers/overflow.ts';
import { Ring } from '../../../workers/ring.ts';
import {
  BUDGET_SILENT,
  SLOT_ADDRESS,
  SLOT_BUDGET,
  SLOT_BYTES,
  SLOT_FAMILY,
  SLOT_GENUINE,
  SLOT_HEADER_BYTES,
  SLOT_KEY_HASH,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_PROVEN,
  SLOT_SIGHTED,
  SLOT_STATE,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_UDP,
} from '../../../workers/slab.ts';

const SLOTS = 64;
const TO = { host: '192.0.2.9', port: 49_737 };

interface Options {
  readonly lanes?: number;
  readonly repliesPerSecond?: number;
  readonly takesChecks?: boolean;
}

function rememberingReceiver(counters: CounterRow, sent: number[], released: number[]): Receiver {
  return {
    receiver: 0,
    mayDrop: true,
    send(slots, count) {
      for (let i = 0; i < count; i++) sent.push(slots[i]);
      counters[COUNTER.sent] += count;
      return count;
    },
    release(slots, count) {
      for (let i = 0; i < count; i++) released.push(slots[i]);
    },
  };
}

/** Empty lists. */
function lists(count: number): number[][] {
  return Array.from({ length: count }, () => []);
}

function lanePorts(counters: SharedArrayBuffer, lanes: number): LanePort[] {
  return Array.from({ length: lanes }, (_, lane) => ({
    requests: Ring.allocate(128),
    replies: Ring.allocate(128),
    inline: null,
    counters: counterRow(counters, 1 + lane),
    firstOriginSlot: SLOTS,
    originSlots: 4,
  }));
}

/** Puts a datagram by UDP from 192.0.2.1 into a slot. */
function fill(slab: Slab, slot: number, datagram: Uint8Array, port: number): void {
  const base = slot * SLOT_BYTES;
  slab.bytes.fill(0, base, base + SLOT_BYTES);
  slab.bytes.set(datagram, base + SLOT_HEADER_BYTES);
  slab.i32[(base + SLOT_LENGTH) >> 2] = datagram.length;
  slab.bytes[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
  slab.bytes[base + SLOT_FAMILY] = 4;
  slab.i32[(base + SLOT_ADDRESS + 8) >> 2] = V4_MAPPED;
  slab.view.setUint32(base + SLOT_ADDRESS + 12, 0xc0_00_02_01);
  slab.u16[(base + SLOT_PORT) >> 1] = port;
}

/** One socket, lanes behind rings answered by hand, and a desk that notes what it is told. */
function house({ lanes = 1, repliesPerSecond = 1000, takesChecks = true }: Options = {}) {
  const slab = Slab.allocate(2 * SLOTS);
  const buffer = allocateCounters(1 + lanes);
  const counters = counterRow(buffer, 0);
  const [sent, released, checks, noticed, controlled, challenged] = lists(6);
  const proven = new Set<number>();
  const receiver = rememberingReceiver(counters, sent, released);
  const ports = lanePorts(buffer, lanes);
  const limiter = new RateLimiter({ repliesPerSecond, exempt: CidrList.none, hashKey: [1, 2] });
  const collector = new Collector({
    slab,
    counters,
    receivers: [receiver],
    lanes: ports,
    slotsPerReceiver: SLOTS,
    firstLaneSlot: SLOTS,
    limiter,
    lanesSend: false,
    dht: {
      check: (slot) => takesChecks && checks.push(slot) > 0,
      noticed: (slot) => void noticed.push(slot),
    },
  });
  const overflow = new Overflow(Overflow.allocate(0), 0);
  const dht = new DhtAdmission({
    slab,
    counters,
    limiter,
    sparesPrivate: true,
    proven: { has: (_words, _at, port) => proven.has(port) },
    challenge: (slot) => void challenged.push(slot),
  });
  const reader = new QueryReader(new DomainTable(['dns-discovery.local']));
  const pipeline = new Pipeline({
    counters,
    admission: new Admission(slab, overflow, counters, limiter, dht),
    dispatcher: new Dispatcher(slab, overflow, lanes, reader, nameHash([3, 4])),
    collector,
    lanes: ports,
    mostWaiting: Number.POSITIVE_INFINITY,
    clock: { now: () => 1000, every: () => () => {}, after: () => () => {}, soon: () => {} },
    control: (slot) => {
      controlled.push(slot);
      counters[COUNTER.absorbed]++;
    },
  });
  const arrive = (slot: number, datagram: Uint8Array, port = 1000): void => {
    fill(slab, slot, datagram, port);
    counters[COUNTER.received]++;
  };
  const receive = (...slots: number[]): void =>
    pipeline.receive(receiver, SOCKET_DHT, Int32Array.from(slots), slots.length);
  /** What waits at a lane. */
  const waiting = (lane = 0): number[] => {
    const slots = new Int32Array(128);
    return Array.from(slots.subarray(0, ports[lane].requests.pop(slots, 128)));
  };
  const answer = (slot: number, length: number, lane = 0): void => {
    slab.i32[(slot * SLOT_BYTES + SLOT_LENGTH) >> 2] = length;
    ports[lane].replies.push(Int32Array.of(slot), 0, 1);
  };
  const word = (slot: number, field: number) => slab.i32[(slot * SLOT_BYTES + field) >> 2];
  const state = (slot: number) => slab.bytes[slot * SLOT_BYTES + SLOT_STATE];
  return {
    ...{ slab, buffer, sent, released, checks, noticed, controlled, challenged, proven },
    ...{ collector, pipeline, arrive, receive, waiting, answer, word, state },
  };
}

function request(command: number, isInternal: boolean, fields: object = {}): Uint8Array {
  const empty = { tid: 1, to: TO, id: null, token: null, target: null, value: null };
  return encodeRequest({ ...empty, command, isInternal, ...fields });
}

const PING = request(INTERNAL.PING, true);
const target = (first: number) => new Uint8Array(32).fill(7).fill(first, 0, 4);
const lookup = (first: number) => request(COMMAND.LOOKUP, false, { target: target(first) });
const REPLY = encodeReply({
  ...{ tid: 1, to: TO, id: null, token: null, closerNodes: [], error: 0, value: null },
});

test('requests go to a lane, replies to the control plane, the rest is dropped', () => {
  const at = house();
  at.arrive(0, PING);
  at.arrive(1, REPLY);
  at.arrive(2, Uint8Array.of(0x02, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
  at.arrive(3, Uint8Array.of(REQUEST_BYTE, 4, 0));
  at.arrive(4, Uint8Array.of(REPLY_BYTE));
  at.arrive(5, new Uint8Array(0));
  at.arrive(6, PING, 0);
  at.receive(0, 1, 2, 3, 4, 5, 6);
  assert.deepEqual(at.waiting(), [0]);
  assert.deepEqual(at.controlled, [1]);
  assert.deepEqual(at.released, [1, 2, 3, 4, 5, 6]);
  const counters = sumCounters(at.buffer);
  assert.equal(counters.dropUnknownProtocol, 2);
  assert.equal(counters.dropShort, 2);
  assert.equal(counters.dropPortZero, 1);
  assert.equal(inFlight(counters), 1);
});

test('a request of another family is dropped: the wire has IPv4 only', () => {
  const at = house();
  at.arrive(0, PING);
  at.slab.bytes[SLOT_FAMILY] = 6;
  at.receive(0);
  assert.deepEqual(at.waiting(), []);
  assert.equal(sumCounters(at.buffer).dropShort, 1);
});

test('a target has its lane, whatever else is in the request', () => {
  const at = house({ lanes: 4 });
  const shares = [0, 0, 0, 0];
  for (let first = 0; first < 256; first++) {
    at.arrive(0, lookup(first));
    at.arrive(1, request(COMMAND.FIND_PEER, false, { target: target(first), token: target(9) }));
    at.receive(0, 1);
    const lanes = [0, 1, 2, 3].filter((lane) => at.waiting(lane).length === 2);
    assert.equal(lanes.length, 1, `target ${first}`);
    assert.equal(at.word(0, SLOT_KEY_HASH), at.word(1, SLOT_KEY_HASH));
    shares[lanes[0]]++;
  }
  for (const share of shares) assert.ok(share > 30, shares.join(' '));
});

test('what has no target goes by its port', () => {
  const at = house({ lanes: 4 });
  const shares = [0, 0, 0, 0];
  for (let port = 1000; port < 3000; port += 2) {
    at.arrive(0, PING, port);
    at.receive(0);
    for (const lane of [0, 1, 2, 3]) shares[lane] += at.waiting(lane).length;
    assert.equal(at.word(0, SLOT_KEY_HASH), 0);
  }
  for (const share of shares) assert.ok(share > 200, shares.join(' '));
});

test('a signature is checked while the slot stays, and then the lane has it again', () => {
  const at = house();
  at.arrive(0, lookup(1));
  at.receive(0);
  at.waiting();
  const length = at.word(0, SLOT_LENGTH);
  at.answer(0, -length);
  at.collector.collect(0);
  assert.deepEqual(at.checks, [0]);
  assert.deepEqual([at.sent, at.released], [[], []]);
  assert.equal(at.word(0, SLOT_LENGTH), length);
  assert.equal(inFlight(sumCounters(at.buffer)), 1);
  at.slab.bytes[SLOT_STATE] |= SLOT_GENUINE;
  at.pipeline.resume(0);
  assert.deepEqual(at.waiting(), [0]);
  at.answer(0, 42);
  at.collector.collect(0);
  assert.deepEqual([at.sent, at.released], [[0], [0]]);
  assert.equal(inFlight(sumCounters(at.buffer)), 0);
});

test('with too many checks waiting the request is a counted drop', () => {
  const at = house({ takesChecks: false });
  at.arrive(0, lookup(1));
  at.receive(0);
  at.waiting();
  at.answer(0, -at.word(0, SLOT_LENGTH));
  at.collector.collect(0);
  assert.deepEqual([at.sent, at.released], [[], [0]]);
  const counters = sumCounters(at.buffer);
  assert.equal(counters.dropVerifyFull, 1);
  assert.equal(inFlight(counters), 0);
});

test('what a lane noticed is told once, when its answer has left', () => {
  const at = house();
  at.arrive(0, PING);
  at.arrive(1, PING);
  at.receive(0, 1);
  at.waiting();
  at.slab.bytes[SLOT_STATE] |= SLOT_SIGHTED;
  at.answer(0, 42);
  at.answer(1, 42);
  at.collector.collect(0);
  assert.deepEqual(at.noticed, [0]);
  assert.deepEqual(at.sent, [0, 1]);
});

test('who is beyond the budget of its prefix is pinged, and answered in short', () => {
  const at = house();
  let slot = 0;
  // Each lookup may draw 1,472 bytes, 1,287 of them above three times its own: 25 at once.
  for (; slot < 40; slot++) {
    at.arrive(slot, lookup(slot));
    at.receive(slot);
    if (at.challenged.length > 0) break;
  }
  assert.ok(slot > 20 && slot < 30, `${slot}`);
  assert.equal(at.word(slot, SLOT_BUDGET), 3 * (43 + 28) - 28);
  at.proven.add(1000);
  at.arrive(slot + 1, lookup(1));
  at.receive(slot + 1);
  assert.equal(at.challenged.length, 1);
  assert.equal(at.state(slot + 1), SLOT_PROVEN);
});

test('with its replies used up only a request with a token reaches a lane', () => {
  const at = house({ repliesPerSecond: 1 });
  const token = new Uint8Array(32);
  const asked = [lookup(1), lookup(2), lookup(3), lookup(4), lookup(5)];
  const withToken = request(COMMAND.LOOKUP, false, { target: target(1), token });
  [...asked, withToken, withToken].forEach((datagram, slot) => {
    at.arrive(slot, datagram);
    at.receive(slot);
  });
  const waiting = at.waiting();
  assert.ok(waiting.includes(5) && waiting.includes(6), waiting.join());
  assert.ok([5, 6].some((slot) => at.word(slot, SLOT_BUDGET) === BUDGET_SILENT));
  assert.ok(sumCounters(at.buffer).dropRateLimited > 0);
});

test('private sources of a private network have no limit', () => {
  const at = house({ repliesPerSecond: 1 });
  for (let slot = 0; slot < 10; slot++) {
    at.arrive(slot, lookup(slot));
    at.slab.view.setUint32(slot * SLOT_BYTES + SLOT_ADDRESS + 12, 0x0a_00_00_01);
    at.receive(slot);
  }
  assert.equal(at.waiting().length, 10);
  assert.deepEqual(at.challenged, []);
});

test('what was set aside for an answer comes back with the slot', () => {
  const at = house();
  for (let round = 0; round < 200; round++) {
    at.arrive(0, lookup(round));
    at.receive(0);
    at.waiting();
    at.answer(0, 100);
    at.collector.collect(0);
  }
  assert.deepEqual(at.challenged, [], 'answers within three times the request cost nothing');
});
