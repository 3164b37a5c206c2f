/**
 * Values that hyperdht's persistent nodes keep for 48 hours.
 *
 *   IMMUTABLE_PUT, IMMUTABLE_GET   bytes under their hash
 *   MUTABLE_PUT, MUTABLE_GET       signed bytes with a growing sequence number, under the hash of
 *                                  the public key
 *
 * A mutable value is kept as it is answered: seq, length and bytes, signature.
 */
import {
  DHT_ERROR,
  HEAD_BYTES,
  ID_BYTES,
  MAX_DATAGRAM_BYTES,
  PUBLIC_KEY_BYTES,
  SIGNATURE_BYTES,
  TOKEN_BYTES,
} from '../../codecs/dht/constants.ts';
import { MutablePutReader } from '../../codecs/dht/hyper.ts';
import { readVarint, varintBytes, varintSize } from '../../codecs/dht/varint.ts';
import { BLAKE2B_BYTES, blake2b256 } from '../../codecs/hash/blake2b.ts';
import { COUNTER } from '../counters.ts';
import { SLOT_DATA_BYTES } from '../slab.ts';
import type { Checks } from './checks.ts';
import type { Exchange } from './exchange.ts';
import { ValueChange } from './store/change.ts';
import type { ValueStore } from './store/value-store.ts';

/** The length of a value that does not fit into one byte. */
const LENGTH_BYTES = 3;
/**
 * The longest value that can be answered in one datagram. Whatever comes in one that is not
 * fragmented is shorter: a put has all that a get's answer has, and a command and a target.
 */
export const MAX_KEPT_BYTES =
  MAX_DATAGRAM_BYTES - HEAD_BYTES - ID_BYTES - TOKEN_BYTES - LENGTH_BYTES;

export interface ValueParts {
  readonly exchange: Exchange;
  readonly mutables: ValueStore;
  readonly immutables: ValueStore;
  readonly checks: Checks;
  /** How long a value is kept. */
  readonly ageMs: number;
}

export class Values {
  readonly #parts: ValueParts;
  readonly #reader = new MutablePutReader();
  readonly #change = new ValueChange();
  /** On the heap, as the hash needs it. */
  readonly #scratch = new Uint8Array(SLOT_DATA_BYTES);
  readonly #digest = new Uint8Array(BLAKE2B_BYTES);

  constructor(parts: ValueParts) {
    this.#parts = parts;
  }

  immutableGet(): number {
    const { exchange: x, immutables } = this.#parts;
    x.counters[COUNTER.dhtImmutableGets]++;
    if (!x.hasTarget) return x.drop(COUNTER.dropMalformed);
    const row = immutables.find(x.target, 0, x.targetHash);
    if (row < 0) return x.reply(DHT_ERROR.NONE, true, true);
    return x.replyValue(immutables.bytes, immutables.valueStart(row), immutables.valueLength(row));
  }

  immutablePut(): number {
    const { exchange: x, immutables } = this.#parts;
    const { valueStart, valueLength } = x.reader;
    x.counters[COUNTER.dhtImmutablePuts]++;
    if (!x.hasTarget || !x.hasToken || valueStart < 0) return x.drop(COUNTER.dropMalformed);
    if (!this.#isHashOf(x, valueStart, valueLength)) return x.drop(COUNTER.dropMalformed);
    return this.#put(x, immutables, valueStart, valueLength);
  }

  /** The value, unless it is older than what the asker wants. */
  mutableGet(): number {
    const { exchange: x, mutables } = this.#parts;
    const { valueStart, valueLength } = x.reader;
    x.counters[COUNTER.dhtMutableGets]++;
    if (!x.hasTarget || valueStart < 0) return x.drop(COUNTER.dropMalformed);
    const seq = readVarint(x.bytes, valueStart, valueStart + valueLength);
    if (seq < 0) return x.drop(COUNTER.dropMalformed);
    const row = mutables.find(x.target, 0, x.targetHash);
    if (row < 0 || this.#seqOf(row) < seq) return x.reply(DHT_ERROR.NONE, true, true);
    return x.replyValue(mutables.bytes, mutables.valueStart(row), mutables.valueLength(row));
  }

  mutablePut(): number {
    const { exchange: x, mutables, checks } = this.#parts;
    const { valueStart, valueLength } = x.reader;
    const reader = this.#reader;
    if (!x.hasTarget || !x.hasToken || valueStart < 0) return x.drop(COUNTER.dropMalformed);
    const isReadable = reader.read(x.bytes, valueStart, valueLength) && isShortest(reader);
    if (!isReadable || !this.#isHashOf(x, reader.publicKeyStart, PUBLIC_KEY_BYTES)) {
      return x.drop(COUNTER.dropMalformed);
    }
    const { seqStart, seq } = reader;
    const length = reader.signatureStart + SIGNATURE_BYTES - seqStart;
    const row = mutables.find(x.target, 0, x.targetHash);
    // What is here already, signature and all, has been checked.
    const isSame = row >= 0 && this.#isKept(x, row, seqStart, length);
    if (!isSame && !x.isGenuine) return checks.ask();
    x.counters[COUNTER.dhtMutablePuts]++;
    if (row >= 0 && !isSame) {
      const kept = this.#seqOf(row);
      if (kept === seq && !this.#isKept(x, row, seqStart, length - SIGNATURE_BYTES)) {
        return x.reply(DHT_ERROR.SEQ_REUSED, false, true);
      }
      if (seq < kept) return x.reply(DHT_ERROR.SEQ_TOO_LOW, false, true);
    }
    return this.#put(x, mutables, seqStart, length);
  }

  /** Whether the `length` bytes at `at` are what the value in the row begins with. */
  #isKept(x: Exchange, row: number, at: number, length: number): boolean {
    const { mutables } = this.#parts;
    const start = mutables.valueStart(row);
    const kept = mutables.valueLength(row);
    // A longer value has another length in front.
    if (length > kept) return false;
    for (let i = 0; i < length; i++) {
      if (mutables.bytes[start + i] !== x.bytes[at + i]) return false;
    }
    return true;
  }

  #seqOf(row: number): number {
    const { mutables } = this.#parts;
    const start = mutables.valueStart(row);
    return readVarint(mutables.bytes, start, start + varintSize(mutables.bytes[start]));
  }

  #isHashOf(x: Exchange, at: number, length: number): boolean {
    for (let i = 0; i < length; i++) this.#scratch[i] = x.bytes[at + i];
    blake2b256(this.#digest, this.#scratch.subarray(0, length));
    return x.isTarget(this.#digest);
  }

  #put(x: Exchange, store: ValueStore, at: number, length: number): number {
    const change = this.#change;
    change.key = x.target;
    change.hash = x.targetHash;
    x.attribute(change);
    change.value = x.bytes;
    change.valueAt = at;
    change.valueLength = length > MAX_KEPT_BYTES ? TOO_LONG : length;
    change.expiresAt = x.nowMs + this.#parts.ageMs;
    if (x.isStored(store.apply(change))) return x.reply(DHT_ERROR.NONE, true, true);
    return x.reply(DHT_ERROR.UNKNOWN_COMMAND, false, false);
  }
}

/** Longer than any store's values. */
const TOO_LONG = SLOT_DATA_BYTES;

/** Whether its numbers are as short as they can be, as encoders write them: it is kept as it is. */
function isShortest(reader: MutablePutReader): boolean {
  const shortest = varintBytes(reader.seq) + varintBytes(reader.valueLength);
  return reader.valueStart - reader.seqStart === shortest;
}
