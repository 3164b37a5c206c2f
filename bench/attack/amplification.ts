/**
 * What each attacked network was sent beyond three times its questions: 127.x.y.0/24 is row x * 256
 * + y.
 *
 *   excess of an answer = its bytes - 3 x its question's, at least 0, headers counted
 *   level of a network  = excesses so far, leaking AMPLIFICATION_BYTES_PER_SECOND
 *
 * The level never being above AMPLIFICATION_BURST_BYTES is the same as every span of t seconds, 10
 * or any other, having at most that burst and t seconds of the rate. Questions that were not
 * answered earn their network nothing here.
 */
import {
  AMPLIFICATION_BYTES_PER_SECOND,
  AMPLIFICATION_FACTOR,
  IPV4_UDP_HEADER_BYTES,
} from '../../server/limits/rate-limiter.ts';

const PREFIXES = 65_536;

export interface Amplification {
  /** With headers. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** The highest level of any network. */
  readonly worstBytes: number;
  /** Networks that asked. */
  readonly prefixes: number;
}

export class AmplificationMeter {
  readonly #level = new Float64Array(PREFIXES);
  readonly #asOf = new Float64Array(PREFIXES);
  readonly #seen = new Uint8Array(PREFIXES);
  #sentBytes = 0;
  #receivedBytes = 0;
  #worstBytes = 0;

  /** A question of `length` bytes left with `source` as its address. */
  sent(source: number, length: number): void {
    this.#seen[(source >>> 8) & 0xffff] = 1;
    this.#sentBytes += length + IPV4_UDP_HEADER_BYTES;
  }

  /** An answer of `length` bytes to a question of `asked` bytes came for `source`. */
  received(source: number, length: number, asked: number, nowMs: number): void {
    const bytes = length + IPV4_UDP_HEADER_BYTES;
    this.#receivedBytes += bytes;
    const excess = bytes - AMPLIFICATION_FACTOR * (asked + IPV4_UDP_HEADER_BYTES);
    if (excess <= 0) return;
    const prefix = (source >>> 8) & 0xffff;
    const leaked = ((nowMs - this.#asOf[prefix]) * AMPLIFICATION_BYTES_PER_SECOND) / 1000;
    this.#level[prefix] = Math.max(0, this.#level[prefix] - leaked) + excess;
    this.#asOf[prefix] = nowMs;
    this.#worstBytes = Math.max(this.#worstBytes, this.#level[prefix]);
  }

  result(): Amplification {
    let prefixes = 0;
    for (let i = 0; i < PREFIXES; i++) prefixes += this.#seen[i];
    const sentBytes = this.#sentBytes;
    const receivedBytes = this.#receivedBytes;
    return { sentBytes, receivedBytes, worstBytes: this.#worstBytes, prefixes };
  }
}
