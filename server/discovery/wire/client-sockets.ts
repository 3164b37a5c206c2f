/**
 * The sockets of a client: one for UDP of each family, opened when first needed, and a TCP
 * connection per question that does not fit in a datagram. The thin shell around WireClient.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { lookup } from 'node:dns';
import { connect, isIP, isIPv6 } from 'node:net';
import type { Clock } from '../../clock.ts';
import { formatAddress, scopeIndex, scopeName, writeAddress } from '../../net/ip-address.ts';
import type { Destination } from './questions.ts';

/** As long as a patient resolver waits for TCP. */
const TCP_TIMEOUT_MS = 5000;
/** Connections at once; further questions wait. */
const MOST_CONNECTIONS = 32;
/** Questions that wait for a connection. */
const MOST_TCP_WAITING = 1024;
/** What libuv asks the kernel to hold for us: a crowd of answers comes in one burst. */
const RECEIVE_BUFFER_BYTES = 1 << 20;

export interface ClientSocketsConfig {
  /** The user's socket, or null. */
  readonly socket: Socket | null;
  /** The local address to ask from, or null. */
  readonly host: string | null;
  readonly clock: Clock;
  readonly onMessage: (bytes: Uint8Array, address: string, port: number) => void;
  readonly onSent: (bytes: Uint8Array, to: Destination) => void;
  /** A socket that cannot be bound. */
  readonly onError: (error: Error) => void;
}

type TcpDone = (answer: Uint8Array | null) => void;

export class ClientSockets {
  readonly #config: ClientSocketsConfig;
  #udp4: Socket | null = null;
  #udp6: Socket | null = null;
  #isClosed = false;
  /** Sockets that could not be bound: the next send would bind them to any address. */
  readonly #unbound = new Set<Socket>();
  #connections = 0;
  readonly #tcpWaiting: (() => void)[] = [];
  readonly #abandon = new Set<() => void>();

  constructor(config: ClientSocketsConfig) {
    this.#config = config;
    const { socket } = config;
    if (socket === null) return;
    this.#attach(socket);
    if (isOfFamily6(socket)) this.#udp6 = socket;
    else this.#udp4 = socket;
  }

  /** Sends a datagram; what the system refuses to send is as good as lost. */
  send(bytes: Uint8Array, to: Destination): void {
    if (this.#isClosed) return;
    this.#config.onSent(bytes, to);
    const socket = isIPv6(to.address) ? this.#open6() : this.#open4();
    if (this.#unbound.has(socket)) return;
    try {
      socket.send(bytes, to.port, to.address, () => undefined);
    } catch (error) {
      // A socket of the user's that he has closed: as good as lost too.
      if (!isNotRunning(error)) throw error;
    }
  }

  /** Asks by TCP; null when there is no answer within `timeoutMs`, and 5 seconds at most. */
  askTcp(bytes: Uint8Array, to: Destination, timeoutMs: number, done: TcpDone): void {
    if (this.#isClosed || this.#tcpWaiting.length >= MOST_TCP_WAITING) done(null);
    else if (this.#connections >= MOST_CONNECTIONS) {
      this.#tcpWaiting.push(() => this.#connect(bytes, to, timeoutMs, done));
    } else this.#connect(bytes, to, timeoutMs, done);
  }

  /** Closes all of them; `done` is called once they are closed. */
  close(done: () => void): void {
    this.#isClosed = true;
    this.#tcpWaiting.length = 0;
    for (const abandon of this.#abandon) abandon();
    const open = [this.#udp4, this.#udp6].filter((socket) => socket !== null);
    let left = open.length;
    if (left === 0) this.#config.clock.soon(done);
    for (const socket of open) {
      const closed = () => {
        if (--left === 0) done();
      };
      try {
        socket.close(closed);
      } catch {
        // The user closed it.
        this.#config.clock.soon(closed);
      }
    }
  }

  #open4(): Socket {
    this.#udp4 ??= this.#open('udp4');
    return this.#udp4;
  }

  #open6(): Socket {
    this.#udp6 ??= this.#open('udp6');
    return this.#udp6;
  }

  #open(type: 'udp4' | 'udp6'): Socket {
    const socket = createSocket({
      type,
      ipv6Only: type === 'udp6',
      recvBufferSize: RECEIVE_BUFFER_BYTES,
      // Addresses are given as such: no look-up per datagram.
      lookup: (host, _options, found) => found(null, host, type === 'udp6' ? 6 : 4),
    });
    const onError = () => this.#unbound.add(socket);
    socket.once('error', onError);
    socket.once('listening', () => socket.off('error', onError));
    this.#attach(socket);
    const { host } = this.#config;
    const isOurs = host !== null && isIP(host) === (type === 'udp6' ? 6 : 4);
    socket.bind(0, isOurs ? host : undefined);
    return socket;
  }

  #attach(socket: Socket): void {
    socket.on('message', (bytes: Uint8Array, from: RemoteInfo) =>
      this.#config.onMessage(bytes, from.address, from.port),
    );
    socket.on('error', (error) => this.#config.onError(error));
  }

  #connect(bytes: Uint8Array, to: Destination, timeoutMs: number, done: TcpDone): void {
    this.#connections++;
    const { clock, host } = this.#config;
    const isOurs = host !== null && isIPv6(host) === isIPv6(to.address);
    const socket = connect({
      host: to.address,
      port: to.port,
      ...(isOurs ? { localAddress: host } : {}),
    });
    let isOver = false;
    const finish = (answer: Uint8Array | null) => {
      if (isOver) return;
      isOver = true;
      stopTimer();
      this.#abandon.delete(abandon);
      socket.destroy();
      this.#connections--;
      if (this.#connections < MOST_CONNECTIONS) this.#tcpWaiting.shift()?.();
      done(answer);
    };
    const abandon = () => finish(null);
    const stopTimer = clock.after(Math.min(timeoutMs, TCP_TIMEOUT_MS), abandon);
    this.#abandon.add(abandon);
    socket.on('error', abandon);
    socket.on('close', abandon);
    socket.write(framed(bytes));
    readFrame(socket, finish);
  }
}

/** Calls back with the first message of a stream of framed ones (RFC 1035 4.2.2). */
function readFrame(
  stream: NodeJS.ReadableStream,
  done: (message: Uint8Array | null) => void,
): void {
  let chunks: Uint8Array[] = [];
  let length = 0;
  stream.on('data', (chunk: Uint8Array) => {
    chunks.push(chunk);
    length += chunk.length;
    if (length < 2) return;
    const all = chunks.length === 1 ? chunk : Buffer.concat(chunks);
    chunks = [all];
    const wanted = 2 + ((all[0] << 8) | all[1]);
    if (length >= wanted) done(all.subarray(2, wanted));
  });
}

function framed(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(2 + bytes.length);
  out[0] = bytes.length >> 8;
  out[1] = bytes.length;
  out.set(bytes, 2);
  return out;
}

function isNotRunning(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_SOCKET_DGRAM_NOT_RUNNING';
}

export function isOfFamily6(socket: Socket): boolean {
  return 'type' in socket && socket.type === 'udp6';
}

/** The addresses of a host, those of the family `first` first. */
export function resolveHost(
  host: string,
  first: 4 | 6,
  done: (addresses: readonly string[], error: Error | null) => void,
): void {
  if (isIP(host) !== 0) {
    const [address, error] = canonicalOrError(host);
    done(error === null ? [address] : [], error);
    return;
  }
  lookup(host, { all: true, verbatim: true }, (error, found) => {
    if (error !== null) {
      done([], new Error(`cannot find ${host}: ${error.code ?? error.message}`, { cause: error }));
      return;
    }
    const rank = ({ family }: { readonly family: number }) => (family === first ? 0 : 1);
    const sorted = [...found].sort((a, b) => rank(a) - rank(b));
    done(
      sorted.map(({ address }) => canonical(address)),
      null,
    );
  });
}

/** An error for a scope that is none of this machine's interfaces. */
function canonicalOrError(address: string): [string, Error | null] {
  try {
    return [canonical(address), null];
  } catch (error) {
    return ['', error instanceof Error ? error : new Error(String(error))];
  }
}

/** As the system spells it when a datagram comes from there. */
function canonical(address: string): string {
  const bytes = new Uint8Array(16);
  writeAddress(address, bytes, 0);
  const text = formatAddress(bytes, 0);
  if (!/^fe[89ab]/.test(text)) return text;
  const index = scopeIndex(address);
  return index === 0 ? text : `${text}%${scopeName(index)}`;
}
