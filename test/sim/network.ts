/**
 * A network of machines in one process. What may become of a datagram becomes of it here, by one
 * seeded random source: it is lost, comes twice, is overtaken by later ones, comes late, falls into
 * a partition, or is turned away by what stands before the machine (nat.ts).
 *
 *   socket.send -> the sender's NAT -> parted? -> lost? -> delay -> machine up? -> NAT -> socket
 *
 * Addresses are IPv4 as unsigned 32-bit numbers; delays are in microseconds.
 */
import { Rng } from '../../workers/rng.ts';
import type { SimEvent } from './event-heap.ts';
import { Machine, Subnet, type SubnetReceive } from './machine.ts';
import { createNat, type NatKind } from './nat.ts';
import { RECORD, type Trace } from './trace.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** What the network does to datagrams; shares are of 1. */
export interface Conditions {
  readonly loss: number;
  readonly duplication: number;
  /** Datagrams held back by up to `heldMs` beyond their delay, so that later ones overtake them. */
  readonly reordering: number;
  readonly heldMs: number;
  /** The delay between two machines: the least, and what it grows by with their distance. */
  readonly nearMs: number;
  readonly farMs: number;
  /** Exponentially distributed, on top, with this mean. */
  readonly jitterMs: number;
}

/** A good day: 10 to 150 ms, nothing lost. */
export const CALM: Conditions = {
  loss: 0,
  duplication: 0,
  reordering: 0,
  heldMs: 0,
  nearMs: 5,
  farMs: 100,
  jitterMs: 2,
};

/** No delay is longer, whatever the distribution says. */
const MAX_DELAY_US = 10_000_000;

export class Network {
  readonly clock: VirtualClock;
  readonly trace: Trace;
  conditions: Conditions;
  /** Machines that cannot reach each other have different sides here; null: no partition. */
  partition: ((machine: Machine) => number) | null = null;
  readonly #rng: Rng;
  readonly #machines = new Map<number, Machine>();
  readonly #subnets = new Map<number, Subnet>();

  constructor(clock: VirtualClock, trace: Trace, seed: number, conditions = CALM) {
    this.clock = clock;
    this.trace = trace;
    this.conditions = conditions;
    this.#rng = new Rng(seed);
  }

  /** A new machine at an address; one that is taken is an error. */
  machine(address: number, kind: NatKind = 'open'): Machine {
    if (this.#machines.has(address)) throw new Error(`${address} is taken`);
    const place = { x: this.#share(), y: this.#share() };
    const machine = new Machine(this, address, createNat(kind, this.#rng), place);
    this.#machines.set(address, machine);
    return machine;
  }

  /** A machine that has all addresses of a /16 that are not taken, given as its upper half. */
  subnet(upper: number, receive: SubnetReceive): Subnet {
    const subnet = new Subnet(this, upper, { x: this.#share(), y: this.#share() }, receive);
    this.#subnets.set(upper, subnet);
    return subnet;
  }

  /** Whether an address is taken. */
  has(address: number): boolean {
    return this.#machines.has(address) || this.#subnets.has(address >>> 16);
  }

  /**
   * Sends a copy of `bytes` from a port of the world's side of a machine. `address` is the
   * machine's own unless it says that it is another.
   */
  send(
    from: Machine,
    fromPort: number,
    host: number,
    port: number,
    bytes: Uint8Array,
    address = from.address,
  ): void {
    const { clock, trace, conditions } = this;
    trace.datagram(RECORD.sent, clock.nowUs, address, fromPort, host, port, bytes);
    const to = this.#machines.get(host) ?? this.#subnets.get(host >>> 16);
    const lost = this.#becauseOf(from, to);
    if (to === undefined || lost !== 0) {
      trace.datagram(lost, clock.nowUs, address, fromPort, host, port);
      return;
    }
    this.#schedule(from, to, new Delivery(this, to, address, fromPort, host, port, bytes));
    if (conditions.duplication === 0 || this.#share() >= conditions.duplication) return;
    trace.datagram(RECORD.duplicated, clock.nowUs, address, fromPort, host, port);
    this.#schedule(from, to, new Delivery(this, to, address, fromPort, host, port, bytes));
  }

  #schedule(from: Machine, to: Machine, delivery: Delivery): void {
    this.clock.push(this.#delayUs(from, to), delivery);
  }

  /** Why a datagram never arrives: a code of RECORD; 0: it does. */
  #becauseOf(from: Machine, to: Machine | undefined): number {
    if (to === undefined) return RECORD.unreachable;
    const { partition, conditions } = this;
    if (partition !== null && partition(from) !== partition(to)) return RECORD.parted;
    return conditions.loss > 0 && this.#share() < conditions.loss ? RECORD.lost : 0;
  }

  #delayUs(from: Machine, to: Machine): number {
    const { nearMs, farMs, jitterMs, reordering, heldMs } = this.conditions;
    const dx = from.place.x - to.place.x;
    const dy = from.place.y - to.place.y;
    // Not Math.hypot: a square root is the same to the last bit everywhere.
    const distance = Math.sqrt(dx * dx + dy * dy);
    let ms = nearMs + farMs * distance;
    if (jitterMs > 0) ms += jitterMs * exponential(this.#share());
    if (reordering > 0 && this.#share() < reordering) ms += heldMs * this.#share();
    return Math.min(Math.round(ms * 1000), MAX_DELAY_US);
  }

  #share(): number {
    return this.#rng.next() / 0x1_0000_0000;
  }
}

/**
 * Exponentially distributed with mean 1, of a uniform share: by halving, since Math.log need not
 * give the same last bit on every machine.
 */
function exponential(share: number): number {
  let halvings = 0;
  let rest = share;
  while (rest < 0.5 && halvings < 30) {
    rest *= 2;
    halvings++;
  }
  return Math.LN2 * (halvings + 2 * (1 - rest));
}

class Delivery implements SimEvent {
  at = 0;
  order = 0;
  isDead = false;
  readonly #network: Network;
  readonly #machine: Machine;
  readonly #from: number;
  readonly #fromPort: number;
  readonly #to: number;
  readonly #toPort: number;
  readonly #bytes: Uint8Array;

  constructor(
    network: Network,
    machine: Machine,
    from: number,
    fromPort: number,
    to: number,
    toPort: number,
    bytes: Uint8Array,
  ) {
    this.#network = network;
    this.#machine = machine;
    this.#from = from;
    this.#fromPort = fromPort;
    this.#to = to;
    this.#toPort = toPort;
    this.#bytes = copyOf(bytes);
  }

  run(): void {
    const { clock, trace } = this.#network;
    const [from, fromPort, to, toPort] = [this.#from, this.#fromPort, this.#to, this.#toPort];
    const receive = this.#machine.receiverOf(toPort, from, fromPort, clock.elapsedMs);
    const kind = receive === undefined ? RECORD.filtered : RECORD.delivered;
    trace.datagram(kind, clock.nowUs, from, fromPort, to, toPort);
    receive?.(this.#bytes, from, fromPort, to, toPort);
  }
}

/** Datagrams are copied into pieces of memory of this size: one of each costs much to collect. */
const CHUNK_BYTES = 262_144;
let chunk = new ArrayBuffer(CHUNK_BYTES);
let used = 0;

function copyOf(bytes: Uint8Array): Uint8Array {
  const { length } = bytes;
  if (used + length > CHUNK_BYTES) {
    chunk = new ArrayBuffer(Math.max(CHUNK_BYTES, length));
    used = 0;
  }
  const copy = new Uint8Array(chunk, used, length);
  copy.set(bytes);
  used += length;
  return copy;
}
