/**
 * The five commands of dht-rpc itself. As in the original a request that lacks what its command
 * needs is not answered.
 *
 *   PING          an empty reply
 *   PING_NAT      an empty reply to another port of the asker's: is it open?
 *   FIND_NODE     the nodes closest to a target
 *   DOWN_HINT     a node that does not answer: main may ping it
 *   DELAYED_PING  an empty reply, later
 *
 * What goes to another port or later goes out whoever asks, proven or not, so it is counted by
 * network: a proof is of one address and port, and others live behind the same address.
 */
import {
  ADDRESS_BYTES,
  DHT_ERROR,
  INTERNAL,
  MAX_PING_DELAY_MS,
} from '../../codecs/dht/constants.ts';
import { readU16, readU32 } from '../../codecs/dht/varint.ts';
import { BLAKE2B_BYTES, blake2b256 } from '../../codecs/hash/blake2b.ts';
import { COUNTER } from '../counters.ts';
import { SLOT_DOWN_HINT, SLOT_KEY_HASH, SLOT_PORT, SLOT_SIGHTED } from '../slab.ts';
import { prefixHigh, prefixLow } from '../source-prefix.ts';
import type { DelayedPings } from './delayed-pings.ts';
import type { Exchange } from './exchange.ts';
import type { Rate, RateSketch } from './rate-sketch.ts';
import type { RoutingTable } from './routing-table.ts';

/** Down hints of known nodes told to main, which pings at most 10 nodes at a time. */
export const DOWN_HINTS_PER_SECOND = 64;
/** Down hints looked into, each for a hash of a microsecond: well above what honest nodes send. */
export const HINT_HASHES_PER_SECOND = 4096;
/** What a network may have answered elsewhere or later: some tests of NATs at a time. */
export const DEFLECTION_RATE: Rate = { perSecond: 64, burst: 256 };
const PORT_BYTES = 2;
const DELAY_BYTES = 4;
const SECOND_MS = 1000;

export interface InternalParts {
  readonly exchange: Exchange;
  readonly table: RoutingTable;
  readonly delayedPings: DelayedPings;
  /** How often a network may have us answer elsewhere or later. */
  readonly deflections: RateSketch;
}

export class InternalCommands {
  readonly #parts: InternalParts;
  readonly #address = new Uint8Array(ADDRESS_BYTES);
  readonly #id = new Uint8Array(BLAKE2B_BYTES);
  #hintsLeft = DOWN_HINTS_PER_SECOND;
  #hashesLeft = HINT_HASHES_PER_SECOND;
  #hintsSince = 0;

  constructor(parts: InternalParts) {
    this.#parts = parts;
  }

  /** Answers the request of the exchange; returns the reply's length. */
  answer(): number {
    const x = this.#parts.exchange;
    switch (x.reader.command) {
      case INTERNAL.PING:
        x.counters[COUNTER.dhtPings]++;
        return x.reply(DHT_ERROR.NONE, false, false);
      case INTERNAL.FIND_NODE:
        x.counters[COUNTER.dhtFindNodes]++;
        if (!x.hasTarget) return x.drop(COUNTER.dropMalformed);
        return x.reply(DHT_ERROR.NONE, false, true);
      case INTERNAL.PING_NAT:
        return this.#pingNat(x);
      case INTERNAL.DOWN_HINT:
        return this.#downHint(x);
      case INTERNAL.DELAYED_PING:
        return this.#delayedPing(x);
      default:
        x.counters[COUNTER.dhtUnknownCommands]++;
        return x.reply(DHT_ERROR.UNKNOWN_COMMAND, false, true);
    }
  }

  #pingNat(x: Exchange): number {
    const { valueStart, valueLength } = x.reader;
    x.counters[COUNTER.dhtPingNats]++;
    if (valueLength < PORT_BYTES) return x.drop(COUNTER.dropMalformed);
    const port = readU16(x.bytes, valueStart);
    if (port === 0) return x.drop(COUNTER.dropMalformed);
    if (!this.#mayDeflect(x)) return x.silence();
    x.slab.u16[(x.base + SLOT_PORT) >> 1] = port;
    // Main would look for the sender at this port.
    x.unmark(SLOT_SIGHTED);
    return x.reply(DHT_ERROR.NONE, false, false);
  }

  /** The hint is noted in the slot's state, with the node's entry; main finds it there. */
  #downHint(x: Exchange): number {
    const { valueStart, valueLength } = x.reader;
    x.counters[COUNTER.dhtDownHints]++;
    if (valueLength < ADDRESS_BYTES) return x.drop(COUNTER.dropMalformed);
    if (this.#mayHint(x.nowMs)) {
      for (let i = 0; i < ADDRESS_BYTES; i++) this.#address[i] = x.bytes[valueStart + i];
      blake2b256(this.#id, this.#address);
      const entry = this.#parts.table.find(this.#id, 0);
      if (entry >= 0) {
        this.#hintsLeft--;
        x.mark(SLOT_DOWN_HINT);
        x.slab.i32[(x.base + SLOT_KEY_HASH) >> 2] = entry;
      }
    }
    return x.reply(DHT_ERROR.NONE, false, false);
  }

  #delayedPing(x: Exchange): number {
    const { valueStart, valueLength, tid } = x.reader;
    const { delayedPings } = this.#parts;
    x.counters[COUNTER.dhtDelayedPings]++;
    if (valueLength < DELAY_BYTES) return x.drop(COUNTER.dropMalformed);
    const delayMs = readU32(x.bytes, valueStart);
    if (delayMs > MAX_PING_DELAY_MS) return x.drop(COUNTER.dropMalformed);
    if (delayMs === 0) return x.reply(DHT_ERROR.NONE, false, false);
    const isProven = x.isProven || x.isSpared;
    const mayWait =
      delayedPings.hasRoom(isProven) &&
      (x.isSpared || !delayedPings.isCrowded(x.slab, x.slot)) &&
      this.#mayDeflect(x) &&
      delayedPings.add(x.slab, x.slot, isProven, tid, delayMs, x.nowMs);
    return mayWait ? x.absorb() : x.drop(COUNTER.dropTimersFull);
  }

  #mayDeflect(x: Exchange): boolean {
    if (x.isSpared) return true;
    const { i32 } = x.slab;
    const at = x.addressWord;
    return this.#parts.deflections.take(prefixHigh(i32, at), prefixLow(i32, at), x.nowMs);
  }

  /** Whether a hint is looked into. Those of unknown nodes must not use up what main is told. */
  #mayHint(nowMs: number): boolean {
    if (nowMs - this.#hintsSince >= SECOND_MS) {
      this.#hintsSince = nowMs;
      this.#hintsLeft = DOWN_HINTS_PER_SECOND;
      this.#hashesLeft = HINT_HASHES_PER_SECOND;
    }
    if (this.#hintsLeft === 0 || this.#hashesLeft === 0) return false;
    this.#hashesLeft--;
    return true;
  }
}
