/** Latencies by their logarithm: percentiles to within 3%, at the cost of one count each. */

const STEPS_PER_OCTAVE = 24;
/** Up to 2^26 microseconds, more than a minute. */
const OCTAVES = 26;

export class Histogram {
  readonly #counts = new Uint32Array(STEPS_PER_OCTAVE * OCTAVES);
  #total = 0;

  add(us: number): void {
    const step = Math.floor(STEPS_PER_OCTAVE * Math.log2(Math.max(1, us)));
    this.#counts[Math.min(step, this.#counts.length - 1)]++;
    this.#total++;
  }

  /** Microseconds that the share `part` of all is below; 0 when there are none. */
  at(part: number): number {
    let left = this.#total * part;
    for (let step = 0; step < this.#counts.length; step++) {
      left -= this.#counts[step];
      if (left <= 0 && this.#counts[step] > 0) return 2 ** ((step + 0.5) / STEPS_PER_OCTAVE);
    }
    return 0;
  }
}
