/**
 * Our client with npm dns-discovery 6.2.3 as its server, by library and by command line; and with
 * servers that disagree on who asks.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { TestClient } from '../helpers/client-fixture.ts';
import { PATIENT_SCENARIOS, SCENARIOS } from '../helpers/client-scenarios.ts';
import { LyingServer } from '../helpers/lying-server.ts';
import { OriginalClient } from '../helpers/original-discovery.ts';
import { OriginalServer } from '../helpers/original-server.ts';
import { at, type ServerKind } from '../helpers/server-kind.ts';

const TEST_TIMEOUT_MS = 30_000;
const KIND_TIMEOUT_MS = 120_000;

const KINDS: readonly (readonly [string, ServerKind])[] = [
  ['library', { start: (t, place) => OriginalServer.listen(t, place) }],
  ['command line', { start: (t, place) => OriginalServer.commandLine(t, place) }],
];

for (const [name, kind] of KINDS) {
  test(`client of dns-discovery 6.2.3, ${name}`, { timeout: KIND_TIMEOUT_MS }, async (t) => {
    const server = await kind.start(t);
    const timeout = TEST_TIMEOUT_MS;
    for (const [title, scenario] of SCENARIOS) {
      await t.test(title, { timeout }, (inner) => scenario(inner, server, kind));
    }
    await t.test('what takes patience', { concurrency: true, timeout }, async (together) => {
      const tests = PATIENT_SCENARIOS.map(([title, scenario]) =>
        together.test(title, { timeout }, (inner) => scenario(inner, server, kind)),
      );
      await Promise.all(tests);
    });
  });
}

test('dns-discovery 6.2.3: what the client does arrives in its store', async (t) => {
  const server = await OriginalServer.listen(t);
  const announcer = new TestClient(t, { server: at(server) });
  await announcer.announce('stored', 8080);
  await announcer.announce('Case', 8081);
  assert.deepEqual(await server.records(), {
    Case: ['127.0.0.1:8081'],
    stored: ['127.0.0.1:8080'],
  });
  await announcer.unannounce('Case', 8081);
  assert.deepEqual(await server.records(), { stored: ['127.0.0.1:8080'] });
});

test('dns-discovery 6.2.3: secrets rotate under the client, twice and four times', async (t) => {
  const server = await OriginalServer.listen(t);
  const announcer = new TestClient(t, { server: at(server) });
  const wanted: string[] = [];
  for (const rotations of [0, 1, 2, 4]) {
    for (let i = 0; i < rotations; i++) await server.rotateSecrets();
    const port = 1000 + rotations;
    await announcer.announce('rotated', port);
    wanted.push(`127.0.0.1:${port}`);
    assert.deepEqual(await server.records(), { rotated: wanted }, `${rotations} rotations`);
  }
});

test('dns-discovery 6.2.3: its client and ours find each other at its server', async (t) => {
  const server = at(await OriginalServer.listen(t));
  const theirs = new OriginalClient(t, { server });
  const ours = new TestClient(t, { server });
  await theirs.announce('mixed', 1);
  assert.deepEqual(await ours.find('mixed'), ['127.0.0.1:1']);
  const pushed = theirs.nextPeer();
  await ours.announce('mixed', 2);
  assert.equal(await pushed, 'mixed 127.0.0.1:2');
});

/** Servers that say what they are told to of who asks. */
async function whoamiAt(t: TestContext, seen: readonly (readonly [string, number])[]) {
  const servers: string[] = [];
  for (const [index, [host, port]] of seen.entries()) {
    const server = await LyingServer.open(t, `127.0.0.${2 + index}`);
    server.onQuery = (query) => query.reply([`token=${index}`, `host=${host}`, `port=${port}`]);
    servers.push(at(server));
  }
  return new TestClient(t, { servers }).whoami();
}

test('whoami: two servers that see the same', async (t) => {
  const seen = [['192.0.2.1', 4000] as const, ['192.0.2.1', 4000] as const];
  assert.deepEqual(await whoamiAt(t, seen), { host: '192.0.2.1', port: 4000 });
});

test('whoami: differing ports are told as port 0', async (t) => {
  const seen = [['192.0.2.1', 4000] as const, ['192.0.2.1', 4001] as const];
  assert.deepEqual(await whoamiAt(t, seen), { host: '192.0.2.1', port: 0 });
});

test('whoami: differing hosts are an error', async (t) => {
  const seen = [['192.0.2.1', 4000] as const, ['192.0.2.2', 4000] as const];
  await assert.rejects(whoamiAt(t, seen), { message: 'Inconsistent remote port/host' });
});

test('whoami: of two servers one answers', async (t) => {
  const server = await OriginalServer.listen(t);
  const silent = await LyingServer.open(t, '127.0.0.3');
  const asking = new TestClient(t, { servers: [at(silent), at(server)], timeout: 500 });
  assert.deepEqual(await asking.whoami(), { host: '127.0.0.1', port: 0 });
});
