/**
 * The questions under way at one server: their ids, where each was sent, when to send it again,
 * when to give up. No I/O and no clock: the time comes in, what to send is told to the caller.
 */
import type { Answer } from '../../../codecs/dns/client-answer.ts';
import type { Question } from '../../../codecs/dns/client-query.ts';

/** Before a round trip has been measured. */
const FIRST_RTO_MS = 500;
/** Below, a busy peer or a delayed timer would look like a loss. */
const LEAST_RTO_MS = 100;
/** Waiting longer between sends finds nothing sooner. */
const MOST_RTO_MS = 1000;

/** An address and a port that a question may be sent to. */
export interface Destination {
  readonly address: string;
  readonly port: number;
}

/** A question sent to one destination: retries there have the same id, another one has a new id. */
export interface Attempt {
  readonly id: number;
  readonly to: Destination;
  readonly sentAt: number;
  sends: number;
}

/** Called once, with the answer or with why there is none. */
export type Done = (error: Error | null, answer: Answer | null, from: Destination | null) => void;

export class Pending {
  readonly question: Question;
  readonly done: Done;
  readonly deadline: number;
  readonly attempts: Attempt[] = [];
  /** Destinations whose answer was of no use. */
  readonly useless: Destination[] = [];
  /** What the last of them said. */
  reason: Error | null = null;
  sends = 0;
  nextSendAt = 0;
  /** Asked again with the token of the first answer. */
  isAgain: boolean;
  /** Asked again after BADCOOKIE. */
  hasNewCookie = false;
  /** Its answer is on the way by TCP. */
  isByTcp = false;
  isOver = false;
  #rtoMs: number;

  constructor(question: Question, done: Done, deadline: number, rtoMs: number, isAgain: boolean) {
    this.question = question;
    this.done = done;
    this.deadline = deadline;
    this.isAgain = isAgain;
    this.#rtoMs = rtoMs;
  }

  /** Notes a send, and when the next is due: each wait is twice the one before, up to a second. */
  sent(nowMs: number): void {
    this.sends++;
    this.nextSendAt = nowMs + this.#rtoMs;
    this.#rtoMs = Math.min(2 * this.#rtoMs, MOST_RTO_MS);
  }

  attemptAt(id: number, address: string, port: number): Attempt | null {
    const found = this.attempts.find(
      (attempt) => attempt.id === id && attempt.to.address === address && attempt.to.port === port,
    );
    return found ?? null;
  }
}

/** The round trips to a server, and the time after which to send again (RFC 6298). */
export class RoundTrips {
  #smoothed = 0;
  #variation = 0;
  #isMeasured = false;

  get rtoMs(): number {
    if (!this.#isMeasured) return FIRST_RTO_MS;
    const rto = this.#smoothed + 4 * this.#variation;
    return Math.min(Math.max(rto, LEAST_RTO_MS), MOST_RTO_MS);
  }

  measured(ms: number): void {
    if (!this.#isMeasured) {
      this.#isMeasured = true;
      this.#smoothed = ms;
      this.#variation = ms / 2;
      return;
    }
    this.#variation = 0.75 * this.#variation + 0.25 * Math.abs(this.#smoothed - ms);
    this.#smoothed = 0.875 * this.#smoothed + 0.125 * ms;
  }

  /** The path is another one now. */
  forget(): void {
    this.#isMeasured = false;
  }
}

/** Pending questions by the ids they were sent with. */
export class QuestionTable {
  readonly #byId = new Map<number, Pending>();
  readonly #all = new Set<Pending>();
  readonly #randomId: () => number;

  /** `randomId`: unpredictable, 0 to 65535. */
  constructor(randomId: () => number) {
    this.#randomId = randomId;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Those under way; they may end while one walks over them. */
  pending(): IterableIterator<Pending> {
    return this.#all.values();
  }

  add(pending: Pending): void {
    this.#all.add(pending);
  }

  /** An id for an attempt: unused, and not 0, which the original takes for none. */
  newAttempt(pending: Pending, to: Destination, nowMs: number): Attempt {
    let id = this.#randomId();
    while (id === 0 || this.#byId.has(id)) id = (id + 1) & 0xffff;
    const attempt = { id, to, sentAt: nowMs, sends: 0 };
    pending.attempts.push(attempt);
    this.#byId.set(id, pending);
    return attempt;
  }

  find(id: number): Pending | null {
    return this.#byId.get(id) ?? null;
  }

  /** Forgets an id: an answer to it is not waited for any more. */
  release(id: number): void {
    this.#byId.delete(id);
  }

  /** Forgets it and its ids. */
  remove(pending: Pending): void {
    pending.isOver = true;
    this.#all.delete(pending);
    for (const { id } of pending.attempts) this.#byId.delete(id);
  }
}
