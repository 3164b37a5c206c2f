/** The rate limiter on a fake clock: every count is exact. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { canProve } from '../../../server/limits/dns-counts.ts';
import {
  AMPLIFICATION_BURST_BYTES,
  AMPLIFICATION_BYTES_PER_SECOND,
  FULL,
  LIMITED,
  RateLimiter,
  SILENT,
  TRUNCATED,
} from '../../../server/limits/rate-limiter.ts';
import {
  BUDGET_SILENT,
  BUDGET_TRUNCATED,
  SLOT_CONNECTION,
  SLOT_DATA_BYTES,
  SLOT_GENERATION,
  SLOT_HEADER_BYTES,
  SLOT_SET_ASIDE,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_TCP,
} from '../../../workers/slab.ts';
import { Asker, arrive, makeLimiter, START_MS, tally } from './fixture.ts';

const HOST = '192.0.2.1';
/** A question of 40 bytes by IPv4: 512 + 28 - 3 * (40 + 28). */
const EXCESS4 = 336;
const FULLS4 = Math.floor(AMPLIFICATION_BURST_BYTES / EXCESS4);

describe('rate limiter: replies', () => {
  test('a burst of one second, then every second datagram is truncated, then silence', () => {
    const asker = new Asker(makeLimiter({ rate: 10 }));
    assert.deepEqual(asker.askMany(10, HOST, 200), Array(10).fill(FULL));
    const beyond = asker.askMany(14, HOST, 200);
    const [t, s] = [TRUNCATED, SILENT];
    assert.deepEqual(beyond, [t, s, t, s, t, s, t, s, t, s, s, s, s, s]);
  });

  test('budgets say what the verdict means', () => {
    const asker = new Asker(makeLimiter({ rate: 1 }));
    asker.ask(HOST, 200);
    assert.equal(asker.budget(), 512);
    asker.ask(HOST, 200);
    assert.equal(asker.budget(), BUDGET_TRUNCATED);
    asker.ask(HOST, 200);
    assert.equal(asker.budget(), BUDGET_SILENT);
  });

  test('one reply comes back every 1000 / N ms, never more than N', () => {
    const asker = new Asker(makeLimiter({ rate: 10 }));
    asker.askMany(30, HOST, 200);
    asker.nowMs += 99;
    assert.notEqual(asker.ask(HOST, 200), FULL);
    asker.nowMs += 1;
    assert.equal(asker.ask(HOST, 200), FULL);
    assert.notEqual(asker.ask(HOST, 200), FULL);
    asker.nowMs += 60_000;
    assert.equal(tally(asker.askMany(50, HOST, 200))[FULL], 10);
  });

  test('nothing is lost to rounding: 3 a second are 180 a minute, asked every millisecond', () => {
    const asker = new Asker(makeLimiter({ rate: 3 }));
    let full = 0;
    for (let ms = 0; ms < 60_000; ms++) {
      if (asker.ask(HOST, 200) === FULL) full++;
      asker.nowMs++;
    }
    // The burst of 3, and what came in 59,999 ms.
    assert.equal(full, 3 + 179);
  });

  test('slips refill at half the rate', () => {
    const asker = new Asker(makeLimiter({ rate: 10 }));
    asker.askMany(40, HOST, 200);
    asker.nowMs += 1000;
    const counts = tally(asker.askMany(40, HOST, 200));
    assert.deepEqual(counts, { [FULL]: 10, [TRUNCATED]: 5, [SILENT]: 25 });
  });

  test('prefixes have shares of their own, hosts of a prefix share one', () => {
    const asker = new Asker(makeLimiter({ rate: 4 }));
    assert.equal(tally(asker.askMany(9, '192.0.2.1', 200))[FULL], 4);
    assert.notEqual(asker.ask('192.0.2.254', 200), FULL);
    assert.equal(tally(asker.askMany(9, '192.0.3.1', 200))[FULL], 4);
  });

  test('IPv6 goes by /56', () => {
    const asker = new Asker(makeLimiter({ rate: 4 }));
    assert.equal(tally(asker.askMany(9, '2001:db8:1:ab00::1', 200))[FULL], 4);
    assert.notEqual(asker.ask('2001:db8:1:abff:ffff::9', 200), FULL);
    assert.equal(tally(asker.askMany(9, '2001:db8:1:ac00::1', 200))[FULL], 4);
  });

  test('an address of IPv6 that looks like a prefix of IPv4 is not one', () => {
    const asker = new Asker(makeLimiter({ rate: 4 }));
    asker.askMany(9, '192.0.2.1', 200);
    assert.equal(asker.ask('c000:200::', 200), FULL);
    assert.equal(asker.ask('2:c0::', 200), FULL);
  });

  test('a short answer costs a reply', () => {
    const asker = new Asker(makeLimiter({ rate: 3 }));
    const short = (): boolean => {
      arrive(asker.slab, 0, HOST, 12);
      return asker.limiter.admitShort(asker.slab, 0, asker.nowMs);
    };
    assert.deepEqual([short(), short()], [true, true]);
    assert.equal(asker.ask(HOST, 200), FULL);
    assert.deepEqual([short(), short()], [false, false]);
    assert.equal(asker.slab.i32[SLOT_SET_ASIDE >> 2], 0);
  });

  test('a rate out of range is refused', () => {
    for (const rate of [0, -1, 1.5, 1_000_001, Number.NaN]) {
      assert.throws(() => makeLimiter({ rate }), /repliesPerSecond is .*1 to 1000000/);
    }
  });
});

describe('rate limiter: bytes', () => {
  test('the excess over three times the question is charged, IPv4 headers counted', () => {
    const asker = new Asker(makeLimiter());
    const verdicts = asker.askMany(FULLS4 + 5, HOST);
    assert.deepEqual(verdicts, [...Array(FULLS4).fill(FULL), ...Array(5).fill(LIMITED)]);
    assert.equal(asker.budget(), 3 * (40 + 28) - 28);
  });

  test('by IPv6 the headers are 48 bytes', () => {
    const asker = new Asker(makeLimiter());
    const fulls = Math.floor(AMPLIFICATION_BURST_BYTES / (512 + 48 - 3 * (40 + 48)));
    assert.equal(tally(asker.askMany(fulls + 5, '2001:db8::1'))[FULL], fulls);
    assert.equal(asker.budget(), 3 * (40 + 48) - 48);
  });

  test('with additional records the worst answer has 1232 bytes', () => {
    const asker = new Asker(makeLimiter());
    const fulls = Math.floor(AMPLIFICATION_BURST_BYTES / (1232 + 28 - 3 * (60 + 28)));
    assert.equal(tally(asker.askMany(fulls + 5, HOST, 60, 1))[FULL], fulls);
    asker.nowMs += 60_000;
    asker.ask(HOST, 60, 1);
    assert.equal(asker.budget(), 1232);
  });

  test('a question long enough is always answered in full', () => {
    const asker = new Asker(makeLimiter());
    assert.deepEqual(tally(asker.askMany(1000, HOST, 160)), { [FULL]: 1000 });
  });

  test('what the answer did not use is given back', () => {
    const asker = new Asker(makeLimiter());
    // 400 bytes use 224 of the 336: each time 336 must be there.
    const fulls = Math.floor((AMPLIFICATION_BURST_BYTES - EXCESS4) / 224) + 1;
    const verdicts = Array.from({ length: fulls + 3 }, () => {
      const verdict = asker.ask(HOST);
      asker.answer(verdict === FULL ? 400 : 100);
      return verdict;
    });
    assert.deepEqual(tally(verdicts), { [FULL]: fulls, [LIMITED]: 3 });
  });

  test('an answer without excess costs nothing', () => {
    const asker = new Asker(makeLimiter());
    for (let i = 0; i < 1000; i++) {
      assert.equal(asker.ask(HOST), FULL, `question ${i}`);
      asker.answer(3 * (40 + 28) - 28);
    }
  });

  test('it refills at the stated rate, and no higher than the burst', () => {
    const asker = new Asker(makeLimiter());
    asker.askMany(200, HOST);
    asker.nowMs += 1000;
    const left = AMPLIFICATION_BURST_BYTES - FULLS4 * EXCESS4;
    const fulls = Math.floor((left + AMPLIFICATION_BYTES_PER_SECOND) / EXCESS4);
    assert.equal(tally(asker.askMany(200, HOST))[FULL], fulls);
    asker.nowMs += 3_600_000;
    assert.equal(tally(asker.askMany(200, HOST))[FULL], FULLS4);
  });

  test('what is under way counts as used: nothing is refilled for it', () => {
    const slots = FULLS4 + 1;
    const asker = new Asker(makeLimiter(), 2 * slots);
    for (let slot = 0; slot < FULLS4; slot++) asker.ask(HOST, 40, 0, slot);
    // Long enough to refill all, were nothing under way; short enough not to be forgotten.
    asker.nowMs += 5000;
    const free = AMPLIFICATION_BURST_BYTES - FULLS4 * EXCESS4;
    assert.equal(asker.ask(HOST, 40, 0, slots), free >= EXCESS4 ? FULL : LIMITED);
    for (let slot = 0; slot < FULLS4; slot++) asker.answer(512, slot);
    assert.equal(asker.ask(HOST, 40, 0, slots), LIMITED);
    asker.nowMs += 4000;
    assert.equal(tally(asker.askMany(200, HOST))[FULL], FULLS4);
  });
});

describe('rate limiter: settling', () => {
  /** Asks `times`, ending each by `end`; how many were full. */
  function fullsWith(end: (asker: Asker) => void, rate: number, length: number): number {
    const asker = new Asker(makeLimiter({ rate }));
    let fulls = 0;
    for (let i = 0; i < 1000; i++) {
      if (asker.ask(HOST, length) === FULL) fulls++;
      end(asker);
    }
    return fulls;
  }

  test('a proven source, or none answered, costs neither replies nor bytes', () => {
    const proven = (asker: Asker): void => {
      asker.prove();
      asker.answer(1000);
    };
    const unanswered = (asker: Asker): void => asker.answer(0);
    const cancelled = (asker: Asker): void => asker.limiter.cancel(asker.slab, 0);
    for (const end of [proven, unanswered, cancelled]) {
      assert.equal(fullsWith(end, 10, 200), 1000);
      assert.equal(fullsWith(end, 1_000_000, 40), 1000);
    }
  });

  test('a truncated answer that was not needed gives its slip back', () => {
    const asker = new Asker(makeLimiter({ rate: 4 }));
    asker.askMany(4, HOST, 200);
    for (let i = 0; i < 100; i++) {
      const verdict = asker.ask(HOST, 200);
      assert.equal(verdict, i % 2 === 0 ? TRUNCATED : SILENT);
      asker.prove();
      asker.answer(300);
    }
  });

  test('settling twice gives nothing twice', () => {
    const asker = new Asker(makeLimiter({ rate: 5 }));
    let fulls = 0;
    for (let i = 0; i < 20; i++) {
      if (asker.ask(HOST, 200) === FULL) fulls++;
      asker.answer(100);
      asker.answer(0);
      asker.limiter.cancel(asker.slab, 0);
    }
    assert.equal(fulls, 5);
  });

  test('a slot of TCP is left alone: its header means something else there', () => {
    const asker = new Asker(makeLimiter());
    asker.ask(HOST);
    asker.slab.bytes[SLOT_TRANSPORT] = TRANSPORT_TCP;
    asker.slab.i32[SLOT_CONNECTION >> 2] = 7;
    asker.slab.i32[SLOT_GENERATION >> 2] = 0x5ffff;
    asker.answer(0);
    asker.limiter.cancel(asker.slab, 0);
    assert.equal(asker.slab.i32[SLOT_CONNECTION >> 2], 7);
    assert.equal(asker.slab.i32[SLOT_GENERATION >> 2], 0x5ffff);
  });

  test('what comes back after the row was given up finds nobody', () => {
    const asker = new Asker(makeLimiter({ rate: 5 }), 2);
    asker.ask(HOST, 200, 0, 1);
    asker.nowMs += 20_000;
    assert.equal(tally(asker.askMany(20, HOST, 200))[FULL], 5);
    asker.answer(0, 1);
    assert.notEqual(asker.ask(HOST, 200), FULL);
  });

  test('a slot that never comes back is forgotten with its row', () => {
    const asker = new Asker(makeLimiter());
    for (let i = 0; i < FULLS4; i++) asker.ask(HOST);
    asker.nowMs += 10_000;
    assert.equal(tally(asker.askMany(200, HOST))[FULL], FULLS4);
  });

  test('random garbage in the header harms nothing', () => {
    const seed = 99;
    const asker = new Asker(makeLimiter());
    let word = seed;
    for (let i = 0; i < 100_000; i++) {
      word = Math.imul(word ^ (word >>> 15), 0x2c1b3c6d) + i;
      arrive(asker.slab, 0, HOST, 40);
      asker.slab.i32[SLOT_CONNECTION >> 2] = word;
      asker.slab.i32[SLOT_GENERATION >> 2] = Math.imul(word, 0x297a2d39) & 0x7ffff;
      asker.answer(word & 0x3ff);
    }
    assert.equal(tally(asker.askMany(200, HOST))[FULL], FULLS4, `seed ${seed}`);
  });
});

describe('rate limiter: time', () => {
  test('32 bits of milliseconds wrap and nothing happens', () => {
    for (const wrap of [2 ** 31, 2 ** 32, 2 ** 40]) {
      const asker = new Asker(makeLimiter({ rate: 10 }));
      asker.nowMs = wrap - 500;
      assert.equal(tally(asker.askMany(40, HOST, 200))[FULL], 10);
      asker.nowMs += 1000;
      assert.equal(tally(asker.askMany(40, HOST, 200))[FULL], 10, `around ${wrap}`);
      asker.nowMs += 300;
      assert.equal(tally(asker.askMany(40, HOST, 200))[FULL], 3, `around ${wrap}`);
    }
  });

  test('a prefix that was away for weeks is as new', () => {
    const asker = new Asker(makeLimiter({ rate: 10 }));
    for (const days of [1, 24, 25, 30, 49]) {
      asker.askMany(40, HOST, 200);
      asker.nowMs += days * 86_400_000;
      assert.equal(tally(asker.askMany(40, HOST, 200))[FULL], 10, `${days} days`);
    }
  });

  test('a clock that goes back a little refills nothing', () => {
    const asker = new Asker(makeLimiter({ rate: 10 }));
    asker.askMany(40, HOST, 200);
    asker.nowMs -= 5000;
    assert.equal(tally(asker.askMany(40, HOST, 200))[FULL], undefined);
    asker.nowMs = START_MS + 100;
    assert.equal(tally(asker.askMany(40, HOST, 200))[FULL], 1);
  });
});

describe('rate limiter: exempt networks and what can prove', () => {
  test('exempt networks always get full answers and are charged nothing', () => {
    const asker = new Asker(makeLimiter({ rate: 2, exempt: '192.0.2.0/25,2001:db8::/32' }));
    for (let i = 0; i < 100; i++) {
      assert.equal(asker.ask('192.0.2.1'), FULL);
      assert.equal(asker.budget(), SLOT_DATA_BYTES);
      asker.answer(1232);
      assert.equal(asker.ask('2001:db8:ffff::1'), FULL);
    }
    assert.ok(asker.limiter.admitShort(asker.slab, 0, asker.nowMs));
    // The other half of the same /24.
    assert.equal(tally(asker.askMany(9, '192.0.2.200', 200))[FULL], 2);
  });

  test('loopback is not exempt unless named', () => {
    const asker = new Asker(makeLimiter({ rate: 2 }));
    assert.equal(tally(asker.askMany(9, '127.0.0.1', 200))[FULL], 2);
    assert.equal(tally(asker.askMany(9, '::1', 200))[FULL], 2);
  });

  test('a token may be among the answers too, a cookie only among the additional records', () => {
    const slab = Slab.allocate(2);
    assert.equal(canProve(slab, 1), false);
    const slot = Slab.allocate(1).bytes.length;
    for (const [at, expected] of [
      [6, true],
      [7, true],
      [9, false],
      [10, true],
      [11, true],
    ] as const) {
      slab.bytes.fill(0);
      slab.bytes[slot + SLOT_HEADER_BYTES + at] = 1;
      assert.equal(canProve(slab, 1), expected, `byte ${at}`);
      assert.equal(canProve(slab, 0), false);
    }
  });

  test('a limiter has 4 MiB', () => {
    assert.equal(makeLimiter().tableBytes, 4 * 1024 * 1024);
    assert.ok(makeLimiter() instanceof RateLimiter);
  });
});
