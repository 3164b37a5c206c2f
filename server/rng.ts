/** The one door to secret randomness: keys and seeds at start, never on the hot path. */
import { randomBytes } from 'node:crypto';

/** `count` unpredictable bytes. */
export function secretBytes(count: number): Uint8Array {
  return new Uint8Array(randomBytes(count));
}

/** An unpredictable unsigned 32-bit integer. */
export function secretUint32(): number {
  return randomBytes(4).readUInt32LE(0);
}
