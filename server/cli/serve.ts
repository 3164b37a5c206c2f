/** `waypost serve`: the server, with every setting. */
import process from 'node:process';
import type { Appliance } from '../appliance.ts';
import { formatEndpoint } from '../options/addresses.ts';
import type { ApplianceConfig } from '../options/config.ts';
import type { FlagValues } from '../options/option.ts';
import { serveConfig } from '../options/serve.ts';
import { version } from '../version.ts';
import { dhtLines } from './dht.ts';
import { print } from './print.ts';
import { notice, runAppliance } from './run.ts';

const DNS_PORT = 53;

export async function serve(flags: FlagValues): Promise<void> {
  const config = serveConfig(flags, process.env, notice);
  await runAppliance(config, (appliance) => {
    for (const line of startLines(config, appliance)) print(line);
  });
}

/** What a started server says of itself: where it listens, what it keeps, how to try it. */
export function startLines(
  config: ApplianceConfig,
  appliance: Pick<Appliance, 'listening' | 'dht'>,
): string[] {
  const { listening } = appliance;
  const lines = [`waypost ${version}`];
  for (const socket of listening) {
    const how =
      socket.transport === 'udp'
        ? `udp ${socket.backend} (receive buffer ${socket.receiveBufferBytes} bytes)`
        : 'tcp';
    lines.push(`dns ${formatEndpoint(socket)} ${how}`);
  }
  lines.push(...dhtLines(appliance, config));
  const kept = config.ttlSeconds === 0 ? 'for ever' : `${config.ttlSeconds} s`;
  lines.push(
    `${config.domains.length === 1 ? 'domain' : 'domains'} ${config.domains.join(', ')};` +
      ` records are kept ${kept}, at most ${config.limit}`,
  );
  const { workers, limits } = config;
  const threads = workers === 0 ? 'no worker threads' : `worker threads ${workers}`;
  const rate = limits.rateLimit === null ? 'unlimited' : `${limits.rateLimit} a second and prefix`;
  lines.push(`${threads}; replies to unproven sources: ${rate}`);
  const first = listening[0];
  if (first !== undefined) {
    lines.push(`try it: ${digCommand(first, config.domains[0] ?? '')}`);
  }
  return lines;
}

function digCommand(at: { address: string; port: number }, domain: string): string {
  const loopback: Record<string, string> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
  const server = loopback[at.address] ?? at.address;
  const port = at.port === DNS_PORT ? '' : ` -p ${at.port}`;
  return `dig @${server}${port} my-app.${domain} SRV`;
}
