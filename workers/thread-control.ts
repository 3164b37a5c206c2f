/**
 * What main and a thread that serves it (a lane, a verifier) tell each other beside slots, in one
 * cache line:
 *
 *   word 0 beat    counted up by the thread at every turn: it stands still when the thread hangs
 *   word 1 stop    set by main: end when the request ring is empty (main does not wait for ever)
 */
const BEAT = 0;
const STOP = 1;
const BYTES = 64;

export class ThreadControl {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  static allocate(): ThreadControl {
    return new ThreadControl(new SharedArrayBuffer(BYTES));
  }

  /** Thread: another turn begins. */
  beat(): void {
    Atomics.store(this.#words, BEAT, (this.#words[BEAT] + 1) | 0);
  }

  /** Turns so far; wraps. */
  get beats(): number {
    return Atomics.load(this.#words, BEAT);
  }

  /** Main: asks the thread to end. Wake its ring afterwards. */
  stop(): void {
    Atomics.store(this.#words, STOP, 1);
  }

  get isStopping(): boolean {
    return Atomics.load(this.#words, STOP) !== 0;
  }
}
