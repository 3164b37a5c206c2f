/** Where a server is reached: its addresses, its two ports, and which of them answered last. */
import type { Destination, Pending } from './questions.ts';
import type { ServerAddress } from './server-address.ts';

/** What a host's addresses may have changed after. */
const ADDRESSES_MS = 300_000;
/** Addresses of a host that are tried. */
const MOST_ADDRESSES = 8;
/** Sends to an address that has answered before, until the others are tried as well. */
const PATIENT_SENDS = 4;
/** Sends to the first port before the second is tried. */
const FIRST_SENDS = 2;

type Resolve = (
  host: string,
  done: (addresses: readonly string[], error: Error | null) => void,
) => void;

export class Route {
  readonly #server: ServerAddress;
  readonly #resolve: Resolve;
  readonly #onFailed: (error: Error) => void;
  #isResolving = false;
  #addresses: readonly string[] = [];
  #resolvedAt = Number.NEGATIVE_INFINITY;
  #error: Error | null = null;
  #settled: Destination | null = null;
  /** Where the next question begins, while none has answered: all get their turn in the end. */
  #first = 0;

  /** `onFailed`: the host has no address. */
  constructor(server: ServerAddress, resolve: Resolve, onFailed: (error: Error) => void) {
    this.#server = server;
    this.#resolve = resolve;
    this.#onFailed = onFailed;
  }

  /** The address and port that answered last; null: all are tried. */
  get settled(): Destination | null {
    return this.#settled;
  }

  /** Whether addresses are known; asks for them when not, or when they are old. */
  isKnown(nowMs: number): boolean {
    if (this.#isResolving || nowMs - this.#resolvedAt < ADDRESSES_MS) {
      return this.#addresses.length > 0;
    }
    this.#isResolving = true;
    this.#resolve(this.#server.host, (addresses, error) => {
      this.#isResolving = false;
      this.#error = error;
      this.#resolvedAt = nowMs;
      if (addresses.length > 0) this.#addresses = addresses.slice(0, MOST_ADDRESSES);
      if (this.#addresses.length > 0) return;
      this.#resolvedAt = Number.NEGATIVE_INFINITY;
      this.#onFailed(error ?? new Error(`${this.#server.host} has no address`));
    });
    return this.#addresses.length > 0;
  }

  /** Whether a datagram from there may be the server's: its ports push each by itself. */
  isServer(address: string, port: number): boolean {
    if (this.#settled?.address !== address) return false;
    return port === this.#server.port || port === this.#server.secondPort;
  }

  /** Where the next send of a question goes. */
  next(pending: Pending): Destination {
    if (this.#settled !== null && pending.sends < PATIENT_SENDS) return this.#settled;
    const all = this.#candidates();
    const left = all.filter((to) => !includes(pending.useless, to));
    const from = left.length > 0 ? left : all;
    const patient = this.#settled === null ? FIRST_SENDS : PATIENT_SENDS;
    const turn = pending.sends < patient ? 0 : pending.sends - patient + 1;
    return from[(this.#first + turn) % from.length];
  }

  /** Whether there is a destination that was not of no use to a question. */
  isLeft(pending: Pending): boolean {
    return this.#candidates().some((to) => !includes(pending.useless, to));
  }

  /** An address and port answered; whether another one did before. */
  settle(to: Destination): boolean {
    const isOther = this.#settled !== null && !isSame(this.#settled, to);
    this.#settled = to;
    this.#first = 0;
    return isOther;
  }

  /** What answered is of no use any more. */
  unsettle(): void {
    this.#settled = null;
  }

  /** Nothing answered a question: the next begins where this one ended, with fresh addresses. */
  fellSilent(pending: Pending): void {
    this.#settled = null;
    this.#first += Math.max(1, pending.sends - FIRST_SENDS);
    this.#resolvedAt = Number.NEGATIVE_INFINITY;
  }

  /** Why nothing was heard. */
  silence(): Error {
    const { host, port, secondPort } = this.#server;
    const ports = secondPort === 0 ? `port ${port}` : `ports ${port} and ${secondPort}`;
    return new Error(`no answer from ${host}, ${ports}`, { cause: this.#error });
  }

  /** All addresses at the first port and the second, in turn. */
  #candidates(): Destination[] {
    const { port, secondPort } = this.#server;
    const ports = secondPort === 0 ? [port] : [port, secondPort];
    return this.#addresses.flatMap((address) => ports.map((at) => ({ address, port: at })));
  }
}

function includes(all: readonly Destination[], to: Destination): boolean {
  return all.some((other) => isSame(other, to));
}

export function isSame(a: Destination, b: Destination): boolean {
  return a.address === b.address && a.port === b.port;
}
