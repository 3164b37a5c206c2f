/**
 * A message of ring-messages.test.ts, the same in both threads: four words of a slot.
 *
 *   word 0 sequence | word 1, 2 content, which follows from the sequence | word 3 checksum
 */
export const SLOT_WORDS = 16;
export const BATCH = 64;
/** In the place of a slot: there are no more. */
export const STOP = -1;
/** Which way a message goes; part of its checksum. */
export const REQUEST = 0x5bd1e995;
export const REPLY = 0x1b873593;

export interface EchoData {
  readonly requests: SharedArrayBuffer;
  readonly replies: SharedArrayBuffer;
  readonly slots: Int32Array;
  /** -1: by message. */
  readonly wakeDescriptor: number;
}

function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x01000193);
  return mixed ^ (mixed >>> 15);
}

export function write(slots: Int32Array, slot: number, sequence: number, way: number): void {
  const at = slot * SLOT_WORDS;
  const first = mix(way, sequence);
  const second = mix(first, slot);
  slots[at] = sequence;
  slots[at + 1] = first;
  slots[at + 2] = second;
  slots[at + 3] = mix(mix(mix(way, sequence), first), second);
}

/** Throws unless the slot holds message `sequence`, whole, going this way. */
export function verify(slots: Int32Array, slot: number, sequence: number, way: number): void {
  const at = slot * SLOT_WORDS;
  const checksum = mix(mix(mix(way, slots[at]), slots[at + 1]), slots[at + 2]);
  if (slots[at] === sequence && slots[at + 3] === checksum) return;
  const words = slots.subarray(at, at + 4).join(' ');
  throw new Error(`message ${sequence}, slot ${slot}: ${words}, checksum ${checksum}`);
}
