/** Answers as a discovery client reads them: recorded, of our server, of dns-packet, and broken. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encode, type Answer as Record } from 'dns-packet';
import {
  type Answer,
  isResponse,
  messageId,
  readAnswer,
} from '../../../codecs/dns/client-answer.ts';
import { writeQuestion } from '../../../codecs/dns/client-query.ts';
import { RCODE, TYPE } from '../../../codecs/dns/constants.ts';
import { errorHeader, type ReplyWriter } from '../../../codecs/dns/reply.ts';
import { encodeName } from '../../../codecs/dns/text.ts';
import { hex, loadVectors } from '../../helpers/dns-bytes.ts';
import {
  Bench,
  buildMessage,
  DOMAIN,
  type MessageSpec,
  mapped,
  optRecord,
  pairsOf,
  peers4,
  peers6,
  type RecordSpec,
  TOKEN,
  tokenBytes,
  txtRecord,
} from '../../helpers/dns-messages.ts';
import { parseName } from '../../helpers/dns-parse.ts';

const NAME = `test-app.${DOMAIN}`;
const WIRE = encodeName(NAME);
const POINTER = [0xc0, 12];
const RESPONSE = 0x8000;
const COOKIE = Uint8Array.from({ length: 8 }, (_, i) => i + 1);

function textOf(peers: Answer['peers'] | undefined): string[] | undefined {
  return peers?.map(({ host, port }) => `${host} ${port}`);
}

function answerOf(spec: MessageSpec, name = WIRE): Answer | null {
  return readAnswer(buildMessage({ flags: RESPONSE, question: { name: NAME }, ...spec }), name);
}

/** The answer with one TXT record of these strings. */
function answerTo(...strings: string[]): Answer | null {
  return answerOf({ answers: [txtRecord(POINTER, ...strings)] });
}

const recorded = loadVectors().map((vector) => {
  const bytes = hex(vector.hex);
  const hasQuestion = bytes[5] > 0;
  return { ...vector, bytes, asked: hasQuestion ? parseName(bytes, 12)[0] : DOMAIN };
});

describe('recorded responses', () => {
  const responses = recorded.filter(({ bytes }) => isResponse(bytes));
  const isMalformed = (each: (typeof recorded)[number]) => each.decoded.undecodable !== undefined;

  test('each that answers a TXT question is read with its meaning', () => {
    let read = 0;
    for (const each of responses) {
      if (isMalformed(each) || each.decoded.questions[0]?.type !== 'TXT') continue;
      const strings = (each.decoded.answers[0]?.data ?? []) as string[];
      const fields = new Map(
        strings.map((text) => [
          text.slice(0, text.indexOf('=')),
          text.slice(text.indexOf('=') + 1),
        ]),
      );
      const records = Buffer.from(fields.get('peers') ?? '', 'base64');
      const answer = readAnswer(each.bytes, encodeName(each.asked));
      assert.notEqual(answer, null, each.name);
      assert.equal(answer?.id, each.decoded.id);
      assert.equal(answer?.token, fields.get('token') ?? null);
      assert.equal(answer?.host, fields.get('host') ?? null);
      assert.equal(answer?.port, Number(fields.get('port') ?? -1));
      assert.deepEqual(
        textOf(answer?.peers),
        Array.from({ length: records.length / 6 }, (_, i) => {
          const record = records.subarray(6 * i, 6 * i + 6);
          return `${record.subarray(0, 4).join('.')} ${record.readUInt16BE(4)}`;
        }),
      );
      assert.deepEqual([answer?.rcode, answer?.isTruncated, answer?.hasOpt], [0, false, false]);
      read++;
    }
    assert.equal(read, 17);
  });

  test("those that the original's own client cannot read bring all their peers", () => {
    const malformed = responses.filter(isMalformed);
    assert.equal(malformed.length, 26);
    const crowds = new Set<number>();
    for (const { bytes, asked, name } of malformed) {
      const count = asked.startsWith('many.') ? 60 : Number(/^many(\d+)\./.exec(asked)?.[1]);
      const answer = readAnswer(bytes, encodeName(asked));
      assert.equal(answer?.token?.length, 44, name);
      const expected = Array.from({ length: count }, (_, i) => `10.0.0.${i + 1} ${20_000 + i}`);
      assert.deepEqual(textOf(answer?.peers)?.sort(), expected.sort(), asked);
      crowds.add(count);
    }
    assert.deepEqual([...crowds].sort(), [100, 32, 40, 41, 60]);
  });

  test('answers to other types and acknowledgements of pushes are no answers', () => {
    let refused = 0;
    for (const each of responses) {
      if (isMalformed(each) || each.decoded.questions[0]?.type === 'TXT') continue;
      assert.equal(readAnswer(each.bytes, encodeName(each.asked)), null, each.name);
      refused++;
    }
    assert.equal(refused, 6);
    for (const { bytes, asked } of recorded) {
      if (!isResponse(bytes)) assert.equal(readAnswer(bytes, encodeName(asked)), null);
    }
  });
});

describe('answers of our own server', () => {
  const bench = new Bench();

  /** Asks as the client does, answers as the server does, reads as the client does. */
  function exchange(
    limit: number,
    write: (writer: ReplyWriter) => void,
    { kind = 'lookup' as 'probe' | 'lookup', rcode = 0, edns = true } = {},
  ): Answer | null {
    const name = kind === 'probe' ? encodeName(DOMAIN) : WIRE;
    const request = edns ? { udpBytes: 1232, cookie: COOKIE } : null;
    const question = writeQuestion(501, { kind, name, token: TOKEN, port: 0 }, request);
    assert.equal(bench.read(question), 0);
    return readAnswer(bench.reply(limit, write, rcode), name);
  }

  test('a probe brings token, host and port', () => {
    const answer = exchange(
      512,
      (writer) => writer.txtProbe(0, tokenBytes(), 0, mapped('192.0.2.7'), 0, 40_000),
      { kind: 'probe', edns: false },
    );
    assert.deepEqual(answer, {
      id: 501,
      rcode: 0,
      isTruncated: false,
      hasQuestion: true,
      token: TOKEN,
      host: '192.0.2.7',
      port: 40_000,
      peers: [],
      hasOpt: false,
      cookie: null,
    });
    const six = exchange(512, (writer) => writer.txtProbe(0, tokenBytes(), 0, peers6(1), 0, 1), {
      kind: 'probe',
    });
    assert.deepEqual([six?.host, six?.port, six?.hasOpt], ['2001:db8::', 1, true]);
  });

  test('a lookup brings the peers of all strings, by UDP and by TCP', () => {
    for (const [count4, count6, limit] of [
      [0, 0, 512],
      [1, 0, 512],
      [0, 1, 512],
      [31, 0, 512],
      [33, 10, 1232],
      [100, 40, 65_535 / 8],
      [400, 80, 65_535 / 8],
    ]) {
      const answer = exchange(
        limit,
        (writer) => {
          const pairs = pairsOf(peers4(count4));
          writer.txtPeers(0, tokenBytes(), 0, pairs, count4, peers6(count6), count6);
          assert.equal(writer.isShort, false);
        },
        { edns: limit > 512 },
      );
      const expected = [
        ...Array.from({ length: count4 }, (_, i) => `10.0.${i >> 8}.${i & 255} ${20_000 + i}`),
        ...Array.from({ length: count6 }, (_, i) => {
          const host = i === 0 ? '2001:db8::' : `2001:db8::${i.toString(16)}`;
          return `${host} ${30_000 + i}`;
        }),
      ];
      assert.deepEqual(textOf(answer?.peers)?.sort(), expected.sort(), `${count4} ${count6}`);
      assert.equal(answer?.token, TOKEN);
    }
  });

  test('a cookie comes back with the half of the server', () => {
    const answer = exchange(1232, (writer) => {
      writer.options.clear();
      writer.txtPeers(0, tokenBytes(), 0, new Int32Array(0), 0, new Uint8Array(0), 0);
    });
    assert.deepEqual([answer?.hasOpt, answer?.cookie], [true, null]);
    const { options } = bench.writer;
    const at = options.addCookie();
    options.bytes.set(COOKIE, at);
    options.bytes.fill(0xdd, at + 8, at + 24);
    options.addNsid(Uint8Array.of(0x61));
    const bad = exchange(1232, () => undefined, { rcode: RCODE.BADCOOKIE });
    options.clear();
    assert.equal(bad?.rcode, RCODE.BADCOOKIE);
    assert.deepEqual(bad?.cookie, Uint8Array.from([...COOKIE, ...Array(16).fill(0xdd)]));
    assert.equal(bad?.token, null);
  });

  test('truncation, refusal and an error of the header alone are told', () => {
    const cut = exchange(512, (writer) => writer.truncate());
    assert.deepEqual([cut?.isTruncated, cut?.rcode, cut?.hasQuestion], [true, 0, true]);
    const refused = exchange(512, () => undefined, { rcode: RCODE.REFUSED });
    assert.deepEqual([refused?.isTruncated, refused?.rcode], [false, RCODE.REFUSED]);
    const question = { kind: 'lookup', name: WIRE, token: null, port: 0 } as const;
    for (const rcode of [RCODE.FORMERR, RCODE.NOTIMP]) {
      const bytes = writeQuestion(77, question, null);
      const length = errorHeader(bytes, 0, rcode);
      const answer = readAnswer(bytes.subarray(0, length), WIRE);
      assert.deepEqual([answer?.id, answer?.rcode, answer?.hasQuestion], [77, rcode, false]);
      assert.deepEqual([answer?.token, answer?.peers], [null, []]);
    }
  });

  test('the authority records of a negative answer are passed over', () => {
    const answer = exchange(512, (writer) => writer.soaAuthority(), { rcode: RCODE.NXDOMAIN });
    assert.deepEqual([answer?.rcode, answer?.token], [RCODE.NXDOMAIN, null]);
  });
});

describe('answers of others', () => {
  test('names may be written out or in other case', () => {
    const name = NAME.toUpperCase();
    const answer: Record = { type: 'TXT', name, data: ['token=abc', 'peers=CgAAAU4g'] };
    const bytes = encode({
      type: 'response',
      id: 3,
      questions: [{ type: 'TXT', name }],
      answers: [answer],
    });
    const read = readAnswer(bytes, WIRE);
    assert.deepEqual([read?.id, read?.token, textOf(read?.peers)], [3, 'abc', ['10.0.0.1 20000']]);
    assert.deepEqual(readAnswer(bytes, encodeName(name)), read);
  });

  test('labels of 64 bytes are names as others are', () => {
    const name = `${'ab'.repeat(32)}.${DOMAIN}`;
    const spec = { question: { name }, answers: [txtRecord(name, 'token=x')] };
    assert.equal(answerOf(spec, encodeName(name, 64))?.token, 'x');
  });

  test('only an answer to the very question counts', () => {
    const good = { answers: [txtRecord(POINTER, 'token=x')] };
    assert.equal(answerOf(good)?.token, 'x');
    assert.equal(answerOf(good, encodeName(`other.${DOMAIN}`)), null);
    assert.equal(answerOf(good, encodeName(DOMAIN)), null);
    assert.equal(answerOf({ ...good, flags: 0 }), null, 'a query');
    assert.equal(answerOf({ ...good, flags: RESPONSE | 0x2800 }), null, 'an update');
    assert.equal(answerOf({ ...good, question: { name: NAME, type: TYPE.SRV } }), null);
    assert.equal(answerOf({ ...good, question: { name: NAME, class: 3 } }), null);
    const bytes = buildMessage({ flags: RESPONSE, question: { name: NAME } });
    assert.notEqual(readAnswer(bytes, WIRE), null);
    bytes[5] = 2;
    assert.equal(readAnswer(Buffer.concat([bytes, bytes.subarray(12)]), WIRE), null, 'twice');
    assert.equal(readAnswer(bytes, Uint8Array.of(64)), null, 'no name');
  });

  test('without the question only an error without answers counts', () => {
    const bare = (spec: MessageSpec) =>
      readAnswer(buildMessage({ flags: RESPONSE, ...spec }), WIRE);
    assert.equal(bare({}), null);
    assert.equal(bare({ flags: RESPONSE | 0x0200 }), null);
    const error = bare({ flags: RESPONSE | RCODE.FORMERR });
    assert.deepEqual([error?.rcode, error?.hasQuestion, error?.hasOpt], [1, false, false]);
    const flags = RESPONSE | RCODE.FORMERR;
    assert.equal(bare({ flags, answers: [txtRecord(NAME, 'token=x')] }), null);
    assert.equal(bare({ flags, authorities: [txtRecord(NAME, 'token=x')] }), null);
    const opt = optRecord(1232, 0, 0, [0, 10, 0, 8, ...COOKIE]);
    const withCookie = bare({ flags, additionals: [opt, txtRecord(NAME, 'token=x')] });
    assert.deepEqual([withCookie?.cookie, withCookie?.token], [COOKIE, null]);
    const badVersion = bare({ additionals: [{ ...optRecord(), ttl: 1 << 24 }] });
    assert.equal(badVersion?.rcode, RCODE.BADVERS);
  });

  test('token, host and port are of the first TXT answer about the name, peers of all', () => {
    const answer = answerOf({
      answers: [
        { name: POINTER, type: TYPE.A, rdata: [10, 0, 0, 9] },
        txtRecord(`other.${DOMAIN}`, 'token=other', 'peers=CgAABwAH'),
        { ...txtRecord(POINTER, 'token=chaos'), class: 3 },
        txtRecord(POINTER, 'token=first', 'host=10.0.0.1', 'port=1', 'peers=CgAAAU4g'),
        txtRecord(
          NAME,
          'token=second',
          'host=10.0.0.2',
          'port=2',
          'peers=CgAAAk4h',
          'peers=CgAAA04i',
        ),
      ],
      authorities: [txtRecord(POINTER, 'peers=CgAABwAI')],
      additionals: [txtRecord(POINTER, 'peers=CgAABwAJ')],
    });
    assert.deepEqual([answer?.token, answer?.host, answer?.port], ['first', '10.0.0.1', 1]);
    const peers = ['10.0.0.1 20000', '10.0.0.2 20001', '10.0.0.3 20002'];
    assert.deepEqual(textOf(answer?.peers), peers);
  });

  test('unknown keys, flags and nonsense are ignored', () => {
    const nothing = [null, null, -1, []];
    const read = (...strings: string[]) => {
      const answer = answerTo(...strings);
      return [answer?.token, answer?.host, answer?.port, answer?.peers];
    };
    assert.deepEqual(read('token', 'host', 'port', 'peers', 'peers6', '', '=', 'x=y'), nothing);
    assert.deepEqual(read('TOKEN=x', 'Host=10.0.0.1', 'xport=1', 'peers7=AAAA'), nothing);
    assert.deepEqual(read('token=', 'host=', 'port=', 'peers=', 'peers6='), nothing);
    assert.deepEqual(read('host=example.com', 'port=65536'), nothing);
    assert.deepEqual(read('host=10.0.0.256', 'port=000001'), nothing);
    assert.deepEqual(read(`host=${'1'.repeat(240)}`, 'port=1e3'), nothing);
    assert.deepEqual(read('token=a\x7f', 'port=-1'), nothing);
    assert.deepEqual(read('token=a\x00', 'port= 1'), nothing);
    assert.deepEqual(read('token=\xe9', `token=${'x'.repeat(201)}`), nothing);
    assert.deepEqual(read('host=2001:DB8:0::1', 'port=0')[1], '2001:db8::1');
    assert.deepEqual(read('port=00000')[2], 0);
  });

  test('a token is printable text of at most 200 bytes; of equal keys the last counts', () => {
    assert.equal(answerTo(`token=${'x'.repeat(200)}`)?.token?.length, 200);
    assert.equal(answerTo('token= a~=')?.token, ' a~=');
    assert.equal(answerTo('token=a', 'token=b')?.token, 'b');
    assert.equal(answerTo('token=a', 'token=')?.token, null);
  });

  test('peers are strict base64 of whole records, without port 0', () => {
    const peersOf = (...strings: string[]) => textOf(answerTo(...strings)?.peers);
    assert.deepEqual(peersOf('peers=AAAAAB+Q'), ['0.0.0.0 8080']);
    assert.deepEqual(peersOf('peers=CgAAAQAA'), []);
    assert.deepEqual(peersOf('peers=CgAAAU4gCgAA'), ['10.0.0.1 20000'], 'a part is left behind');
    for (const text of ['CgAAAU4', 'CgAAAU4g=', 'CgAA U4g', 'CgAA-_4g', 'CgAAAU4gCg==CgAA']) {
      assert.deepEqual(peersOf(`peers=${text}`, 'peers=CgAAAk4h'), ['10.0.0.2 20001'], text);
    }
    const record = (host: string, port: number) =>
      Buffer.from([...mapped(host), port >> 8, port & 255]).toString('base64');
    assert.deepEqual(peersOf(`peers6=${record('10.0.0.1', 7)}`), ['10.0.0.1 7'], 'v4-mapped');
    assert.deepEqual(peersOf(`peers6=${record('10.0.0.1', 0)}`), []);
  });
});

describe('malformed answers', () => {
  const opt = (options: number[], version = 0) => optRecord(1232, version, 0, options);
  const withOpt = (...additionals: RecordSpec[]) => answerOf({ additionals });

  test('an OPT is the only one, an additional one, of the root, and whole', () => {
    assert.equal(withOpt(opt([]))?.hasOpt, true);
    assert.equal(withOpt(opt([]), opt([])), null);
    assert.equal(answerOf({ answers: [opt([])] }), null);
    assert.equal(answerOf({ authorities: [opt([])] }), null);
    assert.equal(withOpt({ ...opt([]), name: NAME }), null);
    for (const broken of [[0], [0, 3, 0], [0, 3, 0, 1], [0, 3, 0, 0, 0], [255, 255, 255, 255]]) {
      assert.equal(withOpt(opt(broken)), null, `${broken}`);
    }
    assert.equal(withOpt(opt([0, 3], 1))?.cookie, null, 'of a later version nothing is known');
  });

  test('a cookie has 8 bytes, or 16 to 40, and the first counts', () => {
    for (let length = 0; length <= 48; length++) {
      const isRight = length === 8 || (length >= 16 && length <= 40);
      const answer = withOpt(opt([0, 10, 0, length, ...Array(length).fill(7)]));
      assert.equal(answer?.cookie?.length, isRight ? length : undefined, `${length}`);
      assert.equal(answer === null, !isRight);
    }
    const both = [
      ...[0, 3, 0, 0],
      ...[0, 10, 0, 8, ...COOKIE],
      ...[0, 10, 0, 8, ...Array(8).fill(9)],
    ];
    assert.deepEqual(withOpt(opt(both))?.cookie, COOKIE);
  });

  test('what is read is no view of the datagram, which will be overwritten', () => {
    const bytes = Buffer.from(
      buildMessage({
        flags: RESPONSE,
        question: { name: NAME },
        answers: [txtRecord(POINTER, 'token=x')],
        additionals: [opt([0, 10, 0, 8, ...COOKIE])],
      }),
    );
    const answer = readAnswer(bytes, WIRE);
    bytes.fill(0);
    assert.deepEqual([answer?.token, answer?.cookie], ['x', COOKIE]);
  });

  test('strings fill their record, whoever owns it', () => {
    for (const rdata of [[], [5], [1, 65, 1], [255, ...Array(254).fill(65)]]) {
      for (const name of [POINTER, encodeName('x')] as number[][]) {
        assert.equal(answerOf({ answers: [{ name, type: TYPE.TXT, rdata }] }), null, `${rdata}`);
      }
    }
  });

  test('every cut of a good answer is refused, bytes behind it are ignored', () => {
    const good = buildMessage({
      flags: RESPONSE,
      question: { name: NAME },
      answers: [txtRecord(POINTER, 'token=x', 'peers=CgAAAU4g')],
      additionals: [opt([0, 10, 0, 8, ...COOKIE])],
    });
    const whole = readAnswer(good, WIRE);
    assert.equal(whole?.peers.length, 1);
    for (let length = 0; length < good.length; length++) {
      assert.equal(readAnswer(good.subarray(0, length), WIRE), null, `${length}`);
    }
    assert.deepEqual(readAnswer(Buffer.concat([good, Buffer.alloc(9, 0xff)]), WIRE), whole);
  });

  test('counts that cannot be are refused before anything is read', () => {
    for (const field of [6, 8, 10]) {
      const bytes = buildMessage({ flags: RESPONSE, question: { name: NAME } });
      bytes[field] = 0xff;
      assert.equal(readAnswer(bytes, WIRE), null);
    }
    assert.equal(readAnswer(new Uint8Array(65_536).fill(0x80), WIRE), null, 'no message');
  });

  test('of owners written out, sixteen are compared', () => {
    const others = Array<RecordSpec>(16).fill(txtRecord(`other.${DOMAIN}`, 'token=other'));
    const peers = Array<RecordSpec>(20).fill(txtRecord(POINTER, 'peers=CgAAAU4g'));
    const late = answerOf({ answers: [...others, txtRecord(NAME, 'token=late'), ...peers] });
    assert.deepEqual([late?.token, late?.peers.length], [null, 20]);
    const early = answerOf({ answers: [...others.slice(1), txtRecord(NAME, 'token=early')] });
    assert.equal(early?.token, 'early');
  });
});

test('the header alone tells the id and whether it is a response', () => {
  const bytes = new Uint8Array(12);
  bytes.set([0x12, 0x34, 0x80]);
  assert.deepEqual([messageId(bytes), isResponse(bytes)], [0x1234, true]);
  assert.deepEqual([messageId(bytes.subarray(1)), isResponse(bytes.subarray(1))], [-1, false]);
  assert.deepEqual([messageId(bytes.subarray(12)), isResponse(bytes.subarray(12))], [-1, false]);
  bytes[2] = 0x7f;
  assert.equal(isResponse(bytes), false);
});
