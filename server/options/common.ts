/** The options that several commands share. */
import { MAX_RECORDS } from '../../workers/store/layout.ts';
import { domainList, ttl, wholeNumber } from './checks.ts';
import { option } from './option.ts';

export const domainOption = option({
  flag: '--domain',
  short: '-d',
  placeholder: 'NAME,...',
  env: 'WAYPOST_DOMAIN',
  help: 'domains to answer for, of any depth; the first one also answers single-label names',
  fallback: 'dns-discovery.local',
  repeatable: true,
  check: domainList(),
});

export const ttlOption = option({
  flag: '--ttl',
  placeholder: 'SECONDS',
  env: 'WAYPOST_TTL',
  help: 'keep a record this long after its last announce; 0 or infinity: for ever',
  fallback: '3600',
  check: ttl(),
});

export const limitOption = option({
  flag: '--limit',
  placeholder: 'RECORDS',
  env: 'WAYPOST_LIMIT',
  help: `keep at most this many records, 1 to ${MAX_RECORDS}`,
  fallback: '100000',
  check: wholeNumber(1, MAX_RECORDS, 'a whole number of records'),
});
