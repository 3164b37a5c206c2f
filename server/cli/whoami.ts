/** `waypost whoami`: the address and port that servers see this machine at. */
import process from 'node:process';
import type { Whoami } from '../discovery/types.ts';
import { formatEndpoint } from '../options/addresses.ts';
import { type ClientConfig, whoamiConfig } from '../options/client-config.ts';
import type { FlagValues } from '../options/option.ts';
import {
  type ClientEnvironment,
  EXIT,
  failureText,
  openWatched,
  runClient,
  stoppedCode,
  untilStopped,
} from './client.ts';

export async function whoami(flags: FlagValues): Promise<void> {
  await runClient(askWhoami, whoamiConfig(flags, process.env));
}

/** Prints `host:port`, or the host alone where the port is not the same for all. */
export async function askWhoami(
  config: ClientConfig,
  environment: ClientEnvironment,
): Promise<number> {
  const { notice, out, stopped } = environment;
  const disc = await openWatched(config.discovery, environment, () => undefined);
  try {
    const self = await Promise.race([disc.whoami(), untilStopped(stopped)]);
    if (self === undefined) return stoppedCode(stopped);
    out(config.json ? JSON.stringify({ host: self.host, port: self.port }) : selfLine(self));
    if (self.port === 0) notice(portText(config.servers.length));
    return EXIT.ok;
  } catch (error) {
    notice(failureText(error));
    return EXIT.network;
  } finally {
    await disc.destroy();
  }
}

function selfLine({ host, port }: Whoami): string {
  return port === 0 ? host : formatEndpoint({ address: host, port });
}

function portText(servers: number): string {
  return servers === 1
    ? 'whether everybody sees the same port, two servers on different hosts can tell'
    : 'the port is not known to be the same for everybody: --implied-port will not help others';
}
