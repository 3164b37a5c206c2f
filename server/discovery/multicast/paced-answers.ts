/**
 * Answers to a group, held back a little: several hosts may answer the same question (RFC 6762
 * section 6), and the same question asked again meanwhile needs no second answer.
 *
 *   question --add--> waiting of its destination --due--> flush: as many as fit; the rest later
 */
import type { Clock } from '../../clock.ts';
import type { Asked } from './answer.ts';
import { foldAscii } from './names.ts';

/** An answer is sent 20 to 120 ms after the question (RFC 6762 section 6). */
export const LEAST_DELAY_MS = 20;
export const DELAY_SPAN_MS = 101;
/**
 * To one destination, and so the same answer, at most once in this time. RFC 6762 has a second; but
 * clients of the original ask once, maybe right after they were started, and never again.
 */
export const SPACING_MS = 100;
/** Questions waiting for one destination; what is more is not answered, and counted. */
export const MAX_WAITING = 1024;
/** Questions looked at for one destination at a time: some need work and have no answer. */
export const MAX_AT_ONCE = 48;
/** Destinations: groups by interface. */
const MAX_DESTINATIONS = 64;

interface Destination {
  readonly waiting: Map<string, Asked>;
  lastAt: number;
  cancel: (() => void) | null;
}

export interface PacedOptions {
  readonly clock: Pick<Clock, 'now' | 'after'>;
  /** An unsigned 32-bit number. */
  readonly random: () => number;
  /** Sends answers to `to`; returns how many of the questions are done with, at least one. */
  readonly flush: (to: string, asked: readonly Asked[]) => number;
}

export class PacedAnswers {
  readonly #options: PacedOptions;
  readonly #destinations = new Map<string, Destination>();
  #dropped = 0;

  constructor(options: PacedOptions) {
    this.#options = options;
  }

  /** Questions that are not answered, because too many wait. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Whether a question with the same answer waits already. */
  has(to: string, asked: Asked): boolean {
    return this.#destinations.get(to)?.waiting.has(keyOf(asked)) ?? false;
  }

  /** `to` names a destination; what it means is up to `flush`. */
  add(to: string, asked: Asked): void {
    const destination = this.#destination(to);
    const key = keyOf(asked);
    if (destination === null || isFull(destination, key)) {
      this.#dropped++;
      return;
    }
    destination.waiting.set(key, asked);
    if (destination.cancel !== null) return;
    const { clock, random } = this.#options;
    const soonest = LEAST_DELAY_MS + (random() % DELAY_SPAN_MS);
    this.#arm(to, destination, Math.max(soonest, destination.lastAt + SPACING_MS - clock.now()));
  }

  /** Forgets what waits. */
  clear(): void {
    for (const { cancel } of this.#destinations.values()) cancel?.();
    this.#destinations.clear();
  }

  #destination(to: string): Destination | null {
    const known = this.#destinations.get(to);
    if (known !== undefined) return known;
    if (this.#destinations.size >= MAX_DESTINATIONS && !this.#forgetOne()) return null;
    const fresh = { waiting: new Map(), lastAt: Number.NEGATIVE_INFINITY, cancel: null };
    this.#destinations.set(to, fresh);
    return fresh;
  }

  /** Interfaces come and go: makes room where nothing waits. */
  #forgetOne(): boolean {
    for (const [to, { cancel }] of this.#destinations) {
      if (cancel === null) return this.#destinations.delete(to);
    }
    return false;
  }

  #arm(to: string, destination: Destination, delayMs: number): void {
    destination.cancel = this.#options.clock.after(delayMs, () => {
      destination.cancel = null;
      destination.lastAt = this.#options.clock.now();
      const asked = firstOf(destination.waiting);
      const count = this.#options.flush(
        to,
        asked.map(([, one]) => one),
      );
      for (const [key] of asked.slice(0, Math.max(1, count))) destination.waiting.delete(key);
      // `flush` calls users, who may have ended all this.
      if (destination.waiting.size > 0 && this.#destinations.get(to) === destination) {
        this.#arm(to, destination, SPACING_MS);
      }
    });
  }
}

function isFull({ waiting }: Destination, key: string): boolean {
  return waiting.size >= MAX_WAITING && !waiting.has(key);
}

function firstOf(waiting: ReadonlyMap<string, Asked>): [string, Asked][] {
  const first: [string, Asked][] = [];
  for (const entry of waiting) {
    if (first.length === MAX_AT_ONCE) break;
    first.push(entry);
  }
  return first;
}

/** Equal for questions with the same answer: a probe's is the asker's alone. */
export function keyOf({ name, id, type, asker }: Asked): string {
  const whose = id === '' ? ` ${asker.address} ${asker.port}` : '';
  return `${type} ${foldAscii(name)}${whose}`;
}
