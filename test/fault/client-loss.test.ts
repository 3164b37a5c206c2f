/**
 * Lookups through a bad network: a fifth of all datagrams is lost each way, others are doubled and
 * overtaken. Almost all lookups are answered, and what is answered is right.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { backends, TEST_LIMITS, testServer } from '../helpers/appliance.ts';
import { addressText, TestClient } from '../helpers/client-fixture.ts';
import { FUZZ_SEED, Rng } from '../helpers/dns-bytes.ts';
import { BAD_WEATHER, LossyProxy } from '../helpers/lossy-proxy.ts';
import { OriginalServer } from '../helpers/original-server.ts';
import { at, type RunningServer } from '../helpers/server-kind.ts';
import { UdpAsker } from '../helpers/udp-asker.ts';

const TIMEOUT_MS = 120_000;
const LOOKUPS = Number(process.env.LOSSY_LOOKUPS ?? 10_000);
const LOOKUPS_AT_ORIGINAL = 2000;
const LEAST_RIGHT = 0.999;
/** Lookups under way at once. */
const UNDER_WAY = 400;
const HOSTS = 8;
const NAMES = 200;
/** What the original can tell in one answer, and more than that. */
const PEERS_AT_ORIGINAL = 31;
const PEERS_AT_OURS = 90;

type Known = ReadonlyMap<string, ReadonlySet<string>>;

/** Names with 0 to `most` peers each, announced without loss. */
async function announceAll(t: TestContext, { port }: RunningServer, most: number, rng: Rng) {
  const known = new Map<string, Set<string>>();
  for (let i = 0; i < NAMES; i++) known.set(`name${i}`, new Set());
  for (let host = 0; host < HOSTS; host++) {
    const from = `127.2.${host}.1`;
    const asker = await UdpAsker.open(t, port, { from });
    for (const [name, peers] of known) {
      const own = Math.min(rng.below(Math.ceil((2 * most) / HOSTS)), most - peers.size);
      const ports = Array.from({ length: own }, (_, i) => 10_000 + i);
      if (own > 0) await asker.announceAll(name, ports);
      for (const each of ports) peers.add(`${from}:${each}`);
    }
  }
  return known;
}

interface Tally {
  right: number;
  failed: number;
  /** Lookups that brought other peers than there are, or fewer without an error. */
  readonly wrong: string[];
}

/** Looks known names up, many at once, and compares each result with what is known. */
async function lookUp(client: TestClient, known: Known, count: number, rng: Rng): Promise<Tally> {
  const names = [...known.keys()];
  const tally: Tally = { right: 0, failed: 0, wrong: [] };
  let left = count;
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      const name = names[rng.below(names.length)];
      const wanted = known.get(name) ?? new Set();
      let found: string[];
      try {
        found = (await client.disc.lookup(name)).map(addressText);
      } catch {
        tally.failed++;
        continue;
      }
      const isRight = found.length === wanted.size && found.every((peer) => wanted.has(peer));
      if (isRight) tally.right++;
      else tally.wrong.push(`${name}: ${found.length} peers for ${wanted.size}`);
    }
  };
  await Promise.all(Array.from({ length: UNDER_WAY }, one));
  return tally;
}

async function storm(
  t: TestContext,
  server: RunningServer,
  count: number,
  mostPeers: number,
): Promise<void> {
  const seed = FUZZ_SEED;
  const rng = new Rng(seed);
  const known = await announceAll(t, server, mostPeers, rng);
  const proxy = await LossyProxy.open(t, server, { ...BAD_WEATHER, seed });
  const client = new TestClient(t, { server: at(proxy) });
  const began = performance.now();
  const tally = await lookUp(client, known, count, rng);
  const ms = performance.now() - began;
  const { right, failed, wrong } = tally;
  const { toServer, toClient } = proxy;
  t.diagnostic(JSON.stringify({ seed, ms: Math.round(ms), right, failed, toServer, toClient }));
  assert.deepEqual(wrong.slice(0, 5), [], `${wrong.length} wrong, seed ${seed}`);
  assert.ok(right >= count * LEAST_RIGHT, `${right} of ${count} right, seed ${seed}`);
  for (const told of client.peers) {
    const [name, peer] = told.split(' ');
    assert.ok(known.get(name)?.has(peer), `event of ${told}, seed ${seed}`);
  }
  // That the weather was bad.
  for (const way of [toServer, toClient]) {
    const lost = way.lost / way.received;
    assert.ok(lost > 0.17 && lost < 0.23, `${way.lost} of ${way.received} lost, seed ${seed}`);
    assert.ok(way.doubled > 0 && way.held > 0);
  }
}

for (const { name, skip } of backends()) {
  test(`${LOOKUPS} lookups, 20% lost each way: our server, ${name}`, {
    skip,
    timeout: TIMEOUT_MS,
  }, async (t) => {
    // So many peers per name and host that the limits on strangers would be in the way.
    const limits = { ...TEST_LIMITS, rateLimit: null };
    const server = await testServer(t, { udpBackend: name, limits, limit: 100_000 });
    const place = { host: '127.0.0.1', port: server.port, close: () => server.close() };
    await storm(t, place, LOOKUPS, PEERS_AT_OURS);
  });
}

test(`${LOOKUPS_AT_ORIGINAL} lookups, 20% lost each way: dns-discovery 6.2.3`, {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const server = await OriginalServer.listen(t);
  await storm(t, server, LOOKUPS_AT_ORIGINAL, PEERS_AT_ORIGINAL);
});
