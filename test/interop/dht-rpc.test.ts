/**
 * npm dht-rpc 6.27.0 and 5.0.6, which share a wire, against ours: they bootstrap from it and ask
 * it, it joins their network and asks them.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import { blake2b256 } from '../../codecs/hash/blake2b.ts';
import { variants } from '../helpers/appliance.ts';
import {
  bootstrapOf,
  type DhtServer,
  dhtServer,
  sharedDhtServer,
} from '../helpers/dht-appliance.ts';
import { DHT_RPC, type OriginalDht, original, PERSISTENT } from '../helpers/original-dht.ts';

const TIMEOUT_MS = 60_000;
const IMMUTABLE_PUT = 8;
const IMMUTABLE_GET = 9;
/** A command of these tests' own, that hyperdht does not have. */
const KEEP = 77;

function hash(value: Uint8Array): Buffer {
  const out = Buffer.alloc(32);
  blake2b256(out, value);
  return out;
}

const at = ({ port }: DhtServer) => ({ host: '127.0.0.1', port });

/** Resolves when ours has the node in its routing table. */
async function known(server: DhtServer, node: OriginalDht): Promise<void> {
  const { port } = node.address();
  const isKnown = () => server.dht.node.toArray().some((known) => known.port === port);
  while (!isKnown()) await once(server.dht.node, 'add-node');
}

for (const { version, Dht } of DHT_RPC) {
  for (const { name, options, skip } of variants()) {
    describe(`npm dht-rpc ${version} asks ours (${name})`, { skip, timeout: TIMEOUT_MS }, () => {
      const shared = sharedDhtServer(options);

      test('it stores a value with the token of the first round', async (t) => {
        const server = shared();
        const node = await original(t, Dht, { bootstrap: bootstrapOf(server) });
        const value = randomBytes(100);
        const target = hash(value);
        let stored = 0;
        await node
          .query(
            { target, command: IMMUTABLE_GET },
            {
              commit: async ({
                token,
                from,
              }: {
                token: Buffer;
                from: { host: string; port: number };
              }) => {
                const put = { token, target, command: IMMUTABLE_PUT, value };
                assert.equal((await node.request(put, from)).error, 0);
                stored++;
              },
            },
          )
          .finished();
        assert.equal(stored, 1);
        const values = [];
        for await (const reply of node.query({ target, command: IMMUTABLE_GET })) {
          values.push(reply.value);
        }
        assert.deepEqual(values, [value]);
      });

      test('a wrong token draws error 2 and a right one', async (t) => {
        const server = shared();
        const node = await original(t, Dht, { bootstrap: bootstrapOf(server) });
        const value = randomBytes(20);
        const put = { target: hash(value), command: IMMUTABLE_PUT, value };
        const refused = await node.request({ ...put, token: randomBytes(32) }, at(server));
        assert.equal(refused.error, 2);
        assert.equal(refused.token?.length, 32);
        const taken = await node.request({ ...put, token: refused.token }, at(server));
        assert.equal(taken.error, 0);
      });

      // Last: it leaves a node in the table that is gone.
      test('it bootstraps from ours, and each comes to know and tell of the other', async (t) => {
        const server = shared();
        const node = await original(t, Dht, { bootstrap: bootstrapOf(server), ...PERSISTENT });
        assert.equal(node.ephemeral, false);
        assert.ok(node.toArray().some(({ port }) => port === server.port));
        const { from, to, error } = await node.ping(at(server));
        assert.deepEqual(from.id, Buffer.from(server.dht.node.id ?? []));
        assert.deepEqual([to.port, error], [node.address().port, 0]);
        await known(server, node);
        const target = createHash('sha256').update('x').digest();
        const aimed = await node.request({ command: KEEP, target }, at(server));
        assert.equal(aimed.error, 1, 'an unknown command');
        const told = aimed.closerNodes?.map(({ port }) => port);
        assert.deepEqual(told, [node.address().port]);
        const aimless = await node.request({ command: KEEP }, at(server));
        assert.deepEqual([aimless.error, aimless.closerNodes], [1, null]);
      });
    });
  }

  describe(`ours among npm dht-rpc ${version}`, { timeout: TIMEOUT_MS }, () => {
    test('it joins by an original, asks all and stores with their tokens', async (t) => {
      const { servers, originals, kept } = await network(t, version);
      const [ours] = servers;
      const target = randomBytes(32);
      const value = randomBytes(10);
      await ours.dht.node.query({ target, command: KEEP, value }, { commit: true }).finished();
      // The first one of 5.0.6 shows no id, so it is none of the closest.
      const keepers = originals.filter((node) => node.id !== null).length;
      assert.ok(keepers >= 5);
      assert.equal(kept.get(target.toString('hex')), keepers);
      const found = [];
      for await (const reply of ours.dht.node.query({ target, command: KEEP })) {
        if (reply.value !== null) found.push(Buffer.from(reply.value));
      }
      assert.deepEqual(found, Array(keepers).fill(value));
    });

    test('it pings them, and they answer its id', async (t) => {
      const { servers, originals } = await network(t, version);
      const [ours] = servers;
      for (const node of originals) {
        const reply = await ours.dht.node.ping({ host: '127.0.0.1', port: node.address().port });
        assert.deepEqual(Buffer.from(reply.from.id ?? []), node.id ?? Buffer.alloc(0));
      }
    });

    test('a wrong token of ours is refused by them', async (t) => {
      const { servers, originals } = await network(t, version);
      const to = { host: '127.0.0.1', port: originals[0].address().port };
      const message = { command: KEEP, target: randomBytes(32), token: randomBytes(32) };
      const reply = await servers[0].dht.node.request(message, to);
      assert.equal(reply.error, 2);
      assert.equal(reply.token?.length, 32);
    });

    test('who never answers is given up', async (t) => {
      const socket = createSocket('udp4').bind(0, '127.0.0.1');
      await once(socket, 'listening');
      t.after(() => socket.close());
      const server = await dhtServer(t);
      const to = { host: '127.0.0.1', port: socket.address().port };
      await assert.rejects(server.dht.node.ping(to, { retry: false }), { code: 'REQUEST_TIMEOUT' });
    });
  });
}

test('npm dht-rpc 6.27.0 has a ping delayed by ours', { timeout: TIMEOUT_MS }, async (t) => {
  const server = await dhtServer(t);
  const node = await original(t, DHT_RPC[0].Dht, { bootstrap: bootstrapOf(server) });
  const { rtt } = await node.delayedPing(at(server), 300);
  assert.ok(rtt >= 300 && rtt < 1300, `${rtt} ms`);
});

/** An original others start from, five more, and one of ours; all but the first keep values. */
async function network(t: TestContext, version: string) {
  const Dht = DHT_RPC.find((entry) => entry.version === version)?.Dht;
  if (Dht === undefined) throw new Error(version);
  const free = createSocket('udp4').bind(0, '127.0.0.1');
  await once(free, 'listening');
  const { port } = free.address();
  free.close();
  const first = Dht.bootstrapper(port, '127.0.0.1', { host: '127.0.0.1' });
  t.after(() => first.destroy());
  await first.ready();
  const bootstrap = [`127.0.0.1:${port}`];
  const kept = new Map<string, number>();
  const originals = [first];
  for (let i = 0; i < 5; i++) originals.push(await original(t, Dht, { bootstrap, ...PERSISTENT }));
  for (const node of originals) keep(node, kept);
  const ours = await dhtServer(t, { bootstrap, host: null });
  await ours.dht.node.fullyBootstrapped();
  return { originals, servers: [ours], kept };
}

/** Answers KEEP: stores the value of who has a token, tells it to others. */
function keep(node: OriginalDht, kept: Map<string, number>): void {
  const values = new Map<string, Buffer>();
  node.on('request', (request) => {
    const key = request.target?.toString('hex') ?? '';
    if (request.token !== null && request.value !== null) {
      values.set(key, Buffer.from(request.value));
      kept.set(key, (kept.get(key) ?? 0) + 1);
      request.reply(null);
      return;
    }
    request.reply(values.get(key) ?? null);
  });
}
