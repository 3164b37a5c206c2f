/**
 * Admission of what is of the DHT, which comes by UDP:
 *
 *   1 short      less than the head of a message (dropShort)
 *   2 reply      to a request of our own: for the control plane
 *   3 proven     a source that has answered us lately, or of a private network: no limit
 *   4 budget     what the source's prefix may still be sent without proof (dropRateLimited)
 *
 * A source beyond its budget is sent a ping, once in a while: who answers is proven.
 */
import {
  COMMAND,
  FLAG_ID,
  FLAG_INTERNAL,
  FLAG_TOKEN,
  HEAD_BYTES,
  ID_BYTES,
  INTERNAL,
  MAX_DATAGRAM_BYTES,
  TOKEN_BYTES,
} from '../codecs/dht/constants.ts';
import { COUNTER, type CounterRow } from '../workers/counters.ts';
import { PROTOCOL_DHT_REPLY } from '../workers/protocols.ts';
import {
  SLOT_ADDRESS,
  SLOT_BYTES,
  SLOT_FAMILY,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_PROVEN,
  SLOT_STATE,
  type Slab,
} from '../workers/slab.ts';
import { isPrivate } from '../workers/source-prefix.ts';
import { ACCEPT, CONTROL, DROP } from './admission.ts';
import { FULL, type RateLimiter, SILENT } from './limits/rate-limiter.ts';

const FLAGS_AT = 1;
/** Id, token, 20 closer nodes, a record and what is around them. */
const SHORT_ANSWER_BYTES = 280;
/** An id and what is before it. */
const PING_ANSWER_BYTES = 64;

/** The addresses that have answered us lately (server/dht/proven-table.ts). */
export interface ProvenSources {
  /** Whether the address in the four words at `at` has, from `port`, by `nowMs`. */
  has(words: Int32Array, at: number, port: number, nowMs: number): boolean;
}

export interface DhtAdmissionParts {
  readonly slab: Slab;
  readonly counters: CounterRow;
  /** Null: nothing is limited. */
  readonly limiter: RateLimiter | null;
  /** The network is a private one: private addresses are its own and have no limit. */
  readonly sparesPrivate: boolean;
  readonly proven: ProvenSources;
  /** The source of the datagram in `slot` has had its budget: let it prove its address. */
  readonly challenge: (slot: number) => void;
}

export class DhtAdmission {
  readonly #parts: DhtAdmissionParts;

  constructor(parts: DhtAdmissionParts) {
    this.#parts = parts;
  }

  /** The verdict on the datagram in `slot`, whose first byte is that of a message. */
  admit(slot: number, protocol: number, nowMs: number): number {
    const { slab, counters, limiter, sparesPrivate, proven, challenge } = this.#parts;
    const base = slot * SLOT_BYTES;
    const length = slab.i32[(base + SLOT_LENGTH) >> 2];
    if (length < HEAD_BYTES || slab.bytes[base + SLOT_FAMILY] !== 4) {
      counters[COUNTER.dropShort]++;
      return DROP;
    }
    if (protocol === PROTOCOL_DHT_REPLY) return CONTROL;
    if (limiter === null) return ACCEPT;
    const address = (base + SLOT_ADDRESS) >> 2;
    const port = slab.u16[(base + SLOT_PORT) >> 1];
    const isSpared = sparesPrivate && isPrivate(slab.i32, address);
    if (isSpared || proven.has(slab.i32, address, port, nowMs)) {
      limiter.pass(slab, slot);
      slab.bytes[base + SLOT_STATE] = SLOT_PROVEN;
      return ACCEPT;
    }
    const start = base + SLOT_HEADER_BYTES;
    const verdict = limiter.admitFor(slab, slot, nowMs, longestAnswer(slab.bytes, start));
    if (verdict === FULL) return ACCEPT;
    challenge(slot);
    // A token may prove the source yet.
    if (verdict !== SILENT || (slab.bytes[start + FLAGS_AT] & FLAG_TOKEN) !== 0) return ACCEPT;
    counters[COUNTER.dropRateLimited]++;
    return DROP;
  }
}

/** How long the answer to a request may be, by what its command is; a bound, not a promise. */
function longestAnswer(bytes: Uint8Array, start: number): number {
  const flags = bytes[start + FLAGS_AT];
  let at = start + HEAD_BYTES;
  if ((flags & FLAG_ID) !== 0) at += ID_BYTES;
  if ((flags & FLAG_TOKEN) !== 0) at += TOKEN_BYTES;
  const command = bytes[at];
  if ((flags & FLAG_INTERNAL) !== 0) {
    // A wrong token draws a fresh one and closer nodes.
    const isPing = command <= INTERNAL.DELAYED_PING && command !== INTERNAL.FIND_NODE;
    return isPing && (flags & FLAG_TOKEN) === 0 ? PING_ANSWER_BYTES : SHORT_ANSWER_BYTES;
  }
  const isLong =
    command === COMMAND.LOOKUP ||
    command === COMMAND.MUTABLE_GET ||
    command === COMMAND.IMMUTABLE_GET;
  return isLong ? MAX_DATAGRAM_BYTES : SHORT_ANSWER_BYTES;
}
