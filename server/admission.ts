/**
 * Admission: the ordered cheap checks before anything is decoded. Verdicts, not exceptions; every
 * drop is counted by its reason. The order is the list in `admit`: cheapest and most decisive
 * first.
 */
import { RCODE } from '../codecs/dns/constants.ts';
import { guardHeader, isSendable, VERDICT } from '../codecs/dns/guard.ts';
import { errorHeader } from '../codecs/dns/reply.ts';
import { COUNTER, type CounterRow } from '../workers/counters.ts';
import { PROTOCOL_NONE } from '../workers/protocols.ts';
import {
  SLOT_BYTES,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_PROTOCOL,
  type Slab,
} from '../workers/slab.ts';
import { protocolOf } from './net/protocol-table.ts';

/** Nothing is sent; the slot is free again. */
export const DROP = 0;
/** The slot already holds a short answer (an error header). */
export const SHORT_REPLY = 1;
/** The datagram goes on to a lane. */
export const ACCEPT = 2;

export class Admission {
  readonly #slab: Slab;
  readonly #counters: CounterRow;

  constructor(slab: Slab, counters: CounterRow) {
    this.#slab = slab;
    this.#counters = counters;
  }

  /** The verdict on the datagram in `slot`, which came by a socket opened for `socketUse`. */
  admit(slot: number, socketUse: number): number {
    const slab = this.#slab;
    const base = slot * SLOT_BYTES;
    const start = base + SLOT_HEADER_BYTES;
    const length = slab.i32[(base + SLOT_LENGTH) >> 2];
    if (slab.u16[(base + SLOT_PORT) >> 1] === 0) return this.#drop(COUNTER.dropPortZero);
    const protocol = protocolOf(socketUse, slab.bytes, start, length);
    if (protocol === PROTOCOL_NONE) return this.#drop(COUNTER.dropUnknownProtocol);
    slab.bytes[base + SLOT_PROTOCOL] = protocol;
    return this.#admitDns(base, start, length);
  }

  /**
   * DNS: the header guard. A malformed query is told so; a malformed anything else is not answered.
   */
  #admitDns(base: number, start: number, length: number): number {
    const slab = this.#slab;
    const verdict = guardHeader(slab.bytes, start, length);
    if (verdict === VERDICT.QUERY_OK || verdict === VERDICT.RESPONSE) return ACCEPT;
    if (!isSendable(verdict)) return this.#drop(COUNTER.dropShort);
    const notImplemented = verdict === VERDICT.NOTIMP;
    this.#counters[notImplemented ? COUNTER.notImplemented : COUNTER.formatErrors]++;
    slab.i32[(base + SLOT_LENGTH) >> 2] = errorHeader(
      slab.bytes,
      start,
      notImplemented ? RCODE.NOTIMP : RCODE.FORMERR,
    );
    return SHORT_REPLY;
  }

  #drop(reason: number): number {
    this.#counters[reason]++;
    return DROP;
  }
}
