/**
 * RFC 8906 (BCP 231), section 8: the queries every server must answer, and how. One row per check
 * of the RFC, with the dig command it gives (ours where it gives none), through a whole lane, by
 * UDP and by TCP.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EDNS_FLAG_DO, RCODE, TYPE } from '../../codecs/dns/constants.ts';
import { inFlight } from '../../workers/counters.ts';
import { buildMessage, DOMAIN, optRecord } from '../helpers/dns-messages.ts';
import { type Parsed, parseStrict } from '../helpers/dns-parse.ts';
import { LaneHarness } from '../helpers/lane-harness.ts';

const QR = 0x8000;
const AA = 0x0400;
const TC = 0x0200;
const RD = 0x0100;
const RA = 0x0080;
const Z = 0x0040;
const AD = 0x0020;
const CD = 0x0010;
const OPCODE = 0x7800;
const OPCODE_15 = 0x7800;
const DNSKEY = 48;
const UNKNOWN_TYPE = 1000;
const UNKNOWN_OPTION = [0, 100, 0, 0];
const UNKNOWN_FLAG = 0x40;
const COOKIE = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
const NSID = [0, 3, 0, 0];
const EXPIRE = [0, 9, 0, 0];
const SUBNET = [0, 8, 0, 4, 0, 1, 0, 0];

interface Edns {
  readonly version?: number;
  readonly size?: number;
  readonly flags?: number;
  readonly options?: number[];
}

interface Check {
  readonly section: string;
  readonly dig: string;
  readonly flags?: number;
  readonly type?: number;
  /** A header and nothing else. */
  readonly headerOnly?: boolean;
  readonly edns?: Edns;
  readonly tcp?: boolean;
  readonly expect: Expected;
}

interface Expected {
  readonly rcode: number;
  /** The zone's SOA in the answer section; else that section is empty. */
  readonly soa: boolean;
  readonly aa: boolean;
  /** Flags copied from the query: RD always (RFC 1035), CD (RFC 4035). */
  readonly copied?: number;
  /** Options that the answer has, by code. */
  readonly options?: number[];
}

const GOOD: Expected = { rcode: RCODE.NOERROR, soa: true, aa: true };
const NODATA: Expected = { ...GOOD, soa: false };
const BADVERS: Expected = { rcode: RCODE.BADVERS, soa: false, aa: false };

/** Sections 8.1: basic DNS. */
const BASIC: readonly Check[] = [
  { section: '8.1.1 server for the zone', dig: '+noedns +noad +norec soa', expect: GOOD },
  {
    section: '8.1.2 unknown types',
    dig: '+noedns +noad +norec type1000',
    type: UNKNOWN_TYPE,
    expect: NODATA,
  },
  {
    section: '8.1.3.1 CD=1',
    dig: '+noedns +noad +norec +cd soa',
    flags: CD,
    expect: { ...GOOD, copied: CD },
  },
  { section: '8.1.3.2 AD=1', dig: '+noedns +norec +ad soa', flags: AD, expect: GOOD },
  {
    section: '8.1.3.3 reserved bit',
    dig: '+noedns +noad +norec +zflag soa',
    flags: Z,
    expect: GOOD,
  },
  {
    section: '8.1.3.4 RD=1',
    dig: '+noedns +noad +rec soa',
    flags: RD,
    expect: { ...GOOD, copied: RD },
  },
  { section: 'AA=1, which means nothing', dig: '+aaflag soa', flags: AA, expect: GOOD },
  { section: 'TC=1, likewise', dig: '+tcflag soa', flags: TC, expect: GOOD },
  { section: 'RA=1, likewise', dig: '+raflag soa', flags: RA, expect: GOOD },
  {
    section: '8.1.4 unknown opcodes',
    dig: '+noedns +noad +opcode=15 +norec +header-only',
    flags: OPCODE_15,
    headerOnly: true,
    expect: { rcode: RCODE.NOTIMP, soa: false, aa: false },
  },
  {
    section: 'an unknown opcode and every flag',
    dig: '+opcode=15 +header-only +tcflag +rec +raflag +cd +ad +aaflag +zflag',
    flags: OPCODE_15 | AA | TC | RD | RA | Z | AD | CD,
    headerOnly: true,
    expect: { rcode: RCODE.NOTIMP, soa: false, aa: false, copied: RD },
  },
  { section: '8.1.5 TCP', dig: '+noedns +noad +norec +tcp soa', tcp: true, expect: GOOD },
];

/** Sections 8.2: extended DNS. */
const EXTENDED: readonly Check[] = [
  {
    section: '8.2.1 minimal EDNS',
    dig: '+nocookie +edns=0 +noad +norec soa',
    edns: {},
    expect: GOOD,
  },
  {
    section: '8.2.2 version negotiation',
    dig: '+nocookie +edns=1 +noednsneg +noad +norec soa',
    edns: { version: 1 },
    expect: BADVERS,
  },
  {
    section: '8.2.3 unknown options',
    dig: '+nocookie +edns=0 +noad +norec +ednsopt=100 soa',
    edns: { options: UNKNOWN_OPTION },
    expect: GOOD,
  },
  {
    section: '8.2.4 unknown flags',
    dig: '+nocookie +edns=0 +noad +norec +ednsflags=0x40 soa',
    edns: { flags: UNKNOWN_FLAG },
    expect: GOOD,
  },
  {
    section: '8.2.5 version negotiation with unknown flags',
    dig: '+nocookie +edns=1 +noednsneg +noad +norec +ednsflags=0x40 soa',
    edns: { version: 1, flags: UNKNOWN_FLAG },
    expect: BADVERS,
  },
  {
    section: '8.2.6 version negotiation with unknown options',
    dig: '+nocookie +edns=1 +noednsneg +noad +norec +ednsopt=100 soa',
    edns: { version: 1, options: UNKNOWN_OPTION },
    expect: BADVERS,
  },
  {
    section: 'version negotiation with unknown options and flags',
    dig: '+nocookie +edns=1 +noednsneg +noad +norec +ednsopt=100 +ednsflags=0x40 soa',
    edns: { version: 1, flags: UNKNOWN_FLAG, options: UNKNOWN_OPTION },
    expect: BADVERS,
  },
  {
    section: 'version negotiation with options that look broken to version 0',
    dig: '+nocookie +edns=255 +noednsneg soa',
    edns: { version: 255, options: [1, 2, 3] },
    expect: BADVERS,
  },
  {
    section: '8.2.7 truncated responses',
    dig: '+norec +dnssec +bufsize=512 +ignore dnskey',
    type: DNSKEY,
    edns: { size: 512, flags: EDNS_FLAG_DO },
    expect: NODATA,
  },
  {
    section: '8.2.8 DO=1',
    dig: '+nocookie +edns=0 +noad +norec +dnssec soa',
    edns: { flags: EDNS_FLAG_DO },
    expect: GOOD,
  },
  {
    section: '8.2.9 version negotiation with DO=1',
    dig: '+nocookie +edns=1 +noednsneg +noad +norec +dnssec soa',
    edns: { version: 1, flags: EDNS_FLAG_DO },
    expect: BADVERS,
  },
  {
    section: '8.2.10 several defined options',
    dig: '+edns=0 +noad +norec +cookie +nsid +expire +subnet=0.0.0.0/0 soa',
    edns: { options: [...COOKIE, ...NSID, ...EXPIRE, ...SUBNET] },
    expect: { ...GOOD, options: [10, 3] },
  },
  { section: 'EDNS over TCP', dig: '+edns=0 +tcp soa', edns: {}, tcp: true, expect: GOOD },
  {
    section: 'EDNS over TCP, several options',
    dig: '+edns=0 +cookie +nsid +tcp soa',
    edns: { options: [...COOKIE, ...NSID] },
    tcp: true,
    expect: { ...GOOD, options: [10, 3] },
  },
  {
    section: 'a UDP size below 512 means 512',
    dig: '+edns=0 +bufsize=0 soa',
    edns: { size: 0 },
    expect: GOOD,
  },
];

function request({ flags = 0, type = TYPE.SOA, headerOnly, edns }: Check): Uint8Array {
  if (headerOnly) return buildMessage({ flags });
  const additionals =
    edns === undefined
      ? []
      : [optRecord(edns.size ?? 1232, edns.version, edns.flags, edns.options)];
  return buildMessage({ flags, question: { name: DOMAIN, type }, additionals });
}

/** The codes of the options in an OPT's rdata. */
function optionCodes(rdata: Uint8Array): number[] {
  const codes: number[] = [];
  for (let at = 0; at < rdata.length; at += 4 + rdata[at + 2] * 256 + rdata[at + 3]) {
    codes.push(rdata[at] * 256 + rdata[at + 1]);
  }
  return codes;
}

function assertOpt({ additionals }: Parsed, { edns, expect }: Check): number {
  if (edns === undefined) {
    assert.deepEqual(additionals, [], 'no OPT when the query had none');
    return 0;
  }
  const [opt] = additionals;
  assert.deepEqual([additionals.length, opt.type, opt.name], [1, TYPE.OPT, '']);
  assert.equal(opt.class, 1232, 'our UDP size');
  assert.equal((opt.ttl >>> 16) & 0xff, 0, 'version 0');
  assert.equal(opt.ttl & 0xffff, (edns.flags ?? 0) & EDNS_FLAG_DO, 'DO and no other flag');
  assert.deepEqual(optionCodes(opt.rdata), expect.options ?? []);
  return opt.ttl >>> 24;
}

function assertAnswer(answer: Uint8Array, check: Check): void {
  const { expect, flags = 0 } = check;
  const parsed = parseStrict(answer);
  const extended = assertOpt(parsed, check);
  assert.equal(parsed.id, 4242);
  assert.equal((extended << 4) | (parsed.flags & 15), expect.rcode, 'rcode');
  const wanted = QR | (flags & OPCODE) | (expect.aa ? AA : 0) | (expect.copied ?? 0);
  assert.equal((parsed.flags & 0xfff0).toString(16), wanted.toString(16), 'header flags');
  const question = { name: DOMAIN, type: check.type ?? TYPE.SOA, class: 1 };
  assert.deepEqual(parsed.questions, check.headerOnly ? [] : [question]);
  const types = parsed.answers.map((record) => record.type);
  assert.deepEqual(types, expect.soa ? [TYPE.SOA] : []);
  for (const { type, name } of [...parsed.answers, ...parsed.authorities]) {
    assert.deepEqual([type, name], [TYPE.SOA, DOMAIN]);
  }
}

for (const [title, checks] of [
  ['RFC 8906 8.1: basic DNS', BASIC],
  ['RFC 8906 8.2: extended DNS', EXTENDED],
] as const) {
  describe(title, () => {
    const harness = new LaneHarness({ nsid: 'conformance' });
    for (const check of checks) {
      // Every check holds over either transport; the RFC's own is the first.
      for (const tcp of [check.tcp ?? false, !(check.tcp ?? false)]) {
        test(`${check.section}: dig ${check.dig}, ${tcp ? 'TCP' : 'UDP'}`, () => {
          const from = { address: '192.0.2.1', port: 5353 };
          const answer = harness.exchange(request(check), from, { tcp });
          assert.ok(answer, 'no answer');
          assertAnswer(answer, check);
          assert.equal(inFlight(harness.counters()), 0);
        });
      }
    }
  });
}

test('8.2.7: an answer that does not fit has TC, its question and its OPT', () => {
  const harness = new LaneHarness();
  const from = { address: '192.0.2.1', port: 5353 };
  // A question so long that its SOA does not fit beside the largest OPT there is.
  const name = `${'x'.repeat(60)}.${'y'.repeat(60)}.${'z'.repeat(60)}.${DOMAIN}`;
  const query = buildMessage({ question: { name }, additionals: [optRecord(512)] });
  const answer = harness.exchange(query, from, { budget: 260 });
  assert.ok(answer && answer.length <= 260);
  const parsed = parseStrict(answer);
  assert.equal(parsed.flags & TC, TC);
  assert.deepEqual([parsed.questions.length, parsed.additionals[0]?.type], [1, TYPE.OPT]);
  const whole = harness.exchange(query, from, { tcp: true });
  assert.ok(whole);
  assert.deepEqual([parseStrict(whole).flags & TC, parseStrict(whole).answers.length], [0, 1]);
});
