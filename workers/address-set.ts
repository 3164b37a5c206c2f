/** Which addresses an answer names already: an RRset has no duplicates (RFC 2181 section 5). */
import type { Rng } from './rng.ts';

/** Twice the addresses of the longest answer, so that a place is found soon. */
const PLACES = 2048;

/**
 * A set of the addresses in one array of bytes, by open addressing. A place holds the round it was
 * filled in beside the address's offset, so that emptying the set costs nothing. Strangers choose
 * the addresses: the hash has a seed.
 */
export class AddressSet {
  readonly #rounds = new Int32Array(PLACES);
  readonly #offsets = new Int32Array(PLACES);
  readonly #seed: number;
  #round = 0;

  constructor(rng: Rng) {
    this.#seed = rng.next() | 1;
  }

  clear(): void {
    this.#round = (this.#round + 1) | 0;
    if (this.#round !== 0) return;
    this.#rounds.fill(0);
    this.#round = 1;
  }

  /**
   * Adds the `length` bytes at bytes[at]; false when they are in already. At most PLACES / 2
   * addresses, all of one array and one length.
   */
  add(bytes: Uint8Array, at: number, length: number): boolean {
    let place = this.#hash(bytes, at, length);
    while (this.#rounds[place] === this.#round) {
      if (isSame(bytes, this.#offsets[place], at, length)) return false;
      place = (place + 1) & (PLACES - 1);
    }
    this.#rounds[place] = this.#round;
    this.#offsets[place] = at;
    return true;
  }

  #hash(bytes: Uint8Array, at: number, length: number): number {
    let mixed = this.#seed;
    for (let i = 0; i < length; i++) {
      mixed = Math.imul(mixed ^ bytes[at + i], 0x9e3779b1);
      mixed ^= mixed >>> 15;
    }
    return mixed & (PLACES - 1);
  }
}

function isSame(bytes: Uint8Array, a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (bytes[a + i] !== bytes[b + i]) return false;
  return true;
}
