/**
 * What is sent to a client and is not the answer to its question, by the server it asked or by
 * others: nothing of it becomes a peer, a result or a token, and nobody is answered who was not
 * asked.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { CLASS, RCODE, TYPE } from '../../codecs/dns/constants.ts';
import { TestClient } from '../helpers/client-fixture.ts';
import { DOMAIN, type MessageSpec, optRecord, txtRecord } from '../helpers/dns-messages.ts';
import {
  cookieRecord,
  fullCookie,
  LyingServer,
  peersString,
  type Query,
  RESPONSE_FLAGS,
  srvRecord,
} from '../helpers/lying-server.ts';
import { at } from '../helpers/server-kind.ts';

const TIMEOUT_MS = 30_000;
const TRUE_TOKEN = 'token=true';
const TRUE_PEERS = ['10.1.0.1:1001', '10.1.0.2:1002'];
const TRUE = [TRUE_TOKEN, 'host=127.0.0.1', 'port=4000', peersString(...TRUE_PEERS)];
/** Whatever is forged leads here. */
const FORGED_PEER = '203.0.113.66:6666';
const FORGED = ['token=forged', 'host=203.0.113.66', 'port=6666', peersString(FORGED_PEER)];
const OTHER_NAME = `other.${DOMAIN}`;

/** Messages that are not the answer to a query, though they look like it. */
type Forgery = (query: Query) => Uint8Array[];

const changed =
  (...changes: readonly ((query: Query) => MessageSpec)[]): Forgery =>
  (query) =>
    changes.map((change) => query.answer(FORGED, change(query)));

/** The forged answer with bytes written over: offset and value. */
const patched =
  (...patches: readonly (readonly [number, number])[]): Forgery =>
  (query) =>
    patches.map(([offset, value]) => {
      const bytes = Buffer.from(query.answer(FORGED));
      bytes.writeUInt16BE(value, offset);
      return bytes;
    });

function everyPrefix(query: Query): Uint8Array[] {
  const bytes = query.answer(FORGED);
  return Array.from(bytes, (_, length) => bytes.subarray(0, length));
}

/** Names that only begin or end like the one that was asked. */
const NAMES = [
  OTHER_NAME,
  DOMAIN,
  `asked.${DOMAIN}.example`,
  'asked.other.local',
  `sub.asked.${DOMAIN}`,
  `aske.${DOMAIN}`,
  'asked',
  'local',
];

/** The server itself sends these before its answer, and again behind it. */
const LIES: Readonly<Record<string, Forgery>> = {
  'other ids': changed(
    ({ id }) => ({ id: id ^ 1 }),
    ({ id }) => ({ id: id ^ 0x8000 }),
    () => ({ id: 0 }),
  ),
  'no response': changed(() => ({ flags: RESPONSE_FLAGS & 0x7fff })),
  'other opcodes': changed(
    () => ({ flags: RESPONSE_FLAGS | (4 << 11) }),
    () => ({ flags: RESPONSE_FLAGS | (5 << 11) }),
  ),
  'other names': (query) =>
    NAMES.filter((name) => name !== query.name).map((name) =>
      query.answer(FORGED, { question: { name }, answers: [txtRecord(name, ...FORGED)] }),
    ),
  'other names asked, this one answered': (query) =>
    NAMES.filter((name) => name !== query.name).map((name) =>
      query.answer(FORGED, { question: { name } }),
    ),
  'other types': changed(...[TYPE.A, TYPE.SRV, TYPE.ANY, TYPE.OPT].map(asType)),
  'other classes': changed(
    ({ name }) => ({ question: { name, class: 3 } }),
    ({ name }) => ({ question: { name, class: CLASS.ANY } }),
  ),
  'two questions, or no question': (query) => [
    twoQuestions(query),
    query.answer(FORGED, { question: undefined as never }),
  ],
  'counts that are not so': patched([4, 0xffff], [6, 0xffff], [8, 0xffff], [10, 0xffff], [6, 2]),
  'every prefix': everyPrefix,
  'a cookie that is not ours': changed(
    ({ cookie }) => ({ additionals: [cookieRecord(fullCookie(cookie.map((byte) => byte ^ 1)))] }),
    ({ cookie }) => ({ additionals: [cookieRecord(cookie.slice(0, 8).reverse())] }),
    () => ({ additionals: [cookieRecord([0, 0, 0, 0, 0, 0, 0, 0])] }),
  ),
  'two OPT records': changed(() => ({ additionals: [optRecord(), optRecord()] })),
  'a broken OPT': changed(
    () => ({ additionals: [optRecord(1232, 0, 0, [0, 10, 0, 8, 1, 2])] }),
    () => ({ additionals: [optRecord(1232, 0, 0, [0, 10, 0, 7, 1, 2, 3, 4, 5, 6, 7])] }),
    () => ({ additionals: [optRecord(1232, 0, 0, [0, 10])] }),
  ),
  'strings over the end': (query) => {
    const name = query.name;
    const rdata = [...Buffer.from(`.${FORGED[0]}`), 255, ...Buffer.from(FORGED[3])];
    rdata[0] = FORGED[0].length;
    return [query.answer([], { answers: [{ name, type: TYPE.TXT, rdata }] })];
  },
};

function asType(type: number) {
  return ({ name }: Query): MessageSpec => ({ question: { name, type } });
}

function twoQuestions(query: Query): Uint8Array {
  const bytes = Buffer.from(query.answer(FORGED, { answers: [] }));
  const question = bytes.subarray(12);
  const record = Buffer.from(query.answer(FORGED)).subarray(bytes.length);
  const two = Buffer.concat([bytes, question, record]);
  two.writeUInt16BE(2, 4);
  two.writeUInt16BE(1, 6);
  return two;
}

/** Lookups, announces and a whoami with the server; only what is true may be told. */
async function assertUnmoved(client: TestClient, server: LyingServer): Promise<void> {
  const wanted = TRUE_PEERS.map((peer) => `asked ${peer}`);
  for (let i = 0; i < 3; i++) {
    const peers = await client.disc.lookup('asked');
    assert.deepEqual(
      peers.map(({ host, port }) => `${host}:${port}`),
      TRUE_PEERS,
    );
    await client.announce('asked', 5);
  }
  assert.deepEqual(await client.whoami(), { host: '127.0.0.1', port: 0 });
  assert.deepEqual([...new Set(client.peers)], wanted);
  const tokens = new Set(
    server.queries.filter(({ isProbe }) => !isProbe).map((each) => each.token),
  );
  assert.deepEqual([...tokens], ['true']);
}

for (const [title, forge] of Object.entries(LIES)) {
  test(`the server's own lies: ${title}`, { timeout: TIMEOUT_MS }, async (t) => {
    const server = await LyingServer.open(t);
    server.onQuery = (query) => {
      for (const lie of forge(query)) query.send(lie);
      query.reply(TRUE);
      for (const lie of forge(query)) query.send(lie);
    };
    const client = new TestClient(t, { server: at(server) });
    await assertUnmoved(client, server);
    assert.equal(server.responses.length, 0, 'no lie is answered');
  });
}

test('answers that come twice, the second time with something else', async (t) => {
  const server = await LyingServer.open(t);
  server.onQuery = (query) => {
    query.reply(TRUE);
    query.reply(FORGED);
  };
  await assertUnmoved(new TestClient(t, { server: at(server) }), server);
});

/** Strangers know the whole question, its id included; only where they send from is not right. */
async function strangersOf(t: TestContext, server: LyingServer): Promise<LyingServer[]> {
  const strangers = [await LyingServer.open(t, server.host)];
  for (const host of ['127.0.0.9', '127.9.9.9']) {
    strangers.push(await LyingServer.open(t, host, server.port), await LyingServer.open(t, host));
  }
  return strangers;
}

test('strangers who know everything but are elsewhere', { timeout: TIMEOUT_MS }, async (t) => {
  const server = await LyingServer.open(t);
  const strangers = await strangersOf(t, server);
  const forge = (query: Query) => {
    const cookie = cookieRecord(fullCookie(query.cookie));
    const push = srvRecord(query.name, '203.0.113.66', 6666);
    return [
      query.answer(FORGED),
      query.answer(FORGED, { additionals: [cookie] }),
      query.answer([], { flags: RESPONSE_FLAGS | RCODE.REFUSED, answers: [] }),
      query.answer([], { flags: RESPONSE_FLAGS | RCODE.FORMERR, answers: [] }),
      query.answer(FORGED, { flags: RESPONSE_FLAGS | 0x0200 }),
      query.answer([], { flags: 0x0100, question: undefined as never, answers: [push] }),
      query.bytes,
    ];
  };
  server.onQuery = (query) => {
    for (const stranger of strangers) {
      for (const lie of forge(query)) stranger.send(lie, query.from);
    }
    query.reply(TRUE);
  };
  await assertUnmoved(new TestClient(t, { server: at(server) }), server);
  assert.deepEqual(
    strangers.map(({ received }) => received),
    strangers.map(() => 0),
    'strangers are not answered',
  );
});

test('a socket of the user bound to one address: the same', { timeout: TIMEOUT_MS }, async (t) => {
  const server = await LyingServer.open(t);
  const [neighbour] = await strangersOf(t, server);
  server.onQuery = (query) => {
    neighbour.send(query.answer(FORGED), query.from);
    query.reply(TRUE);
  };
  await assertUnmoved(new TestClient(t, { server: at(server), host: '127.0.0.1' }), server);
  assert.equal(neighbour.received, 0);
});

test('records in the true answer that are not about the question', async (t) => {
  const server = await LyingServer.open(t);
  const stray = (name: string) => [
    txtRecord(OTHER_NAME, ...FORGED),
    txtRecord(DOMAIN, ...FORGED),
    srvRecord(OTHER_NAME, '203.0.113.66', 6666),
    srvRecord(name, '203.0.113.66', 6666),
    { name, type: TYPE.A, rdata: [203, 0, 113, 66] },
    { ...txtRecord(name, ...FORGED), class: 3 },
  ];
  server.onQuery = (query) => {
    const { name, isProbe } = query;
    const others = stray(name).filter((each) => !isProbe || each.name !== DOMAIN);
    query.reply(TRUE, {
      answers: [...others, txtRecord(name, ...TRUE)],
      authorities: [...stray(name), txtRecord(name, ...FORGED)],
      additionals: [...stray(name), txtRecord(name, ...FORGED)],
    });
  };
  await assertUnmoved(new TestClient(t, { server: at(server) }), server);
});

test('answers to questions that were never asked', async (t) => {
  const server = await LyingServer.open(t);
  let id = 0;
  server.onQuery = (query) => {
    for (const name of [OTHER_NAME, `asked.${DOMAIN}`, DOMAIN]) {
      id = (id + 4099) & 0xffff;
      if (id === query.id) continue;
      const answers = [txtRecord(name, ...FORGED)];
      query.reply(FORGED, { id, question: { name }, answers });
    }
    query.reply(TRUE);
  };
  await assertUnmoved(new TestClient(t, { server: at(server) }), server);
});

test('once the server has sent our cookie, answers without it are forged', async (t) => {
  const server = await LyingServer.open(t);
  let asked = 0;
  server.onQuery = (query) => {
    if (asked++ > 0) {
      query.reply(FORGED);
      query.reply(FORGED, { additionals: [optRecord()] });
    }
    query.reply(TRUE, { additionals: [cookieRecord(fullCookie(query.cookie))] });
  };
  await assertUnmoved(new TestClient(t, { server: at(server) }), server);
  const cookies = server.queries.map(({ cookie }) => cookie);
  assert.equal(cookies[0].length, 8, 'first our half alone');
  for (const cookie of cookies.slice(1)) assert.deepEqual(cookie, fullCookie(cookies[0]));
});

test('a refusal with peers in it brings none', async (t) => {
  const server = await LyingServer.open(t);
  server.onQuery = (query) => {
    if (query.isProbe) query.reply(TRUE);
    else query.reply(FORGED, { flags: RESPONSE_FLAGS | RCODE.REFUSED });
  };
  const client = new TestClient(t, { server: at(server), timeout: 1000 });
  await assert.rejects(client.lookup('asked'), { message: 'Query failed' });
  assert.deepEqual(client.peers, []);
});

test('nonsense in the values: ports 0, odd lengths, no base64, no addresses', async (t) => {
  const server = await LyingServer.open(t);
  const nonsense = [
    'peers=',
    'peers',
    'peers=!!!!',
    'peers=AAAA',
    peersString('203.0.113.66:0'),
    'peers6=AAAA',
    'peers6=/////w==',
    'host=',
    'port=65536',
    '=',
    '',
  ];
  server.onQuery = (query) => query.reply([...nonsense, ...TRUE]);
  await assertUnmoved(new TestClient(t, { server: at(server) }), server);
});
