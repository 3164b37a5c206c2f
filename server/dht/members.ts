/**
 * Who is in the routing table, from the node's side: those who answered us come in and are marked
 * as seen, those who fell silent go. Whoever answers also tells our address, now and then.
 */
import type { NodeAddress } from '../../codecs/dht/address.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import type { KnownNode } from '../../workers/dht/table-writer.ts';
import type { Clock } from '../clock.ts';
import { OLD_TICKS } from './pinger.ts';
import type { OwnRequest } from './request.ts';
import { addressNumber, sameBytes } from './requests.ts';
import type {
  DhtResponse,
  NodeReference,
  NodeTable,
  ProvenAddresses,
  SocketKind,
} from './types.ts';

/** Nodes that fell silent, to be asked again when no other is left. */
const MAX_LOST = 20;

export interface MembersHost {
  readonly clock: Clock;
  readonly table: NodeTable;
  readonly tick: number;
  readonly socketKind: SocketKind;
  passesFilter(node: NodeAddress): boolean;
  onFull(node: NodeAddress, id: Uint8Array): void;
  sample(from: NodeReference, to: NodeAddress): void;
  emit(event: 'add-node' | 'remove-node', node: KnownNode): unknown;
}

export class Members {
  ownId: Uint8Array;
  readonly lost: NodeAddress[] = [];
  readonly #node: MembersHost;
  readonly #proven: ProvenAddresses;
  /** When each node of the table last told our address, in ticks. */
  readonly #sampledAt = new Map<number, number>();

  constructor(node: MembersHost, proven: ProvenAddresses, ownId: Uint8Array) {
    this.#node = node;
    this.#proven = proven;
    this.ownId = ownId;
    node.table.setOwn(ownId, false);
  }

  /** Sets what the table is sorted by; returns whether that is new. */
  setOwn(id: Uint8Array, isPersistent: boolean): boolean {
    const isOther = !sameBytes(id, this.ownId);
    this.ownId = id;
    for (const node of this.#node.table.setOwn(id, isPersistent)) this.#removed(node);
    return isOther;
  }

  /** Adds a node that has answered, or that the user vouches for; true if it is new. */
  add({ host, port }: NodeAddress): boolean {
    const { table, tick } = this.#node;
    let outcome = table.add(host, port, tick);
    const displaced = outcome === 'full' ? table.displaceable(host, port) : null;
    if (displaced !== null) {
      table.remove(displaced.id);
      this.#removed(displaced);
      outcome = table.add(host, port, tick);
    }
    if (outcome === 'full') this.#node.onFull({ host, port }, nodeId(host, port));
    if (outcome !== 'added') return false;
    const known = table.get(nodeId(host, port));
    if (known !== null) this.#node.emit('add-node', known);
    this.#trim();
    return true;
  }

  /** A request of ours was answered, surely by the node at that address. */
  answered({ from, to, socket }: DhtResponse): void {
    const { clock, table, tick, socketKind } = this.#node;
    this.#proven.add(from.host, from.port, clock.now());
    if (!this.#node.passesFilter(from)) return;
    if (from.id === null) {
      this.#node.sample(from, to);
      return;
    }
    // What came to the other socket tells the address of that one.
    const isSample = socket === socketKind;
    if (table.get(from.id) === null) {
      if (this.add(from) && isSample) this.#sample(from, to);
      return;
    }
    table.setSeen(from.id, tick);
    table.setPinged(from.id, tick);
    const sampledAt = this.#sampledAt.get(addressNumber(from));
    const isOld = sampledAt === undefined || tick - sampledAt >= OLD_TICKS;
    if (isSample && isOld) this.#sample(from, to);
  }

  /** We may be elsewhere: whoever answers next tells our address anew. */
  forgetSamples(): void {
    this.#sampledAt.clear();
  }

  remove(node: KnownNode): void {
    if (!this.#node.table.remove(node.id)) return;
    const { host, port } = node;
    if (this.lost.push({ host, port }) > MAX_LOST) this.lost.shift();
    this.#removed(node);
    this.#trim();
  }

  /** A request timed out: who was known by an id is gone. */
  timedOut(request: OwnRequest): void {
    const { id } = request.to;
    const node = id === null ? null : this.#node.table.get(id);
    if (node !== null) this.remove(node);
  }

  /** Lets go of those who are too many of their network, now that the table is another one. */
  #trim(): void {
    const { table } = this.#node;
    for (let node = table.surplus(); node !== null; node = table.surplus()) {
      table.remove(node.id);
      this.#removed(node);
    }
  }

  #removed(node: KnownNode): void {
    this.#sampledAt.delete(addressNumber(node));
    this.#node.emit('remove-node', node);
  }

  #sample(from: NodeReference, to: NodeAddress): void {
    this.#sampledAt.set(addressNumber(from), this.#node.tick);
    this.#node.sample(from, to);
  }
}
