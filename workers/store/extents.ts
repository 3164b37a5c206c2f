/**
 * Extents: arrays of record indices, one per family, of names with more live peers than the age
 * list serves well. They make a random choice of peers cost what it returns, not what the name has.
 *
 *   +------+-------+---------+-------+----------------------------+
 *   | kind | count | sibling | owner | record, record, ...        |   used: 2^class words
 *   +------+-------+---------+-------+----------------------------+
 *   | kind |   -   | previous| next  |                            |   free
 *   +------+-------+---------+-------+----------------------------+
 *   kind = class | family << 8 | 1 << 16 when used; `sibling` is the same name's other family.
 *
 * A buddy allocator: a block of class k starts at a multiple of 2^k, splits in two halves and joins
 * its other half when both are free. Words from HEADER_EXTENT_HIGH on were never used.
 *
 * Scattered small blocks cannot keep a large one from being had: only a name's row (or its other
 * block) says where a block is, so blocks are moved out of the way (`#assemble`).
 */
import {
  EXTENT_MAX_CLASS,
  EXTENT_MIN_CLASS,
  HEADER_EXTENT_FREE,
  HEADER_EXTENT_HIGH,
  NAME_EXTENT,
  NAME_WORDS,
  NONE,
  RECORD_POSITION,
  RECORD_WORDS,
  type StoreBuffers,
} from './layout.ts';

export const EXTENT_HEADER_WORDS = 4;
export const EXTENT_KIND = 0;
export const EXTENT_COUNT = 1;
export const EXTENT_SIBLING = 2;
export const EXTENT_OWNER = 3;
const EXTENT_FREE_PREVIOUS = 2;
export const EXTENT_FREE_NEXT = 3;
export const EXTENT_USED = 1 << 16;
/**
 * A block goes down a class when it is no more than a quarter full: then it is half full, not full.
 */
const SHRINK_FRACTION = 4;
/**
 * Words moved, per word of the block wanted, before it is given up: with W(k) for a block of class
 * k, W(k) <= 2 W(k - 1) + 2^(k - 1), which is at most 12 per word; the rest is for the area's end.
 */
const MOVED_PER_WORD_MAX = 32;

export class Extents {
  readonly header: Int32Array;
  readonly words: Int32Array;
  readonly names: Int32Array;
  readonly records: Int32Array;
  /** Words that may still be moved for the block being assembled. */
  #movable = 0;

  constructor(buffers: StoreBuffers) {
    this.header = new Int32Array(buffers.header);
    this.words = new Int32Array(buffers.extents);
    this.names = new Int32Array(buffers.names);
    this.records = new Int32Array(buffers.records);
  }

  first(name: number): number {
    return this.names[name * NAME_WORDS + NAME_EXTENT];
  }

  /** The block of a name's peers of one family, or NONE. */
  find(name: number, family: number): number {
    let block = this.first(name);
    while (block !== NONE && this.family(block) !== family) {
      block = this.words[block + EXTENT_SIBLING];
    }
    return block;
  }

  family(block: number): number {
    return (this.words[block + EXTENT_KIND] >> 8) & 0xff;
  }

  count(block: number): number {
    return this.words[block + EXTENT_COUNT];
  }

  /** Record at `place` of a block. */
  at(block: number, place: number): number {
    return this.words[block + EXTENT_HEADER_WORDS + place];
  }

  /** Makes sure that `add` has room for one more; false when no block can be had. */
  reserve(name: number, family: number): boolean {
    const block = this.find(name, family);
    if (block === NONE) {
      const fresh = this.#obtain(EXTENT_MIN_CLASS);
      if (fresh === NONE) return false;
      this.#initialise(fresh, EXTENT_MIN_CLASS, family, name);
      this.words[fresh + EXTENT_SIBLING] = this.first(name);
      this.names[name * NAME_WORDS + NAME_EXTENT] = fresh;
      return true;
    }
    const size = this.#class(block);
    if (this.count(block) < capacity(size)) return true;
    return this.#grow(name, family, size + 1);
  }

  /** Adds a record to the block of its family; `reserve` came before. */
  add(name: number, family: number, record: number): void {
    const block = this.find(name, family);
    const count = this.count(block);
    this.words[block + EXTENT_HEADER_WORDS + count] = record;
    this.words[block + EXTENT_COUNT] = count + 1;
    this.records[record * RECORD_WORDS + RECORD_POSITION] = count;
  }

  /** Takes a record out: the last of the block takes its place. */
  remove(name: number, family: number, record: number): void {
    const block = this.find(name, family);
    const count = this.count(block) - 1;
    const place = this.records[record * RECORD_WORDS + RECORD_POSITION];
    const last = this.at(block, count);
    this.words[block + EXTENT_HEADER_WORDS + place] = last;
    this.records[last * RECORD_WORDS + RECORD_POSITION] = place;
    this.words[block + EXTENT_COUNT] = count;
    const size = this.#class(block);
    if (count === 0) {
      this.#unchain(name, block, this.words[block + EXTENT_SIBLING]);
      this.#free(block, size);
    } else if (size > EXTENT_MIN_CLASS && count <= capacity(size) / SHRINK_FRACTION) {
      this.#halve(block, size - 1);
    }
  }

  /** Gives back all blocks of a name. */
  release(name: number): void {
    let block = this.first(name);
    while (block !== NONE) {
      const next = this.words[block + EXTENT_SIBLING];
      this.#free(block, this.#class(block));
      block = next;
    }
    this.names[name * NAME_WORDS + NAME_EXTENT] = NONE;
  }

  #class(block: number): number {
    return this.words[block + EXTENT_KIND] & 0xff;
  }

  #initialise(block: number, size: number, family: number, name: number): void {
    this.words[block + EXTENT_KIND] = size | (family << 8) | EXTENT_USED;
    this.words[block + EXTENT_COUNT] = 0;
    this.words[block + EXTENT_SIBLING] = NONE;
    this.words[block + EXTENT_OWNER] = name;
  }

  /** Moves a full block's records to one of the class `size`; false when there is none. */
  #grow(name: number, family: number, size: number): boolean {
    const fresh = this.#obtain(size);
    if (fresh === NONE) return false;
    // Only now: to make room the block itself may have been moved.
    const block = this.find(name, family);
    this.#move(block, fresh, size);
    this.#free(block, size - 1);
    return true;
  }

  /** Gives back the upper half of a block: needs no other block, so it cannot fail. */
  #halve(block: number, half: number): void {
    // Places are taken from the lowest on without a gap, so all records are in the lower half.
    this.words[block + EXTENT_KIND] = half | (this.family(block) << 8) | EXTENT_USED;
    this.#free(block + (1 << half), half);
  }

  /** Copies a used block to another place, of the class `size`, and tells its owner. */
  #move(block: number, to: number, size: number): void {
    const { words } = this;
    const name = words[block + EXTENT_OWNER];
    this.#initialise(to, size, this.family(block), name);
    const count = this.count(block);
    for (let i = 0; i < count; i++) {
      words[to + EXTENT_HEADER_WORDS + i] = words[block + EXTENT_HEADER_WORDS + i];
    }
    words[to + EXTENT_COUNT] = count;
    words[to + EXTENT_SIBLING] = words[block + EXTENT_SIBLING];
    this.#unchain(name, block, to);
  }

  /** Replaces `block` by `successor` in the name's chain of at most two. */
  #unchain(name: number, block: number, successor: number): void {
    const first = this.first(name);
    if (first === block) this.names[name * NAME_WORDS + NAME_EXTENT] = successor;
    else this.words[first + EXTENT_SIBLING] = successor;
  }

  /** A block of a class, if need be by moving others; NONE when there is no room for it. */
  #obtain(size: number): number {
    if (size > EXTENT_MAX_CLASS) return NONE;
    this.#movable = MOVED_PER_WORD_MAX << size;
    return this.#obtainWithin(size);
  }

  #obtainWithin(size: number): number {
    const block = this.#allocate(size);
    if (block !== NONE || size === EXTENT_MIN_CLASS) return block;
    return this.#assemble(size);
  }

  /**
   * Makes a block out of two halves: one that is had, and its buddy, emptied by moving what is in
   * it. What is held meanwhile is in no list and has kind 0, so that nothing joins or takes it:
   * the buddies emptied for the blocks being moved are smaller, and so lie outside of it.
   *
   *   | half, held | used |  free  | used | free |      what is used goes elsewhere
   *                  buddy, walked from the left
   */
  #assemble(size: number): number {
    const half = size - 1;
    const held = this.#obtainWithin(half);
    if (held === NONE) return NONE;
    this.words[held + EXTENT_KIND] = 0;
    const buddy = held ^ (1 << half);
    if (Math.max(held, buddy) + (1 << half) <= this.words.length) {
      if (this.#empty(buddy, half)) return Math.min(held, buddy);
      this.#free(held, half);
      return NONE;
    }
    // The end of the area cuts the buddy off; there is one such half at most.
    const block = this.#assemble(size);
    this.#free(held, half);
    return block;
  }

  /** Moves all blocks out of a region and holds it; false when one has no other place. */
  #empty(region: number, size: number): boolean {
    const { words } = this;
    const end = region + (1 << size);
    // First of all: what is moved must not come to lie in the region's words never used.
    this.#raise(end);
    let at = region;
    while (at < end) {
      const kind = words[at + EXTENT_KIND];
      const k = kind & 0xff;
      if ((kind & EXTENT_USED) === 0) this.#takeFree(at, k);
      else if (!this.#evacuate(at, k)) break;
      at += 1 << k;
    }
    if (at >= end) return true;
    for (let start = region; start < at; ) {
      const k = 31 - Math.clz32(at - start);
      this.#free(start, k);
      start += 1 << k;
    }
    return false;
  }

  #evacuate(block: number, size: number): boolean {
    this.#movable -= 1 << size;
    if (this.#movable < 0) return false;
    const to = this.#obtainWithin(size);
    if (to === NONE) return false;
    this.#move(block, to, size);
    this.words[block + EXTENT_KIND] = 0;
    return true;
  }

  #allocate(size: number): number {
    for (let k = size; k <= EXTENT_MAX_CLASS; k++) {
      const block = this.header[HEADER_EXTENT_FREE + k];
      if (block === NONE) continue;
      this.#takeFree(block, k);
      for (let half = k - 1; half >= size; half--) this.#pushFree(block + (1 << half), half);
      return block;
    }
    return this.#extend(size);
  }

  /** A block of words never used; the gap up to its alignment becomes free blocks. */
  #extend(size: number): number {
    const words = 1 << size;
    const block = Math.ceil(this.header[HEADER_EXTENT_HIGH] / words) * words;
    if (block + words > this.words.length) return NONE;
    this.#raise(block);
    this.header[HEADER_EXTENT_HIGH] = block + words;
    return block;
  }

  /** Makes the words never used below `end` free blocks. */
  #raise(end: number): void {
    let high = this.header[HEADER_EXTENT_HIGH];
    while (high < end) {
      const gap = high & -high;
      // Step by step: what lies above the mark is no block yet, whatever its words say.
      this.header[HEADER_EXTENT_HIGH] = high + gap;
      this.#free(high, 31 - Math.clz32(gap));
      high += gap;
    }
  }

  #free(block: number, size: number): void {
    let start = block;
    let k = size;
    for (; k < EXTENT_MAX_CLASS; k++) {
      const buddy = start ^ (1 << k);
      // A used block's kind carries more than its class, so equality means: free and of this class.
      if (buddy >= this.header[HEADER_EXTENT_HIGH] || this.words[buddy + EXTENT_KIND] !== k) break;
      this.#takeFree(buddy, k);
      start = Math.min(start, buddy);
    }
    this.#pushFree(start, k);
  }

  #pushFree(block: number, k: number): void {
    const head = this.header[HEADER_EXTENT_FREE + k];
    this.words[block + EXTENT_KIND] = k;
    this.words[block + EXTENT_FREE_PREVIOUS] = NONE;
    this.words[block + EXTENT_FREE_NEXT] = head;
    if (head !== NONE) this.words[head + EXTENT_FREE_PREVIOUS] = block;
    this.header[HEADER_EXTENT_FREE + k] = block;
  }

  #takeFree(block: number, k: number): void {
    const previous = this.words[block + EXTENT_FREE_PREVIOUS];
    const next = this.words[block + EXTENT_FREE_NEXT];
    if (previous === NONE) this.header[HEADER_EXTENT_FREE + k] = next;
    else this.words[previous + EXTENT_FREE_NEXT] = next;
    if (next !== NONE) this.words[next + EXTENT_FREE_PREVIOUS] = previous;
    // No longer a free block, whatever becomes of it: its buddy must not join it.
    this.words[block + EXTENT_KIND] = 0;
  }
}

/** Records a block of a class holds. */
export function capacity(size: number): number {
  return (1 << size) - EXTENT_HEADER_WORDS;
}
