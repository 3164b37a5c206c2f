/** What the client commands share: what they ask by, how they stop, their exit codes. */
import process from 'node:process';
import { type Clock, systemClock } from '../clock.ts';
import type {
  AnnounceOptions,
  DiscoveryOptions,
  LookupOptions,
  Peer,
  Whoami,
} from '../discovery/types.ts';
import { UsageError } from '../options/option.ts';
import { flush, print } from './print.ts';
import { notice } from './run.ts';

/** 2 is a wrong command line, for all commands. */
export const EXIT = { ok: 0, notFound: 1, network: 3 } as const;

/** A signal; SIGPIPE: nobody reads the output any more. */
type Signal = 'SIGINT' | 'SIGTERM' | 'SIGPIPE';

/** What ended a command early: a signal, or a `--host` that nothing can be asked from. */
export type Stop = Signal | 'no host';

/** Of a signal what a shell shows for a program ended by it: 128 + its number. */
const STOP_EXIT_CODES: Readonly<Record<Stop, number>> = {
  SIGINT: 130,
  SIGTERM: 143,
  SIGPIPE: 141,
  'no host': EXIT.network,
};

/** Node's longest timer is 24.8 days. */
const KEEP_ALIVE_MS = 86_400_000;

type Peers = PromiseLike<readonly Peer[]> & AsyncIterable<Peer>;

/** What the commands use of a discovery instance. */
export interface ClientDiscovery {
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'announced', listener: (name: string) => void): unknown;
  lookup(name: string, options: LookupOptions): Peers;
  announce(name: string, port: number, options: AnnounceOptions): Peers;
  unannounce(name: string, port: number, options: AnnounceOptions): PromiseLike<void>;
  whoami(): PromiseLike<Whoami>;
  destroy(): PromiseLike<void>;
}

/** The world around a command. */
export interface ClientEnvironment {
  readonly open: (options: DiscoveryOptions) => Promise<ClientDiscovery>;
  readonly clock: Pick<Clock, 'after'>;
  /** A line of data. */
  readonly out: (line: string) => void;
  /** A line for the person at the terminal. */
  readonly notice: (line: string) => void;
  /** Aborted, with a Stop as its reason, when the command shall end. */
  readonly stopped: AbortSignal;
  /** Aborts `stopped`. */
  readonly stop: (why: Stop) => void;
}

/** A command: what it needs is in its arguments; its exit code comes back. */
export type ClientCommand<C> = (config: C, environment: ClientEnvironment) => Promise<number>;

/** Runs a command in this process, which ends with it. */
export async function runClient<C>(command: ClientCommand<C>, config: C): Promise<void> {
  const stopping = new AbortController();
  let isOver = false;
  const stop = (why: Stop) => {
    if (isOver || stopping.signal.aborted) process.exit(STOP_EXIT_CODES[why]);
    stopping.abort(why);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  process.stdout.on('error', () => {
    if (!isOver && !stopping.signal.aborted) stop('SIGPIPE');
  });
  keepAlive();
  const code = await command(config, {
    open: openDiscovery,
    clock: systemClock,
    out: print,
    notice,
    stopped: stopping.signal,
    stop,
  });
  isOver = true;
  const isRead = await flush(systemClock);
  // A good end would say that all of it has arrived.
  process.exit(isRead || code !== EXIT.ok ? code : STOP_EXIT_CODES.SIGPIPE);
}

/** The exit code of a command that was to be done once and was stopped before it was. */
export function stoppedCode(stopped: AbortSignal): number {
  return STOP_EXIT_CODES[stopped.reason as Stop];
}

/** The exit code of a command that was to go on until it is stopped. */
export function keptCode(stopped: AbortSignal): number {
  return stopped.reason === 'no host' ? EXIT.network : EXIT.ok;
}

/** Resolves when the command shall end. */
export function untilStopped(stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (stopped.aborted) resolve();
    else stopped.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Resolves when `promise` is settled or the time is over; false: it failed or was late. */
export function within(
  clock: Pick<Clock, 'after'>,
  delayMs: number,
  promise: PromiseLike<unknown>,
): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = clock.after(delayMs, () => resolve(false));
    const end = (isGood: boolean) => {
      cancel();
      resolve(isGood);
    };
    promise.then(
      () => end(true),
      () => end(false),
    );
  });
}

/**
 * Opens an instance whose errors are notices, each once; `failed` is called with each of them. A
 * `--host` that cannot be bound stops the command: no server will ever be asked.
 */
export async function openWatched(
  options: DiscoveryOptions,
  environment: ClientEnvironment,
  failed: () => void,
): Promise<ClientDiscovery> {
  const disc = await environment.open(options);
  let last = '';
  disc.on('error', (error) => {
    failed();
    const { host } = options;
    const isOfHost = host !== undefined && isBindError(error, host);
    const text = isOfHost ? hostText(error, host) : error.message;
    if (text !== last) environment.notice(text);
    last = text;
    if (isOfHost && !environment.stopped.aborted) environment.stop('no host');
  });
  return disc;
}

/** Why an operation failed, in one line: what each server said, or the error itself. */
export function failureText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const errors = 'errors' in error && Array.isArray(error.errors) ? error.errors : [];
  const reasons = errors.map((one: unknown) => (one instanceof Error ? one.message : String(one)));
  return reasons.length === 0 ? error.message : reasons.join('; ');
}

function isBindError(error: Error, host: string): error is NodeJS.ErrnoException {
  return (
    'syscall' in error && error.syscall === 'bind' && 'address' in error && error.address === host
  );
}

function hostText({ code, message }: NodeJS.ErrnoException, host: string): string {
  const why = code === 'EADDRNOTAVAIL' ? 'not an address of this machine' : 'cannot be asked from';
  return `--host ${host}: ${why} (${message})`;
}

/** Loads the library only now: help and usage errors need none of it. */
async function openDiscovery(options: DiscoveryOptions): Promise<ClientDiscovery> {
  const { discovery } = await import('../discovery/discovery.ts');
  try {
    return discovery(options);
  } catch (error) {
    // Its checks throw these; they name the option and what is allowed.
    if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
    throw new UsageError(error.message);
  }
}

/** A command may wait with nothing open: for the next try of a name that did not resolve. */
function keepAlive(): void {
  systemClock.after(KEEP_ALIVE_MS, keepAlive);
}
