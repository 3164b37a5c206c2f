/**
 * HMAC-SHA-512-256 (libsodium's crypto_auth): tokens are MACs of an address. sodium-native is
 * loaded when the first MAC is asked for, so importing this opens nothing.
 *
 * Inputs must not be views of shared memory (sodium-native cannot take them): callers copy the few
 * bytes into a scratch buffer first.
 */
import { createRequire } from 'node:module';

export const MAC_BYTES = 32;
export const MAC_KEY_BYTES = 32;

interface Sodium {
  crypto_auth(out: Uint8Array, input: Uint8Array, key: Uint8Array): void;
}

let sodium: Sodium | null = null;

/** Writes the 32-byte MAC of `input` under the 32-byte `key` to `out`. Throws on wrong sizes. */
export function mac(out: Uint8Array, input: Uint8Array, key: Uint8Array): void {
  sodium ??= createRequire(import.meta.url)('sodium-native') as Sodium;
  sodium.crypto_auth(out, input, key);
}
