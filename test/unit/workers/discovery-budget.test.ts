/** What an unproven source gets, and what proves a source. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OPTION } from '../../../codecs/dns/constants.ts';
import { inFlight } from '../../../workers/counters.ts';
import { BUDGET_SILENT, BUDGET_TRUNCATED } from '../../../workers/slab.ts';
import {
  type Asking,
  DOMAIN,
  decodePacket,
  HarnessClient,
  LaneHarness,
  optionOf,
  peersOf,
  queryBytes,
  txtOf,
} from '../../helpers/lane-harness.ts';

const NAME = `app.${DOMAIN}`;
const CLIENT_COOKIE = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]);
const SILENT = { budget: BUDGET_SILENT };
const TRUNCATED = { budget: BUDGET_TRUNCATED };

function setup(nsid?: string) {
  const harness = new LaneHarness(nsid === undefined ? {} : { nsid });
  const one = new HarnessClient(harness, '10.0.0.1', 1001);
  for (let port = 1; port <= 40; port++) one.announce('app', port);
  const cookie = optionOf(one.ask({ name: NAME, cookie: CLIENT_COOKIE }), OPTION.COOKIE);
  assert.ok(cookie);
  const token = `token=${one.token()}`;
  const send = (asking: Asking, budget: number): Uint8Array | null =>
    harness.exchange(queryBytes(asking), one.endpoint, { budget });
  return { harness, one, cookie, token, send };
}

test('silence: nothing, counted', () => {
  const { harness, send } = setup();
  const before = harness.counters().dropRateLimited;
  const asked: Asking[] = [
    { name: NAME },
    { name: DOMAIN },
    { name: 'app.example.com' },
    { name: NAME, type: 'SRV', edns: 1232 },
    { name: NAME, cookie: CLIENT_COOKIE },
    { name: NAME, cookie: new Uint8Array(3) },
    { name: NAME, strings: ['token=bad', 'announce=1'] },
    { name: NAME, strings: [`token=${'A'.repeat(44)}`, 'announce=1'] },
  ];
  for (const asking of asked) assert.equal(send(asking, BUDGET_SILENT), null);
  const malformed = queryBytes({ name: NAME, strings: ['x'] }).slice(0, -1);
  assert.equal(harness.exchange(malformed, { address: '10.0.0.1', port: 1 }, SILENT), null);
  const counters = harness.counters();
  assert.equal(counters.dropRateLimited - before, asked.length + 1);
  assert.equal(inFlight(counters), 0);
  assert.equal(counters.badTokens, 2);
});

test('a valid token in any TXT of the query proves its source, at any budget', () => {
  const { harness, one, token, send } = setup();
  for (const budget of [BUDGET_SILENT, BUDGET_TRUNCATED, 60]) {
    const reply = one.ask({ name: NAME, strings: [token, 'subscribe=true'] }, { budget });
    assert.equal(harness.isProven, true);
    assert.equal(peersOf(reply).length, 31);
    one.ask({ name: NAME, strings: ['announce=1'] });
    assert.equal(harness.isProven, false);
  }
  const other = new HarnessClient(harness, '10.0.0.2', 1);
  const stolen = queryBytes({ name: NAME, strings: [token] });
  assert.equal(harness.exchange(stolen, other.endpoint, SILENT), null);
  assert.ok(send({ name: DOMAIN, strings: [token] }, BUDGET_SILENT), 'a probe too');
});

test('a valid cookie proves its source; an old, foreign or forged one does not', () => {
  const { harness, one, cookie } = setup();
  const asking = { name: NAME, cookie };
  for (const how of [SILENT, TRUNCATED, { budget: 60 }]) {
    assert.ok(peersOf(one.ask(asking, how)).length > 31);
    assert.equal(harness.isProven, true);
  }
  const two = new HarnessClient(harness, '10.0.0.2', 1);
  assert.equal(harness.exchange(queryBytes(asking), two.endpoint, SILENT), null);
  const forged = { name: NAME, cookie: cookie.with(23, cookie[23] ^ 1) };
  assert.equal(harness.exchange(queryBytes(forged), one.endpoint, SILENT), null);
  harness.nowMs += 3_601_000;
  assert.equal(harness.exchange(queryBytes(asking), one.endpoint, SILENT), null);
  const fresh = optionOf(one.ask(asking), OPTION.COOKIE);
  assert.ok(fresh && fresh.length === 24, 'answered as if only the client half had come');
  assert.ok(one.ask({ name: NAME, cookie: fresh }, SILENT));
  const { cookiesValid, badCookies } = harness.counters();
  assert.deepEqual([cookiesValid, badCookies], [4, 4]);
});

test('a cookie is answered with a cookie in every answer that has an OPT', () => {
  const { one, cookie } = setup();
  const asked: Asking[] = [{ name: NAME }, { name: DOMAIN }, { name: 'app.example.com' }];
  for (const asking of [...asked, { name: NAME, type: 'A' as const }]) {
    for (const sent of [CLIENT_COOKIE, cookie, new Uint8Array(40)]) {
      const data = optionOf(one.ask({ ...asking, cookie: sent }), OPTION.COOKIE);
      assert.deepEqual(data?.slice(0, 8), sent.slice(0, 8));
      assert.equal(data?.length, 24);
    }
  }
  assert.equal(optionOf(one.ask({ name: NAME, edns: 1232 }), OPTION.COOKIE), undefined);
});

test('a cookie of a wrong length is a format error, with an OPT and no cookie', () => {
  const { harness, one } = setup();
  for (const length of [0, 7, 9, 15, 41]) {
    const reply = one.ask({ name: NAME, cookie: new Uint8Array(length) });
    assert.deepEqual([reply.rcode, reply.answers?.length], ['FORMERR', 0]);
    assert.equal(reply.additionals?.[0]?.type, 'OPT');
    assert.equal(optionOf(reply, OPTION.COOKIE), undefined);
  }
  assert.equal(harness.counters().formatErrors, 5);
});

test('truncated: question, OPT and TC; with a cookie BADCOOKIE and a new one', () => {
  const { harness, one, send } = setup('a'.repeat(128));
  const plain = one.ask({ name: NAME, type: 'SRV' }, TRUNCATED);
  assert.deepEqual([plain.flag_tc, plain.answers?.length, plain.rcode], [true, 0, 'NOERROR']);
  assert.equal(plain.questions?.[0].name, NAME);
  const edns = one.ask({ name: DOMAIN, type: 'SOA', nsid: true }, TRUNCATED);
  assert.deepEqual([edns.flag_tc, edns.additionals?.length], [true, 1]);
  assert.equal(optionOf(edns, OPTION.NSID), undefined, 'longer than the question');
  const asking = { name: NAME, cookie: CLIENT_COOKIE };
  const bytes = send(asking, BUDGET_TRUNCATED);
  assert.ok(bytes);
  const reply = decodePacket(bytes);
  assert.deepEqual([reply.flag_tc, bytes[3] & 15, reply.answers?.length], [false, 23 & 15, 0]);
  const [opt] = reply.additionals ?? [];
  assert.ok(opt.type === 'OPT' && opt.extendedRcode === 23 >> 4);
  const cookie = optionOf(reply, OPTION.COOKIE);
  assert.ok(cookie && one.ask({ name: NAME, cookie }, TRUNCATED).answers?.length === 1);
  assert.equal(harness.counters().truncatedReplies, 3);
  const a = { type: 'A' as const };
  for (const each of [asking, { name: NAME, ...a }, { name: DOMAIN, nsid: true, ...a }]) {
    const sent = 28 + queryBytes(each).length;
    assert.ok(28 + (send(each, BUDGET_TRUNCATED)?.length ?? 0) <= 2 * sent);
  }
});

test('fault: a truncated answer without a token was a success to an old client', () => {
  const { harness, one, token } = setup();
  const probe = one.ask({ name: DOMAIN }, TRUNCATED);
  assert.deepEqual([probe.flag_tc, probe.flag_aa, probe.answers?.length], [false, true, 1]);
  const told = txtOf(probe);
  const expected = [token.slice('token='.length), '10.0.0.1', '1001'];
  assert.deepEqual([told.get('token'), told.get('host'), told.get('port')], expected);
  // What an old client sends whose token is over, or that has none yet.
  for (const strings of [undefined, ['token=old', 'subscribe=true', 'announce=1']]) {
    const reply = one.ask({ name: NAME, ...(strings && { strings }) }, TRUNCATED);
    assert.deepEqual([reply.flag_tc, reply.answers?.length], [true, 1], 'peers were left out');
    assert.deepEqual([...txtOf(reply)], [['token', expected[0]]]);
    const proven = one.ask({ name: NAME, strings: [`token=${txtOf(reply).get('token')}`] }, SILENT);
    assert.equal(peersOf(proven).length, 31, 'its next query proves it');
  }
  assert.equal(harness.counters().truncatedReplies, 3);
});

test('a token comes with TC only where it is within three times the question', () => {
  for (const [domain, address, isWhole] of [
    ['a', '192.168.100.100', false],
    ['ab', '192.168.100.100', true],
    ['a', '2001:db8::1', true],
  ] as const) {
    const harness = new LaneHarness({ domains: [domain] });
    const one = new HarnessClient(harness, address, 54_321);
    const headers = address.includes(':') ? 48 : 28;
    for (const name of [domain, `x.${domain}`]) {
      const query = queryBytes({ name });
      const answer = harness.exchange(query, one.endpoint, TRUNCATED);
      assert.ok(answer && answer.length + headers <= 3 * (query.length + headers));
      const reply = decodePacket(answer);
      const hasToken = name !== domain || isWhole;
      assert.equal(reply.answers?.length, hasToken ? 1 : 0, `${name} from ${address}`);
      assert.equal(reply.flag_tc, name !== domain || !isWhole);
    }
  }
});

test('a reserved name has no token to give', () => {
  const { one } = setup();
  const reply = one.ask({ name: `ns.${DOMAIN}` }, TRUNCATED);
  assert.deepEqual([reply.flag_tc, reply.answers?.length], [true, 0]);
});

test('refusals and version errors have no records: they go as they are', () => {
  const { one } = setup();
  const reply = one.ask({ name: 'app.example.com' }, TRUNCATED);
  assert.deepEqual([reply.rcode, reply.flag_tc], ['REFUSED', false]);
});

test('a budget: fewer peers behind the token, then TC; counted when it was short', () => {
  const { harness, send } = setup();
  let least = Number.POSITIVE_INFINITY;
  for (let budget = 512; budget >= 12; budget--) {
    const before = harness.counters().limitedReplies;
    const bytes = send({ name: NAME }, budget);
    assert.ok(bytes && bytes.length <= budget);
    const reply = decodePacket(bytes);
    const isLimited = budget < 512 && peersOf(reply).length < 31;
    assert.equal(harness.counters().limitedReplies - before, isLimited ? 1 : 0, `${budget}`);
    if (reply.answers?.length === 0) assert.equal(reply.flag_tc, true);
    else assert.equal(txtOf(reply).get('token')?.length, 44);
    if (reply.answers?.length === 1) least = budget;
  }
  assert.ok(least < 115, `the token alone needs ${least} bytes`);
  const before = harness.counters().dropRateLimited;
  assert.equal(send({ name: NAME }, 11), null);
  assert.equal(harness.counters().dropRateLimited, before + 1);
  assert.equal(inFlight(harness.counters()), 0);
});

test('a budget above what is asked for limits nothing', () => {
  const { harness, one } = setup();
  for (const edns of [undefined, 512, 1232]) {
    const asking = { name: NAME, ...(edns === undefined ? {} : { edns }) };
    one.ask(asking, { budget: 1232 });
    assert.equal(harness.counters().limitedReplies, 0);
  }
  one.ask({ name: NAME, type: 'A', edns: 1232 }, { budget: 68 });
  assert.equal(harness.counters().limitedReplies, 0, 'all that there is: one address');
});

test('NSID: when asked for and configured', () => {
  const { one } = setup('lane-7');
  const nsid = optionOf(one.ask({ name: DOMAIN, nsid: true, cookie: CLIENT_COOKIE }), OPTION.NSID);
  assert.equal(Buffer.from(nsid ?? []).toString(), 'lane-7');
  assert.equal(optionOf(one.ask({ name: DOMAIN, edns: 1232 }), OPTION.NSID), undefined);
  assert.equal(optionOf(setup().one.ask({ name: DOMAIN, nsid: true }), OPTION.NSID), undefined);
});

test('ANY gets one HINFO for any name of ours (RFC 8482)', () => {
  const { one, token } = setup();
  for (const name of [NAME, DOMAIN, `absent.${DOMAIN}`, `ns.${DOMAIN}`, 'single']) {
    const reply = one.ask({ name, type: 'ANY' as 'A' });
    assert.deepEqual([reply.rcode, reply.answers?.length, reply.flag_aa], ['NOERROR', 1, true]);
    const [answer] = reply.answers ?? [];
    assert.ok(answer.type === 'HINFO');
    assert.deepEqual(answer.data, { cpu: 'RFC8482', os: '' });
  }
  assert.equal(one.ask({ name: 'x.example.com', type: 'ANY' as 'A' }).rcode, 'REFUSED');
  one.ask({ name: `b.${DOMAIN}`, type: 'ANY' as 'A', strings: [token, 'announce=7'] });
  assert.deepEqual(peersOf(one.ask({ name: `b.${DOMAIN}` })), ['10.0.0.1:7']);
});
