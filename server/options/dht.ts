/** The options about the DHT: those of `waypost serve`, and those of `waypost dht`. */
import { isIPv4 } from 'node:net';
import type { z } from 'zod';
import { hostToU32, isPrivateIpv4 } from '../../codecs/dht/address.ts';
import { DHT_PORT } from '../../codecs/dht/constants.ts';
import { PUBLIC_BOOTSTRAP } from '../dht/public-bootstrap.ts';
import { listenAddresses, MAX_PORT } from './addresses.ts';
import { wholeNumber } from './checks.ts';
import type { ApplianceConfig, DhtConfig, ListenAddress } from './config.ts';
import { limitsFrom } from './limits.ts';
import {
  type Environment,
  type FlagValues,
  option,
  quote,
  Refusal,
  type Resolved,
  readAs,
  resolveOptions,
  switchOption,
  UsageError,
} from './option.ts';

/** Each node has sockets, tables and stores of its own. */
const MAX_NODES = 256;
const MAX_BOOTSTRAP = 64;

const privateHelp =
  'the network is a LAN or one machine: private addresses are as good as others, and this node' +
  ' is persistent at once; so it is taken to be when all nodes to start from are private, or' +
  ' there are none and its own address is';

export const dhtServeOptions = {
  dht: option({
    flag: '--dht',
    placeholder: 'ADDR:PORT|off',
    env: 'WAYPOST_DHT',
    help: 'where to be a node of the DHT, over UDP and IPv4',
    fallback: `0.0.0.0:${DHT_PORT}`,
    check: dhtAddress(),
  }),
  dhtBootstrap: option<readonly string[] | null>({
    flag: '--dht-bootstrap',
    placeholder: 'HOST:PORT,...',
    env: 'WAYPOST_DHT_BOOTSTRAP',
    help:
      'nodes through which to join a DHT; IP@HOST:PORT tries the address before the name.' +
      ' Without any this is a bootstrap node, the first of a DHT of its own',
    fallback: null,
    repeatable: true,
    check: bootstrapList(),
  }),
  dhtHost: option<string | null>({
    flag: '--dht-host',
    placeholder: 'IP',
    env: 'WAYPOST_DHT_HOST',
    help:
      'the public IPv4 address of a bootstrap node, which its id is made of; when left out, that' +
      ' of --dht or of an interface, corrected by what other nodes see',
    fallback: null,
    check: publicHost(),
  }),
  dhtPrivate: switchOption({
    flag: '--dht-private',
    env: 'WAYPOST_DHT_PRIVATE',
    help: privateHelp,
    fallback: 'false',
  }),
};

export const dhtBootstrapOptions = {
  port: option({
    flag: '--port',
    placeholder: 'PORT',
    help: `the UDP port, 1 to ${MAX_PORT}`,
    fallback: String(DHT_PORT),
    check: wholeNumber(1, MAX_PORT, 'a port'),
  }),
  host: option<string | null>({
    flag: '--host',
    placeholder: 'IP',
    help: 'the IPv4 address that others reach this node at; its id is made of it. Needed',
    fallback: null,
    check: publicHost(),
  }),
  private: switchOption({ flag: '--private', help: privateHelp, fallback: 'false' }),
};

export const dhtNodeOptions = {
  bootstrap: option<readonly string[] | null>({
    flag: '--bootstrap',
    placeholder: 'HOST:PORT,...',
    help:
      'nodes through which to join; IP@HOST:PORT tries the address before the name. The public' +
      " hyperdht network's when left out. May be given several times",
    fallback: null,
    repeatable: true,
    check: bootstrapList(),
  }),
  nodes: option({
    flag: '--nodes',
    placeholder: 'N',
    help: `run so many nodes, 1 to ${MAX_NODES}`,
    fallback: '1',
    check: wholeNumber(1, MAX_NODES, 'a whole number of nodes'),
  }),
  port: option<number | null>({
    flag: '--port',
    placeholder: 'PORT',
    help: `the UDP port of a single node; when left out ${DHT_PORT} to ${DHT_PORT + 4}, or any`,
    fallback: null,
    check: wholeNumber(1, MAX_PORT, 'a port'),
  }),
  host: option({
    flag: '--host',
    placeholder: 'IP',
    help: 'the IPv4 address to bind to',
    fallback: '0.0.0.0',
    check: bindHost(),
  }),
  private: switchOption({ flag: '--private', help: privateHelp, fallback: 'false' }),
};

/** The DHT of `waypost serve`; null: none. Throws UsageError with one line. */
export function dhtFrom(flags: FlagValues, env: Environment): DhtConfig | null {
  const given = resolveOptions(dhtServeOptions, flags, env);
  if (given.dht.value === 'off') return null;
  const { address } = given.dht.value;
  const host = given.dhtHost.value;
  const bootstrap = given.dhtBootstrap.value ?? [];
  if (host !== null && bootstrap.length > 0) {
    throw new UsageError(
      '--dht-host is for a bootstrap node: with --dht-bootstrap the address is learnt from others',
    );
  }
  return {
    at: given.dht.value,
    isRequired: given.dht.source !== 'default',
    anyPort: false,
    bootstrap,
    host,
    isPrivate: isPrivateNetwork(given.dhtPrivate, bootstrap, host ?? address),
  };
}

/** The DHT of `waypost dht bootstrap`. Throws UsageError with one line. */
export function dhtBootstrapFrom(flags: FlagValues, env: Environment): DhtConfig {
  const given = resolveOptions(dhtBootstrapOptions, flags, env);
  const { port, host } = given;
  if (host.value === null) {
    throw new UsageError('waypost dht bootstrap needs --host IP: the address others reach it at');
  }
  return {
    at: { address: '0.0.0.0', port: port.value },
    isRequired: true,
    anyPort: false,
    bootstrap: [],
    host: host.value,
    isPrivate: isPrivateNetwork(given.private, [], host.value),
  };
}

/** The DHT of each of the nodes of `waypost dht node`. Throws UsageError with one line. */
export function dhtNodesFrom(flags: FlagValues, env: Environment): readonly DhtConfig[] {
  const given = resolveOptions(dhtNodeOptions, flags, env);
  if (given.port.value !== null && given.nodes.value > 1) {
    throw new UsageError('--port is for a single node: leave it out with --nodes');
  }
  const bootstrap = given.bootstrap.value ?? PUBLIC_BOOTSTRAP;
  const config: DhtConfig = {
    at: { address: given.host.value, port: given.port.value ?? DHT_PORT },
    isRequired: true,
    anyPort: given.port.value === null,
    bootstrap,
    host: null,
    isPrivate: isPrivateNetwork(given.private, bootstrap, given.host.value),
    ...(given.nodes.value > 1 ? { verifiesInline: true as const } : {}),
  };
  return Array.from({ length: given.nodes.value }, () => config);
}

/** Appliances that are such nodes and nothing else, each on the main thread. */
export function dhtApplianceConfigs(
  nodes: readonly DhtConfig[],
  notice: (line: string) => void,
): ApplianceConfig[] {
  return nodes.map((dht) => ({
    dns: 'off',
    dht,
    dnsRequired: false,
    // Nobody asks, but the parts that would answer want one.
    domains: ['dns-discovery.local'],
    nameserver: null,
    ttlSeconds: 0,
    limit: 1,
    udpBackend: 'auto',
    workers: 0,
    sendFrom: 'main',
    limits: { ...limitsFrom({}, {}, 1), tcpConnections: 0 },
    nsid: null,
    cookieSecrets: null,
    tokenSecret: null,
    notice,
  }));
}

/**
 * What was said, or else whether all nodes to start from are private, or without any whether
 * our own address is: a node of a public network may well have a private one, behind a NAT.
 */
function isPrivateNetwork(
  said: Resolved<boolean>,
  bootstrap: readonly string[],
  own: string,
): boolean {
  if (said.source !== 'default') return said.value;
  if (bootstrap.length === 0) return isPrivateHost(own);
  return bootstrap.every((node) => {
    const [host = ''] = node.slice(node.indexOf('@') + 1).split(':');
    return host === 'localhost' || isPrivateHost(host);
  });
}

function isPrivateHost(host: string): boolean {
  return isPrivateIpv4(hostToU32(host));
}

function dhtAddress(): z.ZodType<ListenAddress | 'off', string> {
  const list = listenAddresses();
  return readAs((text) => {
    // A bare port or :PORT, which elsewhere means IPv6 as well.
    const full = /^:?\d+$/.test(text) ? `0.0.0.0:${text.replace(':', '')}` : text;
    const read = list.safeParse(full);
    if (!read.success) return new Refusal(read.error.issues[0].message);
    if (read.data === 'off') return 'off';
    const [first] = read.data;
    if (read.data.length === 1 && isIPv4(first.address)) return first;
    return new Refusal('expected one IPv4 address and port, such as 0.0.0.0:49737, or off');
  });
}

/** `HOST:PORT` or `IP@HOST:PORT`, as npm hyperdht has them. */
function bootstrapList(): z.ZodType<readonly string[] | null, string> {
  return readAs((text) => {
    const nodes = text.split(',').map((part) => part.trim());
    if (nodes.length > MAX_BOOTSTRAP) return new Refusal(`expected at most ${MAX_BOOTSTRAP} nodes`);
    for (const node of nodes) {
      const [, suggested, host, port] = /^(?:([^@]*)@)?([^@:]+):(\d{1,5})$/.exec(node) ?? [];
      const isRight = host !== undefined && Number(port) >= 1 && Number(port) <= MAX_PORT;
      if (isRight && (suggested === undefined || isIPv4(suggested))) continue;
      return new Refusal(`${quote(node)}: expected HOST:PORT or IPV4@HOST:PORT`);
    }
    return nodes;
  });
}

function publicHost(): z.ZodType<string | null, string> {
  return readAs((text) => {
    if (isIPv4(text) && text !== '0.0.0.0') return text;
    return new Refusal('expected the IPv4 address others reach this machine at, not a wildcard');
  });
}

function bindHost(): z.ZodType<string, string> {
  return readAs((text) => (isIPv4(text) ? text : new Refusal('expected an IPv4 address')));
}
