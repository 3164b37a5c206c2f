/** The address that this machine says it can be reached at when nothing else tells. */
import { networkInterfaces } from 'node:os';
import type { Clock } from '../../clock.ts';
import { ADDRESS_BYTES, writeAddress } from '../../net/ip-address.ts';

/** Asking the system takes some 50 us, and addresses seldom change. */
const KEPT_MS = 10_000;
const LOOPBACK = '127.0.0.1';
const ADDRESS4_AT = 12;

/** The first IPv4 address of an interface that is not loopback, else 127.0.0.1. */
export class MachineAddress {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #interfaces: typeof networkInterfaces;
  readonly #bytes = new Uint8Array(ADDRESS_BYTES);
  #askedAt = Number.NEGATIVE_INFINITY;

  /** `interfaces` is for tests. */
  constructor(clock: Pick<Clock, 'now'>, interfaces = networkInterfaces) {
    this.#clock = clock;
    this.#interfaces = interfaces;
  }

  /** Writes its four bytes. */
  write(out: Uint8Array): void {
    const now = this.#clock.now();
    if (now - this.#askedAt >= KEPT_MS) {
      this.#askedAt = now;
      writeAddress(this.#find(), this.#bytes, 0);
    }
    for (let i = 0; i < 4; i++) out[i] = this.#bytes[ADDRESS4_AT + i];
  }

  #find(): string {
    for (const addresses of Object.values(this.#interfaces())) {
      for (const { address, family, internal } of addresses ?? []) {
        if (family === 'IPv4' && !internal) return address;
      }
    }
    return LOOPBACK;
  }
}
