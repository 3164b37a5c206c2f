/**
 * The methods of npm dns-discovery 6.2.3, one after the other as its README lists them: what they
 * do, what their callbacks get, and what they say of wrong arguments.
 */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { EventEmitter, once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import discovery, { Discovery } from '../../../server/discovery/discovery.ts';
import type { DiscoveryOptions, Peer, Whoami } from '../../../server/discovery/types.ts';
import { Calls } from '../../helpers/calls.ts';
import { TestClient } from '../../helpers/client-fixture.ts';
import { boundSocket } from '../../helpers/client-scenarios.ts';
import { LyingServer, peersString, type Query } from '../../helpers/lying-server.ts';
import { MulticastBus } from '../../helpers/multicast-bus.ts';
import { at } from '../../helpers/server-kind.ts';

/** A server with one peer under each name. */
async function oneServer(t: TestContext): Promise<LyingServer> {
  const server = await LyingServer.open(t);
  server.onQuery = (query) => query.reply(['token=t', peersString('10.1.0.1:1001')]);
  return server;
}

async function withServer(t: TestContext, options: DiscoveryOptions = {}) {
  const server = await oneServer(t);
  const { disc } = new TestClient(t, { server: at(server), ...options });
  return { server, disc };
}

/** A server that says nothing. */
async function withSilence(t: TestContext) {
  const server = await LyingServer.open(t);
  const { disc } = new TestClient(t, { server: at(server), timeout: 100 });
  return { server, disc };
}

const announced = ({ strings }: Query) => strings.find((text) => text.startsWith('announce='));

describe('var disc = discovery([options])', () => {
  test('with and without new', async (t) => {
    for (const disc of [discovery({ multicast: false }), new discovery({ multicast: false })]) {
      t.after(() => disc.destroy());
      assert.ok(disc instanceof discovery);
      assert.ok(disc instanceof Discovery);
      assert.ok(disc instanceof EventEmitter);
    }
  });

  test('options that are not allowed are named, with what is', () => {
    const wrong: readonly (readonly [object, RegExp])[] = [
      [{ server: 'host:port' }, /^Could not parse host:port: .*number from 1 to 65535/],
      [{ server: 5300 }, /server 5300: expected a string or an array of strings/],
      [{ servers: ['a', 5] }, /server 5: expected a string/],
      [{ ttl: 'soon' }, /ttl "soon": expected seconds/],
      [{ ttl: -1 }, /ttl -1: expected seconds, 0 to/],
      [{ limit: 1.5 }, /limit 1\.5: expected a whole number from 1 to/],
      [{ domain: 5 }, /domain 5: expected a name such as dns-discovery\.local/],
      [{ domain: 'a..b' }, /a\.\.b/],
      [{ multicast: {} }, /multicast: expected true, false or an instance of multicast-dns/],
      [{ push: { ttl: 'x' } }, /push\.ttl "x": expected seconds/],
      [{ push: { limit: -2 } }, /push\.limit -2: expected a whole number/],
      [{ records: -1 }, /records -1: expected/],
      [{ values: 'many' }, /values "many": expected/],
      [{ retries: -1 }, /retries -1: expected/],
      [{ timeout: 1e9 }, /timeout 1000000000: expected a whole number from 1 to 600000/],
      [{ host: 'localhost' }, /host "localhost": expected an IP address of this machine/],
      [{ udpBackend: 'fast' }, /udpBackend "fast": expected auto, batch or dgram/],
      [{ interfaces: [1] }, /interfaces 1: expected a string/],
    ];
    for (const [options, message] of wrong) {
      assert.throws(() => discovery({ multicast: false, ...options }), { message });
    }
  });
});

describe('disc.lookup(name, [callback])', () => {
  test('peer events with port and host, then the callback with null', async (t) => {
    const { disc } = await withServer(t);
    const peers: [string, Peer][] = [];
    disc.on('peer', (name, peer) => peers.push([name, peer]));
    const done = new Calls();
    disc.lookup('example', done.callback);
    assert.deepEqual(await done.single(), [null]);
    assert.deepEqual(peers, [['example', { port: 1001, host: '10.1.0.1' }]]);
  });

  test('with options and a callback, with null for options, with neither', async (t) => {
    const { disc, server } = await withServer(t);
    for (const options of [{ multicast: false }, {}, null]) {
      const done = new Calls();
      disc.lookup('example', options, done.callback);
      assert.deepEqual(await done.single(), [null]);
    }
    const heard = once(disc, 'peer');
    disc.lookup('plain');
    assert.deepEqual(await heard, ['plain', { port: 1001, host: '10.1.0.1' }]);
    assert.ok(server.queries.length >= 4);
  });

  test('each lookup tells known peers again', async (t) => {
    const { disc } = await withServer(t);
    let told = 0;
    disc.on('peer', () => told++);
    for (let i = 1; i <= 3; i++) {
      await disc.lookup('again');
      assert.equal(told, i);
    }
  });

  test('no server answers: the callback gets the error Query failed', async (t) => {
    const { disc } = await withSilence(t);
    const done = new Calls();
    disc.lookup('example', done.callback);
    const [error] = await done.single();
    assert.ok(error instanceof Error);
    assert.equal(error.message, 'Query failed');
  });

  test('nobody to ask: the same, and not before lookup has returned', async (t) => {
    const { disc } = new TestClient(t, {});
    const done = new Calls();
    disc.lookup('example', done.callback);
    assert.equal(done.all.length, 0);
    const [error] = await done.single();
    assert.match(String(error), /Query failed/);
    const { disc: other, server } = await withServer(t);
    const second = new Calls();
    other.lookup('example', { server: false }, second.callback);
    assert.match(String(await second.single()), /Query failed/);
    assert.equal(server.received, 0, 'server: false');
  });

  test('with multicast alone: null once the question is sent', async (t) => {
    const member = new MulticastBus().join();
    const { disc } = new TestClient(t, { multicast: member.instance });
    const done = new Calls();
    disc.lookup('example', done.callback);
    assert.deepEqual(await done.single(), [null]);
    const questions = [{ type: 'TXT', name: 'example.dns-discovery.local' }];
    assert.deepEqual(
      member.queries.map((query) => Reflect.get(query, 'questions')),
      [questions],
    );
    await disc.lookup('example', { multicast: false }).catch(() => undefined);
    assert.equal(member.queries.length, 1, 'multicast: false');
  });

  test('names that are none: what is allowed', async (t) => {
    const { disc } = new TestClient(t, {});
    const text = /name .*: expected a string of at least one character or a Buffer/;
    for (const name of [undefined, null, '', {}]) {
      assert.throws(() => disc.lookup(name as string), { name: 'TypeError', message: text });
    }
    assert.throws(() => disc.lookup('a'.repeat(65)), RangeError);
    assert.throws(() => disc.lookup(`${'a.'.repeat(120)}a`), RangeError);
    assert.throws(() => disc.lookup('a..b'), RangeError);
    assert.throws(() => disc.lookup('a', 5 as never), /options: expected an object/);
    assert.throws(
      () => disc.lookup('a', { signal: 5 as never }),
      /signal: expected an AbortSignal/,
    );
  });
});

describe('disc.announce(name, port, [options], [callback])', () => {
  test('the servers are told; it looks up as well', async (t) => {
    const { disc, server } = await withServer(t);
    const heard = once(disc, 'peer');
    const done = new Calls();
    disc.announce('app', 8080, done.callback);
    assert.deepEqual(await done.single(), [null]);
    assert.deepEqual(await heard, ['app', { port: 1001, host: '10.1.0.1' }]);
    const { strings } = server.queries[1];
    assert.deepEqual([...strings].sort(), ['announce=8080', 'subscribe=true', 'token=t']);
  });

  test('publicPort is told to servers, the port over multicast', async (t) => {
    const bus = new MulticastBus();
    const server = await oneServer(t);
    const { disc } = new TestClient(t, { server: at(server), multicast: bus.join().instance });
    const other = new TestClient(t, { multicast: bus.join().instance });
    const heard = other.nextPeer();
    disc.announce('app', 8080, { publicPort: 4242 });
    assert.equal(await heard, 'app 127.0.0.1:8080');
    const query = await server.asked('app.dns-discovery.local');
    assert.equal(announced(query), 'announce=4242');
  });

  test('impliedPort tells servers to take the port they see', async (t) => {
    const { disc, server } = await withServer(t);
    await disc.announce('app', 8080, { impliedPort: true });
    assert.equal(announced(server.queries[1]), 'announce=0');
  });

  test('server: false announces by multicast only, multicast: false to servers only', async (t) => {
    const member = new MulticastBus().join();
    const server = await oneServer(t);
    const { disc } = new TestClient(t, { server: at(server), multicast: member.instance });
    await disc.announce('app', 1, { server: false });
    assert.deepEqual([server.received, member.queries.length], [0, 1]);
    await disc.announce('app', 1, { multicast: false });
    assert.deepEqual([server.received, member.queries.length], [2, 1]);
  });

  test('no server answers: Query failed', async (t) => {
    const { disc } = await withSilence(t);
    const done = new Calls();
    disc.announce('app', 8080, {}, done.callback);
    assert.match(String(await done.single()), /Query failed/);
  });

  test('ports that are none: what is allowed', (t) => {
    const { disc } = new TestClient(t, {});
    for (const port of [-1, 65_536, 1.5, Number.NaN, undefined, 'x']) {
      const message = /port .*: expected a whole number from 1 to 65535/;
      assert.throws(() => disc.announce('app', port as number), { name: 'RangeError', message });
      assert.throws(() => disc.unannounce('app', port as number), { name: 'RangeError', message });
    }
    const options = { publicPort: 70_000 };
    assert.throws(() => disc.announce('app', 1, options), /publicPort 70000: expected/);
  });
});

describe('disc.unannounce(name, port, [options], [callback])', () => {
  test('the servers are told, with the options of announce', async (t) => {
    const { disc, server } = await withServer(t);
    const done = new Calls();
    disc.unannounce('app', 8080, done.callback);
    assert.deepEqual(await done.single(), [null]);
    await disc.unannounce('app', 8080, { publicPort: 4242 });
    await disc.unannounce('app', 8080, { impliedPort: true });
    const told = server.queries.slice(1).map(({ strings }) => [...strings].sort());
    assert.deepEqual(told, [
      ['token=t', 'unannounce=8080'],
      ['token=t', 'unannounce=4242'],
      ['token=t', 'unannounce=0'],
    ]);
  });

  test('multicast tells of it no more', async (t) => {
    const bus = new MulticastBus();
    const { disc } = new TestClient(t, { multicast: bus.join().instance });
    const other = new TestClient(t, { multicast: bus.join().instance });
    await disc.announce('app', 8080);
    assert.deepEqual(await other.find('app'), ['127.0.0.1:8080']);
    disc.unannounce('app', 8080);
    assert.deepEqual(await other.find('app'), []);
  });
});

describe('disc.listen([port], [callback])', () => {
  test('others announce to it, and find each other', async (t) => {
    const server = new TestClient(t, {}).disc;
    const done = new Calls();
    const [{ port }] = await server.listen(0, done.callback);
    assert.deepEqual(await done.single(), []);
    const disc = new TestClient(t, { server: `127.0.0.1:${port}` });
    await disc.announce('test-app', 8080);
    assert.deepEqual(await disc.find('test-app'), ['127.0.0.1:8080']);
    const records = [{ port: 8080, host: '127.0.0.1' }];
    assert.deepEqual(server.toJSON(), [{ name: 'test-app', records }]);
  });

  test('several ports', async (t) => {
    const opened = await new TestClient(t, {}).disc.listen([0, 0]);
    const ports = new Set(opened.map(({ port }) => port));
    assert.ok(ports.size >= 2, JSON.stringify(opened));
  });

  test('twice: Server is already listening', async (t) => {
    const { disc } = new TestClient(t, {});
    await disc.listen(0);
    assert.throws(() => disc.listen(0), { message: 'Server is already listening' });
    const { disc: other } = new TestClient(t, {});
    const opening = other.listen(0);
    assert.throws(() => other.listen(), { message: 'Server is already listening' });
    await opening;
  });

  test('a port that is taken: an error, and it can be tried again', async (t) => {
    const taken = createSocket('udp4');
    t.after(() => taken.close());
    taken.bind(0, '0.0.0.0');
    await once(taken, 'listening');
    const { disc } = new TestClient(t, {});
    await assert.rejects(async () => await disc.listen(taken.address().port), {
      code: 'EADDRINUSE',
    });
    await disc.listen(0);
  });

  test('ports that are none: what is allowed', (t) => {
    const { disc } = new TestClient(t, {});
    const message = /port .*: expected a whole number from 0 to 65535/;
    for (const ports of [-1, 65_536, 'x', [5300, -1]]) {
      assert.throws(() => disc.listen(ports as number), { name: 'RangeError', message });
    }
  });
});

describe('disc.destroy([onclose])', () => {
  test('the callback, and the socket of the user is closed', async (t) => {
    const socket = await boundSocket(null);
    const closed = once(socket, 'close');
    const server = await oneServer(t);
    const disc = discovery({ server: at(server), socket, multicast: false });
    await disc.lookup('app');
    assert.equal(server.queries[0].from.port, socket.address().port);
    const done = new Calls();
    disc.destroy(done.callback);
    assert.deepEqual(await done.single(), []);
    await closed;
  });

  test('twice: both callbacks, one close', async () => {
    const disc = discovery({ multicast: false });
    let closes = 0;
    disc.on('close', () => closes++);
    const calls = [new Calls(), new Calls()];
    for (const each of calls) disc.destroy(each.callback);
    for (const each of calls) await each.single();
    await disc.destroy();
    assert.equal(closes, 1);
  });

  test('after the close: the callback comes all the same', async () => {
    const disc = discovery({ multicast: false });
    await disc.destroy();
    const late = new Calls();
    disc.destroy(late.callback);
    await late.single();
  });

  test('multicast is destroyed too, and what listens', async () => {
    const bus = new MulticastBus();
    const member = bus.join();
    const disc = discovery({ multicast: member.instance });
    const [{ port }] = await disc.listen(0);
    await disc.destroy();
    assert.ok(member.isDestroyed);
    const again = discovery({ multicast: false });
    await again.listen(port);
    await again.destroy();
  });
});

describe('disc.whoami(callback) and disc.toJSON(), which the README leaves out', () => {
  test('whoami: port and host', async (t) => {
    const server = await LyingServer.open(t);
    server.onQuery = (query) => query.reply(['token=t', 'host=192.0.2.1', 'port=4000']);
    const { disc } = new TestClient(t, { server: at(server) });
    const self = await new Promise<Whoami | undefined>((resolve, reject) => {
      disc.whoami((error, seen) => (error === null ? resolve(seen) : reject(error)));
    });
    assert.deepEqual(self, { port: 0, host: '192.0.2.1' });
  });

  test('whoami: nobody to ask, or nobody answers: Probe failed', async (t) => {
    for (const { disc } of [new TestClient(t, {}), await withSilence(t)]) {
      const done = new Calls();
      disc.whoami(done.callback);
      assert.match(String(await done.single()), /Probe failed/);
    }
  });

  test('toJSON: what is announced here, as 0.0.0.0', async (t) => {
    const { disc } = await withServer(t);
    await disc.announce('app', 8080);
    await disc.announce('app', 8081);
    await disc.announce('gone', 1);
    await disc.unannounce('gone', 1);
    const records = [8080, 8081].map((port) => ({ port, host: '0.0.0.0' }));
    assert.deepEqual(disc.toJSON(), [{ name: 'app', records }]);
    assert.deepEqual(JSON.parse(JSON.stringify(disc)), disc.toJSON());
  });
});
