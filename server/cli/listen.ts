/** `waypost listen`: the server with the command line of npm dns-discovery. */
import process from 'node:process';
import type { Appliance } from '../appliance.ts';
import { listenConfig } from '../options/listen.ts';
import type { FlagValues } from '../options/option.ts';
import { print } from './print.ts';
import { notice, runAppliance } from './run.ts';

export async function listen(flags: FlagValues): Promise<void> {
  const config = listenConfig(flags, process.env, notice);
  await runAppliance(config, (appliance) => {
    for (const line of listenLines(appliance.listening)) print(line);
  });
}

/** The original's line, once per port. */
export function listenLines(listening: Appliance['listening']): string[] {
  const ports = new Set(listening.map((socket) => socket.port));
  return Array.from(ports, (port) => `Server is listening on port ${port}`);
}
