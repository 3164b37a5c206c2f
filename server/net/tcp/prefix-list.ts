/**
 * An ordered list that can also be read network by network: each network's own elements are linked
 * in the same order.
 *
 *   first -> 7 -> 2 -> 9 -> 4          network 0: 7 -> 9          network 1: 2 -> 4
 *
 * In the inner list the elements capacity + network are the ends; next[n] = -1: not on it.
 */
import { OrderedList } from './ordered-list.ts';

export class PrefixList extends OrderedList {
  readonly #networks: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #capacity: number;

  /** `networks`: each number's network, 0 to capacity - 1, which stays while it is on the list. */
  constructor(capacity: number, networks: Int32Array) {
    super(capacity);
    this.#capacity = capacity;
    this.#networks = networks;
    this.#next = new Int32Array(2 * capacity).fill(-1);
    this.#previous = new Int32Array(2 * capacity);
    for (let end = capacity; end < 2 * capacity; end++) {
      this.#next[end] = end;
      this.#previous[end] = end;
    }
  }

  /** The number of a network that was appended the longest ago; -1 when there is none. */
  firstOf(network: number): number {
    const first = this.#next[this.#capacity + network];
    return first < this.#capacity ? first : -1;
  }

  override append(n: number, now: number): void {
    // This takes it off both lists.
    super.append(n, now);
    const end = this.#capacity + this.#networks[n];
    const last = this.#previous[end];
    this.#next[last] = n;
    this.#previous[n] = last;
    this.#next[n] = end;
    this.#previous[end] = n;
  }

  override remove(n: number): void {
    super.remove(n);
    const next = this.#next[n];
    if (next === -1) return;
    const previous = this.#previous[n];
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.#next[n] = -1;
  }
}
