/** The attacks of the table, by name. */
import { FIRST_NAME } from './client.ts';
import { type Behaviour, Crowd } from './crowd.ts';
import { Flood, type RunningAttack } from './flood.ts';
import type { TokenMaker } from './house.ts';
import {
  announces,
  guesses,
  malformed,
  questions,
  TokenTable,
  toggles,
  type Write,
} from './messages.ts';
import {
  MANY_PREFIXES,
  manyPrefixes,
  onePrefix,
  oneSource,
  type Sources,
  spoofed,
} from './sources.ts';

/** A name with more peers than an answer holds. */
export const CROWDED_NAME = 0xcc000000;
/** A name of the attackers' own. */
const OTHER_NAME = 0xaa000000;
/** Numbers of random names. */
const RANDOM_NAMES = 0x20000000;
/** As many addresses as have tokens in an attack from many networks. */
const MANY_SOURCES = 4 * MANY_PREFIXES;
const PREFIX_SOURCES = 250;
const SEED = 20_261_121;

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly maker: TokenMaker;
  /** Datagrams per second of a flood. */
  readonly rate: number;
}

export interface Attack {
  readonly name: string;
  /** The attackers' addresses are proven: what they are sent is not budgeted. */
  readonly isProven: boolean;
  readonly unit: 'datagram' | 'connection';
  readonly start: (target: Target) => RunningAttack;
}

function flood(name: string, sources: Sources, write: () => Write, share = 1): Attack {
  return {
    name,
    isProven: false,
    unit: 'datagram',
    start: ({ host, port, rate }) => new Flood(host, port, rate * share, sources, write()),
  };
}

function provenFlood(
  name: string,
  sources: Sources,
  count: number,
  write: (tokens: TokenTable) => Write,
): Attack {
  return {
    name,
    isProven: true,
    unit: 'datagram',
    start: ({ host, port, rate, maker }) => {
      const tokens = new TokenTable(maker, sources, count);
      return new Flood(host, port, rate, sources, write(tokens));
    },
  };
}

function crowd(
  name: string,
  behaviour: Behaviour,
  sources: Sources,
  most: number,
  perSecond: number,
): Attack {
  return {
    name,
    isProven: true,
    unit: 'connection',
    start: ({ host, port }) => new Crowd(host, port, { behaviour, sources, most, perSecond }),
  };
}

/** A name nobody else has, each time. */
function randomName(n: number): number {
  return RANDOM_NAMES + (n % RANDOM_NAMES);
}

/** More of them than the server takes: 4,096 in all, 256 of a prefix. */
const MANY_CONNECTIONS = 6000;
const PREFIX_CONNECTIONS = 1000;

export const ATTACKS: readonly Attack[] = [
  flood('spoofed lookups, 10M sources', spoofed, () => questions('TXT', CROWDED_NAME)),
  flood('spoofed lookups, 1 prefix', onePrefix, () => questions('TXT', CROWDED_NAME)),
  flood('ANY, 10M sources', spoofed, () => questions('ANY', CROWDED_NAME)),
  flood('ANY, 1 prefix', onePrefix, () => questions('ANY', CROWDED_NAME)),
  flood('malformed, 10M sources', spoofed, () => malformed(SEED)),
  flood('malformed, 1 prefix', onePrefix, () => malformed(SEED)),
  flood('guessed tokens, 10M sources', spoofed, () => guesses(SEED, OTHER_NAME)),
  flood('guessed tokens, 1 source', oneSource, () => guesses(SEED, OTHER_NAME)),
  provenFlood('announce, client name, 1 source', oneSource, 1, (tokens) =>
    announces(tokens, () => FIRST_NAME),
  ),
  provenFlood('announce, client name, 1024 prefixes', manyPrefixes, MANY_SOURCES, (tokens) =>
    announces(tokens, () => FIRST_NAME),
  ),
  provenFlood('announce, new names, 1 source', oneSource, 1, (tokens) =>
    announces(tokens, randomName),
  ),
  provenFlood('announce, new names, 1024 prefixes', manyPrefixes, MANY_SOURCES, (tokens) =>
    announces(tokens, randomName),
  ),
  provenFlood('subscribe and toggle, 1 prefix', onePrefix, PREFIX_SOURCES, (tokens) =>
    toggles(tokens, FIRST_NAME),
  ),
  provenFlood('subscribe and toggle, 1024 prefixes', manyPrefixes, MANY_SOURCES, (tokens) =>
    toggles(tokens, FIRST_NAME),
  ),
  crowd('TCP a byte at a time, 1 prefix', 'drip', onePrefix, PREFIX_CONNECTIONS, 1000),
  crowd('TCP a byte at a time, 1024 prefixes', 'drip', manyPrefixes, MANY_CONNECTIONS, 2000),
  crowd('TCP half a message, 1024 prefixes', 'half', manyPrefixes, MANY_CONNECTIONS, 2000),
  crowd('TCP idle, 1024 prefixes', 'idle', manyPrefixes, MANY_CONNECTIONS, 2000),
  crowd('TCP connect and go, 1 prefix', 'churn', onePrefix, PREFIX_CONNECTIONS, 2000),
  crowd('TCP connect and go, 1024 prefixes', 'churn', manyPrefixes, MANY_CONNECTIONS, 2000),
];

/** Fills CROWDED_NAME: what unproven lookups of it would be answered with is as long as can be. */
export function crowdedName({ host, port, maker }: Target): Flood {
  const tokens = new TokenTable(maker, manyPrefixes, MANY_SOURCES);
  const write = announces(tokens, () => CROWDED_NAME);
  return new Flood(host, port, 5000, manyPrefixes, write);
}
