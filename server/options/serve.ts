/** The options of `waypost serve`, and the configuration they make. */
import { readFileSync } from 'node:fs';
import type { CookieSecrets } from '../../workers/cookies.ts';
import { listenAddresses } from './addresses.ts';
import { choice, cookieSecrets, filePath, hostName, nsidText, secretHex } from './checks.ts';
import { domainOption, limitOption, ttlOption } from './common.ts';
import { type ApplianceConfig, UDP_BACKENDS } from './config.ts';
import { dhtFrom, dhtServeOptions } from './dht.ts';
import { limitOptions, limitsFrom } from './limits.ts';
import {
  type Environment,
  type FlagValues,
  option,
  type Resolved,
  resolveOptions,
  UsageError,
} from './option.ts';
import { chooseTokenSecret } from './token-secret.ts';
import { sendFromOption, workersOption } from './workers.ts';

export const serveOptions = {
  dns: option({
    flag: '--dns',
    placeholder: 'ADDR:PORT,...|off',
    env: 'WAYPOST_DNS',
    help:
      'where to answer DNS discovery over UDP and TCP; IPv6 in brackets, a bare port or :PORT' +
      ' means all addresses, port 0 any free port. An address named here must work; of the' +
      ' default ones one is enough',
    fallback: ':53,:5300',
    repeatable: true,
    check: listenAddresses(),
  }),
  ...dhtServeOptions,
  domain: domainOption,
  nameserver: option<string | null>({
    flag: '--nameserver',
    placeholder: 'NAME',
    env: 'WAYPOST_NAMESERVER',
    help:
      'host name of this server, for the NS and SOA records of its domains;' +
      ' ns.DOMAIN when left out',
    fallback: null,
    check: hostName(),
  }),
  ttl: ttlOption,
  limit: limitOption,
  udpBackend: option({
    flag: '--udp-backend',
    placeholder: UDP_BACKENDS.join('|'),
    env: 'WAYPOST_UDP_BACKEND',
    help: 'batch: the addon (recvmmsg/sendmmsg, Linux); dgram: node:dgram; auto: the best there is',
    fallback: 'auto',
    check: choice(UDP_BACKENDS),
  }),
  workers: workersOption,
  sendFrom: sendFromOption,
  ...limitOptions,
  nsid: option<Uint8Array | null>({
    flag: '--nsid',
    placeholder: 'TEXT',
    env: 'WAYPOST_NSID',
    help: 'what this server calls itself to those who ask by NSID (dig +nsid)',
    fallback: null,
    check: nsidText(),
  }),
  cookieSecret: option<CookieSecrets | null>({
    flag: '--cookie-secret',
    placeholder: 'HEX|HEX,OLD',
    env: 'WAYPOST_COOKIE_SECRET',
    help:
      'secret of the DNS cookies, 16 bytes in hex, and after a comma the one before it, which is' +
      ' still accepted; made of the token secret when left out',
    fallback: null,
    secret: true,
    check: cookieSecrets(),
  }),
  tokenSecret: option<Uint8Array | null>({
    flag: '--token-secret',
    placeholder: 'HEX',
    env: 'WAYPOST_TOKEN_SECRET',
    help:
      'master secret of the tokens, 32 to 64 bytes in hex: servers with the same one accept' +
      " each other's tokens. Flags show in ps: prefer the variable or --token-secret-file." +
      ' Without one a random secret is made at each start',
    fallback: null,
    secret: true,
    check: secretHex(),
  }),
  tokenSecretFile: option<string | null>({
    flag: '--token-secret-file',
    placeholder: 'PATH',
    env: 'WAYPOST_TOKEN_SECRET_FILE',
    help: 'a file that holds the master secret in hex',
    fallback: null,
    check: filePath(),
  }),
};

/**
 * The configuration of a server from its flags and environment. Reads the secret's file if one is
 * named; opens nothing else. Throws UsageError with one line.
 */
export function serveConfig(
  flags: FlagValues,
  env: Environment,
  notice: (line: string) => void,
): ApplianceConfig {
  const given = resolveOptions(serveOptions, flags, env);
  const wanted = dhtFrom(flags, env);
  // With nothing else to serve it must open.
  const dht =
    wanted !== null && given.dns.value === 'off' ? { ...wanted, isRequired: true } : wanted;
  if (given.dns.value === 'off' && dht === null) {
    throw new UsageError('--dns off with --dht off leaves nothing to serve');
  }
  return {
    dns: given.dns.value,
    dht,
    dnsRequired: given.dns.source !== 'default',
    domains: given.domain.value,
    nameserver: given.nameserver.value,
    ttlSeconds: given.ttl.value,
    limit: given.limit.value,
    udpBackend: given.udpBackend.value,
    workers: given.workers.value,
    sendFrom: given.sendFrom.value,
    limits: limitsFrom(flags, env, given.limit.value),
    nsid: given.nsid.value,
    cookieSecrets: warned(given.cookieSecret, notice),
    tokenSecret: chooseTokenSecret(
      serveOptions,
      given.tokenSecret,
      given.tokenSecretFile,
      readText,
      notice,
    ),
    notice,
  };
}

function readText(path: string): string {
  return readFileSync(path, 'utf8');
}

/** The cookie secrets; on the command line they draw a warning, as the token secret does. */
function warned(
  given: Resolved<CookieSecrets | null>,
  notice: (line: string) => void,
): CookieSecrets | null {
  const { flag, env } = serveOptions.cookieSecret;
  if (given.source === 'flag') {
    notice(`${flag} can be read by every user of this machine (ps): prefer ${env}`);
  }
  return given.value;
}
