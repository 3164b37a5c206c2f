/**
 * A crowd of attackers on loopback: one UDP socket for each address, all bytes counted, and a
 * proven client that goes on working beside them.
 */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import {
  AMPLIFICATION_BURST_BYTES,
  AMPLIFICATION_BYTES_PER_SECOND,
  AMPLIFICATION_FACTOR,
  IPV4_UDP_HEADER_BYTES,
} from '../../server/limits/rate-limiter.ts';
import { inFlight } from '../../workers/counters.ts';
import type { TestServer } from '../helpers/appliance.ts';
import { DOMAIN, decodePacket, type Packet, queryBytes, txtOf } from '../helpers/lane-harness.ts';

/** Less than the smallest receive buffer holds: nothing that was sent is lost. */
export const BURST = 50;
/** Only ends a test that would hang. */
const PATIENCE_MS = 30_000;
/** Nothing is lost on loopback as long as it is read: this is for a machine that is not. */
const RETRY_MS = 5000;
const IDS = 65_536;

/** Turns the event loop until `condition` holds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!condition()) {
    assert.ok(performance.now() < deadline, `waited for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Waits until nothing moves: then the counters balance. */
export async function assertBalanced(server: TestServer): Promise<void> {
  await until(() => inFlight(server.counters()) === 0, 'the balance of the counters').catch(() =>
    assert.equal(inFlight(server.counters()), 0, JSON.stringify(server.counters())),
  );
}

export interface Attacker {
  readonly address: string;
  readonly socket: Socket;
  token: string;
}

async function boundSocket(t: TestContext, address: string): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(0, address);
  await once(socket, 'listening');
  t.after(() => socket.close());
  return socket;
}

/** Attackers with an address each. Message ids are the crowd's own: they are written over. */
export class Crowd {
  readonly attackers: Attacker[] = [];
  sent = 0;
  answered = 0;
  /** Pushes, which are no answers. */
  pushed = 0;
  readonly #server: TestServer;
  /** By prefix: bytes of answers beyond three times their questions. */
  readonly #excess = new Map<string, number>();
  readonly #answersTo = new Map<string, number>();
  readonly #asked = new Uint16Array(IDS);
  #firstMs = Number.NaN;

  private constructor(server: TestServer) {
    this.#server = server;
  }

  static async open(t: TestContext, server: TestServer, addresses: string[]): Promise<Crowd> {
    const crowd = new Crowd(server);
    for (const address of addresses) {
      const socket = await boundSocket(t, address);
      socket.on('message', (message) => crowd.#receive(address, message));
      crowd.attackers.push({ address, socket, token: '' });
    }
    return crowd;
  }

  /** Gets a token for each attacker. */
  async learnTokens(): Promise<void> {
    for (const attacker of this.attackers) {
      const answer = once(attacker.socket, 'message') as Promise<[Buffer]>;
      this.#send(attacker, queryBytes({ name: DOMAIN }));
      attacker.token = txtOf(decodePacket((await answer)[0])).get('token') ?? '';
    }
  }

  /** `count` datagrams from one after the other, in bursts; `between` them, something else. */
  async flood(
    count: number,
    message: (n: number, attacker: Attacker) => Uint8Array,
    between: () => Promise<void>,
  ): Promise<void> {
    for (let n = 0; n < count; ) {
      const received = this.#server.counters().received;
      let burst = 0;
      for (; burst < BURST && n < count; burst++, n++) {
        const attacker = this.attackers[n % this.attackers.length];
        this.#send(attacker, message(n, attacker));
      }
      await until(() => this.#server.counters().received >= received + burst, 'the burst');
      await between();
    }
    await assertBalanced(this.#server);
  }

  /**
   * That no prefix was sent more than promised: three times its questions, a burst, and so much a
   * second.
   */
  assertAmplification(): void {
    const seconds = (performance.now() - this.#firstMs) / 1000;
    const budget = AMPLIFICATION_BURST_BYTES + seconds * AMPLIFICATION_BYTES_PER_SECOND;
    for (const [prefix, excess] of this.#excess) {
      assert.ok(excess <= budget, `${prefix} got ${excess} bytes over 3x in ${seconds} s`);
    }
  }

  /**
   * That no prefix was answered more often than promised: so often a second, and half as often
   * without records, or with an error.
   */
  assertReplies(perSecond: number): void {
    const seconds = (performance.now() - this.#firstMs) / 1000;
    const most = Math.ceil(1.5 * perSecond * (1 + seconds));
    for (const [prefix, count] of this.#answersTo) {
      assert.ok(count <= most, `${count} answers to ${prefix} in ${seconds} s`);
    }
  }

  #send(attacker: Attacker, bytes: Uint8Array): void {
    if (Number.isNaN(this.#firstMs)) this.#firstMs = performance.now();
    const id = this.sent++ % IDS;
    const message = Buffer.from(bytes);
    if (message.length >= 2) message.writeUInt16BE(id);
    this.#asked[id] = message.length;
    attacker.socket.send(message, this.#server.port, '127.0.0.1');
  }

  #receive(address: string, message: Buffer): void {
    const isResponse = (message[2] & 0x80) !== 0;
    if (!isResponse) {
      this.pushed++;
      return;
    }
    this.answered++;
    const asked = this.#asked[message.readUInt16BE(0)] + IPV4_UDP_HEADER_BYTES;
    const excess = message.length + IPV4_UDP_HEADER_BYTES - AMPLIFICATION_FACTOR * asked;
    const prefix = prefixOf(address);
    this.#answersTo.set(prefix, (this.#answersTo.get(prefix) ?? 0) + 1);
    if (excess > 0) this.#excess.set(prefix, (this.#excess.get(prefix) ?? 0) + excess);
  }
}

function prefixOf(address: string): string {
  return address.slice(0, address.lastIndexOf('.'));
}

/** A client with a valid token: whatever it asks must be answered. */
export class ProvenClient {
  readonly address: string;
  /** Datagrams sent, each of which is answered. */
  asked = 0;
  readonly #server: TestServer;
  readonly #socket: Socket;
  #token = '';
  #id = 0;

  private constructor(server: TestServer, socket: Socket, address: string) {
    this.#server = server;
    this.#socket = socket;
    this.address = address;
  }

  static async open(t: TestContext, server: TestServer, address = '127.200.7.1') {
    const client = new ProvenClient(server, await boundSocket(t, address), address);
    client.#token = txtOf(await client.#ask(DOMAIN, [])).get('token') ?? '';
    return client;
  }

  /** Looks a name up. */
  lookup(id: string): Promise<Packet> {
    return this.#ask(`${id}.${DOMAIN}`, [`token=${this.#token}`]);
  }

  /** Announces a port under a name, or renews that. */
  announce(id: string, port: number): Promise<Packet> {
    return this.#ask(`${id}.${DOMAIN}`, [`token=${this.#token}`, `announce=${port}`]);
  }

  /** Asks until there is an answer. */
  async #ask(name: string, strings: string[]): Promise<Packet> {
    this.#id = (this.#id + 1) % IDS;
    const id = this.#id;
    const bytes = queryBytes({ name, id, ...(strings.length > 0 ? { strings } : {}) });
    const send = (): void => {
      this.asked++;
      this.#socket.send(bytes, this.#server.port, '127.0.0.1');
    };
    const timer = setInterval(send, RETRY_MS);
    send();
    try {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      for (;;) {
        const [answer] = (await once(this.#socket, 'message', { signal })) as [Buffer];
        if (answer.readUInt16BE(0) !== id || (answer[2] & 0x80) === 0) continue;
        return decodePacket(answer);
      }
    } finally {
      clearInterval(timer);
    }
  }
}
