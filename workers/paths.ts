/**
 * Paths: the ways a datagram can leave, as small numbers. A subscriber behind a NAT is reached only
 * from the socket and address it spoke to, so a subscription remembers its path; eight bits in its
 * record are enough, for a server has few sockets and few addresses of its own.
 *
 *   path 0 .. receivers-1      that socket, source address left to the kernel
 *   path receivers .. 254      (socket, local address, scope) in order of first use
 *
 * A full table falls back to the socket alone: it never grows.
 */
import { SLOT_BYTES, SLOT_LOCAL, SLOT_RECEIVER, SLOT_SCOPE, type Slab } from './slab.ts';

/** Paths 0 to 254; 255 is never one (see REMOVAL_ORIGIN in pusher.ts). */
const MAX_PATHS = 255;
const WORDS = 6;
/** Where path 0 is in the table. */
const FIRST = 1;

export class Paths {
  /** Word 0: number of paths. Then per path: receiver, local address as four words, scope. */
  readonly #table: Int32Array;
  readonly #receivers: number;

  /**
   * Wraps a buffer of `Paths.allocate`: like the subscriptions that refer to it, it outlives its
   * lane. `receivers`: sockets of this server, at most 127.
   */
  constructor(buffer: SharedArrayBuffer, receivers: number) {
    if (!Number.isInteger(receivers) || receivers < 1 || receivers > MAX_PATHS / 2) {
      throw new RangeError(`${receivers} receivers: expected 1 to ${Math.floor(MAX_PATHS / 2)}`);
    }
    this.#table = new Int32Array(buffer);
    this.#receivers = receivers;
    if (this.#table[0] > 0) return;
    this.#table[0] = receivers;
    for (let i = 0; i < receivers; i++) this.#table[FIRST + i * WORDS] = i;
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer((FIRST + MAX_PATHS * WORDS) * 4);
  }

  /** The path by which the slot's datagram came. */
  intern(slab: Slab, slot: number): number {
    const table = this.#table;
    const local = (slot * SLOT_BYTES + SLOT_LOCAL) >> 2;
    const receiver = slab.u16[(slot * SLOT_BYTES + SLOT_RECEIVER) >> 1];
    const scope = slab.i32[(slot * SLOT_BYTES + SLOT_SCOPE) >> 2];
    const count = table[0];
    for (let path = this.#receivers; path < count; path++) {
      const at = FIRST + path * WORDS;
      if (table[at] !== receiver || table[at + 5] !== scope) continue;
      if (this.#sameLocal(at + 1, slab.i32, local)) return path;
    }
    if (count === MAX_PATHS) return receiver;
    const at = FIRST + count * WORDS;
    table[at] = receiver;
    for (let i = 0; i < 4; i++) table[at + 1 + i] = slab.i32[local + i];
    table[at + 5] = scope;
    table[0] = count + 1;
    return count;
  }

  receiver(path: number): number {
    return this.#table[FIRST + path * WORDS];
  }

  /** Word `index` (0 to 3) of the path's local address; all zero when unknown. */
  localWord(path: number, index: number): number {
    return this.#table[FIRST + path * WORDS + 1 + index];
  }

  /** Interface index for link-local peers; 0 = none. */
  scope(path: number): number {
    return this.#table[FIRST + path * WORDS + 5];
  }

  #sameLocal(at: number, words: Int32Array, local: number): boolean {
    const table = this.#table;
    return (
      table[at + 3] === words[local + 3] &&
      table[at + 2] === words[local + 2] &&
      table[at + 1] === words[local + 1] &&
      table[at] === words[local]
    );
  }
}
