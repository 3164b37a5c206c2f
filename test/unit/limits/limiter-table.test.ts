/** The limiter's table when it is crowded: who is forgotten, and that nobody gains by it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LimiterTable, ROWS_PER_SET, SETS } from '../../../server/limits/limiter-table.ts';
import {
  AMPLIFICATION_BURST_BYTES,
  FULL,
  LIMITED,
  SILENT,
  TRUNCATED,
} from '../../../server/limits/rate-limiter.ts';
import { writeAddress } from '../../../server/net/ip-address.ts';
import { Asker, HASH_KEY, makeLimiter, networkOf, START_MS, tally } from './fixture.ts';

const FULLS4 = Math.floor(AMPLIFICATION_BURST_BYTES / 336);

/** Addresses of `count` prefixes whose rows are in the same set of a limiter with HASH_KEY. */
function crowd(count: number): string[] {
  const table = new LimiterTable(
    {
      repliesPerSecond: 1,
      slipsPerSecond: 1,
      burstBytes: 1,
      bytesPerSecond: 1,
      limitedBelowBytes: 0,
    },
    HASH_KEY,
  );
  const bytes = new Uint8Array(16);
  const words = new Int32Array(bytes.buffer);
  const found: string[] = [];
  let wanted = -1;
  for (let n = 0x010000; found.length < count; n++) {
    writeAddress(networkOf(n), bytes, 0);
    const set = table.claim(words, 0, START_MS) >> 3;
    if (wanted < 0) wanted = set;
    if (set === wanted) found.push(networkOf(n));
  }
  return found;
}

const CROWD = crowd(40);

describe('limiter table', () => {
  test('a row that was replaced is noticed: nothing is given back to its new owner', () => {
    const asker = new Asker(makeLimiter({ rate: 5 }), 2);
    const [victim, ...others] = CROWD;
    // Long enough a question has no excess, so nothing is under way by bytes and the row may go.
    asker.ask(victim, 200, 0, 1);
    asker.nowMs += 1000;
    const successors = others.slice(0, ROWS_PER_SET);
    for (const successor of successors) {
      assert.equal(tally(asker.askMany(20, successor, 200))[FULL], 5, successor);
    }
    asker.answer(0, 1);
    for (const successor of successors) assert.notEqual(asker.ask(successor, 200), FULL);
  });

  test('a set of offenders stays: a newcomer gets three times the question, kept nowhere', () => {
    const asker = new Asker(makeLimiter());
    const offenders = CROWD.slice(0, ROWS_PER_SET);
    const newcomer = CROWD[ROWS_PER_SET];
    for (const offender of offenders) {
      assert.equal(tally(asker.askMany(200, offender))[FULL], FULLS4);
    }
    for (let i = 0; i < 50; i++) {
      assert.equal(asker.ask(newcomer), LIMITED);
      assert.equal(asker.budget(), 3 * (40 + 28) - 28);
      asker.answer(asker.budget());
    }
    // Three times is as much as any answer needs: nothing to limit.
    assert.equal(asker.ask(newcomer, 200), FULL);
    assert.ok(asker.limiter.admitShort(asker.slab, 0, asker.nowMs));
    for (const offender of offenders) assert.equal(asker.ask(offender), LIMITED);
    // As soon as one of them could be answered again it may go, and what it had used stays used.
    asker.nowMs += 1000;
    assert.ok((tally(asker.askMany(200, newcomer))[FULL] ?? 0) <= 8192 / 336 + 1);
  });

  test('a row with answers under way stays', () => {
    const asker = new Asker(makeLimiter(), ROWS_PER_SET + 1);
    for (let i = 0; i < ROWS_PER_SET; i++) asker.ask(CROWD[i], 40, 0, i);
    asker.nowMs += 5000;
    const last = ROWS_PER_SET;
    assert.equal(asker.ask(CROWD[last], 40, 0, last), LIMITED);
    asker.answer(100, 0);
    assert.equal(asker.ask(CROWD[last], 40, 0, last), FULL);
  });

  test('the row nearest to untouched goes first', () => {
    const asker = new Asker(makeLimiter());
    for (let i = 0; i < ROWS_PER_SET; i++) asker.askMany(i === 3 ? 10 : 60, CROWD[i]);
    asker.askMany(1, CROWD[ROWS_PER_SET]);
    for (let i = 0; i < ROWS_PER_SET; i++) {
      if (i === 3) continue;
      assert.equal(tally(asker.askMany(FULLS4, CROWD[i]))[FULL], FULLS4 - 60, `row ${i}`);
    }
  });

  test('nobody gains by being forgotten', () => {
    const asker = new Asker(makeLimiter());
    const [patient, ...others] = CROWD;
    let fulls = 0;
    // Between its turns 39 others fill the set; the clock stands still.
    for (let turn = 0; turn < 60; turn++) {
      fulls += tally(asker.askMany(5, patient))[FULL] ?? 0;
      // They use more, so it is the one to go each time.
      for (const other of others) asker.askMany(6, other);
    }
    assert.ok(fulls > 0 && fulls <= FULLS4, `${fulls} of ${FULLS4}`);
  });

  test('ten million spoofed sources neither grow the table nor push out an offender', () => {
    const asker = new Asker(makeLimiter({ rate: 20 }), 2);
    // By IPv6: none of the spoofed ones is of its prefix.
    const offender = '2001:db8::7';
    const { limiter, slab } = asker;
    asker.askMany(200, offender, 200);
    asker.ask('10.0.0.1');
    const words = slab.i32;
    const verdicts = [0, 0, 0, 0, 0];
    const offended = [0, 0, 0, 0, 0];
    // 100 seconds at 100,000 a second, and the offender 1,000 times a second.
    for (let n = 0; n < 10_000_000; n++) {
      if (n % 100 === 0) asker.nowMs++;
      words[5] = (Math.imul(n, 0x9e3779b1) >>> 8) & 0xffffff;
      words[0] = 40;
      verdicts[limiter.admit(slab, 0, asker.nowMs)]++;
      words[0] = 90;
      limiter.settle(slab, 0);
      if (n % 100 === 0) {
        const verdict = asker.ask(offender, 200, 0, 1);
        offended[verdict]++;
        asker.answer(verdict === SILENT ? 0 : 200, 1);
      }
    }
    assert.equal(limiter.tableBytes, 4 * 1024 * 1024);
    // 20 replies and 10 slips a second, as if nobody else were there; what comes due with the last
    // datagram is a reply, so one slip is left over.
    assert.equal(offended[FULL], 2000);
    assert.equal(offended[TRUNCATED], 999);
    assert.equal(offended[SILENT], 97_001);
    // Six a second and set: their rows are as new again when they are needed.
    assert.ok(verdicts[FULL] > 9_900_000, `verdicts ${verdicts}`);
    assert.ok(SETS * ROWS_PER_SET < 2 ** 17);
  });
});
