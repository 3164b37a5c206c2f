import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encodeAddress } from '../../../codecs/dht/address.ts';
import { INTERNAL } from '../../../codecs/dht/constants.ts';
import { DhtError } from '../../../server/dht/errors.ts';
import type { Query } from '../../../server/dht/query.ts';
import type { DhtNodeOptions } from '../../../server/dht/types.ts';
import { settle } from '../../helpers/dht-node-clock.ts';
import { NodeHarness, targetOf } from '../../helpers/dht-node-harness.ts';

const COMMAND = 50;
const TARGET = targetOf(5);

/** A node in a network of `count` others; the first of them is its bootstrap node. */
async function joined(count: number, options: DhtNodeOptions = {}): Promise<NodeHarness> {
  const harness = new NodeHarness({ bootstrap: ['45.0.7.9:49737'], ephemeral: true, ...options });
  harness.crowd(count);
  await harness.ready();
  harness.take();
  return harness;
}

async function finish<T>(harness: NodeHarness, query: Query<T>, ms = 5000): Promise<Query<T>> {
  const end = query.finished();
  await harness.clock.pass(ms);
  await end;
  return query;
}

function hosts(nodes: readonly { host: string }[]): string[] {
  return nodes.map(({ host }) => host);
}

describe('query', () => {
  test('it ends with the twenty closest, the closest first', async () => {
    const harness = await joined(300);
    for (let seed = 1; seed <= 20; seed++) {
      const target = targetOf(seed);
      const query = await finish(harness, harness.node.query({ target, command: COMMAND }));
      assert.deepEqual(hosts(query.closestNodes), hosts(harness.closest(target)), `seed ${seed}`);
      assert.ok(harness.take().length < 60, 'it does not ask everybody');
    }
    assert.deepEqual(harness.node.stats.queries, { active: 0, total: 22 });
  });

  test('from an empty table it starts with the bootstrap nodes', async () => {
    const harness = new NodeHarness({ bootstrap: ['45.0.7.9:49737'] });
    harness.crowd(50);
    const query = await finish(harness, harness.node.findNode(TARGET));
    assert.deepEqual(harness.sent[0].to.host, '45.0.7.9');
    assert.equal(query.closestReplies.length, 20);
  });

  test('all answers are told, as events and to an iterator, as map makes them', async () => {
    const harness = await joined(40);
    const told: string[] = [];
    const query = harness.node.query({ target: TARGET, command: COMMAND });
    query.on('data', (reply) => told.push(reply.from.host));
    await harness.clock.pass(3000);
    assert.equal(query.destroyed, true);
    assert.equal(told.length, query.successes);
    const read: string[] = [];
    const mapped = harness.node.query(
      { target: TARGET, command: COMMAND },
      { map: ({ from }) => (from.port === 1 ? '' : from.host) },
    );
    const reading = (async () => {
      for await (const host of mapped) read.push(host);
    })();
    await harness.clock.pass(3000);
    await reading;
    assert.equal(read.length, mapped.successes);
    assert.ok(read.includes(hosts(query.closestNodes)[0]));
  });

  test('who leaves the loop ends the query', async () => {
    const harness = await joined(100);
    const query = harness.node.query({ target: TARGET, command: COMMAND });
    const reading = (async () => {
      for await (const reply of query) if (reply.error === 0) break;
    })();
    await harness.clock.pass(1000);
    await reading;
    assert.equal(query.destroyed, true);
    assert.equal(harness.node.openRequests, 0);
    assert.ok(harness.sent.length <= 30, `${harness.sent.length} sent`);
  });

  test('while an iterator does not read, nobody else is asked', async () => {
    const harness = await joined(300);
    const query = harness.node.query({ target: TARGET, command: COMMAND });
    const iterator = query[Symbol.asyncIterator]();
    void iterator.next();
    await harness.clock.pass(60_000, 1000);
    const { length } = harness.take().filter(({ request }) => request.command === COMMAND);
    assert.ok(length <= 16 + 10 + 1, `${length} asked`);
    assert.equal(query.destroyed, false);
    let count = 1;
    const reading = (async () => {
      for await (const reply of { [Symbol.asyncIterator]: () => iterator }) if (reply) count++;
    })();
    await harness.clock.pass(5000);
    await reading;
    assert.equal(count, query.successes);
  });

  test('with commit the closest get the command again, with their tokens', async () => {
    const harness = await joined(100);
    const value = new Uint8Array([1, 2, 3]);
    const message = { target: TARGET, command: COMMAND, value };
    await finish(harness, harness.node.query(message, { commit: true }));
    const commits = harness.sent.filter(({ request }) => request.token !== null);
    assert.deepEqual(hosts(commits.map(({ to }) => to)), hosts(harness.closest(TARGET)));
    assert.ok(commits.every(({ request }) => request.token?.every((byte) => byte === 7)));
    assert.ok(commits.every(({ request }) => request.value?.length === 3));
  });

  test('a token that has turned is replaced once', async () => {
    const harness = await joined(30);
    const [peer] = harness.closest(TARGET);
    const fresh = new Uint8Array(32).fill(9);
    for (const refuses of [1, 100]) {
      harness.take();
      let refused = 0;
      peer.answer = (sent) => {
        if (sent.request.token === null || refused++ >= refuses) return harness.usual(sent);
        return { error: 2, token: fresh };
      };
      await finish(
        harness,
        harness.node.query({ target: TARGET, command: COMMAND }, { commit: true }),
      );
      const tokens = harness.sent
        .filter(({ to, request }) => to.host === peer.host && request.token !== null)
        .map(({ request }) => request.token?.[0]);
      assert.deepEqual(tokens, [7, 9]);
    }
  });

  test('a function for commit is called for each of the closest', async () => {
    const harness = await joined(60);
    const called: string[] = [];
    const commit = async (reply: { from: { host: string } }) => {
      called.push(reply.from.host);
      if (called.length === 1) throw new Error('this one not');
    };
    await finish(harness, harness.node.query({ target: TARGET, command: COMMAND }, { commit }));
    assert.deepEqual(called, hosts(harness.closest(TARGET)));
  });

  test('when all commits fail the query does, and when nobody answered', async () => {
    const harness = await joined(30);
    const commit = async () => {
      throw new Error('no room');
    };
    const query = harness.node.query({ target: TARGET, command: COMMAND }, { commit });
    const end = assert.rejects(query.finished(), /no room/);
    await harness.clock.pass(5000);
    await end;
    const alone = new NodeHarness();
    const lonely = alone.node.query({ target: TARGET, command: COMMAND }, { commit: true });
    await assert.rejects(
      lonely.finished(),
      (error) => error instanceof DhtError && error.code === 'TOO_FEW_REPLIES',
    );
  });

  test('nodes of an earlier query are asked first, and only they if so wanted', async () => {
    const harness = await joined(100);
    const first = await finish(harness, harness.node.findNode(TARGET));
    harness.take();
    const options = { closestReplies: first.closestReplies, onlyClosestNodes: true };
    const message = { target: TARGET, command: COMMAND };
    const second = await finish(harness, harness.node.query(message, options));
    assert.equal(harness.take().length, 20);
    assert.deepEqual(hosts(second.closestNodes), hosts(first.closestNodes));
    const nodes = first.closestNodes.slice(0, 3);
    await finish(harness, harness.node.query(message, { nodes, onlyClosestNodes: true }));
    assert.deepEqual(new Set(hosts(harness.take().map(({ to }) => to))), new Set(hosts(nodes)));
  });

  test('when the nodes it was told to start from are gone, the table helps', async () => {
    const harness = await joined(60);
    const nodes = Array.from({ length: 20 }, (_, i) => ({ host: `77.${i}.1.1`, port: 1 }));
    const query = harness.node.query({ target: TARGET, command: COMMAND }, { nodes, retries: 0 });
    await finish(harness, query, 20_000);
    assert.deepEqual(hosts(query.closestNodes), hosts(harness.closest(TARGET)));
  });

  test('a slow node takes nobody else his turn, and is not waited for in the end', async () => {
    const harness = await joined(100);
    for (const peer of harness.closest(TARGET, 40).slice(20)) peer.isDown = true;
    const start = harness.clock.now();
    let endedAt = 0;
    const query = harness.node.query({ target: TARGET, command: COMMAND });
    query.once('close', () => {
      endedAt = harness.clock.now();
    });
    await finish(harness, query, 10_000);
    assert.deepEqual(hosts(query.closestNodes), hosts(harness.closest(TARGET)));
    assert.ok(endedAt - start <= 1200, `it took ${endedAt - start} ms`);
  });

  test('those who named a node that is down are told, so many per tick', async () => {
    // So few that all of them are waited for.
    const harness = await joined(15, { downHintsRateLimit: 3 });
    const victim = harness.closest(TARGET)[2];
    const named = harness.closest(TARGET);
    for (const peer of named) peer.answer = () => ({ closerNodes: named });
    victim.isDown = true;
    // Between two ticks.
    await harness.clock.pass(5000 - (harness.clock.now() % 5000));
    await finish(harness, harness.node.query({ target: TARGET, command: COMMAND }), 7000);
    const hints = harness.sent.filter(({ request }) => {
      return request.isInternal && request.command === INTERNAL.DOWN_HINT;
    });
    assert.equal(hints.length, 3);
    for (const { request } of hints) assert.deepEqual(request.value, encodeAddress(victim));
    assert.ok(!harness.node.toArray().some(({ host }) => host === victim.host), 'and forgotten');
  });

  test('destroyed by its user it says so, with the error if there is one', async () => {
    const harness = await joined(60);
    const query = harness.node.findNode(TARGET);
    const end = query.finished();
    query.destroy();
    await end;
    const failed = harness.node.findNode(TARGET);
    const rejected = assert.rejects(failed.finished(), /enough/);
    const errors: Error[] = [];
    failed.on('error', (error) => errors.push(error));
    failed.destroy(new Error('enough'));
    await rejected;
    await assert.rejects(failed.finished(), /enough/);
    assert.equal(errors.length, 1);
    await settle();
    assert.equal(harness.node.stats.queries.active, 0);
  });

  test('an answer with an error counts as one, but its closer nodes are asked', async () => {
    const harness = await joined(60);
    for (const peer of harness.peers.values()) {
      peer.answer = (sent) => ({ ...harness.usual(sent), error: 1 });
    }
    const query = await finish(harness, harness.node.query({ target: TARGET, command: COMMAND }));
    assert.equal(query.successes, 0);
    assert.ok(query.errors > 20);
    assert.equal(query.closestReplies.length, 0);
  });
});
