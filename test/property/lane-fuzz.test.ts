/**
 * The whole way of a datagram without sockets: admission, lane, stores, tokens, pushes. Mutated
 * datagrams never throw, keep the counters balanced and the answers within their bounds.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inFlight } from '../../workers/counters.ts';
import { FUZZ_MUTATIONS, FUZZ_SEED, loadVectors, mutate, Rng } from '../helpers/dns-bytes.ts';
import {
  DOMAIN,
  HarnessClient,
  LaneHarness,
  peersOf,
  queryBytes,
} from '../helpers/lane-harness.ts';

const MAX_ANSWER_BYTES = 1232;
/** What each kind of answer occurs at least: far below its share, so that no seed misses it. */
const LEAST_OF_A_KIND = Math.min(1000, Math.floor(FUZZ_MUTATIONS / 5000));

/** Queries of every kind, with tokens that hold for the clients. */
function corpus(clients: readonly HarnessClient[]): Uint8Array[] {
  const recorded = loadVectors().map((vector) => Uint8Array.from(Buffer.from(vector.hex, 'hex')));
  const tokens = clients.flatMap((client) => {
    const strings = [`token=${client.token()}`, 'subscribe=true', 'announce=80', 'unannounce=81'];
    return ['app', 'a.b', 'ab'.repeat(31)].map((id) =>
      queryBytes({ name: `${id}.${DOMAIN}`, strings, edns: 1232 }),
    );
  });
  const types = ['A', 'AAAA', 'SRV', 'SOA', 'NS', 'MX'] as const;
  const plain = types.map((type) => queryBytes({ name: `app.${DOMAIN}`, type, edns: 4096 }));
  return [...recorded, ...tokens, ...plain, queryBytes({ name: DOMAIN, type: 'SOA' })];
}

test(`${FUZZ_MUTATIONS} mutated datagrams through a lane, seed ${FUZZ_SEED}`, () => {
  const harness = new LaneHarness({ limit: 500, ttlSeconds: 60, seed: FUZZ_SEED });
  const clients = ['10.0.0.1', '10.0.0.2', '2001:db8::1'].map(
    (address, i) => new HarnessClient(harness, address, 1000 + i),
  );
  const rng = new Rng(FUZZ_SEED);
  let seeds = corpus(clients);
  for (let i = 0; i < FUZZ_MUTATIONS; i++) {
    const datagram = mutate(seeds[rng.below(seeds.length)], rng);
    const from = clients[rng.below(clients.length)].endpoint;
    const answer = harness.exchange(datagram.subarray(0, 1500), from);
    if (answer !== null) {
      assert.ok(answer.length >= 12 && answer.length <= MAX_ANSWER_BYTES, `mutation ${i}`);
      assert.equal(answer[2] & 0x80, 0x80, `mutation ${i}: an answer is a response`);
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
  for (const kind of ['announces', 'lookups', 'formatErrors', 'refused', 'badTokens'] as const) {
    assert.ok(counters[kind] >= LEAST_OF_A_KIND, `${kind}: ${counters[kind]}`);
  }
  clients[0].announce('still-there', 4242);
  assert.deepEqual(peersOf(clients[1].lookup('still-there')), ['10.0.0.1:4242']);
});
