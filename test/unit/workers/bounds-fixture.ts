/** A bounded store and the peers of networks. */
import { type BoundLimits, Bounds } from '../../../workers/bounds.ts';
import { Rng } from '../../../workers/rng.ts';
import type { RecordStore } from '../../../workers/store/record-store.ts';
import type { Peer } from '../store/fixture.ts';

export const PLENTY: BoundLimits = { prefixLimit: 1_000_000, nameLimit: 1_000_000 };

export function bound(
  store: RecordStore,
  limits: Partial<BoundLimits>,
  seed = 1,
  lanes = 1,
): Bounds {
  const bounds = new Bounds(store, { ...PLENTY, ...limits }, new Rng(seed), lanes);
  store.watch(bounds);
  return bounds;
}

/** A host of a network: even ones are IPv4, odd ones IPv6. */
export function peer(network: number, host: number): Peer {
  const address = new Uint8Array(16);
  if ((network & 1) === 0) {
    address.set([0, 0, 0xff, 0xff, 10, network >>> 8, network, host & 0xff], 8);
  } else {
    address.set([0x20, 0x01, 0x0d, 0xb8, 0, network >>> 8, network, host & 0xff, 9]);
  }
  return { address, port: 1000 + (host >>> 8), family: (network & 1) === 0 ? 4 : 6 };
}

export function wordsOf({ address }: Peer): Int32Array {
  return new Int32Array(address.buffer.slice(0));
}
