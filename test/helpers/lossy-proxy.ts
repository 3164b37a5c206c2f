/**
 * A bad network in a process: a UDP proxy between clients and a server that loses, doubles and
 * reorders datagrams in both directions, as its seed has it.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { Rng } from './dns-bytes.ts';
import type { RunningServer } from './server-kind.ts';

export interface Weather {
  readonly seed: number;
  /** Of 100 datagrams in one direction: how many are lost, sent twice, and held back. */
  readonly lostPercent: number;
  readonly doubledPercent: number;
  readonly heldPercent: number;
  /** How long one is held at most, in milliseconds: others overtake it meanwhile. */
  readonly heldMs: number;
}

export const BAD_WEATHER: Omit<Weather, 'seed'> = {
  lostPercent: 20,
  doubledPercent: 10,
  heldPercent: 20,
  heldMs: 30,
};

/** Each way: what came in, what was lost, doubled and held. */
export class WayCounts {
  received = 0;
  lost = 0;
  doubled = 0;
  held = 0;
}

export class LossyProxy implements RunningServer {
  readonly host: string;
  readonly toServer = new WayCounts();
  readonly toClient = new WayCounts();
  readonly #server: RunningServer;
  readonly #weather: Weather;
  readonly #rng: Rng;
  readonly #front: Socket;
  /** A socket towards the server for each client. */
  readonly #backs = new Map<number, Socket>();
  readonly #timers = new Set<NodeJS.Timeout>();

  private constructor(front: Socket, server: RunningServer, weather: Weather) {
    this.host = server.host;
    this.#front = front;
    this.#server = server;
    this.#weather = weather;
    this.#rng = new Rng(weather.seed);
    front.on('message', (bytes, { port }) => this.#fromClient(bytes, port));
  }

  /** In front of `server` until the test ends; clients must be on loopback. */
  static async open(t: TestContext, server: RunningServer, weather: Weather): Promise<LossyProxy> {
    const front = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
    front.bind(0, server.host);
    await once(front, 'listening');
    const proxy = new LossyProxy(front, server, weather);
    t.after(() => proxy.close());
    return proxy;
  }

  get port(): number {
    return this.#front.address().port;
  }

  async close(): Promise<void> {
    this.close = async () => undefined;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const socket of [this.#front, ...this.#backs.values()]) socket.close();
  }

  #fromClient(bytes: Buffer, port: number): void {
    const { host, port: serverPort } = this.#server;
    this.#pass(this.toServer, () => this.#back(port).send(bytes, serverPort, host));
  }

  #back(clientPort: number): Socket {
    let back = this.#backs.get(clientPort);
    if (back === undefined) {
      back = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
      back.on('message', (bytes) => {
        this.#pass(this.toClient, () => this.#front.send(bytes, clientPort, this.host));
      });
      this.#backs.set(clientPort, back);
    }
    return back;
  }

  /** One datagram on its way: not at all, at once or later, once or twice. */
  #pass(way: WayCounts, send: () => void): void {
    const { lostPercent, doubledPercent } = this.#weather;
    way.received++;
    if (this.#rng.below(100) < lostPercent) {
      way.lost++;
      return;
    }
    this.#sendOrHold(way, send);
    if (this.#rng.below(100) >= doubledPercent) return;
    way.doubled++;
    this.#sendOrHold(way, send);
  }

  #sendOrHold(way: WayCounts, send: () => void): void {
    const { heldPercent, heldMs } = this.#weather;
    if (this.#rng.below(100) >= heldPercent) {
      send();
      return;
    }
    way.held++;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      send();
    }, 1 + this.#rng.below(heldMs));
    this.#timers.add(timer);
  }
}
