import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  allocateCounters,
  COUNTER,
  COUNTER_ROW_LENGTH,
  COUNTERS,
  counterRow,
  DROP_COUNTERS,
  inFlight,
  sumCounters,
} from '../../../workers/counters.ts';

describe('counters', () => {
  test('every name has its own place in a row, with room for all', () => {
    assert.ok(COUNTERS.length <= COUNTER_ROW_LENGTH);
    assert.equal(new Set(COUNTERS).size, COUNTERS.length);
    COUNTERS.forEach((name, index) => {
      assert.equal(COUNTER[name], index);
    });
  });

  test('the drops of the balance are all of them and nothing else', () => {
    const outside = ['dropPushFull'];
    assert.deepEqual(
      [...DROP_COUNTERS],
      COUNTERS.filter((name) => name.startsWith('drop') && !outside.includes(name)),
    );
  });

  test('rows do not overlap and are summed by name', () => {
    const buffer = allocateCounters(3);
    for (let thread = 0; thread < 3; thread++) {
      const row = counterRow(buffer, thread);
      assert.equal(row.length, COUNTER_ROW_LENGTH);
      for (const name of COUNTERS) row[COUNTER[name]] += 10 ** thread * (COUNTER[name] + 1);
    }
    const sums = sumCounters(buffer);
    for (const name of COUNTERS) assert.equal(sums[name], 111 * (COUNTER[name] + 1), name);
    assert.deepEqual(Object.keys(sums), [...COUNTERS]);
  });

  test('counts stay exact far beyond 32 bits', () => {
    const buffer = allocateCounters(1);
    const row = counterRow(buffer, 0);
    row[COUNTER.received] = 2 ** 53 - 2;
    row[COUNTER.received] += 1;
    assert.equal(sumCounters(buffer).received, Number.MAX_SAFE_INTEGER);
  });

  test('in flight is what came in and has not gone anywhere', () => {
    const buffer = allocateCounters(2);
    const main = counterRow(buffer, 0);
    const lane = counterRow(buffer, 1);
    assert.equal(inFlight(sumCounters(buffer)), 0);
    main[COUNTER.received] = 100;
    lane[COUNTER.originated] = 10;
    assert.equal(inFlight(sumCounters(buffer)), 110);
    main[COUNTER.sent] = 50;
    lane[COUNTER.absorbed] = 5;
    for (const name of DROP_COUNTERS) main[COUNTER[name]] = 1;
    assert.equal(inFlight(sumCounters(buffer)), 110 - 55 - DROP_COUNTERS.length);
    main[COUNTER.pushes] = 7;
    main[COUNTER.kernelDropped] = 9;
    assert.equal(inFlight(sumCounters(buffer)), 110 - 55 - DROP_COUNTERS.length);
  });
});
