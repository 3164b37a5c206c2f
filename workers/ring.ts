/**
 * A single-producer, single-consumer ring of slot numbers in shared memory: how datagrams cross
 * from the main thread to a lane (requests) and back (replies). Only numbers move; the bytes stay
 * in the slab.
 *
 *   word 0        word 16       word 32
 *   +-------------+-------------+------------------------------+
 *   | head        | tail        | entries: capacity slot nos.  |
 *   | (consumer)  | (producer)  |                              |
 *   +-------------+-------------+------------------------------+
 *     own cache     own cache
 *     line          line
 *
 * head and tail count up and wrap at 2^32; `tail - head` is the number of entries. Each is written
 * by one side only. An entry is written before the tail that publishes it (Atomics.store is a
 * release and Atomics.load an acquire), so the consumer never sees an entry that is not there yet.
 */
const HEAD = 0;
const TAIL = 16;
const ENTRIES = 32;

export class Ring {
  readonly buffer: SharedArrayBuffer;
  readonly capacity: number;
  readonly #words: Int32Array;
  readonly #mask: number;

  /** Wraps a buffer made by `Ring.allocate`. */
  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.capacity = this.#words.length - ENTRIES;
    this.#mask = this.capacity - 1;
    if (this.capacity < 1 || (this.capacity & this.#mask) !== 0) {
      throw new RangeError(`ring of ${this.capacity} entries: the capacity must be a power of two`);
    }
  }

  /** An empty ring. `capacity` is a power of two; no fewer than the slots that may be in flight. */
  static allocate(capacity: number): Ring {
    return new Ring(new SharedArrayBuffer((ENTRIES + capacity) * 4));
  }

  /**
   * Entries waiting. Exact for either side at the moment it asks, a lower bound for the consumer.
   */
  get size(): number {
    return (Atomics.load(this.#words, TAIL) - Atomics.load(this.#words, HEAD)) | 0;
  }

  /** Producer: appends slots[from..count) as far as they fit; returns how many of them did. */
  push(slots: Int32Array, from: number, count: number): number {
    const words = this.#words;
    const mask = this.#mask;
    const tail = words[TAIL];
    const room = this.capacity - ((tail - Atomics.load(words, HEAD)) | 0);
    const fits = Math.min(count - from, room);
    for (let i = 0; i < fits; i++) words[ENTRIES + ((tail + i) & mask)] = slots[from + i];
    if (fits > 0) Atomics.store(words, TAIL, (tail + fits) | 0);
    return fits;
  }

  /** Consumer: moves up to `max` entries into `out`; returns how many. */
  pop(out: Int32Array, max: number): number {
    const words = this.#words;
    const mask = this.#mask;
    const head = words[HEAD];
    const waiting = (Atomics.load(words, TAIL) - head) | 0;
    const count = Math.min(waiting, max);
    for (let i = 0; i < count; i++) out[i] = words[ENTRIES + ((head + i) & mask)];
    if (count > 0) Atomics.store(words, HEAD, (head + count) | 0);
    return count;
  }
}
