/**
 * The choice of peers: distinct, of the family asked for, each equally likely, expired ones never.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIST_PEERS_LOW, LIST_PEERS_MAX } from '../../../workers/store/membership.ts';
import type { RecordStore } from '../../../workers/store/record-store.ts';
import { UNLINKS_PER_SAMPLE } from '../../../workers/store/sample.ts';
import { findName, makeStore, NOW, peer4, peer6, put, remove, SeededRandom } from './fixture.ts';

const SEED = 20_24;

function crowd(fours: number, sixes = 0): RecordStore {
  const store = makeStore(fours + sixes + 10);
  for (let i = 0; i < fours; i++) put(store, 'crowd', peer4(i, i));
  for (let i = 0; i < sixes; i++) put(store, 'crowd', peer6(i, fours + i));
  return store;
}

/** Around the change from list to array, and around the sizes of blocks. */
const SIZES = [1, 2, 3, 4, 5, 6, 12, 13, 28, 29, 31, 60, 61, 100, 5000];
for (const peers of SIZES) {
  test(`${peers} peers: every size of choice is distinct and complete`, () => {
    const store = crowd(peers);
    store.check();
    const name = findName(store, 'crowd');
    assert.equal(store.membership.extents.first(name) === -1, peers <= LIST_PEERS_MAX);
    const random = new SeededRandom(SEED);
    const out = new Int32Array(peers + 5);
    for (const max of [0, 1, 2, 10, 31, 32, 33, 100, peers, peers + 5]) {
      const count = store.sample(name, 4, max, NOW, random, out);
      assert.equal(count, Math.min(max, peers), `at most ${max}`);
      assert.equal(new Set(out.subarray(0, count)).size, count, 'distinct');
    }
    assert.equal(store.sample(name, 6, 31, NOW, random, out), 0, 'no IPv6 peer');
  });
}

// Chi-square against equal likelihood: for k - 1 degrees of freedom the value is about k, with a
// standard deviation of sqrt(2k). Five of them: the seed is fixed, so the test does not flicker.
for (const [fours, sixes, family, max] of [
  [4, 0, 4, 2],
  [5, 0, 4, 2],
  [2, 2, 0, 3],
  [3, 3, 0, 3],
  [12, 0, 4, 7],
  [20, 0, 4, 7],
  [16, 16, 6, 5],
  [16, 16, 0, 10],
  [100, 0, 4, 31],
  [67, 40, 4, 16],
  [67, 40, 0, 31],
  [1000, 0, 4, 31],
] as const) {
  test(`${max} of ${fours} + ${sixes} peers, family ${family}: equally likely`, () => {
    const store = crowd(fours, sixes);
    const name = findName(store, 'crowd');
    const random = new SeededRandom(SEED);
    const out = new Int32Array(max);
    const times = new Map<number, number>();
    const first = new Map<number, number>();
    const rounds = 20_000;
    for (let i = 0; i < rounds; i++) {
      assert.equal(store.sample(name, family, max, NOW, random, out), max);
      for (const record of out) times.set(record, (times.get(record) ?? 0) + 1);
      first.set(out[0], (first.get(out[0]) ?? 0) + 1);
    }
    const peers = family === 0 ? fours + sixes : family === 4 ? fours : sixes;
    assertUniform(times, peers, rounds * max);
    assertUniform(first, peers, rounds);
  });
}

test('all of few peers: each is first equally often', () => {
  for (const peers of [LIST_PEERS_MAX, LIST_PEERS_MAX + 1]) {
    const store = crowd(peers);
    const name = findName(store, 'crowd');
    const random = new SeededRandom(SEED);
    const out = new Int32Array(31);
    const first = new Map<number, number>();
    for (let i = 0; i < 10_000; i++) {
      assert.equal(store.sample(name, 4, 31, NOW, random, out), peers);
      first.set(out[0], (first.get(out[0]) ?? 0) + 1);
    }
    assertUniform(first, peers, 10_000);
  }
});

test('a name keeps its extents down to the lower threshold', () => {
  const store = crowd(LIST_PEERS_MAX + 1);
  const name = findName(store, 'crowd');
  for (let left = LIST_PEERS_MAX; left > 0; left--) {
    remove(store, 'crowd', peer4(left, left));
    assert.equal(store.liveCount(name), left);
    assert.equal(store.membership.extents.first(name) !== -1, left >= LIST_PEERS_LOW, `${left}`);
    store.check();
  }
});

function assertUniform(times: Map<number, number>, peers: number, draws: number): void {
  assert.equal(times.size, peers, 'everyone is chosen sometimes');
  const expected = draws / peers;
  let chi = 0;
  for (const count of times.values()) chi += (count - expected) ** 2 / expected;
  const most = peers + 5 * Math.sqrt(2 * peers);
  assert.ok(
    chi < most,
    `chi-square ${chi.toFixed(1)} for ${peers} peers, at most ${most.toFixed(1)}`,
  );
}

test('expired peers are not chosen, are unlinked, and stay away', () => {
  for (const peers of [2, 4, 6, 10, 32, 64, 200, 3000]) {
    const store = makeStore(peers);
    for (let i = 0; i < peers; i++) {
      put(store, 'crowd', peer4(i, i), { expiresAt: i % 2 === 0 ? NOW + 10 : 0 });
    }
    const name = findName(store, 'crowd');
    const random = new SeededRandom(SEED);
    const out = new Int32Array(31);
    for (let round = 0; round < 200; round++) {
      const count = store.sample(name, 4, 31, NOW + 10, random, out);
      assert.equal(count, Math.min(31, peers / 2));
      for (let i = 0; i < count; i++) assert.equal(store.port(out[i]) % 2, 1, 'lives for ever');
    }
    store.check();
    store.sweep(NOW + 10, peers);
    assert.equal(store.live, peers / 2);
    assert.equal(store.expired, peers / 2);
    store.check();
  }
});

test('a name whose peers have all expired costs bounded work and goes away', () => {
  const peers = 5000;
  const store = makeStore(peers);
  for (let i = 0; i < peers; i++) put(store, 'crowd', peer4(i, i), { expiresAt: NOW + 1 });
  const out = new Int32Array(31);
  const random = new SeededRandom(SEED);
  let lookups = 0;
  for (let name = findName(store, 'crowd'); name >= 0; name = findName(store, 'crowd')) {
    const before = store.expired;
    assert.equal(store.sample(name, 4, 31, NOW + 1, random, out), 0);
    const unlinked = store.expired - before;
    assert.equal(unlinked, Math.min(UNLINKS_PER_SAMPLE, peers - before), 'bounded');
    if (lookups % 8 === 0) store.check();
    lookups++;
  }
  assert.equal(store.live, 0);
  assert.equal(store.expired, peers);
  assert.equal(lookups, Math.ceil(peers / UNLINKS_PER_SAMPLE));
});

test('the live few of a crowd of expired peers are found in time, the expired never', () => {
  const store = makeStore(2000);
  for (let i = 0; i < 2000; i++) {
    put(store, 'crowd', peer4(i, i), { expiresAt: i % 200 === 7 ? 0 : NOW + 1 });
  }
  const name = findName(store, 'crowd');
  const out = new Int32Array(31);
  const random = new SeededRandom(SEED);
  let count = 0;
  for (let lookups = 0; count < 10; lookups++) {
    assert.ok(lookups < 70, 'all are found when the expired ones are gone');
    count = store.sample(name, 4, 31, NOW + 1, random, out);
    for (let i = 0; i < count; i++) assert.equal(store.port(out[i]) % 200, 7);
    assert.equal(new Set(out.subarray(0, count)).size, count, 'distinct');
  }
});

test('times beyond the year 2038 are compared as unsigned', () => {
  const far = 2 ** 31;
  const store = makeStore(2);
  put(store, 'n', peer4(1, 1), { now: far - 5, expiresAt: far + 5 });
  put(store, 'n', peer4(2, 2), { now: far - 5, expiresAt: 2 ** 32 - 1 });
  const name = findName(store, 'n');
  const out = new Int32Array(2);
  const random = new SeededRandom(SEED);
  assert.equal(store.sample(name, 4, 2, far - 1, random, out), 2);
  assert.equal(store.sample(name, 4, 2, far + 4, random, out), 2);
  assert.equal(store.sample(name, 4, 2, far + 5, random, out), 1);
  assert.equal(store.sample(name, 4, 2, 2 ** 32 - 2, random, out), 1);
  assert.equal(store.sample(name, 4, 2, 2 ** 32 - 1, random, out), 0);
});

test('peers are written as the wire has them', () => {
  const store = makeStore(10);
  put(store, 'n', { address: peer4(0x010203).address, port: 0x1234, family: 4 });
  put(store, 'n', { address: peer6(0x04050607).address, port: 0xabcd, family: 6 });
  const name = findName(store, 'n');
  const out = new Int32Array(2);
  const bytes = new Uint8Array(64);
  const random = new SeededRandom(SEED);
  assert.equal(store.sample(name, 4, 2, NOW, random, out), 1);
  assert.equal(store.copyPeers(out, 1, bytes, 3), 6);
  assert.equal(Buffer.from(bytes.subarray(3, 9)).toString('hex'), '0a0102031234');
  assert.equal(store.family(out[0]), 4);
  assert.equal(store.sample(name, 6, 2, NOW, random, out), 1);
  assert.equal(store.copyPeers(out, 1, bytes, 0), 18);
  assert.equal(
    Buffer.from(bytes.subarray(0, 18)).toString('hex'),
    '20010db8040506070000000000000001abcd',
  );
  assert.equal(store.family(out[0]), 6);
  assert.equal(store.sample(name, 0, 2, NOW, random, out), 2);
  assert.equal(store.copyPeers(out, 1, bytes, 0, 1), store.family(out[1]) === 4 ? 6 : 18);
});
