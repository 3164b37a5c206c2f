/**
 * RFC 8906 (BCP 231), section 8: its commands, run by BIND's dig at a live server, and what the RFC
 * expects dig to print. By UDP, then the same by TCP; lanes inline and in a thread.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeNsid } from '../../codecs/dns/edns.ts';
import { testServer } from '../helpers/appliance.ts';
import { DIGS, dig } from '../helpers/dig.ts';
import { DOMAIN } from '../helpers/lane-harness.ts';
import { settled } from '../helpers/settled.ts';

interface Check {
  readonly section: string;
  /** The command's flags, as the RFC has them. */
  readonly flags: string;
  /** What is asked; null: nothing, the command sends a header only. */
  readonly type: string | null;
  readonly status: string;
  readonly opcode?: string;
  readonly soa: boolean;
  /** Header flags beside qr, exactly these and in dig's order. */
  readonly header: string;
  /** Flags in the OPT; undefined: no OPT. */
  readonly edns?: string;
  /** More that is in the output. */
  readonly options?: readonly RegExp[];
}

const GOOD = { type: 'soa', status: 'NOERROR', soa: true, header: 'aa' } as const;
const BADVERS = { type: 'soa', status: 'BADVERS', soa: false, header: '', edns: '' } as const;
const VERSION_1 = '+nocookie +edns=1 +noednsneg +noad +norec';

const CHECKS: readonly Check[] = [
  { ...GOOD, section: '8.1.1', flags: '+noedns +noad +norec' },
  { ...GOOD, section: '8.1.2', flags: '+noedns +noad +norec', type: 'type1000', soa: false },
  { ...GOOD, section: '8.1.3.1', flags: '+noedns +noad +norec +cd', header: 'aa cd' },
  { ...GOOD, section: '8.1.3.2', flags: '+noedns +norec +ad' },
  { ...GOOD, section: '8.1.3.3', flags: '+noedns +noad +norec +zflag' },
  { ...GOOD, section: '8.1.3.4', flags: '+noedns +noad +rec', header: 'aa rd' },
  {
    section: '8.1.4',
    flags: '+noedns +noad +opcode=15 +norec +header-only',
    type: null,
    status: 'NOTIMP',
    opcode: 'RESERVED15',
    soa: false,
    header: '',
  },
  { ...GOOD, section: '8.1.5', flags: '+noedns +noad +norec +tcp' },
  { ...GOOD, section: '8.2.1', flags: '+nocookie +edns=0 +noad +norec', edns: '' },
  { ...BADVERS, section: '8.2.2', flags: VERSION_1 },
  { ...GOOD, section: '8.2.3', flags: '+nocookie +edns=0 +noad +norec +ednsopt=100', edns: '' },
  { ...GOOD, section: '8.2.4', flags: '+nocookie +edns=0 +noad +norec +ednsflags=0x40', edns: '' },
  { ...BADVERS, section: '8.2.5', flags: `${VERSION_1} +ednsflags=0x40` },
  { ...BADVERS, section: '8.2.6', flags: `${VERSION_1} +ednsopt=100` },
  {
    ...GOOD,
    section: '8.2.7',
    flags: '+norec +dnssec +bufsize=512 +ignore',
    type: 'dnskey',
    soa: false,
    edns: 'do',
  },
  { ...GOOD, section: '8.2.8', flags: '+nocookie +edns=0 +noad +norec +dnssec', edns: 'do' },
  { ...BADVERS, section: '8.2.9', flags: `${VERSION_1} +dnssec`, edns: 'do' },
  {
    ...GOOD,
    section: '8.2.10',
    flags: '+edns=0 +noad +norec +cookie +nsid +expire +subnet=0.0.0.0/0',
    edns: '',
    options: [/^; COOKIE: [0-9a-f]{48} \(good\)$/m, /^; NSID: .*\("conformance"\)$/m],
  },
];

function assertOutput(output: string, check: Check): void {
  const { status, opcode = 'QUERY', soa, header, edns, options = [] } = check;
  assert.match(output, new RegExp(`opcode: ${opcode}, status: ${status},`), output);
  // No other flag, and no MBZ behind them.
  const flags = header === '' ? 'qr' : `qr ${header}`;
  assert.match(output, new RegExp(`^;; flags: ${flags};( QUERY|$)`, 'm'), output);
  const answers = Number(/ANSWER: (\d+)/.exec(output)?.[1] ?? 0);
  assert.equal(answers, soa ? 1 : 0, output);
  assert.equal(/^dns-discovery\.local\.\s+\d+\s+IN\s+SOA\s/m.test(answerSection(output)), soa);
  if (edns === undefined) {
    assert.doesNotMatch(output, /EDNS/, output);
  } else {
    const words = edns === '' ? '' : ` ${edns}`;
    assert.match(output, new RegExp(`^; EDNS: version: 0, flags:${words}; udp: 1232$`, 'm'));
  }
  assert.doesNotMatch(output, /OPT=100|EXPIRE|CLIENT-SUBNET/, output);
  for (const option of options) assert.match(output, option);
  assert.doesNotMatch(output, /malformed|extra byte/i, output);
}

function answerSection(output: string): string {
  return /^;; ANSWER SECTION:\n([\s\S]*?)\n\n/m.exec(output)?.[1] ?? '';
}

const [{ skip }] = DIGS;

for (const workers of [0, 1]) {
  test(`RFC 8906 section 8 by dig, ${workers} workers`, { skip, timeout: 60_000 }, async (t) => {
    const server = await testServer(t, { workers, nsid: encodeNsid('conformance') });
    for (const check of CHECKS) {
      for (const transport of [[], ['+tcp']]) {
        const question = check.type === null ? [] : [check.type, DOMAIN];
        const args = [...check.flags.split(' '), ...question, ...transport];
        await t.test(`${check.section}: dig ${args.join(' ')}`, async () => {
          assertOutput(await dig('dig', server.port, ...args), check);
        });
      }
    }
    await settled(server);
  });
}
