/**
 * Seeded mutations of good messages against each part of the codec: nothing throws, every result is
 * within its bounds, nothing outside the message is written, and nothing outside it is read (two
 * arenas with different surroundings must give the same results). FUZZ_MUTATIONS and FUZZ_SEED
 * change the amount and the seed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  MAX_NAME_BYTES,
  MAX_NSID_BYTES,
  MAX_TXT_RECORDS,
  RCODE,
} from '../../codecs/dns/constants.ts';
import { DiscoveryTxt } from '../../codecs/dns/discovery-txt.ts';
import { DomainTable } from '../../codecs/dns/domains.ts';
import { guardHeader, isSendable, VERDICT } from '../../codecs/dns/guard.ts';
import { FoldedName, nameEquals, skipName } from '../../codecs/dns/name.ts';
import { NO_COOKIE, type QueryReader, questionKey } from '../../codecs/dns/query.ts';
import { errorHeader, type ReplyWriter, udpReplyLimit } from '../../codecs/dns/reply.ts';
import { decodeName } from '../../codecs/dns/text.ts';
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
  Bench,
  buildMessage,
  DOMAIN,
  mapped,
  optRecord,
  pairsOf,
  peers4,
  peers6,
  stringsOf,
  TOKEN,
  tokenBytes,
  txtRecord,
} from '../helpers/dns-messages.ts';
import { parseStrict } from '../helpers/dns-parse.ts';

const NAME = `vec-name.${DOMAIN}`;
const DOMAINS = [DOMAIN, 'a.b.c', 'b.c'];
const COOKIE8 = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
const COOKIE24 = [0, 10, 0, 24, ...Array(24).fill(1)];
const NSID = [0, 3, 0, 0];
const ID64 = 'abcdef0123456789'.repeat(4);

function corpus(): Uint8Array[] {
  const question = { name: NAME };
  const announce = txtRecord([0xc0, 12], 'subscribe=true', `token=${TOKEN}`, 'announce=8080');
  return [
    ...loadVectors().map((vector) => hex(vector.hex)),
    buildMessage({
      question,
      additionals: [announce, optRecord(1232, 0, 0x8000, [0, 10, 0, 2, 1, 2])],
    }),
    buildMessage({ question, answers: [announce, announce], additionals: [announce, optRecord()] }),
    buildMessage({ question: { name: 'test-app', type: 33 }, additionals: [optRecord(512)] }),
    buildMessage({
      question,
      additionals: [announce, optRecord(1232, 0, 0, [...COOKIE8, ...NSID])],
    }),
    buildMessage({ question, additionals: [optRecord(4096, 0, 0, [...NSID, ...COOKIE24])] }),
    buildMessage({ question, additionals: [optRecord(600, 0, 0, [...COOKIE24, ...COOKIE8])] }),
    buildMessage({
      question: { name: `${ID64}.${DOMAIN}` },
      additionals: [txtRecord([0xc0, 12], 'token')],
    }),
    buildMessage({ question: { name: 'x.a.b.c', type: 6 }, trailing: [1, 2, 3] }),
    buildMessage({
      additionals: [optRecord(), txtRecord(NAME, 'announce=1'), txtRecord([0xc0, 23], 'b')],
    }),
  ];
}

/** Runs `check` on mutations of `sources`; a failure names the seed, the round and the bytes. */
function fuzz(
  sources: Uint8Array[],
  check: (bytes: Uint8Array, rng: Rng, round: number) => void,
): void {
  const rng = new Rng(FUZZ_SEED);
  for (let round = 0; round < FUZZ_MUTATIONS; round++) {
    const bytes = mutate(sources[rng.below(sources.length)], rng);
    try {
      check(bytes, rng, round);
    } catch (error) {
      const where = `seed ${FUZZ_SEED} round ${round} ${Buffer.from(bytes).toString('hex')}`;
      throw new Error(where, { cause: error });
    }
  }
}

function snapshot(reader: QueryReader, rcode: number): number[] {
  const { id, flags, qdcount, qtype, qclass, questionEnd, foldedEnd, keyEnd, domain } = reader;
  const { udpSize, ednsVersion, ednsFlags, txtCount } = reader;
  const numbers = [
    rcode,
    id,
    flags,
    qdcount,
    qtype,
    qclass,
    questionEnd,
    foldedEnd,
    keyEnd,
    domain,
  ];
  numbers.push(
    udpSize,
    ednsVersion,
    ednsFlags,
    txtCount,
    Number(reader.isApex),
    Number(reader.isNameless),
    Number(reader.hasOpt),
  );
  for (let i = 0; i < txtCount; i++) numbers.push(reader.txtStart[i], reader.txtEnd[i]);
  if (reader.hasOpt) {
    const { cookieLength, cookieStart, wantsNsid } = reader;
    numbers.push(cookieLength, cookieLength === NO_COOKIE ? 0 : cookieStart, Number(wantsNsid));
  }
  return rcode === RCODE.NOERROR ? numbers : [rcode];
}

function assertReader(reader: QueryReader, rcode: number, start: number, length: number): void {
  assert.ok(rcode === RCODE.NOERROR || rcode === RCODE.FORMERR);
  assert.ok(
    reader.txtCount <= MAX_TXT_RECORDS && reader.domain >= -1 && reader.domain < DOMAINS.length,
  );
  assert.ok(
    reader.keyEnd >= 0 && reader.keyEnd <= reader.foldedEnd && reader.foldedEnd < MAX_NAME_BYTES,
  );
  if (rcode !== RCODE.NOERROR) return;
  if (reader.isNameless) {
    assert.deepEqual([reader.qdcount, reader.foldedEnd, reader.domain], [0, 0, -1]);
    assert.ok(reader.hasOpt && reader.cookieLength !== NO_COOKIE, 'a cookie is all there is');
  }
  assert.ok(reader.questionEnd >= start + 12 && reader.questionEnd <= start + length);
  for (let i = 0; i < reader.txtCount; i++) {
    assert.ok(reader.txtStart[i] > reader.questionEnd && reader.txtEnd[i] <= start + length);
    assert.ok(reader.txtStart[i] < reader.txtEnd[i]);
  }
  assert.notEqual(decodeName(reader.folded, 0, reader.keyEnd), undefined);
  if (!reader.hasOpt || reader.cookieLength < 0) return;
  const { cookieLength, cookieStart } = reader;
  assert.ok(cookieLength === 8 || (cookieLength >= 16 && cookieLength <= 40));
  assert.ok(cookieStart > reader.questionEnd && cookieStart + cookieLength <= start + length);
}

test('query reader', () => {
  const one = new Bench(DOMAINS, 0x00);
  const two = new Bench(DOMAINS, 0xff);
  let good = 0;
  fuzz(corpus(), (bytes, _, round) => {
    const rcode = one.read(bytes);
    assertReader(one.reader, rcode, one.arena.start, one.length);
    const first = snapshot(one.reader, rcode);
    assert.deepEqual(snapshot(two.reader, two.read(bytes)), first);
    if (rcode === RCODE.NOERROR) good++;
    if (round % 16 === 0) assert.equal(one.arena.damage(one.length), undefined);
    const { arena } = one;
    const keyEnd = questionKey(one.reader, arena.bytes, arena.start, one.length);
    if (rcode === RCODE.NOERROR) assert.equal(keyEnd, first[8]);
  });
  assert.ok(good > FUZZ_MUTATIONS / 10, `${good} good ones`);
});

test('names', () => {
  const one = new Arena(0x00);
  const two = new Arena(0xff);
  const table = new DomainTable(DOMAINS);
  const name = new FoldedName();
  const other = new FoldedName();
  fuzz(corpus(), (bytes, rng) => {
    const length = one.load(bytes);
    two.load(bytes);
    const end = one.start + length;
    const offset = one.start + rng.below(length + 1);
    const behind = name.read(one.bytes, offset, end);
    assert.equal(other.read(two.bytes, offset, end), behind);
    const skipped = skipName(one.bytes, offset, one.start, end);
    assert.equal(skipName(two.bytes, offset, one.start, end), skipped);
    for (const result of [behind, skipped])
      assert.ok(result === -1 || (result > offset && result <= end));
    if (behind >= 0) {
      assert.equal(skipped, behind);
      assert.equal(name.end, behind - offset - 1);
      assert.equal(nameEquals(one.bytes, offset, one.start, end, name.folded, 0, name.end), true);
      const domain = table.match(name);
      assert.ok(domain >= -1 && domain < 3 && name.keyEnd >= 0 && name.keyEnd <= name.end);
    }
    name.read(bytes, 12, length);
    const second = one.start + rng.below(length + 1);
    const equal = nameEquals(one.bytes, second, one.start, end, name.folded, 0, name.end);
    assert.equal(nameEquals(two.bytes, second, one.start, end, name.folded, 0, name.end), equal);
    if (equal) assert.ok(skipName(one.bytes, second, one.start, end) > 0);
  });
});

test('discovery TXT', () => {
  const one = new Arena(0x00);
  const two = new Arena(0x35);
  const first = new DiscoveryTxt();
  const second = new DiscoveryTxt();
  const sources = [
    stringsOf('subscribe=true', `token=${TOKEN}`, 'announce=8080'),
    stringsOf(`token=${TOKEN}`, 'unannounce=65535', 'subscribe'),
    stringsOf('announce=0', 'announce=99999', 'token=', 'subscribe=', 'x'.repeat(255)),
    stringsOf('', '=', 'announce', 'unannounce', 'token', 'peers=AAAA'),
  ];
  let good = 0;
  fuzz(sources, (bytes) => {
    const end = one.start + one.load(bytes);
    two.load(bytes);
    const ok = first.read(one.bytes, one.start, end);
    assert.equal(second.read(two.bytes, two.start, end), ok);
    assert.deepEqual({ ...first }, { ...second });
    for (const port of [first.announce, first.unannounce]) assert.ok(port >= -1 && port <= 65_535);
    if (first.tokenLength >= 0) {
      assert.ok(first.tokenStart > one.start && first.tokenStart + first.tokenLength <= end);
    }
    if (ok) good++;
  });
  assert.ok(good > FUZZ_MUTATIONS / 10, `${good} good ones`);
});

const token = tokenBytes();
const four = peers4(100);
const pairs = pairsOf(four);
const six = peers6(40);

/** Writes at random as responders may, sometimes in the wrong order. */
function scribble(writer: ReplyWriter, rng: Rng): void {
  for (let i = rng.below(13); i > 0; i--) {
    const ttl = rng.next();
    switch (rng.below(11)) {
      case 9:
        writer.hinfo(ttl);
        break;
      case 10:
        if (rng.below(4) === 0) writer.truncate();
        break;
      case 0:
        writer.txtProbe(ttl, token, 0, mapped('127.0.0.1'), 0, rng.below(65_536));
        break;
      case 1:
        writer.txtPeers(ttl, token, 0, pairs, rng.below(101), six, rng.below(41));
        break;
      case 2:
        writer.a(ttl, four, 6 * rng.below(100));
        break;
      case 3:
        writer.aaaa(ttl, six, 18 * rng.below(40));
        break;
      case 4:
        writer.srv4(ttl, four, 6 * rng.below(100));
        break;
      case 5:
        writer.srv6(ttl, six, 18 * rng.below(40));
        break;
      case 6:
        writer.soaAnswer();
        break;
      case 7:
        writer.nsAnswer();
        break;
      default:
        if (rng.below(4) === 0) writer.soaAuthority();
    }
  }
}

/** Options at random, as long as there may be. */
function addOptions({ options }: ReplyWriter, rng: Rng): void {
  options.clear();
  if (rng.below(2) === 0) options.bytes.fill(0xc0, options.addCookie(), options.length);
  if (rng.below(2) === 0) options.addNsid(new Uint8Array(rng.below(MAX_NSID_BYTES + 1)).fill(0x61));
}

/** Whole options, or none. */
function assertOptions(rdata: Uint8Array): void {
  let at = 0;
  while (at < rdata.length) at += 4 + rdata[at + 2] * 256 + rdata[at + 3];
  assert.equal(at, rdata.length);
}

test('guard and answers', () => {
  const bench = new Bench(DOMAINS, 0xa5);
  const { arena, reader, writer } = bench;
  let answered = 0;
  fuzz(corpus(), (bytes, rng, round) => {
    const length = arena.load(bytes);
    const verdict = guardHeader(arena.bytes, arena.start, length);
    assert.ok(verdict >= 0 && verdict <= VERDICT.NOTIMP);
    if (verdict === VERDICT.FORMERR || verdict === VERDICT.NOTIMP) {
      assert.equal(errorHeader(arena.bytes, arena.start, 1), 12);
      assert.equal(arena.damage(length), undefined);
    }
    if (verdict !== VERDICT.QUERY_OK || !isSendable(verdict)) return;
    if (reader.read(arena.bytes, arena.start, length) !== RCODE.NOERROR) return;
    const limit = rng.below(3) === 0 ? rng.below(1400) : udpReplyLimit(reader);
    addOptions(writer, rng);
    writer.begin(arena.bytes, arena.start, reader, limit);
    scribble(writer, rng);
    const end = writer.finish(rng.below(6), rng.below(2) === 0);
    assert.ok(end <= limit && (end >= 12 || limit < 12));
    const beyond = arena.message(Math.max(length, limit)).subarray(limit);
    assert.deepEqual(beyond, bytes.slice(limit));
    if (round % 4 === 0) assert.equal(arena.damage(Math.max(length, limit)), undefined);
    if (end === 0) return;
    const parsed = parseStrict(arena.message(end));
    assert.equal(parsed.id, reader.id);
    assert.equal(parsed.flags & 0x8000, 0x8000);
    for (const opt of parsed.additionals) assertOptions(opt.rdata);
    answered++;
  });
  assert.ok(answered > FUZZ_MUTATIONS / 20, `${answered} answered`);
});
