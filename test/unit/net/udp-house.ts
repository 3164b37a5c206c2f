/** A UDP socket with its slab and counters, and a client for it: what the socket tests share. */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { describeBackend, openUdp } from '../../../server/net/open-udp.ts';
import type { UdpBackend, UdpSocket, UdpSocketOptions } from '../../../server/net/udp-socket.ts';
import {
  allocateCounters,
  type CounterName,
  counterRow,
  inFlight,
  sumCounters,
} from '../../../workers/counters.ts';
import { SLOT_BYTES, SLOT_HEADER_BYTES, SLOT_LENGTH, Slab } from '../../../workers/slab.ts';

/** Loopback answers within microseconds; this is for a machine that is busy with other things. */
const DEADLINE_MS = 10_000;

/** Why a backend cannot be tested here, or false. */
export function missing(backend: UdpBackend): string | false {
  if (backend === 'dgram') return false;
  const found = describeBackend('auto');
  return found.backend === 'batch' ? false : found.reason;
}

export interface House {
  readonly socket: UdpSocket;
  readonly slab: Slab;
  readonly counterBuffer: SharedArrayBuffer;
  readonly sums: () => Record<CounterName, number>;
}

/** Opens a socket with `slotCount` slots as receiver 3, on 127.0.0.1 and any port. */
export async function openHouse(
  backend: UdpBackend,
  options: Partial<UdpSocketOptions> = {},
): Promise<House> {
  const slab = options.slab ?? Slab.allocate((options.firstSlot ?? 0) + (options.slotCount ?? 256));
  const counterBuffer = allocateCounters(2);
  const socket = await openUdp(
    {
      address: '127.0.0.1',
      port: 0,
      slab,
      firstSlot: 0,
      slotCount: slab.slotCount - (options.firstSlot ?? 0),
      receiver: 3,
      counters: counterRow(counterBuffer, 0),
      ...options,
    },
    backend,
  );
  return { socket, slab, counterBuffer, sums: () => sumCounters(counterBuffer) };
}

/** Sends every datagram back where it came from. */
export function startEcho({ socket }: House): void {
  socket.start((slots, count) => {
    socket.send(slots, count);
    socket.release(slots, count);
  });
}

/** Closes the socket and holds the books to be balanced: nothing in flight, no slot lost. */
export async function closeHouse(house: House): Promise<void> {
  await house.socket.close();
  assert.equal(inFlight(house.sums()), 0, `in flight: ${JSON.stringify(house.sums())}`);
  assert.equal(house.socket.freeSlots, house.slab.slotCount, 'slots lost');
}

export interface Answer {
  readonly text: string;
  readonly address: string;
  readonly port: number;
}

/** A client that keeps what it receives. */
export class Client {
  readonly socket: Socket;
  readonly answers: Answer[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('message', (data, from) => {
      this.answers.push({ text: data.toString('latin1'), address: from.address, port: from.port });
    });
  }

  static async open(address = '127.0.0.1'): Promise<Client> {
    const socket = createSocket({
      type: address.includes(':') ? 'udp6' : 'udp4',
      recvBufferSize: 4 * 1024 * 1024,
      lookup: (host, _options, done) => done(null, host, address.includes(':') ? 6 : 4),
    });
    await new Promise<void>((resolve) => socket.bind(0, address, resolve));
    return new Client(socket);
  }

  get port(): number {
    return this.socket.address().port;
  }

  send(data: string | Uint8Array, port: number, address: string): void {
    this.socket.send(data, port, address);
  }

  async answered(count: number): Promise<void> {
    await until(() => this.answers.length >= count, `${count} answers`);
  }

  close(): void {
    this.socket.close();
  }
}

/** Turns the event loop until `condition` holds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!condition()) {
    if (Date.now() > deadline) assert.fail(`waited ${DEADLINE_MS} ms for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export function slotText(slab: Slab, slot: number): string {
  const at = slot * SLOT_BYTES;
  const length = slab.i32[(at + SLOT_LENGTH) >>> 2];
  const data = slab.bytes.slice(at + SLOT_HEADER_BYTES, at + SLOT_HEADER_BYTES + length);
  return Buffer.from(data).toString('latin1');
}
