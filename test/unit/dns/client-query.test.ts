/** What a discovery client writes, as dns-packet, the original's decoder and our server read it. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { decode, encode } from 'dns-packet';
import {
  MAX_TOKEN_TEXT_BYTES,
  type Question,
  writePushAck,
  writeQuestion,
} from '../../../codecs/dns/client-query.ts';
import { DiscoveryTxt } from '../../../codecs/dns/discovery-txt.ts';
import { NO_COOKIE } from '../../../codecs/dns/query.ts';
import { decodeName, encodeName } from '../../../codecs/dns/text.ts';
import { hex, loadVectors, type Vector } from '../../helpers/dns-bytes.ts';
import { Bench, DOMAIN, TOKEN } from '../../helpers/dns-messages.ts';

const NAME = `test-app.${DOMAIN}`;
const ID64 = 'abcdef0123456789'.repeat(4);
const COOKIE = Uint8Array.from({ length: 40 }, (_, i) => i + 1);

const fromHere = createRequire(import.meta.url);
const fromSocket = createRequire(
  createRequire(fromHere.resolve('dns-discovery')).resolve('dns-socket'),
);

interface Decoded {
  readonly id: number;
  readonly type: string;
  readonly flags: number;
  readonly questions: { name: string; type: string; class: string }[];
  readonly answers: unknown[];
  readonly authorities: unknown[];
  readonly additionals: { name: string; type: string; ttl?: number; data?: Buffer[] }[];
}

/** The decoder inside the original, and that of today. */
const decoders: readonly (readonly [string, (bytes: Buffer) => Decoded])[] = [
  ['dns-packet 5', decode as unknown as (bytes: Buffer) => Decoded],
  ["the original's dns-packet", fromSocket('dns-packet').decode],
];

const kinds: readonly (readonly [Question['kind'], readonly string[]])[] = [
  ['probe', []],
  ['lookup', ['subscribe=true', `token=${TOKEN}`]],
  ['announce', ['subscribe=true', `token=${TOKEN}`, 'announce=8080']],
  ['unannounce', [`token=${TOKEN}`, 'unannounce=8080']],
];

function questionOf(kind: Question['kind'], more: Partial<Question> = {}): Question {
  const name = encodeName(kind === 'probe' ? DOMAIN : NAME, 64);
  return { kind, name, token: TOKEN, port: 8080, ...more };
}

function stringsOf(packet: Decoded): string[] {
  return packet.additionals
    .filter(({ type }) => type === 'TXT')
    .flatMap(({ data }) => (data ?? []).map((string) => string.toString()));
}

for (const [decoder, read] of decoders) {
  describe(`questions as ${decoder} reads them`, () => {
    for (const [kind, strings] of kinds) {
      test(`a question of the kind ${kind}`, () => {
        const packet = read(Buffer.from(writeQuestion(77, questionOf(kind), null)));
        const name = kind === 'probe' ? DOMAIN : NAME;
        assert.deepEqual([packet.id, packet.type, packet.flags], [77, 'query', 0x0100]);
        assert.deepEqual(packet.questions, [{ name, type: 'TXT', class: 'IN' }]);
        assert.deepEqual([packet.answers, packet.authorities], [[], []]);
        assert.deepEqual(stringsOf(packet), strings);
        assert.equal(packet.additionals.length, kind === 'probe' ? 0 : 1);
        for (const record of packet.additionals) {
          assert.deepEqual([record.name, record.ttl], [NAME, 0]);
        }
      });

      test(`a question of the kind ${kind} with an OPT`, () => {
        for (const length of [8, 16, 24, 40]) {
          const edns = { udpBytes: 1232, cookie: COOKIE.subarray(0, length) };
          const packet = read(Buffer.from(writeQuestion(78, questionOf(kind), edns)));
          assert.deepEqual(stringsOf(packet), strings);
          assert.equal(packet.additionals.length, kind === 'probe' ? 1 : 2);
          const opt = packet.additionals.at(-1) as unknown as Record<string, unknown>;
          assert.deepEqual([opt.name, opt.type, opt.udpPayloadSize], ['.', 'OPT', 1232]);
          assert.deepEqual([opt.extendedRcode, opt.ednsVersion, opt.flags], [0, 0, 0]);
          const options = opt.options as { code: number; data: Buffer }[];
          assert.deepEqual(
            options.map(({ code, data }) => [code, [...data]]),
            [[10, [...edns.cookie]]],
          );
        }
      });
    }
  });
}

describe('questions', () => {
  test('without a token no token is spoken of', () => {
    const stringsWithout = (kind: Question['kind']): string[] =>
      stringsOf(
        decoders[0][1](Buffer.from(writeQuestion(1, questionOf(kind, { token: null }), null))),
      );
    assert.deepEqual(stringsWithout('lookup'), ['subscribe=true']);
    assert.deepEqual(stringsWithout('announce'), ['subscribe=true', 'announce=8080']);
    assert.deepEqual(stringsWithout('unannounce'), ['unannounce=8080']);
  });

  test('every port from 0 to 65535 is written in digits, others are refused', () => {
    for (const port of [0, 1, 53, 5300, 65_535]) {
      const bytes = writeQuestion(1, questionOf('announce', { port }), null);
      assert.ok(Buffer.from(bytes).toString('latin1').endsWith(`announce=${port}`));
    }
    for (const port of [-1, 65_536, 1.5, Number.NaN]) {
      assert.throws(
        () => writeQuestion(1, questionOf('unannounce', { port }), null),
        new RangeError(`port ${port}: expected 0 to 65535`),
      );
    }
  });

  test('the longest token is written, a longer one is refused', () => {
    const longest = 'x'.repeat(MAX_TOKEN_TEXT_BYTES);
    const packet = decoders[0][1](
      Buffer.from(writeQuestion(1, questionOf('lookup', { token: longest }), null)),
    );
    assert.deepEqual(stringsOf(packet), ['subscribe=true', `token=${longest}`]);
    assert.throws(
      () => writeQuestion(1, questionOf('lookup', { token: `${longest}x` }), null),
      /a token of 201 characters: expected at most 200/,
    );
  });

  test('the record is smaller than the original writes it, by the name it points to', () => {
    const name = `${ID64}.${DOMAIN}`;
    const bytes = writeQuestion(1, questionOf('lookup', { name: encodeName(name, 64) }), null);
    const original = encode({
      type: 'query',
      questions: [{ type: 'TXT', name }],
      additionals: [{ type: 'TXT', name, data: ['subscribe=true', `token=${TOKEN}`] }],
    });
    assert.equal(original.length - bytes.length, encodeName(name, 64).length - 2);
  });

  test('our server reads each as it is meant, at names with labels of 64 bytes too', () => {
    const bench = new Bench();
    const txt = new DiscoveryTxt();
    const edns = { udpBytes: 1232, cookie: COOKIE.subarray(0, 24) };
    for (const id of ['test-app', ID64, 'a.b.c']) {
      for (const [kind] of kinds) {
        for (const each of [null, edns]) {
          const question = questionOf(kind, { name: encodeName(`${id}.${DOMAIN}`, 64) });
          assert.equal(bench.read(writeQuestion(9, question, each)), 0);
          const { reader, arena } = bench;
          assert.equal(decodeName(reader.folded, 0, reader.keyEnd), id);
          assert.equal(reader.hasOpt, each !== null);
          assert.equal(each === null ? NO_COOKIE : reader.cookieLength, each ? 24 : NO_COOKIE);
          assert.equal(reader.txtCount, kind === 'probe' ? 0 : 1);
          if (kind === 'probe') continue;
          assert.ok(txt.read(arena.bytes, reader.txtStart[0], reader.txtEnd[0]));
          const token = arena.bytes.slice(txt.tokenStart, txt.tokenStart + txt.tokenLength);
          assert.equal(Buffer.from(token).toString(), TOKEN);
          assert.equal(txt.announce, kind === 'announce' ? 8080 : -1);
          assert.equal(txt.unannounce, kind === 'unannounce' ? 8080 : -1);
          assert.equal(txt.subscribe, kind !== 'unannounce');
        }
      }
    }
  });
});

/** The question that a recorded query asks; null: none that a client of discovery asks. */
function askedBy({ decoded, name }: Vector): Question | null {
  const kind = name.split(' ')[0];
  if (kind !== 'probe' && kind !== 'lookup' && kind !== 'announce' && kind !== 'unannounce') {
    return null;
  }
  const strings = (decoded.additionals[0]?.data ?? []) as string[];
  const fields = new Map(
    strings.map((text) => [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)]),
  );
  // Made by hand, to see a bad token refused.
  if (kind === 'announce' && !fields.has('subscribe')) return null;
  return {
    kind,
    name: encodeName(decoded.questions[0].name),
    token: fields.get('token') ?? null,
    port: Number(fields.get('announce') ?? fields.get('unannounce') ?? 0),
  };
}

test('every recorded question of a client is equalled in meaning', () => {
  const counts = new Map<string, number>();
  for (const vector of loadVectors()) {
    if (vector.direction !== 'client->server' || vector.decoded.type !== 'query') continue;
    const question = askedBy(vector);
    if (question === null) continue;
    const ours = decode(Buffer.from(writeQuestion(vector.decoded.id, question, null)));
    assert.deepEqual(ours, decode(Buffer.from(hex(vector.hex))), vector.name);
    counts.set(question.kind, (counts.get(question.kind) ?? 0) + 1);
  }
  assert.deepEqual(Object.fromEntries(counts), {
    probe: 3,
    announce: 4,
    lookup: 11,
    unannounce: 1,
  });
});

test('a push is acknowledged byte for byte as recorded', () => {
  const recorded = loadVectors().filter(({ name }) => name.startsWith('push response'));
  assert.equal(recorded.length, 2);
  for (const { decoded, hex: bytes } of recorded) {
    assert.equal(Buffer.from(writePushAck(decoded.id)).toString('hex'), bytes);
  }
});
