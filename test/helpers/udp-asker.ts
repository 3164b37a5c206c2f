/** A plain UDP client over node:dgram: one question, one decoded answer. */
import { createSocket, type Socket } from 'node:dgram';
import { on, once } from 'node:events';
import type { TestContext } from 'node:test';
import { ANSWER_TIMEOUT_MS, Asker, idOf, isResponseTo } from './asker.ts';

export class UdpAsker extends Asker {
  readonly socket: Socket;
  readonly #port: number;
  readonly #host: string;

  private constructor(socket: Socket, host: string, port: number) {
    super();
    this.socket = socket;
    this.#host = host;
    this.#port = port;
  }

  /** A socket at `from` that asks host:port; closed when the test ends. */
  static async open(
    t: TestContext,
    port: number,
    { host = '127.0.0.1', from = '127.0.0.1' } = {},
  ): Promise<UdpAsker> {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    socket.bind(0, from);
    await once(socket, 'listening');
    t.after(() => socket.close());
    return new UdpAsker(socket, host, port);
  }

  get localPort(): number {
    return this.socket.address().port;
  }

  /** Sends bytes and waits for nothing. */
  send(bytes: Uint8Array): void {
    this.socket.send(bytes, this.#port, this.#host);
  }

  async exchange(bytes: Uint8Array): Promise<Buffer> {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const messages = on(this.socket, 'message', { signal });
    this.send(bytes);
    for await (const [message] of messages) {
      if (isResponseTo(message, idOf(bytes))) return message;
    }
    throw new Error('the socket ended');
  }

  /** Keeps what the server sends unasked from now on. */
  keepPushes(): Buffer[] {
    const pushes: Buffer[] = [];
    this.socket.on('message', (message: Buffer) => {
      if ((message[2] & 0x80) === 0) pushes.push(message);
    });
    return pushes;
  }
}
