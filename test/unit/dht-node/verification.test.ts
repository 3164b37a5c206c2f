import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { INTERNAL } from '../../../codecs/dht/constants.ts';
import type { DhtNodeOptions } from '../../../server/dht/types.ts';
import { NodeHarness } from '../../helpers/dht-node-harness.ts';

/** A node that asks nobody by itself, at the beginning of a second. */
async function quiet(options: DhtNodeOptions = {}): Promise<NodeHarness> {
  const harness = new NodeHarness({ isBootstrap: true, host: '62.4.4.4', ...options });
  await harness.ready();
  await harness.clock.pass(1000 - (harness.clock.now() % 1000));
  harness.take();
  return harness;
}

describe('sightings', () => {
  test('a node that was sighted is pinged once, and known when it answers', async () => {
    const harness = await quiet();
    const [peer, silent] = harness.crowd(2);
    silent.isDown = true;
    for (const node of [peer, silent, peer, silent]) harness.node.sighted(node);
    assert.equal(harness.sent.length, 2);
    assert.ok(harness.sent.every(({ from }) => from === 'server'));
    assert.ok(harness.sent.every(({ request }) => request.command === INTERNAL.PING));
    await harness.clock.pass(10_000, 1000);
    assert.equal(harness.sent.length, 2, 'nothing is sent again');
    assert.deepEqual(harness.node.toArray(), [{ host: peer.host, port: peer.port }]);
    assert.deepEqual(harness.proven, [`${peer.host}:${peer.port}`]);
    harness.node.sighted(silent);
    assert.equal(harness.sent.length, 2, 'not so soon again');
    await harness.clock.pass(20_000, 1000);
    harness.take();
    harness.node.sighted(peer);
    harness.node.sighted(silent);
    assert.deepEqual(
      harness.take().map(({ to }) => to.port),
      [silent.port],
      'the silent one again, the known one not',
    );
  });

  test('the socket it asked at is the one it is pinged from', async () => {
    const harness = await quiet();
    harness.node.sighted(harness.crowd(1)[0], 'client');
    assert.equal(harness.sent[0].from, 'client');
  });

  test('at most four a second of a network, the next ones in the next seconds', async () => {
    const harness = await quiet();
    for (let i = 1; i <= 40; i++) harness.node.sighted({ host: `45.1.1.${i}`, port: 1 });
    assert.equal(harness.take().length, 4);
    for (let second = 0; second < 4; second++) {
      await harness.clock.pass(1000);
      assert.equal(harness.take().length, 4, `second ${second}`);
    }
    await harness.clock.pass(5000);
    assert.equal(harness.take().length, 0, 'sixteen waited, the others were dropped');
  });

  test('at most sixty-four a second of all', async () => {
    const harness = await quiet();
    const crowd = harness.crowd(500);
    for (const peer of crowd) harness.node.sighted(peer);
    assert.equal(harness.take().length, 64);
    let total = 64;
    for (let second = 0; second < 4; second++) {
      await harness.clock.pass(1000);
      const { length } = harness.take();
      assert.ok(length <= 64, `${length} in second ${second}`);
      total += length;
    }
    assert.equal(total, 64 + 256);
  });

  test('a /16 that has ids without end leaves room for others', async () => {
    const harness = await quiet();
    for (let i = 0; i < 4000; i++) {
      harness.node.sighted({ host: `66.77.${i % 256}.${1 + Math.floor(i / 256)}`, port: 1 });
    }
    assert.equal(harness.take().length, 16);
    const crowd = harness.crowd(100);
    for (const peer of crowd) harness.node.sighted(peer);
    await harness.clock.pass(3000);
    const asked = new Set(harness.take().map(({ to }) => to.host));
    assert.ok(crowd.every(({ host }) => asked.has(host)));
  });

  test('in a private network fifty on one machine are known within a second', async () => {
    const harness = await quiet({ isPrivate: true, host: '127.0.0.1' });
    for (let i = 0; i < 50; i++) {
      harness.node.sighted(harness.peer('127.0.0.1', 5000 + i));
    }
    await harness.clock.pass(1000);
    const { length } = harness.node.toArray();
    const full = harness.node.toArray().length >= 50;
    assert.ok(full || length >= 40, `${length} known`);
  });

  test('nobody is pinged for whom there is no room anyway', async () => {
    const harness = await quiet();
    const crowd = harness.crowd(200);
    for (const peer of crowd) harness.node.addNode(peer);
    // Known for so long, and heard from so lately, that they stay.
    await harness.clock.pass(31 * 60_000, 1000);
    for (const node of harness.table.all()) harness.table.setSeen(node.id, harness.node.tick);
    harness.take();
    const outside = crowd.filter((peer) => harness.table.get(peer.id) === null);
    assert.ok(outside.length > 50);
    for (const peer of outside) harness.node.sighted(peer);
    assert.equal(harness.take().length, 0);
  });

  test('addresses that no node of the network has are not pinged', async () => {
    const harness = await quiet();
    for (const host of ['10.1.1.1', '127.0.0.1', '0.0.0.0', '230.1.1.1', '255.255.255.255']) {
      harness.node.sighted({ host, port: 1 });
      harness.node.challenge({ host, port: 1 });
    }
    assert.equal(harness.sent.length, 0);
  });

  test('a filter has its say', async () => {
    const harness = await quiet({ filterNode: ({ host }) => host !== '45.0.7.9' });
    const [refused, taken] = harness.crowd(2);
    harness.node.sighted(refused);
    harness.node.sighted(taken);
    assert.deepEqual(
      harness.sent.map(({ to }) => to.host),
      [taken.host],
    );
  });
});

/** Guesses at what was sent last, in the name of whom it went to. */
function forge(harness: NodeHarness, count: number): void {
  const sent = harness.sent[harness.sent.length - 1];
  for (let guess = 1; guess <= count; guess++) {
    harness.reply(sent, sent.to, { tid: sent.request.tid ^ guess });
  }
}

describe('who answers among many guesses', () => {
  test('is pinged again later, with another id, and known when that is proof', async () => {
    const harness = await quiet();
    const [peer] = harness.crowd(1);
    harness.node.sighted(peer);
    forge(harness, 64);
    await harness.clock.pass(1900);
    assert.deepEqual([harness.sent.length, harness.table.size, harness.proven.length], [1, 0, 0]);
    await harness.clock.pass(2200);
    assert.equal(harness.sent.length, 2);
    assert.notEqual(harness.sent[0].request.tid, harness.sent[1].request.tid);
    assert.equal(harness.table.size, 1);
    assert.equal(harness.proven.length, 1);
    await harness.clock.pass(60_000, 1000);
    assert.ok(peer.got.length < 4, 'it is not asked on and on');
  });

  test('so is one beyond its budget', async () => {
    const harness = await quiet();
    const peer = harness.peer('45.5.5.5', 1234, { isPersistent: false });
    harness.node.challenge(peer);
    forge(harness, 100);
    await harness.clock.pass(5000);
    assert.deepEqual(harness.proven, ['45.5.5.5:1234']);
  });

  test('is pinged three times more, while the guessing goes on', async () => {
    const harness = await quiet();
    const [peer] = harness.crowd(1);
    const send = harness.send.bind(harness);
    harness.send = (from, datagram, to) => {
      send(from, datagram, to);
      forge(harness, 64);
    };
    harness.node.sighted(peer);
    await harness.clock.pass(600_000, 1000);
    assert.equal(peer.got.length, 4);
    assert.equal(harness.table.size, 0);
    harness.send = send;
    harness.node.sighted(peer);
    await harness.clock.pass(1000);
    assert.equal(harness.table.size, 1, 'nothing is held against it');
  });

  test('so many are remembered, and none when the node ends', async () => {
    const harness = await quiet();
    const { node, clock } = harness;
    for (let i = 0; i < 200; i++) {
      const pending = node.ping(harness.peer(`45.${i}.7.9`));
      forge(harness, 64);
      harness.reply(harness.sent[i], harness.sent[i].to);
      await pending;
    }
    harness.take();
    await clock.pass(4100);
    assert.equal(harness.take().length, 64);
    const last = node.ping(harness.peer('46.0.7.9'));
    forge(harness, 64);
    await clock.pass(100);
    await last;
    await node.destroy();
    assert.equal(clock.pending, 0);
  });
});

describe('challenges', () => {
  test('a source that is sighted and beyond its budget draws one ping, not two', async () => {
    const harness = await quiet();
    const [first, second] = harness.crowd(2);
    for (const peer of [first, second]) peer.isDown = true;
    harness.node.sighted(first);
    assert.equal(harness.node.challenge(first), false);
    assert.equal(harness.node.challenge(second), true);
    harness.node.sighted(second);
    await harness.clock.pass(10_000, 1000);
    assert.equal(harness.node.challenge(first), false);
    harness.node.sighted(second);
    assert.equal(harness.take().length, 2);
  });

  test('a source beyond its budget gets one short ping, and its answer proves it', async () => {
    const harness = await quiet();
    const peer = harness.peer('45.5.5.5', 1234, { isPersistent: false });
    for (let i = 0; i < 5; i++) harness.node.challenge(peer);
    assert.equal(harness.sent.length, 1);
    assert.equal(harness.sent[0].request.id, null, 'though the node is persistent');
    assert.equal(harness.sent[0].bytes, 11);
    await harness.clock.pass(29_000, 1000);
    assert.deepEqual(harness.proven, ['45.5.5.5:1234']);
    assert.equal(harness.table.size, 0);
    harness.node.challenge(peer);
    assert.equal(harness.sent.length, 1);
    await harness.clock.pass(2000, 1000);
    harness.node.challenge(peer);
    assert.equal(harness.sent.length, 2);
  });

  test('so many a second, and so many of a network', async () => {
    const harness = await quiet();
    for (let i = 1; i <= 20; i++) harness.node.challenge({ host: `45.1.1.${i}`, port: 1 });
    assert.equal(harness.take().length, 4);
    for (let i = 0; i < 255; i++) harness.node.challenge({ host: `46.1.${i}.1`, port: 1 });
    assert.equal(harness.take().length, 16);
    for (let i = 0; i < 255; i++) harness.node.challenge({ host: `47.${i}.1.1`, port: 1 });
    assert.equal(harness.take().length, 64 - 4 - 16);
  });
});
