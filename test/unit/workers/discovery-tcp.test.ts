/** Answers over TCP: all there is, and what makes no sense there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordType } from 'dns-packet';
import { inFlight } from '../../../workers/counters.ts';
import { MAX_MESSAGE_BYTES } from '../../../workers/overflow.ts';
import {
  DOMAIN,
  HarnessClient,
  LaneHarness,
  type Packet,
  peersOf,
  queryBytes,
  txtOf,
} from '../../helpers/lane-harness.ts';

const TCP = { tcp: true };
const NAME = `app.${DOMAIN}`;

function setup(limit = 10_000) {
  const harness = new LaneHarness({ limit });
  const one = new HarnessClient(harness, '10.0.0.1', 1001);
  const six = new HarnessClient(harness, '2001:db8::1', 1006);
  return { harness, one, six };
}

/** `count` peers of one client, by as many datagrams. */
function fill(client: HarnessClient, count: number): void {
  const token = client.token();
  for (let port = 1; port <= count; port++) {
    client.ask({ name: NAME, strings: [`token=${token}`, `announce=${port}`] });
  }
}

function strings6(packet: Packet): number {
  const answer = packet.answers?.[0];
  if (answer?.type !== 'TXT') return 0;
  const strings = [answer.data].flat().map(String);
  return strings
    .filter((text) => text.startsWith('peers6='))
    .reduce((sum, text) => sum + Buffer.from(text.slice(7), 'base64').length / 18, 0);
}

test('a probe and a lookup over TCP are proven by it', () => {
  const { harness, one } = setup();
  const probe = one.ask({ name: DOMAIN }, { tcp: true, budget: 0 });
  assert.equal(harness.isProven, true);
  assert.equal(txtOf(probe).get('token'), one.token());
  assert.equal(harness.isProven, false, 'the state of a slot is that of its last message');
});

test('all peers, in strings of 31, the remainder first', () => {
  const { one } = setup();
  fill(one, 1000);
  const reply = one.ask({ name: NAME }, TCP);
  const peers = peersOf(reply);
  assert.deepEqual([peers.length, new Set(peers).size, reply.flag_tc], [1000, 1000, false]);
  assert.equal(Buffer.from(txtOf(reply).get('peers') ?? '', 'base64').length, 31 * 6);
  assert.equal(peersOf(one.ask({ name: NAME })).length, 31, 'by UDP as ever');
});

test('as many peers as a message holds', () => {
  const { harness, one, six } = setup(20_000);
  fill(one, 8200);
  const bytes = harness.exchange(queryBytes({ name: 'app' }), one.endpoint, TCP);
  assert.ok(bytes !== null && bytes.length > MAX_MESSAGE_BYTES - 8, `${bytes?.length}`);
  const count = peersOf(one.ask({ name: 'app' }, TCP)).length;
  assert.ok(count > 7940 && count <= 7957, `${count}`);
  fill(six, 100);
  const both = one.ask({ name: 'app' }, TCP);
  assert.equal(strings6(both), 100, 'IPv6 has its room after the first 31');
  assert.ok(peersOf(both).length > 7600);
  assert.ok(new Set(peersOf(both)).size === peersOf(both).length);
});

test('as many IPv6 peers as a message holds', () => {
  const { harness, six } = setup();
  fill(six, 2800);
  const bytes = harness.exchange(queryBytes({ name: 'app' }), six.endpoint, TCP);
  assert.ok(bytes !== null && bytes.length > MAX_MESSAGE_BYTES - 24, `${bytes?.length}`);
  assert.ok(strings6(six.ask({ name: 'app' }, TCP)) > 2630);
});

test('up to 1,000 A, AAAA and SRV records', () => {
  const { harness, one } = setup();
  const count = (type: RecordType): number => {
    const reply = one.ask({ name: NAME, type }, TCP);
    assert.equal(reply.flag_tc, false);
    return reply.answers?.length ?? 0;
  };
  for (let i = 0; i < 1200; i++) {
    const from = `10.1.${i >> 8}.${i & 255}`;
    new HarnessClient(harness, from, 9).announce('app', 1 + (i % 7));
  }
  assert.deepEqual([count('A'), count('SRV'), count('AAAA')], [1000, 1000, 0]);
  for (let i = 1; i <= 40; i++) {
    new HarnessClient(harness, `2001:db8::${i}`, 9).announce('app', 5);
  }
  assert.deepEqual([count('AAAA'), count('SRV')], [40, 1000]);
  assert.equal(one.ask({ name: NAME, type: 'A' }).answers?.length, 10, 'by UDP as ever');
});

test('announce and unannounce of a port work, and still need a token', () => {
  const { harness, one } = setup();
  const strings = [`token=${one.token()}`, 'announce=80'];
  one.ask({ name: NAME, strings: ['token=bad', 'announce=81'] }, TCP);
  one.ask({ name: NAME, strings }, TCP);
  assert.deepEqual(peersOf(one.ask({ name: NAME }, TCP)), ['10.0.0.1:80']);
  one.ask({ name: NAME, strings: [strings[0], 'unannounce=80'] }, TCP);
  assert.deepEqual(peersOf(one.ask({ name: NAME }, TCP)), []);
  assert.equal(harness.counters().badTokens, 1);
});

test('the source port of a connection is nobody: announce=0 and subscriptions are ignored', () => {
  const { harness, one } = setup();
  const two = new HarnessClient(harness, '10.0.0.2', 1002);
  const token = `token=${one.token()}`;
  one.ask({ name: NAME, strings: [token, 'announce=0', 'subscribe=true'] }, TCP);
  assert.deepEqual(peersOf(one.ask({ name: NAME }, TCP)), []);
  two.announce('app', 2);
  assert.deepEqual(harness.takePushes(), []);
  // What was asked for by UDP is not ended over TCP from the same port.
  one.announce('app', 0);
  one.ask({ name: NAME, strings: [token, 'unannounce=0'] }, TCP);
  assert.deepEqual(peersOf(one.ask({ name: NAME }, TCP)).sort(), ['10.0.0.1:1001', '10.0.0.2:2']);
  two.announce('app', 3);
  assert.equal(harness.takePushes().length > 0, true);
  const { subscribes, announces } = harness.counters();
  assert.deepEqual([subscribes, announces], [3, 3]);
});

test('an announce over TCP is pushed to subscribers by UDP', () => {
  const { harness, one } = setup();
  const two = new HarnessClient(harness, '10.0.0.2', 1002);
  two.lookup('app');
  one.ask({ name: NAME, strings: [`token=${one.token()}`, 'announce=80'] }, TCP);
  assert.deepEqual(
    harness.takePushes().map(({ address, port }) => [address, port]),
    [['10.0.0.2', 1002]],
  );
});

test('responses and malformed messages', () => {
  const { harness, one } = setup();
  const query = queryBytes({ name: NAME });
  assert.equal(harness.exchange(query.with(2, 0x81), one.endpoint, TCP), null);
  const broken = harness.exchange(query.slice(0, 30), one.endpoint, TCP);
  assert.deepEqual([broken?.length, broken?.[3]], [12, 1]);
  const long = new Uint8Array(MAX_MESSAGE_BYTES);
  long.set(query);
  assert.ok(harness.exchange(long, one.endpoint, TCP), 'what is behind the records is ignored');
  const counters = harness.counters();
  assert.deepEqual([counters.dropUnsolicited, inFlight(counters)], [1, 0]);
});
