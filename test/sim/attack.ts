/**
 * Somebody who has a whole /16 and makes a crowd of it: very many ids, each the true one of an
 * address and port of the network, who send requests to all nodes in order to be in their routing
 * tables, answer pings, and, when they are asked, name each other.
 */
import { type NodeAddress, u32ToHost } from '../../codecs/dht/address.ts';
import { INTERNAL, REQUEST_BYTE } from '../../codecs/dht/constants.ts';
import { decodeRequest, encodeReply, encodeRequest } from '../../codecs/dht/message.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import type { Subnet } from './machine.ts';
import type { SimNode } from './sim-node.ts';
import type { World } from './world.ts';

export interface AttackOptions {
  readonly ids: number;
  /** The network: the upper half of its addresses. */
  readonly upper: number;
  /** Whether its ids answer pings and questions, or are only made up. */
  readonly answers: boolean;
}

const FIRST_PORT = 20_000;
const NAMED = 20;
const UPPER_ADDRESSES = 0x1_0000;
/** Between two requests to one victim. */
const BETWEEN_MS = 250;

interface Identity extends NodeAddress {
  readonly address: number;
  readonly id: Uint8Array;
  /** The first 32 bits of the id. */
  readonly head: number;
}

export class Attack {
  readonly identities: readonly Identity[];
  /** Requests sent, and those it was asked. */
  sent = 0;
  asked = 0;
  readonly #world: World;
  readonly #options: AttackOptions;
  readonly #subnet: Subnet;
  #tid = 0;

  constructor(world: World, options: AttackOptions) {
    this.#world = world;
    this.#options = options;
    this.identities = Array.from({ length: options.ids }, (_, i) =>
      identity(options.upper, i),
    ).sort((a, b) => a.head - b.head);
    this.#subnet = world.network.subnet(options.upper, (bytes, host, port, to, toPort) =>
      this.#answer(bytes, host, port, to, toPort),
    );
  }

  /** Sends to each victim from another identity, four times a second, for `ms`. */
  async run(victims: readonly SimNode[], ms: number): Promise<void> {
    const { clock } = this.#world;
    const machine = clock.machine();
    let next = 0;
    const stop = machine.every(BETWEEN_MS, () => {
      for (const victim of victims) {
        this.#ask(victim, this.identities[next]);
        next = (next + 1) % this.identities.length;
      }
    });
    await clock.advance(ms);
    stop();
  }

  isIn(host: string): boolean {
    const [first, second] = host.split('.').map(Number);
    return first * 256 + second === this.#options.upper;
  }

  #ask(victim: SimNode, from: Identity): void {
    this.sent++;
    this.#tid = (this.#tid + 1) & 0xffff;
    const request = encodeRequest({
      tid: this.#tid,
      to: victim.address,
      id: from.id,
      token: null,
      isInternal: true,
      command: INTERNAL.FIND_NODE,
      target: from.id,
      value: null,
    });
    const { machine, address } = victim;
    this.#subnet.sendFrom(from.address, from.port, machine.address, address.port, request);
  }

  #answer(bytes: Uint8Array, host: number, port: number, to: number, toPort: number): void {
    if (!this.#options.answers || bytes[0] !== REQUEST_BYTE) return;
    const request = decodeRequest(bytes);
    if (request === null) return;
    this.asked++;
    const { tid, target } = request;
    const reply = encodeReply({
      tid,
      to: { host: u32ToHost(host), port },
      id: nodeId(u32ToHost(to), toPort),
      token: new Uint8Array(32),
      closerNodes: target === null ? [] : this.#nearest(target),
      error: 0,
      value: null,
    });
    this.#subnet.sendFrom(to, toPort, host, port, reply);
  }

  /** The identities nearest to a target: they are sorted, so they stand together. */
  #nearest(target: Uint8Array): NodeAddress[] {
    const head = headOf(target);
    const { identities } = this;
    let [low, high] = [0, identities.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (identities[middle].head < head) low = middle + 1;
      else high = middle;
    }
    return identities
      .slice(Math.max(0, low - 4 * NAMED), low + 4 * NAMED)
      .sort((a, b) => ((a.head ^ head) >>> 0) - ((b.head ^ head) >>> 0))
      .slice(0, NAMED);
  }
}

/** Another address each, and another port when there are no more of them. */
function identity(upper: number, index: number): Identity {
  const address = upper * UPPER_ADDRESSES + (index % UPPER_ADDRESSES);
  const host = u32ToHost(address);
  const port = FIRST_PORT + Math.floor(index / UPPER_ADDRESSES);
  const id = nodeId(host, port);
  return { address, host, port, id, head: headOf(id) };
}

function headOf(id: Uint8Array): number {
  return ((id[0] << 24) | (id[1] << 16) | (id[2] << 8) | id[3]) >>> 0;
}
