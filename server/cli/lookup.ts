/** `waypost lookup NAME`: prints who announced a name. */
import process from 'node:process';
import { inspect } from 'node:util';
import type { Peer } from '../discovery/types.ts';
import { ignoredLookupFlags } from '../options/client.ts';
import { ignoredNotices, type LookupConfig, lookupConfig } from '../options/client-config.ts';
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
} from './client.ts';
import { notice } from './run.ts';

/**
 * When multicast is asked again after the first question: datagrams get lost. Waits that double, as
 * RFC 6762 section 5.2 wants it; then the library goes on, less often.
 */
const MULTICAST_AGAIN_MS = [1000, 3000, 7000];

export async function lookup(flags: FlagValues, name: string | undefined): Promise<void> {
  const config = lookupConfig(name, flags, process.env);
  for (const line of ignoredNotices(ignoredLookupFlags, flags)) notice(line);
  await runClient(lookUp, config);
}

/** A lookup under way. */
interface Looking {
  readonly disc: ClientDiscovery;
  readonly config: LookupConfig;
  readonly environment: ClientEnvironment;
  /** What the first round failed with, or null. */
  readonly firstFailure: Promise<unknown>;
  readonly seen: Seen;
}

/** What a lookup has come to so far. */
interface Seen {
  /** Peers printed. */
  found: number;
  /** A socket failed. */
  hasTrouble: boolean;
}

/**
 * Prints each peer once, until stopped; with `once` until all servers have answered or given up and
 * multicast was asked twice, a second in all.
 */
export async function lookUp(
  config: LookupConfig,
  environment: ClientEnvironment,
): Promise<number> {
  // A socket may fail while disc.lookup() runs.
  const seen: Seen = { found: 0, hasTrouble: false };
  const disc = await openWatched(config.discovery, environment, () => {
    seen.hasTrouble = true;
  });
  const ending = new AbortController();
  const kept = disc.lookup(config.name, { keep: true, signal: ending.signal });
  const firstFailure = Promise.resolve(kept).then(
    () => null,
    (error: unknown) => error,
  );
  const looking: Looking = { disc, config, environment, firstFailure, seen };
  const printing = printPeers(looking, kept, ending.signal);
  if (config.once) await Promise.race([bothRounds(looking), untilStopped(environment.stopped)]);
  else await keepAsking(looking);
  ending.abort();
  await printing;
  await disc.destroy();
  return config.once ? onceCode(looking) : keptCode(environment.stopped);
}

/** A peer as the original's command prints it, or as JSON. */
export function peerLine(name: string, { port, host }: Peer, asJson: boolean): string {
  return asJson ? JSON.stringify({ name, host, port }) : `${name} ${inspect({ port, host })}`;
}

/** Until the signal: it ends the lookup with an error, after all that was found. */
async function printPeers(
  looking: Looking,
  peers: AsyncIterable<Peer>,
  ending: AbortSignal,
): Promise<void> {
  const { config, environment } = looking;
  try {
    for await (const peer of peers) {
      looking.seen.found++;
      environment.out(peerLine(config.name, peer, config.json));
    }
  } catch (error) {
    if (!ending.aborted) throw error;
  }
}

/** Datagrams get lost: multicast is asked twice. */
async function bothRounds({ disc, config, firstFailure }: Looking): Promise<void> {
  await firstFailure;
  if (!config.multicast) return;
  await disc.lookup(config.name, { server: false }).then(
    () => undefined,
    () => undefined,
  );
}

async function keepAsking({ disc, config, environment, firstFailure }: Looking): Promise<void> {
  const { clock, notice, stopped } = environment;
  void firstFailure.then((error) => {
    if (error !== null && !stopped.aborted) notice(`${failureText(error)}; going on`);
  });
  // What these bring, the kept lookup hears.
  const ask = () => void disc.lookup(config.name, { server: false });
  const cancels = config.multicast ? MULTICAST_AGAIN_MS.map((ms) => clock.after(ms, ask)) : [];
  await untilStopped(stopped);
  for (const cancel of cancels) cancel();
}

async function onceCode(looking: Looking): Promise<number> {
  const { config, environment, firstFailure, seen } = looking;
  if (environment.stopped.aborted) return stoppedCode(environment.stopped);
  const failure = await firstFailure;
  if (failure !== null) environment.notice(failureText(failure));
  if (seen.found > 0) return EXIT.ok;
  const hasServers = config.servers.length > 0;
  const isAnswered = hasServers && failure === null;
  // A failure without servers is that of multicast.
  const wasMulticast = config.multicast && !seen.hasTrouble && (hasServers || failure === null);
  return isAnswered || wasMulticast ? EXIT.notFound : EXIT.network;
}
