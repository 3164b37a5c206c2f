/**
 * What strangers may make us send, per /24 and /56: a source that proved nothing may be forged, and
 * the network it names is then the victim of our answers. Response rate limiting as DNS servers do
 * it (the slipped TC is that of BIND's and NSD's RRL), with a budget of bytes beside the replies.
 *
 *   replies left?  no  -> every second one: TRUNCATED, as long as a bucket of its own lasts; the
 *        | yes            others: SILENT. The lane holds a truncated answer, which may carry a
 *        |                token, to three times the question: it has no excess to account for
 *   bytes for the worst answer left?  yes -> FULL
 *        | no -> LIMITED: at most three times the question, headers counted
 *
 * What is charged in bytes is the excess of an answer over three times its question, both with
 * their IP and UDP headers. `admit` sets aside the worst, `settle` gives back what was not used. A
 * proven source gets everything back.
 *
 * The promise, whatever all others do: in any span of t seconds a prefix gets at most
 * AMPLIFICATION_BURST_BYTES + t * AMPLIFICATION_BYTES_PER_SECOND more than three times what came
 * from it. All arithmetic is on integers: nothing drifts.
 *
 * Every budget is a prefix's own. There is none of all together: who forges sources in ever new
 * networks is answered as if they were as many clients, and no network gets more than its own.
 */
import { HEAD_BYTES, MAX_DATAGRAM_BYTES } from '../../codecs/dht/constants.ts';
import { CLASSIC_UDP_BYTES, EDNS_UDP_BYTES } from '../../codecs/dns/constants.ts';
import {
  AMPLIFICATION_FACTOR,
  headerBytes,
  IPV4_UDP_HEADER_BYTES,
  IPV6_UDP_HEADER_BYTES,
  unamplifiedBytes,
} from '../../workers/amplification.ts';
import {
  BUDGET_SILENT,
  BUDGET_TRUNCATED,
  SLOT_ADDRESS,
  SLOT_BUDGET,
  SLOT_BYTES,
  SLOT_DATA_BYTES,
  SLOT_FAMILY,
  SLOT_LENGTH,
  SLOT_LIMITER_ROW,
  SLOT_PROVEN,
  SLOT_SET_ASIDE,
  SLOT_STATE,
  SLOT_TRANSPORT,
  type Slab,
  TRANSPORT_UDP,
} from '../../workers/slab.ts';
import type { CidrList } from './cidr.ts';
import { hasAdditionals } from './dns-counts.ts';
import {
  CREDIT,
  GENERATION_MASK,
  LimiterTable,
  META,
  REPLIES,
  RESERVED,
  SLIPS,
  TOGGLE,
} from './limiter-table.ts';

export { AMPLIFICATION_FACTOR, IPV4_UDP_HEADER_BYTES, IPV6_UDP_HEADER_BYTES };

/** Beyond three times the question a prefix may have this much at once: 30 longest answers. */
export const AMPLIFICATION_BURST_BYTES = 32_768;
/** And this much for ever: a victim's network does not notice 64 kbit/s. */
export const AMPLIFICATION_BYTES_PER_SECOND = 8192;
/** A bucket's level in thousandths is a 31-bit number, twice the burst included. */
export const MAX_REPLIES_PER_SECOND = 1_000_000;

/** The verdicts of `admit`: also whether to pass the datagram on (`canProve`, dns-counts.ts). */
export const FULL = 1;
export const LIMITED = 2;
export const TRUNCATED = 3;
export const SILENT = 4;

/*
 * SLOT_SET_ASIDE: what one datagram has been charged; 0 = nothing.
 *
 *   | excess in bytes, bits 0..11 | the worst answer's bytes, 12..23 | REPLY 24 | SLIP 25 |
 */
const EXCESS_MASK = 0xfff;
const MOST_SHIFT = 12;
const MOST_MASK = 0xfff;
const REPLY = 1 << 24;
const SLIP = 1 << 25;

/*
 * SLOT_LIMITER_ROW: whom it was charged to.
 *
 *   | row, bits 0..16 | the row's generation, bits 17..30 |
 */
const ROW_BITS = 17;
const ROW_MASK = (1 << ROW_BITS) - 1;

const MILLI = 1000;

export interface RateLimiterOptions {
  /**
   * Replies per second and prefix, also the burst: 1 to MAX_REPLIES_PER_SECOND.
   */
  readonly repliesPerSecond: number;
  /** Networks that always get full answers. */
  readonly exempt: CidrList;
  /** Secret halves of the key that spreads prefixes over the table. */
  readonly hashKey: readonly [number, number];
}

export class RateLimiter {
  readonly #table: LimiterTable;
  readonly #exempt: CidrList;

  /** @throws RangeError when the rate is out of range. */
  constructor(options: RateLimiterOptions) {
    const { repliesPerSecond: rate } = options;
    if (!Number.isInteger(rate) || rate < 1 || rate > MAX_REPLIES_PER_SECOND) {
      const allowed = `allowed are whole numbers 1 to ${MAX_REPLIES_PER_SECOND}`;
      throw new RangeError(`rate limiter: repliesPerSecond is ${rate}; ${allowed}`);
    }
    this.#exempt = options.exempt;
    this.#table = new LimiterTable(
      {
        repliesPerSecond: rate,
        slipsPerSecond: Math.max(1, rate >> 1),
        burstBytes: AMPLIFICATION_BURST_BYTES,
        bytesPerSecond: AMPLIFICATION_BYTES_PER_SECOND,
        // Who cannot have the longest excess there is: a full datagram for ten bytes by IPv4.
        limitedBelowBytes: excessOf(MAX_DATAGRAM_BYTES, HEAD_BYTES, IPV4_UDP_HEADER_BYTES),
      },
      options.hashKey,
    );
  }

  /** Bytes of the table, whatever happens. */
  get tableBytes(): number {
    return this.#table.words.byteLength;
  }

  /**
   * Decides what the DNS query by UDP in `slot` may get, and notes it in the slot's header: budget,
   * limiter row and what is set aside. `settle` or `cancel` must follow, once, when the slot comes
   * back.
   */
  admit(slab: Slab, slot: number, nowMs: number): number {
    const most = hasAdditionals(slab, slot) ? EDNS_UDP_BYTES : CLASSIC_UDP_BYTES;
    return this.admitFor(slab, slot, nowMs, most);
  }

  /** The same for any request by UDP whose answer has at most `most` bytes, up to 4,095. */
  admitFor(slab: Slab, slot: number, nowMs: number, most: number): number {
    const base = slot * SLOT_BYTES;
    const words = slab.i32;
    if (this.#exempt.count > 0 && this.#exempt.contains(slab.bytes, base + SLOT_ADDRESS)) {
      this.pass(slab, slot);
      return FULL;
    }
    const asked = words[(base + SLOT_LENGTH) >> 2];
    const headers = headerBytes(slab.bytes[base + SLOT_FAMILY]);
    const excess = excessOf(most, asked, headers);
    const table = this.#table;
    const row = table.claim(words, (base + SLOT_ADDRESS) >> 2, nowMs);
    if (row < 0) {
      // Nobody of a crowded part of the table may be forgotten for a newcomer's sake.
      this.#note(words, base, limitedBytes(most, asked, headers), 0, 0);
      return excess === 0 ? FULL : LIMITED;
    }
    const state = table.stateOf(row);
    const cells = table.words;
    if (cells[state + REPLIES] < MILLI) return this.#slip(words, base, row, state);
    cells[state + REPLIES] -= MILLI;
    const aside = REPLY | (most << MOST_SHIFT);
    const cost = excess * MILLI;
    if (cells[state + CREDIT] >= cost) {
      cells[state + CREDIT] -= cost;
      cells[state + RESERVED] += cost;
      this.#note(words, base, most, this.#id(row, state), aside | excess);
      return FULL;
    }
    this.#note(words, base, limitedBytes(most, asked, headers), this.#id(row, state), aside);
    return LIMITED;
  }

  /**
   * Whether a short answer (an error header, never longer than what it answers) may be sent to the
   * source of `slot`; it costs a reply. Nothing needs to be settled.
   */
  admitShort(slab: Slab, slot: number, nowMs: number): boolean {
    const base = slot * SLOT_BYTES;
    const words = slab.i32;
    this.pass(slab, slot);
    if (this.#exempt.count > 0 && this.#exempt.contains(slab.bytes, base + SLOT_ADDRESS)) {
      return true;
    }
    const table = this.#table;
    const row = table.claim(words, (base + SLOT_ADDRESS) >> 2, nowMs);
    if (row < 0) return true;
    const replies = table.stateOf(row) + REPLIES;
    if (table.words[replies] < MILLI) return false;
    table.words[replies] -= MILLI;
    return true;
  }

  /** Lets the datagram in `slot` pass unlimited and uncharged: an acknowledgement, say. */
  pass(slab: Slab, slot: number): void {
    this.#note(slab.i32, slot * SLOT_BYTES, SLOT_DATA_BYTES, 0, 0);
  }

  /**
   * Gives back what the datagram in `slot` was charged and did not use; to be called once when the
   * slot comes back, with the header as the lane left it. SLOT_LENGTH is the answer's, 0 when there
   * was none; SLOT_STATE has SLOT_PROVEN when nothing counts. Nothing happens by TCP, nor where
   * nothing was set aside.
   */
  settle(slab: Slab, slot: number): void {
    const base = slot * SLOT_BYTES;
    if (slab.bytes[base + SLOT_TRANSPORT] !== TRANSPORT_UDP) return;
    const isProven = (slab.bytes[base + SLOT_STATE] & SLOT_PROVEN) !== 0;
    this.#giveBack(slab.i32, base, isProven ? 0 : slab.i32[(base + SLOT_LENGTH) >> 2]);
  }

  /** In the place of `settle` for a datagram that no lane has answered: gives everything back. */
  cancel(slab: Slab, slot: number): void {
    const base = slot * SLOT_BYTES;
    if (slab.bytes[base + SLOT_TRANSPORT] === TRANSPORT_UDP) this.#giveBack(slab.i32, base, 0);
  }

  /**
   * Replies are used up: every second datagram is told to come by TCP, or given a token to come
   * back with (see BUDGET_TRUNCATED), while those last.
   */
  #slip(words: Int32Array, base: number, row: number, state: number): number {
    const cells = this.#table.words;
    cells[state + META] ^= TOGGLE;
    if ((cells[state + META] & TOGGLE) === 0 || cells[state + SLIPS] < MILLI) {
      this.#note(words, base, BUDGET_SILENT, 0, 0);
      return SILENT;
    }
    cells[state + SLIPS] -= MILLI;
    this.#note(words, base, BUDGET_TRUNCATED, this.#id(row, state), SLIP);
    return TRUNCATED;
  }

  #note(words: Int32Array, base: number, budget: number, id: number, aside: number): void {
    words[(base + SLOT_BUDGET) >> 2] = budget;
    words[(base + SLOT_LIMITER_ROW) >> 2] = id;
    words[(base + SLOT_SET_ASIDE) >> 2] = aside;
  }

  #id(row: number, state: number): number {
    return row | ((this.#table.words[state + META] & GENERATION_MASK) << ROW_BITS);
  }

  #giveBack(words: Int32Array, base: number, sent: number): void {
    const aside = words[(base + SLOT_SET_ASIDE) >> 2];
    if (aside === 0) return;
    words[(base + SLOT_SET_ASIDE) >> 2] = 0;
    const id = words[(base + SLOT_LIMITER_ROW) >> 2];
    const row = id & ROW_MASK;
    const table = this.#table;
    // The row may be somebody else's by now.
    if (!table.isOf(row, id >>> ROW_BITS, words, (base + SLOT_ADDRESS) >> 2)) return;
    const excess = aside & EXCESS_MASK;
    if (excess > 0) {
      const most = (aside >>> MOST_SHIFT) & MOST_MASK;
      const unused = sent === 0 ? excess : Math.min(excess, Math.max(0, most - sent));
      table.returnBytes(row, excess * MILLI, unused * MILLI);
    }
    if (sent > 0) return;
    if ((aside & REPLY) !== 0) table.returnReply(row, MILLI);
    if ((aside & SLIP) !== 0) table.returnSlip(row, MILLI);
  }
}

/** How much longer than three times the question an answer is, with headers; at least 0. */
function excessOf(answer: number, asked: number, headers: number): number {
  return Math.max(0, answer - unamplifiedBytes(asked, headers));
}

/** The longest answer that is, with headers, no more than three times the question. */
function limitedBytes(most: number, asked: number, headers: number): number {
  return Math.min(most, unamplifiedBytes(asked, headers));
}
