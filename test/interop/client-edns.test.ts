/** Our client with servers that know less of EDNS than ours, or insist on more (RFC 6891, 7873). */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { RCODE } from '../../codecs/dns/constants.ts';
import { addressText, TestClient } from '../helpers/client-fixture.ts';
import {
  cookieRecord,
  fullCookie,
  LyingServer,
  peersString,
  Query,
  RESPONSE_FLAGS,
} from '../helpers/lying-server.ts';
import { at } from '../helpers/server-kind.ts';
import { frame } from '../helpers/tcp-client.ts';

const PEERS = ['10.1.0.1:1001', '10.1.0.2:1002'];
const TOLD = ['token=t', peersString(...PEERS)];
/** The upper bits of BADCOOKIE, 23, go into the OPT. */
const BADCOOKIE_HIGH = RCODE.BADCOOKIE >> 4;
const BADCOOKIE_LOW = RCODE.BADCOOKIE & 15;

/** Three lookups find the peers. */
async function assertFound(t: TestContext, server: LyingServer): Promise<void> {
  const { disc } = new TestClient(t, { server: at(server) });
  for (let i = 0; i < 3; i++) assert.deepEqual((await disc.lookup('app')).map(addressText), PEERS);
}

/** Errors to EDNS, as servers from before it give them. */
const ERRORS: readonly (readonly [string, number, boolean])[] = [
  ['FORMERR with the question', RCODE.FORMERR, true],
  ['FORMERR, a header alone', RCODE.FORMERR, false],
  ['NOTIMP with the question', RCODE.NOTIMP, true],
];

for (const [title, rcode, hasQuestion] of ERRORS) {
  test(`a server that answers EDNS by ${title} is asked without it`, async (t) => {
    const server = await LyingServer.open(t);
    server.onQuery = (query) => {
      const question = hasQuestion ? { name: query.name } : (undefined as never);
      const error = { flags: RESPONSE_FLAGS | rcode, question, answers: [] };
      if (query.hasOpt) query.reply([], error);
      else query.reply(TOLD);
    };
    await assertFound(t, server);
    const hasOpt = server.queries.map((query) => query.hasOpt);
    assert.deepEqual(hasOpt, [true, false, false, false, false], 'and never with it again');
  });
}

test('a server that takes EDNS and knows no cookies', async (t) => {
  const server = await LyingServer.open(t);
  server.onQuery = (query) => query.reply(TOLD);
  await assertFound(t, server);
  for (const { cookie } of server.queries) assert.equal(cookie.length, 8);
});

test('BADCOOKIE: asked again with the cookie of the answer', async (t) => {
  const server = await LyingServer.open(t);
  const hasCookie = (query: Query, filling: number): boolean =>
    query.cookie.join() === fullCookie(query.cookie, filling).join();
  let filling = 7;
  server.onQuery = (query) => {
    const cookie = fullCookie(query.cookie, filling);
    if (hasCookie(query, filling)) query.reply(TOLD, { additionals: [cookieRecord(cookie)] });
    else {
      const additionals = [cookieRecord(cookie, BADCOOKIE_HIGH)];
      query.reply([], { flags: RESPONSE_FLAGS | BADCOOKIE_LOW, answers: [], additionals });
    }
  };
  const { disc } = new TestClient(t, { server: at(server) });
  assert.equal((await disc.lookup('app')).length, 2);
  assert.equal(server.queries.length, 3, 'the probe twice, the lookup once');
  filling = 9;
  assert.equal((await disc.lookup('app')).length, 2);
  assert.equal(server.queries.length, 5, 'the server has other secrets');
});

test('BADCOOKIE for ever: asked by TCP', async (t) => {
  const server = await LyingServer.open(t);
  server.onQuery = (query) => {
    const additionals = [cookieRecord(fullCookie(query.cookie), BADCOOKIE_HIGH)];
    query.reply([], { flags: RESPONSE_FLAGS | BADCOOKIE_LOW, answers: [], additionals });
  };
  const byTcp = await answeringByTcp(t, server.port);
  await assertFound(t, server);
  assert.equal(byTcp.answered, 4, 'the probe and three lookups');
});

test('TC: asked by TCP, and what is told there counts', async (t) => {
  const server = await LyingServer.open(t);
  server.onQuery = (query) => {
    if (query.isProbe) query.reply(TOLD);
    else query.reply(['token=t', peersString(PEERS[0])], { flags: RESPONSE_FLAGS | 0x0200 });
  };
  const byTcp = await answeringByTcp(t, server.port);
  await assertFound(t, server);
  assert.equal(byTcp.answered, 3);
  const client = new TestClient(t, { server: at(server) });
  await client.announce('app', 8080);
  const [, told] = server.queries.slice(-2);
  assert.ok(told.strings.includes('announce=8080'), 'an announce is made by UDP');
  const again = ['announce=8080', 'subscribe=true', 'token=t'];
  assert.deepEqual(byTcp.strings.at(-1), again, 'and by TCP: who truncates may not have heard');
});

/** TCP at the same port, which tells everything. */
async function answeringByTcp(t: TestContext, port: number) {
  const seen = { answered: 0, strings: [] as string[][] };
  const listener = createServer((socket) => {
    let bytes = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length < 2 || bytes.length < 2 + bytes.readUInt16BE(0)) return;
      const source = { address: '127.0.0.1', port: 0 };
      const query = new Query(bytes.subarray(2), source, (answer) => socket.end(frame(answer)));
      seen.answered++;
      seen.strings.push([...query.strings].sort());
      query.reply(TOLD);
    });
  });
  listener.listen(port, '127.0.0.1');
  await once(listener, 'listening');
  t.after(() => listener.close());
  return seen;
}
