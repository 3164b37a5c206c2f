/** Answers what is asked over multicast DNS: at once to one asker, a little later to a group. */
import { HEADER_BYTES } from '../../../codecs/dns/constants.ts';
import type { Clock } from '../../clock.ts';
import { GROUP4, GROUP6 } from '../../net/multicast/group-socket.ts';
import { MAX_MULTICAST_QUESTIONS } from '../../net/multicast/guard.ts';
import type { MulticastLink } from '../../net/multicast/interfaces.ts';
import type { MulticastSocket } from '../../net/multicast/socket.ts';
import {
  type AnswerSources,
  type Asked,
  answersTo,
  isAnythingKnown,
  isAskedType,
  KnownAnswers,
  messageBytes,
  type OwnAddresses,
  recordBytes,
  type Told,
} from './answer.ts';
import { foldAscii, type MulticastNames } from './names.ts';
import { keyOf, PacedAnswers } from './paced-answers.ts';
import type { Sender } from './peers.ts';

/** The largest TTL of a record, and that of one told to an ordinary resolver (RFC 6762 6.7). */
export const MAX_TTL_SECONDS = 120;
export const LEGACY_TTL_SECONDS = 10;
/** Headers and an answer stay within an Ethernet frame. */
export const MAX_MESSAGE_BYTES = 1400;
/** Messages to a group at a time; the rest of the answers follows 100 ms later. */
export const MAX_MESSAGES_AT_ONCE = 4;
/** Answers by unicast in one second, whoever asks. */
export const MAX_UNICAST_PER_SECOND = 50;
/** Questions of one message that are answered: clients of this protocol ask one at a time. */
export const MAX_ANSWERED_PER_MESSAGE = 12;
/** Questions of one message whose answers are compared with what the asker knows. */
const MAX_COMPARED = 3;
/** Names told again on an interface that has come up. */
const MAX_TOLD_AGAIN = 1000;
/** Class IN or ANY with the QU bit, as dns-packet spells it. */
const QU_CLASSES = new Set(['UNKNOWN_32769', 'UNKNOWN_33023']);
const CLASSES = new Set(['IN', 'ANY', ...QU_CLASSES]);

/** A query as dns-packet decodes it, or as a user's instance tells it: nothing is certain. */
export interface HeardQuery {
  readonly id?: number;
  readonly questions?: readonly {
    readonly name?: unknown;
    readonly type?: unknown;
    readonly class?: unknown;
  }[];
  readonly answers?: unknown;
}

export interface ResponderOptions {
  readonly names: MulticastNames;
  readonly sources: AnswerSources;
  /** Null with a user's instance, which says nothing of its interfaces. */
  readonly socket: MulticastSocket | null;
  /** The port of multicast DNS. */
  readonly port: number;
  readonly ttlSeconds: number;
  readonly clock: Pick<Clock, 'now' | 'after'>;
  readonly respond: (message: object, to: { address?: string; port: number }) => void;
}

export class MulticastResponder {
  readonly #options: ResponderOptions;
  readonly #ttl: number;
  readonly #paced: PacedAnswers;
  #unicastSecond = 0;
  #unicastCount = 0;

  constructor(options: ResponderOptions) {
    this.#options = options;
    this.#ttl = Math.max(1, Math.min(MAX_TTL_SECONDS, Math.floor(options.ttlSeconds)));
    this.#paced = new PacedAnswers({
      clock: options.clock,
      random: options.sources.random,
      flush: (to, asked) => this.#flush(to, asked),
    });
  }

  /**
   * Takes a query: what is known is answered. A message of 64 questions and 9,000 bytes is to cost
   * little more than one of one question: what has been asked already comes first, then what costs
   * little, and answers are made for a few at most.
   */
  heard(message: HeardQuery, from: Sender): void {
    // Nobody is at port 0, and sending there is an error.
    if (!isPort(from.port)) return;
    const asked = this.#askedIn(message, from);
    if (asked.length === 0) return;
    const to = this.#groupOf(from);
    const us = this.#addressesFor(to);
    const { socket, port, names, sources } = this.#options;
    const known = new KnownAnswers(message.answers, (name) => names.idOf(name) !== null);
    const isLegacy = socket !== null && from.port !== port;
    const alone: Asked[] = [];
    let left = MAX_COMPARED;
    for (const { question, isUnicast } of asked) {
      const isAlone = isLegacy || isUnicast;
      if (!isAlone && this.#paced.has(to, question)) continue;
      if (known.has(question) && left-- > 0) {
        const answers = answersTo(question, this.#ttl, us, sources);
        if (answers.length === 0 || known.hasAll(answers)) continue;
      }
      if (isAlone) alone.push(question);
      else this.#paced.add(to, question);
    }
    if (alone.length > 0) this.#answerAlone(message.id ?? 0, from, alone, us, isLegacy);
  }

  /** Tells of `ids` once on an interface (RFC 6762 8.3): it is new. */
  announceOn({ family, name }: MulticastLink, ids: Iterable<string>): void {
    const { names, port } = this.#options;
    const asker = { address: '0.0.0.0', port };
    let left = MAX_TOLD_AGAIN;
    for (const id of ids) {
      if (left-- === 0) return;
      const asked = { name: `${id}.${names.domain}`, id, type: 'TXT', asker } as const;
      if (names.isSendable(asked.name)) this.#paced.add(groupOn(family, name), asked);
    }
  }

  /** Forgets the answers that have not been sent. */
  clear(): void {
    this.#paced.clear();
  }

  /** Questions that are not answered, because too many wait. */
  get dropped(): number {
    return this.#paced.dropped;
  }

  /** The first questions of a message that are about us, each once. */
  #askedIn(message: HeardQuery, asker: Sender): { question: Asked; isUnicast: boolean }[] {
    const { names, sources } = this.#options;
    const asked: { question: Asked; isUnicast: boolean }[] = [];
    const seen = new Set<string>();
    const known = new Map<string, boolean>();
    for (const question of (message.questions ?? []).slice(0, MAX_MULTICAST_QUESTIONS)) {
      const { name, type, class: klass = 'IN' } = question;
      const id = names.idOf(name);
      if (id === null || typeof name !== 'string' || !isAskedType(type)) continue;
      if (!CLASSES.has(String(klass))) continue;
      const isUnicast = QU_CLASSES.has(String(klass));
      const one = { name, id, type, asker };
      const key = `${isUnicast} ${keyOf(one)}`;
      if (seen.has(key)) continue;
      seen.add(key);
      const folded = foldAscii(id);
      const isKnown = known.get(folded) ?? isAnythingKnown(folded, sources);
      known.set(folded, isKnown);
      if (!isKnown || !names.isSendable(name)) continue;
      asked.push({ question: one, isUnicast });
      if (asked.length === MAX_ANSWERED_PER_MESSAGE) break;
    }
    return asked;
  }

  /** Answers questions to the asker alone: a resolver that is no peer, or who asked for it. */
  #answerAlone(
    id: number,
    from: Sender,
    asked: readonly Asked[],
    us: OwnAddresses,
    isLegacy: boolean,
  ): void {
    if (!this.#mayUnicast()) return;
    const ttl = isLegacy ? Math.min(LEGACY_TTL_SECONDS, this.#ttl) : this.#ttl;
    const questions: object[] = [];
    for (const { name, type } of isLegacy ? asked : []) {
      const more = [...questions, { name, type }];
      if (messageBytes([], more) > MAX_MESSAGE_BYTES / 2) break;
      questions.push({ name, type });
    }
    const answers: Told[] = [];
    let bytes = messageBytes([], questions);
    for (const question of isLegacy ? asked.slice(0, questions.length) : asked) {
      for (const answer of answersTo(question, ttl, us, this.#options.sources)) {
        bytes += recordBytes(answer);
        if (bytes <= MAX_MESSAGE_BYTES) answers.push(answer);
      }
      if (bytes > MAX_MESSAGE_BYTES) break;
    }
    if (answers.length === 0) return;
    const { address, port } = from;
    this.#options.respond({ id, questions, answers }, { address, port });
  }

  /** Sends what answers `asked` to a group: as much as may be sent at once. */
  #flush(to: string, asked: readonly Asked[]): number {
    const us = this.#addressesFor(to);
    let messages = 0;
    let bytes = HEADER_BYTES;
    let answers: Told[] = [];
    for (const [index, question] of asked.entries()) {
      for (const answer of answersTo(question, this.#ttl, us, this.#options.sources)) {
        const more = recordBytes(answer);
        if (bytes + more > MAX_MESSAGE_BYTES) {
          this.#respondTo(to, answers);
          if (++messages === MAX_MESSAGES_AT_ONCE) return Math.max(1, index);
          answers = [];
          bytes = HEADER_BYTES;
        }
        answers.push(answer);
        bytes += more;
      }
    }
    this.#respondTo(to, answers);
    return asked.length;
  }

  #respondTo(to: string, answers: readonly Told[]): void {
    if (answers.length === 0) return;
    const { socket, port, respond } = this.#options;
    if (socket !== null) respond({ answers }, { address: to, port });
    // As the original: the group of that instance, at the port of who asked.
    else respond({ answers }, { port: Number(to) });
  }

  /**
   * Where an answer for all goes: the asker's family and, where it can be told, interface. With a
   * user's instance: the asker's port, which says nothing of the host.
   */
  #groupOf({ address, port }: Sender): string {
    const { socket } = this.#options;
    if (socket === null) return String(port);
    const face = socket.interfaceOf(address);
    return groupOn(address.includes(':') ? 6 : 4, face?.name ?? null);
  }

  /** Our addresses on the network of a group's interface. */
  #addressesFor(to: string): OwnAddresses {
    const name = to.split('%')[1];
    const face = this.#options.socket?.interfaces.find((one) => one.name === name);
    const four = face?.addresses.find(({ family }) => family === 4);
    const sixes = face?.addresses.filter(({ family }) => family === 6) ?? [];
    const six = sixes.find(({ text }) => !/^fe[89ab]/i.test(text)) ?? sixes[0];
    return { ip4: four?.text ?? null, ip6: six?.text ?? null };
  }

  #mayUnicast(): boolean {
    const second = Math.floor(this.#options.clock.now() / 1000);
    if (second !== this.#unicastSecond) {
      this.#unicastSecond = second;
      this.#unicastCount = 0;
    }
    return ++this.#unicastCount <= MAX_UNICAST_PER_SECOND;
  }
}

/** What can be sent to. */
function isPort(port: number): boolean {
  return Number.isInteger(port) && port > 0 && port <= 0xffff;
}

function groupOn(family: 4 | 6, name: string | null): string {
  const group = family === 4 ? GROUP4 : GROUP6;
  return name === null ? group : `${group}%${name}`;
}
