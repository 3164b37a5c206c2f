/**
 * What is signed: a namespace, so that a signature of one kind is none of another, and a hash of
 * the contents. A namespace is BLAKE2b(BLAKE2b('hyperswarm/dht') || the command's number), as
 * hypercore-crypto makes it; they are numbers here so that importing this loads nothing.
 *
 *   announce     namespace:32 | BLAKE2b(target, node id, token, peer, refresh or nothing)
 *   mutable put  namespace:32 | BLAKE2b(seq:uint, value: uint length + bytes)
 */
import { BLAKE2B_BYTES, blake2b256, blake2b256Batch } from '../hash/blake2b.ts';
import { varintBytes, writeVarint } from './varint.ts';

export const NAMESPACE_BYTES = 32;
/** Bytes of what is signed. */
export const SIGNABLE_BYTES = NAMESPACE_BYTES + BLAKE2B_BYTES;

export const NAMESPACE = {
  ANNOUNCE: fromHex('36386adddf9f6fd60db83a6f42fc159d1146aa8644037664230aaa1f0179d497'),
  UNANNOUNCE: fromHex('ded293cd93fb395e756ecf5fff426529e72c36eacc22e5ed944d9099a2561e32'),
  MUTABLE_PUT: fromHex('668e823edd5ce7f5338d68bf1161f4a3c28ce437ee2ab49efd30d99366039b1e'),
  PEER_HANDSHAKE: fromHex('14d6d4b49214ab1033ed204976caa258bae9e1e8543b9ad1fd996a910b0c4e3a'),
  PEER_HOLEPUNCH: fromHex('f1191cd5e67b10b54a507033280ed1ff0e12278268d5679c8f93d417210d168b'),
  PLUGIN: fromHex('6b8a2a8623f28c6c02a1e22abe515ce31cafd9af61d4b69970639aa7eb96a8d5'),
} as const;

const NOTHING = new Uint8Array();

/**
 * What the signature of an announce (NAMESPACE.ANNOUNCE) or unannounce (NAMESPACE.UNANNOUNCE) is
 * of. `peer` is its encoding. No argument may be a view of shared memory.
 */
export function announceSignable(
  namespace: Uint8Array,
  target: Uint8Array,
  nodeId: Uint8Array,
  token: Uint8Array,
  peer: Uint8Array,
  refresh: Uint8Array | null,
): Uint8Array {
  const signable = new Uint8Array(SIGNABLE_BYTES);
  signable.set(namespace);
  const hash = signable.subarray(NAMESPACE_BYTES);
  blake2b256Batch(hash, [target, nodeId, token, peer, refresh ?? NOTHING]);
  return signable;
}

/** What the signature of a mutable value is of. `value` must not be a view of shared memory. */
export function mutableSignable(seq: number, value: Uint8Array): Uint8Array {
  const signable = new Uint8Array(SIGNABLE_BYTES);
  signable.set(NAMESPACE.MUTABLE_PUT);
  const signed = new Uint8Array(varintBytes(seq) + varintBytes(value.length) + value.length);
  signed.set(value, writeVarint(signed, writeVarint(signed, 0, seq), value.length));
  blake2b256(signable.subarray(NAMESPACE_BYTES), signed);
  return signable;
}

function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1);
  for (let i = 0; i < bytes.length; i++)
    bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
