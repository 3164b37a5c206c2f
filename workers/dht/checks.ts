/**
 * Asking main to have a signature checked: 50 us of another thread's time, so only so often for any
 * network. Whoever asks has shown a valid token: the network is truly its own.
 */
import { prefixHigh, prefixLow } from '../source-prefix.ts';
import type { Exchange } from './exchange.ts';
import type { Rate, RateSketch } from './rate-sketch.ts';

/** A percent of a core for one network; a host that comes up announces its topics at once. */
export const CHECK_RATE: Rate = { perSecond: 200, burst: 1000 };

export class Checks {
  readonly #exchange: Exchange;
  readonly #rate: RateSketch;

  constructor(exchange: Exchange, rate: RateSketch) {
    this.#exchange = exchange;
    this.#rate = rate;
  }

  /** What the responder returns for it: the datagram's length, negative. */
  ask(): number {
    const x = this.#exchange;
    const at = x.addressWord;
    const { i32 } = x.slab;
    if (!x.isSpared && !this.#rate.take(prefixHigh(i32, at), prefixLow(i32, at), x.nowMs)) {
      return x.silence();
    }
    return -x.length;
  }
}
