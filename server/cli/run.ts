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

/**
 * Starts an appliance and calls `started` once it listens. The process then lives until a signal:
 * one that comes while starting is obeyed as soon as there is something to close.
 */
export async function runAppliance(
  config: ApplianceConfig,
  started: (appliance: Appliance) => void,
): Promise<void> {
  const starting = start(config);
  const stop = stopHandler({
    clock: systemClock,
    close: async () => (await starting).close(),
    exit: (code) => process.exit(code),
    notice,
  });
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  started(await starting);
}

/** Loads the server only now: help and usage errors need none of it, nor its native packages. */
async function start(config: ApplianceConfig): Promise<Appliance> {
  const { startAppliance } = await import('../appliance.ts');
  return startAppliance(config);
}
