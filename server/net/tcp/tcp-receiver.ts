/**
 * DNS over TCP (RFC 7766): all connections of all listening sockets, as one receiver.
 *
 *   accept -> connections.ts -> framer.ts -> intake.ts -> onBatch ... answer ... output.ts
 *
 * Queries may be pipelined and are answered in whatever order the answers come. Everything is
 * bounded: connections in all and per network, messages in flight, memory for incomplete messages
 * and for answers nobody reads, and time. One tick looks after all deadlines.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { COUNTER, type CounterRow } from '../../../workers/counters.ts';
import type { Overflow } from '../../../workers/overflow.ts';
import { SLOT_BYTES, SLOT_CONNECTION, SLOT_GENERATION, type Slab } from '../../../workers/slab.ts';
import type { Clock } from '../../clock.ts';
import type { Receiver } from '../receiver.ts';
import { Connections, numberOf, READING } from './connections.ts';
import { HELD_BYTES, Intake, type OnBatch } from './intake.ts';
import { Output, UNSENT_BYTES } from './output.ts';
import { Work } from './work.ts';

/** From the first byte of a message to its last: who sends a byte at a time has this long. */
export const MESSAGE_MS = 5_000;
/** How often deadlines are looked at: how late one may be noticed. */
export const TCP_TICK_MS = 250;
/** How long a close waits for clients to take their answers: a part of the 2 s a stop may take. */
export const TCP_CLOSE_WAIT_MS = 500;
/** Connections the system holds until they are accepted; it may grant fewer. */
const BACKLOG = 511;
/** node:net then says `drain` after any output it could not send at once, however little. */
const HIGH_WATER_BYTES = 1;
const MOST_CONNECTIONS = 1_000_000;

export interface TcpReceiverOptions {
  slab: Slab;
  /** One block for each of the receiver's slots. */
  overflow: Overflow;
  /** The receiver's own slots: `slotCount` from `firstSlot` on. */
  firstSlot: number;
  slotCount: number;
  /** Written into each slot as what it came by. */
  receiver: number;
  counters: CounterRow;
  clock: Clock;
  /** At the cap a new one takes the place of one that does nothing, if there is one. */
  maxConnections: number;
  /** From one /24, or IPv6 /56: the same, within it. */
  maxConnectionsPerPrefix: number;
  /** A connection that was not used for this long is closed. */
  idleMs: number;
  /** Memory for incomplete and waiting messages; HELD_BYTES unless given. */
  heldBytes?: number;
  /** Memory for answers that are not read; UNSENT_BYTES unless given. */
  unsentBytes?: number;
}

export class TcpReceiver implements Receiver {
  readonly receiver: number;
  readonly mayDrop = false;
  readonly #options: TcpReceiverOptions;
  readonly #counters: CounterRow;
  readonly #clock: Clock;
  readonly #table: Connections;
  readonly #intake: Intake;
  readonly #output: Output;
  readonly #work: Work;
  readonly #servers: Server[] = [];
  readonly #handlers: SocketHandlers;
  #stopTick: (() => void) | null = null;
  #stopped = false;
  #closing: Promise<void> | null = null;
  /** Called when the last connection is gone, while a close waits for it. */
  #onEmpty: (() => void) | null = null;

  /** Opens nothing. Throws a RangeError for options that cannot be. */
  constructor(options: TcpReceiverOptions) {
    checkOptions(options);
    const { slab, overflow, firstSlot, slotCount, receiver, counters, clock } = options;
    this.#options = options;
    this.receiver = receiver;
    this.#counters = counters;
    this.#clock = clock;
    this.#table = new Connections(options.maxConnections);
    const work = new Work(options.maxConnections, firstSlot, slotCount, clock);
    this.#work = work;
    const shared = { slab, overflow, slotCount, counters, work, cut: this.#cut.bind(this) };
    const intake = { ...shared, firstSlot, receiver, clock, changed: this.#changed.bind(this) };
    const heldBytes = options.heldBytes ?? HELD_BYTES;
    this.#intake = new Intake({ ...intake, heldBytes }, this.#table);
    const unsentBytes = options.unsentBytes ?? UNSENT_BYTES;
    this.#output = new Output({ ...shared, unsentBytes }, this.#table);
    this.#handlers = this.#makeHandlers();
  }

  /** Open connections. */
  get connections(): number {
    return this.#table.count;
  }

  /** Connections that are not in use. */
  get idleConnections(): number {
    return this.#table.idle.count;
  }

  get freeSlots(): number {
    return this.#intake.freeSlots;
  }

  /** The work that is in flight, in bytes of answers; at most WORK_BYTES. */
  get chargedBytes(): number {
    return this.#work.chargedBytes;
  }

  /** Bytes held of incomplete messages, and of messages that wait for a slot. */
  get heldBytes(): number {
    return this.#intake.budget.heldBytes;
  }

  /** Bytes of answers that wait for their clients to read. */
  get unsentBytes(): number {
    return this.#output.unsentBytes;
  }

  /**
   * Listens at one more address; port 0: any free one. An IPv6 wildcard takes IPv6 only. Rejects
   * with the system's error (`code`, `syscall`).
   */
  async listen(address: string, port: number): Promise<{ address: string; port: number }> {
    if (this.#stopped) throw new Error('the TCP receiver is stopped');
    const options = { allowHalfOpen: true, noDelay: true, highWaterMark: HIGH_WATER_BYTES };
    const server = createServer(options, (socket) => this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(
        { host: address, port, ipv6Only: true, exclusive: true, backlog: BACKLOG },
        () => {
          server.removeListener('error', reject);
          resolve();
        },
      );
    });
    // Out of descriptors: the system has refused a connection.
    server.on('error', () => {
      this.#counters[COUNTER.tcpRefused] += 1;
    });
    this.#servers.push(server);
    this.#stopTick ??= this.#clock.every(TCP_TICK_MS, () => this.#tick());
    const bound = server.address();
    if (bound === null || typeof bound === 'string') throw new Error('closed while it was opened');
    return { address: bound.address, port: bound.port };
  }

  /**
   * Starts handing on messages. `onBatch` gets up to UDP_BATCH slot numbers, an array valid during
   * the call; the slots are the callee's until it releases them.
   */
  start(onBatch: OnBatch): void {
    if (this.#stopped) throw new Error('the TCP receiver is stopped');
    this.#intake.start(onBatch);
  }

  /**
   * Hands answers to their connections and returns how many. Those whose connection is gone get
   * length 0 and are counted; slots of length 0 are skipped. Releases nothing.
   */
  send(slots: Int32Array, count: number): number {
    const sent = this.#output.send(slots, count, this.#clock.now());
    if (this.#work.isAhead && this.#work.waitMs() > 0) this.#intake.pause();
    return sent;
  }

  /** Puts slots back among the free ones; their connections have that many fewer in flight. */
  release(slots: Int32Array, count: number): void {
    const { i32 } = this.#options.slab;
    const table = this.#table;
    const now = this.#clock.now();
    for (let i = 0; i < count; i++) {
      const word = (slots[i] * SLOT_BYTES) >>> 2;
      const n = i32[word + (SLOT_CONNECTION >>> 2)];
      if (table.find(n, i32[word + (SLOT_GENERATION >>> 2)]) === null) continue;
      table.inFlight[n] -= 1;
      if (table.inFlight[n] === 0 || table.state[n] !== READING) this.#changed(n, now);
    }
    this.#intake.release(slots, count);
  }

  /** No more is accepted or read; what is in flight can still be answered. Final. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#intake.stop();
    for (const server of this.#servers) server.close();
  }

  /**
   * Closes all connections, after what was written has left or TCP_CLOSE_WAIT_MS. May be called
   * again.
   */
  close(): Promise<void> {
    this.stop();
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // Read on, and forget it: closing with something unread would reset the connection, and the
    // client lose the answers it has not read yet.
    for (const socket of this.#table.sockets) socket?.end().resume();
    if (this.#table.count > 0) {
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.after(TCP_CLOSE_WAIT_MS, resolve);
        this.#onEmpty = () => {
          cancel();
          resolve();
        };
      });
    }
    this.#stopTick?.();
    const open = this.#servers.map((server) => closed(server));
    for (let n = 0; n < this.#table.capacity; n++) this.#remove(n);
    await Promise.all(open);
  }

  #accept(socket: Socket): void {
    const { maxConnectionsPerPrefix } = this.#options;
    const table = this.#table;
    const address = socket.remoteAddress;
    // Gone before it was accepted, or this server is.
    if (address === undefined || this.#stopped) {
      socket.destroy();
      return;
    }
    const network = table.fullNetwork(address, maxConnectionsPerPrefix);
    if (network !== -1 || table.isFull) {
      const victim = network === -1 ? table.victim : table.victimOf(network);
      if (victim === -1) {
        this.#refuse(socket);
        return;
      }
      this.#cut(victim, COUNTER.tcpEvicted);
    }
    const n = table.add(socket);
    if (n === -1) {
      socket.destroy();
      return;
    }
    this.#counters[COUNTER.tcpAccepted] += 1;
    this.#work.begin(n);
    table.idle.append(n, this.#clock.now());
    const { onData, onEnd, onDrain, onError, onClose } = this.#handlers;
    socket.on('data', onData).on('end', onEnd).on('drain', onDrain);
    socket.on('error', onError).on('close', onClose);
  }

  /** By a reset: the system then remembers nothing of the connection. */
  #refuse(socket: Socket): void {
    this.#counters[COUNTER.tcpRefused] += 1;
    socket.on('error', this.#handlers.onError);
    socket.resetAndDestroy();
  }

  /** The same few functions for all sockets, which come to them as `this`. */
  #makeHandlers(): SocketHandlers {
    const receiver = this;
    return {
      onData(chunk) {
        const n = numberOf(this);
        if (n === -1 || receiver.#closing !== null) return;
        receiver.#intake.data(n, chunk, receiver.#clock.now());
      },
      onEnd() {
        const n = numberOf(this);
        if (n === -1) return;
        receiver.#table.ended[n] = 1;
        receiver.#intake.end(n);
        receiver.#changed(n, receiver.#clock.now());
      },
      onDrain() {
        const n = numberOf(this);
        if (n === -1) return;
        const now = receiver.#clock.now();
        receiver.#output.note(n, now);
        receiver.#changed(n, now);
      },
      // `close` follows, and that is all there is to do.
      onError: () => undefined,
      onClose() {
        receiver.#remove(numberOf(this));
      },
    };
  }

  /** Sorts a connection anew after something was received, answered or read. */
  #changed(n: number, now: number): void {
    const table = this.#table;
    this.#intake.recheck(n, now);
    const inUse = table.inFlight[n] > 0 || table.unsent[n] > 0 || !this.#intake.isEmpty(n);
    if (inUse) {
      table.idle.remove(n);
      return;
    }
    table.idle.append(n, now);
    // The client asks no more and has all its answers.
    if (table.ended[n] === 1) table.sockets[n]?.end();
  }

  #tick(): void {
    const { idle, incomplete } = this.#table;
    const now = this.#clock.now();
    while (idle.first !== -1 && idle.at(idle.first) + this.#options.idleMs <= now) {
      this.#cut(idle.first, COUNTER.tcpTimeouts);
    }
    // Who waits for us is not late, and not on this list.
    while (incomplete.first !== -1 && incomplete.at(incomplete.first) + MESSAGE_MS <= now) {
      this.#cut(incomplete.first, COUNTER.tcpTimeouts);
    }
    this.#work.tick();
    this.#output.tick(now);
    this.#intake.tick();
  }

  #cut(n: number, counter: number): void {
    this.#counters[counter] += 1;
    this.#remove(n);
  }

  /** Closes connection `n`, unless it is closed, and forgets it. */
  #remove(n: number): void {
    const socket = this.#table.sockets[n] ?? null;
    if (socket === null) return;
    this.#intake.forget(n);
    this.#output.forget(n);
    this.#table.remove(n);
    socket.destroy();
    if (this.#table.count === 0) this.#onEmpty?.();
  }
}

interface SocketHandlers {
  onData(this: Socket, chunk: Uint8Array): void;
  onEnd(this: Socket): void;
  onDrain(this: Socket): void;
  onError(this: void): void;
  onClose(this: Socket): void;
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

function checkOptions(options: TcpReceiverOptions): void {
  const { slab, firstSlot, slotCount, maxConnections, maxConnectionsPerPrefix, idleMs } = options;
  checkRange('firstSlot', firstSlot, 0, slab.slotCount - 1);
  checkRange('slotCount', slotCount, 1, slab.slotCount - firstSlot);
  checkRange('receiver', options.receiver, 0, 65_535);
  checkRange('maxConnections', maxConnections, 1, MOST_CONNECTIONS);
  checkRange('maxConnectionsPerPrefix', maxConnectionsPerPrefix, 1, MOST_CONNECTIONS);
  checkRange('idleMs', idleMs, 1, Number.MAX_SAFE_INTEGER);
}

function checkRange(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`${name} is ${value}: expected an integer from ${least} to ${most}`);
}
