/** A client of one TCP connection: one question, one decoded answer. */
import { EventEmitter, on, once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { ANSWER_TIMEOUT_MS, Asker, idOf, isResponseTo } from './asker.ts';
import { frame } from './tcp-client.ts';

export class TcpAsker extends Asker {
  readonly socket: Socket;
  /** Emits `answer` with each message, whole. */
  readonly #answers = new EventEmitter();
  #rest: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    super();
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('close', () => this.#answers.emit('error', new Error('the connection is closed')));
    // Without a question under way that is nothing to fail for.
    this.#answers.on('error', () => undefined);
    socket.on('error', () => undefined);
  }

  /** A connection from `from` to host:port; closed when the test ends. */
  static async open(
    t: TestContext,
    port: number,
    { host = '127.0.0.1', from = '127.0.0.1' } = {},
  ): Promise<TcpAsker> {
    const socket = createConnection({ port, host, localAddress: from, noDelay: true });
    t.after(() => socket.destroy());
    await once(socket, 'connect');
    return new TcpAsker(socket);
  }

  get localPort(): number {
    return this.socket.localPort ?? 0;
  }

  async exchange(bytes: Uint8Array): Promise<Buffer> {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const answers = on(this.#answers, 'answer', { signal });
    this.socket.write(frame(bytes));
    for await (const [message] of answers) {
      if (isResponseTo(message, idOf(bytes))) return message;
    }
    throw new Error('the connection ended');
  }

  #onData(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 2 && this.#rest.length >= 2 + this.#rest.readUInt16BE(0)) {
      const end = 2 + this.#rest.readUInt16BE(0);
      this.#answers.emit('answer', this.#rest.subarray(2, end));
      this.#rest = this.#rest.subarray(end);
    }
  }
}
