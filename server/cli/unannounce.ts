/** `waypost unannounce NAME --port N`: takes back what servers were told. */
import process from 'node:process';
import { type UnannounceConfig, unannounceConfig } from '../options/client-config.ts';
import type { FlagValues } from '../options/option.ts';
import {
  type ClientEnvironment,
  EXIT,
  failureText,
  openWatched,
  runClient,
  stoppedCode,
} from './client.ts';

export async function unannounce(flags: FlagValues, name: string | undefined): Promise<void> {
  await runClient(unannounceName, unannounceConfig(name, flags, process.env));
}

export async function unannounceName(
  config: UnannounceConfig,
  environment: ClientEnvironment,
): Promise<number> {
  const { name, port, request, json } = config;
  const { notice, out, stopped } = environment;
  const disc = await openWatched(config.discovery, environment, () => undefined);
  try {
    await disc.unannounce(name, port, { ...request, signal: stopped });
  } catch (error) {
    if (stopped.aborted) return stoppedCode(stopped);
    notice(failureText(error));
    return EXIT.network;
  } finally {
    await disc.destroy();
  }
  if (json) out(JSON.stringify({ event: 'unannounced', name, port }));
  else notice(`unannounced ${name} on port ${port}`);
  return EXIT.ok;
}
