/**
 * BLAKE2b with 32 bytes of output (RFC 7693), as libsodium's crypto_generichash makes it: the hash
 * of node ids, targets and signed payloads. sodium-native is loaded when the first hash is asked
 * for, so importing this opens nothing.
 *
 * No argument may be a view of shared memory (sodium-native cannot take it): callers copy the few
 * bytes into a scratch buffer first.
 */
import { createRequire } from 'node:module';

export const BLAKE2B_BYTES = 32;

interface Sodium {
  crypto_generichash(out: Uint8Array, input: Uint8Array, key?: Uint8Array): void;
  crypto_generichash_batch(out: Uint8Array, inputs: readonly Uint8Array[]): void;
}

let sodium: Sodium | null = null;

function load(): Sodium {
  sodium = createRequire(import.meta.url)('sodium-native') as Sodium;
  return sodium;
}

/** Writes the hash of `input` to `out` (32 bytes), keyed by 16 to 64 bytes if there is a key. */
export function blake2b256(out: Uint8Array, input: Uint8Array, key?: Uint8Array): void {
  if (key === undefined) (sodium ?? load()).crypto_generichash(out, input);
  else (sodium ?? load()).crypto_generichash(out, input, key);
}

/** Writes the hash of all inputs one after the other to `out` (32 bytes). */
export function blake2b256Batch(out: Uint8Array, inputs: readonly Uint8Array[]): void {
  (sodium ?? load()).crypto_generichash_batch(out, inputs);
}
