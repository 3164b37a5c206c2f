/**
 * A TCP receiver with its slab, counters and a fake clock, and clients for it: what the TCP tests
 * share.
 */
import assert from 'node:assert/strict';
import { createConnection, type Socket } from 'node:net';
import type { Clock } from '../../server/clock.ts';
import { TcpReceiver, type TcpReceiverOptions } from '../../server/net/tcp/tcp-receiver.ts';
import {
  allocateCounters,
  type CounterName,
  counterRow,
  inFlight,
  sumCounters,
} from '../../workers/counters.ts';
import { Overflow } from '../../workers/overflow.ts';
import { SLOT_BYTES, SLOT_LENGTH, Slab } from '../../workers/slab.ts';

/** Loopback answers within microseconds; this is for a machine that is busy with other things. */
const DEADLINE_MS = 10_000;

interface Timer {
  at: number;
  readonly periodMs: number;
  readonly fn: () => void;
}

/** A clock that stands still until it is moved, and then does what is due, in order. */
export class FakeClock implements Clock {
  #now = 1_700_000_000_000;
  readonly #timers = new Set<Timer>();

  now(): number {
    return this.#now;
  }

  get timers(): number {
    return this.#timers.size;
  }

  every(periodMs: number, fn: () => void): () => void {
    return this.#add({ at: this.#now + periodMs, periodMs, fn });
  }

  after(delayMs: number, fn: () => void): () => void {
    return this.#add({ at: this.#now + delayMs, periodMs: 0, fn });
  }

  soon(fn: () => void): void {
    this.after(0, fn);
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      let next: Timer | null = null;
      for (const timer of this.#timers) {
        if (timer.at <= end && (next === null || timer.at < next.at)) next = timer;
      }
      if (next === null) break;
      this.#now = next.at;
      if (next.periodMs > 0) next.at += next.periodMs;
      else this.#timers.delete(next);
      next.fn();
    }
    this.#now = end;
  }

  #add(timer: Timer): () => void {
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }
}

export interface TcpHouse {
  readonly tcp: TcpReceiver;
  readonly slab: Slab;
  readonly overflow: Overflow;
  readonly clock: FakeClock;
  readonly port: number;
  readonly slotCount: number;
  readonly sums: () => Record<CounterName, number>;
  /** Slots handed to onBatch that `echo` or a test has not released. */
  readonly taken: number[];
}

/** The first slot of the receiver in the tests: numbers that are not 0 show what is mixed up. */
export const FIRST_SLOT = 16;

/** Opens a receiver on 127.0.0.1 that is not started yet. */
export async function openTcpHouse(options: Partial<TcpReceiverOptions> = {}): Promise<TcpHouse> {
  const slotCount = options.slotCount ?? 128;
  const slab = Slab.allocate(FIRST_SLOT + slotCount);
  const overflow = new Overflow(Overflow.allocate(slotCount), FIRST_SLOT);
  const counters = allocateCounters(1);
  const clock = new FakeClock();
  const tcp = new TcpReceiver({
    slab,
    overflow,
    firstSlot: FIRST_SLOT,
    slotCount,
    receiver: 5,
    counters: counterRow(counters, 0),
    clock,
    maxConnections: 64,
    maxConnectionsPerPrefix: 64,
    idleMs: 10_000,
    ...options,
  });
  const { port } = await tcp.listen('127.0.0.1', 0);
  return {
    tcp,
    slab,
    overflow,
    clock,
    port,
    slotCount,
    sums: () => sumCounters(counters),
    taken: [],
  };
}

/** Answers every message with itself, at once. */
export function startTcpEcho({ tcp }: TcpHouse): void {
  tcp.start((slots, count) => {
    tcp.send(slots, count);
    tcp.release(slots, count);
  });
}

/** Keeps every message, for the test to answer. */
export function startTcpKeep({ tcp, taken }: TcpHouse): void {
  tcp.start((slots, count) => {
    for (let i = 0; i < count; i++) taken.push(slots[i]);
  });
}

/** Answers slots that were kept, as they are, and releases them. */
export function answerTcp(house: TcpHouse, slots: readonly number[]): void {
  for (const slot of slots) house.taken.splice(house.taken.indexOf(slot), 1);
  house.tcp.send(Int32Array.from(slots), slots.length);
  house.tcp.release(Int32Array.from(slots), slots.length);
}

/** Releases slots that were kept, without an answer. */
export function dropTcp(house: TcpHouse, slots: readonly number[]): void {
  for (const slot of slots) {
    house.taken.splice(house.taken.indexOf(slot), 1);
    setTcpLength(house, slot, 0);
  }
  house.tcp.release(Int32Array.from(slots), slots.length);
}

/**
 * Asks and answers small messages until those of `client` weigh next to nothing, as of any client
 * whose answers are short. All messages of a house that keeps them are answered.
 */
export async function lightenTcp(house: TcpHouse, client: TcpClient): Promise<void> {
  for (let i = 0; i < 32; i++) {
    const count = client.answers.length + 1;
    client.ask(numbered(i));
    await client.answered(count, () => answerTcp(house, [...house.taken]));
    house.clock.advance(1);
  }
  client.answers.length = 0;
}

export function setTcpLength({ slab }: TcpHouse, slot: number, length: number): void {
  slab.i32[(slot * SLOT_BYTES + SLOT_LENGTH) >>> 2] = length;
}

/** A copy of the message in a slot. */
export function tcpMessage({ slab, overflow }: TcpHouse, slot: number): Buffer {
  const start = overflow.start(slot);
  const length = slab.i32[(slot * SLOT_BYTES + SLOT_LENGTH) >>> 2];
  return Buffer.from(overflow.bytes.slice(start, start + length));
}

/**
 * Closes the receiver and holds the books to be balanced: no connection, slot, byte or timer is
 * left. `unanswered`: messages that were dropped with nothing counted, as a test's lane.
 */
export async function closeTcpHouse(house: TcpHouse, unanswered = 0): Promise<void> {
  const closing = house.tcp.close();
  let isClosed = false;
  void closing.then(() => {
    isClosed = true;
  });
  await until(() => {
    house.clock.advance(10);
    return isClosed;
  }, 'the close');
  const { tcp } = house;
  assert.equal(inFlight(house.sums()), unanswered, JSON.stringify(house.sums()));
  assert.equal(tcp.freeSlots, house.slotCount, 'slots lost');
  assert.deepEqual([tcp.connections, tcp.heldBytes, tcp.unsentBytes], [0, 0, 0]);
  assert.equal(house.clock.timers, 0, 'timers left');
}

/** The bytes of a message on the wire. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.alloc(2 + message.length);
  framed.writeUInt16BE(message.length);
  framed.set(message, 2);
  return framed;
}

/** A message of `length` bytes that begins with a number. */
export function numbered(number: number, length = 12): Buffer {
  const message = Buffer.alloc(length, number & 0xff);
  message.writeUInt32BE(number);
  return message;
}

/** A client that keeps what it receives; paused until `resume` when it is not to read. */
export class TcpClient {
  readonly socket: Socket;
  /** Answers, whole. */
  readonly answers: Buffer[] = [];
  /** The server has ended or closed the connection. */
  ended = false;
  closed = false;
  error: NodeJS.ErrnoException | null = null;
  #rest: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('end', () => {
      this.ended = true;
    });
    socket.on('error', (error) => {
      this.error = error;
    });
    socket.on('close', () => {
      this.closed = true;
    });
  }

  static async open(port: number, host = '127.0.0.1', localAddress?: string): Promise<TcpClient> {
    const from = localAddress === undefined ? {} : { localAddress };
    const socket = createConnection({ port, host, allowHalfOpen: false, ...from });
    const client = new TcpClient(socket);
    await until(() => !socket.connecting || client.closed, 'the connection');
    return client;
  }

  /** Sends messages in one write. */
  ask(...messages: Uint8Array[]): void {
    this.socket.write(Buffer.concat(messages.map(frame)));
  }

  async answered(count: number, turn: () => void = () => undefined): Promise<void> {
    await until(() => {
      turn();
      return this.answers.length >= count;
    }, `${count} answers, ${this.answers.length} came`);
  }

  /** The numbers of the answers, of messages that `numbered` made. */
  numbers(): number[] {
    return this.answers.map((answer) => answer.readUInt32BE(0));
  }

  close(): void {
    this.socket.destroy();
  }

  #onData(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 2 && this.#rest.length >= 2 + this.#rest.readUInt16BE(0)) {
      const end = 2 + this.#rest.readUInt16BE(0);
      this.answers.push(this.#rest.subarray(2, end));
      this.#rest = this.#rest.subarray(end);
    }
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

/** Turns the event loop a few times: for what must not happen. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
