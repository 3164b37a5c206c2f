/**
 * Admission: the ordered cheap checks before anything is decoded. Verdicts, not exceptions; every
 * drop is counted by its reason. The order, cheapest and most decisive first:
 *
 *   1 size       longer than a slot: dropped where it is received (dropTooLong)
 *   2 port 0     nobody can be answered there (dropPortZero)
 *   3 protocol   first bytes that no protocol claims (dropUnknownProtocol)
 *   4 guard      less than a header (dropShort); counts that cannot be (FORMERR, NOTIMP)
 *   5 budget     what the source's prefix may still be sent without proof (dropRateLimited)
 *
 * A message by TCP has proven its source by being here: it skips 2 and 5. What is of the DHT goes
 * on to dht-admission.ts after 3.
 */
import { RCODE } from '../codecs/dns/constants.ts';
import { guardHeader, isSendable, VERDICT } from '../codecs/dns/guard.ts';
import { errorHeader } from '../codecs/dns/reply.ts';
import { COUNTER, type CounterRow } from '../workers/counters.ts';
import type { Overflow } from '../workers/overflow.ts';
import { PROTOCOL_DNS, PROTOCOL_NONE } from '../workers/protocols.ts';
import {
  SLOT_BYTES,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_PROTOCOL,
  SLOT_TRANSPORT,
  type Slab,
  TRANSPORT_UDP,
} from '../workers/slab.ts';
import type { DhtAdmission } from './dht-admission.ts';
import { canProve } from './limits/dns-counts.ts';
import { type RateLimiter, SILENT } from './limits/rate-limiter.ts';
import { protocolOf } from './net/protocol-table.ts';

/** Nothing is sent; the slot is free again. */
export const DROP = 0;
/** The slot already holds a short answer (an error header). */
export const SHORT_REPLY = 1;
/** The datagram goes on to a lane. */
export const ACCEPT = 2;
/** A reply to a request of our own: for the control plane, here on the main thread. */
export const CONTROL = 3;

export class Admission {
  readonly #slab: Slab;
  readonly #overflow: Overflow;
  readonly #counters: CounterRow;
  readonly #limiter: RateLimiter | null;
  readonly #dht: DhtAdmission | null;
  #nowMs = 0;

  /** `limiter`: null where nothing is limited. `dht`: null where no socket is for the DHT. */
  constructor(
    slab: Slab,
    overflow: Overflow,
    counters: CounterRow,
    limiter: RateLimiter | null = null,
    dht: DhtAdmission | null = null,
  ) {
    this.#slab = slab;
    this.#overflow = overflow;
    this.#counters = counters;
    this.#limiter = limiter;
    this.#dht = dht;
  }

  /** Sets the time for the datagrams to come; once per batch. */
  setTime(nowMs: number): void {
    this.#nowMs = nowMs;
  }

  /** The verdict on the datagram in `slot`, which came by a receiver opened for `use`. */
  admit(slot: number, use: number): number {
    const slab = this.#slab;
    const base = slot * SLOT_BYTES;
    const isUdp = slab.bytes[base + SLOT_TRANSPORT] === TRANSPORT_UDP;
    const bytes = isUdp ? slab.bytes : this.#overflow.bytes;
    const start = isUdp ? base + SLOT_HEADER_BYTES : this.#overflow.start(slot);
    const length = slab.i32[(base + SLOT_LENGTH) >> 2];
    if (isUdp && slab.u16[(base + SLOT_PORT) >> 1] === 0) return this.#drop(COUNTER.dropPortZero);
    const protocol = protocolOf(use, bytes, start, length);
    if (protocol === PROTOCOL_NONE) return this.#drop(COUNTER.dropUnknownProtocol);
    slab.bytes[base + SLOT_PROTOCOL] = protocol;
    if (protocol !== PROTOCOL_DNS) {
      const dht = this.#dht;
      if (dht === null) return this.#drop(COUNTER.dropUnknownProtocol);
      return dht.admit(slot, protocol, this.#nowMs);
    }
    const guard = guardHeader(bytes, start, length);
    if (guard === VERDICT.RESPONSE) return ACCEPT;
    if (guard !== VERDICT.QUERY_OK) return this.#refuse(slot, guard, bytes, start, isUdp);
    const limiter = this.#limiter;
    if (limiter === null || !isUdp) return ACCEPT;
    const isSilent = limiter.admit(slab, slot, this.#nowMs) === SILENT;
    // Without records there is no token and no cookie: not worth decoding.
    if (!isSilent || canProve(slab, slot)) return ACCEPT;
    return this.#drop(COUNTER.dropRateLimited);
  }

  /** A malformed query is told so; a malformed anything else is not answered. */
  #refuse(slot: number, guard: number, bytes: Uint8Array, start: number, isUdp: boolean): number {
    if (!isSendable(guard)) return this.#drop(COUNTER.dropShort);
    const notImplemented = guard === VERDICT.NOTIMP;
    this.#counters[notImplemented ? COUNTER.notImplemented : COUNTER.formatErrors]++;
    const limiter = isUdp ? this.#limiter : null;
    if (limiter !== null && !limiter.admitShort(this.#slab, slot, this.#nowMs)) {
      return this.#drop(COUNTER.dropRateLimited);
    }
    const rcode = notImplemented ? RCODE.NOTIMP : RCODE.FORMERR;
    this.#slab.i32[(slot * SLOT_BYTES + SLOT_LENGTH) >> 2] = errorHeader(bytes, start, rcode);
    return SHORT_REPLY;
  }

  #drop(reason: number): number {
    this.#counters[reason]++;
    return DROP;
  }
}
