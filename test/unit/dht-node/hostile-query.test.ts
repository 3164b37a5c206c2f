/** Queries among nodes that lie. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nodeId } from '../../../codecs/dht/node-id.ts';
import type { DhtNodeOptions } from '../../../server/dht/types.ts';
import { Rng } from '../../../workers/rng.ts';
import { compareDistance, NodeHarness, targetOf } from '../../helpers/dht-node-harness.ts';

const COMMAND = 50;
const TARGET = targetOf(5);
const OPTIONS: DhtNodeOptions = { bootstrap: ['45.0.7.9:49737'], ephemeral: true };

/** Addresses of one /16, those closest to the target of all that somebody has ground out. */
function ground(count: number, tries: number): { host: string; port: number }[] {
  const rng = new Rng(9);
  const all = Array.from({ length: tries }, () => {
    const node = {
      host: `66.77.${rng.below(256)}.${1 + rng.below(254)}`,
      port: 1 + rng.below(65535),
    };
    return { node, id: nodeId(node.host, node.port) };
  });
  all.sort((a, b) => compareDistance(TARGET, a.id, b.id));
  return all.slice(0, count).map(({ node }) => node);
}

async function lookUp(harness: NodeHarness, ms = 20_000) {
  const query = harness.node.query({ target: TARGET, command: COMMAND });
  const end = query.finished();
  await harness.clock.pass(ms, 200);
  await end;
  return query;
}

describe('query among liars', () => {
  test('one network is at most a quarter of the closest, while there are others', async () => {
    const harness = new NodeHarness(OPTIONS);
    harness.crowd(200);
    await harness.ready();
    const honest = harness.closest(TARGET);
    const crowd = [...harness.peers.values()];
    const forged = ground(100, 20_000);
    const names = new Set(forged.map(({ host }) => host));
    for (const { host, port } of forged) {
      // All of them answer, and know only each other.
      harness.peer(host, port, { answer: () => ({ closerNodes: forged.slice(0, 20) }) });
    }
    for (const peer of crowd) {
      peer.answer = () => ({ closerNodes: [...forged.slice(0, 5), ...honest.slice(0, 15)] });
    }
    const query = await lookUp(harness);
    const { closestNodes } = query;
    const found = closestNodes.filter(({ host }) => names.has(host));
    assert.equal(found.length, 5);
    assert.deepEqual(
      closestNodes.filter(({ host }) => !names.has(host)).map(({ host }) => host),
      honest.slice(0, 15).map(({ host }) => host),
    );
  });

  test('a network all in one /16 is found all the same', async () => {
    const harness = new NodeHarness({ ...OPTIONS, bootstrap: ['66.77.0.9:49737'] });
    for (let i = 0; i < 60; i++) harness.peer(`66.77.${i}.9`);
    await harness.ready();
    const query = await lookUp(harness);
    assert.deepEqual(
      query.closestNodes.map(({ host }) => host),
      harness.closest(TARGET).map(({ host }) => host),
    );
  });

  test('in a private network nothing is bounded', async () => {
    const options = { isPrivate: true, ephemeral: true, bootstrap: [1000] };
    const harness = new NodeHarness(options);
    for (let i = 0; i < 60; i++) {
      harness.peer('127.0.0.1', 1000 + i, { seesUs: { host: '127.0.0.1', port: 40_001 } });
    }
    await harness.ready();
    const query = await lookUp(harness);
    assert.deepEqual(
      query.closestNodes.map(({ port }) => port),
      harness.closest(TARGET).map(({ port }) => port),
    );
  });

  test('nobody is sent to private or reserved addresses, or to port 0', async () => {
    const harness = new NodeHarness(OPTIONS);
    const liar = harness.peer('45.0.7.9');
    const traps = ['10.0.0.1', '127.0.0.1', '192.168.1.1', '169.254.1.1', '0.0.0.0', '224.0.0.1'];
    const named = [...traps, '255.255.255.255', '240.0.0.1'].map((host) => ({ host, port: 53 }));
    liar.answer = () => ({ closerNodes: [...named, { host: '77.1.1.1', port: 0 }] });
    await lookUp(harness);
    assert.deepEqual(new Set(harness.sent.map(({ to }) => to.host)), new Set(['45.0.7.9']));
  });

  test('a node that names ever closer ones is not followed for ever', async () => {
    const harness = new NodeHarness(OPTIONS);
    const rng = new Rng(3);
    harness.peer('45.0.7.9');
    const { send } = harness;
    // Whoever is asked answers and names twenty nobody has heard of.
    harness.send = (from, datagram, to) => {
      const key = `${to.host}:${to.port}`;
      if (!harness.peers.has(key)) harness.peer(to.host, to.port);
      const peer = harness.peers.get(key);
      if (peer !== undefined) {
        peer.answer = () => ({
          closerNodes: Array.from({ length: 20 }, () => ({
            host: `${1 + rng.below(9)}.${rng.below(256)}.${rng.below(256)}.${1 + rng.below(254)}`,
            port: 1 + rng.below(65535),
          })),
        });
      }
      send.call(harness, from, datagram, to);
    };
    const query = await lookUp(harness, 60_000);
    assert.equal(query.destroyed, true);
    assert.ok(harness.sent.length <= 512, `${harness.sent.length} asked`);
  });

  test('with most of the named down a lookup still ends, and finds who is there', async () => {
    const harness = new NodeHarness(OPTIONS);
    harness.crowd(100);
    await harness.ready();
    const rng = new Rng(4);
    for (const peer of harness.peers.values()) {
      peer.answer = () => {
        const closest = harness.closest(TARGET, 40).filter(() => rng.below(4) === 0);
        const dead = Array.from({ length: 10 }, () => ({
          host: `88.${rng.below(256)}.${rng.below(256)}.7`,
          port: 7,
        }));
        return { closerNodes: [...closest.slice(0, 10), ...dead] };
      };
    }
    const query = await lookUp(harness, 60_000);
    assert.equal(query.destroyed, true);
    const found = new Set(query.closestNodes.map(({ host }) => host));
    const best = harness.closest(TARGET).filter(({ host }) => found.has(host));
    assert.ok(best.length >= 18, `${best.length} of 20`);
  });
});
