import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { INTERNAL } from '../../../codecs/dht/constants.ts';
import { nodeId } from '../../../codecs/dht/node-id.ts';
import type { DhtNodeOptions } from '../../../server/dht/types.ts';
import {
  CLIENT_PORT,
  NodeHarness,
  OWN_HOST,
  SERVER_PORT,
  type Sent,
  targetOf,
} from '../../helpers/dht-node-harness.ts';

const BOOTSTRAP = ['45.0.7.9:49737'];
const TICK_MS = 5000;
const STABLE_MS = 240 * TICK_MS;
const HOUR_MS = 3_600_000;

async function joined(options: DhtNodeOptions = {}, isServerOpen = true): Promise<NodeHarness> {
  const harness = new NodeHarness({ bootstrap: BOOTSTRAP, ...options });
  harness.isServerOpen = isServerOpen;
  harness.crowd(30);
  return harness.ready();
}

function natPings(sent: readonly Sent[]): number {
  return sent.filter(({ request }) => {
    return request.isInternal && request.command === INTERNAL.PING_NAT;
  }).length;
}

describe('network state', () => {
  test('a node that can be reached finds out while it looks around', async () => {
    const harness = await joined();
    const { node, sent } = harness;
    assert.equal(node.firewalled, false);
    assert.equal(node.ephemeral, true);
    assert.equal(node.id, null);
    assert.deepEqual([node.host, node.port], [OWN_HOST, SERVER_PORT]);
    assert.deepEqual(node.remoteAddress(), { host: OWN_HOST, port: SERVER_PORT });
    assert.deepEqual(node.tableId, nodeId(OWN_HOST, SERVER_PORT), 'sorted by the id to be');
    const first = sent.findIndex(({ request }) => request.command === INTERNAL.PING_NAT);
    assert.deepEqual([...(sent[first].request.value ?? [])], [SERVER_PORT & 255, SERVER_PORT >> 8]);
    assert.ok(sent.slice(0, first).every(({ from }) => from === 'client'));
    assert.equal(natPings(sent), 1 + 5);
  });

  test('one that cannot stays firewalled and asks from its client socket', async () => {
    const harness = await joined({}, false);
    const { node, sent } = harness;
    assert.equal(node.firewalled, true);
    assert.deepEqual([node.host, node.port], [OWN_HOST, CLIENT_PORT]);
    assert.equal(node.remoteAddress(), null);
    assert.ok(sent.every(({ from, request }) => from === 'client' && request.id === null));
    assert.equal(natPings(sent), 4, 'one, sent four times');
    const asked = sent.find(({ request }) => request.command === INTERNAL.PING_NAT);
    const known = node.toArray().map(({ host }) => host);
    assert.ok(asked && known.includes(asked.to.host), 'who could not reach it is still known');
  });

  test('after twenty quiet minutes it turns persistent, and shows its id', async () => {
    const harness = await joined();
    const { node, clock, events } = harness;
    await clock.pass(STABLE_MS - 30_000, TICK_MS);
    assert.equal(node.ephemeral, true);
    await clock.pass(60_000, TICK_MS);
    assert.equal(node.ephemeral, false);
    assert.deepEqual(node.id, nodeId(OWN_HOST, SERVER_PORT));
    assert.ok(events.includes('persistent'));
    harness.take();
    void node.ping({ host: '45.3.7.9', port: SERVER_PORT });
    assert.deepEqual(harness.sent[0].request.id, node.id);
    assert.equal(harness.sent[0].from, 'server');
  });

  test('a firewalled one is tested after twenty minutes, and not again where it is', async () => {
    const harness = await joined({}, false);
    const { node, clock } = harness;
    harness.take();
    await clock.pass(STABLE_MS + 60_000, TICK_MS);
    assert.equal(node.ephemeral, true);
    assert.equal(natPings(harness.take()), 5 * 4, 'five, none of which is answered');
    await clock.pass(5 * HOUR_MS, TICK_MS);
    assert.equal(natPings(harness.take()), 0);
  });

  test('three of five must reach it, and agree on where', async () => {
    const cases: [answers: number, sees: string | null, isOpen: boolean][] = [
      [5, null, true],
      [3, null, true],
      [2, null, false],
      [5, '62.1.1.1', false],
    ];
    for (const [answers, sees, isOpen] of cases) {
      const harness = await joined({ quickFirewall: false });
      let left = answers;
      for (const peer of harness.peers.values()) {
        peer.answer = (sent) => {
          if (sent.request.command !== INTERNAL.PING_NAT) return harness.usual(sent);
          if (left-- <= 0) return null;
          return sees === null ? {} : { to: { host: sees, port: SERVER_PORT } };
        };
      }
      await harness.clock.pass(STABLE_MS + 60_000, TICK_MS);
      assert.equal(!harness.node.ephemeral, isOpen, `${answers} answers, sees ${sees}`);
    }
  });

  test('another port outside than inside is no server', async () => {
    const harness = await joined({ quickFirewall: false });
    for (const peer of harness.peers.values()) {
      peer.answer = (sent) =>
        sent.request.command === INTERNAL.PING_NAT
          ? { to: { host: OWN_HOST, port: 1234 } }
          : harness.usual(sent);
    }
    await harness.clock.pass(STABLE_MS + 60_000, TICK_MS);
    assert.equal(harness.node.ephemeral, true);
    assert.equal(harness.node.firewalled, true);
  });

  test('ephemeral false is persistent as soon as it is tested, true never', async () => {
    const eager = await joined({ ephemeral: false });
    assert.equal(eager.node.ephemeral, false);
    assert.ok(eager.events.indexOf('persistent') < eager.events.indexOf('ready'));
    const shy = await joined({ ephemeral: true });
    await shy.clock.pass(HOUR_MS, TICK_MS);
    assert.equal(shy.node.ephemeral, true);
    assert.equal(shy.node.adaptive, false);
  });

  test('in a private network it is persistent at once', async () => {
    const harness = new NodeHarness({ isPrivate: true, bootstrap: [1000] });
    const seesUs = { host: '127.0.0.1', port: CLIENT_PORT };
    harness.peer('127.0.0.1', 1000, { seesUs });
    harness.peer('127.0.0.1', 1000).answer = (sent) => {
      const isNatPing = sent.request.command === INTERNAL.PING_NAT;
      const port = isNatPing || sent.from === 'server' ? SERVER_PORT : CLIENT_PORT;
      return { ...harness.usual(sent), to: { host: '127.0.0.1', port } };
    };
    await harness.ready();
    assert.equal(harness.node.ephemeral, false);
    assert.deepEqual(harness.node.id, nodeId('127.0.0.1', SERVER_PORT));
  });

  test('a bootstrap node that knows its address needs nobody', async () => {
    const harness = new NodeHarness({ isBootstrap: true, host: '62.4.4.4' });
    await harness.ready();
    assert.equal(harness.node.firewalled, false);
    assert.deepEqual(harness.node.id, nodeId('62.4.4.4', SERVER_PORT));
    assert.deepEqual(harness.events, ['listening', 'persistent', 'ready']);
  });

  test('one that does not learns it from nodes of three networks', async () => {
    const harness = new NodeHarness({ isBootstrap: true });
    await harness.ready();
    const { node, clock } = harness;
    assert.equal(node.ephemeral, true);
    const crowd = harness.crowd(3);
    for (const port of [1, 2, 3, 4]) {
      harness.peer('45.0.7.10', port);
      node.sighted({ host: '45.0.7.10', port });
    }
    await clock.pass(60_000, 1000);
    assert.equal(node.host, OWN_HOST);
    assert.equal(node.ephemeral, true, 'one network is not enough');
    for (const peer of crowd) node.sighted(peer);
    await clock.pass(10_000, 1000);
    assert.deepEqual(node.id, nodeId(OWN_HOST, SERVER_PORT));
  });

  test('three that corroborate it late are enough at once', async () => {
    const harness = new NodeHarness({ isBootstrap: true });
    await harness.ready();
    const { node, clock } = harness;
    for (const host of ['45.0.7.9', '46.0.7.9', '47.0.7.9']) {
      // Nobody tells it of the others.
      harness.peer(host).answer = () => ({});
      node.sighted({ host, port: SERVER_PORT });
      if (host !== '47.0.7.9') await clock.pass(10 * 60_000, TICK_MS);
    }
    assert.equal(node.ephemeral, true);
    await clock.pass(2 * TICK_MS, TICK_MS);
    assert.deepEqual(node.id, nodeId(OWN_HOST, SERVER_PORT));
  });

  test('when its address becomes another one it starts over with that', async () => {
    const harness = await joined({ ephemeral: false, firewalled: false });
    const { node, clock, events } = harness;
    assert.deepEqual(node.id, nodeId(OWN_HOST, SERVER_PORT));
    for (const peer of harness.peers.values()) {
      peer.seesUs = { host: '62.9.9.9', port: SERVER_PORT };
    }
    events.splice(0);
    await clock.pass(2 * HOUR_MS, TICK_MS);
    assert.deepEqual(node.id, nodeId('62.9.9.9', SERVER_PORT));
    const changes = events.filter((event) => event === 'ephemeral' || event === 'persistent');
    assert.deepEqual(changes, ['ephemeral', 'persistent']);
  });

  test('told that the network has changed, it notices its new address within minutes', async () => {
    const harness = await joined({ ephemeral: false, firewalled: false });
    const { node, clock } = harness;
    for (const peer of harness.peers.values()) {
      peer.seesUs = { host: '62.9.9.9', port: SERVER_PORT };
    }
    await clock.pass(2 * 60_000, TICK_MS);
    assert.deepEqual(node.id, nodeId(OWN_HOST, SERVER_PORT));
    node.networkChanged([]);
    await clock.pass(2 * 60_000, TICK_MS);
    assert.deepEqual(node.id, nodeId('62.9.9.9', SERVER_PORT));
  });

  test('nonsense about our address is not heard', async () => {
    const harness = new NodeHarness({ bootstrap: BOOTSTRAP });
    for (const peer of harness.crowd(8)) peer.seesUs = { host: '10.0.0.1', port: 99 };
    await harness.ready();
    assert.equal(harness.node.host, null);
    for (const peer of harness.peers.values()) peer.seesUs = { host: OWN_HOST, port: 0 };
    await harness.clock.pass(HOUR_MS, TICK_MS);
    assert.equal(harness.node.host, null);
  });

  test('a port for each who is asked is a randomizing NAT', async () => {
    const harness = new NodeHarness({ bootstrap: BOOTSTRAP });
    let port = 20_000;
    for (const peer of harness.crowd(30)) peer.seesUs = { host: OWN_HOST, port: port++ };
    await harness.ready();
    assert.deepEqual([harness.node.host, harness.node.port], [OWN_HOST, 0]);
    assert.equal(harness.node.randomized, true);
    await harness.clock.pass(2 * HOUR_MS, TICK_MS);
    assert.equal(harness.node.ephemeral, true);
  });

  test('with another id all that it knew is sorted anew', async () => {
    const harness = await joined();
    assert.ok(harness.table.size >= 20);
    const found = harness.table.closest(targetOf(1), 20);
    assert.equal(new Set(found.map(({ host }) => host)).size, found.length);
  });
});
