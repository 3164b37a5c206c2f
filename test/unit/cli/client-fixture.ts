/** A discovery instance, a clock and a terminal for tests of the client commands. */
import type { ClientDiscovery, ClientEnvironment } from '../../../server/cli/client.ts';
import { Lookup, Operation } from '../../../server/discovery/operation.ts';
import type {
  AnnounceOptions,
  DiscoveryOptions,
  LookupOptions,
  Whoami,
} from '../../../server/discovery/types.ts';

/** Answers when the test says so. */
export class FakeDiscovery implements ClientDiscovery {
  /** What was called, in order. */
  readonly calls: unknown[][] = [];
  /** What the lookups and announces returned, in order. */
  readonly lookups: Lookup[] = [];
  readonly unannounced = new Operation<void>();
  readonly self = new Operation<Whoami>();
  isDestroyed = false;
  /** Runs within each call. */
  onCall: () => void = () => undefined;
  readonly #listeners = new Map<string, ((given: never) => void)[]>();

  on(event: string, listener: (given: never) => void): void {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
  }

  emit(event: 'error', error: Error): void;
  emit(event: 'announced', name: string): void;
  emit(event: string, given: unknown): void {
    for (const listener of this.#listeners.get(event) ?? []) listener(given as never);
  }

  lookup(name: string, options: LookupOptions): Lookup {
    return this.#look(['lookup', name, withoutSignal(options)], options);
  }

  announce(name: string, port: number, options: AnnounceOptions): Lookup {
    return this.#look(['announce', name, port, withoutSignal(options)], options);
  }

  unannounce(name: string, port: number, options: AnnounceOptions): Operation<void> {
    this.calls.push(['unannounce', name, port, withoutSignal(options)]);
    options.signal?.addEventListener('abort', () => this.unannounced.reject(new Error('aborted')));
    this.onCall();
    return this.unannounced;
  }

  whoami(): Operation<Whoami> {
    this.calls.push(['whoami']);
    this.onCall();
    return this.self;
  }

  async destroy(): Promise<void> {
    this.isDestroyed = true;
    for (const lookup of this.lookups) lookup.end(new Error('destroyed'));
  }

  #look(call: unknown[], { keep, signal }: LookupOptions): Lookup {
    this.calls.push(call);
    const lookup = new Lookup(keep === true, () => undefined);
    signal?.addEventListener('abort', () => lookup.end(new Error('aborted')));
    this.lookups.push(lookup);
    this.onCall();
    return lookup;
  }
}

function withoutSignal({ signal, ...options }: AnnounceOptions & LookupOptions): object {
  return signal === undefined ? options : { ...options, signal: true };
}

export interface Bench {
  readonly environment: ClientEnvironment;
  readonly disc: FakeDiscovery;
  readonly out: string[];
  readonly notices: string[];
  /** What the instance was made with. */
  readonly opened: DiscoveryOptions[];
  readonly stop: (why?: string) => void;
  /** Runs the timers that are due after so long. */
  readonly pass: (ms: number) => Promise<void>;
}

export function bench(): Bench {
  const disc = new FakeDiscovery();
  const stopping = new AbortController();
  const out: string[] = [];
  const notices: string[] = [];
  const opened: DiscoveryOptions[] = [];
  let now = 0;
  const timers = new Set<{ at: number; fn: () => void }>();
  return {
    disc,
    out,
    notices,
    opened,
    stop: (why = 'SIGINT') => stopping.abort(why),
    async pass(ms) {
      now += ms;
      for (const timer of timers) {
        if (timer.at > now) continue;
        timers.delete(timer);
        timer.fn();
      }
      await settle();
    },
    environment: {
      open: async (options) => {
        opened.push(options);
        return disc;
      },
      clock: {
        after: (delayMs, fn) => {
          const timer = { at: now + delayMs, fn };
          timers.add(timer);
          return () => void timers.delete(timer);
        },
      },
      out: (line) => void out.push(line),
      notice: (line) => void notices.push(line),
      stopped: stopping.signal,
      stop: (why) => stopping.abort(why),
    },
  };
}

/** Lets what hangs on settled promises run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
