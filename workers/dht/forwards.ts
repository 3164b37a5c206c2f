/**
 * Forwards: peers who announced themselves (the target is the hash of their public key). What they
 * announced is what FIND_PEER answers, and where from is where handshakes for them are relayed to.
 *
 *   value   address, 16 bytes, v4-mapped | port u16 | peer: public key, number of relays, relays
 *                               ^ byte 12: the last six bytes are an address as on the wire
 */
import { SLOT_ADDRESS } from '../slab.ts';
import { type ApplyResult, OP_PUT, OP_REMOVE } from '../store/change.ts';
import type { Exchange } from './exchange.ts';
import { ValueChange } from './store/change.ts';
import { FORWARD_VALUE_BYTES } from './store/layout.ts';
import type { ValueStore } from './store/value-store.ts';

const ADDRESS_BYTES = 16;
const PORT_BYTES = 2;
const PEER_AT = ADDRESS_BYTES + PORT_BYTES;
const WIRE_AT = 12;

export class Forwards {
  readonly #store: ValueStore;
  readonly #ageMs: number;
  readonly #value = new Uint8Array(FORWARD_VALUE_BYTES);
  readonly #change = new ValueChange();
  /** The store's memory: `addressStart` and `peerStart` point into it. */
  readonly bytes: Uint8Array;

  constructor(store: ValueStore, ageMs: number) {
    this.#store = store;
    this.#ageMs = ageMs;
    this.bytes = store.bytes;
  }

  /** The row of the exchange's target, or -1. */
  find(x: Exchange): number {
    return this.#store.find(x.target, 0, x.targetHash);
  }

  /** Where the announcer's address is, 6 bytes as on the wire. */
  addressStart(row: number): number {
    return this.#store.valueStart(row) + WIRE_AT;
  }

  peerStart(row: number): number {
    return this.#store.valueStart(row) + PEER_AT;
  }

  peerLength(row: number): number {
    return this.#store.valueLength(row) - PEER_AT;
  }

  /** The source of the exchange announces the peer of `length` bytes at peer[at]. */
  put(x: Exchange, peer: Uint8Array, at: number, length: number): ApplyResult {
    const value = this.#value;
    const from = x.base + SLOT_ADDRESS;
    for (let i = 0; i < ADDRESS_BYTES; i++) value[i] = x.bytes[from + i];
    const { port } = x;
    value[ADDRESS_BYTES] = port;
    value[ADDRESS_BYTES + 1] = port >>> 8;
    for (let i = 0; i < length; i++) value[PEER_AT + i] = peer[at + i];
    const change = this.#fill(x, OP_PUT);
    change.value = value;
    change.valueLength = PEER_AT + length;
    change.expiresAt = x.nowMs + this.#ageMs;
    return this.#store.apply(change);
  }

  remove(x: Exchange): void {
    this.#store.apply(this.#fill(x, OP_REMOVE));
  }

  #fill(x: Exchange, op: typeof OP_PUT | typeof OP_REMOVE): ValueChange {
    const change = this.#change;
    change.op = op;
    change.key = x.target;
    change.hash = x.targetHash;
    x.attribute(change);
    return change;
  }
}
