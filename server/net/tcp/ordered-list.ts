/**
 * Numbers in the order of a time: a doubly linked list over flat arrays, so that what is due is
 * always at the front, and no timer exists per connection.
 *
 *   first -> 7 -> 2 -> 9 -> first       at[7] <= at[2] <= at[9]
 *
 * The element `capacity` is the ends of the list; next[n] = -1 means that n is not on it.
 */
export class OrderedList {
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #at: Float64Array;
  readonly #end: number;
  #count = 0;

  /** For the numbers 0 to capacity - 1. */
  constructor(capacity: number) {
    this.#end = capacity;
    this.#next = new Int32Array(capacity + 1).fill(-1);
    this.#previous = new Int32Array(capacity + 1);
    this.#at = new Float64Array(capacity);
    this.#next[capacity] = capacity;
    this.#previous[capacity] = capacity;
  }

  get count(): number {
    return this.#count;
  }

  /** The number that was appended the longest ago; -1 when there is none. */
  get first(): number {
    const first = this.#next[this.#end];
    return first === this.#end ? -1 : first;
  }

  /** The number after `n`, which is on the list; -1 at its end. */
  after(n: number): number {
    const next = this.#next[n];
    return next === this.#end ? -1 : next;
  }

  has(n: number): boolean {
    return this.#next[n] !== -1;
  }

  /** The time `n` was appended at. */
  at(n: number): number {
    return this.#at[n];
  }

  /** Puts `n` at the end, wherever it was. Times must not go back. */
  append(n: number, now: number): void {
    this.remove(n);
    const last = this.#previous[this.#end];
    this.#next[last] = n;
    this.#previous[n] = last;
    this.#next[n] = this.#end;
    this.#previous[this.#end] = n;
    this.#at[n] = now;
    this.#count += 1;
  }

  /** Takes `n` off the list, if it is on it. */
  remove(n: number): void {
    const next = this.#next[n];
    if (next === -1) return;
    const previous = this.#previous[n];
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#next[n] = -1;
    this.#count -= 1;
  }
}
