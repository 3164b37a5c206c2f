/** EDNS options: read from queries (query.ts), written into answers (edns.ts, reply.ts). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_NSID_BYTES, OPT_BYTES, RCODE, TYPE } from '../../../codecs/dns/constants.ts';
import { encodeNsid, MAX_OPTIONS_BYTES } from '../../../codecs/dns/edns.ts';
import { BAD_COOKIE, NO_COOKIE } from '../../../codecs/dns/query.ts';
import { hex } from '../../helpers/dns-bytes.ts';
import {
  Bench,
  DOMAIN,
  optRecord,
  pairsOf,
  peers4,
  tokenBytes,
} from '../../helpers/dns-messages.ts';
import { parseStrict } from '../../helpers/dns-parse.ts';

const NAME = `vec-name.${DOMAIN}`;
const question = { name: NAME };
const bench = new Bench();
const { reader, writer } = bench;

function option(code: number, length: number, fill = 0xcc): number[] {
  return [code >> 8, code & 255, length >> 8, length & 255, ...Array(length).fill(fill)];
}

function readOptions(options: number[], version = 0): number {
  return bench.read({ question, additionals: [optRecord(1232, version, 0, options)] });
}

test('cookies: 8 bytes, or 16 to 40', () => {
  for (let length = 0; length <= 60; length++) {
    assert.equal(readOptions(option(10, length)), RCODE.NOERROR);
    const isGood = length === 8 || (length >= 16 && length <= 40);
    assert.equal(reader.cookieLength, isGood ? length : BAD_COOKIE, `${length}`);
  }
});

test('the first of several cookies counts, other options are passed over', () => {
  readOptions([...option(8, 7), ...option(10, 8, 0x11), ...option(65_001, 0), ...option(10, 3)]);
  assert.equal(reader.cookieLength, 8);
  const { bytes } = bench.arena;
  assert.deepEqual(bytes.slice(reader.cookieStart, reader.cookieStart + 8), hex('11'.repeat(8)));
  assert.equal(reader.wantsNsid, false);
  readOptions([...option(10, 3), ...option(10, 8)]);
  assert.equal(reader.cookieLength, BAD_COOKIE);
});

test('NSID is asked for, whatever is in the option', () => {
  readOptions(option(3, 0));
  assert.deepEqual([reader.wantsNsid, reader.cookieLength], [true, NO_COOKIE]);
  readOptions(option(3, 5));
  assert.equal(reader.wantsNsid, true);
  readOptions([]);
  assert.deepEqual([reader.wantsNsid, reader.cookieLength], [false, NO_COOKIE]);
});

test('the options of a later version are not read; broken ones are FORMERR', () => {
  readOptions(option(10, 8));
  assert.equal(readOptions([...option(10, 3), ...option(3, 0)], 1), RCODE.NOERROR);
  assert.deepEqual([reader.wantsNsid, reader.cookieLength], [false, NO_COOKIE]);
  for (const broken of [
    [0, 10, 0],
    [0, 10, 0, 9, 1],
    [...option(10, 8), 0],
  ]) {
    assert.equal(readOptions(broken), RCODE.FORMERR);
  }
});

test('an answer has its options behind its own OPT, and room for them', () => {
  const nsid = encodeNsid('x'.repeat(MAX_NSID_BYTES));
  const ours = [...option(10, 24, 0x77), ...option(3, nsid.length, 0x78)];
  for (const [limit, kept] of [
    [1232, ours.length],
    [512, ours.length],
    [12 + 34 + OPT_BYTES + MAX_OPTIONS_BYTES, ours.length],
    [12 + 34 + OPT_BYTES + MAX_OPTIONS_BYTES - 1, 28],
    [12 + 34 + OPT_BYTES + 28, 28],
    [12 + 34 + OPT_BYTES + 27, 0],
    [12 + 34 + OPT_BYTES, 0],
  ]) {
    readOptions([]);
    writer.options.clear();
    const data = writer.options.addCookie();
    writer.options.bytes.fill(0x77, data, data + 24);
    writer.options.addNsid(nsid);
    const reply = bench.reply(limit, () => {
      writer.txtPeers(0, tokenBytes(), 0, pairsOf(peers4(200)), 200, new Uint8Array(), 0);
    });
    const [opt] = parseStrict(reply).additionals;
    assert.equal(opt.type, TYPE.OPT);
    assert.deepEqual([...opt.rdata], ours.slice(0, kept), `limit ${limit}`);
  }
  writer.options.clear();
});

test('no OPT is answered without, whatever options there are', () => {
  bench.read({ question });
  writer.options.addCookie();
  assert.equal(parseStrict(bench.reply(512, () => {})).additionals.length, 0);
  writer.options.clear();
});

test('isShort: whether anything was left out', () => {
  const write = (limit: number, count: number): boolean => {
    bench.read({ question });
    bench.reply(limit, () => {
      writer.txtPeers(0, tokenBytes(), 0, pairsOf(peers4(count)), count, new Uint8Array(), 0);
    });
    return writer.isShort;
  };
  assert.deepEqual(
    [write(512, 31), write(512, 32), write(300, 31), write(60, 0), write(20, 0), write(512, 0)],
    [false, true, true, true, true, false],
  );
});

test('HINFO for ANY, and TC for nothing', () => {
  bench.read({ question: { name: NAME, type: TYPE.ANY } });
  const [hinfo] = parseStrict(bench.reply(512, () => assert.ok(writer.hinfo(7)))).answers;
  assert.deepEqual([hinfo.type, hinfo.ttl, hinfo.name], [TYPE.HINFO, 7, NAME]);
  assert.equal(Buffer.from(hinfo.rdata).toString('latin1'), '\x07RFC8482\x00');
  bench.read({ question });
  const parsed = parseStrict(bench.reply(512, () => writer.truncate()));
  assert.deepEqual([parsed.flags, parsed.answers.length], [0x8700, 0]);
});

test('NSID text: printable ASCII, at most 128', () => {
  assert.deepEqual(encodeNsid('eu-1 a'), Uint8Array.from(Buffer.from('eu-1 a')));
  for (const bad of ['', 'x'.repeat(129), 'a\n', 'ä']) {
    assert.throws(() => encodeNsid(bad), /expected 1 to 128 printable ASCII/);
  }
});
