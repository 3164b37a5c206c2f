/**
 * A scenario: a network, what its nodes are and what goes wrong, all drawn from one seed, and what
 * must hold nevertheless. Running the seed again gives the same run, to the bit.
 *
 *   start -> all bootstrapped? -> store things -> something breaks -> look up, find what was stored
 */
import assert from 'node:assert/strict';
import { BOOTSTRAP_NODES, gather, weather } from './crowd.ts';
import { TASK_LIMIT_MS, Tally } from './lookups.ts';
import type { SimNode } from './sim-node.ts';
import { PUTS, type Stored } from './storing.ts';
import { RECORD } from './trace.ts';
import { World } from './world.ts';

/** What breaks once the network stands. */
export const FAULTS = ['nothing', 'crashes', 'restarts', 'partition', 'sleep', 'storm'] as const;
export type Fault = (typeof FAULTS)[number];

export interface ScenarioOptions {
  readonly seed: number;
  readonly nodes: number;
  /** Also keep the trace in words. */
  readonly keepsTrace?: boolean;
  /** Lookups before the fault, and after it. */
  readonly lookups?: number;
}

export interface Report {
  readonly seed: number;
  readonly nodes: number;
  readonly fault: Fault;
  /** What does not hold; empty when all is well. */
  readonly failures: readonly string[];
  readonly digest: string;
  /** Hashes along the way, which tell where two runs part; and the trace in words. */
  readonly marks: readonly string[];
  readonly lines: readonly string[];
  /** Of the nodes nearest to a target, how many were found, on average. */
  readonly recall: number;
  readonly virtualMs: number;
  readonly events: number;
  readonly datagrams: number;
}

const START_APART_MS = 400;
const SETTLE_MS = 20_000;
/** Adaptive nodes are persistent after this, if they can be. */
const MATURE_MS = 1_500_000;
const RESTART_LIMIT_MS = 300_000;
/** Of the 20 nearest, on average over a scenario's lookups. */
const LEAST_RECALL = 0.85;
/**
 * Where datagrams are lost a lookup need not have the very nearest nodes: like the original's, it
 * does not wait for who is late once 20 others have answered.
 */
const MOST_MISSED = 3;
const LOOKUPS = 20;
/** One in so many seeds waits until adaptive nodes have turned persistent. */
const MATURE_SEEDS = 7;
/** One in so many is a network with private addresses. */
const PRIVATE_SEEDS = 11;

/** What breaks with a seed. */
export function faultOf(seed: number): Fault {
  return FAULTS[seed % FAULTS.length];
}

/** The command that runs a seed again. */
export function reproduce(seed: number, nodes: number, file = 'test/sim/seeds.test.ts'): string {
  return `SIM_SEED=${seed} SIM_NODES=${nodes} node test/run.mjs ${file}`;
}

/** Throws what does not hold, and how to see it again. */
export function assertWell({ seed, nodes, fault, failures, digest }: Report): void {
  if (failures.length === 0) return;
  const few = failures.slice(0, 10).join('\n  ');
  const what = `seed ${seed}, ${nodes} nodes, ${fault}, run ${digest}: ${failures.length} failures`;
  assert.fail(`${what}\n  ${few}\nTo see it again: ${reproduce(seed, nodes)}`);
}

export async function runScenario(options: ScenarioOptions): Promise<Report> {
  return new Scenario(options).run();
}

class Scenario {
  readonly #options: ScenarioOptions;
  readonly #world: World;
  readonly #fault: Fault;
  readonly #isMature: boolean;
  readonly #failures: string[] = [];
  readonly #tally = new Tally();

  constructor(options: ScenarioOptions) {
    const { seed, keepsTrace = false } = options;
    this.#options = options;
    this.#fault = faultOf(seed);
    this.#isMature = seed % MATURE_SEEDS === 0;
    this.#world = new World({ seed, isPrivate: seed % PRIVATE_SEEDS === 0, keepsTrace });
    this.#world.network.conditions = weather(this.#world);
  }

  async run(): Promise<Report> {
    const world = this.#world;
    await this.#start();
    await this.#lookUp('at first');
    const stored = await this.#store();
    await this.#break();
    await this.#lookUp(`after ${this.#fault}`);
    await this.#find(stored);
    return {
      seed: world.seed,
      nodes: this.#options.nodes,
      fault: this.#fault,
      failures: this.#failures,
      digest: world.digest,
      marks: world.trace.marks,
      lines: world.trace.lines,
      recall: this.#tally.recall,
      virtualMs: world.clock.elapsedMs,
      events: world.clock.events,
      datagrams: world.trace.counts[RECORD.sent],
    };
  }

  async #start(): Promise<void> {
    const world = this.#world;
    const openPercent = 60 + world.rng.below(40);
    await gather(world, { nodes: this.#options.nodes, openPercent, apartMs: START_APART_MS });
    await world.clock.advance(this.#isMature ? MATURE_MS : SETTLE_MS);
    for (const { table, address } of world.nodes) {
      this.#expect(table.size > 0, `${address.host} knows nobody`);
    }
    const open = world.nodes.filter(({ machine }) => machine.nat.kind === 'open').length;
    const { length } = world.findable;
    const least = (this.#isMature ? 0.9 : 0.5) * open;
    this.#expect(length >= least, `${length} of ${open} that can be reached are persistent`);
  }

  async #lookUp(when: string): Promise<void> {
    const world = this.#world;
    const { lookups = LOOKUPS } = this.#options;
    const tally = this.#tally;
    const { length } = tally.failures;
    const askers = Array.from({ length: lookups }, () => world.pick(world.alive));
    await tally.lookUp(world, askers, world.network.conditions.loss > 0 ? MOST_MISSED : 0);
    for (const failure of tally.failures.slice(length)) this.#expect(false, `${when}: ${failure}`);
    const percent = (100 * tally.recall).toFixed(1);
    const isGood = tally.recall >= LEAST_RECALL;
    this.#expect(isGood, `${when}: found ${percent}% of the nearest nodes on average`);
  }

  async #store(): Promise<Stored[]> {
    const world = this.#world;
    const puts = [...PUTS, ...PUTS].map((put) => put(world, world.pick(world.alive)));
    const stored = await world.clock.until(Promise.all(puts), TASK_LIMIT_MS);
    for (const { kind, copies, error } of stored) {
      this.#expect(copies > 0, `no node took the ${kind}: ${error}`);
    }
    return stored;
  }

  async #find(stored: readonly Stored[]): Promise<void> {
    const world = this.#world;
    const finds = stored.map(async ({ kind, copies, findBy }) => {
      const by = world.pick(world.alive);
      const isFound = await findBy(by);
      this.#expect(isFound, `${by.address.host} did not find the ${kind} of ${copies} copies`);
    });
    await world.clock.until(Promise.all(finds), TASK_LIMIT_MS);
  }

  async #break(): Promise<void> {
    const world = this.#world;
    const { clock, network } = world;
    const some = world.pickSome(world.nodes.slice(BOOTSTRAP_NODES), world.nodes.length / 5);
    world.note(this.#fault);
    if (this.#fault === 'crashes') {
      for (const node of some) world.crash(node);
      await clock.advance(5000);
    } else if (this.#fault === 'restarts') {
      await this.#restart(some);
    } else if (this.#fault === 'partition') {
      network.partition = ({ address }) => address & 1;
      await clock.advance(120_000);
      network.partition = null;
      await clock.advance(180_000);
    } else if (this.#fault === 'sleep') {
      for (const node of some) node.clock.sleep(600_000);
      await clock.advance(630_000);
    } else if (this.#fault === 'storm') {
      const { conditions } = network;
      network.conditions = { ...conditions, loss: 0.4, reordering: 0.3, heldMs: 900 };
      await clock.advance(120_000);
      network.conditions = conditions;
      await clock.advance(120_000);
    }
  }

  async #restart(some: readonly SimNode[]): Promise<void> {
    const world = this.#world;
    for (const node of some) world.crash(node);
    await world.clock.advance(world.rng.below(60_000));
    const again = some.map((node) => world.restart(node));
    const ready = Promise.all(again.map((node) => node.dht.fullyBootstrapped()));
    await world.clock.until(ready, RESTART_LIMIT_MS);
    await world.clock.advance(30_000);
  }

  #expect(isMet: boolean, failure: string): void {
    if (!isMet) this.#failures.push(failure);
  }
}
