/**
 * A simulated network and the nodes in it, all of one seed. What a node is called here is its place
 * in `nodes`; a node that is started again after a crash is a new one at the old address.
 */
import { type NodeAddress, u32ToHost } from '../../codecs/dht/address.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import type { DhtNodeOptions } from '../../server/dht/types.ts';
import { Rng } from '../../workers/rng.ts';
import type { Machine } from './machine.ts';
import type { NatKind } from './nat.ts';
import { CALM, type Conditions, Network } from './network.ts';
import { SimNode } from './sim-node.ts';
import { Trace } from './trace.ts';
import { type MachineClock, VirtualClock } from './virtual-clock.ts';

/**
 *   bootstrap    known to all, knows its address, asks nobody at first
 *   persistent   in others' tables as soon as it knows its address
 *   adaptive     turns persistent after 20 minutes, if it can be reached
 *   ephemeral    never in others' tables
 */
export type Role = 'bootstrap' | 'persistent' | 'adaptive' | 'ephemeral';

export interface WorldOptions {
  readonly seed: number;
  readonly conditions?: Conditions;
  /** The network is somebody's own: addresses of 10.0.0.0/8, nodes persistent at once. */
  readonly isPrivate?: boolean;
  /** Also keep the trace in words. */
  readonly keepsTrace?: boolean;
}

export interface NodeSpec {
  readonly role: Role;
  readonly nat?: NatKind;
  /** Its address; some free one unless given. */
  readonly address?: number;
  /** How wrong its clock is. */
  readonly offsetMs?: number;
  readonly options?: DhtNodeOptions;
}

const PORT = 49_737;
/** First bytes of addresses that are in nobody's special registry, nor near one. */
const FIRST_BYTES = [11, 23, 34, 45, 51, 62, 77, 80, 91, 104, 130, 141, 151, 160, 178, 185, 193];

export class World {
  readonly seed: number;
  readonly clock = new VirtualClock();
  readonly trace: Trace;
  readonly network: Network;
  /** What the scenario draws; nodes and network have their own. */
  readonly rng: Rng;
  readonly nodes: SimNode[] = [];
  readonly bootstrap: NodeAddress[] = [];
  readonly #options: WorldOptions;
  readonly #specs = new Map<SimNode, NodeSpec>();
  readonly #ids = new Map<SimNode, Uint8Array>();

  constructor(options: WorldOptions) {
    this.#options = options;
    this.seed = options.seed;
    this.rng = new Rng(options.seed);
    this.trace = new Trace(options.keepsTrace);
    const conditions = options.conditions ?? CALM;
    this.network = new Network(this.clock, this.trace, this.rng.next(), conditions);
  }

  /** 64 bits that are the same for the same run. */
  get digest(): string {
    return `${this.trace.digest}-${this.clock.events}`;
  }

  /** Starts a new node, on a machine of its own. */
  add(spec: NodeSpec): SimNode {
    const machine = this.network.machine(spec.address ?? this.#freeAddress(), spec.nat);
    return this.#start(spec, machine, this.clock.machine(spec.offsetMs));
  }

  crash(node: SimNode): void {
    this.note(`crash ${node.address.host}`);
    node.crash();
  }

  /** Starts a crashed node again: nothing is left of what it knew. */
  restart(node: SimNode): SimNode {
    this.note(`restart ${node.address.host}`);
    const spec = this.#specs.get(node) as NodeSpec;
    return this.#start(spec, node.machine, this.clock.machine(spec.offsetMs));
  }

  note(text: string): void {
    this.trace.note(this.clock.nowUs, text);
  }

  get alive(): SimNode[] {
    return this.nodes.filter((node) => node.isUp);
  }

  /** Those that others can find: up, and persistent by their own word. */
  get findable(): SimNode[] {
    return this.nodes.filter((node) => node.isUp && !node.dht.ephemeral);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.rng.below(from.length)];
  }

  /** `count` different ones, or all there are. */
  pickSome<T>(from: readonly T[], count: number): T[] {
    const left = [...from];
    const picked: T[] = [];
    while (picked.length < count && left.length > 0) {
      picked.push(...left.splice(this.rng.below(left.length), 1));
    }
    return picked;
  }

  /** 32 random bytes. */
  target(): Uint8Array {
    return Uint8Array.from({ length: 32 }, () => this.rng.below(256));
  }

  /** The `count` of `nodes` that are nearest to a target. */
  nearest(target: Uint8Array, nodes: readonly SimNode[], count: number): SimNode[] {
    const first = word(target, 0);
    return nodes
      .map((node) => ({ node, distance: (word(this.#idOf(node), 0) ^ first) >>> 0 }))
      .sort((a, b) => a.distance - b.distance)
      .slice(0, count)
      .map(({ node }) => node);
  }

  #idOf(node: SimNode): Uint8Array {
    let id = this.#ids.get(node);
    if (id === undefined) {
      id = nodeId(node.address.host, node.address.port);
      this.#ids.set(node, id);
    }
    return id;
  }

  #start(spec: NodeSpec, machine: Machine, clock: MachineClock): SimNode {
    const { isPrivate = false } = this.#options;
    const node = new SimNode({
      machine,
      clock,
      seed: this.rng.next(),
      port: PORT,
      isPrivate,
      options: { ...this.#optionsOf(spec, machine), ...spec.options },
    });
    this.nodes.push(node);
    this.#specs.set(node, spec);
    if (spec.role === 'bootstrap') this.bootstrap.push(node.address);
    node.start();
    return node;
  }

  #optionsOf({ role }: NodeSpec, machine: Machine): DhtNodeOptions {
    const { isPrivate = false } = this.#options;
    const host = u32ToHost(machine.address);
    const bootstrap = this.bootstrap.filter((node) => node.host !== host);
    if (role === 'bootstrap') {
      return { isPrivate, isBootstrap: true, host, bootstrap, firewalled: false, ephemeral: false };
    }
    if (role === 'persistent') {
      return { isPrivate, bootstrap, firewalled: false, ephemeral: false };
    }
    return role === 'ephemeral'
      ? { isPrivate, bootstrap, ephemeral: true }
      : { isPrivate, bootstrap };
  }

  #freeAddress(): number {
    for (;;) {
      const low = this.rng.below(0x100_0000);
      const first = this.#options.isPrivate ? 10 : this.pick(FIRST_BYTES);
      const address = first * 0x100_0000 + low;
      const last = low & 0xff;
      if (last !== 0 && last !== 255 && !this.network.has(address)) return address;
    }
  }
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
}
