/** A plain UDP client over node:dgram: one question, one decoded answer. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import {
  type Asking,
  DOMAIN,
  decodePacket,
  type Packet,
  queryBytes,
  txtOf,
} from './lane-harness.ts';

/** Answers come over loopback: this only ends a test that would hang. */
const ANSWER_TIMEOUT_MS = 5000;

export class UdpAsker {
  readonly socket: Socket;
  readonly #port: number;
  readonly #host: string;
  #id = 1;

  private constructor(socket: Socket, host: string, port: number) {
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

  async ask(asking: Asking): Promise<Packet> {
    const id = this.#id++;
    return decodePacket(await this.exchange(Buffer.from(queryBytes({ ...asking, id }))));
  }

  /** Sends bytes and waits for nothing. */
  send(bytes: Uint8Array): void {
    this.socket.send(bytes, this.#port, this.#host);
  }

  /** Sends bytes and waits for the next datagram. */
  async exchange(bytes: Uint8Array): Promise<Buffer> {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const answer = once(this.socket, 'message', { signal });
    this.socket.send(bytes, this.#port, this.#host);
    const [message] = (await answer) as [Buffer];
    return message;
  }

  /** Announces `ports` of this socket's address under `id`. */
  async announceAll(id: string, ports: Iterable<number>): Promise<void> {
    const token = txtOf(await this.ask({ name: DOMAIN })).get('token');
    for (const port of ports) {
      await this.ask({
        name: `${id}.${DOMAIN}`,
        strings: [`token=${token}`, `announce=${port}`],
      });
    }
  }
}
