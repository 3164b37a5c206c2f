import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode } from 'dns-packet';
import { DOMAIN, HarnessClient, LaneHarness, type Sent } from '../../helpers/lane-harness.ts';

function acknowledgement(push: Sent): Uint8Array {
  const bytes = new Uint8Array(12);
  bytes.set(push.bytes.subarray(0, 2));
  bytes[2] = 0x80;
  return bytes;
}

function setup() {
  const harness = new LaneHarness();
  const announcer = new HarnessClient(harness, '10.0.0.1', 1001);
  const subscriber = new HarnessClient(harness, '10.0.0.2', 1002);
  subscriber.lookup('app');
  return { harness, announcer, subscriber };
}

test('a new announce is pushed to subscribers, once, as the original says it', () => {
  const { harness, announcer } = setup();
  announcer.announce('app', 8080);
  const pushes = harness.takePushes();
  assert.deepEqual(
    pushes.map(({ address, port }) => `${address}:${port}`),
    ['10.0.0.2:1002'],
  );
  const message = decode(Buffer.from(pushes[0].bytes));
  assert.equal(message.type, 'query');
  assert.equal(message.questions?.length, 0);
  const srv = message.additionals?.[0];
  assert.ok(srv?.type === 'SRV');
  assert.equal(srv.name, `app.${DOMAIN}`);
  assert.deepEqual([srv.data.target, srv.data.port], ['10.0.0.1', 8080]);
  harness.exchange(acknowledgement(pushes[0]), pushes[0]);
  harness.advance(10_000);
  announcer.announce('app', 8080);
  assert.deepEqual(harness.takePushes(), [], 'a renewal is no news');
  const counters = harness.counters();
  assert.equal(counters.absorbed, 1);
  assert.equal(counters.dropUnsolicited, 0);
});

test('an unacknowledged push is sent three times in all', () => {
  const { harness, announcer } = setup();
  announcer.announce('app', 8080);
  const times: number[] = [];
  const began = harness.nowMs;
  for (let i = 0; i < 40; i++) {
    for (const _ of harness.takePushes()) times.push(harness.nowMs - began);
    harness.advance(250);
  }
  assert.deepEqual(times, [0, 500, 1500]);
  const counters = harness.counters();
  assert.deepEqual([counters.pushes, counters.pushRetries, counters.pushTimeouts], [1, 2, 1]);
});

test('an acknowledgement from elsewhere is not taken', () => {
  const { harness, announcer } = setup();
  announcer.announce('app', 8080);
  const [push] = harness.takePushes();
  harness.exchange(acknowledgement(push), { address: '10.0.0.3', port: push.port });
  harness.exchange(acknowledgement(push), { address: push.address, port: 7 });
  assert.equal(harness.counters().absorbed, 0);
  harness.advance(500);
  assert.equal(harness.takePushes().length, 1);
});

test('unsubscribing, or a minute without a lookup, ends the pushes', () => {
  const { harness, announcer, subscriber } = setup();
  subscriber.unannounce('app', 1);
  announcer.announce('app', 1);
  assert.equal(harness.takePushes().length, 0);
  subscriber.lookup('app');
  announcer.announce('app', 2);
  assert.equal(harness.takePushes().length > 0, true);
  harness.advance(66_000);
  harness.takePushes();
  announcer.announce('app', 3);
  const told = harness.takePushes().map(({ address }) => address);
  assert.ok(!told.includes('10.0.0.2'));
});

test('lookups again and again keep a subscription, and a new one after its end counts', () => {
  const { harness, announcer, subscriber } = setup();
  for (let second = 0; second < 200; second++) {
    harness.advance(1000);
    subscriber.lookup('app');
  }
  announcer.announce('app', 1);
  assert.ok(harness.takePushes().some(({ address }) => address === '10.0.0.2'));
  subscriber.unannounce('app', 1);
  subscriber.lookup('app');
  announcer.announce('app', 2);
  assert.ok(harness.takePushes().some(({ address }) => address === '10.0.0.2'));
  // Another name in between, and back.
  subscriber.lookup('other');
  subscriber.lookup('app');
  subscriber.unannounce('app', 1);
  announcer.announce('app', 3);
  assert.ok(!harness.takePushes().some(({ address }) => address === '10.0.0.2'));
});

test('two names looked up within a second are two subscriptions', () => {
  const { harness, announcer, subscriber } = setup();
  subscriber.lookup('other');
  announcer.announce('app', 1);
  announcer.announce('other', 2);
  const told = harness.takePushes().filter(({ address }) => address === '10.0.0.2');
  assert.equal(told.length, 2);
});

test('a port and a socket of its own make a subscription of its own, fresh or not', () => {
  const harness = new LaneHarness({ receivers: 2 });
  const announcer = new HarnessClient(harness, '10.0.0.1', 1001);
  new HarnessClient(harness, '10.0.0.2', 1002).lookup('app');
  new HarnessClient(harness, '10.0.0.2', 1003).lookup('app');
  announcer.announce('app', 1);
  assert.deepEqual(
    harness
      .takePushes()
      .map(({ port }) => port)
      .sort(),
    [1002, 1003],
  );
  // The first one now asks by the other socket: that is where pushes have to leave.
  harness.nowMs += 1000;
  harness.receiver = 1;
  new HarnessClient(harness, '10.0.0.2', 1002).lookup('app');
  harness.receiver = 0;
  announcer.announce('app', 2);
  const pushes = harness.takePushes();
  assert.equal(pushes.find(({ port }) => port === 1002)?.receiver, 1);
  assert.equal(pushes.find(({ port }) => port === 1003)?.receiver, 0);
});

test('with more due than slots, every subscriber gets its tries over the ticks', () => {
  const harness = new LaneHarness();
  const announcer = new HarnessClient(harness, '10.0.0.1', 1001);
  for (let i = 0; i < 10; i++) {
    for (let s = 0; s < 16; s++) {
      new HarnessClient(harness, '10.0.1.1', 2000 + 16 * i + s).lookup(`name${i}`);
    }
  }
  for (let i = 0; i < 10; i++) announcer.announce(`name${i}`, 1);
  const first = harness.takePushes();
  // 160 rows and 64 slots: three ticks for each round of tries.
  const tries = new Map<number, number>(first.map(({ port }) => [port, 1]));
  for (let tick = 0; tick < 40; tick++) {
    harness.advance(250);
    for (const { port } of harness.takePushes()) tries.set(port, (tries.get(port) ?? 0) + 1);
  }
  assert.equal(tries.size, 160);
  for (const [port, count] of tries) assert.equal(count, 3, `port ${port}`);
});

test('at most 16 subscribers are told', () => {
  const { harness, announcer } = setup();
  for (let i = 0; i < 40; i++) new HarnessClient(harness, '10.0.1.1', 2000 + i).lookup('app');
  announcer.announce('app', 1);
  const told = harness.takePushes().map(({ port }) => port);
  assert.equal(told.length, 16);
  assert.equal(new Set(told).size, 16);
});

test('one datagram causes at most 16 pushes, however many records it has', () => {
  const { harness, announcer } = setup();
  for (let i = 0; i < 40; i++) new HarnessClient(harness, '10.0.1.1', 2000 + i).lookup('app');
  const name = `app.${DOMAIN}`;
  const strings = [`token=${announcer.token()}`, 'announce=7', 'unannounce=7'];
  const record = { type: 'TXT' as const, name, data: strings };
  const datagram = encode({
    type: 'query',
    id: 1,
    questions: [{ type: 'TXT', name }],
    additionals: [record, record, record, record],
  });
  harness.exchange(datagram, announcer.endpoint);
  assert.equal(harness.takePushes().length, 16);
});

test('with every slot for pushes busy they go out at the next tick', () => {
  const harness = new LaneHarness();
  const announcer = new HarnessClient(harness, '10.0.0.1', 1001);
  for (let i = 0; i < 16; i++) new HarnessClient(harness, '10.0.1.1', 2000 + i).lookup('app');
  harness.slab.bytes.fill(1, 59 + 2048 * 5, 60 + 2048 * 5);
  announcer.announce('app', 1);
  const first = harness.takePushes().length;
  assert.ok(first < 16);
  harness.slab.bytes[59 + 2048 * 5] = 0;
  harness.advance(250);
  assert.equal(harness.takePushes().length, 16 - first);
});
