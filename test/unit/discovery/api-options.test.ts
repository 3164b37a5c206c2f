/**
 * The options of npm dns-discovery 6.2.3, those of its README and those its code reads: what each
 * does, and its default.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import type { Discovery } from '../../../server/discovery/discovery.ts';
import type { DiscoveryOptions } from '../../../server/discovery/types.ts';
import { discoveryAt, TestClient } from '../../helpers/client-fixture.ts';
import { boundSocket } from '../../helpers/client-scenarios.ts';
import { LyingServer, peersString } from '../../helpers/lying-server.ts';
import { MulticastBus } from '../../helpers/multicast-bus.ts';
import { at } from '../../helpers/server-kind.ts';
import { FakeClock } from '../../helpers/tcp-client.ts';
import { UdpAsker } from '../../helpers/udp-asker.ts';

const HOUR_MS = 3_600_000;

async function answering(t: TestContext, host: string, ...peers: string[]): Promise<LyingServer> {
  const server = await LyingServer.open(t, host);
  server.onQuery = (query) => query.reply(['token=t', peersString(...peers)]);
  return server;
}

/** A listening instance on a clock of the test's, and a client of it. */
async function listening(t: TestContext, options: DiscoveryOptions) {
  const clock = new FakeClock();
  const disc = discoveryAt(t, clock, options);
  const [{ port }] = await disc.listen(0);
  const server = `127.0.0.1:${port}`;
  return { clock, disc, port, client: new TestClient(t, { server }) };
}

/** How many peers an instance has in all. */
const peersIn = (disc: Discovery): number =>
  disc.toJSON().reduce((sum, { records }) => sum + records.length, 0);

describe('server', () => {
  test('one', async (t) => {
    const server = await answering(t, '127.0.0.1', '10.1.0.1:1');
    assert.deepEqual(await new TestClient(t, { server: at(server) }).find('app'), ['10.1.0.1:1']);
  });

  test('an array: all of them are asked', async (t) => {
    const first = await answering(t, '127.0.0.1', '10.1.0.1:1');
    const second = await answering(t, '127.0.0.2', '10.1.0.2:2');
    for (const option of ['server', 'servers']) {
      const client = new TestClient(t, { [option]: [at(first), at(second)] });
      assert.deepEqual(await client.find('app'), ['10.1.0.1:1', '10.1.0.2:2']);
    }
  });

  test('servers wins over server', async (t) => {
    const first = await answering(t, '127.0.0.1', '10.1.0.1:1');
    const second = await answering(t, '127.0.0.2', '10.1.0.2:2');
    const client = new TestClient(t, { server: at(first), servers: at(second) });
    assert.deepEqual(await client.find('app'), ['10.1.0.2:2']);
  });

  test('a host name', async (t) => {
    const { port } = await answering(t, '127.0.0.1', '10.1.0.1:1');
    const client = new TestClient(t, { server: `localhost:${port}` });
    assert.deepEqual(await client.find('app'), ['10.1.0.1:1']);
  });

  test('none, however one says so', (t) => {
    for (const server of [undefined, null, '', []]) {
      const { disc } = new TestClient(t, { server } as DiscoveryOptions);
      assert.deepEqual(disc.toJSON(), []);
    }
  });
});

describe('ttl', () => {
  test('seconds after which a record that is not renewed goes', async (t) => {
    const { clock, disc, client } = await listening(t, { ttl: 30 });
    await client.announce('app', 1);
    clock.advance(29_000);
    assert.deepEqual(await client.find('app'), ['127.0.0.1:1']);
    clock.advance(2000);
    assert.deepEqual(await client.find('app'), []);
    assert.deepEqual(disc.toJSON(), []);
  });

  test('defaults to Infinity', async (t) => {
    const { clock, client } = await listening(t, {});
    await client.announce('app', 1);
    clock.advance(HOUR_MS);
    assert.deepEqual(await client.find('app'), ['127.0.0.1:1']);
  });
});

describe('limit', () => {
  test('max number of records stored: the oldest goes', async (t) => {
    const { disc, client } = await listening(t, { limit: 3 });
    for (let port = 1; port <= 5; port++) await client.announce(`app${port}`, port);
    assert.equal(peersIn(disc), 3);
    assert.deepEqual(await client.find('app5'), ['127.0.0.1:5']);
    assert.deepEqual(await client.find('app1'), []);
  });

  test('defaults to 10000, of which one host may have all', async (t) => {
    const { disc, port } = await listening(t, {});
    const asker = await UdpAsker.open(t, port);
    for (let i = 0; i < 20; i++) await asker.announceAll(`app${i}`, ports(1, 525));
    assert.equal(peersIn(disc), 10_000);
  });
});

function ports(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}

describe('multicast', () => {
  test('false: nothing is said to the network', async (t) => {
    const client = new TestClient(t, { multicast: false });
    await assert.rejects(client.announce('app', 1), { message: 'Query failed' });
  });

  test('an instance is used, and destroyed with ours', async (t) => {
    const bus = new MulticastBus();
    const member = bus.join();
    const client = new TestClient(t, { multicast: member.instance });
    await client.announce('app', 1);
    assert.equal(member.queries.length, 1);
    await client.destroy();
    assert.ok(member.isDestroyed);
  });
});

describe('domain', () => {
  test('the names that are asked are under it', async (t) => {
    const server = await answering(t, '127.0.0.1', '10.1.0.1:1');
    const client = new TestClient(t, { server: at(server), domain: 'my-domain.com' });
    assert.deepEqual(await client.find('app'), ['10.1.0.1:1']);
    const names = server.queries.map(({ name }) => name);
    assert.deepEqual(names, ['my-domain.com', 'app.my-domain.com']);
  });

  test('defaults to dns-discovery.local', async (t) => {
    const server = await answering(t, '127.0.0.1');
    await new TestClient(t, { server: at(server) }).lookup('app');
    assert.equal(server.queries[1].name, 'app.dns-discovery.local');
  });

  test('a listening instance answers for its own', async (t) => {
    const { disc, port } = await listening(t, { domain: 'my-domain.com' });
    const server = `127.0.0.1:${port}`;
    await new TestClient(t, { server, domain: 'my-domain.com' }).announce('app', 1);
    assert.equal(peersIn(disc), 1);
    const foreign = new TestClient(t, { server });
    await assert.rejects(foreign.announce('app', 1), { message: 'Query failed' });
    assert.equal(peersIn(disc), 1);
  });
});

describe('socket', () => {
  test('questions leave by it, bound or not, and it is closed at the end', async (t) => {
    const server = await answering(t, '127.0.0.1', '10.1.0.1:1');
    const socket = await boundSocket(null);
    const { port } = socket.address();
    const client = new TestClient(t, { server: at(server), socket });
    assert.deepEqual(await client.find('app'), ['10.1.0.1:1']);
    assert.equal(server.queries[0].from.port, port);
    const closed = once(socket, 'close');
    await client.destroy();
    await closed;
  });
});

describe('loopback', () => {
  for (const loopback of [false, true]) {
    test(`${loopback}: ${loopback ? 'discovers' : 'does not discover'} itself`, async (t) => {
      const multicast = new MulticastBus().join().instance;
      const client = new TestClient(t, { multicast, loopback });
      await client.announce('app', 8080);
      assert.deepEqual(client.seen('app'), loopback ? ['127.0.0.1:8080'] : []);
    });
  }

  test('defaults to false', async (t) => {
    const client = new TestClient(t, { multicast: new MulticastBus().join().instance });
    await client.announce('app', 8080);
    assert.deepEqual(client.peers, []);
  });
});

describe('push: {ttl, limit}', () => {
  /** Subscribers of a listening instance, then an announce: how many are told. */
  async function told(t: TestContext, push: DiscoveryOptions['push'], wait: number) {
    const { clock, port } = await listening(t, push === undefined ? {} : { push });
    const pushes: Buffer[][] = [];
    for (let i = 0; i < 3; i++) {
      const asker = await UdpAsker.open(t, port, { from: `127.0.${i}.1` });
      const strings = [`token=${await asker.token()}`, 'subscribe=true'];
      await asker.ask({ name: 'app.dns-discovery.local', strings });
      pushes.push(asker.keepPushes());
    }
    clock.advance(wait);
    const announcer = await UdpAsker.open(t, port);
    await announcer.announceAll('app', [8080]);
    // Pushes leave before the answer to the announce that caused them, or with it.
    await announcer.ask({ name: 'app.dns-discovery.local' });
    await new Promise((resolve) => setImmediate(resolve));
    return pushes.filter((each) => each.length > 0).length;
  }

  test('the defaults: a minute, and limit', async (t) => {
    assert.equal(await told(t, undefined, 50_000), 3);
    assert.equal(await told(t, undefined, 70_000), 0);
  });

  test('ttl: seconds that a subscription lasts', async (t) => {
    assert.equal(await told(t, { ttl: 200 }, 190_000), 3);
    assert.equal(await told(t, { ttl: 10 }, 20_000), 0);
  });

  test('limit: subscriptions at once', async (t) => {
    assert.equal(await told(t, { limit: 2 }, 0), 2);
  });
});

describe('records and values', () => {
  test('records: names at most', async (t) => {
    const { disc, client } = await listening(t, { records: 2 });
    for (let i = 1; i <= 4; i++) await client.announce(`app${i}`, i);
    assert.deepEqual(
      disc
        .toJSON()
        .map(({ name }) => name)
        .sort(),
      ['app3', 'app4'],
    );
  });

  test('values: peers of a name at most', async (t) => {
    const { disc, client } = await listening(t, { values: 2 });
    for (let port = 1; port <= 4; port++) await client.announce('app', port);
    assert.equal(peersIn(disc), 2);
    await client.announce('other', 5);
    assert.equal(peersIn(disc), 3);
  });
});

describe('retries and timeout', () => {
  test('timeout: milliseconds until a question fails', async (t) => {
    const server = await LyingServer.open(t);
    const { disc } = new TestClient(t, { server: at(server), timeout: 150 });
    const began = performance.now();
    await assert.rejects(async () => await disc.lookup('app'), { message: 'Query failed' });
    const took = performance.now() - began;
    assert.ok(took >= 140 && took < 2000, `${took} ms`);
  });

  test('retries: sends of a question at most', async (t) => {
    for (const retries of [1, 2]) {
      const server = await LyingServer.open(t);
      const { disc } = new TestClient(t, { server: at(server), timeout: 1200, retries });
      await assert.rejects(async () => await disc.lookup('app'), { message: 'Query failed' });
      assert.equal(server.received, retries);
    }
  });
});

describe('host, which is ours', () => {
  test('the address that servers are asked from', async (t) => {
    const server = await LyingServer.open(t);
    const asked: string[] = [];
    server.onQuery = (query) => {
      asked.push(query.from.address);
      query.reply(['token=t']);
    };
    await new TestClient(t, { server: at(server), host: '127.0.0.7' }).lookup('app');
    assert.deepEqual(new Set(asked), new Set(['127.0.0.7']));
  });
});
