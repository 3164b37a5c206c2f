/**
 * A single-producer, single-consumer ring of slot numbers in shared memory: how datagrams cross
 * from the main thread to a lane (requests) and back (replies), and to a thread that checks
 * signatures. Only numbers move; the bytes stay in the slab.
 *
 *   word 0        word 16       word 32       word 48
 *   +-------------+-------------+-------------+------------------------------+
 *   | head        | tail        | sleep       | entries: capacity slot nos.  |
 *   | (consumer)  | (producer)  | (both)      |                              |
 *   +-------------+-------------+-------------+------------------------------+
 *     a cache line each
 *
 * head and tail count up and wrap at 2^32; `tail - head` is the number of entries. Each is written
 * by one side only. An entry is written before the tail that publishes it (Atomics.store is a
 * release and Atomics.load an acquire), so the consumer never sees an entry that is not there yet.
 *
 * Sleep and wake: the consumer says that it will sleep, then looks once more; the producer
 * publishes, then looks whether someone sleeps. Whichever comes second sees the other (all atomics
 * are of one order), so no entry is left with a sleeper. Only the first wake after an `arm` costs a
 * system call.
 *
 *   consumer   arm:  sleep = 1, tail still the head? -> sleep(ms) or the event loop; then disarm
 *   producer   push: entries, tail;   wake: sleep was 1 -> sleep = 0, notify (or signal an event)
 */
const HEAD = 0;
const TAIL = 16;
const SLEEP = 32;
const ENTRIES = 48;

/** What a ring needs of `Atomics`; a test passes its own to choose the order of the steps. */
export type RingAtomics = Pick<typeof Atomics, 'load' | 'store' | 'exchange' | 'wait' | 'notify'>;

export class Ring {
  readonly buffer: SharedArrayBuffer;
  readonly capacity: number;
  readonly #words: Int32Array;
  readonly #mask: number;
  readonly #atomics: RingAtomics;

  /** Wraps a buffer made by `Ring.allocate`. */
  constructor(buffer: SharedArrayBuffer, atomics: RingAtomics = Atomics) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.#atomics = atomics;
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
    const words = this.#words;
    return (this.#atomics.load(words, TAIL) - this.#atomics.load(words, HEAD)) | 0;
  }

  /** Producer: appends slots[from..count) as far as they fit; returns how many of them did. */
  push(slots: Int32Array, from: number, count: number): number {
    const words = this.#words;
    const mask = this.#mask;
    const tail = words[TAIL];
    const room = this.capacity - ((tail - this.#atomics.load(words, HEAD)) | 0);
    const fits = Math.min(count - from, room);
    for (let i = 0; i < fits; i++) words[ENTRIES + ((tail + i) & mask)] = slots[from + i];
    if (fits > 0) this.#atomics.store(words, TAIL, (tail + fits) | 0);
    return fits;
  }

  /** Consumer: moves up to `max` entries into `out`; returns how many. */
  pop(out: Int32Array, max: number): number {
    const words = this.#words;
    const head = words[HEAD];
    const waiting = (this.#atomics.load(words, TAIL) - head) | 0;
    const count = Math.min(waiting, max);
    this.#copy(head, out, count);
    if (count > 0) this.#atomics.store(words, HEAD, (head + count) | 0);
    return count;
  }

  /**
   * Copies the waiting entries, up to out's length, and leaves them: what a dead consumer has not
   * taken. Returns how many.
   */
  peek(out: Int32Array): number {
    const head = this.#atomics.load(this.#words, HEAD);
    const count = Math.min(this.size, out.length);
    this.#copy(head, out, count);
    return count;
  }

  /** Consumer: announces that it will sleep. False: there are entries, so it must not. */
  arm(): boolean {
    const words = this.#words;
    this.#atomics.store(words, SLEEP, 1);
    if (this.#atomics.load(words, TAIL) === words[HEAD]) return true;
    this.#atomics.store(words, SLEEP, 0);
    return false;
  }

  /** Consumer, armed: sleeps until woken, at most `ms`. Not on a thread that must not block. */
  sleep(ms: number): void {
    this.#atomics.wait(this.#words, SLEEP, 1, ms);
  }

  /** Consumer: is awake again. */
  disarm(): void {
    this.#atomics.store(this.#words, SLEEP, 0);
  }

  /** Whether the consumer sleeps or is about to. */
  get isArmed(): boolean {
    return this.#atomics.load(this.#words, SLEEP) === 1;
  }

  /**
   * Producer, after a push: whether the consumer sleeps and it falls to this call to wake it. Of
   * several calls one is told so.
   */
  takeSleeper(): boolean {
    const words = this.#words;
    return this.#atomics.load(words, SLEEP) === 1 && this.#atomics.exchange(words, SLEEP, 0) === 1;
  }

  /** Producer, after a push: wakes a consumer that is in `sleep`. */
  wake(): void {
    if (this.takeSleeper()) this.#atomics.notify(this.#words, SLEEP, 1);
  }

  #copy(head: number, out: Int32Array, count: number): void {
    const words = this.#words;
    const mask = this.#mask;
    for (let i = 0; i < count; i++) out[i] = words[ENTRIES + ((head + i) & mask)];
  }
}
