import assert from 'node:assert/strict';
import { test } from 'node:test';
import { firstMark, HashTable, nextMark } from '../../../workers/store/hash-table.ts';
import { SeededRandom } from './fixture.ts';

/** The slot of row `index`, or -1: a search as the table's owners make it. */
function search(table: HashTable, hash: number, index: number): number {
  let mark = firstMark(hash);
  for (let slot = table.home(hash); ; slot = table.next(slot)) {
    const entry = table.slots[slot];
    if (entry === 0) return -1;
    if ((entry & 0xff) === mark && (entry >>> 8) - 1 === index) return slot;
    mark = nextMark(mark);
  }
}

for (const [what, hashOf] of [
  ['random hashes', (index: number) => Math.imul(index + 1, 0x9e3779b1) ^ (index << 7)],
  ['one hash for all', () => -5],
  ['three hashes, the last slot among them', (index: number) => [0, -1, 1 << 30][index % 3]],
] as const) {
  test(`insertions and deletions in any order: ${what}`, () => {
    for (const slots of [8, 9, 71, 1001]) {
      const seed = slots;
      const random = new SeededRandom(seed);
      const table = new HashTable(new SharedArrayBuffer(slots * 4), { hashOf });
      const rows = Math.floor(slots * 0.7);
      const there = new Set<number>();
      for (let i = 0; i < 4000; i++) {
        const index = random.below(rows);
        if (there.delete(index)) table.remove(hashOf(index), index);
        else {
          table.insert(hashOf(index), index);
          there.add(index);
        }
        const probe = random.below(rows);
        const found = search(table, hashOf(probe), probe) >= 0;
        assert.equal(found, there.has(probe), `seed ${seed}, step ${i}`);
        if (i % 200 === 0) {
          for (const one of there) assert.ok(search(table, hashOf(one), one) >= 0);
          assert.equal(table.slots.filter((entry) => entry !== 0).length, there.size);
        }
      }
      table.remove(hashOf(0), rows + 1);
      table.clear();
      assert.ok(table.slots.every((entry) => entry === 0));
    }
  });
}

test('homes lie in the table for every hash and size', () => {
  for (const slots of [8, 9, 1001, 14_285_716]) {
    const table = new HashTable(new SharedArrayBuffer(slots * 4), { hashOf: () => 0 });
    for (const hash of [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, -1, -(2 ** 31)]) {
      const home = table.home(hash);
      assert.ok(home >= 0 && home < slots, `${hash} in ${slots}: ${home}`);
    }
    assert.equal(table.home(0), 0);
    assert.equal(table.home(-1), slots - 1);
  }
});

test('the largest index survives in an entry', () => {
  const index = 9_999_999;
  const table = new HashTable(new SharedArrayBuffer(64), { hashOf: () => 3 });
  table.insert(3, index);
  assert.ok(search(table, 3, index) >= 0);
  table.remove(3, index);
  assert.equal(search(table, 3, index), -1);
});
