/**
 * Where a lane's finished slots go. Either all of them to the main thread, which sends them, or the
 * lane sends what it can by itself, and main only gets the slots back:
 *
 *   send by main:  received slots and own slots --> reply ring --> main sends and frees
 *   send by lane:  UDP --> the kernel; received slots --> reply ring --> main frees
 *                  own slots (pushes) are freed here; TCP --> reply ring --> main sends and frees
 */
import type { Ring } from './ring.ts';
import { SLOT_BYTES, SLOT_FREE, SLOT_RECEIVER, SLOT_STATE, type Slab } from './slab.ts';

/** Sends slots by one socket; what became of each is counted. */
export interface Sender {
  send(slots: Int32Array, count: number): number;
}

/** Slots per system call, the same as a receive batch. */
const SEND_BATCH = 64;

export class Outbox {
  readonly #slab: Slab;
  readonly #replies: Ring;
  readonly #senders: readonly (Sender | null)[];
  readonly #run = new Int32Array(SEND_BATCH);
  readonly #own = new Int32Array(SEND_BATCH);
  #ownCount = 0;

  /** `senders`: by receiver number; null, or none at all: main sends. */
  constructor(slab: Slab, replies: Ring, senders: readonly (Sender | null)[] = []) {
    this.#slab = slab;
    this.#replies = replies;
    this.#senders = senders;
  }

  /**
   * Takes finished slots of receivers. Returns whether main has something to do soon: to send,
   * rather than just to take slots back.
   */
  publish(slots: Int32Array, count: number): boolean {
    const isLeft = this.#senders.length === 0 || this.#send(slots, count);
    this.#replies.push(slots, 0, count);
    return isLeft;
  }

  /** Takes one slot of the lane's own; see `flush`. */
  originate(slot: number): void {
    if (this.#ownCount === SEND_BATCH) this.flush();
    this.#own[this.#ownCount++] = slot;
  }

  /** Sends on what was originated. Returns as `publish`. */
  flush(): boolean {
    const count = this.#ownCount;
    if (count === 0) return false;
    this.#ownCount = 0;
    if (this.#senders.length === 0) {
      this.#replies.push(this.#own, 0, count);
      return true;
    }
    this.#send(this.#own, count);
    const { bytes } = this.#slab;
    for (let i = 0; i < count; i++) {
      Atomics.store(bytes, this.#own[i] * SLOT_BYTES + SLOT_STATE, SLOT_FREE);
    }
    return false;
  }

  /** Sends in runs of the same socket. Returns whether some are left to main. */
  #send(slots: Int32Array, count: number): boolean {
    const { i32, u16 } = this.#slab;
    let isLeft = false;
    let run = 0;
    let sender: Sender | null = null;
    for (let i = 0; i < count; i++) {
      const base = slots[i] * SLOT_BYTES;
      const next = this.#senders[u16[(base + SLOT_RECEIVER) >> 1]];
      if (next === null) {
        // Without an answer as well: main must know that the connection waits for nothing.
        isLeft = true;
        continue;
      }
      const length = i32[base >> 2];
      // No answer yet: main has the datagram's signature checked.
      if (length < 0) isLeft = true;
      if (length <= 0) continue;
      if (next !== sender && run > 0) {
        sender?.send(this.#run, run);
        run = 0;
      }
      sender = next;
      this.#run[run++] = slots[i];
    }
    if (run > 0) sender?.send(this.#run, run);
    return isLeft;
  }
}
