/**
 * The first places of a random order of 0 to n - 1, each order equally likely, without an array of
 * n: of a Fisher-Yates shuffle only what was swapped is kept.
 *
 *   places   0 .. most - 1    their numbers, as in a shuffle of an array; of a small n that is all
 *            most .. n - 1    the place and the number of each that was swapped; later ones last
 */
import type { RandomSource } from '../../store/sample.ts';

const PER_WORD = 2 ** -32;

export class Shuffle {
  /** What was drawn, by place; behind it the numbers of places not drawn yet. */
  readonly numbers: Int32Array;
  readonly #most: number;
  readonly #farPlaces: Int32Array;
  readonly #farNumbers: Int32Array;
  #far = 0;

  /** For at most `most` draws in a row. */
  constructor(most: number) {
    this.#most = most;
    this.numbers = new Int32Array(most);
    this.#farPlaces = new Int32Array(most);
    this.#farNumbers = new Int32Array(most);
  }

  /**
   * Draws the numbers at the places `from` to `to` - 1 of a shuffle of 0 to n - 1 into `numbers`;
   * the places before were drawn just before, with the same n. `to` is at most n.
   */
  draw(from: number, to: number, n: number, random: RandomSource): void {
    const { numbers } = this;
    const most = this.#most;
    if (from === 0) {
      const near = Math.min(n, most);
      for (let place = 0; place < near; place++) numbers[place] = place;
      this.#far = 0;
    }
    for (let i = from; i < to; i++) {
      const other = i + ((random.next() * (n - i) * PER_WORD) | 0);
      const own = numbers[i];
      if (other >= most) {
        numbers[i] = this.#swapFar(other, own);
        continue;
      }
      numbers[i] = numbers[other];
      numbers[other] = own;
    }
  }

  /** Puts a number at a far place; returns the one that was there. */
  #swapFar(place: number, number: number): number {
    const places = this.#farPlaces;
    const numbers = this.#farNumbers;
    const far = this.#far;
    let found = place;
    for (let s = 0; s < far; s++) if (places[s] === place) found = numbers[s];
    places[far] = place;
    numbers[far] = number;
    this.#far = far + 1;
    return found;
  }
}
