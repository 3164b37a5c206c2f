/** What the client commands make of their options: plain values, or one line that says why not. */
import { MAX_NAME_BYTES } from '../../codecs/dns/constants.ts';
import { checkOptions, wireName } from '../discovery/options.ts';
import type { AnnounceOptions, DiscoveryOptions } from '../discovery/types.ts';
import {
  announceOptions,
  type clientOptions,
  lookupOptions,
  unannounceOptions,
  whoamiOptions,
} from './client.ts';
import type { IgnoredFlag } from './listen.ts';
import {
  type Environment,
  type FlagValues,
  optionKey,
  quote,
  type ResolvedGroup,
  resolveOptions,
  UsageError,
} from './option.ts';

/** What every client command needs to know. */
export interface ClientConfig {
  readonly discovery: DiscoveryOptions;
  readonly servers: readonly string[];
  readonly json: boolean;
}

export interface LookupConfig extends ClientConfig {
  readonly name: string;
  readonly multicast: boolean;
  readonly once: boolean;
}

export interface UnannounceConfig extends ClientConfig {
  readonly name: string;
  readonly port: number;
  /** Of announce() and unannounce(). */
  readonly request: AnnounceOptions;
}

export interface AnnounceConfig extends LookupConfig, UnannounceConfig {}

/** The configuration of `announce NAME`. Throws UsageError with one line. */
export function announceConfig(
  name: string | undefined,
  flags: FlagValues,
  env: Environment,
): AnnounceConfig {
  const known = knownName(name, 'announce', ' --port 8080');
  const given = resolveOptions(announceOptions, flags, env);
  checkName(known, given.domain.value);
  if (given.publicPort.value !== null && given.impliedPort.value) {
    throw new UsageError('--public-port and --implied-port: expected one of them');
  }
  const implied = given.impliedPort.value ? { impliedPort: true } : {};
  return {
    ...findingConfig(given),
    name: known,
    port: knownPort(given.port.value, 'announce', known),
    request: { ...publicRequest(given.publicPort.value), ...implied },
  };
}

/** The configuration of `unannounce NAME`. Throws UsageError with one line. */
export function unannounceConfig(
  name: string | undefined,
  flags: FlagValues,
  env: Environment,
): UnannounceConfig {
  const known = knownName(name, 'unannounce', ' --port 8080 --server discovery.example.com');
  const given = resolveOptions(unannounceOptions, flags, env);
  checkName(known, given.domain.value);
  return {
    ...askingConfig(given, 'unannounce takes back what servers were told'),
    name: known,
    port: knownPort(given.port.value, 'unannounce', known),
    request: publicRequest(given.publicPort.value),
  };
}

/** The configuration of `lookup NAME`. Throws UsageError with one line. */
export function lookupConfig(
  name: string | undefined,
  flags: FlagValues,
  env: Environment,
): LookupConfig {
  const known = knownName(name, 'lookup', '');
  const given = resolveOptions(lookupOptions, flags, env);
  checkName(known, given.domain.value);
  return { ...findingConfig(given), name: known };
}

/** The configuration of `whoami`. Throws UsageError with one line. */
export function whoamiConfig(flags: FlagValues, env: Environment): ClientConfig {
  return askingConfig(resolveOptions(whoamiOptions, flags, env), 'whoami asks servers');
}

/** A line for each of the flags that were given and do nothing; never with a value. */
export function ignoredNotices(ignored: readonly IgnoredFlag[], flags: FlagValues): string[] {
  return ignored
    .filter((entry) => (flags[optionKey(entry)] ?? 'false') !== 'false')
    .map(({ flag, reason }) => `${flag}: ${reason}; ignored`);
}

/** Of the commands that use servers and multicast. */
function findingConfig(given: ResolvedGroup<typeof lookupOptions>): Omit<LookupConfig, 'name'> {
  const servers = given.server.value ?? [];
  const multicast = given.multicast.value;
  if (servers.length === 0 && !multicast) {
    throw new UsageError(
      'without multicast DNS there is nobody to ask: name a server, for example' +
        ' --server discovery.example.com, or leave --no-multicast out',
    );
  }
  const loopback = given.loopback.value ? { loopback: true } : {};
  // For ever, the library's default, is what 0 stands for.
  const ttl = given.ttl.value ? { ttl: given.ttl.value } : {};
  const discovery = { ...discoveryOptions(given, servers), multicast, ...loopback, ...ttl };
  asUsage(() => checkOptions(discovery));
  return {
    discovery,
    servers,
    multicast,
    once: given.once.value,
    json: given.json.value,
  };
}

/** Of the commands that mean nothing without a server. */
function askingConfig(given: ResolvedGroup<typeof whoamiOptions>, why: string): ClientConfig {
  const servers = given.server.value;
  if (servers === null) {
    throw new UsageError(
      `${why}: name one, for example --server discovery.example.com, or set WAYPOST_SERVER`,
    );
  }
  const discovery = { ...discoveryOptions(given, servers), multicast: false };
  asUsage(() => checkOptions(discovery));
  return { discovery, servers, json: given.json.value };
}

function discoveryOptions(
  given: ResolvedGroup<Pick<typeof clientOptions, 'domain' | 'host'>>,
  servers: readonly string[],
): DiscoveryOptions {
  const from = given.host.value === null ? {} : { host: given.host.value };
  return { servers, domain: given.domain.value, ...from };
}

function publicRequest(publicPort: number | null): AnnounceOptions {
  return publicPort === null ? {} : { publicPort };
}

function knownName(name: string | undefined, command: string, rest: string): string {
  if (name !== undefined && name.length > MAX_NAME_BYTES) {
    throw new UsageError(
      `${quote(name)} is too long: with its domain a name has at most ${MAX_NAME_BYTES} bytes`,
    );
  }
  if (name !== undefined && name !== '') return name;
  throw new UsageError(
    `${command} needs the NAME of an app, for example: waypost ${command} my-app${rest}`,
  );
}

function checkName(name: string, domain: string): void {
  asUsage(() => wireName(name, domain));
}

/** What the library's checks throw is the user's to mend here. */
function asUsage(check: () => unknown): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
    throw new UsageError(error.message);
  }
}

function knownPort(port: number | null, command: string, name: string): number {
  if (port !== null) return port;
  throw new UsageError(
    `${command} needs the port that ${quote(name)} is at, for example:` +
      ` waypost ${command} ${shellWord(name)} --port 8080`,
  );
}

/** A word as a shell takes it. */
function shellWord(text: string): string {
  return /^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
