/** The server under attack, as seen from outside: its process, and the counters it prints. */
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { TOKEN_TEXT_BYTES } from '../../codecs/dns/constants.ts';
import type { CounterName } from '../../workers/counters.ts';
import { Tokens } from '../../workers/tokens.ts';
import {
  ask,
  type RunningServer,
  residentBytes,
  startServer,
  stopServer,
} from '../load/processes.ts';

const SERVER = fileURLToPath(new URL('./server.ts', import.meta.url));
/** Known to the load, so that it need not ask for a token from each of its addresses first. */
const SECRET_HEX = '5a'.repeat(32);

export type Counters = Record<CounterName, number>;

export class House {
  readonly server: RunningServer;

  private constructor(server: RunningServer) {
    this.server = server;
  }

  /** Starts a server with default limits but for `flags`, by the names of serveOptions. */
  static async start(flags: Record<string, string>): Promise<House> {
    const all = { dns: '127.0.0.1:0', tokenSecret: SECRET_HEX, ...flags };
    return new House(await startServer('waypost', [SERVER, JSON.stringify(all)]));
  }

  get port(): number {
    return this.server.port;
  }

  get residentBytes(): number {
    return residentBytes(this.server);
  }

  async counters(): Promise<Counters> {
    return JSON.parse(await ask(this.server, 'counters')) as Counters;
  }

  stop(): void {
    stopServer(this.server);
  }
}

/** Tokens as the server gives them to addresses 127.x.y.z. */
export class TokenMaker {
  readonly #tokens: Tokens;
  readonly #words = new Int32Array(4);
  readonly #bytes = new Uint8Array(this.#words.buffer);

  constructor() {
    const secret = createHash('sha256').update(Buffer.from(SECRET_HEX, 'hex')).digest();
    this.#tokens = new Tokens(new Uint8Array(secret), 1);
    this.#bytes[10] = 0xff;
    this.#bytes[11] = 0xff;
  }

  /** Writes the token of an IPv4 address, a 32-bit number, at out[at..at+44). */
  write(address: number, out: Uint8Array, at: number): void {
    this.#tokens.setTime(Date.now());
    for (let i = 0; i < 4; i++) this.#bytes[12 + i] = address >>> (24 - 8 * i);
    this.#tokens.load(this.#words, 0);
    for (let i = 0; i < TOKEN_TEXT_BYTES; i++) out[at + i] = this.#tokens.text[i];
  }
}
