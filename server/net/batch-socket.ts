/**
 * The batched backend: recvmmsg and sendmmsg straight to and from slots, through the native
 * addon.
 */
import { COUNTER, type CounterRow } from '../../workers/counters.ts';
import { SLOT_BYTES, SLOT_LENGTH, type Slab } from '../../workers/slab.ts';
import { FreeSlots } from './free-slots.ts';
import {
  ADDRESS_BYTES,
  formatAddress,
  isZeroAddress,
  scopeIndex,
  writeAddress,
} from './ip-address.ts';
import {
  COUNT_KERNEL_DROPPED,
  COUNT_SEND_FAILED,
  COUNT_SEND_FULL,
  COUNT_TOO_LONG,
  COUNTS_LENGTH,
  loadAddon,
  type UdpAddon,
} from './native/addon.ts';
import {
  RECEIVE_BUFFER_BYTES,
  SEND_BUFFER_BYTES,
  type TurnHooks,
  UDP_BATCH,
  UDP_ROUNDS,
  type UdpSocket,
  type UdpSocketOptions,
} from './udp-socket.ts';

/** Fewer datagrams than this in a turn are worth a rest: the next turn then has more. */
const FEW = 16;
/** Timers of the kernel are 50 us late, so this is a rest of about 60 us. */
const REST_MS = 0.01;
/** Time for a lane to work off a batch or two. */
const STARVED_REST_MS = 0.1;
/** Waited on for its timeout alone: nobody wakes it. */
const REST = new Int32Array(new SharedArrayBuffer(4));

type OnBatch = (slots: Int32Array, count: number) => void;

/**
 * Sends slots on a socket. A lane in a worker thread makes its own with `openSender`; it holds a
 * duplicate of the descriptor, so whichever thread ends first, the other's stays what it was.
 */
export class BatchSender {
  readonly #addon: UdpAddon;
  readonly #handle: number;
  readonly #slab: Slab;
  readonly #counters: CounterRow;
  readonly #counts = new Uint32Array(COUNTS_LENGTH);
  #closed = false;

  constructor(addon: UdpAddon, handle: number, slab: Slab, counters: CounterRow) {
    this.#addon = addon;
    this.#handle = handle;
    this.#slab = slab;
    this.#counters = counters;
  }

  /** As `UdpSocket.send`. */
  send(slots: Int32Array, count: number): number {
    if (this.#closed) return this.#refuse(slots, count);
    const counts = this.#counts;
    const counters = this.#counters;
    const sent = this.#addon.send(this.#handle, this.#slab.bytes, slots, count, counts);
    counters[COUNTER.sent] += sent;
    if (sent !== count) {
      counters[COUNTER.dropSendFull] += counts[COUNT_SEND_FULL];
      counters[COUNTER.dropSendError] += counts[COUNT_SEND_FAILED];
      counts.fill(0);
    }
    return sent;
  }

  /** Closes the socket. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#addon.close(this.#handle);
  }

  /** Answers that come after the close are refused ones. */
  #refuse(slots: Int32Array, count: number): number {
    for (let i = 0; i < count; i++) {
      const length = (slots[i] * SLOT_BYTES + SLOT_LENGTH) >>> 2;
      if (this.#slab.i32[length] !== 0) this.#counters[COUNTER.dropSendError] += 1;
      this.#slab.i32[length] = 0;
    }
    return 0;
  }
}

/** A sender on the socket `fd` of another thread; `counters` is the calling thread's row. */
export function openSender(fd: number, slab: Slab, counters: CounterRow): BatchSender {
  const loaded = loadAddon();
  if (loaded.addon === null) throw new Error(`sending by descriptor: ${loaded.reason}`);
  return new BatchSender(loaded.addon, loaded.addon.duplicate(fd), slab, counters);
}

export class BatchSocket implements UdpSocket {
  readonly backend = 'batch';
  readonly mayDrop = true;
  readonly receiver: number;
  readonly address: string;
  readonly family: 4 | 6;
  readonly port: number;
  readonly fd: number;
  readonly receiveBufferBytes: number;
  readonly #addon: UdpAddon;
  readonly #handle: number;
  readonly #slab: Slab;
  readonly #counters: CounterRow;
  readonly #sender: BatchSender;
  readonly #free: FreeSlots;
  readonly #batch = new Int32Array(UDP_BATCH);
  readonly #counts = new Uint32Array(COUNTS_LENGTH);
  #onBatch: OnBatch | null = null;
  #hooks: TurnHooks = {};
  #closed = false;

  /**
   * Opens (or adopts) and binds the socket; throws the system's error with `code` and `syscall`.
   */
  constructor(addon: UdpAddon, options: UdpSocketOptions) {
    const bytes = new Uint8Array(ADDRESS_BYTES);
    this.#addon = addon;
    this.#handle = openHandle(addon, options, bytes);
    const [fd, family, port, scope, receiveBufferBytes] = addon.describe(this.#handle, bytes);
    this.fd = fd;
    this.family = family === 4 ? 4 : 6;
    this.port = port;
    this.address = boundText(bytes, this.family, scope);
    this.receiver = options.receiver;
    this.receiveBufferBytes = receiveBufferBytes;
    this.#slab = options.slab;
    this.#counters = options.counters;
    this.#sender = new BatchSender(addon, this.#handle, options.slab, options.counters);
    this.#free = new FreeSlots(options.firstSlot, options.slotCount);
  }

  get freeSlots(): number {
    return this.#free.count;
  }

  start(onBatch: OnBatch, hooks: TurnHooks = {}): void {
    if (this.#closed) throw new Error(`the socket on ${this.address}:${this.port} is closed`);
    if (this.#onBatch === null) this.#addon.watch(this.#handle, () => this.#onReadable());
    this.#onBatch = onBatch;
    this.#hooks = hooks;
  }

  send(slots: Int32Array, count: number): number {
    return this.#sender.send(slots, count);
  }

  release(slots: Int32Array, count: number): void {
    this.#free.release(slots, count);
  }

  stop(): void {
    if (this.#onBatch !== null) this.#addon.unwatch(this.#handle);
    this.#onBatch = null;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.stop();
    this.#closed = true;
    this.#counters[COUNTER.kernelDropped] += this.#addon.kernelDrops(this.#handle);
    this.#sender.close();
  }

  /** Rounds of receiving until one comes back short. The callee may stop or close in the middle. */
  #onReadable(): void {
    const received = this.#receiveRounds();
    const { onTurnEnd, restsAfterFew } = this.#hooks;
    onTurnEnd?.();
    if (restsAfterFew === true && received < FEW) Atomics.wait(REST, 0, 0, REST_MS);
  }

  /** Returns how many datagrams the kernel had; as many as can be, when it may have more. */
  #receiveRounds(): number {
    let total = 0;
    for (let round = 0; round < UDP_ROUNDS && this.#onBatch !== null; round++) {
      if (this.#free.count === 0) this.#hooks.onStarved?.();
      const asked = this.#free.peek(this.#batch, UDP_BATCH);
      if (asked === 0 && this.#hooks.waitsWhenStarved === true) {
        Atomics.wait(REST, 0, 0, STARVED_REST_MS);
        return total;
      }
      const got = asked === 0 ? this.#discard() : this.#receive(asked);
      total += got;
      if (got < (asked === 0 ? UDP_BATCH : asked)) return total;
    }
    return total;
  }

  /** One batch into the `asked` slots that are peeked at. Returns how many the kernel had. */
  #receive(asked: number): number {
    const batch = this.#batch;
    const counters = this.#counters;
    const counts = this.#counts;
    const received = this.#addon.recv(this.#handle, this.#slab.bytes, batch, asked, counts);
    if (received === 0) return 0;
    counters[COUNTER.received] += received;
    let good = received;
    if (counts[COUNT_TOO_LONG] !== 0) {
      good -= counts[COUNT_TOO_LONG];
      counters[COUNTER.dropTooLong] += counts[COUNT_TOO_LONG];
      counts[COUNT_TOO_LONG] = 0;
    }
    this.#countKernelDrops();
    this.#free.take(batch, good, asked);
    if (good > 0 && this.#onBatch !== null) this.#onBatch(batch, good);
    return received;
  }

  /** Every slot is in flight: what arrives now is dropped, not left to grow old in the kernel. */
  #discard(): number {
    const dropped = this.#addon.discard(this.#handle, this.#counts);
    this.#counters[COUNTER.received] += dropped;
    this.#counters[COUNTER.dropNoSlot] += dropped;
    this.#countKernelDrops();
    return dropped;
  }

  #countKernelDrops(): void {
    if (this.#counts[COUNT_KERNEL_DROPPED] === 0) return;
    this.#counters[COUNTER.kernelDropped] += this.#counts[COUNT_KERNEL_DROPPED];
    this.#counts[COUNT_KERNEL_DROPPED] = 0;
  }
}

function openHandle(addon: UdpAddon, options: UdpSocketOptions, bytes: Uint8Array): number {
  if (options.fd !== undefined) return addon.adopt(options.fd, options.receiver);
  const family = writeAddress(options.address, bytes, 0);
  return addon.open(
    bytes,
    family,
    options.port,
    scopeIndex(options.address),
    options.reusePort === true ? 1 : 0,
    options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES,
    options.sendBufferBytes ?? SEND_BUFFER_BYTES,
    options.receiver,
  );
}

function boundText(bytes: Uint8Array, family: 4 | 6, scope: number): string {
  if (isZeroAddress(bytes, 0)) return family === 4 ? '0.0.0.0' : '::';
  return formatAddress(bytes, 0) + (scope === 0 ? '' : `%${scope}`);
}
