/** Checks what users pass to the client; errors say what was wrong and what is allowed. */
import { isIP } from 'node:net';
import { DISCOVERY_MAX_LABEL_BYTES } from '../../codecs/dns/constants.ts';
import { encodeName } from '../../codecs/dns/text.ts';
import type { DiscoveryOptions, MulticastDns } from './types.ts';
import { parseServer, type ServerAddress } from './wire/server-address.ts';

export const DEFAULT_DOMAIN = 'dns-discovery.local';
const DEFAULT_LIMIT = 10_000;
const MOST_LIMIT = 10_000_000;
/** As npm dns-socket 3.0.0, which the original asks by. */
const DEFAULT_TIMEOUT_MS = 7500;
/** No server keeps a question, nor a user patience, for longer. */
const MOST_TIMEOUT_MS = 600_000;
/** Servers asked by one instance: each costs a question per call. */
const MOST_SERVERS = 64;
/** Seconds: the largest TTL of DNS (RFC 2181 section 8). */
const MOST_TTL = 0x7fff_ffff;

export interface DiscoveryConfig {
  readonly servers: readonly ServerAddress[];
  /** Infinity: for ever. */
  readonly ttlSeconds: number;
  readonly limit: number;
  readonly multicast: MulticastDns | boolean;
  readonly domain: string;
  readonly loopback: boolean;
  readonly push: { readonly ttlSeconds: number; readonly limit: number };
  readonly records: number | undefined;
  readonly values: number | undefined;
  readonly mostSends: number;
  readonly timeoutMs: number;
  readonly host: string | null;
  readonly interfaces: readonly string[] | null;
  readonly udpBackend: NonNullable<DiscoveryOptions['udpBackend']>;
}

/** @throws TypeError or RangeError on the first option that is not allowed. */
export function checkOptions(options: DiscoveryOptions): DiscoveryConfig {
  const ttlSeconds = checkTtl('ttl', options.ttl, Number.POSITIVE_INFINITY);
  const limit = checkCount('limit', options.limit, MOST_LIMIT) ?? DEFAULT_LIMIT;
  const push = options.push ?? {};
  return {
    servers: checkServers(options),
    ttlSeconds,
    limit,
    multicast: checkMulticast(options.multicast),
    domain: checkDomain(options.domain),
    loopback: options.loopback === true,
    push: {
      ttlSeconds: checkTtl('push.ttl', push.ttl, ttlSeconds === Infinity ? 60 : ttlSeconds),
      limit: checkCount('push.limit', push.limit, MOST_LIMIT) ?? limit,
    },
    records: checkCount('records', options.records, MOST_LIMIT),
    values: checkCount('values', options.values, MOST_LIMIT),
    mostSends: checkCount('retries', options.retries, 1000) ?? Number.POSITIVE_INFINITY,
    timeoutMs: checkCount('timeout', options.timeout, MOST_TIMEOUT_MS) ?? DEFAULT_TIMEOUT_MS,
    host: checkHost(options.host),
    interfaces: options.interfaces ? strings('interfaces', options.interfaces) : null,
    udpBackend: checkBackend(options.udpBackend),
  };
}

/** A name to look up: text, or bytes, which become hex as with the original. */
export function checkName(name: unknown): string {
  if (name instanceof Uint8Array) return Buffer.from(name).toString('hex');
  if (typeof name === 'string' && name !== '') return name;
  // As the original does.
  if (typeof name === 'number') return String(name);
  throw new TypeError(
    `name ${show(name)}: expected a string of at least one character or a Buffer`,
  );
}

/**
 * The wire form of a name under the domain; '' is the domain itself. A label may have 64 bytes:
 * clients of the original send a 32-byte id as 64 hex characters.
 *
 * @throws RangeError when it is no name.
 */
export function wireName(name: string, domain: string): Uint8Array {
  const id = name.replaceAll('\\', '\\\\');
  return encodeName(id === '' ? domain : `${id}.${domain}`, DISCOVERY_MAX_LABEL_BYTES);
}

/** A port to announce; 0 only where `mayBeZero`. */
export function checkPort(what: string, given: unknown, mayBeZero: boolean): number {
  const least = mayBeZero ? 0 : 1;
  const port = asNumber(given);
  if (typeof port === 'number' && Number.isInteger(port) && port >= least && port <= 65_535) {
    return port;
  }
  throw new RangeError(`${what} ${show(given)}: expected a whole number from ${least} to 65535`);
}

function checkServers({ server, servers }: DiscoveryOptions): ServerAddress[] {
  // None, however one says so: the original takes whatever is falsy for that.
  const given = servers || server || [];
  const list = strings('server', given);
  if (list.length > MOST_SERVERS) {
    throw new RangeError(`server: ${list.length} of them, at most ${MOST_SERVERS} are allowed`);
  }
  return list.map(parseServer);
}

function checkMulticast(multicast: DiscoveryOptions['multicast']): MulticastDns | boolean {
  if (typeof multicast !== 'object' || multicast === null) return multicast !== false;
  if (typeof multicast.query === 'function') return multicast;
  throw new TypeError('multicast: expected true, false or an instance of multicast-dns');
}

function checkDomain(domain: unknown): string {
  if (domain === undefined || domain === null || domain === '') return DEFAULT_DOMAIN;
  if (typeof domain !== 'string') {
    throw new TypeError(`domain ${show(domain)}: expected a name such as ${DEFAULT_DOMAIN}`);
  }
  const text = domain.endsWith('.') ? domain.slice(0, -1) : domain;
  if (encodeName(text).length < 3) throw new RangeError(`domain ${show(domain)}: no label in it`);
  return text;
}

function checkHost(host: unknown): string | null {
  if (host === undefined || host === null) return null;
  if (typeof host === 'string' && isIP(host) !== 0) return host;
  throw new TypeError(`host ${show(host)}: expected an IP address of this machine`);
}

function checkBackend(backend: unknown): DiscoveryConfig['udpBackend'] {
  if (backend === undefined || backend === null) return 'auto';
  if (backend === 'auto' || backend === 'batch' || backend === 'dgram') return backend;
  throw new TypeError(`udpBackend ${show(backend)}: expected auto, batch or dgram`);
}

/** Seconds; 0 and Infinity: for ever. */
function checkTtl(what: string, given: unknown, fallback: number): number {
  const ttl = asNumber(given);
  if (ttl === undefined || ttl === null) return fallback;
  if (ttl === 0 || ttl === Infinity) return Infinity;
  if (typeof ttl === 'number' && ttl > 0 && ttl <= MOST_TTL) return ttl;
  throw new RangeError(`${what} ${show(given)}: expected seconds, 0 to ${MOST_TTL}, or Infinity`);
}

/** 0 and nothing: the default, as with the original. */
function checkCount(what: string, given: unknown, most: number): number | undefined {
  const count = asNumber(given);
  if (count === undefined || count === null || count === 0) return undefined;
  if (count === Infinity) return most;
  if (typeof count === 'number' && Number.isInteger(count) && count > 0 && count <= most) {
    return count;
  }
  throw new RangeError(`${what} ${show(given)}: expected a whole number from 1 to ${most}`);
}

/** Digits stand for their number, as with the original: command lines and variables give those. */
function asNumber(given: unknown): unknown {
  return typeof given === 'string' && /^\d{1,10}$/.test(given) ? Number(given) : given;
}

function strings(what: string, given: unknown): string[] {
  const list: unknown[] = Array.isArray(given) ? given : [given];
  return list.map((item) => {
    if (typeof item === 'string' && item !== '') return item;
    throw new TypeError(`${what} ${show(item)}: expected a string or an array of strings`);
  });
}

function show(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}
