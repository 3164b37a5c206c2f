/**
 * npm dns-discovery 6.2.3, library and command line, as a client of our server, on both UDP
 * backends.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { inFlight } from '../../workers/counters.ts';
import { backends, testServer } from '../helpers/appliance.ts';
import { ORIGINAL_CLI, OriginalClient } from '../helpers/original-discovery.ts';
import { UdpAsker } from '../helpers/udp-asker.ts';

for (const { name: udpBackend, skip } of backends()) {
  const it = (title: string, body: (t: TestContext) => Promise<void>): void => {
    test(`dns-discovery 6.2.3 with ${udpBackend}: ${title}`, { skip, timeout: 30_000 }, body);
  };

  it('announce, lookup, unannounce', async (t) => {
    const server = await testServer(t, { udpBackend });
    const options = { server: `127.0.0.1:${server.port}` };
    const announcer = new OriginalClient(t, options);
    const seeker = new OriginalClient(t, options);
    await announcer.announce('app', 8080);
    await seeker.lookup('app');
    assert.deepEqual(seeker.peers, ['app 127.0.0.1:8080']);
    await announcer.unannounce('app', 8080);
    const later = new OriginalClient(t, options);
    await later.lookup('app');
    assert.deepEqual(later.peers, []);
    assert.equal(inFlight(server.counters()), 0);
  });

  it('an announce is pushed to who looked up before', async (t) => {
    const server = await testServer(t, { udpBackend });
    const options = { server: `127.0.0.1:${server.port}` };
    const seeker = new OriginalClient(t, options);
    await seeker.lookup('app');
    const pushed = seeker.nextPeer();
    await new OriginalClient(t, options).announce('app', 9090);
    assert.equal(await pushed, 'app 127.0.0.1:9090');
  });

  it('publicPort and impliedPort', async (t) => {
    const server = await testServer(t, { udpBackend });
    const options = { server: `127.0.0.1:${server.port}` };
    const announcer = new OriginalClient(t, options);
    await announcer.announce('public', 1, { publicPort: 4242 });
    await announcer.announce('implied', 1, { impliedPort: true });
    const seeker = new OriginalClient(t, options);
    await seeker.lookup('public');
    assert.deepEqual([...seeker.seen('public')], ['public 127.0.0.1:4242']);
    await seeker.lookup('implied');
    const [implied] = seeker.seen('implied');
    assert.match(implied, /^implied 127\.0\.0\.1:\d+$/);
    await announcer.unannounce('implied', 1, { impliedPort: true });
    const later = new OriginalClient(t, options);
    await later.lookup('implied');
    assert.deepEqual(later.peers, []);
  });

  it('whoami against two servers', async (t) => {
    const one = await testServer(t, { udpBackend }, '127.0.0.1');
    const two = await testServer(t, { udpBackend }, '127.0.0.2');
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const { port } = socket.address();
    const client = new OriginalClient(t, {
      socket,
      servers: [`127.0.0.1:${one.port}`, `127.0.0.2:${two.port}`],
    });
    assert.deepEqual(await client.whoami(), { host: '127.0.0.1', port });
  });

  it('a server that does not answer on the first port is found on the secondary one', async (t) => {
    const server = await testServer(t, { udpBackend });
    const silent = createSocket('udp4');
    silent.bind(0, '127.0.0.1');
    await once(silent, 'listening');
    t.after(() => silent.close());
    const options = { timeout: 200, retries: 2 };
    const client = new OriginalClient(t, {
      ...options,
      server: `127.0.0.1:${silent.address().port},${server.port}`,
    });
    await client.announce('app', 1);
    await client.lookup('app');
    assert.deepEqual([...client.seen('app')], ['app 127.0.0.1:1']);
  });

  it('31, 32, 33 and 100 peers under one name: it sees at least 31', async (t) => {
    const server = await testServer(t, { udpBackend });
    const asker = await UdpAsker.open(t, server.port);
    for (const count of [31, 32, 33, 100]) {
      const name = `crowd${count}`;
      await asker.announceAll(
        name,
        Array.from({ length: count }, (_, i) => 1000 + i),
      );
      const client = new OriginalClient(t, { server: `127.0.0.1:${server.port}` });
      await client.lookup(name);
      assert.ok(client.seen(name).size >= 31, `${client.seen(name).size} of ${count}`);
    }
  });

  it('a 64-character id, which its client sends as one label', async (t) => {
    const server = await testServer(t, { udpBackend });
    const options = { server: `127.0.0.1:${server.port}` };
    const id = 'ab'.repeat(32);
    await new OriginalClient(t, options).announce(id, 8080);
    const seeker = new OriginalClient(t, options);
    await seeker.lookup(id);
    assert.deepEqual(seeker.peers, [`${id} 127.0.0.1:8080`]);
  });

  it('the command line announces and looks up', async (t) => {
    const server = await testServer(t, { udpBackend });
    const run = (...args: string[]) => {
      const flags = [`--server=127.0.0.1:${server.port}`, '--no-multicast'];
      const child = spawn(process.execPath, [ORIGINAL_CLI, ...args, ...flags], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      t.after(() => child.kill());
      return child;
    };
    run('announce', 'test-app', '--port=8080');
    const lines = createInterface({ input: run('lookup', 'test-app').stdout });
    const [line] = (await once(lines, 'line')) as [string];
    assert.match(line, /^test-app \{ port: 8080, host: '127\.0\.0\.1' \}$/);
  });
}
