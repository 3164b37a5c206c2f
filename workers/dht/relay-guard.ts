/**
 * What passed through here a moment ago, so that only what belongs to it passes after it:
 *
 *   client --handshake--> here --> server      noted: (client, transaction, target)
 *   client <----reply---- here <-- server      passes once, by what was noted
 *
 * A set-associative table: a key has one set of four entries, in which the oldest makes room. So it
 * is bounded, and who fills it makes others' replies get lost at worst.
 *
 *   entry, five words:  host | port and tid | target's hash | until | how often
 */
import { HalfSipHash } from '../../codecs/hash/halfsiphash.ts';
import type { Rng } from '../rng.ts';

const WAYS = 4;
const ENTRY_WORDS = 5;
const SET_WORDS = WAYS * ENTRY_WORDS;
const KEY_WORDS = 3;
const UNTIL = 3;
const CREDITS = 4;
/** A client tries four times; more often nobody asks within the time. */
const MOST_CREDITS = 8;

export class RelayGuard {
  readonly #words: Int32Array;
  readonly #sets: number;
  readonly #keepMs: number;
  readonly #hash: HalfSipHash;
  readonly #key = new Int32Array(KEY_WORDS);

  /** `entries`: rounded up to four times a power of two. */
  constructor(rng: Rng, entries: number, keepMs: number) {
    let sets = 1;
    while (sets * WAYS < entries) sets *= 2;
    this.#sets = sets;
    this.#words = new Int32Array(sets * SET_WORDS);
    this.#keepMs = keepMs;
    this.#hash = new HalfSipHash(rng.next(), rng.next());
  }

  /** Notes a key once more: an IPv4 address, a port and a number with it, a target's hash. */
  note(host: number, port: number, tid: number, target: number, nowMs: number): void {
    const words = this.#words;
    const now = nowMs | 0;
    let entry = this.#find(host, port, tid, target, now);
    if (entry < 0) {
      entry = this.#oldest(now);
      for (let i = 0; i < KEY_WORDS; i++) words[entry + i] = this.#key[i];
      words[entry + CREDITS] = 0;
    }
    words[entry + UNTIL] = (now + this.#keepMs) | 0;
    if (words[entry + CREDITS] < MOST_CREDITS) words[entry + CREDITS]++;
  }

  /** Whether the key has been noted in time. */
  has(host: number, port: number, tid: number, target: number, nowMs: number): boolean {
    return this.#find(host, port, tid, target, nowMs | 0) >= 0;
  }

  /** The same, but as often only as it was noted. */
  take(host: number, port: number, tid: number, target: number, nowMs: number): boolean {
    const entry = this.#find(host, port, tid, target, nowMs | 0);
    if (entry < 0) return false;
    this.#words[entry + CREDITS]--;
    return true;
  }

  #find(host: number, port: number, tid: number, target: number, now: number): number {
    const key = this.#key;
    key[0] = host;
    key[1] = (port << 16) | tid;
    key[2] = target;
    const words = this.#words;
    const first = this.#setOf();
    for (let entry = first; entry < first + SET_WORDS; entry += ENTRY_WORDS) {
      if (words[entry] !== key[0] || words[entry + 1] !== key[1]) continue;
      if (words[entry + 2] === key[2] && this.#isLive(entry, now)) return entry;
    }
    return -1;
  }

  #setOf(): number {
    return (this.#hash.words(this.#key, KEY_WORDS) & (this.#sets - 1)) * SET_WORDS;
  }

  #isLive(entry: number, now: number): boolean {
    const left = (this.#words[entry + UNTIL] - now) | 0;
    return this.#words[entry + CREDITS] > 0 && left > 0 && left <= this.#keepMs;
  }

  /** The entry of the key's set that has expired or will first. */
  #oldest(now: number): number {
    const words = this.#words;
    const first = this.#setOf();
    let oldest = first;
    let least = this.#keepMs + 1;
    for (let entry = first; entry < first + SET_WORDS; entry += ENTRY_WORDS) {
      const left = this.#isLive(entry, now) ? (words[entry + UNTIL] - now) | 0 : 0;
      if (left >= least) continue;
      least = left;
      oldest = entry;
    }
    return oldest;
  }
}
