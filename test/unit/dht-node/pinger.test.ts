import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { INTERNAL } from '../../../codecs/dht/constants.ts';
import type { KnownNode } from '../../../workers/dht/table-writer.ts';
import { NodeHarness, type Sent } from '../../helpers/dht-node-harness.ts';

const TICK_MS = 5000;
const ROUND_MS = 8 * TICK_MS;

/** A node that knows all of a crowd of `count`, with buckets full and not. */
async function acquainted(count: number): Promise<NodeHarness> {
  const harness = new NodeHarness({ ephemeral: true });
  for (const peer of harness.crowd(count)) harness.node.addNode(peer);
  await harness.ready();
  harness.take();
  return harness;
}

function pings(sent: readonly Sent[]): Sent[] {
  return sent.filter(({ request }) => request.isInternal && request.command === INTERNAL.PING);
}

function known(harness: NodeHarness, host: string): KnownNode {
  const node = harness.table.all().find((one) => one.host === host);
  assert.ok(node, `${host} is not known`);
  return node;
}

describe('pinger', () => {
  test('every eighth tick those silent for longest are pinged, and the dead removed', async () => {
    const harness = await acquainted(12);
    const removed: string[] = [];
    harness.node.on('remove-node', ({ host }) => removed.push(host));
    await harness.clock.pass(ROUND_MS * 10, 1000);
    const first = pings(harness.take());
    assert.ok(first.length >= 20 && first.length <= 60, `${first.length} pings in 10 rounds`);
    assert.deepEqual(removed, []);
    const victim = [...harness.peers.values()][3];
    victim.isDown = true;
    await harness.clock.pass(ROUND_MS * 20, 1000);
    assert.deepEqual(removed, [victim.host]);
    assert.equal(harness.table.size, 11);
  });

  test('a node said to be down is pinged, and stays when it answers', async () => {
    const harness = await acquainted(6);
    const node = known(harness, '45.2.7.9');
    harness.node.downHint(node);
    assert.deepEqual(
      pings(harness.take()).map(({ to }) => to.host),
      ['45.2.7.9'],
    );
    await harness.clock.pass(1000);
    assert.equal(known(harness, '45.2.7.9').downHints, 1);
    // In the same tick nobody can make us ping it again.
    harness.node.downHint(known(harness, '45.2.7.9'));
    assert.equal(pings(harness.take()).length, 0);
  });

  test('one that does not answer is removed', async () => {
    const harness = await acquainted(6);
    const peer = harness.peers.get('45.2.7.9:49737');
    assert.ok(peer);
    peer.isDown = true;
    harness.node.downHint(known(harness, '45.2.7.9'));
    await harness.clock.pass(3900);
    assert.equal(harness.table.size, 6);
    await harness.clock.pass(200);
    assert.equal(harness.table.size, 5);
  });

  test('so is one that answers without its id: it has left', async () => {
    const harness = await acquainted(6);
    const peer = harness.peers.get('45.2.7.9:49737');
    assert.ok(peer);
    peer.isPersistent = false;
    harness.node.downHint(known(harness, '45.2.7.9'));
    await harness.clock.pass(100);
    assert.equal(harness.table.size, 5);
  });

  test('at most ten nodes are checked at a time because somebody says so', async () => {
    const harness = await acquainted(30);
    for (const peer of harness.peers.values()) peer.isDown = true;
    for (const node of harness.table.all()) harness.node.downHint(node);
    assert.equal(pings(harness.take()).length, 10);
    await harness.clock.pass(4000);
    harness.take();
    for (const node of harness.table.all()) harness.node.downHint(node);
    assert.equal(pings(harness.take()).length, 10);
  });

  test('checks that end with the session or a suspension remove nobody', async () => {
    const harness = await acquainted(6);
    for (const node of harness.table.all()) harness.node.downHint(node);
    await harness.node.suspend();
    assert.equal(harness.table.size, 6);
  });
});

describe('pinger: full buckets', () => {
  /** A node with a full bucket, and a peer that would be in it. */
  async function crowded() {
    const harness = new NodeHarness({ ephemeral: true });
    const { node, table } = harness;
    await harness.ready();
    const all = harness.crowd(200);
    for (const peer of all) node.addNode(peer);
    const outside = all.find((peer) => table.get(peer.id) === null);
    assert.ok(outside);
    const bucket = table.bucketOf(outside.id);
    assert.equal(bucket.length, 20);
    await harness.clock.pass(4 * TICK_MS, 1000);
    harness.take();
    return { harness, outside, bucket };
  }

  test('a new node takes the place of the oldest when that is silent', async () => {
    const { harness, outside, bucket } = await crowded();
    for (const { host } of bucket) {
      const peer = harness.peers.get(`${host}:49737`);
      if (peer !== undefined) peer.isDown = true;
    }
    const added: string[] = [];
    harness.node.on('add-node', ({ host }) => added.push(host));
    void harness.node.ping(outside);
    await harness.clock.pass(100);
    assert.equal(pings(harness.sent).length, 2, 'the new one, then the oldest');
    const oldest = harness.sent[1].to.host;
    assert.ok(bucket.some(({ host }) => host === oldest));
    assert.equal(harness.table.get(outside.id), null);
    await harness.clock.pass(4000);
    assert.notEqual(harness.table.get(outside.id), null);
    assert.deepEqual(added, [outside.host]);
    assert.equal(harness.table.bucketOf(outside.id).length, 20);
  });

  test('when the oldest answers, the new one is not taken', async () => {
    const { harness, outside, bucket } = await crowded();
    void harness.node.ping(outside);
    await harness.clock.pass(5000);
    assert.equal(harness.table.get(outside.id), null);
    assert.deepEqual(
      harness.table.bucketOf(outside.id).map(({ host }) => host),
      bucket.map(({ host }) => host),
    );
  });

  test('at most three of the oldest are pinged at a time', async () => {
    const { harness, outside } = await crowded();
    const others = [...harness.peers.values()].filter(
      (peer) =>
        harness.table.get(peer.id) === null && harness.table.bucketOf(peer.id).length === 20,
    );
    assert.ok(others.length > 5 && others.includes(outside));
    for (const peer of harness.peers.values()) {
      if (!others.includes(peer)) peer.isDown = true;
    }
    for (const peer of others) void harness.node.ping(peer);
    harness.take();
    await harness.clock.pass(1000);
    const asked = new Set(pings(harness.take()).map(({ to }) => to.host));
    for (const { host } of others) asked.delete(host);
    assert.equal(asked.size, 3);
  });
});
