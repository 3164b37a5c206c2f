import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeReply } from '../../../codecs/dht/message.ts';
import { DhtError } from '../../../server/dht/errors.ts';
import type { DhtNodeOptions } from '../../../server/dht/types.ts';
import { Rng } from '../../../workers/rng.ts';
import { settle } from '../../helpers/dht-node-clock.ts';
import { NodeHarness, SERVER_PORT, targetOf } from '../../helpers/dht-node-harness.ts';

const BOOTSTRAP = ['45.0.7.9:49737'];
const MINUTE_MS = 60_000;

async function joined(options: DhtNodeOptions = {}, seed = 1): Promise<NodeHarness> {
  const harness = new NodeHarness({ bootstrap: BOOTSTRAP, ...options }, seed);
  harness.crowd(60);
  return harness.ready();
}

describe('DHT node', () => {
  test('it listens, learns its address, and is ready', async () => {
    const harness = new NodeHarness({ bootstrap: BOOTSTRAP });
    harness.crowd(60);
    const ready = harness.node.fullyBootstrapped();
    await harness.ready();
    await ready;
    await harness.node.ready();
    assert.deepEqual(harness.events.slice(0, 2), ['listening', 'nat-update']);
    assert.equal(harness.events.at(-1), 'ready');
    assert.deepEqual(harness.node.localAddress(), { host: '127.0.0.1', port: SERVER_PORT });
  });

  test('the same seed does the same', async () => {
    const trace = async (seed: number): Promise<string> => {
      const harness = await joined({}, seed);
      const query = harness.node.query({ target: targetOf(1), command: 5 }, { commit: true });
      const end = query.finished();
      await harness.clock.pass(30 * MINUTE_MS, 1000);
      await end;
      const start = harness.sent[0].at;
      return harness.sent
        .map(({ at, to, request }) => `${at - start} ${to.host} ${request.tid} ${request.command}`)
        .join('\n');
    };
    assert.equal(await trace(1), await trace(1));
    assert.notEqual(await trace(1), await trace(2));
  });

  test('idle, it looks for new nodes every five minutes, and asks little else', async () => {
    const harness = await joined({ ephemeral: true });
    harness.take();
    await harness.clock.pass(60 * MINUTE_MS, 1000);
    const { total } = harness.node.stats.queries;
    assert.ok(total >= 12 && total <= 20, `${total} queries in an hour`);
    assert.ok(harness.sent.length < 1500, `${harness.sent.length} requests in an hour`);
    assert.ok(harness.clock.pending <= 2, 'timers of an idle node');
  });

  test('user queries put the refresh off', async () => {
    const harness = await joined({ ephemeral: true });
    const before = harness.node.stats.queries.total;
    for (let i = 0; i < 20; i++) {
      await harness.clock.pass(4 * MINUTE_MS, 5000);
      const end = harness.node.findNode(targetOf(i)).finished();
      await harness.clock.pass(3000);
      await end;
    }
    assert.equal(harness.node.stats.queries.total - before, 20);
  });

  test('after a sleep everything is old: pings, a refresh, and ephemeral again', async () => {
    const harness = await joined();
    await harness.clock.pass(25 * MINUTE_MS, 5000);
    assert.equal(harness.node.ephemeral, false);
    harness.events.splice(0);
    harness.take();
    const { tick } = harness.node;
    harness.clock.sleep(60 * MINUTE_MS);
    await harness.clock.pass(15_000, 1000);
    assert.deepEqual(harness.events.slice(0, 2), ['ephemeral', 'wakeup']);
    assert.ok(harness.node.tick >= tick + 720);
    assert.equal(harness.node.id, null);
    assert.ok(harness.sent.length > 10, `${harness.sent.length} sent`);
    await harness.clock.pass(70 * MINUTE_MS, 5000);
    assert.equal(harness.node.ephemeral, false, 'after an hour it is persistent again');
  });

  test('a node that is to be persistent stays so after a sleep', async () => {
    const harness = await joined({ ephemeral: false });
    harness.clock.sleep(60 * MINUTE_MS);
    await harness.clock.pass(10_000, 1000);
    assert.ok(harness.events.includes('wakeup'));
    assert.equal(harness.node.ephemeral, false);
  });

  test('suspended it is silent, resumed it goes on', async () => {
    const harness = await joined();
    const { node, clock } = harness;
    const pending = assert.rejects(
      node.ping({ host: '45.9.9.9', port: 1 }),
      (error) => error instanceof DhtError && error.code === 'IO_SUSPENDED',
    );
    await node.suspend();
    await node.suspend();
    await pending;
    harness.take();
    node.sighted({ host: '45.9.9.9', port: 1 });
    const held = node.ping({ host: '45.1.7.9', port: SERVER_PORT });
    await clock.pass(2000);
    assert.equal(harness.sent.length, 0);
    await node.resume();
    await clock.pass(3000);
    assert.equal((await held).error, 0, 'asked meanwhile, answered now');
    assert.ok(harness.sent.length > 1);
    const told = harness.events.filter((event) => /suspend|resume|wakeup/.test(event));
    assert.deepEqual(told, ['suspend', 'wakeup', 'resume']);
  });

  test('sockets are closed and opened as it is suspended and resumed', async () => {
    const harness = await joined();
    const calls: string[] = [];
    const transport = Object.assign(harness, {
      suspend: async () => void calls.push(`suspend ${harness.node.suspended}`),
      resume: async () => void calls.push(`resume ${harness.node.suspended}`),
    });
    await transport.node.suspend();
    await transport.node.resume();
    assert.deepEqual(calls, ['suspend true', 'resume false']);
  });

  test('destroyed before it was ready, those who wait are told', async () => {
    const harness = new NodeHarness({ bootstrap: BOOTSTRAP });
    harness.node.start();
    const ready = assert.rejects(harness.node.fullyBootstrapped(), /Node destroyed/);
    await harness.node.destroy();
    await harness.node.destroy();
    await ready;
    assert.deepEqual(harness.events, ['listening', 'close']);
    assert.equal(harness.clock.pending, 0);
  });

  test('the network going away and coming back is told', async () => {
    const harness = await joined({ ephemeral: true });
    const { node, clock, events } = harness;
    const busy = async (ms: number): Promise<void> => {
      for (let at = 0; at < ms; at += 1000) {
        for (let i = 0; i < 5; i++) {
          void node.ping({ host: `45.${i}.7.9`, port: SERVER_PORT }).catch(() => undefined);
        }
        await clock.pass(1000);
      }
    };
    await busy(30_000);
    events.splice(0);
    for (const peer of harness.peers.values()) peer.isDown = true;
    await busy(30_000);
    assert.equal(node.online, false);
    for (const peer of harness.peers.values()) peer.isDown = false;
    await busy(30_000);
    assert.deepEqual([node.online, node.degraded], [true, false]);
    assert.ok(events.filter((event) => event === 'network-update').length >= 2);
    node.networkChanged([]);
    assert.equal(events.at(-1), 'network-update');
  });

  test('nodes that are given are known, the first one as the latest', async () => {
    const nodes = [1, 2, 3].map((i) => ({ host: `45.${i}.7.9`, port: 1 }));
    const { node } = new NodeHarness({ nodes });
    assert.deepEqual(
      new Set(node.toArray().map(({ host }) => host)),
      new Set(nodes.map(({ host }) => host)),
    );
    assert.equal(node.toArray({ limit: 2 }).length, 2);
    assert.deepEqual(node.toArray({ limit: 0 }), []);
    assert.throws(() => node.addNode({ host: 'x', port: 1 }), /expected an IPv4 address/);
  });

  test('a refused node is neither known nor asked', async () => {
    const harness = await joined({ filterNode: ({ host }) => host.startsWith('45.1') });
    const hosts = new Set(harness.node.toArray().map(({ host }) => host));
    assert.ok(hosts.size > 5 && [...hosts].every((host) => host.startsWith('45.1')));
    const asked = new Set(harness.sent.map(({ to }) => to.host));
    asked.delete('45.0.7.9');
    assert.ok([...asked].every((host) => host.startsWith('45.1')));
  });

  test('whatever comes as a reply is survived, and counted for nothing', async () => {
    const harness = await joined();
    const rng = new Rng(77);
    let taken = 0;
    for (let i = 0; i < 20_000; i++) {
      const length = 2 + rng.below(120);
      const bytes = Uint8Array.from({ length }, () => rng.below(256));
      bytes[0] = 0x13;
      bytes[1] &= 31;
      const reply = decodeReply(bytes);
      const from = { host: `45.${rng.below(60)}.7.9`, port: SERVER_PORT };
      if (reply !== null && harness.node.onReply(reply, from, 'server')) taken++;
    }
    assert.equal(taken, 0);
    await settle();
  });

  test('random answers to its own requests are survived', async () => {
    const harness = await joined();
    const rng = new Rng(78);
    for (const peer of harness.peers.values()) {
      peer.answer = (sent) => {
        if (rng.below(4) === 0) return null;
        const closerNodes = Array.from({ length: rng.below(60) }, () => ({
          host: [rng.below(256), rng.below(256), rng.below(256), rng.below(256)].join('.'),
          port: rng.below(65_536),
        }));
        return {
          ...harness.usual(sent),
          closerNodes,
          error: rng.below(3),
          id: rng.below(2) === 0 ? targetOf(rng.below(99)) : peer.id,
          to: { host: `${rng.below(256)}.1.1.1`, port: rng.below(65_536) },
          value: new Uint8Array(rng.below(30)),
        };
      };
    }
    for (let i = 0; i < 10; i++) {
      const query = harness.node.query({ target: targetOf(i), command: i }, { commit: true });
      const end = query.finished().catch(() => undefined);
      await harness.clock.pass(60_000, 1000);
      await end;
      assert.equal(query.destroyed, true, `query ${i}`);
    }
  });
});
