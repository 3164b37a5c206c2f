/**
 * DELAYED_PING: a ping that is to be answered later, by which a node learns how long its NAT keeps
 * a port open. Whoever waits is kept in a fixed number of rows, in a wheel of time:
 *
 *   wheel   | bucket 0 | bucket 1 | ... | bucket 511 |    32 ms each: more than the longest delay
 *                |          |
 *              row -> row  row                            each the header of a slot, and the tid
 *
 * A ping is answered when all of its bucket is due, so never too early, and as late as the lane's
 * turns are apart.
 *
 * Whoever forges sources can keep as many rows busy as those who have not proven theirs may have:
 * half of all. A network's rows are counted as they come and go, so that it costs nothing to ask.
 */
import { SLOT_ADDRESS, SLOT_BYTES, SLOT_HEADER_BYTES, type Slab } from '../slab.ts';
import { prefixHigh } from '../source-prefix.ts';
import type { OwnDatagrams } from './own-datagrams.ts';
import { Tally } from './store/tally.ts';

/** Rows of a lane: some 100 a second, each for ten seconds. Half are for proven sources only. */
export const DELAYED_PINGS = 1024;
/** Rows of one network: a household tries a few delays at once. */
export const DELAYED_PINGS_PER_PREFIX = 16;

const BUCKETS = 512;
const BUCKET_MS = 32;
const HEADER_WORDS = SLOT_HEADER_BYTES >> 2;
const ADDRESS_WORD = SLOT_ADDRESS >> 2;
const NONE = -1;

/** Writes the reply of a ping with this transaction id into a slot of our own. */
export interface PingReplies {
  /** Returns the length. */
  writePing(slot: number, tid: number): number;
}

export class DelayedPings {
  readonly capacity: number;
  readonly #headers: Int32Array;
  readonly #tids: Uint16Array;
  /** The next row of a bucket, or of the free ones. */
  readonly #next: Int16Array;
  /** Whether the row's source had proven its address. */
  readonly #isProven: Uint8Array;
  /** Rows by network: all come by IPv4, whose prefix is one word. */
  readonly #perPrefix: Tally;
  readonly #buckets = new Int16Array(BUCKETS).fill(NONE);
  readonly #own: OwnDatagrams;
  readonly #replies: PingReplies;
  #free = 0;
  #size = 0;
  #unproven = 0;
  /** The bucket sent last, as a number that wraps at 2^32. */
  #done = 0;

  constructor(own: OwnDatagrams, replies: PingReplies, capacity = DELAYED_PINGS) {
    this.capacity = capacity;
    this.#own = own;
    this.#replies = replies;
    this.#headers = new Int32Array(capacity * HEADER_WORDS);
    this.#tids = new Uint16Array(capacity);
    this.#isProven = new Uint8Array(capacity);
    this.#perPrefix = new Tally(capacity);
    this.#next = new Int16Array(capacity);
    for (let i = 0; i < capacity; i++) this.#next[i] = i + 1 < capacity ? i + 1 : NONE;
    if (capacity === 0) this.#free = NONE;
  }

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  /** Whether one more may wait, whose source has proven its address or has not. */
  hasRoom(isProven: boolean): boolean {
    return this.#free !== NONE && (isProven || this.#unproven < this.capacity >> 1);
  }

  /** Whether the network of the datagram in `slot` has as many waiting as it may have. */
  isCrowded(slab: Slab, slot: number): boolean {
    const at = (slot * SLOT_BYTES + SLOT_ADDRESS) >> 2;
    return this.#perPrefix.get(prefixHigh(slab.i32, at)) >= DELAYED_PINGS_PER_PREFIX;
  }

  /**
   * Answers the request in `slot` in `delayMs` (1 to 10,000); false when there is no room, or what
   * is due has been waiting for slots so long that the wheel has none.
   */
  add(
    slab: Slab,
    slot: number,
    isProven: boolean,
    tid: number,
    delayMs: number,
    nowMs: number,
  ): boolean {
    if (!this.hasRoom(isProven)) return false;
    const row = this.#free;
    if (this.#size === 0) this.#done = bucketBefore(nowMs);
    const number = Math.ceil((nowMs + delayMs) / BUCKET_MS) | 0;
    if (((number - this.#done) | 0) >= BUCKETS) return false;
    this.#free = this.#next[row];
    this.#size++;
    this.#isProven[row] = isProven ? 1 : 0;
    if (!isProven) this.#unproven++;
    this.#tids[row] = tid;
    const from = (slot * SLOT_BYTES) >> 2;
    const at = row * HEADER_WORDS;
    for (let i = 0; i < HEADER_WORDS; i++) this.#headers[at + i] = slab.i32[from + i];
    this.#perPrefix.add(prefixHigh(this.#headers, at + ADDRESS_WORD), 1);
    const bucket = number & (BUCKETS - 1);
    this.#next[row] = this.#buckets[bucket];
    this.#buckets[bucket] = row;
    return true;
  }

  /** Answers all that are due by `nowMs`, as long as there are slots: the others come later. */
  send(nowMs: number): void {
    if (this.#size === 0) return;
    const last = bucketBefore(nowMs);
    const buckets = Math.min(BUCKETS, (last - this.#done) | 0);
    for (let i = 0; i < buckets; i++) {
      const number = (last - buckets + 1 + i) | 0;
      if (!this.#sendBucket(number & (BUCKETS - 1))) return;
      this.#done = number;
    }
  }

  #sendBucket(bucket: number): boolean {
    for (let row = this.#buckets[bucket]; row !== NONE; row = this.#buckets[bucket]) {
      const slot = this.#own.take(this.#headers, row * HEADER_WORDS);
      if (slot < 0) return false;
      this.#own.send(slot, this.#replies.writePing(slot, this.#tids[row]));
      this.#buckets[bucket] = this.#next[row];
      this.#next[row] = this.#free;
      this.#free = row;
      if (this.#isProven[row] === 0) this.#unproven--;
      this.#perPrefix.add(prefixHigh(this.#headers, row * HEADER_WORDS + ADDRESS_WORD), -1);
      this.#size--;
    }
    return true;
  }
}

/** The last bucket that is all in the past, or ends now. */
function bucketBefore(nowMs: number): number {
  return Math.floor(nowMs / BUCKET_MS) | 0;
}
