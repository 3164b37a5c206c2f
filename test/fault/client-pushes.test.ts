/**
 * Pushes that tell lies: of names nobody looked up, by strangers, of peers that the server does not
 * confirm. A peer that is pushed is told when the server, asked again, names it.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { TestClient } from '../helpers/client-fixture.ts';
import { DOMAIN, txtRecord } from '../helpers/dns-messages.ts';
import {
  LyingServer,
  peersString,
  pushBytes,
  type Source,
  srvRecord,
} from '../helpers/lying-server.ts';
import { at } from '../helpers/server-kind.ts';
import { until } from '../helpers/tcp-client.ts';

const TIMEOUT_MS = 30_000;
const KNOWN = '10.1.0.1:1001';
const LIE = '203.0.113.66:6666';

/** A client that has looked up `looked`, and its server. */
class Scene {
  readonly client: TestClient;
  readonly server: LyingServer;
  /** What the server answers to lookups. */
  peers = [KNOWN];

  private constructor(client: TestClient, server: LyingServer) {
    this.client = client;
    this.server = server;
    server.onQuery = (query) => query.reply(['token=t', peersString(...this.peers)]);
  }

  static async open(t: TestContext): Promise<Scene> {
    const server = await LyingServer.open(t);
    const client = new TestClient(t, { server: at(server) });
    const all = new Scene(client, server);
    await client.lookup('looked');
    return all;
  }

  /** Where the client asks from. */
  get from(): Source {
    return { address: '127.0.0.1', port: this.server.queries[0].from.port };
  }
}

/** Waits until the client has read all that it was sent so far. */
async function fence({ client, server }: Scene): Promise<void> {
  const before = server.queries.length;
  await client.lookup('fence');
  assert.ok(server.queries.length > before);
}

function lookupsOf({ server }: Scene, id: string): number {
  return server.queries.filter(({ name }) => name === `${id}.${DOMAIN}`).length;
}

function assertOnly({ client }: Scene, ...peers: string[]): void {
  const told = client.peers.filter((peer) => !peer.startsWith('fence '));
  assert.deepEqual([...new Set(told)], peers);
}

test('a pushed peer that the server confirms is told, once it has', async (t) => {
  const all = await Scene.open(t);
  all.peers = [KNOWN, '10.1.0.2:1002'];
  const told = once(all.client.disc, 'peer', { signal: AbortSignal.timeout(TIMEOUT_MS) });
  all.server.send(pushBytes('looked', '10.1.0.2:1002'), all.from);
  assert.deepEqual(await told, ['looked', { port: 1002, host: '10.1.0.2' }]);
  await until(() => all.server.responses.length > 0, 'the acknowledgement');
  const [ack] = all.server.responses;
  assert.deepEqual([...ack], [0x12, 0x34, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
});

test('a pushed peer that the server does not confirm is not told', async (t) => {
  const all = await Scene.open(t);
  all.server.send(pushBytes('looked', LIE), all.from);
  await until(() => lookupsOf(all, 'looked') === 2, 'the server to be asked');
  await fence(all);
  assertOnly(all, `looked ${KNOWN}`);
});

test('a push that lies beside one that does not', async (t) => {
  const all = await Scene.open(t);
  all.peers = ['10.1.0.2:1002'];
  const name = `looked.${DOMAIN}`;
  const additionals = [srvRecord(name, '203.0.113.66', 6666), srvRecord(name, '10.1.0.2', 1002)];
  const told = all.client.nextPeer();
  all.server.send(pushBytes('looked', LIE, { additionals }), all.from);
  assert.equal(await told, 'looked 10.1.0.2:1002');
  await fence(all);
  assertOnly(all, `looked ${KNOWN}`, 'looked 10.1.0.2:1002');
});

test('pushes of names that were not looked up', async (t) => {
  const all = await Scene.open(t);
  for (const id of ['other', 'looked.sub', 'sub.looked', 'looke', '*']) {
    all.server.send(pushBytes(id, LIE), all.from);
  }
  await fence(all);
  assertOnly(all, `looked ${KNOWN}`);
  const names = new Set(all.server.queries.map(({ name }) => name));
  assert.deepEqual([...names], [DOMAIN, `looked.${DOMAIN}`, `fence.${DOMAIN}`]);
  assert.equal(all.server.responses.length, 0, 'nothing is said about them');
});

test('pushes after an unannounce, which does not look up', async (t) => {
  const all = await Scene.open(t);
  await all.client.unannounce('left', 1);
  all.server.send(pushBytes('left', LIE), all.from);
  await fence(all);
  assert.equal(lookupsOf(all, 'left'), 1, 'the server is not asked');
  // The answer to an unannounce tells peers, as with the original.
  assertOnly(all, `looked ${KNOWN}`, `left ${KNOWN}`);
});

test('pushes by strangers: not told, not answered, and the server is not asked', async (t) => {
  const all = await Scene.open(t);
  // They would be confirmed.
  all.peers = [KNOWN, LIE];
  const strangers = [
    await LyingServer.open(t),
    await LyingServer.open(t, '127.0.0.9', all.server.port),
    await LyingServer.open(t, '127.9.9.9'),
  ];
  for (const stranger of strangers) {
    for (let i = 0; i < 20; i++) stranger.send(pushBytes('looked', LIE, { id: 1 + i }), all.from);
  }
  await fence(all);
  assertOnly(all, `looked ${KNOWN}`);
  assert.equal(lookupsOf(all, 'looked'), 1);
  assert.deepEqual(
    strangers.map(({ received }) => received),
    [0, 0, 0],
  );
});

test('a flood of pushes costs one question per name and second', async (t) => {
  const all = await Scene.open(t);
  const began = performance.now();
  for (let i = 0; i < 300; i++) {
    all.server.send(pushBytes('looked', `203.0.113.${i & 255}:${1 + i}`, { id: 1 + i }), all.from);
    if (i % 50 === 49) await fence(all);
  }
  const seconds = (performance.now() - began) / 1000;
  assert.ok(lookupsOf(all, 'looked') <= 2 + Math.floor(seconds), `${lookupsOf(all, 'looked')}`);
  assertOnly(all, `looked ${KNOWN}`);
});

test('messages that are no pushes', async (t) => {
  const all = await Scene.open(t);
  const name = `looked.${DOMAIN}`;
  const srv = srvRecord(name, '203.0.113.66', 6666);
  const whole = pushBytes('looked', LIE);
  const messages = [
    pushBytes('looked', LIE, { additionals: [], answers: [txtRecord(name, peersString(LIE))] }),
    pushBytes('looked', LIE, { flags: 0x8100 }),
    pushBytes('looked', LIE, { question: { name } }),
    pushBytes('looked', LIE, { flags: 0x2900 }),
    pushBytes('looked', LIE, { additionals: [{ ...srv, name: 'looked.other.local' }] }),
    pushBytes('looked', LIE, { additionals: [{ ...srv, class: 3 }] }),
    pushBytes('looked', LIE, { additionals: [srvRecord(name, 'looked.example', 6666)] }),
    pushBytes('looked', LIE, { additionals: [srvRecord(name, '203.0.113.666', 6666)] }),
    ...Array.from(whole, (_, length) => whole.subarray(0, length)),
    patched(whole, 10, 0xffff),
    patched(whole, 6, 0xffff),
    Uint8Array.of(1),
    new Uint8Array(1232),
  ];
  for (const message of messages) all.server.send(message, all.from);
  await fence(all);
  assertOnly(all, `looked ${KNOWN}`);
  assert.equal(lookupsOf(all, 'looked'), 1);
  assert.equal(all.server.responses.length, 0);
});

function patched(message: Uint8Array, offset: number, value: number): Uint8Array {
  const bytes = Buffer.from(message);
  bytes.writeUInt16BE(value, offset);
  return bytes;
}

test('the original pushes by a record of answers or additionals: both are read', async (t) => {
  const all = await Scene.open(t);
  all.peers = ['10.1.0.3:1003'];
  const told = all.client.nextPeer();
  const answers = [srvRecord(`LOOKED.${DOMAIN}`, '10.1.0.3', 1003)];
  all.server.send(pushBytes('looked', LIE, { additionals: [], answers }), all.from);
  assert.equal(await told, 'looked 10.1.0.3:1003', 'under the name as it was looked up');
});

test('a push of 0.0.0.0 means the server', async (t) => {
  const all = await Scene.open(t);
  all.peers = ['0.0.0.0:1004'];
  const told = all.client.nextPeer();
  all.server.send(pushBytes('looked', '0.0.0.0:1004'), all.from);
  assert.equal(await told, 'looked 127.0.0.1:1004');
});
