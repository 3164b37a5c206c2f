/**
 * An off-path forger: he knows the name that is asked, the server's address and port, and writes
 * them on his datagrams; he sees none of ours. A million tries bring nothing into a result. On
 * loopback nobody can borrow an address, so the client's state machine is told that he did; and a
 * live client is sent the like from where he really is.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Answer } from '../../codecs/dns/client-answer.ts';
import type { Question } from '../../codecs/dns/client-query.ts';
import { encodeName } from '../../codecs/dns/text.ts';
import type { Destination } from '../../server/discovery/wire/questions.ts';
import { parseServer } from '../../server/discovery/wire/server-address.ts';
import { WireClient } from '../../server/discovery/wire/wire-client.ts';
import { TestClient } from '../helpers/client-fixture.ts';
import { FUZZ_SEED, Rng } from '../helpers/dns-bytes.ts';
import { buildMessage, DOMAIN, type RecordSpec, txtRecord } from '../helpers/dns-messages.ts';
import { parseStrict } from '../helpers/dns-parse.ts';
import {
  cookieRecord,
  fullCookie,
  LyingServer,
  peersString,
  pushBytes,
  Query,
  RESPONSE_FLAGS,
} from '../helpers/lying-server.ts';
import { at } from '../helpers/server-kind.ts';

const TIMEOUT_MS = 120_000;
const TRIES = 1_000_000;
const LIVE_TRIES = Number(process.env.FORGED_DATAGRAMS ?? 200_000);
/** Reaches the client, which is bound to no address, and none of the sockets of the test. */
const ANY_OF_OURS = '127.77.7.7';
/** Fewer than the client's receive buffer holds. */
const BURST = 200;
const IDS = 65_536;
const SERVER: Destination = { address: '192.0.2.53', port: 5300 };
const NAME = `asked.${DOMAIN}`;
const FORGED = ['token=forged', peersString('203.0.113.66:6666')];
const TRUE = ['token=true', peersString('10.1.0.1:1001')];

function answerBytes(id: number, strings: readonly string[], ...additionals: RecordSpec[]) {
  return Buffer.from(
    buildMessage({
      id,
      flags: RESPONSE_FLAGS,
      question: { name: NAME },
      answers: [txtRecord(NAME, ...strings)],
      additionals,
    }),
  );
}

function asked(bytes: Buffer): Query {
  return new Query(bytes, { address: '192.0.2.1', port: 4000 }, () => assert.fail('no network'));
}

/** A wire client without a network: what it sends is kept, what it is told is said here. */
class Wire {
  readonly client: WireClient;
  readonly sent: { readonly bytes: Buffer; readonly to: Destination }[] = [];
  readonly pushed: string[] = [];
  readonly rng: Rng;
  nowMs = 1_700_000_000_000;

  constructor(seed: number) {
    const secrets = new Rng(seed ^ 0x5eed);
    this.rng = new Rng(seed);
    this.client = new WireClient(
      {
        server: parseServer(`${SERVER.address}:${SERVER.port}`),
        domain: encodeName(DOMAIN),
        timeoutMs: 7500,
        mostSends: Number.POSITIVE_INFINITY,
        randomId: () => secrets.next() >>> 16,
        secretBytes: (count) => Uint8Array.from({ length: count }, () => secrets.next() >>> 24),
      },
      {
        send: (bytes, to) => this.sent.push({ bytes: Buffer.from(bytes), to }),
        askTcp: () => assert.fail('nothing was truncated'),
        resolve: (host, done) => done([host], null),
        pushed: (name, peer) => this.pushed.push(`${name} ${peer.host}:${peer.port}`),
      },
    );
  }

  /** Asks; the results that come, at most one. */
  ask(kind: Question['kind'] = 'lookup'): { error: Error | null; answer: Answer | null }[] {
    const results: { error: Error | null; answer: Answer | null }[] = [];
    const question = { kind, name: encodeName(NAME), token: null, port: 7 };
    this.client.ask(question, 'asked', this.nowMs, (error, answer) => {
      results.push({ error, answer });
    });
    return results;
  }

  /** The last message that was sent. */
  get last(): Query {
    return asked(this.sent[this.sent.length - 1].bytes);
  }

  receive(bytes: Uint8Array, from: Destination = SERVER): void {
    this.client.receive(bytes, from.address, from.port, this.nowMs);
  }

  /** Gets its token, from a server with cookies or without. */
  settle(hasCookies: boolean): void {
    const results = this.ask();
    for (let i = 0; i < 2; i++) {
      const query = this.last;
      const cookie = hasCookies ? [cookieRecord(fullCookie(query.cookie))] : [];
      this.receive(query.answer(TRUE, { additionals: cookie }));
    }
    assert.equal(results.length, 1);
  }
}

/** That a lookup under way is untouched and gets the true answer when it comes. */
function assertUntouched(
  wire: Wire,
  results: ReturnType<Wire['ask']>,
  sent: number,
  query: Query,
  hasCookies: boolean,
): void {
  assert.equal(results.length, 0, 'no forgery is a result');
  assert.equal(wire.sent.length, sent, 'none is answered');
  const cookie = hasCookies ? [cookieRecord(fullCookie(query.cookie))] : [];
  wire.receive(query.answer(TRUE, { additionals: cookie }));
  assert.deepEqual(
    results.map(({ error, answer }) => [error, answer?.token, answer?.peers]),
    [[null, 'true', [{ port: 1001, host: '10.1.0.1' }]]],
  );
  wire.ask();
  assert.equal(wire.last.token, 'true');
  assert.deepEqual(wire.pushed, []);
}

test(`a server with cookies: 16 times ${IDS} forged answers, seed ${FUZZ_SEED}`, () => {
  const wire = new Wire(FUZZ_SEED);
  wire.settle(true);
  const results = wire.ask();
  const query = wire.last;
  const sent = wire.sent.length;
  const guess = () => Array.from({ length: 24 }, () => wire.rng.below(256));
  for (let round = 0; round < 16; round++) {
    const cookie = round % 2 === 0 ? [] : [cookieRecord(guess())];
    const bytes = answerBytes(0, FORGED, ...cookie);
    for (let id = 0; id < IDS; id++) {
      bytes.writeUInt16BE(id, 0);
      wire.receive(bytes);
    }
  }
  assertUntouched(wire, results, sent, query, true);
});

test(`a server without: ${TRIES} guesses of id and port, seed ${FUZZ_SEED}`, () => {
  const wire = new Wire(FUZZ_SEED);
  wire.settle(false);
  const results = wire.ask();
  const query = wire.last;
  const sent = wire.sent.length;
  const bytes = answerBytes(0, FORGED);
  const ownPort = wire.rng.below(IDS);
  let arrived = 0;
  for (let i = 0; i < TRIES; i++) {
    bytes.writeUInt16BE(wire.rng.below(IDS), 0);
    // The kernel delivers nothing else.
    if (wire.rng.below(IDS) !== ownPort) continue;
    arrived++;
    wire.receive(bytes);
  }
  assert.ok(arrived > 0);
  assertUntouched(wire, results, sent, query, false);
});

test(`the id known, the source or the question not: ${TRIES} tries, seed ${FUZZ_SEED}`, () => {
  const wire = new Wire(FUZZ_SEED);
  wire.settle(false);
  const results = wire.ask('announce');
  const query = wire.last;
  const sent = wire.sent.length;
  const right = query.answer(FORGED);
  const { rng } = wire;
  const letter = 13 + rng.below(5);
  for (let i = 0; i < TRIES; i++) {
    if (i % 2 === 0) {
      const isPort = rng.below(2) === 0;
      const address = isPort ? SERVER.address : `192.0.${rng.below(256)}.${rng.below(256)}`;
      const port = isPort ? rng.below(IDS) : SERVER.port;
      if (address === SERVER.address && port === SERVER.port) continue;
      wire.receive(right, { address, port });
    } else {
      const bytes = Uint8Array.from(right);
      bytes[letter] = (bytes[letter] ^ (1 + rng.below(31))) & 0xff;
      wire.receive(bytes);
    }
  }
  assertUntouched(wire, results, sent, query, false);
});

test("forged pushes in the server's name: the server is asked, nothing is told", () => {
  const wire = new Wire(FUZZ_SEED);
  wire.settle(false);
  const { rng } = wire;
  let lookups = 0;
  let acks = 0;
  for (let i = 0; i < 100_000; i++) {
    const from = wire.sent.length;
    wire.receive(pushBytes('asked', `203.0.113.66:${1 + rng.below(65_535)}`, { id: i & 0xffff }));
    for (const { bytes, to } of wire.sent.slice(from)) {
      assert.deepEqual(to, SERVER);
      if ((parseStrict(bytes).flags & 0x8000) !== 0) acks++;
      else {
        lookups++;
        wire.receive(asked(bytes).answer(TRUE));
      }
    }
    if (i % 1000 === 999) wire.nowMs += 20;
    wire.client.tick(wire.nowMs);
    assert.equal(bytesOf(wire.sent.slice(from)) <= 12 + 512, true);
  }
  assert.deepEqual(wire.pushed, []);
  assert.ok(lookups <= 3, `${lookups} questions in two seconds`);
  // What there is no room for is not acknowledged: the server pushes it again.
  assert.ok(acks > 0 && acks < 1000, `${acks} acknowledged`);
});

function bytesOf(sent: readonly { readonly bytes: Buffer }[]): number {
  return sent.reduce((sum, { bytes }) => sum + bytes.length, 0);
}

/** Forgers as they are on loopback: the server's host at other ports, its port at other hosts. */
async function forgers(t: TestContext, server: LyingServer): Promise<LyingServer[]> {
  return [
    await LyingServer.open(t, server.host),
    await LyingServer.open(t, '127.0.0.9', server.port),
    await LyingServer.open(t, '127.9.9.9', server.port),
  ];
}

test(`live: ${LIVE_TRIES} forged datagrams, seed ${FUZZ_SEED}`, {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const server = await LyingServer.open(t);
  const client = new TestClient(t, { server: at(server), timeout: 60_000 });
  let isSilent = false;
  server.onQuery = (query) => {
    if (!isSilent) query.reply(TRUE);
  };
  await client.lookup('asked');
  isSilent = true;
  const lookup = client.disc.lookup('asked');
  const { from } = await server.asked(NAME, server.queries.length);
  const strangers = await forgers(t, server);
  const rng = new Rng(FUZZ_SEED);
  const bytes = [answerBytes(0, FORGED), Buffer.from(pushBytes('asked', '203.0.113.66:6666'))];
  for (let i = 0; i < LIVE_TRIES; i++) {
    const message = Buffer.from(bytes[rng.below(64) === 0 ? 1 : 0]);
    message.writeUInt16BE(rng.below(IDS), 0);
    const isGuess = rng.below(4) === 0;
    const port = isGuess ? 1024 + rng.below(IDS - 1024) : from.port;
    const address = isGuess ? ANY_OF_OURS : '127.0.0.1';
    strangers[i % strangers.length].send(message, { address, port });
    if (i % BURST === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  isSilent = false;
  assert.deepEqual(await lookup, [{ port: 1001, host: '10.1.0.1' }]);
  assert.deepEqual([...new Set(client.peers)], ['asked 10.1.0.1:1001']);
  const tokens = server.queries.filter(({ isProbe }) => !isProbe).map(({ token }) => token);
  assert.deepEqual([...new Set(tokens)], ['true']);
  assert.deepEqual(
    strangers.map(({ received }) => received),
    [0, 0, 0],
    'none of them is answered',
  );
});
