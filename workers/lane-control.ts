/**
 * What main and a lane's thread tell each other beside datagrams, in one cache line:
 *
 *   word 0 beat    counted up by the lane at every turn: it stands still when the lane hangs
 *   word 1 stop    set by main: end when the request ring is empty (main does not wait for ever)
 */
const BEAT = 0;
const STOP = 1;
const BYTES = 64;

export class LaneControl {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  static allocate(): LaneControl {
    return new LaneControl(new SharedArrayBuffer(BYTES));
  }

  /** Lane: another turn begins. */
  beat(): void {
    Atomics.store(this.#words, BEAT, (this.#words[BEAT] + 1) | 0);
  }

  /** Turns so far; wraps. */
  get beats(): number {
    return Atomics.load(this.#words, BEAT);
  }

  /** Main: asks the lane to end. Wake its ring afterwards. */
  stop(): void {
    Atomics.store(this.#words, STOP, 1);
  }

  get isStopping(): boolean {
    return Atomics.load(this.#words, STOP) !== 0;
  }
}
