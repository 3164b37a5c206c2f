import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer } from '../../../codecs/dns/client-answer.ts';
import type { Question } from '../../../codecs/dns/client-query.ts';
import { checkOptions, wireName } from '../../../server/discovery/options.ts';
import { Rounds } from '../../../server/discovery/rounds.ts';
import type { DiscoveryError, DiscoveryOptions, Peer } from '../../../server/discovery/types.ts';
import type { Done } from '../../../server/discovery/wire/questions.ts';
import { FakeClock } from '../../helpers/tcp-client.ts';

const FROM = { address: '192.0.2.53', port: 5300 };
const PEER: Peer = { port: 8080, host: '198.51.100.7' };

interface Asked {
  readonly question: Question;
  readonly label: string | null;
  readonly done: Done;
}

/** Rounds on a fake clock, with servers and multicast that answer when told to. */
class House {
  readonly clock = new FakeClock();
  readonly asked: Asked[] = [];
  readonly multicast: { id: string; done: (error: Error | null) => void }[] = [];
  readonly events: string[] = [];
  readonly cancelled: number[] = [];
  readonly rounds: Rounds;

  constructor(servers: number, hasMulticast = false, options: DiscoveryOptions = {}) {
    const wire = {
      ask: (question: Question, label: string | null, _now: number, done: Done) =>
        this.asked.push({ question, label, done }),
      cancelAnnounces: (_name: Uint8Array, port: number) => this.cancelled.push(port),
    };
    const multicast = {
      query: (id: string, done: (error: Error | null) => void) => this.multicast.push({ id, done }),
    };
    this.rounds = new Rounds({
      config: checkOptions(options),
      clock: this.clock,
      wires: new Array(servers).fill(wire),
      multicast: hasMulticast ? (multicast as never) : null,
      onPeer: (name, peer) => this.events.push(`peer ${name} ${peer.host}:${peer.port}`),
      onDone: (event, name, port) => this.events.push(`${event} ${name} ${port}`),
      onBusy: () => undefined,
    });
  }

  request<O extends object>(id: string, options: O, calls: (string | null)[] = []) {
    const callback = (error: Error | null) =>
      void calls.push(error === null ? null : error.message);
    return { id, wire: wireName(id, 'dns-discovery.local'), options, callback };
  }

  answer(asked: Asked, ...peers: Peer[]): void {
    asked.done(null, { peers } as unknown as Answer, FROM);
  }
}

test('the callback comes when every server has answered or given up; one answer is enough', () => {
  const house = new House(3);
  const calls: (string | null)[] = [];
  house.rounds.lookup(house.request('app', {}, calls));
  assert.equal(house.asked.length, 3);
  house.asked[0].done(new Error('silent'), null, null);
  house.answer(house.asked[1], PEER);
  assert.deepEqual(calls, []);
  house.asked[2].done(new Error('silent'), null, null);
  assert.deepEqual(calls, [null]);
  assert.deepEqual(house.events, ['peer app 198.51.100.7:8080']);
});

test('no server answered: Query failed, with what each said', async () => {
  const house = new House(2);
  const calls: (string | null)[] = [];
  const lookup = house.rounds.lookup(house.request('app', {}, calls));
  for (const { done } of house.asked) done(new Error('silent'), null, null);
  assert.deepEqual(calls, ['Query failed']);
  await assert.rejects(
    async () => lookup,
    (error: DiscoveryError) => {
      assert.equal(error.code, 'ERR_QUERY_FAILED');
      assert.deepEqual(error.errors.map(String), ['Error: silent', 'Error: silent']);
      return true;
    },
  );
});

test('multicast alone: the callback when it is sent, the promise half a second later', async () => {
  const house = new House(0, true);
  const calls: (string | null)[] = [];
  const lookup = house.rounds.lookup(house.request('app', {}, calls));
  house.multicast[0].done(null);
  assert.deepEqual(calls, [null]);
  house.clock.advance(499);
  assert.equal(lookup.isOver, false);
  house.rounds.found('APP', PEER);
  house.clock.advance(1);
  assert.deepEqual(await lookup, [PEER]);
  house.rounds.found('app', { ...PEER, port: 1 });
  assert.deepEqual(lookup.peers, [PEER], 'it is over');
});

test('servers that fail beside multicast that found somebody: no error', async () => {
  const house = new House(1, true);
  const calls: (string | null)[] = [];
  const lookup = house.rounds.lookup(house.request('app', {}, calls));
  house.multicast[0].done(null);
  house.rounds.found('app', PEER);
  house.asked[0].done(new Error('silent'), null, null);
  assert.deepEqual(calls, [null]);
  house.clock.advance(500);
  assert.deepEqual(await lookup, [PEER]);
});

test('nobody to ask: Query failed, not before the call has returned', () => {
  const house = new House(1, true);
  const calls: (string | null)[] = [];
  house.rounds.lookup(house.request('app', { server: false, multicast: false }, calls));
  assert.deepEqual(calls, []);
  house.clock.advance(1);
  assert.deepEqual(calls, ['Query failed']);
  assert.equal(house.asked.length + house.multicast.length, 0);
});

test('what servers are told: the port, the public port, or 0 for the implied one', () => {
  const house = new House(1, true);
  for (const options of [{}, { publicPort: 4242 }, { impliedPort: true }]) {
    house.rounds.announce({ ...house.request('app', options), port: 8080 });
  }
  house.rounds.unannounce({ ...house.request('app', { impliedPort: true }), port: 8080 });
  assert.deepEqual(
    house.asked.map(({ question }) => [question.kind, question.port]),
    [
      ['announce', 8080],
      ['announce', 4242],
      ['announce', 0],
      ['unannounce', 0],
    ],
  );
  assert.deepEqual(
    house.asked.map(({ label }) => label),
    ['app', 'app', 'app', null],
    'who announces has looked it up; who unannounces wants no pushes',
  );
  assert.equal(house.multicast.length, 3, 'an unannounce is no question');
});

test('announced and unannounced: for each server that answered, or once for multicast', () => {
  const house = new House(2);
  house.rounds.announce({ ...house.request('app', {}), port: 1 });
  for (const asked of house.asked) house.answer(asked);
  house.rounds.unannounce({ ...house.request('app', {}), port: 1 });
  house.asked[2].done(new Error('silent'), null, null);
  house.answer(house.asked[3]);
  assert.deepEqual(house.events, ['announced app 1', 'announced app 1', 'unannounced app 1']);
  const local = new House(0, true);
  local.rounds.announce({ ...local.request('app', {}), port: 1 });
  local.multicast[0].done(null);
  local.rounds.unannounce({ ...local.request('app', {}), port: 1 });
  local.clock.advance(1);
  assert.deepEqual(local.events, ['announced app 1', 'unannounced app 1']);
});

test('keep: asked again within 20 seconds, with a ttl within a third of it', () => {
  for (const [ttl, seconds] of [
    [undefined, 20],
    [30, 10],
    [1, 1],
  ]) {
    const house = new House(1, false, ttl === undefined ? {} : { ttl });
    house.rounds.announce({ ...house.request('app', { keep: true }), port: 1 });
    house.clock.advance(10 * (seconds ?? 0) * 1000);
    assert.ok(house.asked.length >= 11 && house.asked.length <= 13, `${house.asked.length}`);
  }
});

test('a kept announce ends with an unannounce, and with a later one in its place', () => {
  const house = new House(1);
  const announce = () =>
    house.rounds.announce({ ...house.request('app', { keep: true }), port: 1 });
  announce();
  announce();
  house.clock.advance(60_000);
  assert.equal(house.asked.length, 2 + 3);
  house.rounds.unannounce({ ...house.request('app', {}), port: 1 });
  const before = house.asked.length;
  house.clock.advance(100_000);
  assert.equal(house.asked.length, before);
  assert.equal(house.clock.timers, 0);
});

test('a kept lookup is told what comes later, until it is left', async () => {
  const house = new House(1);
  const lookup = house.rounds.lookup(house.request('app', { keep: true }));
  house.answer(house.asked[0], PEER);
  const seen: number[] = [];
  for await (const { port } of lookup) {
    seen.push(port);
    if (port === 8080) house.rounds.found('App', { ...PEER, port: 2 });
    else if (port === 2) {
      house.clock.advance(20_000);
      house.answer(house.asked[1], { ...PEER, port: 3 });
    } else break;
  }
  assert.deepEqual(seen, [8080, 2, 3]);
  assert.equal(house.clock.timers, 0);
});

test('a signal ends a request with its reason, once, and nothing comes after', async () => {
  const house = new House(1);
  for (const keep of [false, true]) {
    const stop = new AbortController();
    const calls: (string | null)[] = [];
    const lookup = house.rounds.lookup(house.request('app', { signal: stop.signal, keep }, calls));
    const asked = house.asked.at(-1);
    stop.abort(new Error('enough'));
    assert.deepEqual(calls, ['enough']);
    if (asked !== undefined) house.answer(asked, PEER);
    await assert.rejects(async () => lookup, /enough/);
    assert.deepEqual(calls, ['enough']);
    const late = house.rounds.lookup(house.request('app', { signal: stop.signal, keep }));
    await assert.rejects(async () => late, /enough/);
  }
  assert.equal(house.asked.length, 2, 'with a signal that has fired nothing is asked');
  house.clock.advance(100_000);
  assert.equal(house.asked.length, 2);
});

test('the end fails what is under way, waits for multicast included', async () => {
  const house = new House(1, true);
  const calls: (string | null)[] = [];
  const pending = house.rounds.lookup(house.request('a', {}, calls));
  const waiting = house.rounds.lookup(house.request('b', {}, calls));
  house.answer(house.asked[1]);
  house.multicast[1].done(null);
  const kept = house.rounds.announce({ ...house.request('c', { keep: true }, calls), port: 1 });
  house.rounds.end(new Error('destroyed'));
  for (const each of [pending, waiting, kept]) {
    await assert.rejects(async () => each, /destroyed/);
  }
  assert.deepEqual(calls, [null, 'destroyed', 'destroyed']);
  assert.equal(house.clock.timers, 0);
  const late = house.rounds.unannounce({ ...house.request('c', {}), port: 1 });
  await assert.rejects(async () => late, /destroyed/);
});
