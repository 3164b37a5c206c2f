/**
 * At most so many names in a store of records: with one more, those used least recently go, with
 * all their records, as in the original server. Only where a program asks for it; a server of its
 * own bounds records alone, which bounds names too.
 */
import { Change, OP_REMOVE } from './store/change.ts';
import { HEADER_LRU_OLDEST, MAX_KEY_BYTES, NONE } from './store/layout.ts';
import type { RecordStore } from './store/record-store.ts';

/** The highest version: nothing is too new to be removed. */
const LATEST_VERSION = 0xffff_ffff;
const LATEST_ORIGIN = 255;

export class NameCap {
  readonly #store: RecordStore;
  readonly #most: number;
  readonly #change = new Change();
  readonly #key = new Uint8Array(MAX_KEY_BYTES);

  /** For a store that keeps no tombstones: a name counts for as long as one remembers it. */
  constructor(store: RecordStore, most: number) {
    this.#store = store;
    this.#most = most;
  }

  /** Call it after each record that was added. Linear in the records of the names that go. */
  enforce(nowSeconds: number): void {
    const store = this.#store;
    while (store.nameCount > this.#most) {
      const name = store.header[HEADER_LRU_OLDEST];
      const record = name === NONE ? NONE : store.membership.oldest(name);
      if (record === NONE || !this.#remove(name, record, nowSeconds)) return;
    }
  }

  #remove(name: number, record: number, nowSeconds: number): boolean {
    const store = this.#store;
    const change = this.#change;
    const before = store.live;
    change.op = OP_REMOVE;
    change.now = nowSeconds;
    change.keyBytes = this.#key;
    change.keyEnd = store.copyKey(name, this.#key, 0);
    change.keyHash = store.names.hashOf(name);
    change.domain = store.names.domain(name);
    change.address = store.recordBytes;
    change.addressOffset = store.addressOffset(record);
    change.family = store.family(record);
    change.port = store.port(record);
    change.version = LATEST_VERSION;
    change.origin = LATEST_ORIGIN;
    store.apply(change);
    return store.live < before;
  }
}
