/**
 * Whatever arrives at a discovery client: seeded mutations of good messages, and messages made at
 * random. Nothing throws, results are within their bounds, mean what a second, slow parser reads,
 * and do not depend on the memory around the message; the bytes looked at are linear in the
 * length. FUZZ_MUTATIONS and FUZZ_SEED change the amount and the seed.
 */
import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { describe, test } from 'node:test';
import { encode } from 'dns-packet';
import fc from 'fast-check';
import { addressText } from '../../codecs/dns/address-text.ts';
import {
  type Answer,
  nameKey,
  type Push,
  readAnswer,
  readPush,
} from '../../codecs/dns/client-answer.ts';
import { MAX_PUSHED_SERVICES } from '../../codecs/dns/client-push.ts';
import {
  MAX_TOKEN_TEXT_BYTES,
  writePushAck,
  writeQuestion,
} from '../../codecs/dns/client-query.ts';
import { encodeName } from '../../codecs/dns/text.ts';
import { answerWorst, countReads, pushWorst, WORST_NAME } from '../helpers/client-worst.ts';
import {
  Arena,
  FUZZ_MUTATIONS,
  FUZZ_SEED,
  hex,
  loadVectors,
  mutate,
  Rng,
} from '../helpers/dns-bytes.ts';
import {
  buildMessage,
  DOMAIN,
  optRecord,
  peers4,
  peers6,
  type RecordSpec,
  stringsOf,
  TOKEN,
  txtRecord,
  u16,
} from '../helpers/dns-messages.ts';
import { type Parsed, parseName, parseStrict, parseStrings } from '../helpers/dns-parse.ts';

const NAME = `vec-name.${DOMAIN}`;
const DOMAIN_WIRE = encodeName(DOMAIN);
const RESPONSE = 0x8000;
const POINTER = [0xc0, 12];
const COOKIE8 = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
const COOKIE24 = [0, 10, 0, 24, ...Array(24).fill(1)];
const ID64 = 'abcdef0123456789'.repeat(4);

/** Reads of a message's bytes: about three ways through it, and what is compared with the name. */
const MAX_READS_PER_BYTE = 16;
const MAX_READS_BESIDE = 16 * 2 * 300;

interface Source {
  readonly bytes: Uint8Array;
  /** The name that was asked for. */
  readonly name: Uint8Array;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

function answerCorpus(): Source[] {
  const recorded = loadVectors().map(({ hex: text }): Source => {
    const bytes = hex(text);
    const name = encodeName(bytes[5] > 0 ? parseName(bytes, 12)[0] : NAME);
    return { bytes, name };
  });
  const crowd = txtRecord(
    POINTER,
    `token=${TOKEN}`,
    `peers6=${base64(peers6(10))}`,
    `peers=${base64(peers4(5))}`,
    `peers=${base64(peers4(31))}`,
  );
  const probe = txtRecord(NAME, 'token=x', 'host=2001:db8::1', 'port=40000');
  const question = { name: NAME };
  const made = [
    { question, answers: [crowd], additionals: [optRecord(1232, 0, 0, COOKIE24)] },
    { question, answers: [probe, crowd, probe], additionals: [optRecord(512, 0, 0, COOKIE8)] },
    { question: { name: `${ID64}.${DOMAIN}` }, answers: [txtRecord(POINTER, 'token=x')] },
    { question, answers: [txtRecord(`other.${DOMAIN}`, 'token=y'), probe], authorities: [crowd] },
    { question, flags: RESPONSE | 0x207, additionals: [{ ...optRecord(), ttl: 1 << 24 }] },
    { flags: RESPONSE | 1, additionals: [optRecord(1232, 0, 0, COOKIE24)] },
    { flags: RESPONSE | 4 },
  ];
  return [
    ...recorded,
    ...made.map((spec): Source => {
      const name = encodeName(spec.question?.name ?? NAME, 64);
      return { bytes: buildMessage({ flags: RESPONSE, ...spec }), name };
    }),
  ];
}

function srvRecord(name: string | number[], port: number, target: number[]): RecordSpec {
  return { name, type: 33, rdata: [0, 0, 0, 0, ...u16(port), ...target] };
}

function pushCorpus(): Uint8Array[] {
  const recorded = loadVectors().filter(({ name }) => name.startsWith('push query'));
  const ip4 = [...encodeName('192.0.2.1')];
  const ip6 = [11, ...Buffer.from('2001:db8::1'), 0];
  const one = srvRecord(NAME, 8080, ip4);
  const compressed = srvRecord([1, 120, 0xc0, 12], 1, [1, 49, 0xc0, 57]);
  return [
    ...recorded.map(({ hex: text }) => hex(text)),
    buildMessage({ additionals: [one, compressed, srvRecord(POINTER, 2, ip6)] }),
    buildMessage({ answers: [one], additionals: [srvRecord(`${ID64}.a.${DOMAIN}`, 0, ip4)] }),
    buildMessage({
      additionals: Array<RecordSpec>(20)
        .fill(srvRecord(POINTER, 1, ip4))
        .with(0, one),
    }),
    buildMessage({ additionals: [optRecord(), srvRecord(NAME, 1, ip6), txtRecord(NAME, 'x')] }),
  ];
}

/** Runs `check` on every mutation; a failure tells how to get it again. */
function fuzz<T>(
  sources: readonly T[],
  bytesOf: (source: T) => Uint8Array,
  check: (bytes: Uint8Array, source: T, round: number) => void,
): void {
  const rng = new Rng(FUZZ_SEED);
  for (let round = 0; round < FUZZ_MUTATIONS; round++) {
    const source = sources[rng.below(sources.length)];
    const bytes = mutate(bytesOf(source), rng);
    try {
      check(bytes, source, round);
    } catch (error) {
      const where = `seed ${FUZZ_SEED} round ${round} ${Buffer.from(bytes).toString('hex')}`;
      throw new Error(where, { cause: error });
    }
  }
}

const one = new Arena(0x00);
const two = new Arena(0xff);

/** Reads the message amid two surroundings: the results are the same, the message is unchanged. */
function readTwice<T>(bytes: Uint8Array, round: number, read: (message: Uint8Array) => T): T {
  const results = [one, two].map((arena) => {
    const length = arena.load(bytes);
    return read(arena.bytes.subarray(arena.start, arena.start + length));
  });
  assert.deepEqual(results[0], results[1]);
  if (round % 16 === 0) {
    assert.equal(one.damage(bytes.length), undefined);
    assert.deepEqual(one.message(bytes.length), Uint8Array.from(bytes));
  }
  return results[0];
}

function assertLinear(bytes: Uint8Array, read: (message: Uint8Array) => unknown): void {
  const reads = countReads(bytes, read);
  const most = MAX_READS_PER_BYTE * bytes.length + MAX_READS_BESIDE;
  assert.ok(reads <= most, `${reads} reads of ${bytes.length} bytes`);
}

function assertAnswer(answer: Answer, bytes: Uint8Array): void {
  assert.equal(answer.id, bytes[0] * 256 + bytes[1]);
  assert.ok(answer.rcode >= 0 && answer.rcode <= 0xfff && answer.rcode % 16 === bytes[3] % 16);
  assert.equal(answer.isTruncated, (bytes[2] & 2) !== 0);
  assert.equal(answer.hasQuestion, bytes[5] === 1);
  if (answer.token !== null) {
    assert.match(answer.token, /^[\x20-\x7e]+$/);
    assert.ok(answer.token.length <= MAX_TOKEN_TEXT_BYTES);
  }
  if (answer.host !== null) assert.notEqual(isIP(answer.host), 0);
  assert.ok(answer.port >= -1 && answer.port <= 65_535);
  assert.ok(answer.peers.length <= bytes.length / 8);
  for (const { host, port } of answer.peers) {
    assert.ok(port >= 1 && port <= 65_535);
    assert.notEqual(isIP(host), 0);
  }
  const cookieBytes = answer.cookie?.length ?? 8;
  assert.ok(cookieBytes === 8 || (cookieBytes >= 16 && cookieBytes <= 40));
  assert.ok(answer.hasOpt || answer.cookie === null);
  if (answer.hasQuestion) return;
  assert.notEqual(answer.rcode, 0);
  assert.deepEqual([answer.token, answer.host, answer.port, answer.peers], [null, null, -1, []]);
}

/** What the slow parser makes of it; null when that is stricter (bytes behind the message). */
function parsedOf(bytes: Uint8Array): Parsed | null {
  try {
    return parseStrict(bytes);
  } catch (error) {
    assert.ok(error instanceof Error);
    return null;
  }
}

/** The TXT answers about the question's name. */
function recordsOf({ questions, answers }: Parsed): Uint8Array[] {
  const name = questions[0]?.name.toLowerCase();
  return answers
    .filter((each) => each.type === 16 && each.class === 1 && each.name.toLowerCase() === name)
    .map(({ rdata }) => rdata);
}

/** The original's strings of more than 31 peers, with a length byte that is too small. */
const OVERLONG = /peers=[A-Za-z0-9+/]{250,}$/;

/** The peers that a string names, as `host port`. */
function peersOf(text: string): string[] {
  const size = text.startsWith('peers=') ? 6 : 18;
  const value = text.slice(text.indexOf('=') + 1);
  const data = Buffer.from(value, 'base64');
  if (data.toString('base64') !== value) return [];
  const peers: string[] = [];
  for (let at = 0; at + size <= data.length; at += size) {
    const host = size === 6 ? data.subarray(at, at + 4).join('.') : addressText(data, at);
    const port = data.readUInt16BE(at + size - 2);
    if (port > 0) peers.push(`${host} ${port}`);
  }
  return peers;
}

/** Asserts that token and peers are what the slow parser reads; whether it could. */
function agrees(answer: Answer, bytes: Uint8Array): boolean {
  const parsed = parsedOf(bytes);
  if (parsed === null) return false;
  const records = recordsOf(parsed);
  // These only we can read; the parser fails, or by chance finds a part of one.
  if (records.some((rdata) => OVERLONG.test(Buffer.from(rdata).toString('latin1')))) return false;
  const strings = records.map((rdata) =>
    parseStrings(rdata).map((each) => Buffer.from(each).toString('latin1')),
  );
  const tokens = (strings[0] ?? []).filter((text) => text.startsWith('token='));
  const token = tokens.at(-1)?.slice(6) ?? '';
  assert.equal(answer.token, /^[\x20-\x7e]{1,200}$/.test(token) ? token : null);
  const named = strings.flat().filter((text) => /^peers6?=/.test(text));
  assert.deepEqual(
    answer.peers.map(({ host, port }) => `${host} ${port}`),
    named.flatMap(peersOf),
  );
  return true;
}

test('answers: mutations of good ones', () => {
  let good = 0;
  let compared = 0;
  fuzz(
    answerCorpus(),
    ({ bytes }) => bytes,
    (bytes, { name }, round) => {
      const answer = readTwice(bytes, round, (message) => readAnswer(message, name));
      if (round % 16 === 0) assertLinear(bytes, (message) => readAnswer(message, name));
      if (answer === null) return;
      good++;
      assertAnswer(answer, bytes);
      if (agrees(answer, bytes)) compared++;
    },
  );
  assert.ok(good > FUZZ_MUTATIONS / 20, `${good} good ones`);
  assert.ok(compared > FUZZ_MUTATIONS / 50, `${compared} compared`);
});

function assertPush(push: Push, bytes: Uint8Array, round = 0): void {
  assert.equal(push.id, bytes[0] * 256 + bytes[1]);
  assert.ok(push.services.length >= 1 && push.services.length <= MAX_PUSHED_SERVICES);
  for (const { name, peer } of push.services) {
    assert.notEqual(isIP(peer.host), 0);
    assert.ok(peer.port >= 0 && peer.port <= 65_535);
    if (round % 8 !== 0) continue;
    const wire = encodeName(`${name}.${DOMAIN}`, 64);
    assert.ok(wire.length > DOMAIN_WIRE.length && wire.length <= 255);
  }
}

test('pushes: mutations of good ones', () => {
  let good = 0;
  fuzz(
    pushCorpus(),
    (bytes) => bytes,
    (bytes, _, round) => {
      const push = readTwice(bytes, round, (message) => readPush(message, DOMAIN_WIRE));
      if (round % 16 === 0) assertLinear(bytes, (message) => readPush(message, DOMAIN_WIRE));
      if (push === null) return;
      good++;
      assertPush(push, bytes, round);
    },
  );
  assert.ok(good > FUZZ_MUTATIONS / 10, `${good} good ones`);
});

describe('messages made at random', () => {
  const seed = FUZZ_SEED;
  const ip4 = fc.ipV4();
  const ports = fc.integer({ min: 1, max: 65_535 });
  const peer4 = fc.record({ host: ip4, port: ports });
  const printable = fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map((c) => String.fromCharCode(c)),
    minLength: 1,
    maxLength: 200,
  });

  test('what a server says is what is read', () => {
    const strings = fc.array(fc.array(peer4, { maxLength: 31 }), { maxLength: 8 });
    fc.assert(
      fc.property(
        printable,
        ip4,
        ports,
        strings,
        fc.boolean(),
        (token, host, port, peers, upper) => {
          const data = [`token=${token}`, `host=${host}`, `port=${port}`];
          for (const each of peers) {
            const records = each.flatMap((peer) => [
              ...peer.host.split('.').map(Number),
              ...u16(peer.port),
            ]);
            data.push(`peers=${base64(Uint8Array.from(records))}`);
          }
          const name = upper ? NAME.toUpperCase() : NAME;
          const bytes = encode({
            type: 'response',
            id: port,
            questions: [{ type: 'TXT', name }],
            answers: [{ type: 'TXT', name, data }],
          });
          const answer = readAnswer(bytes, encodeName(NAME));
          const { peers: read, ...rest } = answer ?? { peers: [] };
          assert.deepEqual(
            read.map((peer) => [peer.host, peer.port]),
            peers.flat().map((peer) => [peer.host, peer.port]),
          );
          assert.deepEqual(rest, {
            id: port,
            rcode: 0,
            isTruncated: false,
            hasQuestion: true,
            token,
            host,
            port,
            hasOpt: false,
            cookie: null,
          });
        },
      ),
      { seed, numRuns: 500 },
    );
  });

  test('what a server pushes is what is read', () => {
    const id = fc.array(fc.stringMatching(/^[a-z0-9-]{1,30}$/), { minLength: 1, maxLength: 4 });
    const service = fc.record({ id, host: ip4, port: fc.nat(65_535) });
    fc.assert(
      fc.property(
        fc.array(service, { minLength: 1, maxLength: 20 }),
        fc.nat(65_535),
        (all, number) => {
          const additionals = all.map((each) => ({
            type: 'SRV' as const,
            name: `${each.id.join('.')}.${DOMAIN}`,
            data: { port: each.port, target: each.host },
          }));
          const push = readPush(encode({ type: 'query', id: number, additionals }), DOMAIN_WIRE);
          assert.deepEqual(push, {
            id: number,
            services: all.slice(0, MAX_PUSHED_SERVICES).map((each) => ({
              name: each.id.join('.'),
              key: nameKey(encodeName(`${each.id.join('.')}.${DOMAIN}`)),
              peer: { port: each.port, host: each.host },
            })),
          });
        },
      ),
      { seed, numRuns: 500 },
    );
  });

  test('records of any shape are read or refused', () => {
    const names = fc.constantFrom<string | number[]>(NAME, DOMAIN, POINTER, '.', [0xc0, 60], [65]);
    const rdatas = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc
        .array(fc.constantFrom('token=a', 'host=::1', 'port=9', `peers=${base64(peers4(3))}`, ''))
        .map((strings) => stringsOf(...strings)),
      fc.constant(Uint8Array.from([0, 0, 0, 0, 31, 144, ...encodeName('10.0.0.1')])),
      fc.constantFrom(Uint8Array.from(COOKIE8), Uint8Array.from(COOKIE24)),
    );
    const any = fc.record({ name: names, type: fc.constantFrom(1, 16, 33, 41), rdata: rdatas });
    const good = fc.constantFrom<RecordSpec>(
      txtRecord(NAME, 'token=a', 'port=7', `peers6=${base64(peers6(2))}`),
      srvRecord(NAME, 9, [...encodeName('10.0.0.1')]),
      srvRecord(`x.${NAME}`, 9, [3, 58, 58, 49, 0]),
    );
    const record = fc.oneof({ arbitrary: good, weight: 3 }, any);
    const records = fc.array(record, { maxLength: 4 });
    const name = encodeName(NAME);
    const specs = fc.record(
      {
        flags: fc.constantFrom(0, RESPONSE, RESPONSE | 1, RESPONSE | 0x200),
        question: fc.constantFrom({ name: NAME }, { name: NAME, type: 33 }),
        answers: records,
        authorities: records,
        additionals: records,
        trailing: fc.array(fc.nat(255), { maxLength: 3 }),
      },
      { requiredKeys: [] },
    );
    let answers = 0;
    let pushes = 0;
    fc.assert(
      fc.property(specs, (spec) => {
        const bytes = buildMessage(spec);
        const answer = readAnswer(bytes, name);
        const push = readPush(bytes, DOMAIN_WIRE);
        if (answer !== null) assertAnswer(answer, bytes);
        if (answer !== null) answers++;
        if (push !== null) assertPush(push, bytes);
        if (push !== null) pushes++;
        assert.ok(answer === null || push === null);
      }),
      { seed, numRuns: 5000 },
    );
    assert.ok(answers > 50 && pushes > 50, `${answers} answers, ${pushes} pushes`);
  });

  test('bytes of any kind are read or refused', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 600 }),
        fc.uint8Array({ maxLength: 40 }),
        (bytes, name) => {
          readAnswer(bytes, name);
          readPush(bytes, name);
          readAnswer(bytes, encodeName(NAME));
          readPush(bytes, DOMAIN_WIRE);
        },
      ),
      { seed, numRuns: 5000 },
    );
  });

  test('what the client itself sends is neither an answer nor a push', () => {
    const question = { kind: 'announce', name: encodeName(NAME), token: TOKEN, port: 1 } as const;
    for (const bytes of [writeQuestion(5, question, null), writePushAck(5)]) {
      assert.equal(readAnswer(bytes, question.name), null);
      assert.equal(readPush(bytes, DOMAIN_WIRE), null);
    }
  });
});

describe('messages made to be expensive', () => {
  for (const bytes of [1232, 65_535]) {
    test(`answers of ${bytes} bytes are read in linear time`, () => {
      const name = Uint8Array.from(WORST_NAME);
      for (const [, message] of answerWorst(bytes)) {
        assert.ok(message.length <= bytes);
        assertLinear(message, (each) => readAnswer(each, name));
      }
    });

    test(`pushes of ${bytes} bytes are read in linear time`, () => {
      for (const [, message] of pushWorst(bytes)) {
        assert.ok(message.length <= bytes);
        assertLinear(message, (each) => readPush(each, DOMAIN_WIRE));
      }
    });
  }
});
