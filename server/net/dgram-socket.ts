/**
 * The portable backend: node:dgram behind the interface of the batched one. Each datagram is copied
 * into a slot and answered on its own, so a batch is one datagram.
 *
 * What node:dgram cannot do: it does not tell the local address, so `local` is the bound address,
 * zero on a wildcard bind, and an answer may then leave from another address than was asked. It
 * cannot pause, so what arrives while the socket is stopped is ignored. A refusal of the kernel
 * is known only after `send` has returned: `sent` is then counted back.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { COUNTER, type CounterRow } from '../../workers/counters.ts';
import * as layout from '../../workers/slab.ts';
import { type Clock, systemClock } from '../clock.ts';
import { FreeSlots } from './free-slots.ts';
import { ADDRESS_BYTES, formatAddress, scopeIndex, scopeName, writeAddress } from './ip-address.ts';
import {
  RECEIVE_BUFFER_BYTES,
  SEND_BUFFER_BYTES,
  type TurnHooks,
  type UdpSocket,
  type UdpSocketOptions,
} from './udp-socket.ts';

const { SLOT_BYTES, SLOT_DATA_BYTES, SLOT_HEADER_BYTES } = layout;

/** Bytes node:dgram may hold because the send buffer is full; beyond, datagrams are dropped. */
const SEND_QUEUE_BYTES = 1024 * 1024;
/** The least buffer worth asking for when the system refuses more. */
const LEAST_BUFFER_BYTES = 64 * 1024;

/** How long a close waits for queued datagrams to leave: a part of the 2 s a stop may take. */
export const CLOSE_WAIT_MS = 500;

/** Interfaces remembered; more than a host has. */
const MAX_SCOPES = 256;

type OnBatch = (slots: Int32Array, count: number) => void;

export class DgramSocket implements UdpSocket {
  readonly backend = 'dgram';
  readonly mayDrop = true;
  readonly receiver: number;
  readonly address: string;
  readonly family: 4 | 6;
  readonly port: number;
  readonly fd = -1;
  readonly receiveBufferBytes: number;
  readonly #socket: Socket;
  readonly #slab: layout.Slab;
  readonly #counters: CounterRow;
  readonly #free: FreeSlots;
  readonly #batch = new Int32Array(1);
  readonly #local = new Uint8Array(ADDRESS_BYTES);
  readonly #localScope: number;
  readonly #scopes = new Scopes();
  readonly #clock: Pick<Clock, 'after'>;
  #onBatch: OnBatch | null = null;
  #hooks: TurnHooks = {};
  #closing: Promise<void> | null = null;
  /** Datagrams handed to node:dgram of which it has not said what became of them. */
  #unsettled = 0;
  /** Called when the last of them is settled, while a close waits for it. */
  #onSettled: (() => void) | null = null;

  /**
   * Opens and binds; rejects with the system's error (`code`, `syscall`). `clock` bounds how long a
   * close waits.
   */
  static async open(
    options: UdpSocketOptions,
    clock: Pick<Clock, 'after'> = systemClock,
  ): Promise<DgramSocket> {
    if (options.reusePort === true) {
      throw new Error('reusePort needs the UDP backend batch: node:dgram ignores it on Node 20');
    }
    const family = writeAddress(options.address, new Uint8Array(ADDRESS_BYTES), 0);
    const socket = createSocket({
      type: family === 4 ? 'udp4' : 'udp6',
      ipv6Only: family === 6,
      // Addresses are numeric: nothing to look up, and nothing to wait for.
      lookup: (host, _options, done) => done(null, host, family),
    });
    try {
      await bind(socket, options);
      return new DgramSocket(socket, options, clock);
    } catch (error) {
      // A socket that failed to bind holds its descriptor until it is closed.
      await new Promise<void>((resolve) => socket.close(() => resolve()));
      throw error;
    }
  }

  private constructor(socket: Socket, options: UdpSocketOptions, clock: Pick<Clock, 'after'>) {
    this.#clock = clock;
    const { address, family, port } = socket.address();
    this.#socket = socket;
    this.receiver = options.receiver;
    this.address = address;
    this.family = family === 'IPv4' ? 4 : 6;
    this.port = port;
    writeAddress(address, this.#local, 0);
    this.#localScope = this.#scopes.index(address);
    if (address === '0.0.0.0') this.#local.fill(0);
    this.#slab = options.slab;
    this.#counters = options.counters;
    this.#free = new FreeSlots(options.firstSlot, options.slotCount);
    growBuffer(options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES, (n) =>
      socket.setRecvBufferSize(n),
    );
    growBuffer(options.sendBufferBytes ?? SEND_BUFFER_BYTES, (n) => socket.setSendBufferSize(n));
    const granted = socket.getRecvBufferSize();
    this.receiveBufferBytes = process.platform === 'linux' ? granted / 2 : granted;
    socket.on('message', (data, from) => this.#onMessage(data, from));
    // Errors of receiving (on some systems an ICMP report about an earlier answer) concern no
    // datagram we have; errors of sending come to onSent.
    socket.on('error', () => undefined);
  }

  get freeSlots(): number {
    return this.#free.count;
  }

  start(onBatch: OnBatch, hooks: TurnHooks = {}): void {
    if (this.#closing !== null) {
      throw new Error(`the socket on ${this.address}:${this.port} is closed`);
    }
    this.#onBatch = onBatch;
    this.#hooks = hooks;
  }

  send(slots: Int32Array, count: number): number {
    let sent = 0;
    for (let i = 0; i < count; i++) if (this.#sendOne(slots[i])) sent++;
    return sent;
  }

  release(slots: Int32Array, count: number): void {
    this.#free.release(slots, count);
  }

  stop(): void {
    this.#onBatch = null;
  }

  close(): Promise<void> {
    this.stop();
    this.#closing ??= this.#settled().then(
      () => new Promise((resolve) => this.#socket.close(() => resolve())),
    );
    return this.#closing;
  }

  /** Resolves when nothing is queued for sending, or after CLOSE_WAIT_MS: a close cancels it. */
  async #settled(): Promise<void> {
    if (this.#unsettled === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(CLOSE_WAIT_MS, resolve);
      this.#onSettled = () => {
        cancel();
        resolve();
      };
    });
  }

  #onMessage(data: Uint8Array, from: RemoteInfo): void {
    if (this.#onBatch === null) return;
    this.#counters[COUNTER.received] += 1;
    if (data.length > SLOT_DATA_BYTES) {
      this.#counters[COUNTER.dropTooLong] += 1;
      return;
    }
    if (this.#free.count === 0) this.#hooks.onStarved?.();
    if (this.#free.peek(this.#batch, 1) === 0) {
      this.#counters[COUNTER.dropNoSlot] += 1;
      this.#hooks.onTurnEnd?.();
      return;
    }
    this.#free.take(this.#batch, 1, 1);
    this.#fill(this.#batch[0] * SLOT_BYTES, data, from);
    this.#onBatch(this.#batch, 1);
    this.#hooks.onTurnEnd?.();
  }

  #fill(at: number, data: Uint8Array, from: RemoteInfo): void {
    const { bytes, u16, i32 } = this.#slab;
    bytes.fill(0, at, at + SLOT_HEADER_BYTES);
    i32[(at + layout.SLOT_LENGTH) >>> 2] = data.length;
    bytes[at + layout.SLOT_FAMILY] = writeAddress(from.address, bytes, at + layout.SLOT_ADDRESS);
    bytes[at + layout.SLOT_TRANSPORT] = layout.TRANSPORT_UDP;
    u16[(at + layout.SLOT_PORT) >>> 1] = from.port;
    bytes.set(this.#local, at + layout.SLOT_LOCAL);
    i32[(at + layout.SLOT_SCOPE) >>> 2] = this.#scopes.index(from.address) || this.#localScope;
    i32[(at + layout.SLOT_BUDGET) >>> 2] = SLOT_DATA_BYTES;
    u16[(at + layout.SLOT_RECEIVER) >>> 1] = this.receiver;
    bytes.set(data, at + SLOT_HEADER_BYTES);
  }

  #sendOne(slot: number): boolean {
    const at = slot * SLOT_BYTES;
    const length = this.#slab.i32[(at + layout.SLOT_LENGTH) >>> 2];
    if (length === 0) return false;
    const port = this.#slab.u16[(at + layout.SLOT_PORT) >>> 1];
    const isV4 = this.#slab.bytes[at + layout.SLOT_FAMILY] === 4;
    const sendable = length <= SLOT_DATA_BYTES && port !== 0 && isV4 === (this.family === 4);
    if (this.#closing !== null || !sendable) return this.#drop(slot, COUNTER.dropSendError);
    if (this.#socket.getSendQueueSize() > SEND_QUEUE_BYTES) {
      return this.#drop(slot, COUNTER.dropSendFull);
    }
    // A copy: dgram may keep the bytes until the socket is writable, and the slot is released by
    // then.
    const copy = Buffer.allocUnsafe(length);
    copy.set(this.#slab.bytes.subarray(at + SLOT_HEADER_BYTES, at + SLOT_HEADER_BYTES + length));
    this.#socket.send(copy, 0, length, port, this.#destination(at), this.#onSent);
    this.#counters[COUNTER.sent] += 1;
    this.#unsettled += 1;
    return true;
  }

  /** One function for all sends: there is nothing per datagram to remember. */
  readonly #onSent = (error: Error | null): void => {
    this.#unsettled -= 1;
    if (this.#unsettled === 0) this.#onSettled?.();
    if (error === null) return;
    this.#counters[COUNTER.sent] -= 1;
    this.#counters[COUNTER.dropSendError] += 1;
  };

  #drop(slot: number, counter: number): false {
    this.#slab.i32[(slot * SLOT_BYTES + layout.SLOT_LENGTH) >>> 2] = 0;
    this.#counters[counter] += 1;
    return false;
  }

  #destination(at: number): string {
    const { bytes, i32 } = this.#slab;
    const address = at + layout.SLOT_ADDRESS;
    const text = formatAddress(bytes, address);
    const scope = i32[(at + layout.SLOT_SCOPE) >>> 2];
    const isLinkLocal = bytes[address] === 0xfe && (bytes[address + 1] & 0xc0) === 0x80;
    return isLinkLocal && scope !== 0 ? `${text}%${this.#scopes.name(scope)}` : text;
  }
}

/** Binds, or adopts the descriptor given; rejects with the system's error. */
function bind(socket: Socket, options: UdpSocketOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('listening', () => {
      socket.removeListener('error', reject);
      resolve();
    });
    if (options.fd !== undefined) socket.bind({ fd: options.fd, exclusive: true });
    else socket.bind({ address: options.address, port: options.port, exclusive: true });
  });
}

/** Interface indices by name and back, remembered: asking the system is slow. */
class Scopes {
  readonly #indices = new Map<string, number>();
  readonly #names = new Map<number, string>();

  /** The index of an address's scope; 0 without one, or when its interface is gone. */
  index(address: string): number {
    const at = address.indexOf('%');
    if (at < 0) return 0;
    const name = address.slice(at + 1);
    const known = this.#indices.get(name);
    if (known !== undefined) return known;
    if (this.#indices.size >= MAX_SCOPES) this.#indices.clear();
    const index = indexOrZero(address);
    this.#indices.set(name, index);
    return index;
  }

  name(index: number): string {
    const known = this.#names.get(index);
    if (known !== undefined) return known;
    if (this.#names.size >= MAX_SCOPES) this.#names.clear();
    const name = scopeName(index);
    this.#names.set(index, name);
    return name;
  }
}

function indexOrZero(address: string): number {
  try {
    return scopeIndex(address);
  } catch {
    return 0;
  }
}

/** Asks for `bytes`, then for less: some systems refuse what is above their limit. */
function growBuffer(bytes: number, set: (bytes: number) => void): void {
  let ask = bytes;
  while (ask >= LEAST_BUFFER_BYTES) {
    try {
      set(ask);
      return;
    } catch {
      ask = Math.floor(ask / 2);
    }
  }
}
