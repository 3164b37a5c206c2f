import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from 'dns-packet';
import { EDNS_FLAG_DO, RCODE, TYPE } from '../../../codecs/dns/constants.ts';
import { MAX_PUSH_BYTES, writePush } from '../../../codecs/dns/push.ts';
import { errorHeader, udpReplyLimit } from '../../../codecs/dns/reply.ts';
import { encodeName } from '../../../codecs/dns/text.ts';
import { encodeZone } from '../../../codecs/dns/zone.ts';
import { Arena, hex } from '../../helpers/dns-bytes.ts';
import {
  Bench,
  DOMAIN,
  mapped,
  optRecord,
  pairsOf,
  peers4,
  peers6,
  TOKEN,
  tokenBytes,
} from '../../helpers/dns-messages.ts';
import { type Parsed, parseStrict, parseStrings } from '../../helpers/dns-parse.ts';

const NAME = `vec-name.${DOMAIN}`;
const token = tokenBytes();
const NO_PEERS = new Uint8Array();

/**
 * The answer's `peers=` and `peers6=` strings as numbers of peers, in order, after checking the
 * token.
 */
function peerStrings(parsed: Parsed): { four: number[]; six: number[] } {
  assert.equal(parsed.answers.length, 1);
  const texts = parseStrings(parsed.answers[0].rdata).map((bytes) => Buffer.from(bytes).toString());
  assert.equal(texts[0], `token=${TOKEN}`);
  const sizes = (key: string, bytes: number): number[] =>
    texts
      .filter((text) => text.startsWith(key))
      .map((text) => Buffer.from(text.slice(key.length), 'base64').length / bytes);
  return { four: sizes('peers=', 6), six: sizes('peers6=', 18) };
}

function lookup(count4: number, count6: number, limit: number, edns: boolean): Parsed {
  const bench = new Bench();
  assert.equal(bench.read({ question: { name: NAME }, additionals: edns ? [optRecord()] : [] }), 0);
  const reply = bench.reply(limit, (writer) => {
    writer.txtPeers(0, token, 0, pairsOf(peers4(count4)), count4, peers6(count6), count6);
  });
  return parseStrict(reply);
}

test('header: QR, AA as given, RD and CD copied, everything else clear', () => {
  const bench = new Bench();
  for (const [flags, expected] of [
    [0x0100, 0x8500],
    [0x0000, 0x8400],
    [0x07f0, 0x8510],
    [0x0020, 0x8400],
  ]) {
    bench.read({ flags, question: { name: NAME } });
    const parsed = parseStrict(bench.reply(512, () => {}));
    assert.equal(parsed.flags, expected, flags.toString(16));
    assert.equal(parsed.id, 4242);
    assert.deepEqual(parsed.questions, [{ name: NAME, type: TYPE.TXT, class: 1 }]);
  }
  bench.read({ question: { name: 'x.other.domain' } });
  assert.equal(parseStrict(bench.reply(512, () => {}, RCODE.REFUSED, false)).flags, 0x8105);
});

test('peers: the remainder first, full strings last, as many as there are', () => {
  const cases: [number, number[]][] = [
    [0, []],
    [1, [1]],
    [31, [31]],
    [32, [1, 31]],
    [33, [2, 31]],
    [62, [31, 31]],
    [100, [7, 31, 31, 31]],
  ];
  for (const [count, strings] of cases) {
    assert.deepEqual(peerStrings(lookup(count, 0, 1232, true)), { four: strings, six: [] });
  }
  assert.deepEqual(peerStrings(lookup(0, 23, 1232, true)), { four: [], six: [3, 10, 10] });
});

test('plain DNS of 512 bytes has one string of peers and what IPv6 fits beside it', () => {
  assert.deepEqual(peerStrings(lookup(100, 0, 512, false)).four, [31]);
  assert.deepEqual(peerStrings(lookup(100, 10, 512, false)), { four: [31], six: [5] });
  assert.deepEqual(peerStrings(lookup(100, 0, 65_535, false)).four, [7, 31, 31, 31]);
});

test('peers shrink to what fits before anything is truncated', () => {
  for (let limit = 46; limit < 700; limit++) {
    for (const edns of [false, true]) {
      const parsed = lookup(100, 5, limit, edns);
      const truncated = (parsed.flags & 0x0200) !== 0;
      assert.equal(truncated, parsed.answers.length === 0, `${limit}`);
      if (!truncated) peerStrings(parsed);
      const tokenFits = 12 + 34 + 12 + 51 + (edns ? 11 : 0) <= limit;
      assert.equal(!truncated, tokenFits, `${limit} ${edns}`);
    }
  }
});

test('the peers that are written are the first of the list', () => {
  const bench = new Bench();
  bench.read({ question: { name: NAME }, additionals: [optRecord()] });
  const reply = bench.reply(700, (writer) => {
    assert.equal(writer.txtPeers(7, token, 0, pairsOf(peers4(100)), 100, NO_PEERS, 0), true);
  });
  const [answer] = parseStrict(reply).answers;
  assert.equal(answer.ttl, 7);
  const text = parseStrings(answer.rdata)
    .slice(1)
    .map((bytes) => Buffer.from(bytes).toString().slice(6));
  const all = Buffer.concat(text.map((base64) => Buffer.from(base64, 'base64')));
  assert.deepEqual(all, Buffer.from(peers4(all.length / 6)));
  assert.ok(all.length > 60 * 6);
});

test('limits below the question give a truncated header; below a header nothing', () => {
  for (const edns of [false, true]) {
    const bench = new Bench();
    for (let limit = 0; limit < 60; limit++) {
      bench.read({ question: { name: NAME }, additionals: edns ? [optRecord()] : [] });
      const reply = bench.reply(limit, (writer) => {
        writer.txtPeers(0, token, 0, pairsOf(peers4(1)), 1, NO_PEERS, 0);
        writer.a(0, peers4(1), 0);
        writer.soaAuthority();
      });
      if (limit < 12) assert.equal(reply.length, 0);
      else
        assert.equal(parseStrict(reply).flags & 0x0200 ? 1 : parseStrict(reply).answers.length, 1);
    }
  }
});

test('probe: token, host and port', () => {
  const bench = new Bench();
  const addresses: [Uint8Array, string][] = [
    [mapped('127.0.0.1'), '127.0.0.1'],
    [peers6(2).subarray(18, 34), '2001:db8::1'],
  ];
  for (const [address, host] of addresses) {
    bench.read({ question: { name: DOMAIN } });
    const reply = bench.reply(512, (writer) => {
      assert.equal(writer.txtProbe(60, token, 0, address, 0, 45_609), true);
    });
    const [answer] = decode(reply).answers ?? [];
    assert.ok(answer.type === 'TXT');
    assert.equal(answer.name, DOMAIN);
    assert.deepEqual(`${answer.data}`, `token=${TOKEN},host=${host},port=45609`);
  }
});

test('A, AAAA and SRV: what does not fit is left out, TC only when nothing fits', () => {
  const bench = new Bench();
  for (const write of ['a', 'srv4', 'srv6', 'aaaa'] as const) {
    const records = write.endsWith('6') || write === 'aaaa' ? peers6(10) : peers4(10);
    const size = records.length / 10;
    for (let limit = 46; limit < 800; limit += 1) {
      bench.read({ question: { name: NAME, type: TYPE.SRV } });
      let written = 0;
      const reply = bench.reply(limit, (writer) => {
        for (let i = 0; i < 10; i++) if (writer[write](60, records, i * size)) written++;
        assert.equal(writer.answers, written);
      });
      const parsed = parseStrict(reply);
      assert.equal(parsed.answers.length, written);
      assert.equal((parsed.flags & 0x0200) !== 0, written === 0);
      if (limit === 799) assert.equal(written, 10);
    }
  }
});

test('SRV and AAAA as dns-packet reads them', () => {
  const bench = new Bench();
  bench.read({ question: { name: 'Single', type: TYPE.SRV } });
  const reply = bench.reply(512, (writer) => {
    writer.srv4(60, peers4(3), 12);
    writer.srv6(60, peers6(2), 18);
    writer.aaaa(60, peers6(2), 18);
    writer.a(60, peers4(3), 12);
  });
  const common = { name: 'Single', ttl: 60, class: 'IN', flush: false };
  const srv = { priority: 0, weight: 0 };
  assert.deepEqual(decode(reply).answers, [
    { ...common, type: 'SRV', data: { ...srv, port: 20_002, target: '10.0.0.2' } },
    { ...common, type: 'SRV', data: { ...srv, port: 30_001, target: '2001:db8::1' } },
    { ...common, type: 'AAAA', data: '2001:db8::1' },
    { ...common, type: 'A', data: '10.0.0.2' },
  ]);
});

test('EDNS: ours is last, DO copied, BADVERS split over header and OPT', () => {
  const bench = new Bench();
  bench.read({ question: { name: NAME }, additionals: [optRecord(4096, 1, EDNS_FLAG_DO | 1)] });
  const parsed = parseStrict(bench.reply(512, () => {}, RCODE.BADVERS, false));
  assert.equal(parsed.flags & 15, 0);
  const [opt] = parsed.additionals;
  assert.deepEqual(
    [opt.name, opt.type, opt.class, opt.ttl, opt.rdata.length],
    ['', TYPE.OPT, 1232, 0x0100_8000, 0],
  );
  bench.read({ question: { name: NAME } });
  assert.equal(parseStrict(bench.reply(512, () => {}, RCODE.BADVERS)).flags & 15, RCODE.SERVFAIL);
});

test('udpReplyLimit', () => {
  const bench = new Bench();
  const limitFor = (size?: number): number => {
    const additionals = size === undefined ? [] : [optRecord(size)];
    bench.read({ question: { name: NAME }, additionals });
    return udpReplyLimit(bench.reader);
  };
  assert.deepEqual(
    [undefined, 0, 512, 1000, 1232, 4096].map(limitFor),
    [512, 512, 512, 1000, 1232, 1232],
  );
});

test('SOA and NS: the owner is the domain, wherever the question has it', () => {
  for (const [domains, name, owner] of [
    [[DOMAIN], `a.b.${DOMAIN.toUpperCase()}`, DOMAIN.toUpperCase()],
    [[DOMAIN], DOMAIN, DOMAIN],
    [[DOMAIN], 'single', DOMAIN],
    [['b.c', 'a.b.c'], 'x.a.b.c', 'a.b.c'],
  ] as [string[], string, string][]) {
    const bench = new Bench(domains);
    bench.read({ question: { name, type: TYPE.SOA } });
    const soa = decode(
      bench.reply(512, (writer) => {
        assert.equal(writer.soaAnswer(), true);
        assert.equal(writer.nsAnswer(), true);
        assert.equal(writer.soaAuthority(), true);
        assert.equal(writer.a(0, peers4(1), 0), false, 'answers come first');
      }),
    );
    const data = { mname: `ns.${owner}`, rname: `hostmaster.${owner}`, serial: 1 };
    const [answer, ns] = soa.answers ?? [];
    assert.ok(answer.type === 'SOA' && ns.type === 'NS');
    assert.equal(answer.name, owner);
    assert.equal(answer.ttl, 3600);
    assert.deepEqual({ ...answer.data, ...data }, answer.data);
    assert.equal(ns.data, `ns.${owner}`);
    const [negative] = soa.authorities ?? [];
    assert.ok(negative.type === 'SOA');
    assert.deepEqual([negative.name, negative.ttl, negative.data.minimum], [owner, 10, 10]);
  }
});

test('zone options, also names outside the domain', () => {
  const { soa, ns } = encodeZone('a.b', { nameserver: 'x.y', hostmaster: 'me.A.B', serial: 9 });
  assert.deepEqual([soa.pointers.length, ns.pointers.length], [1, 0]);
  const apex = encodeZone('a.b', { nameserver: 'a.b' });
  assert.deepEqual(apex.ns.bytes.length, 12);
  assert.equal(encodeZone('a.b', { nameserver: 'xa.b' }).ns.pointers.length, 0);
  const inside = encodeZone('a.b', { nameserver: 'x\\001a.b' });
  assert.equal(inside.ns.pointers.length, 0, 'the same bytes, but no label boundary');
  assert.deepEqual([...inside.ns.bytes.subarray(10)], [3, 0x78, 1, 0x61, 1, 0x62, 0]);
  assert.throws(() => encodeZone('a.b', { nameserver: 'a..b' }), /label of 0 bytes/);
});

test('an SOA that does not fit is left out; as an answer it truncates', () => {
  const bench = new Bench();
  bench.read({ question: { name: NAME } });
  const negative = parseStrict(
    bench.reply(60, (writer) => assert.equal(writer.soaAuthority(), false)),
  );
  assert.deepEqual([negative.authorities.length, negative.flags & 0x0200], [0, 0]);
  bench.read({ question: { name: DOMAIN, type: TYPE.SOA } });
  const answer = parseStrict(bench.reply(60, (writer) => assert.equal(writer.soaAnswer(), false)));
  assert.deepEqual([answer.answers.length, answer.flags & 0x0200], [0, 0x0200]);
  bench.read({ question: { name: 'x.y.z' } });
  bench.reply(512, (writer) => {
    assert.deepEqual(
      [writer.soaAnswer(), writer.nsAnswer(), writer.soaAuthority()],
      [false, false, false],
    );
  });
});

test('an acknowledgement: a query without a question gets an empty response', () => {
  const bench = new Bench();
  bench.read(
    hex(
      '8bbc01000000000000000001087665632d6e616d650d646e732d646973636f76657279056c6f63616c' +
        '0000210001000000000011000000001f910331323701300130013100',
    ),
  );
  const reply = bench.reply(512, (writer) => assert.equal(writer.a(0, peers4(1), 0), false));
  assert.deepEqual(reply, Buffer.from(hex('8bbc 8500 0000 0000 0000 0000')));
});

test('errorHeader keeps id, opcode and RD, and nothing else', () => {
  const bytes = hex('7d55 7ff0 0001 0002 0003 0004 aabb');
  assert.equal(errorHeader(bytes, 0, RCODE.NOTIMP), 12);
  assert.deepEqual(bytes, hex('7d55 f904 0000 0000 0000 0000 aabb'));
});

test('push: IPv6 targets, the longest, and what has no name', () => {
  const arena = new Arena(0x5a);
  const domain = encodeName(DOMAIN);
  const key = Uint8Array.from([64, ...Array(64).fill(0x66)]);
  const push = (id: Uint8Array, address: Uint8Array): number =>
    writePush(arena.bytes, arena.start, 7, id, 0, id.length, domain, 60, 9, address, 0);
  const v6 = Uint8Array.from({ length: 16 }, () => 0xff);
  const length = push(key, v6);
  const [record] = parseStrict(arena.message(length)).additionals;
  assert.equal(record.name, `${'f'.repeat(64)}.${DOMAIN}`);
  assert.equal(
    Buffer.from(record.rdata).toString('latin1'),
    `\0\0\0\0\0\x09\x27${'ffff:'.repeat(7)}ffff\0`,
  );
  assert.equal(arena.damage(length), undefined);
  const longest = Uint8Array.from([...Array(117).fill([1, 97]).flat()]);
  assert.equal(longest.length + domain.length, 255);
  assert.equal(push(longest, v6), MAX_PUSH_BYTES);
  assert.equal(push(Uint8Array.from([...longest, 1, 97]), v6), 0);
});
