/** Tells of the queries that arrive at a listening instance and the answers that leave it. */
import { guardHeader, VERDICT } from '../../../codecs/dns/guard.ts';
import { Message } from '../../../workers/message.ts';
import type { Overflow } from '../../../workers/overflow.ts';
import { SLOT_ADDRESS, SLOT_PORT, type Slab } from '../../../workers/slab.ts';
import { formatAddress } from '../../net/ip-address.ts';
import type { DatagramTap } from '../../tap.ts';
import { decodeMessage } from '../decode-message.ts';
import type { TrafficTap } from '../traffic.ts';
import type { Afterwards } from './afterwards.ts';

/**
 * Told of: queries that pass the guard (codecs/dns/guard.ts), whatever is thought of them later,
 * and answers that were sent. Not: pushes and their acknowledgements, as with the original server,
 * and what dns-packet cannot decode. Whether somebody listens is asked once per batch.
 */
export class DnsTap implements DatagramTap {
  readonly #slab: Slab;
  readonly #message: Message;
  readonly #traffic: TrafficTap;
  readonly #afterwards: Afterwards;

  constructor(slab: Slab, overflow: Overflow, traffic: TrafficTap, afterwards: Afterwards) {
    this.#slab = slab;
    this.#message = new Message(slab, overflow);
    this.#traffic = traffic;
    this.#afterwards = afterwards;
  }

  arrived(slots: Int32Array, count: number): void {
    if (!this.#traffic.isWanted()) return;
    for (let i = 0; i < count; i++) this.#look(slots[i], VERDICT.QUERY_OK, 'in:query');
  }

  left(slots: Int32Array, count: number): void {
    if (!this.#traffic.isWanted()) return;
    for (let i = 0; i < count; i++) this.#look(slots[i], VERDICT.RESPONSE, 'out:response');
  }

  #look(slot: number, wanted: number, type: 'in:query' | 'out:response'): void {
    const message = this.#message;
    message.locate(slot);
    const { base, bytes, start, length } = message;
    if (guardHeader(bytes, start, length) !== wanted) return;
    // A copy: what is decoded refers to it, and the slot is soon another's.
    const copy = Uint8Array.from(bytes.subarray(start, start + length));
    // What we wrote ourselves may be as long as it is, over TCP.
    const decoded = decodeMessage(copy, wanted === VERDICT.RESPONSE ? length : undefined);
    if (decoded === null) return;
    const port = this.#slab.u16[(base + SLOT_PORT) >> 1];
    const host = formatAddress(this.#slab.bytes, base + SLOT_ADDRESS);
    const details = { message: decoded, peer: { port, host } };
    this.#afterwards.call(() => this.#traffic.tell(type, details));
  }
}
