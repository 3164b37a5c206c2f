/** Signs as npm hyperdht does (ed25519 by libsodium). */
import { createRequire } from 'node:module';

interface Sodium {
  crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void;
  crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void;
}

const sodium = createRequire(import.meta.url)('sodium-native') as Sodium;

/** The 64-byte signature of `message` by the 64-byte `secretKey`. */
export function sign(message: Uint8Array, secretKey: Uint8Array): Uint8Array {
  const signature = Buffer.alloc(64);
  sodium.crypto_sign_detached(signature, message, secretKey);
  return signature;
}

/** The key pair of a 32-byte seed. */
export function keyPair(seed: Uint8Array): { publicKey: Uint8Array; secretKey: Uint8Array } {
  const publicKey = Buffer.alloc(32);
  const secretKey = Buffer.alloc(64);
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
  return { publicKey, secretKey };
}
