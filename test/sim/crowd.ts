/** The nodes of a scenario: who joins, what stands before whom, and how the network treats them. */
import type { NatKind } from './nat.ts';
import { CALM, type Conditions } from './network.ts';
import type { Role, World } from './world.ts';

/** Nodes that all others start from. */
export const BOOTSTRAP_NODES = 3;
const FIRST_MS = 1000;
const BOOTSTRAP_LIMIT_MS = 300_000;
/** How wrong a clock may be, each way. */
const OFFSET_MS = 30_000;

export interface CrowdOptions {
  /** With the bootstrap nodes. */
  readonly nodes: number;
  /** Nodes that can be reached; the others are behind something. */
  readonly openPercent: number;
  /** Between two nodes that join, at most. */
  readonly apartMs: number;
}

/** Starts all nodes, one after the other, and waits until they have looked around. */
export async function gather(world: World, options: CrowdOptions): Promise<void> {
  const { nodes, openPercent, apartMs } = options;
  for (let i = 0; i < BOOTSTRAP_NODES; i++) world.add({ role: 'bootstrap' });
  await world.clock.advance(FIRST_MS);
  while (world.nodes.length < nodes) {
    join(world, openPercent);
    await world.clock.advance(world.rng.below(apartMs));
  }
  const ready = Promise.all(world.nodes.map((node) => node.dht.fullyBootstrapped()));
  await world.clock.until(ready, BOOTSTRAP_LIMIT_MS);
}

/** Starts one node. */
export function join(world: World, openPercent: number): void {
  const offsetMs = world.rng.below(2 * OFFSET_MS) - OFFSET_MS;
  world.add({ ...kindOf(world, openPercent), offsetMs });
}

function kindOf({ rng }: World, openPercent: number): { role: Role; nat: NatKind } {
  if (rng.below(100) < openPercent) {
    return { role: rng.below(4) > 0 ? 'persistent' : 'adaptive', nat: 'open' };
  }
  const kinds = ['firewalled', 'consistent', 'random'] as const;
  return { role: rng.below(2) > 0 ? 'adaptive' : 'ephemeral', nat: kinds[rng.below(3)] };
}

/** A third of all seeds have a good day; on the others anything up to a tenth is lost. */
export function weather({ rng }: World): Conditions {
  if (rng.below(3) === 0) return CALM;
  return {
    loss: rng.below(100) / 1000,
    duplication: rng.below(50) / 1000,
    reordering: rng.below(200) / 1000,
    heldMs: rng.below(400),
    nearMs: 1 + rng.below(20),
    farMs: rng.below(200),
    jitterMs: rng.below(30),
  };
}
