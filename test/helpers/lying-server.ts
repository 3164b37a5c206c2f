/**
 * A discovery server that says what a test tells it to, byte by byte; also a stranger, which is one
 * that nobody asked. It counts what it receives.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { CLIENT_COOKIE_BYTES, OPTION, TYPE } from '../../codecs/dns/constants.ts';
import {
  buildMessage,
  DOMAIN,
  type MessageSpec,
  optRecord,
  type RecordSpec,
  txtRecord,
  u16,
} from './dns-messages.ts';
import { type Parsed, parseStrict, parseStrings } from './dns-parse.ts';
import type { RunningServer } from './server-kind.ts';
import { until } from './tcp-client.ts';

/** Response, recursion desired and available: what the original sends. */
export const RESPONSE_FLAGS = 0x8180;
const QR = 0x80;

export interface Source {
  readonly address: string;
  readonly port: number;
}

/** One question of the client. */
export class Query {
  readonly bytes: Buffer;
  readonly from: Source;
  readonly parsed: Parsed;
  /** Sends bytes to who asked. */
  readonly send: (bytes: Uint8Array) => void;

  constructor(bytes: Buffer, from: Source, send: (bytes: Uint8Array) => void) {
    this.bytes = bytes;
    this.from = from;
    this.send = send;
    this.parsed = parseStrict(bytes);
  }

  get id(): number {
    return this.parsed.id;
  }

  get name(): string {
    return this.parsed.questions[0].name;
  }

  get isProbe(): boolean {
    return this.name === DOMAIN;
  }

  /** What the additional TXT record asks for. */
  get strings(): string[] {
    const txt = this.parsed.additionals.find(({ type }) => type === TYPE.TXT);
    if (txt === undefined) return [];
    return parseStrings(txt.rdata).map((text) => Buffer.from(text).toString('latin1'));
  }

  /** The token it was sent with. */
  get token(): string | null {
    const found = this.strings.find((text) => text.startsWith('token='));
    return found === undefined ? null : found.slice('token='.length);
  }

  get hasOpt(): boolean {
    return this.parsed.additionals.some(({ type }) => type === TYPE.OPT);
  }

  /** The data of its COOKIE option, empty without one. */
  get cookie(): number[] {
    const opt = this.parsed.additionals.find(({ type }) => type === TYPE.OPT);
    const rdata = opt?.rdata ?? [];
    for (let at = 0; at + 4 <= rdata.length; ) {
      const length = (rdata[at + 2] << 8) | rdata[at + 3];
      const isCookie = ((rdata[at] << 8) | rdata[at + 1]) === OPTION.COOKIE;
      if (isCookie) return [...rdata.slice(at + 4, at + 4 + length)];
      at += 4 + length;
    }
    return [];
  }

  /** The answer of these strings, or whatever else `changes` make of it. */
  answer(strings: readonly string[], changes: MessageSpec = {}): Uint8Array {
    return buildMessage({
      id: this.id,
      flags: RESPONSE_FLAGS,
      question: { name: this.name },
      answers: [txtRecord(this.name, ...strings)],
      ...changes,
    });
  }

  reply(strings: readonly string[], changes: MessageSpec = {}): void {
    this.send(this.answer(strings, changes));
  }
}

export class LyingServer implements RunningServer {
  readonly host: string;
  readonly socket: Socket;
  /** Questions it was asked. */
  readonly queries: Query[] = [];
  /** Responses it was sent. */
  readonly responses: Buffer[] = [];
  /** Datagrams of either kind, and of none. */
  received = 0;
  onQuery: (query: Query) => void = () => undefined;

  private constructor(socket: Socket, host: string) {
    this.socket = socket;
    this.host = host;
    socket.on('message', (bytes, { address, port }) => this.#receive(bytes, { address, port }));
  }

  /** At host:port until the test ends; port 0: any. */
  static async open(t: TestContext, host = '127.0.0.1', port = 0): Promise<LyingServer> {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    socket.bind(port, host);
    await once(socket, 'listening');
    const server = new LyingServer(socket, host);
    t.after(() => server.close());
    return server;
  }

  get port(): number {
    return this.socket.address().port;
  }

  send(bytes: Uint8Array, to: Source): void {
    this.socket.send(bytes, to.port, to.address);
  }

  async close(): Promise<void> {
    this.close = async () => undefined;
    const closed = once(this.socket, 'close');
    this.socket.close();
    await closed;
  }

  /** Waits for the next question of a name. */
  async asked(name: string, after = 0): Promise<Query> {
    const isIt = (query: Query, index: number) => index >= after && query.name === name;
    await until(() => this.queries.some(isIt), `a question of ${name}`);
    return this.queries.find(isIt) as Query;
  }

  #receive(bytes: Buffer, from: Source): void {
    this.received++;
    if ((bytes[2] & QR) !== 0) {
      this.responses.push(bytes);
      return;
    }
    const query = new Query(bytes, from, (answer) => this.send(answer, from));
    this.queries.push(query);
    this.onQuery(query);
  }
}

/** The `peers=` string of addresses `a.b.c.d:port`. */
export function peersString(...peers: readonly string[]): string {
  const bytes = peers.flatMap((peer) => {
    const [host, port] = peer.split(':');
    return [...host.split('.').map(Number), ...u16(Number(port))];
  });
  return `peers=${Buffer.from(bytes).toString('base64')}`;
}

/** An SRV record as a server pushes it; the target is dotted. */
export function srvRecord(name: string, host: string, port: number): RecordSpec {
  const labels = host.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
  return { name, type: TYPE.SRV, rdata: [...u16(0), ...u16(0), ...u16(port), ...labels, 0] };
}

/** The push of a peer `a.b.c.d:port` under `id`, with what `changes` make of it. */
export function pushBytes(id: string, peer: string, changes: MessageSpec = {}): Uint8Array {
  const [host, port] = peer.split(':');
  const additionals = [srvRecord(`${id}.${DOMAIN}`, host, Number(port))];
  return buildMessage({ id: 0x1234, flags: 0x0100, additionals, ...changes });
}

/** An OPT with a COOKIE option of both halves. */
export function cookieRecord(cookie: readonly number[], rcodeHigh = 0): RecordSpec {
  const options = [...u16(OPTION.COOKIE), ...u16(cookie.length), ...cookie];
  const opt = optRecord(1232, 0, 0, options);
  return { ...opt, ttl: rcodeHigh << 24 };
}

/** The client's half of a cookie, followed by a server's half of a test. */
export function fullCookie(cookie: readonly number[], filling = 7): number[] {
  return [...cookie.slice(0, CLIENT_COOKIE_BYTES), ...Array<number>(16).fill(filling)];
}
