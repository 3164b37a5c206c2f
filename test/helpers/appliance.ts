/** A server on loopback for one test, closed when the test ends. */
import type { TestContext } from 'node:test';
import { type Appliance, startAppliance } from '../../server/appliance.ts';
import { loadAddon } from '../../server/net/native/addon.ts';
import type { ApplianceConfig, UdpBackend } from '../../server/options/config.ts';

/** The backends there are on this machine, and why one is missing. */
export function backends(): { name: UdpBackend; skip: string | false }[] {
  const loaded = loadAddon();
  return [
    { name: 'batch', skip: loaded.addon === null ? loaded.reason : false },
    { name: 'dgram', skip: false },
  ];
}

export interface TestServer extends Appliance {
  readonly port: number;
}

export async function testServer(
  t: TestContext,
  options: Partial<ApplianceConfig> = {},
  address = '127.0.0.1',
): Promise<TestServer> {
  const appliance = await startAppliance({
    dns: [{ address, port: 0 }],
    dnsRequired: true,
    domains: ['dns-discovery.local'],
    nameserver: null,
    ttlSeconds: 0,
    limit: 10_000,
    udpBackend: 'auto',
    tokenSecret: null,
    notice: () => {},
    ...options,
  });
  t.after(() => appliance.close());
  return { ...appliance, port: appliance.listening[0].port };
}
