/** A node of the DHT on loopback for one test, closed when the test ends. */
import { after, before, type TestContext } from 'node:test';
import { type Appliance, startAppliance } from '../../server/appliance.ts';
import type { DhtHost } from '../../server/dht/dht-host.ts';
import { taskEntry } from '../../server/dht/pool-verifier.ts';
import type { ApplianceConfig, DhtConfig } from '../../server/options/config.ts';
import { TEST_LIMITS, withBundledLanes } from './appliance.ts';
import { threadBundle } from './thread-bundle.ts';

export interface DhtServer extends Appliance {
  readonly dht: DhtHost;
  readonly port: number;
}

export const LOOPBACK_DHT: DhtConfig = {
  at: { address: '127.0.0.1', port: 0 },
  isRequired: true,
  anyPort: false,
  bootstrap: [],
  host: '127.0.0.1',
  isPrivate: true,
};

/** Small stores: some tests start fifty. */
const SMALL_STORES = {
  peers: 4096,
  forwards: 4096,
  refreshes: 1024,
  mutables: 256,
  immutables: 256,
};

/** Starts a node; with `bootstrap` one that joins by those nodes. */
export async function dhtServer(
  t: Pick<TestContext, 'after'>,
  dht: Partial<DhtConfig> = {},
  options: Partial<ApplianceConfig> = {},
): Promise<DhtServer> {
  const config: ApplianceConfig = {
    dns: 'off',
    dnsRequired: true,
    domains: ['dns-discovery.local'],
    nameserver: null,
    ttlSeconds: 0,
    limit: 16,
    udpBackend: 'auto',
    workers: 0,
    sendFrom: 'auto',
    limits: { ...TEST_LIMITS, tcpConnections: 0 },
    nsid: null,
    cookieSecrets: null,
    tokenSecret: null,
    notice: () => {},
    ...options,
    dht: {
      ...LOOPBACK_DHT,
      stores: SMALL_STORES,
      verifierEntry: await threadBundle(taskEntry()),
      ...dht,
    },
  };
  const appliance = await startAppliance(await withBundledLanes(config));
  t.after(() => appliance.close());
  if (appliance.dht === null) throw new Error('the node did not start');
  return { ...appliance, dht: appliance.dht, port: appliance.dht.port };
}

/** How others bootstrap from these nodes. */
export function bootstrapOf(...servers: readonly { readonly port: number }[]): string[] {
  return servers.map(({ port }) => `127.0.0.1:${port}`);
}

/** One node for all tests of a suite, to be called in its `describe`; returns how to get it. */
export function sharedDhtServer(options: Partial<ApplianceConfig> = {}): () => DhtServer {
  let server: DhtServer | null = null;
  const ends: (() => unknown)[] = [];
  before(async () => {
    server = await dhtServer({ after: (end) => ends.push(end as () => unknown) }, {}, options);
  });
  after(async () => {
    for (const end of ends) await end();
  });
  return () => {
    if (server === null) throw new Error('the suite has not begun');
    return server;
  };
}
