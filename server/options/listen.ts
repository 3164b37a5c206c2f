/**
 * The options of `waypost listen`: the flags, short flags and defaults of the command line of
 * npm dns-discovery 6.2.3, for scripts written for it.
 */
import { allAddresses, bindAddress, portList } from './addresses.ts';
import { domainOption, limitOption, ttlOption } from './common.ts';
import type { ApplianceConfig, ListenAddress } from './config.ts';
import { limitsFrom } from './limits.ts';
import {
  type Environment,
  type FlagValues,
  option,
  optionKey,
  resolveOptions,
  withFallback,
} from './option.ts';
import { sendFromOption, workersOption } from './workers.ts';

export const listenOptions = {
  port: option({
    flag: '--port',
    short: '-p',
    placeholder: 'PORT,...',
    help: 'UDP ports to listen on. A port named here must work; of the default ones one is enough',
    fallback: '53,5300',
    repeatable: true,
    check: portList(),
  }),
  host: option<string | null>({
    flag: '--host',
    short: '-h',
    placeholder: 'ADDR',
    help: 'the IP address to listen on; all of them when left out',
    fallback: null,
    check: bindAddress(),
  }),
  ttl: withFallback(ttlOption, 'infinity'),
  domain: domainOption,
  limit: withFallback(limitOption, '10000'),
};

/** A flag of the original that is taken and does nothing here. */
export interface IgnoredFlag {
  readonly flag: `--${string}`;
  readonly short?: `-${string}`;
  /** What stands for the flag's value: in brackets when it may be left out. */
  readonly value: string;
  /** Why it does nothing; `false` as its value, which `--no-...` gives, is so anyway. */
  readonly reason: string;
}

const NO_MULTICAST = 'the server answers unicast questions; announce and lookup do multicast';
const NO_DIAGNOSTICS = 'the diagnostics page is not there yet';

/**
 * The original hands every flag to its constructor, so scripts may well give `listen` these. The
 * diagnostics password is never repeated.
 */
export const ignoredListenFlags: readonly IgnoredFlag[] = [
  { flag: '--server', short: '-s', value: '<ADDR>', reason: 'it is for announce and lookup' },
  { flag: '--multicast', value: '[BOOLEAN]', reason: NO_MULTICAST },
  { flag: '--no-multicast', value: '', reason: NO_MULTICAST },
  { flag: '--loopback', value: '[BOOLEAN]', reason: NO_MULTICAST },
  { flag: '--diag', value: '[PORT]', reason: NO_DIAGNOSTICS },
  { flag: '--diagpw', value: '<PASSWORD>', reason: NO_DIAGNOSTICS },
];

/**
 * The configuration of a server from the flags of `listen`; each ignored flag among them is a
 * notice. Throws UsageError with one line.
 */
export function listenConfig(
  flags: FlagValues,
  env: Environment,
  notice: (line: string) => void,
): ApplianceConfig {
  const given = resolveOptions(listenOptions, flags, env);
  for (const entry of ignoredListenFlags) {
    const value = flags[optionKey(entry)] ?? 'false';
    if (value !== 'false') notice(`${entry.flag}: ${entry.reason}; ignored`);
  }
  const host = given.host.value;
  const at = (port: number): ListenAddress[] =>
    host === null ? allAddresses(port) : [{ address: host, port }];
  return {
    dns: given.port.value.flatMap(at),
    dht: null,
    dnsRequired: given.port.source !== 'default',
    domains: given.domain.value,
    nameserver: null,
    ttlSeconds: given.ttl.value,
    limit: given.limit.value,
    udpBackend: 'auto',
    ...threadDefaults(env),
    limits: limitsFrom({}, env, given.limit.value),
    nsid: null,
    cookieSecrets: null,
    tokenSecret: null,
    notice,
  };
}

/** What the original has no flags for follows the variables of `serve`. */
function threadDefaults(env: Environment): Pick<ApplianceConfig, 'workers' | 'sendFrom'> {
  const group = { workers: workersOption, sendFrom: sendFromOption };
  const given = resolveOptions(group, {}, env);
  return { workers: given.workers.value, sendFrom: given.sendFrom.value };
}
