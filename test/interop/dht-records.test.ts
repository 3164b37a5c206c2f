/**
 * Ours as a client of npm hyperdht 6.34.0: it announces, looks up, stores and reads in a network of
 * originals, and originals read what ours stored, and the other way round.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import type { DhtRecords } from '../../server/dht/records.ts';
import { dhtServer } from '../helpers/dht-appliance.ts';
import { Hyperdht, type OriginalHyperdht, original, PERSISTENT } from '../helpers/original-dht.ts';

const TIMEOUT_MS = 60_000;
const ORIGINALS = 5;

interface Network {
  readonly originals: readonly OriginalHyperdht[];
  readonly records: DhtRecords;
}

/** Originals that belong to the network at once, and one of ours that has joined them. */
async function start(t: { after(end: () => unknown): void }): Promise<Network> {
  const free = createSocket('udp4').bind(0, '127.0.0.1');
  await once(free, 'listening');
  const { port } = free.address();
  free.close();
  const first = Hyperdht.bootstrapper(port, '127.0.0.1', { host: '127.0.0.1' });
  t.after(() => first.destroy({ force: true }));
  await first.ready();
  const bootstrap = [`127.0.0.1:${port}`];
  const originals = [];
  for (let i = 0; i < ORIGINALS; i++) {
    originals.push(await original(t, Hyperdht, { bootstrap, ...PERSISTENT }));
  }
  const ours = await dhtServer(t, { bootstrap, host: null });
  await ours.dht.node.fullyBootstrapped();
  return { originals, records: ours.dht.records };
}

async function all<T>(query: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of query) found.push(item);
  return found;
}

interface Answer {
  readonly peers: readonly { readonly publicKey: Uint8Array }[];
}

/** The public keys that a lookup yields, as hex, without repeats. */
async function keysOf(query: AsyncIterable<Answer>): Promise<string[]> {
  const answers = await all(query);
  const keys = answers.flatMap(({ peers }) => peers.map(({ publicKey }) => hex(publicKey)));
  return Array.from(new Set(keys)).sort();
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('ours asks npm hyperdht 6.34.0', { timeout: TIMEOUT_MS }, () => {
  let network: Network | null = null;
  const ends: (() => unknown)[] = [];
  before(async () => {
    network = await start({ after: (end) => ends.push(end) });
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });
  const shared = (): Network => {
    if (network === null) throw new Error('the suite has not begun');
    return network;
  };

  test('what ours announces and unannounces, both see', async () => {
    const { originals, records } = shared();
    const target = randomBytes(32);
    const [ours, theirs] = [Hyperdht.keyPair(), Hyperdht.keyPair()];
    await records.announce(target, ours).finished();
    await originals[0].announce(target, theirs).finished();
    const both = [hex(ours.publicKey), hex(theirs.publicKey)].sort();
    assert.deepEqual(await keysOf(records.lookup(target)), both);
    for (const node of originals) assert.deepEqual(await keysOf(node.lookup(target)), both);
    await records.unannounce(target, ours);
    assert.deepEqual(await keysOf(records.lookup(target)), [hex(theirs.publicKey)]);
    assert.deepEqual(await keysOf(originals[1].lookup(target)), [hex(theirs.publicKey)]);
    assert.deepEqual(await keysOf(records.lookup(randomBytes(32))), []);
  });

  test('relays and a bump are told as they were announced, by either', async () => {
    const { originals, records } = shared();
    const relays = [1, 2, 3, 4].map((port) => ({ host: '127.0.0.1', port }));
    const bump = Date.now() - 1000;
    const [a, b] = [randomBytes(32), randomBytes(32)];
    await records.announce(a, Hyperdht.keyPair(), relays, { bump }).finished();
    await originals[0].announce(b, Hyperdht.keyPair(), relays, { bump }).finished();
    for (const node of [originals[1], records]) {
      for (const target of [a, b]) {
        const answers = await all<{ peers: readonly { relayAddresses: unknown }[]; bump: number }>(
          node.lookup(target),
        );
        assert.ok(answers.length >= ORIGINALS - 1, `${answers.length} answered`);
        for (const { peers, bump: told } of answers) {
          assert.deepEqual(peers[0].relayAddresses, relays.slice(0, 3));
          assert.equal(told, bump);
        }
      }
    }
  });

  test('an announce that clears leaves only the last', async () => {
    const { originals, records } = shared();
    const target = randomBytes(32);
    const pair = Hyperdht.keyPair();
    await records.announce(target, pair, [{ host: '127.0.0.1', port: 1 }]).finished();
    const relays = [{ host: '127.0.0.1', port: 2 }];
    await records.announce(target, pair, relays, { clear: true }).finished();
    for (const { peers } of await all(originals[2].lookup(target))) {
      assert.deepEqual(
        peers.map(({ relayAddresses }) => relayAddresses),
        [relays],
      );
    }
  });

  test('findPeer finds who listens there, and who announced itself by ours', async () => {
    const { originals, records } = shared();
    const listener = originals[0].createServer(() => undefined);
    await listener.listen();
    const { publicKey } = listener;
    const found = await all(records.findPeer(publicKey));
    assert.ok(found.length > 0);
    for (const { peer } of found) assert.equal(hex(peer.publicKey), hex(publicKey));
    await listener.close();
    assert.deepEqual(await all(records.findPeer(publicKey)), []);
    const pair = Hyperdht.keyPair();
    await records.announce(Hyperdht.hash(pair.publicKey), pair).finished();
    const [answer] = await all(originals[1].findPeer(pair.publicKey));
    assert.equal(hex(answer.peer.publicKey), hex(pair.publicKey));
    await records.unannounce(Hyperdht.hash(pair.publicKey), pair);
    assert.deepEqual(await all(originals[1].findPeer(pair.publicKey)), []);
  });

  test('immutable values of every length are read by the other', async () => {
    const { originals, records } = shared();
    for (const length of [0, 1, 100, 1000, 1362]) {
      const [a, b] = [randomBytes(length), randomBytes(length)];
      const put = await records.immutablePut(a);
      assert.ok(put.closestNodes.length >= ORIGINALS);
      assert.equal(hex(put.hash), hex(Hyperdht.hash(a)));
      const theirs = await originals[1].immutableGet(Buffer.from(put.hash));
      assert.deepEqual(theirs?.value, a, `${length} bytes by ours`);
      const { hash } = await originals[0].immutablePut(b);
      const ours = await records.immutableGet(hash);
      assert.deepEqual(Buffer.from(ours?.value ?? [9]), b, `${length} bytes by theirs`);
    }
    assert.equal(await records.immutableGet(randomBytes(32)), null);
  });

  test('mutable values are read by the other, the latest first', async () => {
    const { originals, records } = shared();
    const pair = Hyperdht.keyPair();
    const { publicKey } = pair;
    const longest = randomBytes(1260);
    await records.mutablePut(pair, longest, { seq: 1 });
    assert.deepEqual((await originals[1].mutableGet(publicKey))?.value, longest);
    await originals[0].mutablePut(pair, Buffer.from('two'), { seq: 2 });
    const two = await records.mutableGet(publicKey);
    assert.deepEqual([two?.seq, Buffer.from(two?.value ?? []).toString()], [2, 'two']);
    await records.mutablePut(pair, Buffer.from('large'), { seq: Number.MAX_SAFE_INTEGER });
    const large = await originals[2].mutableGet(publicKey, { latest: true });
    assert.deepEqual([large?.seq, String(large?.value)], [Number.MAX_SAFE_INTEGER, 'large']);
    assert.equal((await records.mutableGet(publicKey, { latest: false }))?.seq, large?.seq);
    assert.equal(await records.mutableGet(randomBytes(32)), null);
  });

  test('an empty mutable value is one, and a seq that nobody has is none', async () => {
    const { originals, records } = shared();
    const pair = Hyperdht.keyPair();
    await records.mutablePut(pair, new Uint8Array(), { seq: 5 });
    assert.equal((await originals[1].mutableGet(pair.publicKey))?.value.length, 0);
    assert.equal((await records.mutableGet(pair.publicKey, { seq: 5 }))?.seq, 5);
    assert.equal(await records.mutableGet(pair.publicKey, { seq: 6 }), null);
  });

  test('a seq that was used, or is too low, is refused by all and told', async () => {
    const { originals, records } = shared();
    const pair = Hyperdht.keyPair();
    const text = (value: string) => Buffer.from(value);
    // Ours keeps what an original stores, the original that stores it does not.
    await originals[0].mutablePut(pair, text('two'), { seq: 2 });
    await records.mutablePut(pair, text('two'), { seq: 2 });
    const put = (seq: number, value: string) => records.mutablePut(pair, text(value), { seq });
    await assert.rejects(put(2, 'other'), { code: 'SEQ_REUSED', error: 16 });
    await assert.rejects(put(1, 'one'), { code: 'SEQ_TOO_LOW', error: 17 });
    assert.equal((await put(3, 'three')).seq, 3);
    assert.equal(String((await originals[0].mutableGet(pair.publicKey))?.value), 'three');
  });
});
