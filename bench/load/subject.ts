/** A server under load: what is asked of it, and the tokens it gave. */
import { GENTLE_WINDOW, Generator, type OnAnswer, SOURCES } from './generator.ts';
import { note, type RunningServer } from './processes.ts';
import { announce, probe, TokenBook } from './requests.ts';

/** Names of each kind that lookups go round: 1 peer each, then 31 peers each. */
export const LOOKUP_NAMES = 256;
export const FIRST_CROWDED = 0x1000;
export const FIRST_NEW = 0x100000;
export const CROWD = 31;

export interface Subject {
  readonly server: RunningServer;
  readonly generator: Generator;
  readonly tokens: TokenBook;
  nextNewName: number;
}

export function newSubject(server: RunningServer): Subject {
  return {
    server,
    generator: new Generator('127.0.0.1', server.port),
    tokens: new TokenBook(),
    nextNewName: FIRST_NEW,
  };
}

/** Announces what lookups will find; `crowds`: names of 31 peers too. */
export function populate(subject: Subject, crowds: boolean): void {
  const { generator, server, tokens } = subject;
  const announces = LOOKUP_NAMES * (1 + (crowds ? CROWD : 0));
  note(`${server.name}: ${SOURCES} tokens, ${announces} announces`);
  learnTokens(subject);
  generator.run(announce(tokens, 0, 1), 20, LOOKUP_NAMES, undefined, GENTLE_WINDOW);
  if (!crowds) return;
  const write = announce(tokens, FIRST_CROWDED, CROWD);
  generator.run(write, 20, LOOKUP_NAMES * CROWD, undefined, GENTLE_WINDOW);
}

/** Learns every source's token anew: they last for five minutes only. */
export function learnTokens({ generator, server, tokens }: Subject): void {
  tokens.known.fill(0);
  for (let tries = 0; tokens.known.includes(0); tries++) {
    if (tries === 20) throw new Error(`${server.name} does not answer probes of all sources`);
    const learn: OnAnswer = (bytes, start, length, source) =>
      tokens.learn(bytes, start, length, source);
    generator.run(probe(), 5, SOURCES, learn, GENTLE_WINDOW);
  }
}
