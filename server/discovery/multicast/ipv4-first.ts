/**
 * An announcer that is heard over both families is told once, by its IPv4 address: that is what
 * programs for npm dns-discovery expect, and what a service on 0.0.0.0 is reached at. Announcers
 * are told apart by their token, which is the same for both families.
 */
import { isIPv6 } from 'node:net';
import type { Clock } from '../../clock.ts';

/** Answers leave after 20 to 120 ms (RFC 6762 section 6): what came over IPv6 waits for IPv4. */
const WAIT_MS = 250;
/** An announcer heard over IPv4 this long ago is still reached there. */
const HEARD_MS = 60_000;
const MOST_ANNOUNCERS = 1024;
/** Beyond, what waits is told at once. */
const MOST_WAITING = 256;

export class Ipv4First {
  readonly #clock: Clock;
  /** By token: when it was heard over IPv4 last. */
  readonly #heard = new Map<string, number>();
  readonly #cancels = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Something of an announcer came from `address`; `tell` is called once or not at all. */
  heard(token: string | null, address: string, tell: () => void): void {
    if (token === null) {
      tell();
    } else if (!isIPv6(address)) {
      this.#note(token);
      tell();
    } else if (!this.#isKnown(token)) {
      this.#wait(token, tell);
    }
  }

  clear(): void {
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
  }

  #wait(token: string, tell: () => void): void {
    if (this.#cancels.size >= MOST_WAITING) {
      tell();
      return;
    }
    const cancel = this.#clock.after(WAIT_MS, () => {
      this.#cancels.delete(cancel);
      if (!this.#isKnown(token)) tell();
    });
    this.#cancels.add(cancel);
  }

  #isKnown(token: string): boolean {
    const at = this.#heard.get(token);
    return at !== undefined && this.#clock.now() - at < HEARD_MS;
  }

  #note(token: string): void {
    this.#heard.delete(token);
    if (this.#heard.size >= MOST_ANNOUNCERS) {
      // The one that was heard longest ago comes first.
      for (const oldest of this.#heard.keys()) {
        this.#heard.delete(oldest);
        break;
      }
    }
    this.#heard.set(token, this.#clock.now());
  }
}
