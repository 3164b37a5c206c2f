/**
 * Checks signatures of requests that lie in slots of the slab: what a verifier's thread does, and,
 * without threads, main itself. The result is a bit in each slot's state, which nobody else writes
 * while its signature is being checked.
 */
import { constants, platform, setPriority } from 'node:os';
import { workerData } from 'node:worker_threads';
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

/** What a verifier's thread is started with. */
export interface VerifyMemory {
  readonly slab: SharedArrayBuffer;
  /** The routing table: it has the node's own id. */
  readonly table: SharedArrayBuffer;
}

export class SlotChecker {
  readonly #slab: Slab;
  readonly #table: RoutingTable;
  readonly #ownId = new Uint8Array(ID_BYTES);

  constructor(memory: VerifyMemory) {
    this.#slab = new Slab(memory.slab);
    this.#table = new RoutingTable(memory.table);
  }

  /** Sets SLOT_GENUINE or SLOT_FORGED in the state of each slot. */
  check(slots: readonly number[]): void {
    const { bytes, i32 } = this.#slab;
    this.#table.ownId(this.#ownId, 0);
    for (const slot of slots) {
      const base = slot * SLOT_BYTES;
      // Negative while it is on its way from the lane to here.
      const length = Math.abs(i32[(base + SLOT_LENGTH) >> 2]);
      const isGenuine = checkSignature(bytes, base + SLOT_HEADER_BYTES, length, this.#ownId);
      Atomics.or(bytes, base + SLOT_STATE, isGenuine ? SLOT_GENUINE : SLOT_FORGED);
    }
  }
}

/** Nice value of a verifier's thread: where cores are scarce lanes and main go first. */
const PRIORITY = constants.priority.PRIORITY_BELOW_NORMAL;

let checker: SlotChecker | null = null;

/** A task of the pool: the slots of one batch. The memory is in the thread's `workerData`. */
export default function verifyBatch(slots: readonly number[]): void {
  checker ??= start();
  checker.check(slots);
}

function start(): SlotChecker {
  giveWay();
  return new SlotChecker((workerData as { memory: VerifyMemory }).memory);
}

/** Returns whether this thread lets others go first; where not, checks compete with answers. */
function giveWay(): boolean {
  // Linux takes 0 for the calling thread; elsewhere it would be all of them.
  if (platform() !== 'linux') return false;
  try {
    setPriority(0, PRIORITY);
    return true;
  } catch {
    // A sandbox may forbid it.
    return false;
  }
}
