/** The options about how much strangers may ask for, the same for every command that serves. */
import { DEFAULT_NAME_LIMIT, defaultPrefixLimit } from '../../workers/bounds.ts';
import { cidrList, replyRate } from '../limits/checks.ts';
import { wholeNumber } from './checks.ts';
import type { Limits } from './config.ts';
import { type Environment, type FlagValues, option, resolveOptions } from './option.ts';

const MAX_COUNT = 100_000_000;
const MAX_CONNECTIONS = 100_000;
const MAX_IDLE_SECONDS = 3600;
const MS_PER_SECOND = 1000;
/** What one prefix may have of a store however small: one host's announces. */
const LEAST_SHARE = 128;

export const limitOptions = {
  rateLimit: option({
    flag: '--rate-limit',
    placeholder: 'N|off',
    env: 'WAYPOST_RATE_LIMIT',
    help:
      'replies per second to the sources of one /24 (IPv6: /56) that have not proven their' +
      ' address by a token, a DNS cookie or TCP; off: no limit on replies nor on their bytes',
    fallback: '200',
    check: replyRate(),
  }),
  rateLimitExempt: option({
    flag: '--rate-limit-exempt',
    placeholder: 'CIDR,...',
    env: 'WAYPOST_RATE_LIMIT_EXEMPT',
    help: 'networks without that limit, such as 127.0.0.0/8,2001:db8::/32',
    fallback: '',
    repeatable: true,
    check: cidrList(),
  }),
  prefixLimit: option<number | null>({
    flag: '--prefix-limit',
    placeholder: 'RECORDS',
    env: 'WAYPOST_PREFIX_LIMIT',
    help:
      'records, and as many subscriptions, that the addresses of one /24 (IPv6: /56) may have;' +
      ' half of them for one address (IPv6: /64); an eighth of --limit when left out, at least 128',
    fallback: null,
    check: wholeNumber(1, MAX_COUNT, 'a whole number of records'),
  }),
  nameLimit: option({
    flag: '--name-limit',
    placeholder: 'PEERS',
    env: 'WAYPOST_NAME_LIMIT',
    help:
      'peers of one name, a 32nd of them from one /24 (IPv6: /56), half of that from one address' +
      ' (IPv6: /64); and no more than a quarter of what a lane keeps',
    fallback: String(DEFAULT_NAME_LIMIT),
    check: wholeNumber(1, MAX_COUNT, 'a whole number of peers'),
  }),
  tcpConnections: option({
    flag: '--tcp-connections',
    placeholder: 'N',
    env: 'WAYPOST_TCP_CONNECTIONS',
    help:
      'TCP connections at once; beyond, the one that was idle or half way through a question for' +
      ' longest makes room. 0: no TCP',
    fallback: '4096',
    check: wholeNumber(0, MAX_CONNECTIONS, 'a whole number of connections'),
  }),
  tcpConnectionsPerPrefix: option({
    flag: '--tcp-connections-per-prefix',
    placeholder: 'N',
    env: 'WAYPOST_TCP_CONNECTIONS_PER_PREFIX',
    help: 'TCP connections at once from one /24 (IPv6: /56); beyond, one of them makes room',
    fallback: '256',
    check: wholeNumber(1, MAX_CONNECTIONS, 'a whole number of connections'),
  }),
  tcpIdle: option({
    flag: '--tcp-idle',
    placeholder: 'SECONDS',
    env: 'WAYPOST_TCP_IDLE',
    help: 'a TCP connection that asks nothing for this long is closed',
    fallback: '10',
    check: wholeNumber(1, MAX_IDLE_SECONDS, 'whole seconds'),
  }),
};

/** The limits of a server that keeps `limit` records. Throws UsageError with one line. */
export function limitsFrom(flags: FlagValues, env: Environment, limit: number): Limits {
  const given = resolveOptions(limitOptions, flags, env);
  return {
    rateLimit: given.rateLimit.value,
    rateLimitExempt: given.rateLimitExempt.value,
    prefixLimit: given.prefixLimit.value ?? Math.max(LEAST_SHARE, defaultPrefixLimit(limit)),
    nameLimit: given.nameLimit.value,
    tcpConnections: given.tcpConnections.value,
    tcpConnectionsPerPrefix: given.tcpConnectionsPerPrefix.value,
    tcpIdleMs: given.tcpIdle.value * MS_PER_SECOND,
  };
}
