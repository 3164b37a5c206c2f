/**
 * Answers to connections: frames that leave at once as far as the system takes them, and otherwise
 * wait in node:net. What waits is bounded in all, and whoever does not read is closed.
 */
import type { Socket } from 'node:net';
import { COUNTER, type CounterRow } from '../../../workers/counters.ts';
import type { Overflow } from '../../../workers/overflow.ts';
import {
  SLOT_BYTES,
  SLOT_CONNECTION,
  SLOT_GENERATION,
  SLOT_LENGTH,
  type Slab,
} from '../../../workers/slab.ts';
import type { Connections } from './connections.ts';
import { copyBytes, FRAME_BYTES } from './framer.ts';
import type { Work } from './work.ts';

/** Without progress for this long, a client that does not read is closed. */
export const WRITE_MS = 5_000;
/** Unread output of all connections; beyond, those longest without progress are closed. */
export const UNSENT_BYTES = 32 * 1024 * 1024;

export interface OutputParts {
  readonly slab: Slab;
  readonly overflow: Overflow;
  readonly slotCount: number;
  readonly counters: CounterRow;
  readonly work: Work;
  readonly unsentBytes: number;
  /** The connection must be closed, for the reason of this counter. */
  readonly cut: (connection: number, counter: number) => void;
}

export class Output {
  readonly #parts: OutputParts;
  readonly #table: Connections;
  /** Bytes written to a connection, and of them sent when there was progress last; mod 2^32. */
  readonly #written: Int32Array;
  readonly #progress: Int32Array;
  /** What the system had not taken of the write under way, at that time. */
  readonly #queued: Int32Array;
  /** Connections with answers in the present batch, which leave together. */
  readonly #corked: Int32Array;
  readonly #isCorked: Uint8Array;
  #unsentBytes = 0;

  constructor(parts: OutputParts, table: Connections) {
    this.#parts = parts;
    this.#table = table;
    this.#written = new Int32Array(table.capacity);
    this.#progress = new Int32Array(table.capacity);
    this.#queued = new Int32Array(table.capacity);
    this.#corked = new Int32Array(parts.slotCount);
    this.#isCorked = new Uint8Array(table.capacity);
  }

  /** Bytes of answers that no client has read yet, nor its system, nor ours. */
  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  /** As `Receiver.send`. */
  send(slots: Int32Array, count: number, now: number): number {
    const { slab, counters, work } = this.#parts;
    let sent = 0;
    let corked = 0;
    for (let i = 0; i < count; i++) {
      const word = (slots[i] * SLOT_BYTES) >>> 2;
      const length = slab.i32[word + (SLOT_LENGTH >>> 2)];
      if (length === 0) continue;
      const n = slab.i32[word + (SLOT_CONNECTION >>> 2)];
      const socket = this.#table.find(n, slab.i32[word + (SLOT_GENERATION >>> 2)]);
      if (socket === null || !socket.writable) {
        slab.i32[word + (SLOT_LENGTH >>> 2)] = 0;
        counters[COUNTER.dropConnectionGone] += 1;
        continue;
      }
      if (this.#isCorked[n] === 0) {
        this.#isCorked[n] = 1;
        this.#corked[corked++] = n;
        socket.cork();
      }
      socket.write(this.#frame(slots[i], length, this.#table.unsent[n] > 0));
      this.#written[n] += FRAME_BYTES + length;
      work.answered(slots[i], n, length);
      sent++;
    }
    counters[COUNTER.sent] += sent;
    this.#uncork(corked, now);
    return sent;
  }

  /** Takes note of what of a connection's output is unsent. */
  note(n: number, now: number): void {
    const { writing, unsent, sockets } = this.#table;
    const bytes = sockets[n]?.writableLength ?? 0;
    this.#unsentBytes += bytes - unsent[n];
    unsent[n] = bytes;
    if (bytes === 0) {
      writing.remove(n);
    } else if (!writing.has(n)) {
      writing.append(n, now);
      this.#hasProgress(n);
    }
  }

  /** Forgets a connection's output. It is about to leave the table. */
  forget(n: number): void {
    this.#unsentBytes -= this.#table.unsent[n];
    this.#table.unsent[n] = 0;
  }

  /** Closes whoever has not read for WRITE_MS. */
  tick(now: number): void {
    const { writing } = this.#table;
    let next = writing.first;
    // Those with progress go to the end, where they are not looked at again.
    for (let left = writing.count; left > 0; left--) {
      const n = next;
      next = writing.after(n);
      this.note(n, now);
      if (!writing.has(n)) continue;
      if (this.#hasProgress(n)) writing.append(n, now);
      else if (writing.at(n) + WRITE_MS <= now) this.#parts.cut(n, COUNTER.tcpTimeouts);
    }
  }

  #uncork(corked: number, now: number): void {
    for (let i = 0; i < corked; i++) {
      const n = this.#corked[i];
      this.#isCorked[n] = 0;
      this.#table.sockets[n]?.uncork();
      this.note(n, now);
    }
    while (this.#unsentBytes > this.#parts.unsentBytes) {
      const stalled = this.#table.writing.first;
      if (stalled === -1) return;
      this.#parts.cut(stalled, COUNTER.tcpTimeouts);
    }
  }

  /** Whether anything was taken since this last said so. */
  #hasProgress(n: number): boolean {
    const socket = this.#table.sockets[n];
    if (socket === null) return false;
    const sent = (this.#written[n] - socket.writableLength) | 0;
    const queued = queuedBytes(socket);
    const moved = sent !== this.#progress[n] || queued !== this.#queued[n];
    this.#progress[n] = sent;
    this.#queued[n] = queued;
    return moved;
  }

  /** A copy of the answer with its length before it; node:net may keep it until it can be sent. */
  #frame(slot: number, length: number, isKept: boolean): Uint8Array {
    const bytes = FRAME_BYTES + length;
    // Those that will be kept have memory of their own: a few bytes must not keep a pool alive.
    const frame = isKept ? Buffer.allocUnsafeSlow(bytes) : Buffer.allocUnsafe(bytes);
    frame[0] = length >>> 8;
    frame[1] = length & 0xff;
    const { overflow } = this.#parts;
    copyBytes(overflow.bytes, overflow.start(slot), length, frame, FRAME_BYTES);
    return frame;
  }
}

/**
 * What the system has not taken of the write under way. node:net knows it (its own timeouts go by
 * it) and does not say so in public; without it, progress is seen write by write.
 */
function queuedBytes(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { _handle?: { writeQueueSize?: number } | null };
  return handle?.writeQueueSize ?? 0;
}
