/**
 * Lookups of nodes in a world, compared with what the world knows and no node does: who is nearest.
 */
import type { NodeAddress } from '../../codecs/dht/address.ts';
import type { SimNode } from './sim-node.ts';
import type { World } from './world.ts';

/** Whatever a node does for its user is over by then; a round may wait six seconds for the dead. */
export const TASK_LIMIT_MS = 120_000;
/** Nodes that a lookup is to find. */
const NEAREST = 20;
/** Of these, what each lookup must find at least. */
const LEAST_RECALL = 0.5;

export interface Found {
  readonly target: Uint8Array;
  readonly by: SimNode;
  readonly closest: readonly NodeAddress[];
  readonly replies: number;
  readonly tookMs: number;
}

/** Asks for a random target by each of `nodes`, all at once. */
export async function lookUp(world: World, nodes: readonly SimNode[]): Promise<Found[]> {
  const startedMs = world.clock.elapsedMs;
  const lookups = nodes.map(async (by): Promise<Found> => {
    const target = world.target();
    const query = by.dht.findNode(target);
    await query.finished();
    const closest = query.closestNodes.map(({ host, port }) => ({ host, port }));
    const tookMs = world.clock.elapsedMs - startedMs;
    return { target, by, closest, replies: query.successes, tookMs };
  });
  const found = await world.clock.until(Promise.all(lookups), TASK_LIMIT_MS);
  for (const { closest } of found) world.note(`found ${closest.map(name).join(' ')}`);
  return found;
}

/** How a lookup did against the truth. */
export interface Judgement {
  /** Of those that can be found, how many are nearer to the target than any that was; 20: many. */
  readonly missed: number;
  /** Of the 20 nearest, the share that was found; 1 in a network of fewer when all were. */
  readonly recall: number;
}

/** `findable`: who can be found; the asker itself never is. */
export function judge(world: World, found: Found, findable: readonly SimNode[]): Judgement {
  const others = findable.filter((node) => node !== found.by);
  const truth = world.nearest(found.target, others, NEAREST);
  const names = new Set(found.closest.map(name));
  const hits = truth.map((node) => names.has(name(node.address)));
  const first = hits.indexOf(true);
  return {
    missed: first === -1 ? truth.length : first,
    recall: truth.length === 0 ? 1 : hits.filter((isHit) => isHit).length / truth.length,
  };
}

export function name({ host, port }: NodeAddress): string {
  return `${host}:${port}`;
}

/** How all lookups of a scenario did. */
export class Tally {
  lookups = 0;
  answered = 0;
  /** What went wrong, a line each. */
  readonly failures: string[] = [];
  #recall = 0;

  /** Of the 20 nearest, the share that was found, on average. */
  get recall(): number {
    return this.lookups === 0 ? 0 : this.#recall / this.lookups;
  }

  /** Lookups that were answered, of 1. */
  get share(): number {
    return this.lookups === 0 ? 0 : this.answered / this.lookups;
  }

  /**
   * Looks up by each of `askers`. A lookup is answered when it finds half of the 20 nearest, and no
   * more than `mostMissed` are nearer than all it finds.
   */
  async lookUp(world: World, askers: readonly SimNode[], mostMissed: number): Promise<void> {
    const { findable } = world;
    for (const found of await lookUp(world, askers)) {
      const { missed, recall } = judge(world, found, findable);
      this.lookups++;
      this.#recall += recall;
      if (missed <= mostMissed && recall >= LEAST_RECALL) this.answered++;
      else {
        const { address, machine } = found.by;
        const who = `${address.host} (${machine.nat.kind})`;
        const what = `missed the ${missed} nearest nodes, found ${(100 * recall).toFixed(0)}%`;
        this.failures.push(`lookup by ${who}, ${found.replies} replies: ${what}`);
      }
    }
  }
}
