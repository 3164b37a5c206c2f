/**
 * Signatures are checked off the lanes: a check takes 40 us, a lookup one. Main submits slots whose
 * request a lane wants to have checked; when they come back through `onDone`, their state says
 * SLOT_GENUINE or SLOT_FORGED, or neither when the check failed (its thread died), and main gives
 * them to their lane again.
 *
 *   lane --(length < 0)--> main --submit--> queue --> thread, at most 16 --wake--> main --onDone-->
 *
 * Few are at a thread, which checks at most 8 before it tells main, so that nothing waits long:
 * what cannot be checked in time waits in the queue, and what does not fit there is refused at
 * once.
 *
 * On threads of their own (pool-verifier.ts), or, of many nodes in one process, on main itself
 * (inline-verifier.ts).
 */
import type { Slab } from '../../workers/slab.ts';

/** 10 ms of one thread's work: who waits longer asks again anyway. A power of two. */
export const DEFAULT_QUEUE_SLOTS = 256;

export interface Verifier {
  /** Takes a slot to have its signature checked; false when too many wait, or it is closed. */
  submit(slot: number): boolean;
  /** Slots taken and not yet given back. */
  readonly pending: number;
  /** Slots given back without a result. */
  readonly failed: number;
  /** Gives back what is in the queue, waits for what is being checked, and ends its threads. */
  close(): Promise<void>;
}

export interface VerifierParts {
  readonly slab: Slab;
  /** The routing table's memory: it has the node's own id. */
  readonly table: SharedArrayBuffer;
  /** Takes back the first `count` of `slots`, never within `submit`. It must not keep the array. */
  readonly onDone: (slots: Int32Array, count: number) => void;
}
