/** Who may become live in a store, and who is: what bounds on strangers hang on. */

/** The peer may not become live. */
export const REFUSED = 0;
/** It may. */
export const ADMITTED = 1;
/** It may, in the place of the oldest live record of its name, which must have one. */
export const REPLACES = 2;

export type Verdict = typeof REFUSED | typeof ADMITTED | typeof REPLACES;

export interface StoreWatcher {
  /**
   * Whether a peer that is not live under a name may become so; nothing has changed yet, and a
   * renewal is never asked about. `name` is the name's row, -1 when the store does not have it yet;
   * `address` are the peer's four address words, IPv4 as v4-mapped. Must not change the store.
   */
  judge(name: number, address: Int32Array): Verdict;
  /**
   * The live records of a name become one more (`delta` 1) or one fewer (-1), for whatever reason;
   * the address is the four words from `words[at]` on. Must not change the store.
   */
  count(name: number, words: Int32Array, at: number, delta: number): void;
  /** The store was given to the watcher, or repaired: all counts start anew. */
  recount(): void;
}
