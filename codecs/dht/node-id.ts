/** A node's id is the BLAKE2b-256 hash of its address as it is on the wire. */
import { BLAKE2B_BYTES, blake2b256 } from '../hash/blake2b.ts';
import { encodeAddress } from './address.ts';

/** The id of the node at `host` (IPv4, dotted) and `port`: 32 bytes. */
export function nodeId(host: string, port: number): Uint8Array {
  const id = new Uint8Array(BLAKE2B_BYTES);
  blake2b256(id, encodeAddress({ host, port }));
  return id;
}
