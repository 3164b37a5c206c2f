/**
 * BIND's dig and Knot's kdig as clients: what a person types to look at the server, by UDP and by
 * TCP, with lanes inline and in threads.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { encodeNsid } from '../../codecs/dns/edns.ts';
import { type TestServer, testServer } from '../helpers/appliance.ts';
import { DIGS, dig } from '../helpers/dig.ts';
import { frozenServer } from '../helpers/frozen-server.ts';
import { DOMAIN } from '../helpers/lane-harness.ts';
import { settled } from '../helpers/settled.ts';
import { UdpAsker } from '../helpers/udp-asker.ts';

const TIMEOUT_MS = 60_000;
const APP = `app.${DOMAIN}`;
const NSID = 'node-7';

/** Asks the server of a test; `ask.short` gives the data alone. */
interface Ask {
  (...args: string[]): Promise<string>;
  short(...args: string[]): Promise<string>;
}

function asker(tool: string, port: number, ...flags: string[]): Ask {
  const ask = (...args: string[]) => dig(tool, port, ...args, ...flags);
  const short = async (...args: string[]) => (await ask(...args, '+short')).trim();
  return Object.assign(ask, { short });
}

type Body = (ask: Ask, server: TestServer) => Promise<void>;

const types: Body = async (ask) => {
  assert.equal(await ask.short(APP, 'A'), '127.0.0.1');
  assert.equal(await ask.short(APP, 'A', '+noedns'), '127.0.0.1');
  assert.equal(await ask.short(APP, 'AAAA'), '');
  assert.equal(await ask.short(APP, 'SRV'), '0 0 8080 127.0.0.1.');
  const asReadme = await ask.short('app', 'SRV');
  assert.equal(asReadme, '0 0 8080 127.0.0.1.', 'as the README of the original has it');
  assert.match(await ask.short(APP, 'TXT'), /^"token=.{44}" "peers=fwAAAR\+Q"$/);
  assert.match(await ask.short(DOMAIN, 'SOA'), /^ns\.dns-discovery\.local\. hostmaster/);
  assert.equal(await ask.short(DOMAIN, 'NS'), 'ns.dns-discovery.local.');
};

const statusAndEdns: Body = async (ask) => {
  assert.match(await ask('x.example.com', 'A'), /status: REFUSED/);
  const empty = await ask(`x.${DOMAIN}`, 'MX');
  assert.match(empty, /status: NOERROR/);
  assert.match(empty, /flags: qr aa/i);
  assert.match(empty, /SOA\s+ns\.dns-discovery\.local/);
  assert.match(await ask(`x.${DOMAIN}`, 'TXT', '+edns=0'), /1232/);
};

/** RFC 8482. */
const any: Body = async (ask) => {
  for (const name of [DOMAIN, APP]) {
    const answer = await ask(name, 'ANY');
    assert.match(answer, /ANSWER: 1\b/);
    assert.match(answer, /IN\s+HINFO\s+"RFC8482" ""/);
  }
};

const nsid: Body = async (ask) => {
  assert.match(await ask(APP, 'A', '+nsid'), /NSID: .*"node-7"/);
  assert.doesNotMatch(await ask(APP, 'A'), /NSID/);
};

/** RFC 7873: the cookie of the first answer proves the second query. */
const cookie: Body = async (ask, server) => {
  const first = await ask(APP, 'A', '+cookie');
  const given = /COOKIE: ([0-9a-f]{48})\b/i.exec(first)?.[1];
  assert.ok(given, first);
  const before = server.counters().cookiesValid;
  const second = await ask(APP, 'A', `+cookie=${given}`);
  assert.match(second, new RegExp(`COOKIE: ${given.slice(0, 16)}`, 'i'));
  await settled(server);
  assert.equal(server.counters().cookiesValid, before + 1);
};

const BODIES: readonly (readonly [string, Body])[] = [
  ['A, AAAA, SRV, TXT, SOA and NS', types],
  ['status, flags and EDNS', statusAndEdns],
  ['ANY', any],
  ['NSID', nsid],
  ['a cookie, and the query with it', cookie],
];

/** Many services by UDP, all of them by TCP. */
async function crowd(t: TestContext, tool: string, server: TestServer): Promise<void> {
  const udp = await UdpAsker.open(t, server.port);
  await udp.announceAll(
    'crowd',
    Array.from({ length: 100 }, (_, i) => 1000 + i),
  );
  const count = async (...flags: string[]): Promise<number> => {
    const lines = await asker(tool, server.port, ...flags).short(`crowd.${DOMAIN}`, 'SRV');
    return new Set(lines.split('\n')).size;
  };
  assert.equal(await count(), 10);
  assert.equal(await count('+noedns'), 10, 'ten fit 512 bytes too');
  assert.equal(await count('+tcp'), 100);
}

/** Asks until the network of this machine has no replies left. */
async function useUp(t: TestContext, server: TestServer, replies: number): Promise<void> {
  const udp = await UdpAsker.open(t, server.port);
  for (let i = 0; i < replies; i++) await udp.ask({ name: DOMAIN });
}

/** What a person sees whose network is over its budget: an answer all the same. */
async function overBudget(t: TestContext, tool: string, workers: number): Promise<void> {
  const replies = 4;
  const truncating = await frozenServer(t, replies, { workers });
  await useUp(t, truncating, replies);
  const byTcp = await asker(tool, truncating.port)(APP, 'SRV', '+nocookie');
  assert.match(byTcp, /trunc/i, 'it says so');
  assert.match(byTcp, /status: NOERROR/);
  assert.match(byTcp, /\(TCP\)/);
  await settled(truncating);
  assert.equal(truncating.counters().truncatedReplies, 1);

  const cooking = await frozenServer(t, replies, { workers });
  await useUp(t, cooking, replies);
  const byCookie = await asker(tool, cooking.port)(APP, 'SRV', '+cookie');
  assert.match(byCookie, /BADCOOKIE/, 'it says so');
  assert.match(byCookie, /status: NOERROR/);
  assert.match(byCookie, /\(UDP\)/);
  await settled(cooking);
  assert.equal(cooking.counters().cookiesValid, 1);
}

for (const { tool, skip } of DIGS) {
  for (const workers of [0, 1]) {
    test(`${tool}, ${workers} workers`, { skip, timeout: TIMEOUT_MS }, async (t) => {
      const server = await testServer(t, { workers, ttlSeconds: 30, nsid: encodeNsid(NSID) });
      const udp = await UdpAsker.open(t, server.port);
      await udp.announceAll('app', [8080]);
      for (const transport of ['+notcp', '+tcp']) {
        for (const [title, body] of BODIES) {
          const ask = asker(tool, server.port, transport);
          await t.test(`${title} ${transport}`, () => body(ask, server));
        }
      }
      await t.test('a crowd', (inner) => crowd(inner, tool, server));
      await t.test('over the budget', (inner) => overBudget(inner, tool, workers));
      await settled(server);
    });

    test(`${tool} over IPv6, ${workers} workers`, { skip, timeout: TIMEOUT_MS }, async (t) => {
      const server = await testServer(t, { workers }, '::1');
      const udp = await UdpAsker.open(t, server.port, { host: '::1', from: '::1' });
      await udp.announceAll('app', [8080]);
      for (const transport of ['+notcp', '+tcp']) {
        const ask = asker(tool, server.port, '@::1', transport);
        assert.equal(await ask.short(APP, 'AAAA'), '::1');
        assert.equal(await ask.short(APP, 'A'), '');
        assert.equal((await ask.short(APP, 'SRV')).replaceAll('\\', ''), '0 0 8080 ::1.');
      }
    });
  }
}
