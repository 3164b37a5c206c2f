/**
 * What stands between a machine and the network. Each kind has the address of its machine; it says
 * by which port a datagram leaves, and to which socket one that arrives goes, if to any.
 *
 *   open         as if it were not there
 *   firewalled   ports as they are; lets in only who was written to within a minute
 *   consistent   another port, the same to everybody; lets in only who was written to
 *   random       another port to everybody; lets in who was written to, by that port only
 */
import type { Rng } from '../../workers/rng.ts';

export type NatKind = 'open' | 'firewalled' | 'consistent' | 'random';

export interface Nat {
  readonly kind: NatKind;
  /** The port by which a datagram from the socket at `port` leaves to `host`:`toPort`. */
  outbound(port: number, host: number, toPort: number, nowMs: number): number;
  /** The port of the socket that gets a datagram to `port`; -1: it is let in nowhere. */
  inbound(port: number, host: number, fromPort: number, nowMs: number): number;
}

/** A binding without traffic is forgotten; of routers in the field 30 s is short, 120 s long. */
const IDLE_MS = 60_000;
/** Bindings are looked through for idle ones when there are so many, then twice as many. */
const LEAST_SWEPT = 256;
/** Ports a NAT gives away. */
const FIRST_PORT = 10_000;
const PORTS = 50_000;

export function createNat(kind: NatKind, rng: Rng): Nat {
  if (kind === 'open') return OPEN;
  if (kind === 'random') return new RandomNat(rng);
  return new ConsistentNat(kind, rng);
}

/** Nothing at all. */
export const OPEN: Nat = { kind: 'open', outbound: (port) => port, inbound: (port) => port };

interface Binding {
  /** The socket's port, and the one the world sees. */
  readonly inner: number;
  readonly outer: number;
  usedMs: number;
}

/** Bindings by a key, the idle ones forgotten. */
class Bindings {
  readonly #bindings = new Map<number, Binding>();
  #sweepAt = LEAST_SWEPT;

  get(key: number, nowMs: number): Binding | undefined {
    const found = this.#bindings.get(key);
    return found !== undefined && nowMs - found.usedMs <= IDLE_MS ? found : undefined;
  }

  add(key: number, binding: Binding): void {
    this.#bindings.set(key, binding);
    if (this.#bindings.size < this.#sweepAt) return;
    for (const [other, { usedMs }] of this.#bindings) {
      if (binding.usedMs - usedMs > IDLE_MS) this.#bindings.delete(other);
    }
    this.#sweepAt = Math.max(LEAST_SWEPT, 2 * this.#bindings.size);
  }
}

/** Below 2^48: an exact key. */
function remoteKey(host: number, port: number): number {
  return host * 0x1_0000 + port;
}

/** A port of its own for each socket (its own one, for a mere firewall), a filter by remote. */
class ConsistentNat implements Nat {
  readonly kind: NatKind;
  readonly #rng: Rng;
  readonly #outer = new Map<number, number>();
  readonly #inner = new Map<number, number>();
  /** By socket: who was written to. */
  readonly #written = new Map<number, Bindings>();

  constructor(kind: 'firewalled' | 'consistent', rng: Rng) {
    this.kind = kind;
    this.#rng = rng;
  }

  outbound(port: number, host: number, toPort: number, nowMs: number): number {
    const outer = this.#outer.get(port) ?? this.#bind(port);
    const written = this.#written.get(port) ?? new Bindings();
    this.#written.set(port, written);
    const key = remoteKey(host, toPort);
    const known = written.get(key, nowMs);
    if (known === undefined) written.add(key, { inner: port, outer, usedMs: nowMs });
    else known.usedMs = nowMs;
    return outer;
  }

  inbound(port: number, host: number, fromPort: number, nowMs: number): number {
    const inner = this.#inner.get(port);
    if (inner === undefined) return -1;
    const known = this.#written.get(inner)?.get(remoteKey(host, fromPort), nowMs);
    if (known === undefined) return -1;
    known.usedMs = nowMs;
    return inner;
  }

  #bind(port: number): number {
    let outer = port;
    if (this.kind === 'consistent') {
      do outer = FIRST_PORT + this.#rng.below(PORTS);
      while (this.#inner.has(outer) || outer === port);
    }
    this.#outer.set(port, outer);
    this.#inner.set(outer, port);
    return outer;
  }
}

/** A port for each socket and each remote. */
class RandomNat implements Nat {
  readonly kind = 'random';
  readonly #rng: Rng;
  /** By socket, then by remote; the same bindings by outer port and remote. */
  readonly #bySocket = new Map<number, Bindings>();
  readonly #byPort = new Map<number, Bindings>();

  constructor(rng: Rng) {
    this.#rng = rng;
  }

  outbound(port: number, host: number, toPort: number, nowMs: number): number {
    const key = remoteKey(host, toPort);
    const bindings = this.#bySocket.get(port) ?? new Bindings();
    this.#bySocket.set(port, bindings);
    const known = bindings.get(key, nowMs);
    if (known !== undefined) {
      known.usedMs = nowMs;
      return known.outer;
    }
    const outer = FIRST_PORT + this.#rng.below(PORTS);
    const binding = { inner: port, outer, usedMs: nowMs };
    bindings.add(key, binding);
    const ofPort = this.#byPort.get(outer) ?? new Bindings();
    this.#byPort.set(outer, ofPort);
    ofPort.add(key, binding);
    return outer;
  }

  inbound(port: number, host: number, fromPort: number, nowMs: number): number {
    const binding = this.#byPort.get(port)?.get(remoteKey(host, fromPort), nowMs);
    if (binding === undefined) return -1;
    binding.usedMs = nowMs;
    return binding.inner;
  }
}
