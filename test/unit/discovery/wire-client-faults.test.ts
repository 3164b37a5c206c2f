/** What went wrong in the wire client once, and what servers do that they should not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wireName } from '../../../server/discovery/options.ts';
import {
  DOMAIN,
  type Outcome,
  peersString,
  replyBytes,
  WireHarness,
} from '../../helpers/wire-harness.ts';

const SECOND = { address: '192.0.2.1', port: 53 };
const PEER = { host: '198.51.100.7', port: 8080 };
const RCODE = { FORMERR: 1, NOTIMP: 4, REFUSED: 5, BADCOOKIE: 23 };

test('a probe truncated without a token, and TCP that fails: no question hangs', () => {
  const wire = new WireHarness('192.0.2.1:5300');
  const outcomes = wire.ask('lookup');
  wire.reply(wire.last, { isTruncated: true });
  wire.byTcp.pop()?.done(null);
  assert.match(String(outcomes[0].error), /no discovery server/);
  wire.pass(10_000);
  assert.equal(wire.sent.length, 1);
  assert.equal(wire.client.isBusy, false);
});

test('an answer without a token is not one of a discovery server', () => {
  const wire = new WireHarness();
  wire.settle();
  const outcomes = wire.ask('announce', 'app', 8080);
  wire.reply(wire.last, {});
  assert.equal(outcomes.length, 0);
  assert.deepEqual(wire.last.to, SECOND, 'the other port is tried');
  wire.reply(wire.last, {});
  assert.match(String(outcomes[0].error), /no discovery server/);
});

test('an announce that was not heard by UDP is made by TCP; the implied port cannot be', () => {
  const wire = new WireHarness();
  const cookie = () =>
    Uint8Array.from([...(wire.last.cookie ?? []).slice(0, 8), ...Array(16).fill(9)]);
  wire.settle();
  for (const [port, strings] of [
    [8080, ['subscribe=true', 'token=T1', 'announce=8080']],
    [0, ['subscribe=true', 'token=T1']],
  ] as const) {
    wire.ask('announce', 'app', port);
    wire.reply(wire.last, { rcode: RCODE.BADCOOKIE, cookie: cookie() });
    wire.reply(wire.last, { rcode: RCODE.BADCOOKIE, cookie: cookie() });
    assert.deepEqual(wire.byTcp.pop()?.query.strings, strings);
  }
});

test('TCP that brings another token than was sent: asked once more with that', () => {
  const wire = new WireHarness();
  wire.settle('OLD');
  const outcomes = wire.ask('announce', 'app', 8080);
  wire.reply(wire.last, { isTruncated: true });
  const [{ query, done }] = wire.byTcp;
  done(replyBytes(query, { strings: ['token=NEW'] }));
  assert.equal(outcomes.length, 0);
  assert.deepEqual(wire.last.strings, ['subscribe=true', 'token=NEW', 'announce=8080']);
});

test('where TCP failed, a crowd is not waited for again', () => {
  const wire = new WireHarness();
  wire.settle();
  const crowd = Array.from({ length: 124 }, (_, i) => ({ host: '198.51.100.7', port: i + 1 }));
  const strings = [0, 31, 62, 93].map((from) => peersString(...crowd.slice(from, from + 31)));
  const parts = { strings: ['token=T1', ...strings], cookie: null };
  for (const asked of [1, 0]) {
    const outcomes = wire.ask('lookup');
    wire.reply(wire.last, parts);
    assert.equal(wire.byTcp.length, asked);
    wire.byTcp.pop()?.done(null);
    assert.equal(outcomes[0].answer?.peers.length, 124);
  }
});

test('a question asked by whoever hears that one is sent is asked once, and none is lost', () => {
  const wire = new WireHarness();
  wire.settle();
  const push = wire.sent.push.bind(wire.sent);
  const inner: Outcome[][] = [];
  let asked = 0;
  wire.sent.push = (...queries) => {
    const count = push(...queries);
    if (asked < 5) inner.push(wire.ask('lookup', `inner${asked++}`));
    return count;
  };
  const outer = wire.ask('lookup', 'outer');
  const names = wire.sent.map(({ message }) => message.questions?.[0].name);
  assert.equal(new Set(names).size, 6);
  assert.equal(names.length, 6);
  for (const query of [...wire.sent]) wire.reply(query, { strings: ['token=T1'] });
  assert.deepEqual(
    [outer, ...inner].map((each) => each.length),
    Array(6).fill(1),
  );
});

test('an announce on its way is ended by cancelAnnounces, and is not sent again', () => {
  const wire = new WireHarness();
  wire.settle();
  const outcomes = [wire.ask('announce', 'App', 1), wire.ask('announce', 'app', 2)];
  wire.client.cancelAnnounces(wireName('app', DOMAIN), 1);
  assert.match(String(outcomes[0][0].error), /taken back/);
  wire.pass(5000);
  const sent = wire.sent.filter(({ strings }) => strings.includes('announce=1'));
  assert.equal(sent.length, 1);
  assert.equal(outcomes[1].length, 0);
});

test('timeout bounds the wait for a probe as well', () => {
  const wire = new WireHarness('server.example:5300');
  wire.isSilent = true;
  const outcomes = wire.ask('lookup');
  wire.pass(7400);
  assert.equal(outcomes.length, 0);
  wire.pass(200);
  assert.match(String(outcomes[0].error), /no answer from server\.example/);
});

test('every address and port gets its turn, question by question', () => {
  const wire = new WireHarness('server.example:5300,53');
  wire.addresses = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4', '192.0.2.5', '192.0.2.6'];
  for (let i = 0; i < 4; i++) {
    wire.ask('probe');
    wire.pass(7600);
  }
  assert.equal(new Set(wire.sent.map(({ to }) => `${to.address} ${to.port}`)).size, 12);
});

test('a push from the other port of the server counts, and renews a token that is old', () => {
  const wire = new WireHarness();
  wire.settle();
  wire.ask('lookup', 'app');
  wire.reply(wire.last, { strings: ['token=T1'] });
  wire.now += 300_000;
  wire.sent.length = 0;
  assert.ok(wire.push('app', PEER, SECOND));
  const [ack, probe] = wire.sent;
  assert.deepEqual([ack.message.type, ack.to], ['response', SECOND]);
  assert.equal(probe.message.questions?.[0].name, DOMAIN);
  wire.reply(probe, { strings: ['token=T2'] });
  wire.reply(wire.last, { strings: ['token=T2', peersString(PEER)] });
  assert.deepEqual(wire.pushed, ['app 198.51.100.7:8080']);
});

test('a server taken for one without EDNS is asked with it again after ten minutes', () => {
  const wire = new WireHarness();
  wire.ask('probe');
  wire.reply(wire.last, { rcode: RCODE.FORMERR });
  wire.reply(wire.last, { strings: ['token=T1'] });
  wire.now += 600_000;
  wire.ask('probe');
  assert.equal(wire.last.cookie?.length, 8);
});
