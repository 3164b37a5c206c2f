/** Slots with signed requests, some of them forged, and what comes back of them. */
import assert from 'node:assert/strict';
import { Rng } from '../../../workers/rng.ts';
import {
  SLOT_BYTES,
  SLOT_FORGED,
  SLOT_GENUINE,
  SLOT_HEADER_BYTES,
  SLOT_STATE,
  type Slab,
} from '../../../workers/slab.ts';
import { fillSlot, signedAnnounce, signedMutablePut } from './fixture.ts';

export const SLOTS = 40;
const FORGED_EVERY = 5;
const HOLD_MS = 1000;

/** Signed requests in all slots, every fifth of them forged. */
export function fillAll(slab: Slab, seed: number): void {
  const rng = new Rng(seed);
  for (let slot = 0; slot < slab.slotCount; slot++) {
    const datagram = rng.below(2) === 0 ? signedAnnounce(rng) : signedMutablePut(rng);
    fillSlot(slab, slot, datagram);
    if (slot % FORGED_EVERY === 0) slab.bytes[lastByte(slot, datagram)] ^= 1;
  }
}

/** Of the target: an announce signs it; of a mutable value the end of its signature is changed. */
function lastByte(slot: number, datagram: Uint8Array): number {
  const data = slot * SLOT_BYTES + SLOT_HEADER_BYTES;
  const isPut = datagram[42] === 6;
  return data + (isPut ? datagram.length - 1 : 43);
}

export function stateOf(slab: Slab, slot: number): number {
  return slab.bytes[slot * SLOT_BYTES + SLOT_STATE];
}

/** Collects what comes back; resolves when `count` slots have. */
export class Collector {
  readonly slots: number[] = [];
  batches = 0;
  #waiting: { count: number; resolve: () => void } | null = null;
  readonly onDone = (slots: Int32Array, count: number): void => {
    this.slots.push(...slots.slice(0, count));
    this.batches++;
    if (this.#waiting !== null && this.slots.length >= this.#waiting.count) this.#waiting.resolve();
  };

  async until(count: number): Promise<void> {
    if (this.slots.length >= count) return;
    // The threads keep no process alive.
    const timer = setInterval(() => undefined, HOLD_MS);
    await new Promise<void>((resolve) => {
      this.#waiting = { count, resolve };
    });
    clearInterval(timer);
  }
}

export function assertChecked(slab: Slab, slots: readonly number[], count: number): void {
  assert.equal(new Set(slots).size, count);
  for (const slot of slots) {
    const expected = slot % FORGED_EVERY === 0 ? SLOT_FORGED : SLOT_GENUINE;
    assert.equal(stateOf(slab, slot), expected, `slot ${slot}`);
  }
}
