/** The five DHT stores of one lane: what hyperdht's persistent nodes keep. */
import type { DhtStoreBuffers } from './layout.ts';
import { PeerStore } from './peer-store.ts';
import { ValueStore } from './value-store.ts';

export class DhtStores {
  /** Who announced what. */
  readonly peers: PeerStore;
  /** By target, the BLAKE2b of a public key: who announced itself and by which address. */
  readonly forwards: ValueStore;
  /** By the BLAKE2b of the secret that renews it: an announce. */
  readonly refreshes: ValueStore;
  readonly mutables: ValueStore;
  readonly immutables: ValueStore;
  readonly #all: readonly (PeerStore | ValueStore)[];

  /**
   * Wraps existing buffers, and writes nothing: any thread may. `hashKey`: see PeerStore.
   *
   * @throws RangeError when they are not stores of this layout.
   */
  constructor(buffers: DhtStoreBuffers, hashKey: readonly [number, number]) {
    this.peers = new PeerStore(buffers.peers, hashKey);
    this.forwards = new ValueStore(buffers.forwards);
    this.refreshes = new ValueStore(buffers.refreshes);
    this.mutables = new ValueStore(buffers.mutables);
    this.immutables = new ValueStore(buffers.immutables);
    this.#all = [this.peers, this.forwards, this.refreshes, this.mutables, this.immutables];
  }

  /**
   * For the one writer, before anything else: repairs what its predecessor was changing when it
   * died.
   *
   * @returns how many rows were torn and are gone.
   */
  adopt(): number {
    let dropped = 0;
    for (const store of this.#all) if (store.needsRepair) dropped += store.repair().dropped;
    return dropped;
  }

  /** Milliseconds from now on: what is over then is absent. Call it before each batch. */
  setTime(nowMs: number): void {
    for (const store of this.#all) store.setTime(nowMs);
  }

  /** Sets the time and frees up to `atMostRows` of each store that are over; returns how many. */
  tick(nowMs: number, atMostRows: number): number {
    let freed = 0;
    for (const store of this.#all) freed += store.tick(nowMs, atMostRows);
    return freed;
  }
}
