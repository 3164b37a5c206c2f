/** The options of the client commands: announce, unannounce, lookup and whoami. */
import type { z } from 'zod';
import { parseServer } from '../discovery/wire/server-address.ts';
import { bindAddress, MAX_PORT } from './addresses.ts';
import { domainList, ttl } from './checks.ts';
import type { IgnoredFlag } from './listen.ts';
import { option, Refusal, readAs, switchOption } from './option.ts';

/** Every option of the client commands; the table in README.md. */
export const clientOptions = {
  port: option<number | null>({
    flag: '--port',
    short: '-p',
    placeholder: 'PORT',
    help: `the port the program listens on, 1 to ${MAX_PORT}`,
    fallback: null,
    check: singlePort(),
  }),
  publicPort: option<number | null>({
    flag: '--public-port',
    placeholder: 'PORT',
    help: 'tell servers this port instead of --port, which multicast goes on to tell',
    fallback: null,
    check: singlePort(),
  }),
  impliedPort: switchOption({
    flag: '--implied-port',
    help: 'servers take the port that they see this command at, instead of --port',
    fallback: 'false',
  }),
  server: option<readonly string[] | null>({
    flag: '--server',
    short: '-s',
    placeholder: 'HOST:PORT,...',
    env: 'WAYPOST_SERVER',
    help:
      'discovery servers, all of which are asked: HOST, HOST:PORT, or HOST:PORT,PORT2 with the' +
      ' port to try when the first is silent; 5300, then 53, when left out; IPv6 in brackets. May' +
      ' be given several times',
    fallback: null,
    repeatable: true,
    check: serverList(),
  }),
  domain: option({
    flag: '--domain',
    short: '-d',
    placeholder: 'NAME',
    env: 'WAYPOST_DOMAIN',
    help: 'the domain that names are under',
    fallback: 'dns-discovery.local',
    check: oneDomain(),
  }),
  multicast: switchOption({
    flag: '--multicast',
    help: 'ask the servers only: no multicast DNS on the local network',
    fallback: 'true',
  }),
  loopback: switchOption({
    flag: '--loopback',
    help: 'over multicast, find what this command itself announces as well',
    fallback: 'false',
  }),
  once: switchOption({
    flag: '--once',
    help: 'do it once and exit, instead of going on until stopped',
    fallback: 'false',
  }),
  json: switchOption({
    flag: '--json',
    help: 'print one JSON object per line',
    fallback: 'false',
  }),
  ttl: option<number | null>({
    flag: '--ttl',
    placeholder: 'SECONDS',
    help: 'renew after a third of this; every 20 seconds when left out, or 0 or infinity',
    fallback: null,
    check: ttl(),
  }),
  host: option<string | null>({
    flag: '--host',
    short: '-h',
    placeholder: 'ADDR',
    help: "the local IP address to ask servers from; the system's choice when left out",
    fallback: null,
    check: bindAddress(),
  }),
};

const { port, publicPort, impliedPort, ...findingOptions } = clientOptions;
const { server, domain, json, host } = findingOptions;

export const announceOptions = clientOptions;
export const lookupOptions = findingOptions;
/** No --implied-port: servers see this command at another port than the one that announced. */
export const unannounceOptions = { port, publicPort, server, domain, json, host };
export const whoamiOptions = { server, domain, json, host };

const FOR_SERVERS = 'it is for a server';
const FOR_ANNOUNCE = 'it is for announce';

const portFlags: readonly IgnoredFlag[] = [
  { flag: '--port', short: '-p', value: '<PORT>', reason: FOR_ANNOUNCE },
  { flag: '--public-port', value: '<PORT>', reason: FOR_ANNOUNCE },
  { flag: '--implied-port', value: '[BOOLEAN]', reason: FOR_ANNOUNCE },
  { flag: '--no-implied-port', value: '', reason: FOR_ANNOUNCE },
];

/** The original hands every flag to its constructor: its scripts may well give these. */
export const ignoredAnnounceFlags: readonly IgnoredFlag[] = [
  { flag: '--limit', value: '<RECORDS>', reason: FOR_SERVERS },
  { flag: '--diag', value: '[PORT]', reason: FOR_SERVERS },
  { flag: '--diagpw', value: '<PASSWORD>', reason: FOR_SERVERS },
];

/** As `ignoredAnnounceFlags`; and what says where a name is, which a lookup asks. */
export const ignoredLookupFlags: readonly IgnoredFlag[] = [...portFlags, ...ignoredAnnounceFlags];

/**
 * Taken without a word by unannounce, so that a script may give it the flags of its announce. Not
 * so --implied-port: servers would take back another port than the one they were told.
 */
export const ignoredUnannounceFlags: readonly IgnoredFlag[] = [
  { flag: '--multicast', value: '[BOOLEAN]', reason: 'servers only' },
  { flag: '--no-multicast', value: '', reason: 'servers only' },
  { flag: '--loopback', value: '[BOOLEAN]', reason: 'servers only' },
  { flag: '--no-loopback', value: '', reason: 'servers only' },
  { flag: '--once', value: '[BOOLEAN]', reason: 'it is done once anyway' },
  { flag: '--no-once', value: '', reason: 'it is done once anyway' },
  { flag: '--ttl', value: '<SECONDS>', reason: 'nothing is renewed' },
];

/** As `ignoredUnannounceFlags`. */
export const ignoredWhoamiFlags: readonly IgnoredFlag[] = [...portFlags, ...ignoredUnannounceFlags];

/** One port that somebody can be reached at. */
function singlePort(): z.ZodType<number, string> {
  return readAs((text) => {
    const value = Number(text);
    if (/^\d{1,5}$/.test(text) && value >= 1 && value <= MAX_PORT) return value;
    return new Refusal(`expected one port, 1 to ${MAX_PORT}`);
  });
}

function oneDomain(): z.ZodType<string, string> {
  const list = domainList();
  return readAs((text) => {
    const result = list.safeParse(text);
    if (!result.success) return new Refusal(result.error.issues[0]?.message ?? 'not a domain');
    const [first, second] = result.data;
    if (first === undefined || second !== undefined) {
      return new Refusal('expected one domain: names are looked up under one only');
    }
    return first;
  });
}

/**
 * Servers, separated by commas or spaces. A number alone is the second port of the server before
 * it, never a server.
 */
function serverList(): z.ZodType<readonly string[], string> {
  return readAs((text) => {
    const servers: string[] = [];
    const words = text.trim().split(/[\s,]+/);
    if (isPort(words[0] ?? '')) {
      return new Refusal('expected a host before the port, such as discovery.example.com:5300');
    }
    for (const word of words) {
      const last = servers.pop();
      if (last !== undefined) servers.push(isPort(word) ? `${last},${word}` : last);
      if (last === undefined || !isPort(word)) servers.push(word);
    }
    return refusalOf(() => servers.map(parseServer)) ?? servers;
  });
}

function refusalOf(check: () => unknown): Refusal | null {
  try {
    check();
    return null;
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) {
      return new Refusal(error.message);
    }
    throw error;
  }
}

function isPort(word: string): boolean {
  return /^\d+$/.test(word);
}
