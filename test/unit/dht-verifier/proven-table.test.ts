/** Addresses that answered a ping. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostToU32 } from '../../../codecs/dht/address.ts';
import { PROVEN_MS, ProvenTable } from '../../../server/dht/proven-table.ts';
import { mapped, privateHost } from '../dht-table/fixture.ts';

const T0 = 1_700_000_000_000;
const KEY = [1, 2] as const;

function wordsOf(host: string): Int32Array {
  return new Int32Array(mapped(host).buffer);
}

test('an address is proven for ten minutes, with its port alone', () => {
  const table = new ProvenTable(KEY);
  const words = wordsOf('192.0.2.77');
  assert.ok(!table.has(words, 0, 4000, T0));
  table.add(hostToU32('192.0.2.77'), 4000, T0);
  assert.ok(table.has(words, 0, 4000, T0));
  assert.ok(table.has(words, 0, 4000, T0 + PROVEN_MS - 1));
  assert.ok(!table.has(words, 0, 4000, T0 + PROVEN_MS));
  assert.ok(!table.has(words, 0, 4001, T0));
  assert.ok(!table.has(wordsOf('192.0.2.78'), 0, 4000, T0));
  assert.ok(!table.has(wordsOf('77.2.0.192'), 0, 4000, T0));
  table.add(hostToU32('192.0.2.77'), 4000, T0 + PROVEN_MS);
  assert.ok(table.has(words, 0, 4000, T0 + PROVEN_MS + 1));
});

test('an address is found behind others, and never when it is not IPv4', () => {
  const table = new ProvenTable(KEY);
  table.add(hostToU32('10.0.0.1'), 4000, T0);
  const words = new Int32Array(8);
  words.set(wordsOf('10.0.0.1'), 4);
  assert.ok(table.has(words, 4, 4000, T0));
  words[4] = 1;
  assert.ok(!table.has(words, 4, 4000, T0));
});

test('port 0 and address 0 are nobody, also at the beginning of time', () => {
  const table = new ProvenTable(KEY);
  assert.ok(!table.has(wordsOf('0.0.0.0'), 0, 0, 0));
  assert.ok(!table.has(wordsOf('0.0.0.0'), 0, 1, 0));
  table.add(hostToU32('10.0.0.1'), 7, 0);
  assert.ok(table.has(wordsOf('10.0.0.1'), 0, 7, 0));
});

test('the clock may turn over, in 2038 and in 2106', () => {
  for (const turnMs of [2 ** 31 * 1000, 2 ** 32 * 1000, 2 ** 33 * 1000]) {
    const table = new ProvenTable(KEY, 8);
    for (const [n, addedMs] of [turnMs - 9000, turnMs - 1000, turnMs, turnMs + 9000].entries()) {
      table.add(hostToU32(privateHost(n)), 9, addedMs);
      const words = wordsOf(privateHost(n));
      assert.ok(table.has(words, 0, 9, addedMs), `${n}`);
      assert.ok(table.has(words, 0, 9, addedMs + PROVEN_MS - 1), `${n}`);
      assert.ok(!table.has(words, 0, 9, addedMs + PROVEN_MS), `${n}`);
    }
    for (let n = 4; n < 9; n++) table.add(hostToU32(privateHost(n)), 9, turnMs + 10_000);
    assert.ok(!table.has(wordsOf(privateHost(0)), 0, 9, turnMs), 'the oldest made room');
    for (let n = 1; n < 9; n++) assert.ok(table.has(wordsOf(privateHost(n)), 0, 9, turnMs));
  }
});

test('a proof from the future is none: the clock was set back', () => {
  const table = new ProvenTable(KEY);
  table.add(hostToU32('10.0.0.1'), 9, T0);
  assert.ok(table.has(wordsOf('10.0.0.1'), 0, 9, T0 - 5000));
  assert.ok(!table.has(wordsOf('10.0.0.1'), 0, 9, T0 - 3_600_000));
});

test('a full table lets the oldest of a set go, never the newest', () => {
  const table = new ProvenTable(KEY, 64);
  let kept = 0;
  for (let n = 0; n < 1000; n++) {
    table.add(hostToU32(privateHost(n)), 9, T0 + n * 1000);
    assert.ok(table.has(wordsOf(privateHost(n)), 0, 9, T0 + n * 1000));
  }
  for (let n = 0; n < 1000; n++) {
    if (table.has(wordsOf(privateHost(n)), 0, 9, T0 + 999_000)) kept++;
  }
  assert.ok(kept > 55 && kept <= 64, `${kept} are kept`);
});

test('as many as are pinged in ten minutes are nearly all kept', () => {
  const table = new ProvenTable(KEY);
  const count = 32_768;
  for (let n = 0; n < count; n++) table.add(hostToU32(privateHost(n)), 9, T0 + n);
  let kept = 0;
  for (let n = 0; n < count; n++) kept += Number(table.has(wordsOf(privateHost(n)), 0, 9, T0));
  assert.ok(kept > count * 0.99, `${kept} of ${count} are kept`);
});

test('another size than a power of two is refused by name', () => {
  assert.throws(() => new ProvenTable(KEY, 100), /100 entries; expected a power of two from 8/);
  assert.throws(() => new ProvenTable(KEY, 4), /expected a power of two from 8/);
});
