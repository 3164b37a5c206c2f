/**
 * Our client with our server in each of its variants: what it does with the original's, and what
 * only ours has: IPv6, TCP, cookies, limits on strangers.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { DiscoveryError } from '../../server/discovery/types.ts';
import type { ApplianceConfig } from '../../server/options/config.ts';
import { TEST_LIMITS, type TestServer, testServer, variants } from '../helpers/appliance.ts';
import { TestClient } from '../helpers/client-fixture.ts';
import { PATIENT_SCENARIOS, SCENARIOS, type Scenario } from '../helpers/client-scenarios.ts';
import { DOMAIN, queryBytes } from '../helpers/lane-harness.ts';
import { at, type RunningServer, type ServerKind } from '../helpers/server-kind.ts';
import { settled } from '../helpers/settled.ts';
import { until } from '../helpers/tcp-client.ts';
import { UdpAsker } from '../helpers/udp-asker.ts';

const TEST_TIMEOUT_MS = 30_000;
const VARIANT_TIMEOUT_MS = 180_000;

type Options = Partial<ApplianceConfig>;
type Body = (t: TestContext, options: Options) => Promise<void>;

interface Served extends RunningServer {
  readonly server: TestServer;
}

async function serve(t: TestContext, options: Options, host = '127.0.0.1', port = 0) {
  const dns = [{ address: host, port }];
  const server = await testServer(t, { ...options, dns }, host);
  return { host, port: server.port, close: () => server.close(), server } satisfies Served;
}

const client = (t: TestContext, server: RunningServer) => new TestClient(t, { server: at(server) });

/** One server on both families: its two doors. */
async function serveBoth(t: TestContext, options: Options) {
  const dns = ['127.0.0.1', '::1'].map((address) => ({ address, port: 0 }));
  const server = await testServer(t, { ...options, dns });
  const [four, six] = dns.map(({ address }) => {
    const door = server.listening.find((each) => each.address === address);
    assert.ok(door, `no ${address} in ${JSON.stringify(server.listening)}`);
    return { host: address, port: door.port, close: () => server.close(), server };
  });
  return { four, six };
}

const ipv6: Body = async (t, options) => {
  const { four, six } = await serveBoth(t, options);
  const by4 = client(t, four);
  const by6 = client(t, six);
  await by6.announce('families', 66);
  assert.deepEqual(await by4.find('families'), ['[::1]:66']);
  const told6 = by6.nextPeer();
  await by4.announce('families', 44);
  assert.equal(await told6, 'families 127.0.0.1:44', 'an IPv4 peer is pushed to IPv6');
  assert.deepEqual(await by6.find('families'), ['127.0.0.1:44', '[::1]:66']);
  const later = client(t, four);
  await later.lookup('pushed6');
  const told4 = later.nextPeer();
  await by6.announce('pushed6', 67);
  assert.equal(await told4, 'pushed6 [::1]:67', 'an IPv6 peer is pushed to IPv4');
  await by6.unannounce('families', 66);
  assert.deepEqual(await client(t, six).find('families'), ['127.0.0.1:44']);
  assert.deepEqual(await by6.whoami(), { host: '::1', port: 0 });
};

/** Peers in many networks: one has its share of a name only. */
async function crowd(t: TestContext, { port }: RunningServer, id: string, count: number) {
  const wanted: string[] = [];
  for (let i = 0; i < count / 50; i++) {
    const from = `127.1.${i}.1`;
    const asker = await UdpAsker.open(t, port, { from });
    const ports = Array.from({ length: 50 }, (_, each) => 20_000 + each);
    await asker.announceAll(id, ports);
    wanted.push(...ports.map((each) => `${from}:${each}`));
  }
  return wanted.sort();
}

/** So many that a lane's quarter of its store has room for them. */
const CROWD_LIMIT = 40_000;

const thousand: Body = async (t, options) => {
  const served = await serve(t, { ...options, limit: CROWD_LIMIT });
  const wanted = await crowd(t, served, 'thousand', 1000);
  const seeker = client(t, served);
  const found = await seeker.find('thousand');
  assert.equal(found.length, wanted.length);
  assert.deepEqual(found, wanted);
  const peers = await seeker.disc.lookup('thousand');
  assert.equal(peers.length, 1000);
  assert.equal(served.server.counters().tcpAccepted, 2, 'by TCP');
  await seeker.announce('thousand', 7);
  const again = await seeker.find('thousand');
  assert.deepEqual(
    again,
    [...wanted, '127.0.0.1:7'].sort(),
    'an announce that is truncated counts',
  );
};

const withoutTcp: Body = async (t, options) => {
  const limits = { ...TEST_LIMITS, tcpConnections: 0 };
  const served = await serve(t, { ...options, limit: CROWD_LIMIT, limits });
  const wanted = new Set(await crowd(t, served, 'partial', 1000));
  const found = await client(t, served).find('partial');
  assert.ok(found.length >= 100, `${found.length} peers by UDP`);
  for (const peer of found) assert.ok(wanted.has(peer), peer);
};

const cookies: Body = async (t, options) => {
  const secrets = (filling: number) => ({
    active: new Uint8Array(16).fill(filling),
    previous: null,
  });
  const first = await serve(t, { ...options, cookieSecrets: secrets(1) });
  const asking = client(t, first);
  await asking.announce('cookies', 1);
  await asking.lookup('cookies');
  const { cookiesValid, badCookies } = first.server.counters();
  assert.equal(cookiesValid, 2, 'after the probe each question has the cookie');
  assert.equal(badCookies, 0);
  await first.server.close();
  const second = await serve(t, { ...options, cookieSecrets: secrets(2) }, first.host, first.port);
  await asking.announce('cookies', 2);
  await asking.lookup('cookies');
  const after = second.server.counters();
  assert.ok(after.badCookies >= 1 && after.cookiesValid >= 1, JSON.stringify(after));
  assert.ok(asking.seen('cookies').includes('127.0.0.1:2'));
};

const foreignDomain: Scenario = async (t, server) => {
  const asking = new TestClient(t, { server: at(server), domain: 'other.example' });
  const began = performance.now();
  await assert.rejects(asking.announce('app', 1), (error: DiscoveryError) => {
    assert.equal(error.message, 'Query failed');
    assert.equal(error.code, 'ERR_QUERY_FAILED');
    assert.equal(error.errors.length, 1);
    assert.match(error.errors[0].message, /refused/i);
    return true;
  });
  assert.ok(performance.now() - began < 5000, 'a refusal is not waited out');
};

const ownDomain: Scenario = async (t, server) => {
  const asking = new TestClient(t, { server: at(server), domain: 'A.b.Example.org' });
  await asking.announce('app', 1);
  const other = new TestClient(t, { server: at(server), domain: 'a.b.example.ORG' });
  assert.deepEqual(await other.find('App'), ['127.0.0.1:1']);
};

const rateLimited: Body = async (t, options) => {
  const served = await serve(t, { ...options, limits: { ...TEST_LIMITS, rateLimit: 1 } });
  const { server } = served;
  const flooder = await UdpAsker.open(t, served.port);
  const message = queryBytes({ name: DOMAIN });
  for (let i = 0; i < 20; i++) flooder.send(message);
  await until(() => server.counters().received >= 20, 'the flood');
  const asking = client(t, served);
  await asking.announce('limited', 1);
  assert.deepEqual(await asking.find('limited'), ['127.0.0.1:1']);
  const { truncatedReplies, dropRateLimited } = server.counters();
  assert.ok(truncatedReplies > 0 && dropRateLimited > 0, JSON.stringify(server.counters()));
};

const MORE_SCENARIOS: typeof SCENARIOS = [
  ['a domain that the server does not have: an error at once', foreignDomain],
  ['a domain of four labels, in any case', ownDomain],
];

/** With servers of their own. */
const BODIES: readonly (readonly [string, Body])[] = [
  ['IPv6: a server, peers and pushes', ipv6],
  ['1,000 peers under one name: all of them, by TCP', thousand],
  ['no TCP: as many as UDP brings', withoutTcp],
  ['cookies: sent, and renewed when the server has other secrets', cookies],
  ['a server that strangers have exhausted', rateLimited],
];

for (const { name, options, skip } of variants()) {
  const timeout = VARIANT_TIMEOUT_MS;
  test(`our client with our server: ${name}`, { skip, timeout }, async (t) => {
    // Those that come and go within a scenario do so without threads: they are not what is tested.
    const { udpBackend } = options;
    const kind: ServerKind = {
      start: (inner, { host, port } = {}) => serve(inner, { udpBackend }, host, port),
    };
    const served = await serve(t, { ...options, domains: [DOMAIN, 'a.b.example.org'] });
    // What the client waits for is of no matter to how the server works.
    const patient = options.workers === 0 ? PATIENT_SCENARIOS : [];
    const timeout = TEST_TIMEOUT_MS;
    for (const [title, scenario] of [...SCENARIOS, ...MORE_SCENARIOS]) {
      await t.test(title, { timeout }, (inner) => scenario(inner, served, kind));
      await settled(served.server);
    }
    for (const [title, body] of BODIES) {
      await t.test(title, { timeout }, (inner) => body(inner, options));
    }
    await t.test('what takes patience', { concurrency: true, timeout }, async (together) => {
      const tests = patient.map(([title, scenario]) =>
        together.test(title, { timeout }, (inner) => scenario(inner, served, kind)),
      );
      await Promise.all(tests);
      await settled(served.server);
    });
  });
}
