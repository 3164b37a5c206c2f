import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { COMMAND } from '../../codecs/dht/constants.ts';
import { COUNTER } from '../../workers/counters.ts';
import { BOOTSTRAP_NODES, gather } from './crowd.ts';
import { lookUp } from './lookups.ts';
import type { NatKind } from './nat.ts';
import { announce, PUTS } from './storing.ts';
import { World } from './world.ts';

const LIMIT_MS = 60_000;

async function network(nodes: number, seed = 1): Promise<World> {
  const world = new World({ seed });
  await gather(world, { nodes, openPercent: 100, apartMs: 100 });
  await world.clock.advance(10_000);
  return world;
}

describe('a simulated node', () => {
  test('is known to those it has asked, though they have asked nobody', async () => {
    const world = await network(20);
    const [first] = world.nodes;
    const known = first.table.all().map(({ host }) => host);
    const persistent = world.findable.filter((node) => node !== first);
    const unknown = persistent.filter(({ address }) => !known.includes(address.host));
    assert.deepEqual(unknown, []);
  });

  test('answers a delayed ping when it is due', async () => {
    const world = await network(5);
    const [a, b] = world.nodes;
    const ping = a.dht.delayedPing(b.address, 4000);
    const { rtt } = await world.clock.until(ping, LIMIT_MS);
    assert.ok(rtt >= 4000 && rtt < 5500, `${rtt} ms`);
    assert.equal(b.counters[COUNTER.dhtDelayedPings], 1);
  });

  test('has signatures checked, and takes no announce whose signature is wrong', async () => {
    const world = await network(10);
    const [by, finder] = world.pickSome(world.nodes, 2);
    const stored = await world.clock.until(announce(world, by), LIMIT_MS);
    assert.ok(stored.copies >= 5, `${stored.copies} copies`);
    assert.ok(await world.clock.until(stored.findBy(finder), LIMIT_MS));
    const sum = (counter: number) =>
      world.nodes.reduce((all, { counters }) => all + counters[counter], 0);
    assert.equal(sum(COUNTER.dhtForged), 0);
    const target = world.target();
    const { LOOKUP, ANNOUNCE: command } = COMMAND;
    const value = Uint8Array.from([5, ...world.target(), 0, ...world.target(), ...world.target()]);
    const query = by.dht.query(
      { target, command: LOOKUP },
      {
        commit: ({ token, from }) => {
          const message = { token, target, command, value };
          return by.dht.request(message, from, { retry: false });
        },
      },
    );
    await assert.rejects(world.clock.until(query.finished(), LIMIT_MS), /timed out/);
    assert.ok(sum(COUNTER.dhtForged) >= 5, `${sum(COUNTER.dhtForged)} forged`);
  });

  test('finds out what stands before it', async () => {
    const world = await network(12);
    const seen = new Map<NatKind, string>();
    for (const nat of ['open', 'firewalled', 'consistent', 'random'] as const) {
      const node = world.add({ role: 'adaptive', nat });
      await world.clock.until(node.dht.fullyBootstrapped(), LIMIT_MS);
      await lookUp(world, [node, node]);
      const { firewalled, randomized, host } = node.dht;
      assert.equal(host, node.address.host, nat);
      const reached = firewalled ? 'firewalled' : 'reachable';
      seen.set(nat, randomized ? `${reached}, randomized` : reached);
    }
    assert.deepEqual(
      [...seen.values()],
      ['reachable', 'firewalled', 'firewalled', 'firewalled, randomized'],
    );
  });

  test('says nothing any more once it has crashed, and comes back knowing nobody', async () => {
    const world = await network(10);
    const crashed = world.nodes[5];
    world.crash(crashed);
    const sent = crashed.dht.stats.requests.total;
    await world.clock.advance(LIMIT_MS);
    assert.equal(crashed.dht.stats.requests.total, sent);
    const again = world.restart(crashed);
    assert.equal(again.table.size, 0);
    await world.clock.until(again.dht.fullyBootstrapped(), LIMIT_MS);
    assert.ok(again.table.size > 5, `knows ${again.table.size}`);
    assert.deepEqual(again.address, crashed.address);
  });

  test('finds what is stored in a network that is all of one /16', async () => {
    const world = new World({ seed: 3 });
    for (let i = 0; i < 40; i++) {
      const address = 0x3e11_0000 + world.rng.below(0x1_0000);
      world.add({ role: i < BOOTSTRAP_NODES ? 'bootstrap' : 'persistent', address });
      await world.clock.advance(100);
    }
    await world.clock.advance(20_000);
    const puts = PUTS.map((put) => put(world, world.pick(world.nodes)));
    for (const { kind, findBy } of await world.clock.until(Promise.all(puts), LIMIT_MS)) {
      const found = await world.clock.until(findBy(world.pick(world.nodes)), LIMIT_MS);
      assert.ok(found, kind);
    }
  });
});
