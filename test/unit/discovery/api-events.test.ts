/** The events of npm dns-discovery 6.2.3, one after the other as its README lists them. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import discovery from '../../../server/discovery/discovery.ts';
import type { Peer, TrafficType } from '../../../server/discovery/types.ts';
import { discoveryAt, TestClient } from '../../helpers/client-fixture.ts';
import { LyingServer, peersString } from '../../helpers/lying-server.ts';
import { MulticastBus } from '../../helpers/multicast-bus.ts';
import { at } from '../../helpers/server-kind.ts';
import { FakeClock, until } from '../../helpers/tcp-client.ts';

/** The original's secrets are rotated so often. */
const SECRETS_MS = 300_000;

async function answering(t: TestContext, ...peers: string[]): Promise<LyingServer> {
  const server = await LyingServer.open(t);
  server.onQuery = (query) => query.reply(['token=t', peersString(...peers)]);
  return server;
}

describe('Event: "listening"', () => {
  test('after a successful listen, without arguments', async (t) => {
    const { disc } = new TestClient(t, {});
    const listening = once(disc, 'listening');
    disc.listen(0);
    assert.deepEqual(await listening, []);
  });
});

describe('Event: "close"', () => {
  test('after a successful destroy, without arguments, once everything is closed', async () => {
    const disc = discovery({ multicast: false });
    const [{ port }] = await disc.listen(0);
    const close = once(disc, 'close');
    disc.destroy();
    assert.deepEqual(await close, []);
    const next = createSocket('udp4');
    next.bind(port, '0.0.0.0');
    await once(next, 'listening');
    next.close();
  });
});

describe('Event: "peer" (name, {host, port})', () => {
  test('of a lookup and of an announce', async (t) => {
    const server = await answering(t, '10.1.0.1:1001');
    const { disc } = new TestClient(t, { server: at(server) });
    for (const ask of [() => disc.lookup('app'), () => disc.announce('app', 1)]) {
      const peer = once(disc, 'peer');
      ask();
      assert.deepEqual(await peer, ['app', { port: 1001, host: '10.1.0.1' }]);
    }
  });

  test('the name is as it was asked for, whatever the server makes of it', async (t) => {
    const server = await LyingServer.open(t);
    server.onQuery = (query) => {
      const name = query.name.toUpperCase();
      const question = { name };
      query.reply(['token=t', peersString('10.1.0.1:1001')], { question });
    };
    const client = new TestClient(t, { server: at(server) });
    await client.lookup('ApP');
    assert.deepEqual(client.peers, ['ApP 10.1.0.1:1001']);
  });

  test('0.0.0.0 stands for the server, over multicast for the sender', async (t) => {
    const server = await answering(t, '0.0.0.0:1001');
    assert.deepEqual(await new TestClient(t, { server: at(server) }).find('app'), [
      '127.0.0.1:1001',
    ]);
    const bus = new MulticastBus();
    new TestClient(t, { multicast: bus.join().instance }).disc.announce('app', 8080);
    const client = new TestClient(t, { multicast: bus.join().instance });
    assert.deepEqual(await client.find('app'), ['127.0.0.1:8080']);
  });

  test('a listening instance: who announces to it', async (t) => {
    const { disc } = new TestClient(t, {});
    const [{ port }] = await disc.listen(0);
    const peer = once(disc, 'peer');
    await new TestClient(t, { server: `127.0.0.1:${port}` }).announce('app', 8080);
    assert.deepEqual(await peer, ['app', { port: 8080, host: '127.0.0.1' }]);
  });

  test('by multicast an announce is heard at once, and not by who announces', async (t) => {
    const bus = new MulticastBus();
    const hearing = new TestClient(t, { multicast: bus.join().instance });
    const own = new TestClient(t, { multicast: bus.join().instance });
    const peer = once(hearing.disc, 'peer');
    await own.announce('app', 8080);
    assert.deepEqual(await peer, ['app', { port: 8080, host: '127.0.0.1' }]);
    assert.deepEqual(own.peers, []);
  });
});

describe('Event: "announced" (name, {port})', () => {
  test('after a successful announce; the port is the one given', async (t) => {
    const server = await answering(t);
    const { disc } = new TestClient(t, { server: at(server) });
    const all = ['announced', 'unannounced'] as const;
    for (const options of [{}, { publicPort: 4242 }, { impliedPort: true }]) {
      const heard: unknown[] = [];
      for (const event of all) disc.once(event, (...args) => heard.push([event, ...args]));
      await disc.announce('app', 8080, options);
      assert.deepEqual(heard, [['announced', 'app', { port: 8080 }]]);
      disc.removeAllListeners('unannounced');
    }
  });

  test('not when it failed, nor by a lookup', async (t) => {
    const server = await LyingServer.open(t);
    const { disc } = new TestClient(t, { server: at(server), timeout: 100 });
    let heard = 0;
    disc.on('announced', () => heard++);
    await assert.rejects(async () => await disc.announce('app', 1));
    server.onQuery = (query) => query.reply(['token=t']);
    await disc.lookup('app');
    assert.equal(heard, 0);
  });
});

describe('Event: "unannounced" (name, {port})', () => {
  test('after a successful unannounce', async (t) => {
    const server = await answering(t);
    const { disc } = new TestClient(t, { server: at(server) });
    const unannounced = once(disc, 'unannounced');
    await disc.unannounce('app', 8080, { publicPort: 4242 });
    assert.deepEqual(await unannounced, ['app', { port: 8080 }]);
  });
});

describe('Event: "traffic" (type, details)', () => {
  test('questions, answers, pushes and what is said to them', async (t) => {
    const server = await answering(t, '10.1.0.1:1001');
    const client = new TestClient(t, { server: at(server) });
    const traffic = client.keepTraffic();
    await client.lookup('app');
    const types = traffic.map(({ type }) => type);
    assert.deepEqual(types, ['out:query', 'in:response', 'out:query', 'in:response']);
    for (const { type, details } of traffic) {
      assert.deepEqual(details.peer, { port: server.port, host: server.host });
      const { type: kind, questions } = details.message as { type: string; questions: object[] };
      assert.equal(kind, type.slice(type.indexOf(':') + 1));
      assert.equal(questions.length, 1);
    }
  });

  test('a listening instance: what it is asked and what it answers', async (t) => {
    const listening = new TestClient(t, {});
    const [{ port }] = await listening.disc.listen(0);
    const traffic = listening.keepTraffic();
    await new TestClient(t, { server: `127.0.0.1:${port}` }).announce('app', 8080);
    await until(() => traffic.length >= 4, 'the traffic');
    const types = traffic.map(({ type }) => type).sort();
    assert.deepEqual(types, ['in:query', 'in:query', 'out:response', 'out:response']);
    for (const { details } of traffic) assert.equal(details.peer?.host, '127.0.0.1');
  });

  test('multicast: questions and answers, both ways', async (t) => {
    const bus = new MulticastBus();
    const announcing = new TestClient(t, { multicast: bus.join().instance });
    const asking = new TestClient(t, { multicast: bus.join().instance });
    const own = announcing.keepTraffic();
    const others = asking.keepTraffic();
    await announcing.announce('app', 8080);
    await asking.lookup('app');
    const kinds = (traffic: readonly { readonly type: TrafficType }[]) =>
      new Set(traffic.map(({ type }) => type));
    assert.ok(kinds(own).has('out:multicastquery') && kinds(own).has('out:multicastresponse'));
    assert.ok(kinds(others).has('in:multicastquery') && kinds(others).has('in:multicastresponse'));
    const heard = others.find(({ type }) => type === 'in:multicastresponse');
    assert.equal(heard?.details.peer?.host, '127.0.0.1');
    const message = heard?.details.message as { answers: object[] };
    assert.equal(message.answers.length, 1);
  });
});

describe('Event: "secrets-rotated"', () => {
  test('every five minutes, without arguments', (t) => {
    const clock = new FakeClock();
    const disc = discoveryAt(t, clock, {});
    const heard: unknown[][] = [];
    disc.on('secrets-rotated', (...args) => heard.push(args));
    clock.advance(SECRETS_MS - 1);
    assert.deepEqual(heard, []);
    clock.advance(1 + 2 * SECRETS_MS);
    assert.deepEqual(heard, [[], [], []]);
  });
});

describe('Event: "error" (err)', () => {
  test('a port that is taken', async (t) => {
    const taken = createSocket('udp4');
    t.after(() => taken.close());
    taken.bind(0, '0.0.0.0');
    await once(taken, 'listening');
    const { disc } = new TestClient(t, {});
    const failed = once(disc, 'error') as Promise<NodeJS.ErrnoException[]>;
    disc.listen(taken.address().port, () => assert.fail('it does not listen'));
    const [error] = await failed;
    assert.equal(error.code, 'EADDRINUSE');
  });

  test('a local address that is none of this machine', async (t) => {
    const server = await answering(t);
    const { disc } = new TestClient(t, { server: at(server), host: '203.0.113.1', timeout: 100 });
    const failed = once(disc, 'error') as Promise<NodeJS.ErrnoException[]>;
    const done = new Promise((resolve) => {
      disc.lookup('app', resolve);
    });
    const [error] = await failed;
    assert.equal(error.code, 'EADDRNOTAVAIL');
    assert.match(String(await done), /Query failed/);
  });

  test('what goes wrong with multicast', async (t) => {
    const member = new MulticastBus().join();
    const { disc } = new TestClient(t, { multicast: member.instance });
    const failed = once(disc, 'error');
    const error = new Error('no multicast today');
    member.emit('error', error);
    assert.deepEqual(await failed, [error]);
  });
});

test('peers are told as port and host and nothing else', async (t) => {
  const server = await answering(t, '10.1.0.1:1001');
  const { disc } = new TestClient(t, { server: at(server) });
  const told = once(disc, 'peer') as Promise<[string, Peer]>;
  const [awaited] = await disc.lookup('app');
  const [, peer] = await told;
  for (const each of [awaited, peer]) assert.deepEqual(Object.keys(each).sort(), ['host', 'port']);
});
