/** A server on loopback for one test, closed when the test ends. */
import type { TestContext } from 'node:test';
import { type Appliance, startAppliance } from '../../server/appliance.ts';
import type { Clock } from '../../server/clock.ts';
import { laneEntry } from '../../server/lanes/lane-worker.ts';
import { CidrList } from '../../server/limits/cidr.ts';
import { loadAddon } from '../../server/net/native/addon.ts';
import type { ApplianceConfig, Limits, UdpBackend } from '../../server/options/config.ts';
import { threadBundle } from './thread-bundle.ts';

/** The same with lanes whose threads start sooner (thread-bundle.ts). */
export async function withBundledLanes(config: ApplianceConfig): Promise<ApplianceConfig> {
  if (config.workers === 0) return config;
  return { ...config, laneEntry: await threadBundle(config.laneEntry ?? laneEntry()) };
}

/** The backends there are on this machine, and why one is missing. */
export function backends(): { name: UdpBackend; skip: string | false }[] {
  const loaded = loadAddon();
  return [
    { name: 'batch', skip: loaded.addon === null ? loaded.reason : false },
    { name: 'dgram', skip: false },
  ];
}

/** One way to run a server: what every test of the whole must hold for. */
export interface Variant {
  readonly name: string;
  readonly options: Pick<ApplianceConfig, 'udpBackend' | 'workers' | 'sendFrom'>;
  readonly skip: string | false;
}

/**
 * Both backends, each with 0, 1 and 3 worker threads, and lanes that send by themselves. With
 * TEST_VARIANTS=few three of them, one of each kind: for repeated runs on other Node versions.
 */
export function variants(): Variant[] {
  const all = allVariants();
  if (process.env.TEST_VARIANTS !== 'few') return all;
  return all.filter(({ options: { udpBackend, workers, sendFrom } }) =>
    udpBackend === 'dgram'
      ? workers === 1
      : workers === 0 || (workers === 3 && sendFrom === 'lane'),
  );
}

function allVariants(): Variant[] {
  const all: Variant[] = [];
  for (const { name: udpBackend, skip } of backends()) {
    for (const workers of [0, 1, 3]) {
      const options = { udpBackend, workers, sendFrom: 'main' } as const;
      all.push({ name: `${udpBackend}, ${workers} workers`, options, skip });
      if (udpBackend === 'dgram' || workers === 0) continue;
      const sending = { udpBackend, workers, sendFrom: 'lane' } as const;
      all.push({ name: `${udpBackend}, ${workers} workers that send`, options: sending, skip });
    }
  }
  return all;
}

export const TEST_LIMITS: Limits = {
  rateLimit: 200,
  rateLimitExempt: CidrList.none,
  prefixLimit: 10_000,
  nameLimit: 8192,
  tcpConnections: 4096,
  tcpConnectionsPerPrefix: 256,
  tcpIdleMs: 10_000,
};

export interface TestServer extends Appliance {
  readonly port: number;
}

export async function testServer(
  t: TestContext,
  options: Partial<ApplianceConfig> = {},
  address = '127.0.0.1',
  clock?: Clock,
): Promise<TestServer> {
  const config: ApplianceConfig = {
    dns: [{ address, port: 0 }],
    dht: null,
    dnsRequired: true,
    domains: ['dns-discovery.local'],
    nameserver: null,
    ttlSeconds: 0,
    limit: 10_000,
    udpBackend: 'auto',
    workers: 0,
    sendFrom: 'auto',
    limits: TEST_LIMITS,
    nsid: null,
    cookieSecrets: null,
    tokenSecret: null,
    notice: () => {},
    ...options,
  };
  const appliance = await startAppliance(await withBundledLanes(config), clock);
  t.after(() => appliance.close());
  return { ...appliance, port: appliance.listening[0].port };
}
