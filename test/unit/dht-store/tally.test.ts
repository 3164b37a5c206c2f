import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tally } from '../../../workers/dht/store/tally.ts';
import { SeededRandom } from '../store/fixture.ts';

test('a tally counts as a map does, whatever comes and goes', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const most = 1 + random.below(40);
    const tally = new Tally(most);
    const map = new Map<number, number>();
    // Few homes, so that runs are long and go round the end.
    const keys = Int32Array.from({ length: 60 }, () => (random.next() | 0) & 0xf000_00ff);
    for (let i = 0; i < 5000; i++) {
      const key = keys[random.below(keys.length)];
      const count = map.get(key) ?? 0;
      assert.equal(tally.get(key), count, `seed ${seed}, step ${i}`);
      const delta = count === 0 ? 1 : random.chance(0.6) ? -1 : 1;
      if (count === 0 && map.size === most) continue;
      tally.add(key, delta);
      if (count + delta === 0) map.delete(key);
      else map.set(key, count + delta);
      assert.equal(tally.size, map.size, `seed ${seed}, step ${i}`);
    }
    tally.clear();
    assert.ok(keys.every((key) => tally.get(key) === 0));
    assert.equal(tally.size, 0);
  }
});
