/** What one network may have of a store, against exact counts. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { defaultPrefixLimit, laneBounds } from '../../../workers/bounds.ts';
import { CountSketch } from '../../../workers/count-sketch.ts';
import { prefixHigh, prefixLow } from '../../../workers/source-prefix.ts';
import {
  ADDED,
  type ApplyResult,
  BOUNDED,
  REFRESHED,
  REMOVED,
} from '../../../workers/store/change.ts';
import { RecordStore } from '../../../workers/store/record-store.ts';
import {
  findName,
  makeStore,
  NOW,
  type Peer,
  put,
  remove,
  SeededRandom,
} from '../store/fixture.ts';
import { bound, peer, wordsOf } from './bounds-fixture.ts';

/** Live records by prefix and by name and prefix, counted one by one. */
function exactCounts(store: RecordStore): [Map<string, number>, Map<string, number>] {
  const prefixes = new Map<string, number>();
  const pairs = new Map<string, number>();
  for (let record = 0; record < store.limit; record++) {
    if (!store.isLive(record)) continue;
    const { words } = store.records;
    const prefix = `${prefixHigh(words, record * 12)}/${prefixLow(words, record * 12)}`;
    const pair = `${store.nameOf(record)} ${prefix}`;
    prefixes.set(prefix, (prefixes.get(prefix) ?? 0) + 1);
    pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
  }
  return [prefixes, pairs];
}

function keyOfPrefix(who: Peer): string {
  const words = wordsOf(who);
  return `${prefixHigh(words, 0)}/${prefixLow(words, 0)}`;
}

/** A seed with which no two of the crowds below share both cells of a sketch. */
const NO_COLLISION = 2;

describe('bounds: counts', () => {
  test('never too low, and right nearly always, whatever happens to the store', () => {
    const seed = 31;
    const random = new SeededRandom(seed);
    const store = makeStore(300, 20);
    const bounds = bound(store, {}, seed);
    let now = NOW;
    let looks = 0;
    let wrong = 0;
    for (let i = 0; i < 20_000; i++) {
      const who = peer(random.below(60), random.below(40));
      const name = `n${random.below(30)}`;
      const dice = random.below(100);
      const expiresAt = random.chance(0.5) ? 0 : now + 1 + random.below(60);
      if (dice < 70) put(store, name, who, { now, version: now, expiresAt });
      else if (dice < 90) remove(store, name, who, { now, version: now });
      else if (dice < 95) store.sweep(now, 100);
      else if (dice < 99) now += random.below(10);
      else store.repair();
      const row = findName(store, name);
      if (row >= 0 && random.chance(0.2)) {
        store.sample(row, 0, 40, now, random, new Int32Array(40));
      }
      if (i % 50 !== 0) continue;
      const [prefixes, pairs] = exactCounts(store);
      for (let network = 0; network < 60; network++) {
        const one = peer(network, 0);
        const exact = prefixes.get(keyOfPrefix(one)) ?? 0;
        const got = bounds.ofPrefix(wordsOf(one));
        assert.ok(got >= exact, `seed ${seed}, operation ${i}: ${got} of ${exact}`);
        const name = findName(store, `n${network % 30}`);
        const pair = pairs.get(`${name} ${keyOfPrefix(one)}`) ?? 0;
        const gotPair = name < 0 ? 0 : bounds.ofPair(name, wordsOf(one));
        assert.ok(gotPair >= pair, `seed ${seed}, operation ${i}: pair ${gotPair} of ${pair}`);
        looks += 2;
        if (got !== exact) wrong++;
        if (gotPair !== pair) wrong++;
      }
    }
    assert.ok(store.evicted > 100 && store.expired > 100, 'everything happened');
    // 600 keys in 4,096 cells: one in seven shares a cell, one in 50 both.
    assert.ok(wrong < looks / 30, `seed ${seed}: ${wrong} of ${looks} too high`);
  });

  test('a successor counts what is there: rebuilt equals incremental', () => {
    const random = new SeededRandom(5);
    const store = makeStore(500, 20);
    const bounds = bound(store, {}, 77);
    for (let i = 0; i < 5000; i++) {
      const who = peer(random.below(200), random.below(9));
      if (random.chance(0.7)) put(store, `n${random.below(40)}`, who);
      else remove(store, `n${random.below(40)}`, who, { version: 1 });
    }
    const successor = new RecordStore(store.buffers);
    const rebuilt = bound(successor, {}, 77);
    for (let network = 0; network < 200; network++) {
      const words = wordsOf(peer(network, 0));
      assert.equal(rebuilt.ofPrefix(words), bounds.ofPrefix(words));
      for (let n = 0; n < 40; n++) {
        const name = findName(store, `n${n}`);
        if (name >= 0) assert.equal(rebuilt.ofPair(name, words), bounds.ofPair(name, words));
      }
    }
  });

  test('a full sketch is too high by as little as its document says', () => {
    const seed = 8;
    const sketch = new CountSketch(100_000 / 4);
    const random = new SeededRandom(seed);
    const counts = new Map<number, number>();
    for (let i = 0; i < 100_000; i++) {
      const hash = random.next() | 0;
      sketch.add(hash, 1);
      counts.set(hash, (counts.get(hash) ?? 0) + 1);
    }
    const mean = 100_000 / sketch.width;
    let surplus = 0;
    let far = 0;
    for (const [hash, count] of counts) {
      const over = sketch.estimate(hash) - count;
      assert.ok(over >= 0, `seed ${seed}`);
      surplus += over;
      if (over > Math.E * mean) far++;
    }
    assert.ok(surplus / counts.size <= mean, `mean surplus ${surplus / counts.size}`);
    assert.ok(far < counts.size / Math.E, `${far} of ${counts.size}`);
  });

  test('what is taken away leaves nothing', () => {
    const sketch = new CountSketch(0);
    const random = new SeededRandom(9);
    const hashes = Array.from({ length: 5000 }, () => random.next() | 0);
    for (const hash of hashes) sketch.add(hash, 3);
    for (const hash of hashes) sketch.add(hash, -3);
    for (const hash of hashes) assert.equal(sketch.estimate(hash), 0);
    assert.throws(() => new CountSketch(2 ** 25), /at most 16777216/);
  });
});

describe('bounds: a prefix', () => {
  /** Announces of hosts 0.. of a network, each under a name of its own. */
  function announceMany(store: RecordStore, network: number, count: number): ApplyResult[] {
    return Array.from({ length: count }, (_, i) => put(store, `${network}-${i}`, peer(network, i)));
  }

  for (const network of [2, 3]) {
    test(`is refused at its share, IPv${network === 2 ? 4 : 6}`, () => {
      const store = makeStore(100);
      const bounds = bound(store, { prefixLimit: 12 });
      const results = announceMany(store, network, 20);
      assert.deepEqual(results, [...Array(12).fill(ADDED), ...Array(8).fill(BOUNDED)]);
      assert.equal(store.live, 12);
      assert.equal(bounds.ofPrefix(wordsOf(peer(network, 0))), 12);
      assert.deepEqual(announceMany(store, network + 2, 3), Array(3).fill(ADDED));
    });
  }

  test('may renew what it has, and use again what it gave up', () => {
    const store = makeStore(100);
    bound(store, { prefixLimit: 3 });
    announceMany(store, 2, 3);
    assert.equal(put(store, '2-0', peer(2, 0), { version: 5 }), REFRESHED);
    assert.equal(put(store, '2-9', peer(2, 9)), BOUNDED);
    assert.equal(remove(store, '2-0', peer(2, 0), { version: 6 }), REMOVED);
    assert.equal(put(store, '2-9', peer(2, 9)), ADDED);
    // The removed one is a tombstone now: it does not come back past the bound either.
    assert.equal(put(store, '2-0', peer(2, 0), { version: 7 }), BOUNDED);
    assert.equal(remove(store, '2-9', peer(2, 9), { version: 7 }), REMOVED);
    assert.equal(put(store, '2-0', peer(2, 0), { version: 7 }), ADDED);
    store.check();
  });

  test('gets room back by expiry, met by whoever', () => {
    const store = makeStore(100);
    bound(store, { prefixLimit: 2, hostLimit: 2 });
    for (const name of ['a', 'b']) put(store, name, peer(2, 1), { expiresAt: NOW + 5 });
    const now = NOW + 10;
    assert.equal(put(store, 'c', peer(2, 1), { now, version: 1 }), BOUNDED);
    // An expired record of the same name and peer is dropped before its successor is asked about.
    assert.equal(put(store, 'a', peer(2, 1), { now, version: 1 }), ADDED);
    assert.equal(put(store, 'c', peer(2, 1), { now, version: 1 }), BOUNDED);
    store.sweep(now, 100);
    assert.equal(put(store, 'c', peer(2, 1), { now, version: 1 }), ADDED);
  });

  test('cannot take more than its share of a full store from others', () => {
    const seed = 12;
    const limit = 400;
    const share = defaultPrefixLimit(limit);
    const random = new SeededRandom(seed);
    const store = makeStore(limit);
    bound(store, { prefixLimit: share });
    for (let i = 0; i < limit; i++) put(store, `other${i}`, peer(4 + (i % 50), i));
    assert.equal(store.live, limit);
    const mine = keyOfPrefix(peer(2, 0));
    let refused = 0;
    for (let i = 0; i < 20_000; i++) {
      const host = random.below(200);
      const name = `mine${random.below(100)}`;
      const version = 10 + i;
      const before = store.evicted;
      const had = exactCounts(store)[0].get(mine) ?? 0;
      const result = random.chance(0.7)
        ? put(store, name, peer(2, host), { version })
        : remove(store, name, peer(2, host), { version });
      if (result === BOUNDED) {
        refused++;
        assert.equal(store.evicted, before, `seed ${seed}, step ${i}: refused, yet evicted`);
      }
      if (had >= share) assert.notEqual(result, ADDED, `seed ${seed}, step ${i}`);
      if (i % 20 !== 0) continue;
      const has = exactCounts(store)[0].get(mine) ?? 0;
      assert.ok(has <= share, `seed ${seed}, step ${i}: ${has}`);
      assert.ok(store.live - has >= limit - share, `seed ${seed}, step ${i}`);
    }
    assert.ok(refused > 1000, `${refused} refused`);
    store.check();
  });
});

describe('bounds: a name', () => {
  test('has at most so many peers', () => {
    const store = makeStore(1000);
    bound(store, { nameLimit: 128 }, NO_COLLISION);
    const results = Array.from({ length: 40 }, (_, i) =>
      Array.from({ length: 4 }, (_, host) => put(store, 'crowd', peer(2 * i, host))),
    );
    const filled = results.slice(0, 32).flat();
    assert.deepEqual(filled, Array(128).fill(ADDED));
    assert.deepEqual(results.slice(32), Array(8).fill([ADDED, BOUNDED, BOUNDED, BOUNDED]));
    assert.equal(store.liveCount(findName(store, 'crowd')), 128);
    assert.equal(put(store, 'crowd', peer(20, 0), { version: 3 }), REFRESHED);
    assert.equal(put(store, 'another', peer(2, 1)), ADDED);
  });

  test('has at most a 32nd from one prefix', () => {
    const store = makeStore(1000);
    const bounds = bound(store, { nameLimit: 320 });
    assert.equal(bounds.sharedLimit, 10);
    for (let i = 0; i < 30; i++) put(store, 'crowd', peer(4 + 2 * i, i));
    const results = Array.from({ length: 15 }, (_, i) => put(store, 'crowd', peer(2, i)));
    assert.deepEqual(results, [...Array(10).fill(ADDED), ...Array(5).fill(BOUNDED)]);
    assert.equal(bounds.ofPair(findName(store, 'crowd'), wordsOf(peer(2, 0))), 10);
    assert.equal(put(store, 'crowd', peer(100, 1)), ADDED);
    assert.equal(put(store, 'another', peer(2, 1)), ADDED);
    assert.equal(remove(store, 'crowd', peer(2, 3), { version: 1 }), REMOVED);
    assert.equal(put(store, 'crowd', peer(2, 99)), ADDED);
  });

  test('of one network alone is bounded as well', () => {
    const store = makeStore(1000);
    bound(store, { nameLimit: 320 });
    const results = Array.from({ length: 15 }, (_, i) => put(store, 'ours', peer(3, i)));
    assert.deepEqual(results, [...Array(10).fill(ADDED), ...Array(5).fill(BOUNDED)]);
  });
});

describe('bounds: settings', () => {
  test('fault: a host with 64 names met the bound of a lane of three before its own', () => {
    assert.deepEqual(laneBounds({ prefixLimit: 100, nameLimit: 8 }, 3), {
      prefixLimit: 51,
      hostLimit: 29,
      nameLimit: 8,
    });
    const whole = { prefixLimit: 100, hostLimit: 50, nameLimit: 8 };
    assert.deepEqual(laneBounds({ prefixLimit: 100, nameLimit: 8 }, 1), whole);
    const tiny = { prefixLimit: 2, hostLimit: 1, nameLimit: 8 };
    assert.deepEqual(laneBounds({ prefixLimit: 2, nameLimit: 8 }, 3), tiny, 'at most all');
    const seed = 40;
    const random = new SeededRandom(seed);
    const limits = { prefixLimit: 128, nameLimit: 8192 };
    let refused = 0;
    for (let host = 0; host < 100; host++) {
      const stores = Array.from({ length: 3 }, () => makeStore(100));
      for (const store of stores) bound(store, laneBounds(limits, 3), seed, 3);
      for (let i = 0; i < 64; i++) {
        if (put(stores[random.below(3)], `name${i}`, peer(2, 1)) !== ADDED) refused++;
      }
    }
    assert.ok(refused < 64, `seed ${seed}: ${refused} of 6,400 refused`);
  });

  test('fault: of several lanes one crowded name evicted all others of its lane', () => {
    const nameLimit = (limit: number, limits: object, lanes: number): number =>
      bound(makeStore(limit), limits, 1, lanes).nameLimit;
    const usual = { prefixLimit: 12_500, nameLimit: 8192 };
    assert.equal(nameLimit(100_000, usual, 1), 8192);
    assert.equal(nameLimit(6250, usual, 16), 1562);
    assert.equal(nameLimit(10_000, usual, 1), 2500, 'a large store of one lane too');
    assert.equal(nameLimit(1000, usual, 3), 512, 'never less than two shares');
    assert.equal(nameLimit(334, { ...usual, prefixLimit: 62 }, 3), 124);
    assert.equal(nameLimit(100, { ...usual, nameLimit: 100 }, 1), 100, 'a small one of one lane');
    assert.equal(nameLimit(100, { ...usual, nameLimit: 4 }, 3), 4);
    const bounds = bound(makeStore(10_000), usual);
    assert.deepEqual([bounds.sharedLimit, bounds.sharedHostLimit], [256, 128], 'shares stay');
  });

  test('a name of a lane with few rows is bounded before its hosts are', () => {
    const store = makeStore(100);
    bound(store, { prefixLimit: 10, nameLimit: 8192 }, 1, 3);
    const results = Array.from({ length: 40 }, (_, i) => put(store, 'crowd', peer(2 * i, 1)));
    assert.deepEqual(new Set(results), new Set([ADDED]), 'newcomers all');
    assert.deepEqual([store.live, store.evicted], [25, 15]);
  });

  test('a limit that is no number of records is refused', () => {
    const store = makeStore(10);
    for (const prefixLimit of [0, 1.5, Number.NaN]) {
      assert.throws(() => bound(store, { prefixLimit }), /prefixLimit is .*from 1/);
    }
    assert.throws(() => bound(store, { nameLimit: 0 }), /nameLimit is 0/);
  });

  test('a store that is no longer watched is bounded by nothing', () => {
    const store = makeStore(10);
    bound(store, { prefixLimit: 1 });
    put(store, 'a', peer(2, 1));
    assert.equal(put(store, 'b', peer(2, 1)), BOUNDED);
    store.watch(null);
    assert.equal(put(store, 'b', peer(2, 1)), ADDED);
  });
});
