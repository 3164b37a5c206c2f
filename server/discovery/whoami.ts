/** What several servers say of us, put together as npm dns-discovery 6.2.3 does. */
import type { Answer } from '../../codecs/dns/client-answer.ts';
import { Operation } from './operation.ts';
import { DiscoveryError, type Whoami } from './types.ts';
import type { Destination } from './wire/questions.ts';

/** What one server said. */
type Told = Whoami & { readonly server: string };

type WhoamiCallback = ((error: Error | null, self?: Whoami) => void) | null;

/**
 * Of two servers' answers: the same host and port, that is what we are seen as; the same host, the
 * port differs from server to server (0); other hosts, an error. One answer alone tells the host.
 */
export class Whoamis {
  readonly operation = new Operation<Whoami>();
  readonly #callback: WhoamiCallback;
  readonly #errors: Error[] = [];
  #missing: number;
  /** The first answer of each family: those of one are not compared with those of the other. */
  readonly #first: (Told | null)[] = [null, null];

  constructor(servers: number, callback: WhoamiCallback) {
    this.#missing = servers;
    this.#callback = callback;
  }

  noServers(): void {
    const why = new Error('no server was given: only a server can tell');
    this.#fail('ERR_PROBE_FAILED', 'Probe failed', [why]);
  }

  /** `server`: its number among the servers. */
  answered(
    server: number,
    error: Error | null,
    answer: Answer | null,
    from: Destination | null,
  ): void {
    this.#missing--;
    if (error !== null) this.#errors.push(error);
    if (answer !== null && answer.host !== null && answer.port >= 0) {
      const told = { port: answer.port, host: answer.host, server: from?.address ?? `${server}` };
      this.#compare(told);
    }
    if (this.#missing > 0 || this.operation.isOver) return;
    const first = this.#first[0] ?? this.#first[1];
    if (first !== null) this.#succeed({ port: 0, host: first.host });
    else this.#fail('ERR_PROBE_FAILED', 'Probe failed', this.#errors);
  }

  /** Two answers of one server would always agree: they prove nothing. */
  #compare(told: Told): void {
    const family = told.host.includes(':') ? 1 : 0;
    const first = this.#first[family];
    if (first === null) this.#first[family] = told;
    if (first === null || first.server === told.server) return;
    if (first.host !== told.host) {
      this.#fail('ERR_INCONSISTENT', 'Inconsistent remote port/host', this.#errors);
    } else {
      this.#succeed({ port: first.port === told.port ? told.port : 0, host: told.host });
    }
  }

  #succeed(self: Whoami): void {
    if (this.operation.isOver) return;
    this.operation.resolve(self);
    this.#callback?.(null, self);
  }

  #fail(
    code: 'ERR_PROBE_FAILED' | 'ERR_INCONSISTENT',
    message: string,
    errors: readonly Error[],
  ): void {
    if (this.operation.isOver) return;
    const error = new DiscoveryError(code, message, errors);
    this.operation.reject(error);
    this.#callback?.(error);
  }
}
