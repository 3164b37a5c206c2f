/**
 * HalfSipHash-c-d with 32-bit output and a 64-bit key: the hash of names and records.
 *
 * Keyed, because strangers choose the names: with a public hash one packet generator fills a single
 * probe sequence of a table. 32-bit arithmetic only, so it stays in integer registers; allocates
 * nothing.
 *
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", and the authors' reference
 * implementation of the 32-bit variant. 1-3 rounds suffice for hash tables that never show their
 * hashes.
 */

/** Rounds per 4-byte word; the hash table variant. */
const COMPRESSION_ROUNDS = 1;
/** Rounds after the last word; the hash table variant. */
const FINAL_ROUNDS = 3;

/** Names have at most 255 bytes. */
const SCRATCH_WORDS = 256;

const INIT_2 = 0x6c796765;
const INIT_3 = 0x74656462;

export class HalfSipHash {
  readonly #key0: number;
  readonly #key1: number;
  readonly #compressionRounds: number;
  readonly #finalRounds: number;
  readonly #scratch = new Int32Array(SCRATCH_WORDS);
  readonly #scratchBytes = new Uint8Array(this.#scratch.buffer);

  /**
   * `key0` and `key1`: the key's two little-endian 32-bit halves, secret and random per process.
   */
  constructor(
    key0: number,
    key1: number,
    compressionRounds = COMPRESSION_ROUNDS,
    finalRounds = FINAL_ROUNDS,
  ) {
    this.#key0 = key0 | 0;
    this.#key1 = key1 | 0;
    this.#compressionRounds = compressionRounds;
    this.#finalRounds = finalRounds;
  }

  /**
   * The hash of the first `length` bytes of little-endian `words`, an int32: signed, it is never
   * boxed on its way back, whatever the compiler inlines. Bytes behind `length` do not matter.
   */
  prefix(words: Int32Array, length: number): number {
    let v0 = this.#key0;
    let v1 = this.#key1;
    let v2 = INIT_2 ^ v0;
    let v3 = INIT_3 ^ v1;
    const rounds = this.#compressionRounds;
    const last = rounds + this.#finalRounds;
    const count = length >> 2;
    const rest = length & 3;
    // One loop holds whole words, the tail with the length, and the final rounds: one copy of the
    // round for the compiler to keep in registers.
    for (let at = 0; at <= count; at++) {
      let word = length << 24;
      if (at < count) word = words[at];
      else if (rest !== 0) word |= words[at] & ((1 << (rest << 3)) - 1);
      const steps = at < count ? rounds : last;
      v3 ^= word;
      for (let round = 0; round < steps; round++) {
        if (round === rounds) {
          v0 ^= word;
          v2 ^= 0xff;
        }
        v0 = (v0 + v1) | 0;
        v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
        v0 = (v0 << 16) | (v0 >>> 16);
        v2 = (v2 + v3) | 0;
        v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
        v0 = (v0 + v3) | 0;
        v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
        v2 = (v2 + v1) | 0;
        v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
        v2 = (v2 << 16) | (v2 >>> 16);
      }
      if (at < count) v0 ^= word;
    }
    return v1 ^ v3;
  }

  /** The same for `data[start..end)`, at most 1,024 bytes: for what is not in words. */
  bytes(data: Uint8Array, start: number, end: number): number {
    for (let i = start; i < end; i++) this.#scratchBytes[i - start] = data[i];
    return this.prefix(this.#scratch, end - start);
  }

  /** The same for the first `count` words. */
  words(data: Int32Array, count: number): number {
    return this.prefix(data, count << 2);
  }
}
