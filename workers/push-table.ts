/**
 * Pushes under way: what a lane has told subscribers and they have not acknowledged yet. The
 * original sends a push, again after 0.5 s and again after another 1 s; so do we, then give up.
 *
 *   row  | image: slot header 64 B | message up to 384 B |   copied to a slot for each try
 *        | id u16, tries u8, due (ms), length            |
 *
 * A row is found by its message id, which is random but congruent to the lane's number, so that the
 * main thread can tell from an acknowledgement (a bare header) which lane it belongs to. An
 * acknowledgement counts only when it comes from the address and port the push went to. Fixed size:
 * a full table means no push, which the subscriber makes up for at its next lookup.
 */
import type { Rng } from './rng.ts';
import { SLOT_BYTES, SLOT_HEADER_BYTES, SLOT_LENGTH, type Slab } from './slab.ts';

/** Enough for 256 announces with 16 subscribers each within the 3.5 s a push lives at most. */
export const PUSH_CAPACITY = 4096;
/** Header 12 + owner name 255 + SRV fixed 16 + an IPv6 target of one label 41 = 324, rounded up. */
export const PUSH_MESSAGE_BYTES = 384;
/** Waits before the second and third try, and before giving up. */
export const PUSH_WAITS_MS = [500, 1000, 2000] as const;
const ROW_BYTES = SLOT_HEADER_BYTES + PUSH_MESSAGE_BYTES;
const ID_SPACE = 65536;
/** Draws for a free id before the push is not made; ids are at most 1/16 full. */
const ID_DRAWS = 16;

export class PushTable {
  /** Row images: a slot header, then the message. */
  readonly images = new Uint8Array(PUSH_CAPACITY * ROW_BYTES);
  readonly imageWords = new Int32Array(this.images.buffer);
  readonly #ids = new Uint16Array(PUSH_CAPACITY);
  readonly #tries = new Uint8Array(PUSH_CAPACITY);
  readonly #dueMs = new Float64Array(PUSH_CAPACITY);
  readonly #rowOfId = new Uint16Array(ID_SPACE);
  readonly #free = new Uint16Array(PUSH_CAPACITY);
  #freeCount = PUSH_CAPACITY;
  readonly #lane: number;
  readonly #lanes: number;
  readonly #rng: Rng;

  constructor(lane: number, lanes: number, rng: Rng) {
    this.#lane = lane;
    this.#lanes = lanes;
    this.#rng = rng;
    for (let i = 0; i < PUSH_CAPACITY; i++) this.#free[i] = PUSH_CAPACITY - 1 - i;
  }

  /** Pushes waiting for an acknowledgement. */
  get size(): number {
    return PUSH_CAPACITY - this.#freeCount;
  }

  /** A row with a fresh id, due at once; -1 when the table is full. Fill its image next. */
  add(nowMs: number): number {
    if (this.#freeCount === 0) return -1;
    const id = this.#drawId();
    if (id === 0) return -1;
    const row = this.#free[--this.#freeCount];
    this.#ids[row] = id;
    this.#rowOfId[id] = row + 1;
    this.#tries[row] = 0;
    this.#dueMs[row] = nowMs;
    return row;
  }

  id(row: number): number {
    return this.#ids[row];
  }

  /** Byte offset of the row's image in `images`; the message follows the header. */
  imageOffset(row: number): number {
    return row * ROW_BYTES;
  }

  /** How often the row has been sent. */
  triesOf(row: number): number {
    return this.#tries[row];
  }

  /** Copies the row's image to a slot. */
  copyToSlot(row: number, slab: Slab, slot: number): void {
    const images = this.images;
    const from = row * ROW_BYTES;
    const to = slot * SLOT_BYTES;
    const length = this.imageWords[(from + SLOT_LENGTH) >> 2];
    const end = SLOT_HEADER_BYTES + length;
    for (let i = 0; i < end; i++) slab.bytes[to + i] = images[from + i];
  }

  /** Notes that the row was sent now. */
  sent(row: number, nowMs: number): void {
    this.#dueMs[row] = nowMs + PUSH_WAITS_MS[this.#tries[row]];
    this.#tries[row]++;
  }

  /** Whether the row is in use and its next try, or its end, is due. */
  isDue(row: number, nowMs: number): boolean {
    return this.#ids[row] !== 0 && this.#dueMs[row] <= nowMs;
  }

  /** Whether a due row has had its last try. */
  exhausted(row: number): boolean {
    return this.#tries[row] >= PUSH_WAITS_MS.length;
  }

  /**
   * Takes the acknowledgement `id` from the address at words[at..at+4) and `port`; false when no
   * such push is under way to there.
   */
  acknowledge(id: number, words: Int32Array, at: number, port: number): boolean {
    const row = this.#rowOfId[id] - 1;
    if (row < 0) return false;
    const header = (row * ROW_BYTES) >> 2;
    const { imageWords } = this;
    // Header word 1 is family, transport and port; words 2 to 5 are the address (see
    // workers/slab.ts).
    if (imageWords[header + 1] >>> 16 !== port) return false;
    for (let i = 0; i < 4; i++) if (imageWords[header + 2 + i] !== words[at + i]) return false;
    this.remove(row);
    return true;
  }

  remove(row: number): void {
    this.#rowOfId[this.#ids[row]] = 0;
    this.#ids[row] = 0;
    this.#free[this.#freeCount++] = row;
  }

  /** A free, non-zero id congruent to the lane; 0 when none was drawn. */
  #drawId(): number {
    for (let draw = 0; draw < ID_DRAWS; draw++) {
      const random = this.#rng.below(ID_SPACE);
      const id = random - (random % this.#lanes) + this.#lane;
      if (id > 0 && id < ID_SPACE && this.#rowOfId[id] === 0) return id;
    }
    return 0;
  }
}
