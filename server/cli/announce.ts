/** `waypost announce NAME --port N`: tells servers and the local network where a name is. */
import process from 'node:process';
import { ignoredAnnounceFlags } from '../options/client.ts';
import { type AnnounceConfig, announceConfig, ignoredNotices } from '../options/client-config.ts';
import type { FlagValues } from '../options/option.ts';
import {
  type ClientDiscovery,
  type ClientEnvironment,
  EXIT,
  failureText,
  keptCode,
  openWatched,
  runClient,
  stoppedCode,
  untilStopped,
  within,
} from './client.ts';
import { notice } from './run.ts';

/** A person, or a supervisor, waits for it: all of the stop takes less than a second. */
export const UNANNOUNCE_MS = 600;

export async function announce(flags: FlagValues, name: string | undefined): Promise<void> {
  const config = announceConfig(name, flags, process.env);
  for (const line of ignoredNotices(ignoredAnnounceFlags, flags)) notice(line);
  await runClient(announceName, config);
}

/** Announces until stopped, then takes it back; with `once`, once. */
export async function announceName(
  config: AnnounceConfig,
  environment: ClientEnvironment,
): Promise<number> {
  let hasTrouble = false;
  const disc = await openWatched(config.discovery, environment, () => {
    hasTrouble = true;
  });
  const code = config.once
    ? await announceOnce(config, environment, disc, () => hasTrouble)
    : await keepAnnouncing(config, environment, disc);
  await disc.destroy();
  return code;
}

async function announceOnce(
  config: AnnounceConfig,
  environment: ClientEnvironment,
  disc: ClientDiscovery,
  hasTrouble: () => boolean,
): Promise<number> {
  const { name, port, request, servers } = config;
  const { notice, stopped } = environment;
  if (servers.length === 0) {
    notice('over multicast an announcement ends with this command: leave --once out, or --server');
  }
  try {
    await disc.announce(name, port, { ...request, signal: stopped });
  } catch (error) {
    if (stopped.aborted) return stoppedCode(stopped);
    notice(failureText(error));
    return EXIT.network;
  }
  // With servers, one of them has answered.
  if (servers.length === 0 && hasTrouble()) return EXIT.network;
  tell(config, environment, 'announced');
  return EXIT.ok;
}

async function keepAnnouncing(
  config: AnnounceConfig,
  environment: ClientEnvironment,
  disc: ClientDiscovery,
): Promise<number> {
  const { name, port, request, json } = config;
  const { notice, stopped, clock } = environment;
  let isTold = false;
  let hasFailed = false;
  notice(`announcing ${name} on port ${port} ${whereText(config)}; Ctrl-C stops`);
  disc.on('announced', () => {
    if (isTold || stopped.aborted) return;
    isTold = true;
    if (json || hasFailed) tell(config, environment, 'announced');
  });
  disc.announce(name, port, { ...request, keep: true }).then(
    () => undefined,
    (error: unknown) => {
      hasFailed = true;
      if (!stopped.aborted) notice(`${failureText(error)}; going on`);
    },
  );
  await untilStopped(stopped);
  const code = keptCode(stopped);
  if (code !== EXIT.ok) return code;
  const isGone = await within(clock, UNANNOUNCE_MS, disc.unannounce(name, port, request));
  if (isGone && json) tell(config, environment, 'unannounced');
  if (!isGone && isTold) notice(`no answer: servers keep ${name} for as long as they keep records`);
  return EXIT.ok;
}

/** What happened: as data when asked for, else to the person at the terminal. */
function tell(
  { name, port, json }: AnnounceConfig,
  { out, notice }: ClientEnvironment,
  event: 'announced' | 'unannounced',
): void {
  if (json) out(JSON.stringify({ event, name, port }));
  else notice(`${event} ${name} on port ${port}`);
}

function whereText({ servers, multicast }: AnnounceConfig): string {
  const at = servers.length === 0 ? [] : [`at ${servers.join(' and ')}`];
  const over = multicast ? ['over multicast DNS'] : [];
  return [...at, ...over].join(' and ');
}
