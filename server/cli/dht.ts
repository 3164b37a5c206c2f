/** `waypost dht bootstrap` and `waypost dht node`: nodes of the DHT, and nothing else. */
import process from 'node:process';
import type { Appliance } from '../appliance.ts';
import { formatEndpoint } from '../options/addresses.ts';
import type { ApplianceConfig } from '../options/config.ts';
import { dhtApplianceConfigs, dhtBootstrapFrom, dhtNodesFrom } from '../options/dht.ts';
import type { FlagValues } from '../options/option.ts';
import { version } from '../version.ts';
import { print } from './print.ts';
import { notice, runAppliances } from './run.ts';

export async function dhtBootstrap(flags: FlagValues): Promise<void> {
  const configs = dhtApplianceConfigs([dhtBootstrapFrom(flags, process.env)], notice);
  await runAppliances(configs, started);
}

export async function dhtNode(flags: FlagValues): Promise<void> {
  const configs = dhtApplianceConfigs(dhtNodesFrom(flags, process.env), notice);
  await runAppliances(configs, started);
}

function started(appliances: readonly Appliance[], configs: readonly ApplianceConfig[]): void {
  print(`waypost ${version}`);
  appliances.forEach((appliance, i) => {
    for (const line of dhtLines(appliance, configs[i])) print(line);
  });
}

/** What a started node says of itself; nothing when there is none. */
export function dhtLines(
  { dht }: Pick<Appliance, 'dht'>,
  config: ApplianceConfig | undefined,
): string[] {
  if (dht === null || config?.dht == null) return [];
  const { bootstrap, isPrivate } = config.dht;
  const kind = bootstrap.length === 0 ? 'bootstrap node' : `joins by ${bootstrap.join(', ')}`;
  const network = isPrivate ? ', private network' : '';
  return [`dht ${formatEndpoint(dht)} udp ${dht.backend}; ${kind}${network}`];
}
