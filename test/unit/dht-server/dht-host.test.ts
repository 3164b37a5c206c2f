/** The node's glue: what lanes and sockets tell it, its pings, replies, checks of signatures. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { INTERNAL } from '../../../codecs/dht/constants.ts';
import {
  type DhtReply,
  type DhtRequest,
  decodeRequest,
  encodeReply,
} from '../../../codecs/dht/message.ts';
import { nodeId } from '../../../codecs/dht/node-id.ts';
import { V4_MAPPED } from '../../../codecs/mapped-address.ts';
import type { Collector } from '../../../server/collector.ts';
import { DhtHost } from '../../../server/dht/dht-host.ts';
import { reserveDht } from '../../../server/dht/dht-memory.ts';
import { buildHouse, mainCounters } from '../../../server/lanes/house.ts';
import type { DhtConfig } from '../../../server/options/config.ts';
import type { Pipeline } from '../../../server/pipeline.ts';
import { COUNTER, inFlight, sumCounters } from '../../../workers/counters.ts';
import { RoutingTable } from '../../../workers/dht/routing-table.ts';
import { Rng } from '../../../workers/rng.ts';
import {
  SLOT_ADDRESS,
  SLOT_BYTES,
  SLOT_DOWN_HINT,
  SLOT_FAMILY,
  SLOT_FORGED,
  SLOT_GENUINE,
  SLOT_HEADER_BYTES,
  SLOT_KEY_HASH,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_RECEIVER,
  SLOT_SIGHTED,
  SLOT_STATE,
  SLOT_UNPROVEN,
} from '../../../workers/slab.ts';
import { LOOPBACK_DHT } from '../../helpers/dht-appliance.ts';
import { StillClock, settle } from '../../helpers/dht-node-clock.ts';
import { watchVerifierThreads } from '../../helpers/verifier-threads.ts';
import { fillSlot, signedMutablePut } from '../dht-verifier/fixture.ts';
import { fakeSockets } from './fake-sockets.ts';

const STORES = { peers: 16, forwards: 16, refreshes: 16, mutables: 16, immutables: 16 };
const [SERVER, CLIENT] = [0, 1];
const TIMEOUT_MS = 60_000;

interface Source {
  readonly port?: number;
  readonly last?: number;
  readonly receiver?: number;
}

/** A node at 127.0.0.1:4000 that is persistent at once, in a house whose lane does nothing. */
function start(t: TestContext, given: Partial<DhtConfig> = {}, isInline = true) {
  const inline = isInline ? { verifiesInline: true as const } : {};
  const config = { ...LOOPBACK_DHT, stores: STORES, ...inline, ...given };
  const house = buildHouse(2, 1, 16);
  const counters = mainCounters(house);
  const clock = new StillClock();
  const sockets = fakeSockets(house.slab, counters);
  const memory = reserveDht(config, 1);
  const notices: string[] = [];
  const notice = (line: string) => void notices.push(line);
  const host = new DhtHost({ config, memory, house, sockets, counters, clock, notice });
  const resumed: number[] = [];
  const dropped: number[] = [];
  const pipeline = { resume: (slot: number) => resumed.push(slot), drainInline: () => undefined };
  const collector = { drop: (slot: number) => dropped.push(slot) };
  host.start(pipeline as unknown as Pipeline, collector as unknown as Collector);
  t.after(() => host.close());
  const { slab } = house;
  /** A datagram in a slot, from 10.0.0.`last`. */
  const put = (slot: number, datagram: Uint8Array, source: Source = {}): void => {
    const { port = 1000, last = 1, receiver = SERVER } = source;
    const base = slot * SLOT_BYTES;
    slab.bytes.fill(0, base, base + SLOT_BYTES);
    slab.bytes.set(datagram, base + SLOT_HEADER_BYTES);
    slab.i32[(base + SLOT_LENGTH) >> 2] = datagram.length;
    slab.bytes[base + SLOT_FAMILY] = 4;
    slab.i32[(base + SLOT_ADDRESS + 8) >> 2] = V4_MAPPED;
    slab.view.setUint32(base + SLOT_ADDRESS + 12, 0x0a_00_00_00 + last);
    slab.u16[(base + SLOT_PORT) >> 1] = port;
    slab.u16[(base + SLOT_RECEIVER) >> 1] = receiver;
  };
  const state = (slot: number): number => slab.bytes[slot * SLOT_BYTES + SLOT_STATE];
  /** What a lane noticed of a request. */
  const noticed = (bits: number, source?: Source, entry = 0): void => {
    put(0, new Uint8Array(), source);
    slab.bytes[SLOT_STATE] = bits;
    slab.i32[SLOT_KEY_HASH >> 2] = entry;
    host.noticed(0);
  };
  /** The requests that left since the last call, as `10.0.0.1:1000 by server`. */
  const asked = async (): Promise<{ where: string; request: DhtRequest }[]> => {
    await settle();
    return sockets.sent.splice(0).map(({ by, to, datagram }) => {
      const request = decodeRequest(datagram);
      assert.ok(request);
      return { where: `${to} by ${by}`, request };
    });
  };
  const sums = () => sumCounters(house.counters);
  return {
    ...{ host, clock, slab, counters, memory, notices, resumed, dropped, sockets },
    ...{ put, state, noticed, asked, sums },
  };
}

function reply(tid: number, fields: Partial<DhtReply> = {}): Uint8Array {
  const to = { host: '127.0.0.1', port: 4000 };
  const empty = { id: null, token: null, closerNodes: [], error: 0, value: null };
  return encodeReply({ tid, to, ...empty, ...fields });
}

test('a challenge is counted when a ping has left for it, and only then', async (t) => {
  const { host, asked, put, sums } = start(t);
  put(0, new Uint8Array());
  host.challenge(0);
  const [ping, ...others] = await asked();
  assert.equal(ping.where, '10.0.0.1:1000 by server');
  assert.equal(ping.request.command, INTERNAL.PING);
  assert.deepEqual(others, []);
  assert.equal(sums().dhtChallenges, 1);
  // The same again, the node itself, and whom nobody can ask.
  host.challenge(0);
  put(1, new Uint8Array(), { port: 0 });
  host.challenge(1);
  put(2, new Uint8Array(), { last: 0xff_ff_ff - 0x0a_00_00_00 });
  host.challenge(2);
  assert.deepEqual(await asked(), []);
  assert.equal(sums().dhtChallenges, 1);
  put(3, new Uint8Array(), { last: 3, receiver: CLIENT });
  host.challenge(3);
  assert.equal((await asked())[0].where, '10.0.0.3:1000 by client');
  assert.equal(sums().dhtChallenges, 2);
});

test('of a flood of challenges few are sent a second, and as many are counted', async (t) => {
  const { host, clock, asked, put, sums } = start(t);
  let sent = 0;
  for (let second = 1; second <= 3; second++) {
    for (let n = 0; n < 20_000; n++) {
      put(0, new Uint8Array(), { last: n });
      host.challenge(0);
    }
    sent += (await asked()).length;
    assert.ok(sent > 0 && sent <= 64 * second, `${sent} after ${second} s`);
    clock.advance(1000);
  }
  clock.advance(10_000);
  assert.equal(sent + (await asked()).length, sums().dhtChallenges);
});

test('a closed node challenges nobody', async (t) => {
  const { host, asked, put, sums } = start(t);
  await host.close();
  put(0, new Uint8Array());
  host.challenge(0);
  assert.deepEqual(await asked(), []);
  assert.equal(sums().dhtChallenges, 0);
});

test('replies nobody asked for are dropped before they are decoded', (t) => {
  const { host, put, sums } = start(t);
  const value = new Uint8Array(500);
  const unasked = reply(77, { value });
  put(0, unasked);
  host.control(0);
  // What decoding would find unreadable is not told from it.
  put(1, unasked.subarray(0, unasked.length - 1));
  host.control(1);
  put(2, new Uint8Array(10).fill(0xff));
  host.control(2);
  const { dropUnsolicited, dropMalformed, absorbed, dhtReplies } = sums();
  assert.deepEqual([dropUnsolicited, dropMalformed, absorbed, dhtReplies], [3, 0, 0, 0]);
});

test('a reply to a request counts once, from whom it was asked, and proves him', async (t) => {
  const { host, clock, asked, put, slab, sums } = start(t);
  put(0, new Uint8Array());
  host.challenge(0);
  const [{ request }] = await asked();
  const right = reply(request.tid, { id: nodeId('10.0.0.1', 1000) });
  const isProven = () => host.proven.has(slab.i32, SLOT_ADDRESS >> 2, 1000, clock.now());
  for (const wrong of [{ port: 1001 }, { last: 2 }]) {
    put(1, right, wrong);
    host.control(1);
  }
  put(1, reply(request.tid ^ 1));
  host.control(1);
  assert.equal(sums().dropUnsolicited, 3);
  put(1, right.subarray(0, right.length - 1));
  host.control(1);
  assert.equal(sums().dropMalformed, 1);
  assert.ok(!isProven());
  put(1, right);
  host.control(1);
  assert.deepEqual([sums().dhtReplies, sums().absorbed], [1, 1]);
  assert.ok(isProven());
  host.control(1);
  assert.deepEqual([sums().dhtReplies, sums().dropUnsolicited], [1, 4]);
});

test('a sighted node is pinged by the socket it asked, and known when it answers', async (t) => {
  const { host, asked, put, noticed, sums } = start(t);
  noticed(SLOT_SIGHTED, { last: 5, receiver: CLIENT });
  const [{ where, request }] = await asked();
  assert.equal(where, '10.0.0.5:1000 by client');
  assert.equal(sums().dhtChallenges, 0);
  assert.deepEqual(host.node.toArray(), []);
  const source = { last: 5, receiver: CLIENT };
  put(1, reply(request.tid, { id: nodeId('10.0.0.5', 1000) }), source);
  host.control(1);
  assert.deepEqual(host.node.toArray(), [{ host: '10.0.0.5', port: 1000 }]);
  noticed(SLOT_SIGHTED, { last: 6 });
  assert.equal((await asked())[0].where, '10.0.0.6:1000 by server');
});

test('a node of the table that is said to be down is pinged, not who says so', async (t) => {
  const { host, asked, memory, noticed } = start(t);
  host.node.addNode({ host: '10.0.0.9', port: 9000 });
  const entry = new RoutingTable(memory.table).find(nodeId('10.0.0.9', 9000), 0);
  assert.ok(entry >= 0);
  noticed(SLOT_DOWN_HINT, { last: 1 }, entry);
  assert.deepEqual(
    (await asked()).map(({ where }) => where),
    ['10.0.0.9:9000 by server'],
  );
  noticed(SLOT_DOWN_HINT, { last: 1 }, entry + 1);
  assert.deepEqual(await asked(), []);
});

test('a source that a lane could not prove is challenged, whatever else it noticed', async (t) => {
  const { asked, noticed, sums } = start(t);
  noticed(SLOT_UNPROVEN, { last: 1 });
  assert.equal((await asked()).length, 1);
  assert.equal(sums().dhtChallenges, 1);
  noticed(SLOT_UNPROVEN | SLOT_SIGHTED, { last: 2 });
  assert.equal((await asked()).length, 1, 'one ping, not two');
  assert.equal(sums().dhtChallenges, 2);
  noticed(0, { last: 3 });
  assert.deepEqual(await asked(), []);
});

test('a check is counted when it is done; forged ones go to their lane as others', (t) => {
  const { host, clock, slab, resumed, dropped, state, sums } = start(t);
  const rng = new Rng(1);
  const genuine = signedMutablePut(rng);
  const forged = signedMutablePut(rng);
  forged[forged.length - 1] ^= 1;
  fillSlot(slab, 0, genuine);
  fillSlot(slab, 1, forged);
  assert.ok(host.check(0) && host.check(1));
  assert.equal(sums().dhtChecks, 0);
  assert.deepEqual(resumed, []);
  clock.advance(0);
  assert.equal(sums().dhtChecks, 2);
  assert.deepEqual([resumed, dropped], [[0, 1], []]);
  assert.deepEqual([state(0), state(1)], [SLOT_GENUINE, SLOT_FORGED]);
});

test('slots that come back without a verdict are dropped and counted', async (t) => {
  const { host, slab, counters, resumed, dropped, sums } = start(t, {}, false);
  const rng = new Rng(2);
  for (let slot = 0; slot < 5; slot++) {
    fillSlot(slab, slot, signedMutablePut(rng));
    counters[COUNTER.received]++;
    assert.ok(host.check(slot));
  }
  assert.equal(inFlight(sums()), 5);
  // Before the threads have loaded.
  await host.close();
  assert.deepEqual([resumed, dropped], [[], [0, 1, 2, 3, 4]]);
  const { dhtChecks, dropVerifyFailed } = sums();
  assert.deepEqual([dhtChecks, dropVerifyFailed], [0, 5]);
  assert.equal(inFlight(sums()), 0);
  assert.ok(!host.check(0), 'closed');
});

test('threads that check start when the node is persistent; one that dies is told, no more', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const dies = (thread: { terminate(): unknown }) => void thread.terminate();
  const { started } = watchVerifierThreads(t, { onStart: dies });
  const bootstrap = ['127.0.0.1:9'];
  const { host, notices } = start(t, { bootstrap, host: null }, false);
  await import('piscina');
  for (let turn = 0; turn < 20; turn++) await settle();
  assert.equal(started.length, 0, 'nobody asks a node that is not persistent');
  host.node.emit('persistent');
  while (notices.length < 2) await settle();
  assert.ok(started.length > 0);
  assert.match(notices[1], /^dht port 4000: a thread that checks signatures does not start/);
  assert.ok(!host.check(0), 'nothing is taken while there are none');
});
