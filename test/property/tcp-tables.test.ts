/** The flat tables under the TCP receiver, against plain ones. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { OrderedList } from '../../server/net/tcp/ordered-list.ts';
import { PrefixCounts } from '../../server/net/tcp/prefix-counts.ts';
import { PrefixList } from '../../server/net/tcp/prefix-list.ts';

describe('TCP tables', () => {
  test('the ordered list is the list of what was appended last, in order', () => {
    const step = fc.record({ n: fc.nat(7), append: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const list = new OrderedList(8);
        let model: { n: number; at: number }[] = [];
        steps.forEach(({ n, append }, at) => {
          model = model.filter((entry) => entry.n !== n);
          if (append) model.push({ n, at });
          if (append) list.append(n, at);
          else list.remove(n);
          const found = [];
          for (let m = list.first; m !== -1; m = list.after(m))
            found.push({ n: m, at: list.at(m) });
          assert.deepEqual(found, model);
          assert.equal(list.count, model.length);
          assert.equal(
            list.has(n),
            model.some((entry) => entry.n === n),
          );
        });
      }),
    );
  });

  test('of each network the longest there is first, and of all the longest of them', () => {
    const step = fc.record({ n: fc.nat(7), append: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const networks = Int32Array.from({ length: 8 }, (_, n) => (n % 3) + 5);
        const list = new PrefixList(8, networks);
        let model: number[] = [];
        steps.forEach(({ n, append }, at) => {
          model = model.filter((other) => other !== n);
          if (append) model.push(n);
          if (append) list.append(n, at);
          else list.remove(n);
          assert.equal(list.first, model[0] ?? -1);
          for (let network = 0; network < 8; network++) {
            const first = model.find((m) => networks[m] === network) ?? -1;
            assert.equal(list.firstOf(network), first);
          }
        });
      }),
    );
  });

  test('the counts of networks are exact, however they collide', () => {
    const prefix = fc.record({ high: fc.integer({ min: -3, max: 3 }), low: fc.constantFrom(4, 6) });
    const step = fc.record({ prefix, add: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const counts = new PrefixCounts(14);
        const model = new Map<string, number>();
        const numbers = new Map<string, number>();
        for (const { prefix: p, add } of steps) {
          const key = `${p.high}/${p.low}`;
          const had = model.get(key) ?? 0;
          if (!add && had === 0) continue;
          model.set(key, had + (add ? 1 : -1));
          const known = numbers.get(key);
          if (!add) counts.subtract(p.high, p.low);
          else numbers.set(key, counts.add(p.high, p.low));
          if (add && known !== undefined) assert.equal(numbers.get(key), known, 'its own number');
          if (!add && had === 1) numbers.delete(key);
          assert.equal(new Set(numbers.values()).size, numbers.size, 'no number is shared');
          assert.ok([...numbers.values()].every((number) => number >= 0 && number < 14));
          for (let high = -3; high <= 3; high++) {
            for (const low of [4, 6]) {
              assert.equal(counts.get(high, low), model.get(`${high}/${low}`) ?? 0);
              assert.equal(counts.numberOf(high, low), numbers.get(`${high}/${low}`) ?? -1);
            }
          }
        }
      }),
    );
    assert.throws(() => new PrefixCounts(4).subtract(1, 4), RangeError);
  });
});
