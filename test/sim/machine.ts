/**
 * Machines of the simulated network, and their sockets. A datagram goes from a socket by the NAT
 * before the machine to the network, and comes back the same way.
 */
import { type Nat, OPEN } from './nat.ts';
import type { Network } from './network.ts';

/** Called with bytes that are the receiver's own. */
export type Receive = (bytes: Uint8Array, host: number, port: number) => void;
/** The same, with where it was sent to. */
export type SubnetReceive = (
  bytes: Uint8Array,
  host: number,
  port: number,
  to: number,
  toPort: number,
) => void;

const PORT_LIMIT = 0x1_0000;
/** Ports for sockets that ask for none. */
const FIRST_FREE_PORT = 32_768;

/** A machine with one address, behind its NAT, if it has one. */
export class Machine {
  readonly address: number;
  readonly nat: Nat;
  /** Where it stands, in a square of side 1. */
  readonly place: { readonly x: number; readonly y: number };
  /** Whether it is on: else it neither sends nor gets anything. */
  isUp = true;
  protected readonly network: Network;
  readonly #sockets = new Map<number, SimSocket>();
  #nextPort = FIRST_FREE_PORT;

  constructor(network: Network, address: number, nat: Nat, place: { x: number; y: number }) {
    this.network = network;
    this.address = address;
    this.nat = nat;
    this.place = place;
  }

  /** Opens a socket; port 0: any that is free. */
  open(port: number, receive: Receive): SimSocket {
    let free = port;
    while (free === 0 || (port === 0 && this.#sockets.has(free))) free = this.#takePort();
    if (this.#sockets.has(free)) throw new Error(`port ${free} is taken`);
    const socket = new SimSocket(this, free, receive);
    this.#sockets.set(free, socket);
    return socket;
  }

  /** For sockets. */
  send(port: number, host: number, toPort: number, bytes: Uint8Array): void {
    if (!this.isUp) return;
    const outer = this.nat.outbound(port, host, toPort, this.network.clock.elapsedMs);
    this.network.send(this, outer, host, toPort, bytes);
  }

  /** What gets a datagram from `host`:`fromPort`; undefined: nothing does. */
  receiverOf(
    port: number,
    host: number,
    fromPort: number,
    nowMs: number,
  ): SubnetReceive | undefined {
    const inner = this.nat.inbound(port, host, fromPort, nowMs);
    return this.isUp ? this.#sockets.get(inner)?.receive : undefined;
  }

  socketAt(port: number): SimSocket | undefined {
    return this.#sockets.get(port);
  }

  /** For sockets that close. */
  forget(port: number): void {
    this.#sockets.delete(port);
  }

  /** Closes all sockets at once, as a crash does. */
  crash(): void {
    this.#sockets.clear();
  }

  #takePort(): number {
    const port = this.#nextPort;
    this.#nextPort = port + 1 < PORT_LIMIT ? port + 1 : FIRST_FREE_PORT;
    return port;
  }
}

/** A machine that has a whole network to itself, and no sockets. */
export class Subnet extends Machine {
  readonly #receive: SubnetReceive;

  constructor(
    network: Network,
    upper: number,
    place: { x: number; y: number },
    receive: SubnetReceive,
  ) {
    super(network, upper * 0x1_0000, OPEN, place);
    this.#receive = receive;
  }

  /** Sends from any of its addresses. */
  sendFrom(from: number, fromPort: number, host: number, port: number, bytes: Uint8Array): void {
    this.network.send(this, fromPort, host, port, bytes, from);
  }

  override receiverOf(): SubnetReceive | undefined {
    return this.isUp ? this.#receive : undefined;
  }
}

/** A UDP socket of a machine. */
export class SimSocket {
  readonly port: number;
  readonly receive: Receive;
  readonly #machine: Machine;

  constructor(machine: Machine, port: number, receive: Receive) {
    this.#machine = machine;
    this.port = port;
    this.receive = receive;
  }

  /** Sends a copy of `bytes`; a socket that was closed sends nothing. */
  send(bytes: Uint8Array, host: number, port: number): void {
    if (this.#machine.socketAt(this.port) === this) {
      this.#machine.send(this.port, host, port, bytes);
    }
  }

  close(): void {
    if (this.#machine.socketAt(this.port) === this) this.#machine.forget(this.port);
  }
}
