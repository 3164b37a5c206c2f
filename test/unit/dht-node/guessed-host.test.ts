/** A bootstrap node that has to guess its address, since nobody has named it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { NodeAddress } from '../../../codecs/dht/address.ts';
import { nodeId } from '../../../codecs/dht/node-id.ts';
import type { DhtNodeOptions } from '../../../server/dht/types.ts';
import { NodeHarness, OWN_HOST, SERVER_PORT } from '../../helpers/dht-node-harness.ts';

const TICK_MS = 5000;
const HOUR_MS = 3_600_000;
const GUESS = '62.4.4.4';
const LAN = '192.168.7.1';

async function bootstrapNode(options: DhtNodeOptions): Promise<NodeHarness> {
  return new NodeHarness({ isBootstrap: true, firewalled: false, ...options }).ready();
}

/** A node of the LAN that asks, and sees us at `seesUs`. */
function lanPeer(harness: NodeHarness, last: number, seesUs: string): NodeAddress {
  const sees = { host: seesUs, port: SERVER_PORT };
  const peer = harness.peer(`192.168.7.${last}`, SERVER_PORT, { seesUs: sees });
  // Nobody tells it of the others.
  peer.answer = () => ({});
  return peer;
}

describe('a guessed address in a public network', () => {
  test('is taken at once, and given up when three networks agree on another', async () => {
    const harness = await bootstrapNode({ guessedHost: GUESS });
    const { node, clock, events } = harness;
    assert.deepEqual(node.id, nodeId(GUESS, SERVER_PORT));
    assert.deepEqual(events, ['listening', 'persistent', 'ready']);
    for (const peer of harness.crowd(20)) node.sighted(peer);
    await clock.pass(30_000, TICK_MS);
    assert.deepEqual(node.id, nodeId(GUESS, SERVER_PORT), 'they may err for a while');
    await clock.pass(60_000, TICK_MS);
    assert.deepEqual(node.id, nodeId(OWN_HOST, SERVER_PORT));
    assert.equal(node.ephemeral, false);
    for (const [i, peer] of [...harness.peers.values()].entries()) {
      peer.seesUs = { host: `62.9.9.${1 + (i % 4)}`, port: SERVER_PORT };
    }
    await clock.pass(2 * HOUR_MS, TICK_MS);
    assert.equal(node.host, null, 'they see it at several addresses');
    assert.deepEqual(node.id, nodeId(OWN_HOST, SERVER_PORT), 'not what was wrong');
  });

  test('stands against two networks, and against nodes that disagree', async () => {
    const harness = await bootstrapNode({ guessedHost: GUESS });
    const { node, clock } = harness;
    for (let i = 0; i < 12; i++) {
      const peer = harness.peer(`45.0.${i & 1}.${i + 1}`);
      peer.answer = () => ({});
      node.sighted(peer);
    }
    await clock.pass(HOUR_MS, TICK_MS);
    assert.deepEqual(node.id, nodeId(GUESS, SERVER_PORT));
    const torn = await bootstrapNode({ guessedHost: GUESS });
    for (const [i, peer] of torn.crowd(12).entries()) {
      peer.seesUs = { host: `62.9.9.${1 + (i % 4)}`, port: SERVER_PORT };
      torn.node.sighted(peer);
    }
    await torn.clock.pass(HOUR_MS, TICK_MS);
    assert.deepEqual(torn.node.id, nodeId(GUESS, SERVER_PORT));
  });

  test('has to be one that a node of the network can have', async () => {
    for (const guessedHost of [LAN, '127.0.0.1', '198.18.0.1', '203.0.113.7', '0.0.0.0', 'x']) {
      const harness = await bootstrapNode({ guessedHost });
      assert.equal(harness.node.host, null, guessedHost);
      assert.equal(harness.node.ephemeral, true);
      harness.node.guessHost(guessedHost);
      assert.equal(harness.node.host, null, `${guessedHost}, later`);
      for (const peer of harness.crowd(3)) harness.node.sighted(peer);
      await harness.clock.pass(10_000, 1000);
      assert.deepEqual(harness.node.id, nodeId(OWN_HOST, SERVER_PORT), 'others tell it');
    }
  });

  test('is not what the operator has said, which stands, nor for other nodes', async () => {
    const named = await bootstrapNode({ host: '62.5.5.5', guessedHost: GUESS });
    named.node.guessHost(GUESS);
    for (const peer of named.crowd(20)) named.node.sighted(peer);
    await named.clock.pass(HOUR_MS, TICK_MS);
    assert.deepEqual(named.node.id, nodeId('62.5.5.5', SERVER_PORT));
    const other = await new NodeHarness({ guessedHost: GUESS, ephemeral: false }).ready();
    assert.equal(other.node.host, null);
    assert.equal(other.node.ephemeral, true);
  });

  test('may come when the network does', async () => {
    const harness = await bootstrapNode({});
    assert.equal(harness.node.ephemeral, true);
    harness.node.guessHost(GUESS);
    assert.deepEqual(harness.node.id, nodeId(GUESS, SERVER_PORT));
    assert.deepEqual(harness.events, ['listening', 'ready', 'nat-update', 'persistent']);
  });
});

describe('a guessed address in a private network', () => {
  test('is corrected by the only node there is', async () => {
    const harness = await bootstrapNode({ isPrivate: true, guessedHost: '172.17.0.1' });
    const { node, clock } = harness;
    assert.deepEqual(node.id, nodeId('172.17.0.1', SERVER_PORT));
    node.sighted(lanPeer(harness, 20, LAN));
    await clock.pass(90_000, TICK_MS);
    assert.deepEqual(node.id, nodeId(LAN, SERVER_PORT));
    assert.equal(node.ephemeral, false);
  });

  test('is kept when one sees another address and the others the same', async () => {
    const harness = await bootstrapNode({ isPrivate: true, guessedHost: LAN });
    const { node, clock } = harness;
    node.sighted(lanPeer(harness, 20, LAN));
    node.sighted(lanPeer(harness, 21, '10.1.1.1'));
    for (const last of [22, 23]) node.sighted(lanPeer(harness, last, LAN));
    await clock.pass(2 * HOUR_MS, TICK_MS);
    assert.deepEqual(node.id, nodeId(LAN, SERVER_PORT));
  });

  test('is another one when the network comes after the node, within seconds', async () => {
    const harness = await bootstrapNode({ isPrivate: true, guessedHost: '127.0.0.1' });
    const { node, clock } = harness;
    assert.deepEqual(node.id, nodeId('127.0.0.1', SERVER_PORT));
    node.guessHost(LAN);
    assert.deepEqual(node.id, nodeId(LAN, SERVER_PORT));
    assert.deepEqual(harness.events.slice(-3), ['nat-update', 'ephemeral', 'persistent']);
    node.sighted(lanPeer(harness, 20, '10.1.1.1'));
    await clock.pass(90_000, TICK_MS);
    assert.deepEqual(node.id, nodeId('10.1.1.1', SERVER_PORT));
    harness.events.splice(0);
    node.guessHost('192.168.8.1');
    await clock.pass(90_000, TICK_MS);
    assert.deepEqual(harness.events, []);
    assert.deepEqual(node.id, nodeId('10.1.1.1', SERVER_PORT), 'others know better');
  });

  test('holds after a suspension, with the port there is then', async () => {
    const harness = await bootstrapNode({ isPrivate: true, guessedHost: LAN });
    await harness.node.suspend();
    await harness.node.resume();
    await harness.clock.pass(90_000, TICK_MS);
    assert.deepEqual(harness.node.id, nodeId(LAN, SERVER_PORT));
  });
});
