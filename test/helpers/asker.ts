/** What a client of a test can do over any transport. */
import {
  type Asking,
  DOMAIN,
  decodePacket,
  type Packet,
  queryBytes,
  txtOf,
} from './lane-harness.ts';

/** Answers come over loopback: this only ends a test that would hang. */
export const ANSWER_TIMEOUT_MS = 10_000;

export abstract class Asker {
  #id = 1;

  /** The port it asks from. */
  abstract get localPort(): number;

  /** Sends a query's bytes and waits for the response of the same id. */
  abstract exchange(bytes: Uint8Array): Promise<Buffer>;

  async ask(asking: Asking): Promise<Packet> {
    const id = this.#id++ & 0xffff;
    return decodePacket(await this.exchange(queryBytes({ ...asking, id })));
  }

  /** The token of this client's address. */
  async token(): Promise<string> {
    return txtOf(await this.ask({ name: DOMAIN })).get('token') ?? '';
  }

  /** Announces `ports` of this client's address under `id`. */
  async announceAll(id: string, ports: Iterable<number>): Promise<void> {
    const token = await this.token();
    for (const port of ports) {
      const strings = [`token=${token}`, `announce=${port}`];
      await this.ask({ name: `${id}.${DOMAIN}`, strings });
    }
  }
}

/** Whether `message` is the response to the query `id`. */
export function isResponseTo(message: Uint8Array, id: number): boolean {
  const isResponse = message.length >= 12 && (message[2] & 0x80) !== 0;
  return isResponse && (message[0] << 8) + message[1] === id;
}

export function idOf(query: Uint8Array): number {
  return (query[0] << 8) + query[1];
}
