/**
 * npm dns-discovery 6.2.3, library and command line, as a client of our server in each of its
 * variants. One server serves all tests of a variant: each test has names of its own.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { type TestServer, testServer, variants } from '../helpers/appliance.ts';
import { ORIGINAL_CLI, OriginalClient } from '../helpers/original-discovery.ts';
import { settled } from '../helpers/settled.ts';
import { TcpAsker } from '../helpers/tcp-asker.ts';
import { UdpAsker } from '../helpers/udp-asker.ts';

const TEST_TIMEOUT_MS = 30_000;
const VARIANT_TIMEOUT_MS = 120_000;

type Body = (t: TestContext, server: TestServer) => Promise<void>;

const at = (server: TestServer) => `127.0.0.1:${server.port}`;
const client = (t: TestContext, server: TestServer) =>
  new OriginalClient(t, { server: at(server) });

async function openSocket(): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

/** Several names, so that every lane has some. */
const announceLookupUnannounce: Body = async (t, server) => {
  const announcer = client(t, server);
  const seeker = client(t, server);
  const later = client(t, server);
  for (const name of ['app-a', 'app-b', 'app-c', 'app-d', 'app-e', 'app-f']) {
    await announcer.announce(name, 8080);
    await seeker.lookup(name);
    assert.deepEqual([...seeker.seen(name)], [`${name} 127.0.0.1:8080`]);
    await announcer.unannounce(name, 8080);
    await later.lookup(name);
  }
  assert.deepEqual(later.peers, []);
};

const push: Body = async (t, server) => {
  const seeker = client(t, server);
  await seeker.lookup('pushed');
  const pushed = seeker.nextPeer();
  await client(t, server).announce('pushed', 9090);
  assert.equal(await pushed, 'pushed 127.0.0.1:9090');
};

const otherPorts: Body = async (t, server) => {
  const announcer = client(t, server);
  await announcer.announce('public', 1, { publicPort: 4242 });
  await announcer.announce('implied', 1, { impliedPort: true });
  const seeker = client(t, server);
  await seeker.lookup('public');
  assert.deepEqual([...seeker.seen('public')], ['public 127.0.0.1:4242']);
  await seeker.lookup('implied');
  const [implied] = seeker.seen('implied');
  assert.match(implied, /^implied 127\.0\.0\.1:\d+$/);
  await announcer.unannounce('implied', 1, { impliedPort: true });
  const later = client(t, server);
  await later.lookup('implied');
  assert.deepEqual(later.peers, []);
};

const whoami: Body = async (t, server) => {
  const second = await testServer(t, {}, '127.0.0.2');
  const socket = await openSocket();
  const { port } = socket.address();
  const servers = [at(server), `127.0.0.2:${second.port}`];
  const asking = new OriginalClient(t, { socket, servers });
  assert.deepEqual(await asking.whoami(), { host: '127.0.0.1', port });
};

const secondaryPort: Body = async (t, server) => {
  const silent = await openSocket();
  t.after(() => silent.close());
  const ports = `${silent.address().port},${server.port}`;
  const asking = new OriginalClient(t, { server: `127.0.0.1:${ports}`, timeout: 200, retries: 2 });
  await asking.announce('second', 1);
  await asking.lookup('second');
  assert.deepEqual([...asking.seen('second')], ['second 127.0.0.1:1']);
};

const crowds: Body = async (t, server) => {
  const asker = await UdpAsker.open(t, server.port);
  for (const count of [31, 32, 33, 100]) {
    const name = `crowd${count}`;
    await asker.announceAll(
      name,
      Array.from({ length: count }, (_, i) => 1000 + i),
    );
    const seeker = client(t, server);
    await seeker.lookup(name);
    assert.ok(seeker.seen(name).size >= 31, `${seeker.seen(name).size} of ${count}`);
  }
};

const longId: Body = async (t, server) => {
  const id = 'ab'.repeat(32);
  await client(t, server).announce(id, 8080);
  const seeker = client(t, server);
  await seeker.lookup(id);
  assert.deepEqual(seeker.peers, [`${id} 127.0.0.1:8080`]);
};

/** Who announces over TCP is pushed and told to clients of UDP. */
const overTcp: Body = async (t, server) => {
  const seeker = client(t, server);
  await seeker.lookup('by-tcp');
  const pushed = seeker.nextPeer();
  const asker = await TcpAsker.open(t, server.port);
  await asker.announceAll('by-tcp', [7070]);
  assert.equal(await pushed, 'by-tcp 127.0.0.1:7070');
  const later = client(t, server);
  await later.lookup('by-tcp');
  assert.deepEqual(later.peers, ['by-tcp 127.0.0.1:7070']);
};

const commandLine: Body = async (t, server) => {
  const run = (...args: string[]) => {
    const flags = [`--server=${at(server)}`, '--no-multicast'];
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
};

const BODIES: readonly (readonly [string, Body])[] = [
  ['announce, lookup, unannounce', announceLookupUnannounce],
  ['an announce is pushed to who looked up before', push],
  ['publicPort and impliedPort', otherPorts],
  ['whoami against two servers', whoami],
  ['a server that is silent on the first port is found on the secondary one', secondaryPort],
  ['31, 32, 33 and 100 peers under one name: it sees at least 31', crowds],
  ['a 64-character id, which its client sends as one label', longId],
  ['an announce over TCP reaches it', overTcp],
  ['the command line announces and looks up', commandLine],
];

for (const { name, options, skip } of variants()) {
  test(`dns-discovery 6.2.3 with ${name}`, { skip, timeout: VARIANT_TIMEOUT_MS }, async (t) => {
    const server = await testServer(t, options);
    for (const [title, body] of BODIES) {
      await t.test(title, { timeout: TEST_TIMEOUT_MS }, (inner) => body(inner, server));
      await settled(server);
    }
  });
}
