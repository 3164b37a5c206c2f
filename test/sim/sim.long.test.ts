/**
 * Large networks, long times and an attack: minutes, so they are run by name. SIM_SEED runs one
 * seed; SIM_NODES makes all of it smaller.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Attack } from './attack.ts';
import { BOOTSTRAP_NODES, gather, join } from './crowd.ts';
import { TASK_LIMIT_MS, Tally } from './lookups.ts';
import { CALM, type Conditions } from './network.ts';
import { reproduce } from './scenario.ts';
import { PUTS, putImmutable, type Stored } from './storing.ts';
import { World } from './world.ts';

const FILE = 'test/sim/sim.long.test.ts';
const { SIM_SEED, SIM_NODES } = process.env;
const SEEDS = SIM_SEED === undefined ? [1, 2] : [Number(SIM_SEED)];
const NODES = Number(SIM_NODES ?? 3000);
const CHURNING = Math.min(NODES, 500);
const ATTACKED = Math.min(NODES, 1000);
const LEAST_SHARE = 0.99;
const MINUTE_MS = 60_000;

/** The weather of every second seed. */
const RAINY: Conditions = {
  ...CALM,
  loss: 0.02,
  duplication: 0.02,
  reordering: 0.05,
  heldMs: 200,
  jitterMs: 20,
};

function about(world: World, tally: Tally): string {
  const { failures, lookups, answered } = tally;
  const few = failures.slice(0, 10).join('\n  ');
  return (
    `seed ${world.seed}, run ${world.digest}: ${answered} of ${lookups} lookups answered\n` +
    `  ${few}\n` +
    `To see it again: ${reproduce(world.seed, NODES, FILE)}`
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)}%`;
}

describe(`${NODES} nodes`, () => {
  for (const seed of SEEDS) {
    test(`seed ${seed}: all bootstrap and every lookup is answered`, async (t) => {
      const conditions = seed % 2 === 0 ? RAINY : CALM;
      const world = new World({ seed, conditions });
      await gather(world, { nodes: NODES, openPercent: 80, apartMs: 20 });
      await world.clock.advance(20_000);
      const alone = world.nodes.filter(({ table }) => table.size === 0);
      assert.deepEqual(alone, [], `seed ${seed}: some know nobody`);
      const tally = new Tally();
      await tally.lookUp(world, world.nodes, conditions.loss > 0 ? 3 : 0);
      const { elapsedMs, events } = world.clock;
      const found = `${percent(tally.recall)} of the nearest found`;
      t.diagnostic(`${found}, ${events} events in ${elapsedMs / 1000} s, run ${world.digest}`);
      assert.equal(tally.answered, tally.lookups, about(world, tally));
    });
  }
});

describe(`half of ${CHURNING} nodes replaced within an hour`, () => {
  for (const seed of SEEDS) {
    test(`seed ${seed}: 99% of lookups are answered, and of what was stored found`, async (t) => {
      const world = new World({ seed, conditions: { ...CALM, loss: 0.01 } });
      await gather(world, { nodes: CHURNING, openPercent: 80, apartMs: 100 });
      await world.clock.advance(20_000);
      const tally = new Tally();
      const stored: Stored[] = [];
      let found = 0;
      let sought = 0;
      const everyMs = (60 * MINUTE_MS) / (CHURNING / 2);
      for (let minute = 0; minute < 60; minute++) {
        for (let ms = 0; ms < MINUTE_MS; ms += everyMs) {
          world.crash(world.pick(world.alive.slice(BOOTSTRAP_NODES)));
          join(world, 80);
          await world.clock.advance(everyMs);
        }
        // A node that has just come does not know where it is yet.
        const askers = world.alive.filter(({ dht }) => dht.bootstrapped);
        await tally.lookUp(world, world.pickSome(askers, 20), 3);
        const put = PUTS[minute % PUTS.length](world, world.pick(askers));
        stored.push(await world.clock.until(put, TASK_LIMIT_MS));
        // Announcements live for 20 minutes; one of the last 15.
        const by = world.pick(askers);
        sought++;
        const find = world.pick(stored.slice(-15)).findBy(by);
        if (await world.clock.until(find, TASK_LIMIT_MS)) found++;
      }
      const { recall, share } = tally;
      t.diagnostic(`${percent(share)} answered, ${percent(recall)} of the nearest found`);
      t.diagnostic(`${found} of ${sought} found that were stored, run ${world.digest}`);
      assert.ok(share >= LEAST_SHARE, about(world, tally));
      assert.ok(
        found >= LEAST_SHARE * sought,
        `${found} of ${sought} found\n${about(world, tally)}`,
      );
    });
  }
});

describe(`100,000 ids of one /16 against ${ATTACKED} nodes`, () => {
  for (const answers of [false, true]) {
    const what = answers ? 'that answer, and name each other' : 'that are only made up';
    test(`ids ${what}: few in any table, and 99% of lookups are answered`, async (t) => {
      const world = new World({ seed: SEEDS[0] });
      await gather(world, { nodes: ATTACKED, openPercent: 100, apartMs: 20 });
      const attack = new Attack(world, { ids: 100_000, upper: 200 * 256 + 7, answers });
      await attack.run(world.nodes, 2 * MINUTE_MS);
      const tally = new Tally();
      await tally.lookUp(world, world.nodes, 0);
      let worst = 0;
      for (const { table, address } of world.nodes) {
        const forged = table.all().filter(({ host }) => attack.isIn(host)).length;
        worst = Math.max(worst, forged / table.size);
        assert.ok(
          forged <= 0.05 * table.size,
          `${address.host}: ${forged} of ${table.size} are forged`,
        );
      }
      const puts = world.nodes.slice(0, 50).map((node) => putImmutable(world, node));
      const stored = await world.clock.until(Promise.all(puts), TASK_LIMIT_MS);
      const finds = stored.map(({ findBy }) => findBy(world.pick(world.nodes)));
      const found = await world.clock.until(Promise.all(finds), TASK_LIMIT_MS);
      t.diagnostic(`${attack.sent} requests sent, ${attack.asked} answered`);
      t.diagnostic(`at most ${percent(worst)} of a table, ${percent(tally.share)} answered`);
      assert.ok(tally.share >= LEAST_SHARE, about(world, tally));
      assert.deepEqual(
        found.filter((isFound) => !isFound),
        [],
        'what was stored is found',
      );
    });
  }
});
