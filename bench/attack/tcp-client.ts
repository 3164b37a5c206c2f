/** A client that asks over TCP, from the proven client's network, one connection a question. */
import { createConnection, type Socket } from 'node:net';
import { decodePacket, peersOf, queryBytes } from '../../test/helpers/lane-harness.ts';
import { FIRST_NAME, FIRST_PORT, hostOf, NAMES } from './client.ts';
import { DOMAIN, idOf } from './messages.ts';
import { addressText, CLIENT_PREFIX } from './sources.ts';

const EVERY_MS = 50;
const TIMEOUT_MS = 1000;
/** A crowded name answers with a choice of its peers. */
const LOOKUPS_PER_NAME = 50;

/** Asks `message` over a connection of its own; null when it is refused, closed or late. */
function ask(host: string, port: number, message: Uint8Array): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const localAddress = addressText(CLIENT_PREFIX + 200);
    const socket: Socket = createConnection({ host, port, localAddress });
    let answer = Buffer.alloc(0);
    const done = (result: Buffer | null): void => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(TIMEOUT_MS, () => done(null));
    socket.on('error', () => done(null));
    socket.on('close', () => done(null));
    socket.on('data', (chunk) => {
      answer = Buffer.concat([answer, chunk]);
      if (answer.length < 2 || answer.length < 2 + answer.readUInt16BE(0)) return;
      done(answer.subarray(2));
    });
    const frame = Buffer.alloc(2);
    frame.writeUInt16BE(message.length);
    socket.write(Buffer.concat([frame, message]));
  });
}

/** Opens a connection every EVERY_MS and asks once. */
export class TcpClient {
  tried = 0;
  answered = 0;
  readonly #host: string;
  readonly #port: number;
  readonly #message = queryBytes({ name: `${idOf(FIRST_NAME)}.${DOMAIN}` });
  #next = 0;

  constructor(host: string, port: number) {
    this.#host = host;
    this.#port = port;
  }

  step(nowMs: number): void {
    if (nowMs < this.#next) return;
    this.#next = nowMs + EVERY_MS;
    this.tried++;
    void ask(this.#host, this.#port, this.#message).then((answer) => {
      if (answer !== null) this.answered++;
    });
  }
}

/** How many of the proven client's NAMES still lead to it, asked over TCP. */
export async function countKept(host: string, port: number): Promise<number> {
  let kept = 0;
  for (let name = 0; name < NAMES; name++) {
    const wanted = `${addressText(hostOf(name))}:${FIRST_PORT + name}`;
    const message = queryBytes({ name: `${idOf(FIRST_NAME + name)}.${DOMAIN}` });
    for (let tries = 0; tries < LOOKUPS_PER_NAME; tries++) {
      const answer = await ask(host, port, message);
      if (answer === null || !peersOf(decodePacket(answer)).includes(wanted)) continue;
      kept++;
      break;
    }
  }
  return kept;
}
