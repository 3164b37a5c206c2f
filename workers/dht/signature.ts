/**
 * Whether what a request signs is signed by who it says: announces, unannounces and mutable values
 * (codecs/dht/namespaces.ts has what is signed). About 40 us each with libsodium, three times as
 * much with node:crypto, which needs the key imported: so sodium-native, which is loaded with the
 * first check or before. It cannot take shared memory; the request is copied to the heap first.
 */
import { createRequire } from 'node:module';
import {
  COMMAND,
  ID_BYTES,
  PUBLIC_KEY_BYTES,
  SIGNATURE_BYTES,
  TOKEN_BYTES,
} from '../../codecs/dht/constants.ts';
import { AnnounceReader, MutablePutReader } from '../../codecs/dht/hyper.ts';
import { announceSignable, mutableSignable, NAMESPACE } from '../../codecs/dht/namespaces.ts';
import { RequestReader } from '../../codecs/dht/request.ts';
import { SLOT_DATA_BYTES } from '../slab.ts';

interface Sodium {
  crypto_sign_verify_detached(
    signature: Uint8Array,
    message: Uint8Array,
    publicKey: Uint8Array,
  ): boolean;
}

let sodium: Sodium | null = null;
const scratch = new Uint8Array(SLOT_DATA_BYTES);
const request = new RequestReader();
const announce = new AnnounceReader();
const mutablePut = new MutablePutReader();

/** Loads sodium-native, rather than with the first check. Throws when it does not load. */
export function loadSodium(): Sodium {
  sodium ??= createRequire(import.meta.url)('sodium-native') as Sodium;
  return sodium;
}

/**
 * Whether the request of `length` bytes (at most a slot's) at bytes[start] is an ANNOUNCE,
 * UNANNOUNCE or MUTABLE_PUT whose signature is that of the public key in it. `ownId`: the 32-byte
 * id of this node, on the heap; it is part of what an announce signs. False for all other requests
 * and what is unreadable.
 */
export function checkSignature(
  bytes: Uint8Array,
  start: number,
  length: number,
  ownId: Uint8Array,
): boolean {
  if (length > SLOT_DATA_BYTES) return false;
  scratch.set(bytes.subarray(start, start + length));
  if (!request.read(scratch, 0, length) || request.isInternal) return false;
  switch (request.command) {
    case COMMAND.ANNOUNCE:
      return checkAnnounce(NAMESPACE.ANNOUNCE, ownId);
    case COMMAND.UNANNOUNCE:
      return checkAnnounce(NAMESPACE.UNANNOUNCE, ownId);
    case COMMAND.MUTABLE_PUT:
      return checkMutablePut();
    default:
      return false;
  }
}

function checkAnnounce(namespace: Uint8Array, ownId: Uint8Array): boolean {
  const { targetStart, tokenStart, valueStart, valueLength } = request;
  if (targetStart < 0 || tokenStart < 0 || valueStart < 0) return false;
  if (!announce.read(scratch, valueStart, valueLength)) return false;
  const { peerStart, peerEnd, refreshStart, signatureStart } = announce;
  if (peerStart < 0 || signatureStart < 0) return false;
  const signable = announceSignable(
    namespace,
    part(targetStart, ID_BYTES),
    ownId,
    part(tokenStart, TOKEN_BYTES),
    // As it was sent: another encoding of the same peer is not what was signed.
    part(peerStart, peerEnd - peerStart),
    refreshStart < 0 ? null : part(refreshStart, TOKEN_BYTES),
  );
  return verify(signatureStart, signable, peerStart);
}

function checkMutablePut(): boolean {
  const { valueStart, valueLength } = request;
  if (valueStart < 0 || !mutablePut.read(scratch, valueStart, valueLength)) return false;
  const value = part(mutablePut.valueStart, mutablePut.valueLength);
  const signable = mutableSignable(mutablePut.seq, value);
  return verify(mutablePut.signatureStart, signable, mutablePut.publicKeyStart);
}

function verify(signatureStart: number, signable: Uint8Array, publicKeyStart: number): boolean {
  const signature = part(signatureStart, SIGNATURE_BYTES);
  return (sodium ?? loadSodium()).crypto_sign_verify_detached(
    signature,
    signable,
    part(publicKeyStart, PUBLIC_KEY_BYTES),
  );
}

function part(start: number, length: number): Uint8Array {
  return scratch.subarray(start, start + length);
}
