/**
 * A UDP socket whose datagrams live in slots of a slab. Two backends implement it: batch-socket.ts
 * (recvmmsg/sendmmsg, Linux) and dgram-socket.ts (node:dgram, everywhere); open-udp.ts chooses.
 *
 *   kernel -> [free slot] -> onBatch(slots) ... answer in place ... send(slots) -> release(slots)
 *
 * The counters keep the balance of workers/counters.ts: every datagram read is `received`, and
 * what is not handed to onBatch is counted as a drop as well.
 */
import type { CounterRow } from '../../workers/counters.ts';
import type { Slab } from '../../workers/slab.ts';
import type { Receiver } from './receiver.ts';

export type UdpBackend = 'batch' | 'dgram';

/** Datagrams per system call and per onBatch. */
export const UDP_BATCH = 64;
/** Batches per readable event, so that timers and other sockets get their turn. */
export const UDP_ROUNDS = 8;
/** Receive buffer asked for: about 2,000 full frames, 10 ms of a busy server. */
export const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
/** Send buffer asked for: answers leave at once, this is room for a burst on a slow interface. */
export const SEND_BUFFER_BYTES = 2 * 1024 * 1024;

export interface UdpSocketOptions {
  /**
   * An IP address, with a scope where needed (`fe80::1%eth0`); 0.0.0.0 and :: are the wildcards.
   */
  address: string;
  /** 0 = any free port. */
  port: number;
  slab: Slab;
  /** The receiver's own slots: `slotCount` from `firstSlot` on. */
  firstSlot: number;
  slotCount: number;
  /** Written into each slot as the socket it came by. 0 to 65535. */
  receiver: number;
  counters: CounterRow;
  receiveBufferBytes?: number;
  sendBufferBytes?: number;
  /** Several sockets on one address and port, among which the kernel spreads the datagrams. */
  reusePort?: boolean;
  /** A bound descriptor to adopt; address, port, buffers and reusePort are then as they are. */
  fd?: number;
}

/** What else a socket calls while it receives. */
export interface TurnHooks {
  /** No slot is free: the chance to release some, before datagrams are dropped. */
  onStarved?: () => void;
  /** The event loop goes on to other things: nothing more is handed on in this turn. */
  onTurnEnd?: () => void;
  /**
   * With no slot free, leave datagrams to the kernel for a moment and drop none here: right where
   * other threads free slots, which need the time more. The kernel's buffer is some 20 ms of work.
   */
  waitsWhenStarved?: boolean;
  /**
   * Rest for a moment after few datagrams: right where other threads answer by themselves. Else
   * this one is woken for each datagram, and most of its time goes into waking up.
   */
  restsAfterFew?: boolean;
}

export interface UdpSocket extends Receiver {
  readonly backend: UdpBackend;
  /** What the socket is bound to, as text. */
  readonly address: string;
  readonly family: 4 | 6;
  readonly port: number;
  /** For another thread to send on (see `openSender`); -1 with dgram. */
  readonly fd: number;
  /** What the kernel granted, in the unit it was asked in (Linux reports twice that). */
  readonly receiveBufferBytes: number;
  readonly freeSlots: number;
  /**
   * Starts receiving. `onBatch` gets up to UDP_BATCH slot numbers, an array valid during the
   * call; the slots are the callee's until it releases them.
   */
  start(onBatch: (slots: Int32Array, count: number) => void, hooks?: TurnHooks): void;
  /**
   * Sends slots, of any owner, to the addresses in their headers, and returns how many the kernel
   * took. Failed ones get length 0 and are counted; those of length 0 are skipped. Releases
   * nothing.
   */
  send(slots: Int32Array, count: number): number;
  /** Puts slots back among this receiver's free ones. */
  release(slots: Int32Array, count: number): void;
  /** Stops receiving; sending goes on. `start` may be called again. */
  stop(): void;
  /** Closes the socket, after which it keeps no process alive. May be called again. */
  close(): Promise<void>;
}

/** Throws a RangeError when the options name slots, a port or a receiver that cannot be. */
export function checkUdpOptions(options: UdpSocketOptions): void {
  const { slab, firstSlot, slotCount, port, receiver } = options;
  checkRange('firstSlot', firstSlot, 0, slab.slotCount - 1);
  checkRange('slotCount', slotCount, 1, slab.slotCount - firstSlot);
  checkRange('port', port, 0, 65_535);
  checkRange('receiver', receiver, 0, 65_535);
}

function checkRange(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`${name} is ${value}: expected an integer from ${least} to ${most}`);
}
