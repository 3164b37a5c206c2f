/**
 * What a client of ours does with a discovery server, whoever made that: each scenario has names of
 * its own, so that one server serves them all.
 */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { TestClient } from './client-fixture.ts';
import { DOMAIN, peersOf } from './lane-harness.ts';
import { at, type RunningServer, type ServerKind } from './server-kind.ts';
import { UdpAsker } from './udp-asker.ts';

export type Scenario = (t: TestContext, server: RunningServer, kind: ServerKind) => Promise<void>;

/** How long the scenarios wait for a server that does not answer: long enough to try both ports. */
const BOTH_PORTS_MS = 2000;
/** Long enough for one that answers. */
const SHORT_MS = 600;
/** Only ends a test that would hang. */
const PATIENCE_MS = 15_000;
const SECOND_HOST = '127.0.0.2';

const client = (t: TestContext, server: RunningServer) => new TestClient(t, { server: at(server) });

/** A bound socket of loopback. */
export async function boundSocket(t: TestContext | null, host = '127.0.0.1'): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(0, host);
  await once(socket, 'listening');
  t?.after(() => socket.close());
  return socket;
}

/** What a server has under a name, as a witness sees it that shares nothing with the client. */
async function stored(t: TestContext, server: RunningServer, id: string): Promise<string[]> {
  const asker = await UdpAsker.open(t, server.port, { host: server.host });
  return peersOf(await asker.ask({ name: `${id}.${DOMAIN}` })).sort();
}

const announceLookupUnannounce: Scenario = async (t, server) => {
  const announcer = client(t, server);
  const seeker = client(t, server);
  const later = client(t, server);
  // Several names, so that every lane of a server has some.
  for (const name of ['app-a', 'app-b', 'app-c', 'app-d', 'app-e', 'app-f']) {
    await announcer.announce(name, 8080);
    assert.deepEqual(await stored(t, server, name), ['127.0.0.1:8080']);
    assert.deepEqual(await seeker.find(name), ['127.0.0.1:8080']);
    await announcer.unannounce(name, 8080);
    assert.deepEqual(await stored(t, server, name), []);
    assert.deepEqual(await later.find(name), []);
  }
  assert.deepEqual(later.peers, []);
};

const announceLooksUp: Scenario = async (t, server) => {
  await client(t, server).announce('implied-lookup', 1111);
  const second = client(t, server);
  await second.announce('implied-lookup', 2222);
  assert.ok(second.seen('implied-lookup').includes('127.0.0.1:1111'));
};

const probe: Scenario = async (t, server) => {
  const asking = client(t, server);
  const traffic = asking.keepTraffic();
  await asking.lookup('probed');
  await asking.lookup('probed');
  const asked = traffic.filter(({ type }) => type === 'out:query');
  const names = asked.map(({ details }) => {
    const { questions } = details.message as { questions: { name: string; type: string }[] };
    assert.equal(questions[0].type, 'TXT');
    return questions[0].name;
  });
  const name = `probed.${DOMAIN}`;
  assert.deepEqual(names, [DOMAIN, name, name], 'one probe, then the token is known');
};

const push: Scenario = async (t, server) => {
  const seeker = client(t, server);
  await seeker.lookup('pushed');
  const pushed = seeker.nextPeer();
  await client(t, server).announce('pushed', 9090);
  assert.equal(await pushed, 'pushed 127.0.0.1:9090');
};

const otherPorts: Scenario = async (t, server) => {
  const socket = await boundSocket(null);
  const { port } = socket.address();
  const announcer = new TestClient(t, { server: at(server), socket });
  await announcer.announce('public', 1, { publicPort: 4242 });
  await announcer.announce('implied', 1, { impliedPort: true });
  await announcer.announce('both', 1, { impliedPort: true, publicPort: 4243 });
  assert.deepEqual(await stored(t, server, 'public'), ['127.0.0.1:4242']);
  assert.deepEqual(await stored(t, server, 'implied'), [`127.0.0.1:${port}`]);
  assert.deepEqual(await stored(t, server, 'both'), ['127.0.0.1:4243']);
  assert.deepEqual(await client(t, server).find('implied'), [`127.0.0.1:${port}`]);
  await announcer.unannounce('implied', 1, { impliedPort: true });
  await announcer.unannounce('public', 1, { publicPort: 4242 });
  assert.deepEqual(await stored(t, server, 'implied'), []);
  assert.deepEqual(await stored(t, server, 'public'), []);
};

const whoamiOfTwo: Scenario = async (t, server, kind) => {
  const second = await kind.start(t, { host: SECOND_HOST });
  const socket = await boundSocket(null);
  const { port } = socket.address();
  const asking = new TestClient(t, { servers: [at(server), at(second)], socket });
  assert.deepEqual(await asking.whoami(), { host: '127.0.0.1', port });
};

const whoamiOfOne: Scenario = async (t, server) => {
  assert.deepEqual(await client(t, server).whoami(), { host: '127.0.0.1', port: 0 });
};

const secondaryPort: Scenario = async (t, server) => {
  const silent = await boundSocket(t);
  let unanswered = 0;
  silent.on('message', () => unanswered++);
  const asking = new TestClient(t, {
    server: `${server.host}:${silent.address().port},${server.port}`,
  });
  await asking.announce('second', 1);
  assert.deepEqual(await stored(t, server, 'second'), ['127.0.0.1:1']);
  assert.ok(unanswered > 0, 'the first port was asked first');
  const before = unanswered;
  assert.deepEqual(await asking.find('second'), ['127.0.0.1:1']);
  assert.deepEqual(await asking.find('second'), ['127.0.0.1:1']);
  assert.equal(unanswered, before, 'the port that answered is kept');
};

const backToFirstPort: Scenario = async (t, _server, kind) => {
  const first = await boundSocket(null);
  const { port } = first.address();
  const second = await kind.start(t);
  const asking = new TestClient(t, {
    server: `127.0.0.1:${port},${second.port}`,
    timeout: BOTH_PORTS_MS,
  });
  await asking.announce('moved', 1);
  await second.close();
  first.close();
  await once(first, 'close');
  const again = await kind.start(t, { port });
  await asking.announce('moved', 1).catch((error: Error) => {
    assert.match(error.message, /^Query failed/, 'the first after the change may fail');
  });
  await asking.announce('moved', 1);
  assert.deepEqual(await stored(t, again, 'moved'), ['127.0.0.1:1']);
};

const severalServers: Scenario = async (t, server, kind) => {
  const second = await kind.start(t);
  await client(t, server).announce('several', 1001);
  await client(t, second).announce('several', 1002);
  const silent = await boundSocket(t);
  const asking = new TestClient(t, {
    servers: [at(server), `127.0.0.1:${silent.address().port}`, at(second)],
    timeout: SHORT_MS,
  });
  assert.deepEqual(await asking.find('several'), ['127.0.0.1:1001', '127.0.0.1:1002']);
  await asking.announce('everywhere', 7);
  assert.deepEqual(await stored(t, server, 'everywhere'), ['127.0.0.1:7']);
  assert.deepEqual(await stored(t, second, 'everywhere'), ['127.0.0.1:7']);
  await asking.unannounce('everywhere', 7);
  assert.deepEqual(await stored(t, server, 'everywhere'), []);
  assert.deepEqual(await stored(t, second, 'everywhere'), []);
};

const noServer: Scenario = async (t) => {
  const silent = await boundSocket(t);
  const server = `127.0.0.1:${silent.address().port}`;
  const asking = new TestClient(t, { server, timeout: 300 });
  await assert.rejects(asking.lookup('nobody'), { message: /^Query failed/ });
  await assert.rejects(asking.announce('nobody', 1), { message: /^Query failed/ });
  await assert.rejects(asking.unannounce('nobody', 1), { message: /^Query failed/ });
  await assert.rejects(asking.whoami(), { message: /^Probe failed/ });
  assert.deepEqual(asking.peers, []);
};

const thirtyOne: Scenario = async (t, server) => {
  const announcer = client(t, server);
  const ports = Array.from({ length: 31 }, (_, i) => 1000 + i);
  await Promise.all(ports.map((port) => announcer.announce('crowd', port)));
  const wanted = ports.map((port) => `127.0.0.1:${port}`);
  assert.deepEqual(await client(t, server).find('crowd'), wanted);
};

const ids: Scenario = async (t, server) => {
  const long = 'ab'.repeat(32);
  const hex = Buffer.from('0102030405060708090a0b0c0d0e0f10', 'hex');
  const announcer = client(t, server);
  const seeker = client(t, server);
  await announcer.announce(long, 1);
  await announcer.announce(Buffer.from('cd'.repeat(32), 'hex'), 2);
  await announcer.announce(hex, 3);
  await announcer.announce('with.dots.inside', 4);
  assert.deepEqual(await seeker.find(long), ['127.0.0.1:1']);
  assert.deepEqual(await seeker.find('cd'.repeat(32)), ['127.0.0.1:2']);
  assert.deepEqual(await seeker.find('ef'.repeat(32)), []);
  assert.deepEqual(await seeker.find(hex.toString('hex')), ['127.0.0.1:3']);
  assert.deepEqual(await seeker.find('with.dots.inside'), ['127.0.0.1:4']);
  await seeker.lookup(hex);
  assert.equal(seeker.peers.at(-1), `${hex.toString('hex')} 127.0.0.1:3`, 'a Buffer reads as hex');
  await announcer.unannounce(hex, 3);
  assert.deepEqual(await stored(t, server, hex.toString('hex')), []);
};

/** The token the client holds is worth nothing to the new one: it says so by another. */
const restarted: Scenario = async (t, _server, kind) => {
  const first = await kind.start(t);
  const announcer = client(t, first);
  await announcer.announce('restarted', 1);
  await first.close();
  const second = await kind.start(t, { port: first.port });
  await announcer.announce('restarted', 2);
  assert.deepEqual(await stored(t, second, 'restarted'), ['127.0.0.1:2']);
  const third = await restart(t, second, kind);
  await announcer.lookup('restarted');
  const pushed = announcer.nextPeer();
  await client(t, third).announce('restarted', 3);
  assert.equal(await pushed, 'restarted 127.0.0.1:3', 'a lookup subscribes there too');
};

async function restart(t: TestContext, server: RunningServer, kind: ServerKind) {
  await server.close();
  return kind.start(t, { port: server.port });
}

const keepsAnnounced: Scenario = async (t, _server, kind) => {
  const first = await kind.start(t);
  const ends = new AbortController();
  const announcer = new TestClient(t, { server: at(first), ttl: 1 });
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const { disc } = announcer;
  const announced = once(disc, 'announced', { signal });
  const keeping = disc.announce('kept', 5, { keep: true, signal: ends.signal });
  await announced;
  const second = await restart(t, first, kind);
  await once(disc, 'announced', { signal });
  assert.deepEqual(await stored(t, second, 'kept'), ['127.0.0.1:5'], 'announced again by itself');
  ends.abort(new Error('enough'));
  await disc.unannounce('kept', 5);
  assert.deepEqual(await stored(t, second, 'kept'), []);
  await keeping.then(
    () => undefined,
    (error: Error) => assert.equal(error.message, 'enough'),
  );
};

const keepsLooking: Scenario = async (t, _server, kind) => {
  const first = await kind.start(t);
  const seeker = new TestClient(t, { server: at(first), ttl: 1 });
  const ends = new AbortController();
  const found: string[] = [];
  const looking = (async () => {
    const options = { keep: true, signal: ends.signal };
    for await (const { host, port } of seeker.disc.lookup('looked', options)) {
      found.push(`${host}:${port}`);
      if (found.length === 2) break;
    }
  })();
  const told = seeker.nextPeer();
  await client(t, first).announce('looked', 1);
  await told;
  const second = await restart(t, first, kind);
  await client(t, second).announce('looked', 2);
  await looking;
  assert.deepEqual(found, ['127.0.0.1:1', '127.0.0.1:2'], 'each peer is told once');
};

type Titled = readonly (readonly [string, Scenario])[];

export const SCENARIOS: Titled = [
  ['announce, lookup, unannounce', announceLookupUnannounce],
  ['announce also looks up', announceLooksUp],
  ['it probes once, and asks with the token from then on', probe],
  ['a later announce is pushed to it', push],
  ['publicPort, impliedPort, and the option socket', otherPorts],
  ['whoami: two servers see the same port', whoamiOfTwo],
  ['whoami: one server, so the port is not sure', whoamiOfOne],
  ['31 peers under one name', thirtyOne],
  ['ids of 64 characters, with dots, as Buffers', ids],
  ['a server that starts anew with other secrets gets what is announced', restarted],
];

/** Those in which the client waits: for who is silent, and for the time to announce again. */
export const PATIENT_SCENARIOS: Titled = [
  ['a server that is silent on its first port is asked, and kept, at its second', secondaryPort],
  ['when the second port falls silent the first is tried again', backToFirstPort],
  ['of several servers each is asked; one that is silent does no harm', severalServers],
  ['silence: Query failed, Probe failed', noServer],
  ['keep: announces again by itself, until the signal', keepsAnnounced],
  ['keep: goes on looking up', keepsLooking],
];
