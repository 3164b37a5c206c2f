/**
 * Checks signatures of requests that lie in slots of the slab: what a verifier's thread does, and,
 * without threads, main itself. The result is a bit in each slot's state, which nobody else writes
 * while its signature is being checked.
 */
import { ID_BYTES } from '../../codecs/dht/constants.ts';
import {
  SLOT_BYTES,
  SLOT_FORGED,
  SLOT_GENUINE,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_STATE,
  Slab,
} from '../slab.ts';
import { RoutingTable } from './routing-table.ts';
import { checkSignature } from './signature.ts';

/** Memory that a check reads, and the slots' states that it writes. */
export interface CheckedMemory {
  readonly slab: SharedArrayBuffer;
  /** The routing table: it has the node's own id. */
  readonly table: SharedArrayBuffer;
}

export class SlotChecker {
  readonly #slab: Slab;
  readonly #table: RoutingTable;
  readonly #ownId = new Uint8Array(ID_BYTES);

  constructor(memory: CheckedMemory) {
    this.#slab = new Slab(memory.slab);
    this.#table = new RoutingTable(memory.table);
  }

  /** Sets SLOT_GENUINE or SLOT_FORGED in the state of each of the first `count` of `slots`. */
  check(slots: Int32Array, count: number): void {
    const { bytes, i32 } = this.#slab;
    this.#table.ownId(this.#ownId, 0);
    for (let i = 0; i < count; i++) {
      const base = slots[i] * SLOT_BYTES;
      // Negative while it is on its way from the lane to here.
      const length = Math.abs(i32[(base + SLOT_LENGTH) >> 2]);
      const isGenuine = checkSignature(bytes, base + SLOT_HEADER_BYTES, length, this.#ownId);
      Atomics.or(bytes, base + SLOT_STATE, isGenuine ? SLOT_GENUINE : SLOT_FORGED);
    }
  }
}
