/**
 * Attacks in small, against whole servers: whatever strangers do, a proven client is answered and
 * its records are kept, no network is sent more than promised, and every datagram is accounted for.
 * Nothing here depends on how fast anything is; `npm run bench -- attacks` has the figures.
 */
import assert from 'node:assert/strict';
import { test as nodeTest, type TestContext } from 'node:test';
import type { Limits } from '../../server/options/config.ts';
import { PUSH_BURST, PUSHES_PER_SECOND } from '../../workers/push-budget.ts';
import { PUSHES_PER_ANNOUNCE } from '../../workers/pusher.ts';
import {
  TEST_LIMITS,
  type TestServer,
  testServer,
  type Variant,
  variants,
} from '../helpers/appliance.ts';
import { FUZZ_SEED, loadVectors, mutate, Rng } from '../helpers/dns-bytes.ts';
import { DOMAIN, peersOf, queryBytes } from '../helpers/lane-harness.ts';
import { TcpClient, until } from '../helpers/tcp-client.ts';
import { type Attacker, assertBalanced, BURST, Crowd, ProvenClient } from './attack-crowd.ts';

const TIMEOUT_MS = 120_000;
const FLOOD = 2000;
/** Records of the proven client: its names are own0, own1, ... */
const OWN_RECORDS = 8;
const FIRST_PORT = 9000;
const CROWDED_PEERS = 200;
const TOKEN_CHARS = 44;

/** Of all variants those in which most differs: the limits are the same in the others. */
const tested = variants().filter(
  ({ options: { udpBackend, workers, sendFrom } }) =>
    (udpBackend === 'batch' && workers === 0) ||
    (workers === 1 && (udpBackend === 'dgram' || sendFrom === 'lane')),
);
/** Elsewhere 127.0.0.0/8 has one address only. */
const needsLoopbacks = process.platform === 'linux' ? false : 'needs all addresses of 127.0.0.0/8';

function eachVariant(
  title: string,
  body: (t: TestContext, variant: Variant) => Promise<void>,
): void {
  for (const variant of tested) {
    const skip = variant.skip || needsLoopbacks;
    nodeTest(`${title}: ${variant.name}`, { skip, timeout: TIMEOUT_MS }, (t) => body(t, variant));
  }
}

function hosts(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `127.66.6.${i + 1}`);
}

function prefixes(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `127.66.${i + 1}.1`);
}

/** A server, and a proven client with its records. */
async function start(
  t: TestContext,
  { options }: Variant,
  limits: Partial<Limits> = {},
  limit = 10_000,
): Promise<{ server: TestServer; client: ProvenClient }> {
  const server = await testServer(t, {
    ...options,
    limit,
    limits: { ...TEST_LIMITS, ...limits },
  });
  const client = await ProvenClient.open(t, server);
  await renew(client);
  return { server, client };
}

async function renew(client: ProvenClient): Promise<void> {
  for (let i = 0; i < OWN_RECORDS; i++) await client.announce(`own${i}`, FIRST_PORT + i);
}

/** That every record of the client is found; of a crowded name, by and by. */
async function assertKept(client: ProvenClient): Promise<void> {
  for (let i = 0; i < OWN_RECORDS; i++) {
    const wanted = `${client.address}:${FIRST_PORT + i}`;
    let found = false;
    for (let tries = 0; tries < 200 && !found; tries++) {
      found = peersOf(await client.lookup(`own${i}`)).includes(wanted);
    }
    assert.ok(found, `${wanted} is not found under own${i}`);
  }
}

interface UnprovenFlood {
  readonly title: string;
  readonly addresses: string[];
  /** Makes the messages of one run. */
  readonly messages: () => (n: number) => Uint8Array;
}

const recorded = loadVectors().map((vector) => Buffer.from(vector.hex, 'hex'));

/** Mutants of real messages, and noise. */
function malformed(): (n: number) => Uint8Array {
  const rng = new Rng(FUZZ_SEED);
  return (n) => {
    if (n % 4 === 3) return Uint8Array.from({ length: rng.below(512) }, () => rng.below(256));
    return mutate(recorded[rng.below(recorded.length)], rng);
  };
}

function lookups(): () => Uint8Array {
  return () => queryBytes({ name: `crowded.${DOMAIN}`, edns: 4096 });
}

function anys(): () => Uint8Array {
  return () => queryBytes({ name: `crowded.${DOMAIN}`, type: 'ANY' as 'A' });
}

const UNPROVEN: readonly UnprovenFlood[] = [
  { title: 'lookups, one prefix', addresses: hosts(5), messages: lookups },
  { title: 'lookups, 60 prefixes', addresses: prefixes(60), messages: lookups },
  { title: 'ANY, one prefix', addresses: hosts(5), messages: anys },
  { title: 'ANY, 60 prefixes', addresses: prefixes(60), messages: anys },
  { title: `malformed, one prefix, seed ${FUZZ_SEED}`, addresses: hosts(5), messages: malformed },
];

for (const { title, addresses, messages } of UNPROVEN) {
  eachVariant(`unproven flood: ${title}`, async (t, variant) => {
    const { server, client } = await start(t, variant);
    for (let i = 0; i < CROWDED_PEERS; i++) await client.announce('crowded', 1 + i);
    const { announces } = server.counters();
    const crowd = await Crowd.open(t, server, addresses);
    // A lane counts what it has sent after the client may have it.
    await assertBalanced(server);
    const { received, sent } = server.counters();
    const { asked: askedBefore } = client;
    let turn = 0;
    await crowd.flood(FLOOD, messages(), async () => {
      const peers = peersOf(await client.lookup(`own${turn % OWN_RECORDS}`));
      assert.deepEqual(peers, [`${client.address}:${FIRST_PORT + (turn++ % OWN_RECORDS)}`]);
    });
    const counters = server.counters();
    const asked = client.asked - askedBefore;
    assert.equal(turn, FLOOD / BURST);
    assert.equal(counters.received - received, FLOOD + asked);
    const answers = counters.sent - sent - asked;
    await until(() => crowd.answered >= answers, 'the answers');
    crowd.assertAmplification();
    crowd.assertReplies(TEST_LIMITS.rateLimit ?? 0);
    assert.equal(counters.announces, announces, 'nobody unproven announces');
    await assertKept(client);
  });
}

eachVariant('guessed tokens announce nothing', async (t, variant) => {
  const { server, client } = await start(t, variant);
  const { announces } = server.counters();
  const crowd = await Crowd.open(t, server, [...hosts(5), ...prefixes(30)]);
  const guess = new Rng(FUZZ_SEED);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  await crowd.flood(
    FLOOD,
    () => {
      let token = '';
      while (token.length < TOKEN_CHARS - 1) token += alphabet[guess.below(alphabet.length)];
      return queryBytes({ name: `own0.${DOMAIN}`, strings: [`token=${token}=`, 'announce=1'] });
    },
    async () => {
      assert.equal(peersOf(await client.lookup('own1')).length, 1);
    },
  );
  const counters = server.counters();
  assert.equal(counters.badTokens, FLOOD, `seed ${FUZZ_SEED}`);
  assert.equal(counters.announces, announces, `seed ${FUZZ_SEED}`);
  assert.deepEqual(peersOf(await client.lookup('own0')), [`${client.address}:${FIRST_PORT}`]);
  crowd.assertAmplification();
  await assertKept(client);
});

function announcing(nameOf: (n: number) => string, portOf: (n: number) => number) {
  return (n: number, { token }: Attacker): Uint8Array =>
    queryBytes({
      name: `${nameOf(n)}.${DOMAIN}`,
      strings: [`token=${token}`, `announce=${portOf(n)}`],
    });
}

eachVariant('one source announces every port under a name', async (t, variant) => {
  const nameLimit = 320;
  const { server, client } = await start(t, variant, { nameLimit });
  const crowd = await Crowd.open(t, server, hosts(3));
  await crowd.learnTokens();
  const { announces } = server.counters();
  const { asked } = client;
  const message = announcing(
    () => 'own0',
    (n) => 1 + n,
  );
  await crowd.flood(FLOOD, message, async () => {
    await client.announce('own0', FIRST_PORT);
  });
  const counters = server.counters();
  assert.equal(counters.announces - announces, FLOOD + client.asked - asked);
  assert.ok(counters.announcesBounded >= FLOOD - nameLimit / 32, String(counters.announcesBounded));
  const others = new Set<string>();
  for (let i = 0; i < 50; i++) {
    for (const peer of peersOf(await client.lookup('own0'))) others.add(peer);
  }
  assert.ok(others.delete(`${client.address}:${FIRST_PORT}`), 'the client is found');
  assert.ok(others.size <= nameLimit / 32, `${others.size} peers of one prefix`);
  await assertKept(client);
});

eachVariant('one prefix announces under new names', async (t, variant) => {
  const prefixLimit = 100;
  const { server, client } = await start(t, variant, { prefixLimit }, 1000);
  const crowd = await Crowd.open(t, server, hosts(3));
  await crowd.learnTokens();
  const { announces } = server.counters();
  const message = announcing(
    (n) => `new${n}`,
    () => 1,
  );
  await crowd.flood(FLOOD, message, async () => {
    await client.lookup('own0');
  });
  const counters = server.counters();
  assert.equal(counters.announces - announces, FLOOD);
  assert.ok(counters.announcesBounded >= FLOOD - prefixLimit, String(counters.announcesBounded));
  // Without a renewal: there was room for all.
  await assertKept(client);
});

eachVariant('many prefixes fill the store, a client that renews is kept', async (t, variant) => {
  const limit = 1000;
  const { server, client } = await start(t, variant, { prefixLimit: 125 }, limit);
  const crowd = await Crowd.open(t, server, prefixes(20));
  await crowd.learnTokens();
  const message = announcing(
    (n) => `new${n}`,
    () => 1,
  );
  await crowd.flood(2 * FLOOD, message, () => renew(client));
  const { announcesRejected } = server.counters();
  assert.equal(announcesRejected, 0, 'somebody older goes');
  await assertKept(client);
});

eachVariant('subscriptions and announces that come and go', async (t, variant) => {
  const { server, client } = await start(t, variant);
  const subscribers = await Crowd.open(t, server, prefixes(40));
  await subscribers.learnTokens();
  const subscribe = (_n: number, { token }: Attacker): Uint8Array =>
    queryBytes({ name: `own0.${DOMAIN}`, strings: [`token=${token}`, 'subscribe=true'] });
  await subscribers.flood(subscribers.attackers.length, subscribe, async () => undefined);
  const [attacker] = (await Crowd.open(t, server, ['127.77.7.7'])).attackers;
  const toggler = await Crowd.open(t, server, [attacker.address]);
  await toggler.learnTokens();
  const began = performance.now();
  const toggle = (n: number, { token }: Attacker): Uint8Array => {
    const port = 1 + Math.floor(n / 2);
    const what = n % 2 === 0 ? 'announce' : 'unannounce';
    return queryBytes({ name: `own0.${DOMAIN}`, strings: [`token=${token}`, `${what}=${port}`] });
  };
  await toggler.flood(FLOOD, toggle, async () => {
    assert.equal(peersOf(await client.lookup('own1')).length, 1);
  });
  const seconds = (performance.now() - began) / 1000;
  const { pushes, pushesBounded, unannounces } = server.counters();
  assert.equal(unannounces, FLOOD / 2);
  assert.ok(pushes <= PUSH_BURST + Math.ceil(seconds * PUSHES_PER_SECOND), `${pushes} pushes`);
  assert.ok(pushes >= PUSHES_PER_ANNOUNCE, 'subscribers are told');
  assert.ok(pushesBounded > 0, 'and then not any more');
  await assertKept(client);
  await assertBalanced(server);
});

const HALF = Uint8Array.from([0, 40, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);

eachVariant('connections: caps hold, UDP is answered, the room comes back', async (t, variant) => {
  const limits = { tcpConnections: 32, tcpConnectionsPerPrefix: 8 };
  const { server, client } = await start(t, variant, limits);
  const open = async (from: string): Promise<TcpClient> => {
    const connection = await TcpClient.open(server.port, '127.0.0.1', from);
    t.after(() => connection.close());
    return connection;
  };
  const isAnswered = async (): Promise<boolean> => {
    const connection = await open('127.200.7.2');
    connection.ask(queryBytes({ name: `own0.${DOMAIN}` }));
    await until(() => connection.answers.length > 0 || connection.closed, 'an answer or the end');
    return connection.answers.length > 0;
  };
  const flood = async (addresses: string[], times: number): Promise<TcpClient[]> => {
    const crowd: TcpClient[] = [];
    for (let i = 0; i < times; i++) {
      for (const address of addresses) crowd.push(await open(address));
    }
    return crowd;
  };
  const over = (): number => server.counters().tcpEvicted + server.counters().tcpRefused;
  const opened = (): number => server.counters().tcpAccepted + server.counters().tcpRefused;

  const one = await flood(['127.66.1.1'], 20);
  await until(() => opened() === 20, 'the connections');
  assert.equal(over(), 12, 'a network has 8 at most');
  assert.ok(await isAnswered(), 'another network is served');

  const idle = await flood(prefixes(10), 4);
  await until(() => opened() === 61, 'the connections');
  assert.ok(await isAnswered(), 'idle connections make room');
  for (const connection of [...one, ...idle]) connection.close();

  const half = await flood(['127.67.1.1', '127.67.2.1', '127.67.3.1', '127.67.4.1'], 8);
  for (const connection of half) connection.socket.write(HALF);
  await client.lookup('own0');
  assert.ok(await isAnswered(), 'so do those that do not finish their messages');
  for (const connection of half) connection.close();
  assert.ok(await isAnswered());
  await assertKept(client);
  await assertBalanced(server);
});
