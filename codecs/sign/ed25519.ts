/**
 * Ed25519 signatures (RFC 8032), as libsodium's crypto_sign_detached makes them: what announces and
 * mutable values of the DHT are signed with. sodium-native is loaded with the first signature, so
 * importing this opens nothing.
 *
 * No argument may be a view of shared memory (sodium-native cannot take it).
 */
import { createRequire } from 'node:module';

const SIGNATURE_BYTES = 64;
/** The seed and behind it the public key. */
export const SECRET_KEY_BYTES = 64;

interface Sodium {
  crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void;
  crypto_sign_verify_detached(
    signature: Uint8Array,
    message: Uint8Array,
    publicKey: Uint8Array,
  ): boolean;
}

let sodium: Sodium | null = null;

function load(): Sodium {
  sodium = createRequire(import.meta.url)('sodium-native') as Sodium;
  return sodium;
}

/** The 64-byte signature of `message` by a 64-byte secret key. Throws on a key of another size. */
export function sign(message: Uint8Array, secretKey: Uint8Array): Uint8Array {
  const signature = new Uint8Array(SIGNATURE_BYTES);
  (sodium ?? load()).crypto_sign_detached(signature, message, secretKey);
  return signature;
}

/** Whether the 64-byte `signature` of `message` is that of `publicKey` (32 bytes). */
export function isSigned(
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: Uint8Array,
): boolean {
  return (sodium ?? load()).crypto_sign_verify_detached(signature, message, publicKey);
}
