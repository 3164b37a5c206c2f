/** Discovery names as stores know them, and changes of stores made from a datagram. */
import { SLOT_ADDRESS, SLOT_BYTES, SLOT_FAMILY, SLOT_PORT, type Slab } from './slab.ts';
import type { Change } from './store/change.ts';

/** A name: the folded id, its hash and the domain it is under. Reused. */
export interface Key {
  /** The id as wire labels without the root is bytes[0..end). */
  readonly bytes: Uint8Array;
  end: number;
  /** Keyed 32-bit hash of the id. */
  hash: number;
  /** Index of the configured domain. */
  domain: number;
}

/**
 * Makes `change` do `op` to the peer that the slot's datagram came from, under `key`. Its port is
 * the datagram's source port, it never expires, and it is of our own making at `nowSeconds`.
 */
export function fillChange(
  change: Change,
  op: number,
  key: Key,
  slab: Slab,
  slot: number,
  nowSeconds: number,
): void {
  const base = slot * SLOT_BYTES;
  change.op = op;
  change.now = nowSeconds;
  change.keyBytes = key.bytes;
  change.keyStart = 0;
  change.keyEnd = key.end;
  change.keyHash = key.hash;
  change.domain = key.domain;
  change.address = slab.bytes;
  change.addressOffset = base + SLOT_ADDRESS;
  change.family = slab.bytes[base + SLOT_FAMILY] === 6 ? 6 : 4;
  change.port = slab.u16[(base + SLOT_PORT) >> 1];
  change.expiresAt = 0;
  change.origin = 0;
  change.version = nowSeconds;
}
