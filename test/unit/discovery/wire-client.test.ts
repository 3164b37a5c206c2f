import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../../../workers/rng.ts';
import { DOMAIN, peersString, replyBytes, WireHarness } from '../../helpers/wire-harness.ts';

const FIRST = { address: '192.0.2.1', port: 5300 };
const SECOND = { address: '192.0.2.1', port: 53 };
const PEER = { host: '198.51.100.7', port: 8080 };
const RCODE = { FORMERR: 1, NOTIMP: 4, REFUSED: 5, BADCOOKIE: 23 };

test('it probes for a token first, then asks with it', () => {
  const wire = new WireHarness();
  const outcomes = wire.ask('lookup');
  assert.equal(wire.sent.length, 1);
  assert.equal(wire.last.message.questions?.[0].name, DOMAIN);
  assert.deepEqual(wire.last.strings, []);
  wire.reply(wire.last, { strings: ['token=T1', 'host=203.0.113.9', 'port=4242'] });
  assert.equal(wire.last.message.questions?.[0].name, `app.${DOMAIN}`);
  assert.deepEqual(wire.last.strings, ['subscribe=true', 'token=T1']);
  wire.reply(wire.last, { strings: ['token=T1', peersString(PEER)] });
  assert.equal(outcomes.length, 1);
  assert.deepEqual(outcomes[0].answer?.peers, [{ port: 8080, host: '198.51.100.7' }]);
  assert.equal(wire.client.isBusy, false);
});

test('several questions wait for one probe', () => {
  const wire = new WireHarness();
  const outcomes = ['a', 'b', 'c'].map((name) => wire.ask('lookup', name));
  assert.equal(wire.sent.length, 1);
  wire.reply(wire.last, { strings: ['token=T1'] });
  assert.equal(wire.sent.length, 4);
  for (const query of wire.sent.slice(1)) wire.reply(query, { strings: ['token=T1'] });
  assert.deepEqual(
    outcomes.flat().map(({ error }) => error),
    [null, null, null],
  );
});

test('what is asked is spelt as the original does', () => {
  const wire = new WireHarness();
  wire.settle();
  wire.ask('announce', 'app', 8080);
  assert.deepEqual(wire.last.strings, ['subscribe=true', 'token=T1', 'announce=8080']);
  wire.ask('announce', 'app', 0);
  assert.deepEqual(wire.last.strings, ['subscribe=true', 'token=T1', 'announce=0']);
  wire.ask('unannounce', 'app', 8080);
  assert.deepEqual(wire.last.strings, ['token=T1', 'unannounce=8080']);
});

test('an unanswered question is sent again with growing pauses and the same id', () => {
  const wire = new WireHarness('192.0.2.1:5300');
  const outcomes = wire.ask('probe');
  const start = wire.now;
  wire.pass(8000);
  const pauses = wire.sent.map(({ at }) => at - start);
  assert.deepEqual(pauses, [0, 500, 1500, 2500, 3500, 4500, 5500, 6500]);
  assert.equal(new Set(wire.sent.map(({ id }) => id)).size, 1);
  assert.match(String(outcomes[0].error), /no answer from 192\.0\.2\.1, port 5300/);
  assert.equal(wire.client.isBusy, false);
});

test('retries bounds the sends, not the wait', () => {
  const wire = new WireHarness('192.0.2.1:5300', { mostSends: 2 });
  const outcomes = wire.ask('probe');
  wire.pass(7400);
  assert.equal(wire.sent.length, 2);
  assert.equal(outcomes.length, 0);
  wire.pass(200);
  assert.equal(outcomes.length, 1);
});

test('a measured round trip shortens the pauses, down to 100 ms', () => {
  const wire = new WireHarness();
  wire.settle();
  wire.ask('lookup');
  const start = wire.now;
  wire.pass(800);
  assert.deepEqual(
    wire.sent.map(({ at }) => at - start),
    [0, 100, 300, 700],
  );
});

test('a silent first port: the second is tried in turns, and kept once it answers', () => {
  const wire = new WireHarness();
  wire.ask('lookup');
  wire.pass(1500);
  assert.deepEqual(
    wire.sent.map(({ to }) => to.port),
    [5300, 5300, 53],
  );
  wire.reply(wire.last, { strings: ['token=T1'] });
  assert.deepEqual(wire.client.settled, SECOND);
  assert.deepEqual(wire.last.to, SECOND);
});

test('a late answer of the first port still counts', () => {
  const wire = new WireHarness();
  wire.ask('probe');
  wire.pass(1500);
  assert.ok(wire.reply(wire.sent[0], { strings: ['token=T1'] }));
  assert.deepEqual(wire.client.settled, FIRST);
});

test('a port that fell silent is left, and all are tried again', () => {
  const wire = new WireHarness();
  wire.settle();
  const outcomes = wire.ask('lookup');
  wire.pass(7600);
  const ports = new Set(wire.sent.map(({ to }) => to.port));
  assert.deepEqual([...ports], [5300, 53]);
  assert.ok(outcomes[0].error);
  assert.equal(wire.client.settled, null);
  wire.ask('lookup');
  assert.equal(wire.last.message.questions?.[0].name, DOMAIN, 'it probes again');
});

test('all addresses of a host are tried', () => {
  const wire = new WireHarness('server.example:5300');
  wire.addresses = ['192.0.2.1', '2001:db8::1'];
  wire.ask('probe');
  wire.pass(1600);
  assert.deepEqual(
    wire.sent.map(({ to }) => to.address),
    ['192.0.2.1', '192.0.2.1', '2001:db8::1'],
  );
});

test('a host that cannot be found fails what waits, and is looked for again by the next', () => {
  const wire = new WireHarness('nowhere.example');
  wire.addresses = [];
  wire.resolveError = new Error('cannot find nowhere.example');
  assert.match(String(wire.ask('lookup')[0].error), /cannot find nowhere\.example/);
  wire.addresses = ['192.0.2.1'];
  wire.ask('lookup');
  assert.equal(wire.sent.length, 1);
});

test('answers count with the right id, question, address and port only', () => {
  const wire = new WireHarness();
  const outcomes = wire.ask('probe');
  const query = wire.last;
  const forged = { strings: ['token=EVIL', peersString(PEER)] };
  wire.reply(query, { ...forged, id: query.id ^ 1 });
  wire.reply(query, { ...forged, from: { address: '192.0.2.2', port: 5300 } });
  wire.reply(query, { ...forged, from: SECOND });
  wire.reply(query, { ...forged, name: `app.${DOMAIN}` });
  assert.equal(outcomes.length, 0);
  assert.equal(wire.client.dropped, 4);
  wire.reply(query, { strings: ['token=T1'], name: DOMAIN.toUpperCase() });
  assert.equal(outcomes[0].answer?.token, 'T1');
  wire.reply(query, forged);
  assert.equal(outcomes.length, 1, 'only once');
});

test('an answer with another token than was sent: asked once more, with that', () => {
  const wire = new WireHarness();
  wire.settle('OLD');
  const outcomes = wire.ask('announce', 'app', 8080);
  wire.reply(wire.last, { strings: ['token=NEW'] });
  assert.equal(outcomes.length, 0, 'the announce was not heard');
  assert.deepEqual(wire.last.strings, ['subscribe=true', 'token=NEW', 'announce=8080']);
  wire.reply(wire.last, { strings: ['token=NEWER', peersString(PEER)] });
  assert.equal(outcomes.length, 1, 'only once more');
  assert.equal(outcomes[0].answer?.peers.length, 1);
});

test('a token is used for four and a half minutes, then probed for anew', () => {
  const wire = new WireHarness();
  wire.settle();
  wire.now += 269_000;
  wire.ask('lookup');
  assert.deepEqual(wire.last.strings, ['subscribe=true', 'token=T1']);
  wire.reply(wire.last, { strings: ['token=T1'] });
  wire.now += 271_000;
  wire.ask('lookup');
  assert.deepEqual(wire.last.strings, []);
});

test('a server that does not know EDNS is asked without it', () => {
  const wire = new WireHarness();
  const outcomes = wire.ask('probe');
  assert.equal(wire.last.cookie?.length, 8);
  wire.reply(wire.last, { rcode: RCODE.FORMERR });
  assert.equal(wire.sent.length, 2);
  assert.equal(wire.last.cookie, null);
  assert.notEqual(wire.sent[0].id, wire.sent[1].id);
  wire.reply(wire.last, { strings: ['token=T1'] });
  assert.equal(outcomes[0].answer?.token, 'T1');
});

test('a cookie of ours must come back unchanged, and once it did always', () => {
  const wire = new WireHarness();
  wire.ask('probe');
  const ours = wire.last.cookie ?? new Uint8Array();
  const full = Uint8Array.from([...ours, ...new Array(16).fill(9)]);
  const other = full.slice();
  other[0] ^= 1;
  wire.reply(wire.last, { strings: ['token=EVIL'], cookie: other });
  assert.equal(wire.client.settled, null);
  wire.reply(wire.last, { strings: ['token=T1'], cookie: full });
  const outcomes = wire.ask('lookup');
  assert.deepEqual(wire.last.cookie, full, 'with the half of the server');
  wire.reply(wire.last, { strings: ['token=T1', peersString(PEER)] });
  assert.equal(outcomes.length, 0, 'an answer without a cookie is forged');
  wire.reply(wire.last, { strings: ['token=T1'], cookie: full });
  assert.equal(outcomes.length, 1);
});

test('a server that lost its cookies is believed again after a silence', () => {
  const wire = new WireHarness('192.0.2.1:5300');
  wire.ask('probe');
  const full = Uint8Array.from([...(wire.last.cookie ?? []), ...new Array(16).fill(9)]);
  wire.reply(wire.last, { strings: ['token=T1'], cookie: full });
  wire.ask('lookup');
  wire.pass(7600);
  const outcomes = wire.ask('probe');
  wire.reply(wire.last, { strings: ['token=T2'] });
  assert.equal(outcomes[0].answer?.token, 'T2');
});

test('BADCOOKIE: asked again with the cookie of the answer, then by TCP', () => {
  const wire = new WireHarness();
  wire.ask('probe');
  const full = Uint8Array.from([...(wire.last.cookie ?? []), ...new Array(16).fill(9)]);
  wire.reply(wire.last, { rcode: RCODE.BADCOOKIE, cookie: full });
  assert.deepEqual(wire.last.cookie, full);
  assert.equal(wire.byTcp.length, 0);
  wire.reply(wire.last, { rcode: RCODE.BADCOOKIE, cookie: full });
  assert.equal(wire.byTcp.length, 1);
});

test('REFUSED: the error says so, without waiting; another port is tried before', () => {
  const wire = new WireHarness();
  const outcomes = wire.ask('probe');
  wire.reply(wire.last, { rcode: RCODE.REFUSED });
  assert.deepEqual(wire.last.to, SECOND);
  wire.reply(wire.last, { rcode: RCODE.REFUSED });
  assert.match(String(outcomes[0].error), /192\.0\.2\.1 answered REFUSED/);
});

test('what is no discovery server is told as such', () => {
  const wire = new WireHarness('192.0.2.1:53');
  const outcomes = wire.ask('probe');
  wire.reply(wire.last, {});
  assert.match(String(outcomes[0].error), /no discovery server/);
});

test('a truncated answer is asked for by TCP', () => {
  const wire = new WireHarness();
  wire.settle();
  const outcomes = wire.ask('announce', 'app', 8080);
  wire.reply(wire.last, { strings: ['token=T1', peersString(PEER)], isTruncated: true });
  const [{ query, done }] = wire.byTcp;
  assert.deepEqual(query.strings, ['subscribe=true', 'token=T1', 'announce=8080']);
  assert.deepEqual(query.to, FIRST);
  wire.pass(10_000);
  assert.equal(outcomes.length, 0, 'TCP has its own deadline');
  const other = { host: '198.51.100.8', port: 1 };
  done(replyBytes(query, { strings: ['token=T1', peersString(PEER, other)] }));
  assert.equal(outcomes[0].answer?.peers.length, 2);
});

test('a datagram full of peers is a part: a lookup asks for all of them by TCP', () => {
  const wire = new WireHarness();
  wire.settle();
  const crowd = Array.from({ length: 124 }, (_, i) => ({ host: '198.51.100.7', port: i + 1 }));
  const strings = [0, 31, 62, 93].map((from) => peersString(...crowd.slice(from, from + 31)));
  const parts = { strings: ['token=T1', ...strings] };
  for (const [kind, cookie, asked] of [
    ['lookup', undefined, 0],
    ['announce', null, 0],
    ['lookup', null, 1],
  ] as const) {
    wire.ask(kind, 'app', 1);
    wire.reply(wire.last, { ...parts, cookie });
    assert.equal(wire.byTcp.length, asked, 'without EDNS it is the original, which tells them all');
  }
});

test('TCP that fails: what the datagram brought counts', () => {
  const wire = new WireHarness();
  wire.settle();
  for (const reply of [null, new Uint8Array(5)]) {
    const outcomes = wire.ask('lookup');
    wire.reply(wire.last, { strings: ['token=T1', peersString(PEER)], isTruncated: true });
    wire.byTcp.pop()?.done(reply);
    assert.equal(outcomes[0].answer?.peers.length, 1);
  }
});

test('a push is acknowledged, and its peer told when the server confirms it', () => {
  const wire = new WireHarness();
  wire.settle();
  wire.ask('lookup', 'MyApp');
  wire.reply(wire.last, { strings: ['token=T1'] });
  wire.sent.length = 0;
  const liar = { host: '203.0.113.66', port: 1 };
  assert.ok(wire.push('myapp', PEER, FIRST, 4711));
  wire.push('myapp', liar, FIRST, 4712);
  assert.deepEqual(
    wire.sent.map(({ message }) => message.type),
    ['response', 'query', 'response'],
  );
  assert.equal(wire.sent[0].id, 4711);
  assert.deepEqual(wire.sent[1].strings, ['subscribe=true', 'token=T1']);
  wire.reply(wire.sent[1], { strings: ['token=T1', peersString(PEER)] });
  assert.deepEqual(wire.pushed, ['MyApp 198.51.100.7:8080']);
  wire.pass(1100);
  wire.reply(wire.last, { strings: ['token=T1', peersString(PEER)] });
  wire.pass(1100);
  assert.deepEqual(wire.pushed, ['MyApp 198.51.100.7:8080'], 'the lie was not confirmed');
  assert.equal(wire.client.isBusy, false);
});

test('pushes of strangers, and of names not looked up, change and answer nothing', () => {
  const wire = new WireHarness();
  wire.settle();
  assert.equal(wire.push('app', PEER, { address: '192.0.2.9', port: 5300 }), false);
  assert.equal(wire.push('app', PEER, { ...FIRST, port: 5301 }), false);
  assert.equal(wire.sent.length, 0);
  wire.push('app', PEER, FIRST);
  assert.equal(wire.sent.length, 0);
  assert.deepEqual(wire.pushed, []);
});

test('pushes in a row cost one question a second', () => {
  const wire = new WireHarness();
  wire.settle();
  wire.ask('lookup');
  wire.reply(wire.last, { strings: ['token=T1'] });
  wire.sent.length = 0;
  for (let port = 1; port <= 100; port++) wire.push('app', { host: '198.51.100.1', port }, FIRST);
  const questions = () => wire.sent.filter(({ message }) => message.type === 'query');
  assert.equal(questions().length, 1);
  wire.reply(questions()[0], { strings: ['token=T1'] });
  wire.pass(980);
  assert.equal(questions().length, 1);
  wire.pass(60);
  assert.equal(questions().length, 2);
});

test('at most 512 questions are under way', () => {
  const wire = new WireHarness();
  wire.settle();
  for (let i = 0; i < 600; i++) wire.ask('lookup', `app${i}`);
  assert.equal(wire.sent.length, 512);
  wire.reply(wire.sent[0], { strings: ['token=T1'] });
  assert.equal(wire.sent.length, 513);
});

test('end fails everything, once', () => {
  const wire = new WireHarness();
  const all = [wire.ask('lookup', 'a'), wire.ask('probe')];
  wire.client.end(new Error('gone'));
  for (const [outcome] of all) assert.match(String(outcome.error), /gone/);
  wire.pass(8000);
  for (const each of all) assert.equal(each.length, 1);
});

test('a forger who does not see our questions: a million random ids and ports', () => {
  const wire = new WireHarness();
  wire.settle();
  const outcomes = wire.ask('lookup');
  const ourPort = 40_404;
  const rng = new Rng(20_261_121);
  const forged = replyBytes(wire.last, { strings: ['token=EVIL', peersString(PEER)] });
  let arrived = 0;
  for (let i = 0; i < 1_000_000; i++) {
    const [id, port] = [rng.below(0x10000), 1 + rng.below(0xffff)];
    if (port !== ourPort) continue;
    arrived++;
    forged[0] = id >> 8;
    forged[1] = id;
    wire.client.receive(forged, FIRST.address, FIRST.port, wire.now);
  }
  assert.ok(arrived > 0);
  assert.equal(wire.client.dropped, arrived);
  assert.equal(outcomes.length, 0);
});

test('a server with cookies: a forger who knows the port may try every id', () => {
  const wire = new WireHarness();
  wire.ask('probe');
  const full = Uint8Array.from([...(wire.last.cookie ?? []), ...new Array(16).fill(9)]);
  wire.reply(wire.last, { strings: ['token=T1'], cookie: full });
  const outcomes = wire.ask('lookup');
  const wrong = full.map((byte) => byte ^ 1);
  for (const cookie of [undefined, null, wrong]) {
    const parts = { strings: ['token=EVIL', peersString(PEER)], cookie };
    const forged = replyBytes(wire.last, parts);
    for (let id = 0; id <= 0xffff; id++) {
      forged[0] = id >> 8;
      forged[1] = id;
      wire.client.receive(forged, FIRST.address, FIRST.port, wire.now);
    }
  }
  assert.equal(wire.client.dropped, 3 * 0x10000);
  assert.equal(outcomes.length, 0);
});
