/** The server inside a program: its start, its end, and what it is made of. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { systemClock } from '../../../server/clock.ts';
import { Afterwards } from '../../../server/discovery/listening/afterwards.ts';
import { Listening, type ListeningConfig } from '../../../server/discovery/listening/listening.ts';
import { MachineAddress } from '../../../server/discovery/listening/machine-address.ts';
import { idText } from '../../../server/discovery/listening/stored-names.ts';
import { explainListenError } from '../../../server/options/listen-error.ts';
import { FakeClock } from '../../helpers/tcp-client.ts';
import { UdpAsker } from '../../helpers/udp-asker.ts';

const CONFIG: ListeningConfig = {
  ports: [0],
  isDefault: false,
  domain: 'dns-discovery.local',
  ttlSeconds: Number.POSITIVE_INFINITY,
  limit: 10_000,
  push: { ttlSeconds: 60, limit: 10_000 },
  records: undefined,
  values: undefined,
  udpBackend: 'auto',
  clock: systemClock,
  traffic: { isWanted: () => false, tell: () => undefined },
  onPeer: () => undefined,
  notice: () => undefined,
};

async function start(t: TestContext, config: Partial<ListeningConfig> = {}): Promise<Listening> {
  const listening = await Listening.start({ ...CONFIG, ...config });
  t.after(() => listening.close());
  return listening;
}

/** The port of its IPv4 socket. */
function portOf(listening: Listening): number {
  const found = listening.addresses.find(({ address }) => address === '0.0.0.0');
  assert.ok(found);
  return found.port;
}

/** A port that somebody else has, on all IPv4 addresses. */
async function takenPort(t: TestContext): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind({ address: '0.0.0.0', port: 0, exclusive: true });
  await once(socket, 'listening');
  t.after(() => socket.close());
  return socket.address().port;
}

describe('listening: start and close', () => {
  test('importing it loads nothing: all that it imports at once are types', () => {
    const file = new URL('../../../server/discovery/listening/listening.ts', import.meta.url);
    const text = readFileSync(file, 'utf8');
    const imports = text.match(/^import .*$/gm) ?? [];
    assert.ok(imports.length > 0);
    for (const line of imports) assert.match(line, /^import type /);
  });

  test('a port is opened on all addresses by UDP and TCP, and addresses says so', async (t) => {
    const listening = await start(t);
    const { addresses } = listening;
    const ipv4 = addresses.filter(({ address }) => address === '0.0.0.0');
    assert.deepEqual(
      ipv4.map(({ transport }) => transport),
      ['udp', 'tcp'],
    );
    assert.equal(ipv4[0].port, ipv4[1].port);
    for (const { address, port } of addresses) {
      assert.ok(address === '0.0.0.0' || address === '::', address);
      assert.ok(port > 0);
    }
  });

  test('a port that was named and is taken: rejects with the code and what to do', async (t) => {
    const port = await takenPort(t);
    await assert.rejects(Listening.start({ ...CONFIG, ports: [port] }), (error: Error) => {
      assert.ok(error instanceof Error);
      assert.equal(Reflect.get(error, 'code'), 'EADDRINUSE');
      assert.match(error.message, /already in use/);
      assert.match(error.message, /choose another port/);
      return true;
    });
  });

  test('of default ports one that opens is enough, the other is a notice', async (t) => {
    const port = await takenPort(t);
    const notices: string[] = [];
    const notice = (line: string) => void notices.push(line);
    const listening = await start(t, { ports: [port, 0], isDefault: true, notice });
    assert.ok(portOf(listening) !== port);
    assert.ok(notices.some((line) => line.includes(`0.0.0.0:${port} udp: already in use`)));
    assert.ok(!notices.some((line) => line.includes('backend')), 'nothing about what is well');
  });

  test('what to do about port 53 is said in words of the library', () => {
    for (const code of ['EACCES', 'EADDRINUSE']) {
      const error = Object.assign(new Error('bind failed'), { code });
      const text = explainListenError(error, { address: '0.0.0.0', port: 53 }, 'listen(5300)');
      assert.match(text, /or do without: listen\(5300\)/);
      assert.doesNotMatch(text, /--/);
    }
  });

  test('a domain that is none: rejects and leaves nothing open', async () => {
    await assert.rejects(Listening.start({ ...CONFIG, domain: 'a..b' }), RangeError);
  });

  test('closing gives the port back, and may be repeated', async (t) => {
    const first = await start(t);
    const port = portOf(first);
    await Promise.all([first.close(), first.close()]);
    const second = await start(t, { ports: [port] });
    assert.equal(portOf(second), port);
  });

  test('both backends', async (t) => {
    for (const udpBackend of ['auto', 'dgram'] as const) {
      const listening = await start(t, { udpBackend });
      const asker = await UdpAsker.open(t, portOf(listening));
      await asker.announceAll('app', [8080]);
      assert.deepEqual(listening.peers('app'), [{ port: 8080, host: '127.0.0.1' }]);
    }
  });
});

describe('listening: what is stored', () => {
  test('peers tells of others only, toJSON of all, and neither of what has expired', async (t) => {
    const clock = new FakeClock();
    const listening = await start(t, { clock, ttlSeconds: 9.5 });
    const asker = await UdpAsker.open(t, portOf(listening));
    listening.announce('App', 1);
    await asker.announceAll('app', [2, 3]);
    await asker.announceAll('other', [4]);
    assert.deepEqual(listening.peers('nobody'), []);
    assert.deepEqual(listening.peers('a..b'), []);
    const ports = listening.peers('APP').map(({ port }) => port);
    assert.deepEqual(ports.sort(), [2, 3]);
    const host = '127.0.0.1';
    assert.deepEqual(sorted(listening), [
      {
        name: 'App',
        records: [
          { port: 1, host: '0.0.0.0' },
          { port: 2, host },
          { port: 3, host },
        ],
      },
      { name: 'other', records: [{ port: 4, host }] },
    ]);
    clock.advance(10_000);
    assert.equal(listening.peers('app').length, 2, 'the ttl is rounded up');
    clock.advance(1000);
    assert.deepEqual(listening.peers('app'), []);
    const own = [{ name: 'App', records: [{ port: 1, host: '0.0.0.0' }] }];
    assert.deepEqual(listening.toJSON(), own);
    listening.unannounce('app', 1);
    assert.deepEqual(listening.toJSON(), []);
  });

  test('with a ttl of Infinity nothing expires', async (t) => {
    const clock = new FakeClock();
    const listening = await start(t, { clock });
    const asker = await UdpAsker.open(t, portOf(listening));
    await asker.announceAll('app', [2]);
    clock.advance(1000 * 60 * 60 * 24);
    assert.equal(listening.peers('app').length, 1);
    assert.equal(listening.toJSON().length, 1);
  });

  test('of many peers at most 100, a random choice', async (t) => {
    const listening = await start(t);
    const asker = await UdpAsker.open(t, portOf(listening));
    const ports = Array.from({ length: 300 }, (_, i) => 1000 + i);
    await asker.announceAll('crowd', ports);
    const seen = new Set<number>();
    for (let i = 0; i < 50; i++) {
      const peers = listening.peers('crowd').map(({ port }) => port);
      assert.equal(new Set(peers).size, 100);
      for (const port of peers) seen.add(port);
    }
    assert.equal(seen.size, 300);
    assert.equal(listening.toJSON()[0].records.length, 300, 'a private address has no share');
  });

  test('limit, records and values bound it', async (t) => {
    const listening = await start(t, { limit: 6, records: 2, values: 3 });
    const asker = await UdpAsker.open(t, portOf(listening));
    for (const name of ['a', 'b', 'c']) await asker.announceAll(name, [1, 2, 3, 4]);
    const ports = sorted(listening).map(({ name, records }) => [
      name,
      records.map(({ port }) => port),
    ]);
    assert.deepEqual(ports, [
      ['b', [2, 3, 4]],
      ['c', [2, 3, 4]],
    ]);
  });
});

function sorted(listening: Listening) {
  const byPort = (a: { port: number }, b: { port: number }) => a.port - b.port;
  return listening
    .toJSON()
    .map(({ name, records }) => ({ name, records: records.toSorted(byPort) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

describe('listening: parts', () => {
  test('calls come after the turn at hand, and one that throws stops no other', async (t) => {
    const afterwards = new Afterwards();
    const done: string[] = [];
    const thrown: unknown[] = [];
    // The test runner has a handler of its own, which would fail the test.
    const handlers = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => thrown.push(error));
    t.after(() => {
      process.removeAllListeners('uncaughtException');
      for (const handler of handlers) process.on('uncaughtException', handler);
    });
    const failure = new Error('a listener failed');
    afterwards.call(() => {
      done.push('first');
      afterwards.call(() => done.push('last'));
    });
    afterwards.call(() => {
      throw failure;
    });
    afterwards.call(() => done.push('third'));
    assert.deepEqual(done, []);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(done.sort(), ['first', 'last', 'third']);
    assert.deepEqual(thrown, [failure]);
  });

  test('the machine\u2019s address is its first IPv4 one, asked for every ten seconds', () => {
    const clock = new FakeClock();
    let asked = 0;
    let address: string | null = '198.51.100.1';
    const entry = (text: string, family: 'IPv4' | 'IPv6', internal: boolean) => {
      const rest = { netmask: '', mac: '', cidr: null };
      return family === 'IPv4'
        ? { address: text, family, internal, ...rest }
        : { address: text, family, internal, ...rest, scopeid: 0 };
    };
    const machine = new MachineAddress(clock, () => {
      asked++;
      const lo = [entry('127.0.0.1', 'IPv4', true)];
      if (address === null) return { lo };
      return { lo, eth0: [entry('2001:db8::1', 'IPv6', false), entry(address, 'IPv4', false)] };
    });
    const bytes = new Uint8Array(4);
    const text = () => {
      machine.write(bytes);
      return bytes.join('.');
    };
    assert.equal(text(), '198.51.100.1');
    address = null;
    assert.equal(text(), '198.51.100.1');
    assert.equal(asked, 1);
    clock.advance(10_000);
    assert.equal(text(), '127.0.0.1');
    assert.equal(asked, 2);
  });

  test('an id is told as people write it', () => {
    const key = (...labels: (string | number[])[]) => {
      const bytes = labels.flatMap((label) => {
        const wire = Buffer.from(label as string);
        return [wire.length, ...wire];
      });
      return idText(Uint8Array.from(bytes), bytes.length);
    };
    assert.equal(key('app'), 'app');
    assert.equal(key('my app', 'x\\y'), 'my app.x\\y');
    assert.equal(key('a.b'), 'a.b');
    assert.equal(key('gr\u00fc\u00df'), 'gr\u00fc\u00df');
    assert.equal(key('ab'.repeat(32)), 'ab'.repeat(32));
    assert.equal(key([0xff, 0x61]), '\\255a');
  });
});
