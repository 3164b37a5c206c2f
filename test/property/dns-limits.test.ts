/**
 * Well-formed queries of every kind against crowded names: no answer is longer than its limit, and
 * dns-packet 5.6.1 reads every one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OPTION } from '../../codecs/dns/constants.ts';
import { inFlight } from '../../workers/counters.ts';
import { MAX_MESSAGE_BYTES } from '../../workers/overflow.ts';
import { BUDGET_SILENT, BUDGET_TRUNCATED } from '../../workers/slab.ts';
import { FUZZ_SEED } from '../helpers/dns-bytes.ts';
import {
  type Asking,
  DOMAIN,
  decodePacket,
  HarnessClient,
  LaneHarness,
  optionOf,
  type Packet,
  peersOf,
  queryBytes,
  txtOf,
} from '../helpers/lane-harness.ts';

const LONG = `${'x'.repeat(60)}.${'y'.repeat(60)}.${'z'.repeat(60)}`;
const NSID = 'n'.repeat(128);

function crowded(): { harness: LaneHarness; one: HarnessClient } {
  const harness = new LaneHarness({ nsid: NSID, limit: 20_000 });
  const one = new HarnessClient(harness, '10.0.0.1', 1000);
  const six = new HarnessClient(harness, '2001:db8::1', 1000);
  for (const id of ['crowd', LONG]) {
    for (let port = 1; port <= 300; port++) one.announce(id, port);
    for (let port = 1; port <= 60; port++) six.announce(id, port);
  }
  one.announce('few', 1);
  return { harness, one };
}

const { harness, one } = crowded();
const cookie = optionOf(one.ask({ name: DOMAIN, cookie: new Uint8Array(8) }), OPTION.COOKIE);
const token = `token=${one.token()}`;

const queries = fc.record(
  {
    name: fc.constantFrom(
      DOMAIN,
      `crowd.${DOMAIN}`,
      `few.${DOMAIN}`,
      `${LONG}.${DOMAIN}`,
      `none.${DOMAIN}`,
      'foreign.example',
    ),
    type: fc.constantFrom('TXT', 'A', 'AAAA', 'SRV', 'SOA', 'NS', 'MX', 'ANY' as 'A'),
    edns: fc.oneof(fc.integer({ min: 1, max: 1400 }), fc.constantFrom(512, 1232, 4096, 65_535)),
    cookie: fc.constantFrom(new Uint8Array(8), cookie ?? new Uint8Array(24), new Uint8Array(24)),
    nsid: fc.boolean(),
    strings: fc.constantFrom([token], ['token=bad'], [`token=${'A'.repeat(44)}`]),
  },
  { requiredKeys: ['name', 'type'] },
);
/** Of IPv4 and UDP. */
const HEADERS = 28;

/** No record but the one with the token, that of every TXT question without a cookie. */
function assertTruncated({ name, type, cookie: sent }: Asking, packet: Packet): void {
  const isOurs = name.endsWith(DOMAIN);
  const hasToken = isOurs && type === 'TXT' && sent === undefined;
  assert.deepEqual([packet.answers?.length, packet.authorities?.length], [hasToken ? 1 : 0, 0]);
  assert.deepEqual(peersOf(packet), []);
  if (hasToken) assert.equal(txtOf(packet).get('host'), name === DOMAIN ? '10.0.0.1' : undefined);
  const isWhole = !isOurs || sent !== undefined || (hasToken && name === DOMAIN);
  assert.equal(packet.flag_tc, !isWhole);
}

const budgets = fc.oneof(
  fc.integer({ min: 12, max: 1300 }),
  fc.constantFrom(BUDGET_SILENT, BUDGET_TRUNCATED, 1984),
);

test('no answer exceeds its limit, and each can be read', () => {
  fc.assert(
    fc.property(queries, budgets, fc.boolean(), (asking, budget, tcp) => {
      const query = queryBytes(asking);
      const answer = harness.exchange(query, one.endpoint, { budget, tcp });
      assert.equal(inFlight(harness.counters()), 0);
      const hasCookie = cookie !== undefined && asking.cookie === cookie;
      const isProven = tcp || hasCookie || asking.strings?.[0] === token;
      assert.equal(harness.isProven, isProven);
      assert.equal(answer === null, !isProven && budget === BUDGET_SILENT);
      if (answer === null) return;
      const size = Math.max(asking.edns ?? 1232, 512);
      const isEdns = asking.edns ?? asking.cookie ?? asking.nsid;
      const udpLimit = isEdns === undefined || isEdns === false ? 512 : Math.min(size, 1232);
      const limit = tcp ? MAX_MESSAGE_BYTES : udpLimit;
      const most = !isProven && budget > 0 ? Math.min(limit, budget) : limit;
      assert.ok(answer.length <= most, `${answer.length} bytes of ${most}`);
      const isTruncated = !isProven && budget === BUDGET_TRUNCATED;
      if (isTruncated) assert.ok(answer.length + HEADERS <= 3 * (query.length + HEADERS));
      const packet = decodePacket(answer);
      const isLookup = asking.type === 'TXT' && packet.answers?.length === 1;
      if (isLookup) assert.equal(txtOf(packet).get('token')?.length, 44, 'the token is in it');
      const peers = peersOf(packet);
      if (isTruncated) assertTruncated(asking, packet);
      assert.equal(new Set(peers).size, peers.length);
    }),
    { numRuns: 3000, seed: FUZZ_SEED },
  );
});
