/**
 * `npm run bench -- limiter`: nanoseconds per datagram of the rate limiter, admit and settle, in
 * batches of 64 as the pipeline has them: one hot prefix, random ones that fit in the table, and a
 * flood of new ones.
 */
import process from 'node:process';
import { CidrList } from '../server/limits/cidr.ts';
import { RateLimiter } from '../server/limits/rate-limiter.ts';
import {
  SLOT_ADDRESS,
  SLOT_BYTES,
  SLOT_FAMILY,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_STATE,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_UDP,
} from '../workers/slab.ts';
import { formatTable, median } from './table.ts';

const BATCH = 64;
const BATCHES = 20_000;
const ROUNDS = 7;
const QUESTION_BYTES = 60;
const ANSWER_BYTES = 120;
/** As many as a busy server answers: 200,000 datagrams a second. */
const DATAGRAMS_PER_MS = 200;

/** The 24 bits of a prefix for the n-th datagram. */
type Source = (n: number) => number;

const SOURCES: readonly (readonly [string, Source])[] = [
  ['one prefix', () => 0x0a0b0c],
  ['64 prefixes', (n) => n & 63],
  ['4,096 prefixes, random', (n) => mix(n) & 0xfff],
  ['65,536 prefixes, random', (n) => mix(n) & 0xffff],
  ['16 million prefixes, random', (n) => mix(n) & 0xffffff],
];

function mix(n: number): number {
  let word = Math.imul(n ^ (n >>> 15), 0x85ebca6b);
  word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35);
  return word ^ (word >>> 16);
}

class LimiterBench {
  readonly #slab = Slab.allocate(BATCH);
  readonly #limiter = new RateLimiter({
    repliesPerSecond: 200,
    exempt: CidrList.none,
    hashKey: [1, 2],
  });
  #datagram = 0;

  constructor() {
    const { bytes } = this.#slab;
    for (let slot = 0; slot < BATCH; slot++) {
      const base = slot * SLOT_BYTES;
      bytes[base + SLOT_ADDRESS + 10] = 0xff;
      bytes[base + SLOT_ADDRESS + 11] = 0xff;
      bytes[base + SLOT_FAMILY] = 4;
      bytes[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
      bytes[base + SLOT_HEADER_BYTES + 11] = 1;
    }
  }

  /** Nanoseconds per datagram, that of making it up included. */
  run(source: Source, isLimited: boolean): number {
    const slab = this.#slab;
    const { i32, bytes } = slab;
    const start = process.hrtime.bigint();
    for (let batch = 0; batch < BATCHES; batch++) {
      const now = 1e12 + Math.floor(this.#datagram / DATAGRAMS_PER_MS);
      for (let slot = 0; slot < BATCH; slot++) {
        const base = slot * SLOT_BYTES;
        const prefix = source(this.#datagram++);
        i32[(base + SLOT_ADDRESS + 12) >> 2] = prefix;
        i32[(base + SLOT_LENGTH) >> 2] = QUESTION_BYTES;
        bytes[base + SLOT_STATE] = 0;
        if (isLimited) this.#limiter.admit(slab, slot, now);
      }
      for (let slot = 0; slot < BATCH; slot++) {
        i32[(slot * SLOT_BYTES + SLOT_LENGTH) >> 2] = ANSWER_BYTES;
        if (isLimited) this.#limiter.settle(slab, slot);
      }
    }
    return Number(process.hrtime.bigint() - start) / (BATCH * BATCHES);
  }
}

/** Prints the table; returns the exit code. */
export async function benchLimiter(): Promise<number> {
  const rows = [['sources', 'unit', 'admit + settle']];
  for (const [what, source] of SOURCES) {
    const bench = new LimiterBench();
    bench.run(source, true);
    const samples = Array.from(
      { length: ROUNDS },
      () => bench.run(source, true) - bench.run(source, false),
    );
    rows.push([what, 'ns', median(samples).toFixed(0)]);
  }
  process.stdout.write(`${formatTable(rows)}\n`);
  return 0;
}
