/** The life of a server process: start, say so, stop on a signal. */
import process from 'node:process';
import type { Appliance } from '../appliance.ts';
import { systemClock } from '../clock.ts';
import type { ApplianceConfig } from '../options/config.ts';
import { printError } from './print.ts';
import { stopHandler } from './stop.ts';

/** A line for the operator, marked with who says it. */
export function notice(line: string): void {
  printError(`waypost: ${line}`);
}

/** As `runAppliances` with one. */
export function runAppliance(
  config: ApplianceConfig,
  started: (appliance: Appliance) => void,
): Promise<void> {
  return runAppliances([config], ([appliance]) => started(appliance));
}

/**
 * Starts appliances one after the other and calls `started` once all listen. The process then lives
 * until a signal: one that comes while starting is obeyed as soon as there is something to close.
 */
export async function runAppliances(
  configs: readonly ApplianceConfig[],
  started: (appliances: readonly Appliance[], configs: readonly ApplianceConfig[]) => void,
): Promise<void> {
  const starting = start(configs);
  const stop = stopHandler({
    clock: systemClock,
    close: async () => {
      await Promise.all((await starting).map((appliance) => appliance.close()));
    },
    exit: (code) => process.exit(code),
    notice,
  });
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  started(await starting, configs);
}

/** Loads the server only now: help and usage errors need none of it, nor its native packages. */
async function start(configs: readonly ApplianceConfig[]): Promise<Appliance[]> {
  const { startAppliance } = await import('../appliance.ts');
  const appliances: Appliance[] = [];
  for (const config of configs) appliances.push(await startAppliance(config));
  return appliances;
}
