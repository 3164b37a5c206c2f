/**
 * The hand-written reader and writer against dns-packet 5.6.1: equal on every message both accept.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DecodedPacket, decode, encode, type Packet } from 'dns-packet';
import fc from 'fast-check';
import { MAX_TXT_RECORDS, TYPE } from '../../codecs/dns/constants.ts';
import { guardHeader, VERDICT } from '../../codecs/dns/guard.ts';
import { FUZZ_MUTATIONS, FUZZ_SEED, hex, loadVectors, mutate, Rng } from '../helpers/dns-bytes.ts';
import {
  Bench,
  DOMAIN,
  pairsOf,
  peers4,
  peers6,
  TOKEN,
  tokenBytes,
} from '../helpers/dns-messages.ts';

const foldAscii = (text: string): string =>
  text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/** What both sides must agree on. */
interface Meaning {
  id: number;
  flags: number;
  name: string | undefined;
  qtype: number;
  edns: (number | boolean)[];
  txt: string[][];
}

function meaningOfPacket(packet: DecodedPacket): Meaning {
  const question = packet.questions?.[0];
  const records = [...(packet.answers ?? []), ...(packet.additionals ?? [])];
  const name = question ? foldAscii(question.name) : undefined;
  const txt: string[][] = [];
  let looked = 0;
  for (const record of records) {
    if (record.type !== 'TXT' || record.class !== 'IN' || record.flush) continue;
    if (looked++ >= MAX_TXT_RECORDS || foldAscii(record.name) !== name) continue;
    txt.push((record.data as Buffer[]).map((string) => string.toString('latin1')));
  }
  const opt = (packet.additionals ?? []).find((record) => record.type === 'OPT');
  return {
    id: packet.id ?? -1,
    flags: packet.flags ?? -1,
    name,
    qtype: question ? typeNumber(question.type) : 0,
    edns:
      opt?.type === 'OPT'
        ? [true, opt.udpPayloadSize, opt.ednsVersion, opt.flags]
        : [false, 0, 0, 0],
    txt,
  };
}

function typeNumber(type: string): number {
  const unknown = /^UNKNOWN_(\d+)$/.exec(type);
  if (unknown) return Number(unknown[1]);
  return TYPE[type as keyof typeof TYPE] ?? -1;
}

function meaningOfReader(bench: Bench): Meaning {
  const { reader, arena } = bench;
  const labels: string[] = [];
  for (let at = 0; at < reader.foldedEnd; at += 1 + reader.folded[at]) {
    const label = reader.folded.slice(at + 1, at + 1 + reader.folded[at]);
    labels.push(Buffer.from(label).toString());
  }
  const txt: string[][] = [];
  for (let i = 0; i < reader.txtCount; i++) {
    const strings: string[] = [];
    let at = reader.txtStart[i];
    while (at < reader.txtEnd[i]) {
      const next = at + 1 + arena.bytes[at];
      strings.push(Buffer.from(arena.bytes.slice(at + 1, next)).toString('latin1'));
      at = next;
    }
    txt.push(strings);
  }
  return {
    id: reader.id,
    flags: reader.flags & 0x7fff,
    name: reader.qdcount === 1 ? labels.join('.') || '.' : undefined,
    qtype: reader.qtype,
    edns: [reader.hasOpt, reader.udpSize, reader.ednsVersion, reader.ednsFlags],
    txt,
  };
}

const label = fc.stringMatching(/^[A-Za-z0-9_-]{1,63}$/);
const name = fc.oneof(
  label.map((id) => `${id}.${DOMAIN}`),
  fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.')),
  fc.constant(DOMAIN),
);
const strings = fc.array(
  fc.uint8Array({ maxLength: 255 }).map((bytes) => Buffer.from(bytes)),
  { minLength: 1, maxLength: 4 },
);
const seconds = fc.nat(0xffff_ffff);

const queries = fc
  .record({
    id: fc.nat(0xffff),
    name,
    type: fc.constantFrom('A', 'NS', 'SOA', 'TXT', 'AAAA', 'SRV') as fc.Arbitrary<'A'>,
    flags: fc.nat(0xffff).map((flags) => flags & 0x07ff),
    same: fc.array(fc.record({ ttl: seconds, data: strings }), { maxLength: 3 }),
    other: fc.array(fc.record({ name, ttl: seconds, data: strings }), { maxLength: 2 }),
    isAnswer: fc.boolean(),
    opt: fc.option(
      fc.record({ size: fc.nat(0xffff), version: fc.nat(255), flags: fc.nat(0xffff) }),
    ),
  })
  .map((spec): Packet => {
    const txt = (record: { name: string; ttl: number; data: Buffer[] }) => ({
      type: 'TXT' as const,
      ...record,
    });
    const same = spec.same.map((record) => txt({ ...record, name: spec.name }));
    const additionals: Packet['additionals'] = spec.other.map(txt);
    if (!spec.isAnswer) additionals.push(...same);
    if (spec.opt) {
      additionals.push({
        type: 'OPT',
        name: '.',
        udpPayloadSize: spec.opt.size,
        extendedRcode: 0,
        ednsVersion: spec.opt.version,
        flags: spec.opt.flags,
        flag_do: false,
        options: [],
      });
    }
    return {
      type: 'query',
      id: spec.id,
      flags: spec.flags,
      questions: [{ name: spec.name, type: spec.type }],
      answers: spec.isAnswer ? same : [],
      additionals,
    };
  });

/**
 * Those queries as bytes, some with one more TXT record behind the others, whose owner is a pointer
 * to a label of the question's name or its root: dns-packet itself never compresses.
 */
const messages = fc
  .tuple(queries, fc.option(fc.nat(5)))
  .map(([packet, index]) => (index === null ? encode(packet) : withPointer(encode(packet), index)));

function withPointer(message: Buffer, index: number): Buffer {
  const labels = [12];
  for (let at = 12; message[at] !== 0; labels.push(at)) at += 1 + message[at];
  const target = labels[index % labels.length];
  const longer = Buffer.concat([
    message,
    Buffer.of(0xc0 | (target >> 8), target & 0xff, 0, TYPE.TXT, 0, 1, 0, 0, 0, 0, 0, 2, 1, 97),
  ]);
  longer.writeUInt16BE(message.readUInt16BE(10) + 1, 10);
  return longer;
}

test('queries encoded by dns-packet are read as dns-packet reads them', () => {
  const bench = new Bench();
  fc.assert(
    fc.property(messages, (message) => {
      assert.equal(guardHeader(message, 0, message.length), VERDICT.QUERY_OK);
      assert.equal(bench.read(Uint8Array.from(message)), 0);
      assert.deepEqual(meaningOfReader(bench), meaningOfPacket(decode(message)));
    }),
    { numRuns: 500, seed: FUZZ_SEED },
  );
});

/**
 * Messages where dns-packet frames or spells otherwise and no comparison is possible: it ignores
 * rdlength for the types it knows, and its names are text, in which a dot or broken UTF-8 inside a
 * label is lost.
 */
function isComparable(packet: DecodedPacket, bench: Bench): boolean {
  const records = [
    ...(packet.answers ?? []),
    ...(packet.authorities ?? []),
    ...(packet.additionals ?? []),
  ];
  const { reader } = bench;
  const isFramed = records.every(
    ({ type }) => type === 'TXT' || type === 'OPT' || `${type}`.startsWith('UNKNOWN'),
  );
  const names = [...records, ...(packet.questions ?? [])].map((record) => record.name).join('');
  const dots = [...reader.folded.subarray(0, reader.foldedEnd)].includes(0x2e);
  return isFramed && !dots && !names.includes('\ufffd') && (packet.questions?.length ?? 0) === 1;
}

test('mutated queries: whatever both accept means the same', () => {
  const rng = new Rng(FUZZ_SEED);
  const bench = new Bench();
  const corpus = loadVectors()
    .map((vector) => hex(vector.hex))
    .filter((bytes) => (bytes[2] & 0x80) === 0 && bytes[5] === 1);
  corpus.push(
    ...fc.sample(messages, { numRuns: 40, seed: FUZZ_SEED }).map((each) => Uint8Array.from(each)),
  );
  let compared = 0;
  for (let round = 0; round < FUZZ_MUTATIONS / 4; round++) {
    const message = mutate(corpus[rng.below(corpus.length)], rng);
    if (guardHeader(message, 0, message.length) !== VERDICT.QUERY_OK) continue;
    if (bench.read(message) !== 0) continue;
    let packet: DecodedPacket;
    try {
      packet = decode(Buffer.from(message));
    } catch {
      continue;
    }
    if (!isComparable(packet, bench)) continue;
    const theirs = meaningOfPacket(packet);
    const ours = meaningOfReader(bench);
    if (theirs.qtype === -1) theirs.qtype = ours.qtype;
    const where = `seed ${FUZZ_SEED} round ${round} ${Buffer.from(message).toString('hex')}`;
    assert.deepEqual(ours, theirs, where);
    compared++;
  }
  assert.ok(compared > FUZZ_MUTATIONS / 40, `${compared} comparable`);
});

test('answers: dns-packet reads what was written', () => {
  const bench = new Bench();
  const token = tokenBytes();
  const counts = {
    four: fc.nat(120),
    six: fc.nat(40),
    limit: fc.oneof(fc.integer({ min: 320, max: 3000 }), fc.constant(3000)),
  };
  const spec = fc.record({
    name: name.filter((text) => text.length < 150),
    edns: fc.boolean(),
    ttl: seconds,
    ...counts,
  });
  fc.assert(
    fc.property(spec, ({ name, edns, ttl, four, six, limit }) => {
      const additionals: Packet['additionals'] = edns ? [OPT] : [];
      bench.read(Uint8Array.from(encode({ questions: [{ type: 'TXT', name }], additionals })));
      const bytes4 = peers4(four);
      const bytes6 = peers6(six);
      const reply = bench.reply(limit, (writer) => {
        assert.equal(writer.txtPeers(ttl, token, 0, pairsOf(bytes4), four, bytes6, six), true);
      });
      const packet = decode(reply);
      assert.deepEqual([packet.type, packet.flag_tc], ['response', false]);
      assert.equal((packet.flags ?? -1) & 15, 0);
      assert.equal(packet.additionals?.length, edns ? 1 : 0);
      const [answer] = packet.answers ?? [];
      assert.ok(answer.type === 'TXT' && Array.isArray(answer.data));
      assert.deepEqual([answer.name, answer.ttl], [name, ttl]);
      const texts = answer.data.map(String);
      assert.equal(texts[0], `token=${TOKEN}`);
      assertPrefix(texts, 'peers=', bytes4);
      assertPrefix(texts, 'peers6=', bytes6);
      if (limit >= 3000 && edns)
        assert.equal(texts.length, 1 + Math.ceil(four / 31) + Math.ceil(six / 10));
    }),
    { numRuns: 300, seed: FUZZ_SEED },
  );
});

const OPT = {
  type: 'OPT' as const,
  name: '.' as const,
  udpPayloadSize: 4096,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
};

/** The strings of `key` together are a prefix of `peers`. */
function assertPrefix(texts: string[], key: string, peers: Uint8Array): void {
  const parts = texts.filter((text) => text.startsWith(key)).map((text) => text.slice(key.length));
  const bytes = Buffer.concat(parts.map((part) => Buffer.from(part, 'base64')));
  assert.deepEqual(bytes, Buffer.from(peers.slice(0, bytes.length)));
}
