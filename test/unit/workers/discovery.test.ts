import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inFlight } from '../../../workers/counters.ts';
import {
  DOMAIN,
  decodePacket,
  HarnessClient,
  LaneHarness,
  peersOf,
  queryBytes,
  txtOf,
} from '../../helpers/lane-harness.ts';

function setup(options: ConstructorParameters<typeof LaneHarness>[0] = {}) {
  const harness = new LaneHarness(options);
  const one = new HarnessClient(harness, '10.0.0.1', 1001);
  const two = new HarnessClient(harness, '10.0.0.2', 1002);
  return { harness, one, two };
}

test('a probe tells token, host and port of the asker', () => {
  const { one } = setup();
  const reply = one.ask({ name: DOMAIN });
  const txt = txtOf(reply);
  assert.equal(txt.get('host'), '10.0.0.1');
  assert.equal(txt.get('port'), '1001');
  assert.equal(txt.get('token')?.length, 44);
  assert.equal(reply.flag_aa, true);
});

test('announce, lookup, unannounce, in the order of the original', () => {
  const { one, two } = setup();
  assert.deepEqual(peersOf(one.announce('app', 8080)), [], 'answered before it is stored');
  assert.deepEqual(peersOf(two.lookup('app')), ['10.0.0.1:8080']);
  assert.deepEqual(peersOf(one.announce('app', 8080)), ['10.0.0.1:8080']);
  assert.deepEqual(peersOf(one.unannounce('app', 8080)), ['10.0.0.1:8080']);
  assert.deepEqual(peersOf(two.lookup('app')), []);
});

test('announce=0 stands for the source port, unannounce=0 too', () => {
  const { one, two } = setup();
  one.announce('app', 0);
  assert.deepEqual(peersOf(two.lookup('app')), ['10.0.0.1:1001']);
  one.unannounce('app', 0);
  assert.deepEqual(peersOf(two.lookup('app')), []);
});

test('names are case-insensitive, the question comes back as asked', () => {
  const { one, two } = setup();
  one.announce('MyApp', 1);
  const reply = two.ask({ name: 'mYaPP.DNS-Discovery.LOCAL' });
  assert.deepEqual(peersOf(reply), ['10.0.0.1:1']);
  assert.equal(reply.questions?.[0].name, 'mYaPP.DNS-Discovery.LOCAL');
});

test('a single label is a name under the default domain', () => {
  const { one, two } = setup({ domains: ['first.example', DOMAIN] });
  one.ask({
    name: 'app.first.example',
    strings: [`token=${one.token('first.example')}`, 'announce=7'],
  });
  const srv = two.ask({ name: 'app', type: 'SRV' }).answers?.[0];
  assert.ok(srv?.type === 'SRV');
  assert.equal(srv.data.port, 7);
  assert.equal(srv.data.target, '10.0.0.1');
});

test('domains of any depth; the same id in two domains are two names', () => {
  const { one, two } = setup({ domains: ['a.b.c', DOMAIN] });
  const token = one.token('a.b.c');
  one.ask({ name: 'x.y.a.b.c', strings: [`token=${token}`, 'announce=5'] });
  assert.deepEqual(peersOf(two.ask({ name: 'x.y.a.b.c' })), ['10.0.0.1:5']);
  assert.deepEqual(peersOf(two.ask({ name: `x.y.${DOMAIN}` })), []);
  assert.deepEqual(peersOf(two.ask({ name: 'y.a.b.c' })), []);
});

test('a bad, a foreign and a missing token change nothing and get a good one', () => {
  const { harness, one, two } = setup();
  const name = `app.${DOMAIN}`;
  for (const token of ['bad', two.token(), 'A'.repeat(44)]) {
    const reply = one.ask({ name, strings: [`token=${token}`, 'announce=80'] });
    assert.equal(txtOf(reply).get('token'), one.token());
  }
  one.ask({ name, strings: ['announce=80'] });
  assert.deepEqual(peersOf(two.lookup('app')), []);
  assert.equal(harness.counters().badTokens, 3);
});

test('A, AAAA and SRV name at most 10 peers; the family decides', () => {
  const { harness, one } = setup();
  for (let host = 1; host <= 25; host++) {
    new HarnessClient(harness, `10.0.1.${host}`, 1).announce('app', host);
  }
  new HarnessClient(harness, '2001:db8::1', 9).announce('app', 99);
  const name = `app.${DOMAIN}`;
  const srv = one.ask({ name, type: 'SRV' }).answers ?? [];
  assert.equal(srv.length, 10);
  assert.ok(
    srv.every((record) => record.type === 'SRV' && record.data.target.startsWith('10.0.1.')),
  );
  const a = one.ask({ name, type: 'A' }).answers ?? [];
  assert.ok(
    a.length === 10 &&
      a.every((record) => record.type === 'A' && record.data.startsWith('10.0.1.')),
  );
  const aaaa = one.ask({ name, type: 'AAAA' }).answers ?? [];
  assert.deepEqual(
    aaaa.map((record) => record.type === 'AAAA' && record.data),
    ['2001:db8::1'],
  );
});

test('several ports of one host are one address', () => {
  const { one } = setup();
  for (let port = 1; port <= 12; port++) one.announce('app', port);
  const name = `app.${DOMAIN}`;
  assert.equal(one.ask({ name, type: 'A' }).answers?.length, 1);
  assert.equal(one.ask({ name, type: 'SRV' }).answers?.length, 10);
});

test('IPv6 peers are announced and looked up as peers6=', () => {
  const { harness, one } = setup();
  new HarnessClient(harness, '2001:db8::1', 9).announce('app', 0x1234);
  const peers6 = Buffer.from(txtOf(one.lookup('app')).get('peers6') ?? '', 'base64');
  assert.equal(peers6.toString('hex'), '20010db8000000000000000000000001' + '1234');
});

test('an unknown type and an absent name have no data, with the SOA', () => {
  const { one } = setup();
  one.announce('app', 1);
  for (const [name, type] of [
    [`app.${DOMAIN}`, 'MX'],
    [`absent.${DOMAIN}`, 'A'],
    [`app.${DOMAIN}`, 'AAAA'],
    [DOMAIN, 'A'],
  ] as const) {
    const reply = one.ask({ name, type });
    assert.deepEqual([reply.rcode, reply.answers?.length], ['NOERROR', 0], `${type} ${name}`);
    assert.equal(reply.authorities?.[0]?.type, 'SOA');
    assert.equal(reply.authorities?.[0]?.name, DOMAIN);
    assert.equal(reply.flag_aa, true);
  }
});

test('the apex has SOA and NS', () => {
  const { one } = setup();
  assert.equal(one.ask({ name: DOMAIN, type: 'SOA' }).answers?.[0].type, 'SOA');
  assert.equal(one.ask({ name: DOMAIN, type: 'NS' }).answers?.[0].type, 'NS');
});

test('foreign names are refused and foreign announces not stored', () => {
  const { harness, one } = setup();
  const reply = one.ask({
    name: 'app.example.com',
    strings: [`token=${one.token()}`, 'announce=1'],
  });
  assert.equal(reply.rcode, 'REFUSED');
  assert.equal(reply.flag_aa, false);
  assert.equal(harness.counters().announces, 0);
});

test('other opcodes are not implemented, malformed queries format errors, the rest silence', () => {
  const { harness } = setup();
  const from = { address: '10.0.0.9', port: 9 };
  const send = (change: (bytes: Uint8Array) => Uint8Array) => {
    const reply = harness.exchange(change(queryBytes({ name: DOMAIN })), from);
    return reply === null ? null : decodePacket(reply).rcode;
  };
  assert.equal(
    send((b) => b),
    'NOERROR',
  );
  assert.equal(
    send((b) => b.with(2, 0x28)),
    'NOTIMP',
  );
  assert.equal(
    send((b) => b.with(5, 2)),
    'FORMERR',
  );
  assert.equal(
    send((b) => b.with(11, 200)),
    'FORMERR',
  );
  assert.equal(
    send((b) => b.with(12, 0xc0)),
    'FORMERR',
  );
  assert.equal(
    send((b) => b.slice(0, 20)),
    'FORMERR',
  );
  assert.equal(
    send((b) => b.slice(0, 11)),
    null,
  );
  assert.equal(
    send((b) => b.with(2, 0x81)),
    null,
  );
  assert.equal(harness.exchange(queryBytes({ name: DOMAIN }), { ...from, port: 0 }), null);
  const counters = harness.counters();
  assert.deepEqual(
    [counters.dropShort, counters.dropUnsolicited, counters.dropPortZero, inFlight(counters)],
    [1, 1, 1, 0],
  );
});

test('EDNS gives more peers, and an OPT; version 1 is BADVERS', () => {
  const { one } = setup();
  for (let port = 1; port <= 100; port++) one.announce('app', port);
  const name = `app.${DOMAIN}`;
  assert.equal(peersOf(one.ask({ name })).length, 31);
  const reply = one.ask({ name, edns: 4096 });
  assert.ok(new Set(peersOf(reply)).size > 90);
  assert.equal(reply.additionals?.[0]?.type, 'OPT');
  const bytes = queryBytes({ name, edns: 1232 });
  bytes[bytes.length - 5] = 1;
  const answer = one.harness.exchange(bytes, one.endpoint);
  assert.ok(answer);
  const opt = decodePacket(answer).additionals?.[0];
  assert.ok(opt?.type === 'OPT' && opt.extendedRcode === 1);
});

test('records expire by the ttl, and are visible again when announced again', () => {
  const { harness, one, two } = setup({ ttlSeconds: 30 });
  one.announce('app', 1);
  harness.nowMs += 30_000;
  assert.deepEqual(peersOf(two.lookup('app')), ['10.0.0.1:1']);
  harness.nowMs += 1000;
  assert.deepEqual(peersOf(two.lookup('app')), []);
  one.announce('app', 1);
  assert.deepEqual(peersOf(two.lookup('app')), ['10.0.0.1:1']);
  const srv = two.ask({ name: `app.${DOMAIN}`, type: 'SRV' });
  const answer = srv.answers?.[0];
  assert.ok(answer?.type === 'SRV' && answer.ttl === 30);
});

test('a name whose IPv4 peers have all expired still shows its IPv6 peers', () => {
  const { harness, one } = setup({ ttlSeconds: 30 });
  one.announce('app', 1);
  harness.nowMs += 20_000;
  new HarnessClient(harness, '2001:db8::1', 9).announce('app', 2);
  harness.nowMs += 20_000;
  const txt = txtOf(one.lookup('app'));
  assert.ok(txt.has('peers6') && !txt.has('peers'));
  harness.nowMs += 20_000;
  assert.ok(!txtOf(one.lookup('app')).has('peers6'));
});

test('nobody becomes the nameserver by announcing its name', () => {
  const { harness, one } = setup();
  for (const id of ['ns', 'NS', 'hostmaster']) {
    one.announce(id, 53);
    assert.equal(one.ask({ name: `${id}.${DOMAIN}`, type: 'A' }).answers?.length, 0);
    assert.equal(one.ask({ name: `${id}.${DOMAIN}`, type: 'SRV' }).answers?.length, 0);
  }
  assert.equal(harness.counters().announces, 0);
});

test('a full store forgets the oldest peer of the least recently used name', () => {
  const { one, two } = setup({ limit: 3 });
  one.announce('a', 1);
  one.announce('a', 2);
  one.announce('b', 1);
  two.lookup('a');
  one.announce('c', 1);
  assert.deepEqual(peersOf(two.lookup('b')), []);
  assert.deepEqual(peersOf(two.lookup('a')).length, 2);
});
