/**
 * The whole way of a message without sockets: admission, lane, stores, tokens, cookies, pushes, by
 * UDP with and without a budget, and by TCP. Mutated messages never throw, keep the counters
 * balanced and the answers within their bounds, and every answer can be read.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OPTION } from '../../codecs/dns/constants.ts';
import { inFlight } from '../../workers/counters.ts';
import { MAX_MESSAGE_BYTES } from '../../workers/overflow.ts';
import { BUDGET_SILENT, BUDGET_TRUNCATED } from '../../workers/slab.ts';
import { FUZZ_MUTATIONS, FUZZ_SEED, loadVectors, mutate, Rng } from '../helpers/dns-bytes.ts';
import { type Parsed, parseStrict } from '../helpers/dns-parse.ts';
import {
  DOMAIN,
  decodePacket,
  HarnessClient,
  LaneHarness,
  optionOf,
  peersOf,
  queryBytes,
  type Transfer,
} from '../helpers/lane-harness.ts';

const MAX_UDP_ANSWER_BYTES = 1232;
const CLIENT_COOKIE = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]);
const KINDS = [
  'announces',
  'lookups',
  'formatErrors',
  'refused',
  'badTokens',
  'cookiesValid',
  'badCookies',
  'dropRateLimited',
  'limitedReplies',
  'truncatedReplies',
] as const;
/** What each kind of answer occurs at least: far below its share, so that no seed misses it. */
const LEAST_OF_A_KIND = Math.min(1000, Math.floor(FUZZ_MUTATIONS / 5000));

/** Of IPv6 and UDP: the clients are of both families. */
const HEADERS = 48;

type Truncated = Pick<Parsed, 'answers' | 'authorities'> & { readonly length: number };

/** Queries of every kind, with tokens that hold for the clients. */
function corpus(clients: readonly HarnessClient[]): Uint8Array[] {
  const recorded = loadVectors().map((vector) => Uint8Array.from(Buffer.from(vector.hex, 'hex')));
  const tokens = clients.flatMap((client) => {
    const strings = [`token=${client.token()}`, 'subscribe=true', 'announce=80', 'unannounce=81'];
    return ['app', 'a.b', 'ab'.repeat(31)].map((id) =>
      queryBytes({ name: `${id}.${DOMAIN}`, strings, edns: 1232 }),
    );
  });
  const name = `app.${DOMAIN}`;
  const cookies = clients.flatMap((client) => {
    const cookie = optionOf(client.ask({ name, cookie: CLIENT_COOKIE }), OPTION.COOKIE);
    assert.ok(cookie);
    return [
      queryBytes({ name, cookie, nsid: true }),
      queryBytes({ name, cookie: CLIENT_COOKIE, type: 'SRV' }),
      queryBytes({ name, cookie, strings: [`token=${client.token()}`, 'announce=9'] }),
    ];
  });
  const types = ['A', 'AAAA', 'SRV', 'SOA', 'NS', 'MX', 'ANY' as 'A'] as const;
  const plain = types.map((type) => queryBytes({ name, type, edns: 4096 }));
  return [...recorded, ...tokens, ...cookies, ...plain, queryBytes({ name: DOMAIN, type: 'SOA' })];
}

/** By TCP, by UDP with a budget of any kind, or without. */
function transfer(rng: Rng): Transfer {
  switch (rng.below(8)) {
    case 0:
    case 1:
      return { tcp: true, budget: rng.below(100) };
    case 2:
      return { budget: BUDGET_SILENT };
    case 3:
      return { budget: BUDGET_TRUNCATED };
    case 4:
      return { budget: 12 + rng.below(1300) };
    default:
      return {};
  }
}

/** At most a token, within three times the question with its headers. */
function assertTruncated({ answers, authorities, length }: Truncated, asked: number): void {
  assert.ok(answers.length <= 1 && authorities.length === 0);
  if (answers.length === 1)
    assert.match(Buffer.from(answers[0].rdata).toString('latin1'), /^2token=/);
  assert.ok(length + HEADERS <= 3 * (asked + HEADERS), `${length} bytes for ${asked}`);
}

function assertAnswer(
  answer: Uint8Array,
  { tcp, budget }: Transfer,
  isProven: boolean,
  asked: number,
): void {
  const parsed = parseStrict(answer);
  assert.equal(parsed.flags & 0x8000, 0x8000, 'an answer is a response');
  // dns-packet takes the length of a 64-byte label for an error.
  const isOld = parsed.questions.some(({ name }) => /[^.]{64}/.test(name));
  if (!isOld) decodePacket(answer);
  if (tcp) {
    assert.ok(answer.length <= MAX_MESSAGE_BYTES);
    return;
  }
  const hasOpt = parsed.additionals.length > 0;
  assert.ok(answer.length <= (hasOpt ? MAX_UDP_ANSWER_BYTES : 512), `${answer.length} bytes`);
  if (isProven || budget === undefined) return;
  // The guard's short answers are admission's matter, and its limiter's.
  if (answer.length === 12) return;
  assert.notEqual(budget, BUDGET_SILENT);
  if (budget === BUDGET_TRUNCATED) assertTruncated({ ...parsed, length: answer.length }, asked);
  else assert.ok(answer.length <= budget, `${answer.length} bytes, budget ${budget}`);
}

test(`${FUZZ_MUTATIONS} mutated datagrams through a lane, seed ${FUZZ_SEED}`, () => {
  const options = { limit: 500, ttlSeconds: 60, seed: FUZZ_SEED, nsid: 'fuzz' };
  const harness = new LaneHarness(options);
  const clients = ['10.0.0.1', '10.0.0.2', '2001:db8::1'].map(
    (address, i) => new HarnessClient(harness, address, 1000 + i),
  );
  const rng = new Rng(FUZZ_SEED);
  let seeds = corpus(clients);
  for (let i = 0; i < FUZZ_MUTATIONS; i++) {
    const datagram = mutate(seeds[rng.below(seeds.length)], rng);
    const from = clients[rng.below(clients.length)].endpoint;
    const how = transfer(rng);
    try {
      const message = datagram.subarray(0, 1500);
      const answer = harness.exchange(message, from, how);
      if (answer !== null) assertAnswer(answer, how, harness.isProven, message.length);
    } catch (error) {
      const bytes = Buffer.from(datagram).toString('hex');
      const where = `seed ${FUZZ_SEED} mutation ${i} ${JSON.stringify(how)} ${bytes}`;
      throw new Error(where, { cause: error });
    }
    if (i % 1000 === 0) {
      harness.advance(250);
      harness.takePushes();
      assert.equal(inFlight(harness.counters()), 0, `mutation ${i}, seed ${FUZZ_SEED}`);
    }
    // New tokens now and then, or the epochs leave the corpus behind.
    if (i % 100_000 === 99_999) seeds = corpus(clients);
  }
  const counters = harness.counters();
  for (const kind of KINDS) {
    assert.ok(counters[kind] >= LEAST_OF_A_KIND, `${kind}: ${counters[kind]}`);
  }
  clients[0].announce('still-there', 4242);
  assert.deepEqual(peersOf(clients[1].lookup('still-there')), ['10.0.0.1:4242']);
});
