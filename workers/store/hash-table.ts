/**
 * Open addressing over shared memory: linear probing, and deletion by shifting back, so that no
 * markers pile up and no rebuild ever pauses the lane.
 *
 *   slot:   | 0 | (index + 1) << 8 | tag << 4 | distance | ... | 0 |        0 = empty
 *
 * A slot's home comes from the high bits of the hash (multiply and shift: the size need not be a
 * power of two), the tag from 4 low ones; the distance is how far the entry stands from its home,
 * 15 = 15 or more. The two spare a search nearly every read of a row that is not the one sought,
 * and a deletion nearly every read at all: each would be a miss of the cache. The comparison itself
 * is the owner's:
 *
 *   let mark = firstMark(hash)
 *   for (let slot = table.home(hash); ; slot = table.next(slot)) {
 *     const entry = table.slots[slot]; if (entry === 0) -> absent
 *     if ((entry & 0xff) === mark && same((entry >>> 8) - 1)) -> found
 *     mark = nextMark(mark)
 *   }
 */

/** Rows know their own hash: needed to move entries that stand far from home. */
export interface HashOwner {
  /** The hash under which row `index` was inserted; any 32-bit integer. */
  hashOf(index: number): number;
}

const PER_HASH = 2 ** -32;
const DISTANCE_MASK = 0xf;
const TAG_MASK = 0xf0;

/** The mark of an entry in its home slot. */
export function firstMark(hash: number): number {
  return hash & TAG_MASK;
}

/** The mark of the same entry one slot further. */
export function nextMark(mark: number): number {
  return (mark & DISTANCE_MASK) === DISTANCE_MASK ? mark : mark + 1;
}

export class HashTable {
  readonly slots: Int32Array;
  readonly size: number;
  readonly #owner: HashOwner;

  /** Wraps existing memory; an empty table is all zero. */
  constructor(buffer: SharedArrayBuffer, owner: HashOwner) {
    this.slots = new Int32Array(buffer);
    this.size = this.slots.length;
    this.#owner = owner;
  }

  /** The slot where the search for `hash` begins. */
  home(hash: number): number {
    // A product in floating point: 32-bit parts of it were measured and are no faster.
    return ((hash >>> 0) * this.size * PER_HASH) | 0;
  }

  next(slot: number): number {
    return slot + 1 === this.size ? 0 : slot + 1;
  }

  /** Adds row `index`, which is not in the table; there is always an empty slot (load below 1). */
  insert(hash: number, index: number): void {
    let slot = this.home(hash);
    let mark = firstMark(hash);
    while (this.slots[slot] !== 0) {
      slot = this.next(slot);
      mark = nextMark(mark);
    }
    this.slots[slot] = ((index + 1) << 8) | mark;
  }

  /** Removes row `index`; does nothing when it is not there. */
  remove(hash: number, index: number): void {
    const sought = index + 1;
    let slot = this.home(hash);
    for (;;) {
      const entry = this.slots[slot];
      if (entry === 0) return;
      if (entry >>> 8 === sought) break;
      slot = this.next(slot);
    }
    this.#closeGap(slot);
  }

  /** Moves later entries of the run back over `gap`, each no further than its home. */
  #closeGap(gap: number): void {
    let hole = gap;
    let shift = 0;
    for (let slot = this.next(gap); ; slot = this.next(slot)) {
      const entry = this.slots[slot];
      if (entry === 0) break;
      shift++;
      const distance = this.distanceOf(entry, slot);
      if (distance < shift) continue;
      this.slots[hole] = (entry & ~DISTANCE_MASK) | Math.min(distance - shift, DISTANCE_MASK);
      hole = slot;
      shift = 0;
    }
    this.slots[hole] = 0;
  }

  /** How far an entry in `slot` stands from its home. */
  distanceOf(entry: number, slot: number): number {
    const distance = entry & DISTANCE_MASK;
    if (distance !== DISTANCE_MASK) return distance;
    const home = this.home(this.hashOf((entry >>> 8) - 1));
    return slot >= home ? slot - home : slot - home + this.size;
  }

  /** The hash under which a row stands in the table. */
  hashOf(index: number): number {
    return this.#owner.hashOf(index);
  }

  /** Empties the table without touching pages that were never used. */
  clear(): void {
    for (let slot = 0; slot < this.size; slot++) {
      if (this.slots[slot] !== 0) this.slots[slot] = 0;
    }
  }
}
