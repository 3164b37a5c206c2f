/**
 * npm hyperdht 6.34.0 against ours: originals that announce, look up, store and connect to each
 * other through nodes of ours.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import { COMMAND, DHT_ERROR } from '../../codecs/dht/constants.ts';
import { encodeMutablePut } from '../../codecs/dht/hyper-messages.ts';
import { mutableSignable } from '../../codecs/dht/namespaces.ts';
import { variants } from '../helpers/appliance.ts';
import {
  bootstrapOf,
  type DhtServer,
  dhtServer,
  sharedDhtServer,
} from '../helpers/dht-appliance.ts';
import {
  Hyperdht,
  type KeyPair,
  type OriginalHyperdht,
  original,
  PERSISTENT,
} from '../helpers/original-dht.ts';
import { sign } from '../helpers/signing.ts';

const TIMEOUT_MS = 60_000;

const client = (t: TestContext, ...servers: DhtServer[]): Promise<OriginalHyperdht> =>
  original(t, Hyperdht, { bootstrap: bootstrapOf(...servers) });

/** Everything a query yields. */
async function all<T>(query: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of query) found.push(item);
  return found;
}

/** The public keys announced under a target, as hex, without repeats. */
async function announced(node: OriginalHyperdht, target: Uint8Array): Promise<string[]> {
  const replies = await all(node.lookup(target));
  const keys = replies.flatMap(({ peers }) => peers.map((peer) => peer.publicKey.toString('hex')));
  return Array.from(new Set(keys)).sort();
}

for (const { name, options, skip } of variants()) {
  describe(`npm hyperdht 6.34.0 at ours (${name})`, { skip, timeout: TIMEOUT_MS }, () => {
    const shared = sharedDhtServer(options);

    test('announce, lookup, unannounce', async (t) => {
      const server = shared();
      const [a, b] = [await client(t, server), await client(t, server)];
      const target = randomBytes(32);
      const pairs = [Hyperdht.keyPair(), Hyperdht.keyPair(), Hyperdht.keyPair()];
      for (const pair of pairs) await a.announce(target, pair).finished();
      const keys = pairs.map((pair) => pair.publicKey.toString('hex'));
      assert.deepEqual(await announced(b, target), keys.toSorted());
      await a.unannounce(target, pairs[0]);
      assert.deepEqual(await announced(b, target), keys.slice(1).toSorted());
      assert.deepEqual(await announced(b, randomBytes(32)), []);
      assert.equal(server.counters().dhtForged, 0);
    });

    test('an announce with relays and a bump is told as it was made', async (t) => {
      const server = shared();
      const [a, b] = [await client(t, server), await client(t, server)];
      const target = randomBytes(32);
      const relays = [1, 2, 3, 4].map((port) => ({ host: '127.0.0.1', port }));
      const bump = Date.now() - 1000;
      await a.announce(target, Hyperdht.keyPair(), relays, { bump }).finished();
      const [reply] = await all(b.lookup(target));
      assert.deepEqual(reply.peers[0].relayAddresses, relays.slice(0, 3));
      assert.equal(reply.bump, bump);
    });

    test('findPeer finds who listens, and nobody who has closed', async (t) => {
      const server = shared();
      const [a, b] = [await client(t, server), await client(t, server)];
      const listener = a.createServer(() => undefined);
      await listener.listen();
      const { publicKey } = listener;
      const [found] = await all(b.findPeer(publicKey));
      assert.deepEqual(found.peer.publicKey, publicKey);
      await listener.close();
      assert.deepEqual(await all(b.findPeer(publicKey)), []);
    });

    test('immutable values', async (t) => {
      const server = shared();
      const [a, b] = [await client(t, server), await client(t, server)];
      for (const length of [1, 100, 1000, 1200]) {
        const value = randomBytes(length);
        const { hash } = await a.immutablePut(value);
        assert.deepEqual((await b.immutableGet(hash))?.value, value, `${length} bytes`);
      }
      assert.equal(await b.immutableGet(randomBytes(32)), null);
    });

    test('mutable values', async (t) => {
      const server = shared();
      const [a, b] = [await client(t, server), await client(t, server)];
      const pair = Hyperdht.keyPair();
      await a.mutablePut(pair, Buffer.from('one'), { seq: 1 });
      assert.equal(String((await b.mutableGet(pair.publicKey))?.value), 'one');
      await a.mutablePut(pair, Buffer.from('two'), { seq: 2 });
      assert.equal(String((await b.mutableGet(pair.publicKey))?.value), 'two');
      assert.equal(await b.mutableGet(pair.publicKey, { seq: 3 }), null);
    });

    test('a mutable value with a seq that was used, or is too low, draws errors', async (t) => {
      const server = shared();
      const node = await client(t, server);
      const pair = Hyperdht.keyPair();
      await node.mutablePut(pair, Buffer.from('two'), { seq: 2 });
      const put = (seq: number, value: string) => mutablePut(node, server, pair, seq, value);
      assert.equal(await put(2, 'other'), DHT_ERROR.SEQ_REUSED);
      assert.equal(await put(1, 'one'), DHT_ERROR.SEQ_TOO_LOW);
      assert.equal(await put(2, 'two'), DHT_ERROR.NONE);
      assert.equal(await put(3, 'three'), DHT_ERROR.NONE);
    });

    test('two originals connect to each other through ours', async (t) => {
      const server = shared();
      const [a, b] = [await client(t, server), await client(t, server)];
      const listener = a.createServer((stream) => {
        stream.on('error', () => undefined);
        stream.on('data', (data) => stream.write(Buffer.concat([Buffer.from('echo '), data])));
      });
      await listener.listen();
      const stream = b.connect(listener.publicKey);
      stream.on('error', () => undefined);
      const answer = new Promise<string>((resolve) => {
        stream.on('data', (data) => resolve(String(data)));
      });
      stream.write(Buffer.from('hello'));
      assert.equal(await answer, 'echo hello');
      const { dhtRelayed, dhtRelayRefused } = server.counters();
      assert.ok(dhtRelayed >= 2, `${dhtRelayed} relayed`);
      assert.equal(dhtRelayRefused, 0);
      stream.destroy();
    });
  });
}

test('fifty nodes, half of them ours: every lookup succeeds', { timeout: 180_000 }, async (t) => {
  const first = await dhtServer(t, { verifiesInline: true });
  const bootstrap = bootstrapOf(first);
  const ours: DhtServer[] = [first];
  const theirs: OriginalHyperdht[] = [];
  for (let i = 0; i < 25; i++) {
    theirs.push(await original(t, Hyperdht, { bootstrap, ...PERSISTENT }));
    if (ours.length === 25) continue;
    const server = await dhtServer(t, { bootstrap, host: null, verifiesInline: true });
    await server.dht.node.fullyBootstrapped();
    assert.equal(server.dht.node.ephemeral, false);
    ours.push(server);
  }
  assert.equal(ours.length + theirs.length, 50);
  for (let i = 0; i < 25; i++) {
    const target = randomBytes(32);
    const pair = Hyperdht.keyPair();
    await theirs[i].announce(target, pair).finished();
    const key = pair.publicKey.toString('hex');
    const asker = theirs[(i + 7) % theirs.length];
    assert.deepEqual(await announced(asker, target), [key], `announce ${i}`);
    const answers = await all(ours[i].dht.node.query({ target, command: COMMAND.LOOKUP }));
    assert.ok(
      answers.some(({ value }) => value !== null),
      `announce ${i}, asked by ours`,
    );
  }
});

// Whose ping gets lost on a busy machine is pinged again after half a minute.
test('ours knows the originals that ask it', { timeout: 90_000 }, async (t) => {
  const server = await dhtServer(t);
  const nodes: OriginalHyperdht[] = [];
  for (let i = 0; i < 50; i++) {
    nodes.push(await original(t, Hyperdht, { bootstrap: bootstrapOf(server), ...PERSISTENT }));
  }
  const ids = nodes.map((node) => node.id ?? Buffer.alloc(0));
  const most = roomFor(ids, server.dht.node.id ?? new Uint8Array(0));
  assert.ok(most >= 30, 'half of them are in the first bucket, which has room for twenty');
  // While they join, some ask it only before they have an id to show.
  const to = { host: '127.0.0.1', port: server.port };
  await Promise.all(nodes.map((node) => node.ping(to)));
  while (server.dht.node.toArray().length < most) await once(server.dht.node, 'add-node');
});

/** How many of the ids a table of `own` has room for: 20 for each length of a shared prefix. */
function roomFor(ids: readonly Uint8Array[], own: Uint8Array): number {
  const buckets = new Map<number, number>();
  for (const id of ids) {
    const at = id.findIndex((byte, i) => byte !== own[i]);
    const bucket = at * 8 + Math.clz32(id[at] ^ own[at]) - 24;
    buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1);
  }
  return Array.from(buckets.values()).reduce((sum, size) => sum + Math.min(size, 20), 0);
}

/** Sends a put to `server` alone, as another client would make it; returns the error number. */
async function mutablePut(
  node: OriginalHyperdht,
  server: DhtServer,
  pair: KeyPair,
  seq: number,
  text: string,
): Promise<number> {
  const to = { host: '127.0.0.1', port: server.port };
  const target = Hyperdht.hash(pair.publicKey);
  const get = { target, command: COMMAND.MUTABLE_GET, value: Buffer.from([0]) };
  const { token } = await node.request(get, to);
  const value = Buffer.from(text);
  const signature = sign(mutableSignable(seq, value), pair.secretKey);
  const put = encodeMutablePut({ publicKey: pair.publicKey, seq, value, signature });
  const reply = await node.request({ token, target, command: COMMAND.MUTABLE_PUT, value: put }, to);
  return reply.error;
}
