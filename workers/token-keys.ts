/**
 * What the tokens of all protocols have in common: a secret makes a key per epoch, with which the
 * MACs of addresses are made, and lanes keep these in sets of rows.
 *
 *   master secret --MAC(label, epoch)--> epoch key --MAC(address)--> token
 *
 * The label sets the protocols apart: a token of one is none of another. Epochs follow the wall
 * clock, so servers that share the secret have the same keys.
 */
import { MAC_KEY_BYTES, mac } from '../codecs/mac/mac.ts';

/** How far the clocks of servers that share a secret may be apart. */
export const CLOCK_SKEW_MS = 30_000;
/** Before the first call of `setTime`. */
const NO_EPOCH = -1;

/** The keys of three epochs, on the heap as sodium-native needs them. */
export class EpochKeys {
  readonly current = new Uint8Array(MAC_KEY_BYTES);
  readonly previous = new Uint8Array(MAC_KEY_BYTES);
  readonly next = new Uint8Array(MAC_KEY_BYTES);
  epoch = NO_EPOCH;
  /** Whether a server whose clock is ahead may be in the next epoch already. */
  isNextNear = false;
  readonly #master: Uint8Array;
  readonly #label: Uint8Array;
  readonly #epochMs: number;

  /** `secret`: 32 bytes, the same on servers behind one address; a RangeError when not. */
  constructor(secret: Uint8Array, label: string, epochMs: number) {
    if (secret.length !== MAC_KEY_BYTES) {
      throw new RangeError(`token secret of ${secret.length} bytes: expected ${MAC_KEY_BYTES}`);
    }
    this.#master = Uint8Array.from(secret);
    this.#label = new TextEncoder().encode(label);
    this.#epochMs = epochMs;
  }

  /** Moves to the epoch of `nowMs`. */
  setTime(nowMs: number): void {
    const epoch = Math.floor(nowMs / this.#epochMs) | 0;
    this.isNextNear = nowMs - epoch * this.#epochMs >= this.#epochMs - CLOCK_SKEW_MS;
    if (epoch === this.epoch) return;
    this.epoch = epoch;
    this.#derive(this.current, epoch);
    this.#derive(this.previous, epoch - 1);
    this.#derive(this.next, epoch + 1);
  }

  #derive(key: Uint8Array, epoch: number): void {
    const input = new Uint8Array(this.#label.length + 4);
    input.set(this.#label);
    new DataView(input.buffer).setInt32(this.#label.length, epoch);
    mac(key, input, this.#master);
  }
}

/**
 * A number of 32 bits for the 16-byte address in the four words at `at`, of which any low bits
 * choose a set: every bit of the address reaches them (neighbours differ in the last byte alone,
 * which is a word's highest). `seed`, odd, scatters the sets.
 */
export function scatter(words: Int32Array, at: number, seed: number): number {
  let mixed = words[at] ^ seed;
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b) ^ words[at + 1];
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35) ^ words[at + 2];
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b) ^ words[at + 3];
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
