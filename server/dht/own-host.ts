/** What a bootstrap node knows of its own address before anybody has told it. */
import { hostToU32, isPrivateIpv4, isReservedIpv4 } from '../../codecs/dht/address.ts';
import type { NetInterface } from '../net/multicast/interfaces.ts';
import type { DhtConfig } from '../options/config.ts';
import type { DhtNodeOptions } from './types.ts';

const ANY_ADDRESS = '0.0.0.0';
const LOOPBACK = '127.0.0.1';
/** 169.254.0.0/16: what a machine gives itself that was given nothing. */
const LINK_LOCAL_UPPER = 0xa9fe;

/** The options of a node as it is configured, on a machine with such interfaces. */
export function nodeOptions(
  config: DhtConfig,
  interfaces: readonly NetInterface[],
): DhtNodeOptions {
  const { bootstrap, isPrivate } = config;
  if (bootstrap.length > 0) return { bootstrap, isPrivate, host: config.host };
  const host = bootstrapHost(config);
  const usual = isPrivate ? LOOPBACK : null;
  const guessedHost = host === null ? (guessHost(interfaces, isPrivate, null) ?? usual) : null;
  const place = { isPrivate, host, guessedHost };
  return { bootstrap: [], isBootstrap: true, firewalled: false, ephemeral: false, ...place };
}

/** A bootstrap node's address on the operator's word; null: nothing was said. */
export function bootstrapHost({ at, host }: DhtConfig): string | null {
  return host ?? (at.address === ANY_ADDRESS ? null : at.address);
}

/**
 * What the node's address may be by the machine's interfaces; null: by none of them. `present` is
 * what it was taken for, and stays while it is there: one more interface is no other address.
 */
export function guessHost(
  interfaces: readonly NetInterface[],
  isPrivate: boolean,
  present: string | null,
): string | null {
  const hosts = interfaces
    .filter(({ isInternal }) => !isInternal)
    .flatMap(({ addresses }) => addresses.filter(({ family }) => family === 4))
    .map(({ text }) => text)
    .filter((host) => {
      const number = hostToU32(host);
      return !isReservedIpv4(number) && (isPrivate || !isPrivateIpv4(number));
    });
  if (present !== null && hosts.includes(present)) return present;
  const rank = (host: string): number => {
    const number = hostToU32(host);
    if (number >>> 16 === LINK_LOCAL_UPPER) return 2;
    return isPrivateIpv4(number) === isPrivate ? 0 : 1;
  };
  return hosts.sort((a, b) => rank(a) - rank(b))[0] ?? null;
}
