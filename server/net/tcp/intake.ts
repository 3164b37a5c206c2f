/**
 * From chunks of bytes to slots, with back-pressure: a connection whose messages have no place is
 * not read on until they have one. Nothing is dropped.
 *
 *   chunk -> framer -> place: a free slot, its block of the overflow arena -> batch -> onBatch
 *                 \-> no place: the rest is held, the connection WAITING or FULL, its socket paused
 *
 * Who waits is served in turn, a few messages each. All together get a bounded number of messages
 * per turn of the event loop, and a bounded amount of work in flight (work.ts), so that pipelining
 * clients do not stop UDP. While answers are ahead of their pace, everyone waits.
 */
import { COUNTER, type CounterRow } from '../../../workers/counters.ts';
import { MAX_MESSAGE_BYTES, type Overflow } from '../../../workers/overflow.ts';
import * as layout from '../../../workers/slab.ts';
import type { Clock } from '../../clock.ts';
import { FreeSlots } from '../free-slots.ts';
import { UDP_BATCH } from '../udp-socket.ts';
import { ADDRESS_WORDS, type Connections, FULL, READING, WAITING } from './connections.ts';
import { Framer, MALFORMED, type MessageSink, PartialBudget } from './framer.ts';
import type { Work } from './work.ts';

/** Messages one connection may have in slots: a quarter of the slots, and plenty to pipeline. */
export const MAX_IN_FLIGHT = 32;
/** Unread output, and what is in flight will add, that a connection may have. */
export const MAX_UNSENT_BYTES = 256 * 1024;
/** Messages of a connection before the next one that waits has its turn. */
export const TURN_MESSAGES = 8;
/** Messages of all connections in a turn of the event loop; then UDP gets its turn. */
export const MESSAGES_PER_LOOP = 256;
/** The least time between two such turns. */
const LOOP_MS = 1;
/** Memory for incomplete and waiting messages, of all connections together. */
export const HELD_BYTES = 16 * 1024 * 1024;

const WORDS = layout.SLOT_BYTES >>> 2;
const HEADER_WORDS = layout.SLOT_HEADER_BYTES >>> 2;

export type OnBatch = (slots: Int32Array, count: number) => void;

export interface IntakeParts {
  readonly slab: layout.Slab;
  readonly overflow: Overflow;
  readonly firstSlot: number;
  readonly slotCount: number;
  readonly receiver: number;
  readonly counters: CounterRow;
  readonly clock: Clock;
  readonly work: Work;
  readonly heldBytes: number;
  /** Something about the connection's state has changed. */
  readonly changed: (connection: number, now: number) => void;
  /** The connection must be closed, for the reason of this counter. */
  readonly cut: (connection: number, counter: number) => void;
}

export class Intake implements MessageSink {
  /** The overflow arena. */
  readonly bytes: Uint8Array;
  readonly budget: PartialBudget;
  readonly #parts: IntakeParts;
  readonly #table: Connections;
  readonly #framer: Framer;
  readonly #free: FreeSlots;
  readonly #one = new Int32Array(1);
  readonly #batch = new Int32Array(UDP_BATCH);
  #count = 0;
  #onBatch: OnBatch | null = null;
  #reading = false;
  /** Messages the connection being fed may still place. */
  #quota = 0;
  /** A message was placed since the present feed began. */
  #placedAny = false;
  /** Messages that may still be placed in this turn; below MESSAGES_PER_LOOP a timer is due. */
  #loopLeft = MESSAGES_PER_LOOP;
  #pumpDue = false;
  #cancelTimer: (() => void) | null = null;
  /** The rest of a chunk, from `#heldFrom` on, of connections that are not READING. */
  readonly #held: (Uint8Array | null)[];
  readonly #heldFrom: Int32Array;
  /** What was counted for it: the chunk, and what node:net read before it stopped. */
  readonly #heldCounted: Int32Array;

  constructor(parts: IntakeParts, table: Connections) {
    this.#parts = parts;
    this.#table = table;
    this.bytes = parts.overflow.bytes;
    this.budget = new PartialBudget(parts.heldBytes);
    this.#framer = new Framer(table.capacity, this.budget);
    this.#free = new FreeSlots(parts.firstSlot, parts.slotCount);
    this.#held = new Array<Uint8Array | null>(table.capacity).fill(null);
    this.#heldFrom = new Int32Array(table.capacity);
    this.#heldCounted = new Int32Array(table.capacity);
  }

  get freeSlots(): number {
    return this.#free.count;
  }

  start(onBatch: OnBatch): void {
    this.#onBatch = onBatch;
    this.#reading = true;
    this.#schedulePump();
  }

  /** No more messages are placed; what comes is held. */
  stop(): void {
    this.#reading = false;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#loopLeft = MESSAGES_PER_LOOP;
  }

  /** Whether nothing of the connection is incomplete or waiting. */
  isEmpty(n: number): boolean {
    return this.#table.state[n] === READING && this.#framer.pending(n) === 0;
  }

  /** Takes a chunk that a connection has sent. */
  data(n: number, chunk: Uint8Array, now: number): void {
    const table = this.#table;
    if (table.state[n] !== READING) {
      this.#append(n, chunk);
    } else if (table.waiting.count > 0) {
      // Nobody overtakes those who wait.
      this.#block(n, chunk, 0, now);
    } else {
      this.#feed(n, chunk, 0, MESSAGES_PER_LOOP, now);
      this.#flush();
    }
    if (table.waiting.count > 0) this.#schedulePump();
  }

  /** The client sends no more: an incomplete message stays one. */
  end(n: number): void {
    if (this.#table.state[n] !== READING) return;
    this.#framer.forget(n);
    this.#table.holding.remove(n);
    this.#table.incomplete.remove(n);
  }

  /** Gives back what a connection held. It is about to leave the table. */
  forget(n: number): void {
    this.#framer.forget(n);
    this.#release(n);
  }

  /** Puts slots back among the free ones. */
  release(slots: Int32Array, count: number): void {
    this.#parts.work.release(slots, count);
    this.#free.release(slots, count);
    if (this.#table.waiting.count > 0) this.#schedulePump();
  }

  /** A FULL connection may go on when it has less in flight and unsent. */
  recheck(n: number, now: number): void {
    const table = this.#table;
    if (table.state[n] !== FULL || this.#isFull(n)) return;
    table.state[n] = WAITING;
    table.waiting.append(n, now);
    this.#schedulePump();
  }

  /** Nothing is placed until the answers are no longer ahead of their pace. */
  pause(): void {
    if (!this.#reading) return;
    this.#loopLeft = 0;
    this.#beginLoop(LOOP_MS);
  }

  /** Counts what node:net has read of paused connections, and keeps all within the budget. */
  tick(): void {
    const { holding, sockets, state } = this.#table;
    for (let n = holding.first; n !== -1; n = holding.after(n)) {
      if (state[n] !== READING) this.#recount(n, sockets[n]?.readableLength ?? 0);
    }
    this.#keepBudget();
  }

  // The sink of the framer.

  place(n: number, length: number): number {
    if (this.#quota === 0 || !this.#makeRoom(n)) return -1;
    if (this.#loopLeft === MESSAGES_PER_LOOP) this.#beginLoop(LOOP_MS);
    this.#quota -= 1;
    this.#loopLeft -= 1;
    this.#free.peek(this.#one, 1);
    this.#free.take(this.#one, 1, 1);
    const slot = this.#one[0];
    this.#fill(slot, n, length);
    this.#parts.work.place(slot, n);
    this.#table.inFlight[n] += 1;
    this.#batch[this.#count++] = slot;
    return this.#parts.overflow.start(slot);
  }

  placed(): void {
    this.#placedAny = true;
    this.#parts.counters[COUNTER.received] += 1;
  }

  /** Whether a message of `n` can be placed, after handing on the batch if that helps. */
  #makeRoom(n: number): boolean {
    if (this.#count < UDP_BATCH && this.#hasRoom(n)) return true;
    if (this.#count === 0) return false;
    this.#flush();
    return this.#hasRoom(n);
  }

  #hasRoom(n: number): boolean {
    const isOpen = this.#loopLeft > 0 && this.#reading && this.#table.sockets[n] !== null;
    return isOpen && this.#hasPlace(n) && !this.#isFull(n);
  }

  /** Whether there is a slot, and work to spare, for a message of `n`. */
  #hasPlace(n: number): boolean {
    return this.#free.count > 0 && this.#parts.work.hasRoom(n);
  }

  #isFull(n: number): boolean {
    const { inFlight, unsent } = this.#table;
    const bytes = unsent[n] + (inFlight[n] + 1) * this.#parts.work.chargeOf(n);
    return inFlight[n] >= MAX_IN_FLIGHT || bytes > MAX_UNSENT_BYTES;
  }

  #fill(slot: number, n: number, length: number): void {
    const { bytes, u16, i32 } = this.#parts.slab;
    const { words, family, port, scope, generation } = this.#table;
    const at = slot * layout.SLOT_BYTES;
    const word = slot * WORDS;
    for (let i = 0; i < HEADER_WORDS; i++) i32[word + i] = 0;
    i32[word + (layout.SLOT_LENGTH >>> 2)] = length;
    bytes[at + layout.SLOT_FAMILY] = family[n];
    bytes[at + layout.SLOT_TRANSPORT] = layout.TRANSPORT_TCP;
    u16[(at + layout.SLOT_PORT) >>> 1] = port[n];
    // Both addresses, which are next to each other in the slot as well.
    const addresses = word + (layout.SLOT_ADDRESS >>> 2);
    for (let i = 0; i < ADDRESS_WORDS; i++) i32[addresses + i] = words[n * ADDRESS_WORDS + i];
    i32[word + (layout.SLOT_SCOPE >>> 2)] = scope[n];
    i32[word + (layout.SLOT_CONNECTION >>> 2)] = n;
    i32[word + (layout.SLOT_GENERATION >>> 2)] = generation[n];
    i32[word + (layout.SLOT_BUDGET >>> 2)] = MAX_MESSAGE_BYTES;
    u16[(at + layout.SLOT_RECEIVER) >>> 1] = this.#parts.receiver;
  }

  /** Hands on what is in the batch. Inline lanes answer and release before it returns. */
  #flush(): void {
    const count = this.#count;
    if (count === 0 || this.#onBatch === null) return;
    this.#count = 0;
    this.#onBatch(this.#batch, count);
  }

  /** Feeds chunk[from..] to the framer, at most `quota` messages, and concludes what is left. */
  #feed(n: number, chunk: Uint8Array, from: number, quota: number, now: number): void {
    const table = this.#table;
    const wasPending = this.#framer.pending(n) > 0;
    this.#quota = quota;
    this.#placedAny = false;
    const at = this.#framer.feed(n, chunk, from, this);
    // Closed while its messages were handed on.
    if (table.sockets[n] === null) return;
    if (at === MALFORMED) {
      this.#parts.cut(n, COUNTER.tcpMalformed);
    } else if (at < chunk.length) {
      this.#block(n, chunk, at, now);
    } else {
      this.#taken(n, wasPending, now);
    }
  }

  /** All that a connection has sent is in slots or in the framer. */
  #taken(n: number, wasPending: boolean, now: number): void {
    const table = this.#table;
    const waited = this.#held[n] !== null;
    if (waited) this.#unblock(n);
    if (table.ended[n] === 1) this.#framer.forget(n);
    // The deadline is one message's: it begins anew with the next, and does not run while we wait.
    if (this.#framer.pending(n) === 0) {
      table.holding.remove(n);
      table.incomplete.remove(n);
    } else if (!wasPending || this.#placedAny || waited) {
      table.holding.append(n, now);
      table.incomplete.append(n, now);
    }
    this.#keepBudget();
    if (table.sockets[n] !== null) this.#parts.changed(n, now);
  }

  /** Holds chunk[from..] until there is a place for it. */
  #block(n: number, chunk: Uint8Array, from: number, now: number): void {
    const table = this.#table;
    if (this.#held[n] === null) {
      table.sockets[n]?.pause();
      table.holding.append(n, now);
    }
    this.#held[n] = chunk;
    this.#heldFrom[n] = from;
    this.#recount(n, 0);
    table.idle.remove(n);
    table.incomplete.remove(n);
    table.waiting.remove(n);
    table.state[n] = this.#isFull(n) ? FULL : WAITING;
    if (table.state[n] === WAITING) table.waiting.append(n, now);
    this.#keepBudget();
  }

  #unblock(n: number): void {
    this.#release(n);
    this.#table.state[n] = READING;
    this.#table.waiting.remove(n);
    this.#table.sockets[n]?.resume();
  }

  /** More of a connection that is paused: node:net does not, but nothing may be lost if it did. */
  #append(n: number, chunk: Uint8Array): void {
    const held = this.#held[n];
    this.#held[n] = held === null ? chunk : Buffer.concat([held, chunk]);
    this.#recount(n, 0);
    this.#keepBudget();
  }

  #release(n: number): void {
    this.#held[n] = null;
    this.budget.add(-this.#heldCounted[n]);
    this.#heldCounted[n] = 0;
  }

  /** Counts what `n` holds: its chunk, and `more` bytes in node:net. */
  #recount(n: number, more: number): void {
    const bytes = (this.#held[n]?.length ?? 0) + more;
    this.budget.add(bytes - this.#heldCounted[n]);
    this.#heldCounted[n] = bytes;
  }

  /** Over the budget, those that have held memory the longest are closed. */
  #keepBudget(): void {
    while (this.budget.isExceeded) {
      const oldest = this.#table.holding.first;
      if (oldest === -1) return;
      this.#parts.cut(oldest, COUNTER.tcpTimeouts);
    }
  }

  /** As many messages again may be placed in `ms`, unless answers are ahead of their pace. */
  #beginLoop(ms: number): void {
    this.#cancelTimer ??= this.#parts.clock.after(ms, this.#nextLoop);
  }

  readonly #nextLoop = (): void => {
    this.#cancelTimer = null;
    const waitMs = this.#parts.work.waitMs();
    this.#loopLeft = waitMs > 0 ? 0 : MESSAGES_PER_LOOP;
    if (waitMs > 0) this.#beginLoop(waitMs);
    else this.#pump();
  };

  /**
   * Serves those who wait as soon as the present work is done, not within it: whoever releases
   * slots is not ready for new ones.
   */
  #schedulePump(): void {
    if (this.#pumpDue || !this.#reading || this.#loopLeft === 0) return;
    this.#pumpDue = true;
    process.nextTick(this.#pump);
  }

  readonly #pump = (): void => {
    this.#pumpDue = false;
    const { waiting } = this.#table;
    const now = this.#parts.clock.now();
    while (waiting.count > 0 && this.#reading && this.#loopLeft > 0) {
      const n = waiting.first;
      if (!this.#hasPlace(n)) {
        if (this.#count === 0) break;
        this.#flush();
        continue;
      }
      const turn = this.#parts.work.turnOf(n, TURN_MESSAGES);
      this.#feed(n, this.#held[n] as Uint8Array, this.#heldFrom[n], turn, now);
    }
    this.#flush();
  };
}
