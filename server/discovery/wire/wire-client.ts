/**
 * The wire client of one discovery server, as a state machine without I/O: events and the time in,
 * what to send and what was learnt out (WireOutput).
 *
 *   ask --no token--> waiting --probe answered--> under way --answer--> done
 *          \--token---------------------------------^  |  \--truncated--> by TCP --> done
 *                                                      \--silence--> again, elsewhere, give up
 *
 * The first two sends of a question go to the first port, then they go to all ports and addresses
 * in turn until one answers: that one is kept until it falls silent (npm dns-discovery 6.2.3 waits
 * for a whole timeout before it tries the second port, and never goes back).
 */
import {
  type Answer,
  isResponse,
  messageId,
  nameKey,
  readAnswer,
} from '../../../codecs/dns/client-answer.ts';
import { type Question, writeQuestion } from '../../../codecs/dns/client-query.ts';
import { EDNS_UDP_BYTES, RCODE } from '../../../codecs/dns/constants.ts';
import { DiscoveryError, type Peer } from '../types.ts';
import { CookieJar } from './cookie-jar.ts';
import { Fifo } from './fifo.ts';
import { Pushes } from './pushes.ts';
import {
  type Attempt,
  type Destination,
  type Done,
  Pending,
  QuestionTable,
  RoundTrips,
} from './questions.ts';
import { isSame, Route } from './route.ts';
import type { ServerAddress } from './server-address.ts';
import { isCrowd, isStale, isWithoutEdns, refusal } from './verdicts.ts';

/** A server accepts a token for 5 to 10 minutes: the shorter, less a slow answer. */
const TOKEN_MS = 270_000;
/** Questions under way at a server: more would overrun its socket, or ours. */
const MOST_UNDER_WAY = 512;
/** Questions that wait for their turn. */
const MOST_WAITING = 65_536;
/** What a question has at least for itself, when the probe before it took its time. */
const LEAST_MS = 1000;
/** A server whose TCP failed is not asked by it for the rest of a crowd for so long. */
const NO_TCP_MS = 600_000;

export interface WireOutput {
  /** Sends a datagram. */
  send(bytes: Uint8Array, to: Destination): void;
  /** Asks by TCP; null: no answer within that time. */
  askTcp(
    bytes: Uint8Array,
    to: Destination,
    timeoutMs: number,
    done: (answer: Uint8Array | null) => void,
  ): void;
  /** The addresses of a host, the preferred first; none with an error. */
  resolve(host: string, done: (addresses: readonly string[], error: Error | null) => void): void;
  /** A peer that the server pushed and, asked again, confirmed; `name` as it was looked up. */
  pushed(name: string, peer: Peer, from: Destination): void;
}

export interface WireConfig {
  readonly server: ServerAddress;
  /** Wire form, with the root. */
  readonly domain: Uint8Array;
  readonly timeoutMs: number;
  /** Sends of one question at most. */
  readonly mostSends: number;
  /** Unpredictable numbers: 0 to 65535, and bytes. */
  readonly randomId: () => number;
  readonly secretBytes: (count: number) => Uint8Array;
}

interface Waiting {
  readonly question: Question;
  readonly done: Done;
  readonly deadline: number;
}

export class WireClient {
  readonly #config: WireConfig;
  readonly #output: WireOutput;
  readonly #table: QuestionTable;
  readonly #cookies: CookieJar;
  readonly #trips = new RoundTrips();
  readonly #pushes: Pushes;
  readonly #route: Route;
  readonly #waiting = new Fifo<Waiting>();
  #isProbing = false;
  #token: string | null = null;
  #tokenAt = 0;
  #noTcpUntil = Number.NEGATIVE_INFINITY;
  #ended: Error | null = null;
  /** Datagrams that were not what they should be: forged, late, or broken. */
  dropped = 0;

  constructor(config: WireConfig, output: WireOutput) {
    this.#config = config;
    this.#output = output;
    this.#table = new QuestionTable(config.randomId);
    this.#cookies = new CookieJar(config.secretBytes);
    this.#route = new Route(
      config.server,
      (host, done) => output.resolve(host, done),
      (error) => this.#failWaiting(error),
    );
    this.#pushes = new Pushes(config.domain, {
      ask: (name, nowMs, done) =>
        this.ask({ kind: 'lookup', name, token: null, port: 0 }, null, nowMs, done),
      acknowledge: (bytes, to) => output.send(bytes, to),
      tell: (name, peer, from) => output.pushed(name, peer, from),
    });
  }

  /** Whether there is anything to wait for: call `tick` some 50 times a second then. */
  get isBusy(): boolean {
    return this.#table.size > 0 || this.#waiting.length > 0 || this.#pushes.isBusy;
  }

  /** Where the server answered last. */
  get settled(): Destination | null {
    return this.#route.settled;
  }

  /**
   * Asks a question; `question.token` is of no matter. `label`: the name as the user knows it, for
   * pushes; null: none are wanted.
   */
  ask(question: Question, label: string | null, nowMs: number, done: Done): void {
    if (this.#ended !== null) {
      done(this.#ended, null, null);
      return;
    }
    if (label !== null) this.#pushes.subscribe(question.name, label, nowMs);
    if (this.#waiting.length >= MOST_WAITING) {
      const what = `more than ${MOST_WAITING} questions wait for ${this.#config.server.host}`;
      done(new DiscoveryError('ERR_TOO_MANY', what), null, null);
      return;
    }
    this.#waiting.push({ question, done, deadline: nowMs + this.#config.timeoutMs });
    this.#startWaiting(nowMs);
  }

  /**
   * Ends announces of a name and port that have not been answered: sent again, they would undo an
   * unannounce that comes after them.
   */
  cancelAnnounces(name: Uint8Array, port: number): void {
    const key = nameKey(name);
    const error = new DiscoveryError('ERR_QUERY_FAILED', 'taken back before it was answered');
    const isIt = ({ question }: { readonly question: Question }) =>
      question.kind === 'announce' && question.port === port && nameKey(question.name) === key;
    for (const { done } of this.#waiting.remove(isIt)) done(error, null, null);
    for (const pending of [...this.#table.pending()].filter(isIt)) {
      this.#finish(pending, error, null, null);
    }
  }

  /** A datagram; whether it came from this server. What is not as it should be is dropped. */
  receive(bytes: Uint8Array, address: string, port: number, nowMs: number): boolean {
    if (!isResponse(bytes)) return this.#receivePush(bytes, address, port, nowMs);
    const id = messageId(bytes);
    const pending = this.#table.find(id);
    const attempt = pending?.attemptAt(id, address, port) ?? null;
    if (pending === null || attempt === null) {
      this.dropped++;
      return false;
    }
    const answer = readAnswer(bytes, pending.question.name);
    if (answer === null || !this.#cookies.accepts(address, answer.cookie)) {
      this.dropped++;
      return true;
    }
    this.#cookies.keep(address, answer.cookie);
    if (attempt.sends === 1) this.#trips.measured(nowMs - attempt.sentAt);
    if (pending.isByTcp) return true;
    const isPart =
      pending.question.kind === 'lookup' &&
      nowMs >= this.#noTcpUntil &&
      isCrowd(answer, bytes.length);
    this.#answered(pending, attempt, isPart ? { ...answer, isTruncated: true } : answer, nowMs);
    return true;
  }

  /** Does what is due. */
  tick(nowMs: number): void {
    for (const pending of this.#table.pending()) {
      if (pending.isByTcp) continue;
      if (nowMs >= pending.deadline) this.#timedOut(pending);
      else if (nowMs >= pending.nextSendAt) this.#sendNext(pending, nowMs);
    }
    this.#pushes.tick(nowMs);
    this.#startWaiting(nowMs);
    for (let first = this.#waiting.first; first !== undefined; first = this.#waiting.first) {
      if (nowMs < first.deadline) break;
      this.#waiting.shift();
      first.done(this.#route.silence(), null, null);
    }
  }

  /** Ends every question with `error`, those to come as well. */
  end(error: Error): void {
    this.#ended = error;
    this.#failWaiting(error);
    for (const pending of this.#table.pending()) this.#finish(pending, error, null, null);
    this.#pushes.end();
  }

  #hasToken(nowMs: number): boolean {
    return this.#token !== null && nowMs - this.#tokenAt < TOKEN_MS;
  }

  /** Puts under way what may be: a probe at once, the rest when there is a token. */
  #startWaiting(nowMs: number): void {
    // Any of these steps may run code of the program, which may ask something.
    while (this.#table.size < MOST_UNDER_WAY && this.#route.isKnown(nowMs)) {
      const { first } = this.#waiting;
      if (first === undefined) return;
      if (first.question.kind !== 'probe' && !this.#hasToken(nowMs)) {
        this.#probe(nowMs);
        return;
      }
      this.#waiting.shift();
      const deadline = Math.max(first.deadline, nowMs + LEAST_MS);
      this.#start(first.question, first.done, deadline, nowMs, false);
    }
  }

  #probe(nowMs: number): void {
    if (this.#isProbing) return;
    this.#isProbing = true;
    const question: Question = { kind: 'probe', name: this.#config.domain, token: null, port: 0 };
    const done: Done = (error) => {
      this.#isProbing = false;
      if (error !== null) this.#failWaiting(error);
    };
    this.#start(question, done, nowMs + this.#config.timeoutMs, nowMs, false);
  }

  #failWaiting(error: Error): void {
    for (const { done } of this.#waiting.takeAll()) done(error, null, null);
  }

  #start(asked: Question, done: Done, deadline: number, nowMs: number, isAgain: boolean): void {
    const question = asked.kind === 'probe' ? asked : { ...asked, token: this.#token };
    const pending = new Pending(question, done, deadline, this.#trips.rtoMs, isAgain);
    this.#table.add(pending);
    this.#sendNext(pending, nowMs);
  }

  /** Sends once more, unless it was sent often enough; then only the deadline is waited for. */
  #sendNext(pending: Pending, nowMs: number): void {
    if (pending.sends >= this.#config.mostSends) pending.nextSendAt = pending.deadline;
    else this.#sendTo(pending, this.#route.next(pending), nowMs);
  }

  #sendTo(pending: Pending, to: Destination, nowMs: number): void {
    const known = pending.attempts.find((attempt) => isSame(attempt.to, to));
    const attempt = known ?? this.#table.newAttempt(pending, to, nowMs);
    attempt.sends++;
    pending.sent(nowMs);
    this.#output.send(this.#bytes(attempt.id, pending.question, to, nowMs), to);
  }

  #bytes(id: number, question: Question, to: Destination, nowMs: number): Uint8Array {
    const cookie = this.#cookies.cookieFor(to.address, nowMs);
    const edns = cookie === null ? null : { udpBytes: EDNS_UDP_BYTES, cookie };
    return writeQuestion(id, question, edns);
  }

  #answered(pending: Pending, attempt: Attempt, answer: Answer, nowMs: number): void {
    const { address } = attempt.to;
    const { rcode, isTruncated } = answer;
    if (rcode === RCODE.BADCOOKIE && !pending.hasNewCookie) {
      pending.hasNewCookie = true;
      this.#sendAgain(pending, attempt, nowMs);
    } else if (isWithoutEdns(answer) && this.#cookies.cookieFor(address, nowMs) !== null) {
      this.#cookies.setPlain(address, nowMs);
      this.#sendAgain(pending, attempt, nowMs);
    } else if (rcode !== RCODE.NOERROR || answer.token === null) {
      // A server of this protocol always gives a token, unless it had no room for it.
      if (isTruncated || rcode === RCODE.BADCOOKIE) this.#askTcp(pending, attempt, answer, nowMs);
      else this.#ofNoUse(pending, attempt.to, answer, nowMs);
    } else {
      this.#settle(attempt.to, answer, nowMs);
      if (this.#isHeard(pending, answer, nowMs)) {
        if (isTruncated) this.#askTcp(pending, attempt, answer, nowMs);
        else this.#finish(pending, null, answer, attempt.to);
      }
      this.#startWaiting(nowMs);
    }
  }

  /**
   * Whether the server took the token that the question had; else it is asked once more, with the
   * token of the answer.
   */
  #isHeard(pending: Pending, answer: Answer, nowMs: number): boolean {
    const { question, isAgain, deadline, done } = pending;
    // Once: a token of the epoch before is taken as well, and answered with this epoch's.
    if (!isStale(question, answer) || isAgain) return true;
    this.#table.remove(pending);
    this.#start(question, done, Math.max(deadline, nowMs + LEAST_MS), nowMs, true);
    return false;
  }

  /** The address and port answered: questions go there from now on, with its token. */
  #settle(to: Destination, answer: Answer, nowMs: number): void {
    if (this.#route.settle(to)) this.#trips.forget();
    this.#token = answer.token;
    this.#tokenAt = nowMs;
  }

  /** To the same destination, with another cookie or none: under an id of its own. */
  #sendAgain(pending: Pending, attempt: Attempt, nowMs: number): void {
    pending.attempts.splice(pending.attempts.indexOf(attempt), 1);
    this.#table.release(attempt.id);
    this.#sendTo(pending, attempt.to, nowMs);
  }

  /**
   * Asks once more, by TCP. An announce of the port that the server sees is a lookup there, for it
   * would be the connection's port.
   */
  #askTcp(pending: Pending, attempt: Attempt, partial: Answer, nowMs: number): void {
    pending.isByTcp = true;
    const { question, deadline } = pending;
    const isLookup = question.kind !== 'probe' && question.port === 0;
    const asked = isLookup ? { ...question, kind: 'lookup' as const } : question;
    const bytes = this.#bytes(attempt.id, asked, attempt.to, nowMs);
    const timeoutMs = Math.max(deadline - nowMs, LEAST_MS);
    this.#output.askTcp(bytes, attempt.to, timeoutMs, (reply) => {
      if (pending.isOver) return;
      const full = reply === null ? null : readAnswer(reply, question.name);
      this.#answeredByTcp(pending, attempt, full, partial, nowMs);
    });
  }

  #answeredByTcp(
    pending: Pending,
    attempt: Attempt,
    full: Answer | null,
    partial: Answer,
    nowMs: number,
  ): void {
    if (full !== null && full.id === attempt.id && isUseful(full)) {
      this.#settle(attempt.to, full, nowMs);
      if (this.#isHeard(pending, full, nowMs)) this.#finish(pending, null, full, attempt.to);
      return;
    }
    this.#noTcpUntil = nowMs + NO_TCP_MS;
    if (isUseful(partial)) this.#finish(pending, null, partial, attempt.to);
    else this.#finish(pending, refusal(this.#config.server, full ?? partial), null, null);
  }

  /** An answer that is none: on to the next destination, or the end when there is no other. */
  #ofNoUse(pending: Pending, to: Destination, answer: Answer, nowMs: number): void {
    const route = this.#route;
    pending.useless.push(to);
    pending.reason = refusal(this.#config.server, answer);
    if (route.settled !== null && isSame(route.settled, to)) this.#unsettle();
    const mayBeSent = pending.sends < this.#config.mostSends;
    if (mayBeSent && route.isLeft(pending)) this.#sendNext(pending, nowMs);
    else this.#finish(pending, pending.reason, null, null);
  }

  #timedOut(pending: Pending): void {
    for (const { to } of pending.attempts) this.#cookies.forget(to.address);
    this.#unsettle();
    this.#route.fellSilent(pending);
    this.#finish(pending, pending.reason ?? this.#route.silence(), null, null);
  }

  #unsettle(): void {
    this.#route.unsettle();
    this.#token = null;
    this.#trips.forget();
  }

  #finish(
    pending: Pending,
    error: Error | null,
    answer: Answer | null,
    from: Destination | null,
  ): void {
    this.#table.remove(pending);
    pending.done(error, answer, from);
  }

  #receivePush(bytes: Uint8Array, address: string, port: number, nowMs: number): boolean {
    if (!this.#route.isServer(address, port)) return false;
    if (!this.#pushes.receive(bytes, { address, port }, nowMs)) this.dropped++;
    return true;
  }
}

/** An answer of a server of this protocol. */
function isUseful({ rcode, token }: Answer): boolean {
  return rcode === RCODE.NOERROR && token !== null;
}
