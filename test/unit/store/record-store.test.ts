import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ABSENT,
  ADDED,
  type ApplyResult,
  FULL,
  INVALID,
  OP_PUT,
  OP_REMOVE,
  REFRESHED,
  REMOVED,
  STALE,
} from '../../../workers/store/change.ts';
import {
  EXTENT_MAX_CLASS,
  HEADER_EXTENT_FREE,
  HEADER_EXTENT_HIGH,
  HEADER_OVERFLOW_USED,
  HEADER_TOTALS,
  HEADER_WORDS,
  INLINE_KEY_BYTES,
  MAX_KEY_BYTES,
  MAX_OVERFLOW_BLOCKS,
  NAME_KEY,
  NAME_OVERFLOW,
  OVERFLOW_KEY_BYTES,
  RECORD_BYTES,
  RECORD_SEQ,
  storeSizes,
} from '../../../workers/store/layout.ts';
import { LIST_PEERS_LOW, LIST_PEERS_MAX } from '../../../workers/store/membership.ts';
import { RecordStore, SWEEP_FREED_MAX } from '../../../workers/store/record-store.ts';
import {
  dump,
  findName,
  makeChange,
  makeStore,
  NOW,
  peer4,
  peer6,
  portsOf,
  put,
  remove,
  SeededRandom,
} from './fixture.ts';

test('a limit out of range is refused with the range named', () => {
  for (const limit of [0, -1, 1.5, Number.NaN, 10_000_001, 2 ** 24]) {
    assert.throws(() => makeStore(limit), {
      name: 'RangeError',
      message: `record store: limit is ${limit}; allowed are whole numbers 1 to 10000000`,
    });
  }
  assert.throws(() => makeStore(1, -1), /tombstoneSeconds is -1; allowed are .* 0 to 86400/);
  assert.throws(
    () => RecordStore.allocate({ limit: 1, hashKey0: 2 ** 32, hashKey1: 0 }),
    /hashKey0 is 4294967296/,
  );
});

test('ten million records fit the layout', () => {
  const sizes = storeSizes(10_000_000);
  for (const [part, bytes] of Object.entries(sizes)) {
    // Overflow blocks are addressed by words alone.
    const offsets = part === 'overflow' ? bytes / 4 : bytes;
    assert.ok(offsets < 2 ** 31, `${part}: offsets fit 31 bits`);
  }
  assert.ok((10_000_000 + 1) * 256 < 2 ** 32, 'an entry of the table is 32 bits');
  const store = makeStore(10_000_000);
  assert.equal(put(store, 'a', peer4(1)), ADDED);
  assert.deepEqual(portsOf(store, 'a'), [6881]);
});

test('the offsets of the layout hang together', () => {
  assert.equal(RECORD_SEQ * 4 + 4, RECORD_BYTES);
  assert.equal(NAME_OVERFLOW + 1, NAME_KEY);
  assert.equal(INLINE_KEY_BYTES + MAX_OVERFLOW_BLOCKS * OVERFLOW_KEY_BYTES, 44 + 5 * 44);
  assert.ok(INLINE_KEY_BYTES + MAX_OVERFLOW_BLOCKS * OVERFLOW_KEY_BYTES >= MAX_KEY_BYTES);
  assert.ok(HEADER_EXTENT_FREE + EXTENT_MAX_CLASS < HEADER_TOTALS * 2, 'heads end before totals');
  assert.ok((HEADER_TOTALS + 3) * 2 <= HEADER_WORDS, 'totals end in the header');
});

test('put, put again, remove, remove again', () => {
  const store = makeStore(10);
  assert.equal(put(store, 'a', peer4(1), { expiresAt: NOW + 60 }), ADDED);
  assert.equal(put(store, 'a', peer4(1), { expiresAt: NOW + 90 }), REFRESHED);
  assert.equal(put(store, 'a', peer6(1)), ADDED);
  assert.equal(put(store, 'a', peer4(1, 7)), ADDED);
  const name = findName(store, 'a');
  assert.equal(store.liveCount(name), 3);
  assert.equal(findName(store, 'b'), -1);
  assert.equal(findName(store, 'a', 1), -1, 'another domain is another name');
  assert.equal(remove(store, 'a', peer4(1)), REMOVED);
  assert.equal(remove(store, 'a', peer4(1)), ABSENT);
  assert.equal(remove(store, 'a', peer4(2)), ABSENT);
  assert.equal(remove(store, 'b', peer4(1)), ABSENT);
  assert.deepEqual(portsOf(store, 'a'), [7, 6881]);
  assert.equal(store.tombstones, 1);
  store.check();
});

test('of two changes the one with the higher version wins, then the higher origin', () => {
  const store = makeStore(10);
  const peer = peer4(1);
  assert.equal(put(store, 'a', peer, { version: 5, origin: 3 }), ADDED);
  assert.equal(put(store, 'a', peer, { version: 4, origin: 9 }), STALE);
  assert.equal(put(store, 'a', peer, { version: 5, origin: 2 }), STALE);
  assert.equal(put(store, 'a', peer, { version: 5, origin: 3 }), REFRESHED);
  assert.equal(remove(store, 'a', peer, { version: 4, origin: 9 }), STALE);
  assert.equal(remove(store, 'a', peer, { version: 5, origin: 4 }), REMOVED);
  assert.equal(put(store, 'a', peer, { version: 5, origin: 3 }), STALE, 'a late older announce');
  assert.equal(remove(store, 'a', peer, { version: 8, origin: 0 }), ABSENT);
  assert.equal(put(store, 'a', peer, { version: 7, origin: 9 }), STALE, 'the later removal counts');
  assert.equal(put(store, 'a', peer, { version: 8, origin: 0 }), ADDED, 'revived');
  assert.equal(put(store, 'a', peer, { version: 2 ** 32 - 1 }), REFRESHED, 'versions are unsigned');
  assert.equal(put(store, 'a', peer, { version: 2 ** 31 - 1 }), STALE);
});

test('a tombstone is remembered for its time and no longer', () => {
  const store = makeStore(10, 600);
  put(store, 'a', peer4(1), { version: 9 });
  remove(store, 'a', peer4(1), { version: 10 });
  assert.equal(put(store, 'a', peer4(1), { version: 9, now: NOW + 599 }), STALE);
  assert.equal(put(store, 'a', peer4(1), { version: 9, now: NOW + 600 }), ADDED);
  remove(store, 'a', peer4(1), { version: 10, now: NOW + 600 });
  assert.equal(store.sweep(NOW + 1199, 100), 0);
  assert.equal(store.sweep(NOW + 1200, 100), 1);
  assert.deepEqual([store.live, store.tombstones, store.nameCount], [0, 0, 0]);
  store.check();
});

test('without tombstones a removal frees its row at once', () => {
  const store = makeStore(1, 0);
  put(store, 'a', peer4(1), { version: 5 });
  assert.equal(remove(store, 'a', peer4(1), { version: 6 }), REMOVED);
  assert.deepEqual([store.live, store.tombstones, store.nameCount], [0, 0, 0]);
  assert.equal(put(store, 'b', peer4(1), { version: 1 }), ADDED);
  assert.equal(store.evicted, 0);
});

test('a full store forgets tombstones first, then the oldest record of the oldest name', () => {
  const store = makeStore(4);
  put(store, 'a', peer4(1, 1));
  put(store, 'a', peer4(2, 2));
  put(store, 'b', peer4(3, 3));
  put(store, 'c', peer4(4, 4));
  remove(store, 'c', peer4(4, 4));
  put(store, 'd', peer4(5, 5));
  assert.deepEqual([store.tombstones, store.evicted, findName(store, 'c')], [0, 0, -1]);
  put(store, 'a', peer4(1, 1), { version: 1 }); // port 2 is now the oldest of a, b the oldest name
  put(store, 'e', peer4(6, 6));
  assert.equal(findName(store, 'b'), -1, 'the least recently used name');
  store.touch(findName(store, 'd')); // a is now the oldest name
  put(store, 'f', peer4(7, 7));
  assert.deepEqual(portsOf(store, 'a'), [1], 'its oldest record went');
  assert.equal(store.evicted, 2);
  assert.equal(store.live, 4);
  store.check();
});

test('an announce makes its name recent before it evicts', () => {
  const store = makeStore(2);
  put(store, 'a', peer4(1, 1));
  put(store, 'b', peer4(2, 2));
  put(store, 'a', peer4(3, 3));
  assert.deepEqual(portsOf(store, 'a'), [1, 3]);
  put(store, 'a', peer4(4, 4));
  assert.deepEqual(portsOf(store, 'a'), [3, 4], 'alone, it loses its own oldest');
});

test('a record that expired and is announced again is visible again, and counted once', () => {
  const store = makeStore(10);
  const at = (now: number) => ({ now, expiresAt: now + 60 });
  put(store, 'a', peer4(1, 1), at(NOW));
  assert.deepEqual(portsOf(store, 'a', NOW + 59), [1]);
  assert.deepEqual(portsOf(store, 'a', NOW + 60), []);
  assert.equal(findName(store, 'a'), -1, 'gone with its last record');
  assert.equal(put(store, 'a', peer4(1, 1), at(NOW + 70)), ADDED);
  assert.deepEqual(portsOf(store, 'a', NOW + 71), [1]);
  // Not met by anything in between, nor when its version is higher.
  assert.equal(put(store, 'a', peer4(1, 1), { ...at(NOW + 200), version: 0 }), ADDED);
  assert.equal(store.live, 1);
  assert.equal(store.expired, 2);
  assert.equal(remove(store, 'a', peer4(1, 1), { now: NOW + 300 }), ABSENT);
  assert.equal(put(store, 'a', peer4(1, 1), { expiresAt: NOW }), STALE, 'already over');
  assert.equal(store.live, 0);
  store.check();
});

test('the sweep goes round in small steps', () => {
  const store = makeStore(1000);
  for (let i = 0; i < 1000; i++) put(store, `n${i % 90}`, peer4(i), { expiresAt: NOW + (i % 10) });
  let freed = 0;
  for (let step = 0; step < 100; step++) freed += store.sweep(NOW + 4, 10);
  // expiresAt NOW + 0 was over on arrival: 100 puts refused. Of the rest +1 to +4 are over.
  assert.equal(freed, 400);
  assert.equal(store.live, 500);
  store.check();
});

test('the sweep frees a bounded number at a time, of both kinds', () => {
  const store = makeStore(4000, 10);
  for (let i = 0; i < 4000; i++) put(store, `n${i % 90}`, peer4(i), { expiresAt: NOW + 10 });
  for (let i = 0; i < 1000; i++) remove(store, `n${i % 90}`, peer4(i));
  assert.equal(store.sweep(NOW + 10, 4000, 10), 10);
  assert.deepEqual([store.tombstonesReclaimed, store.expired], [5, 5]);
  assert.equal(store.sweep(NOW + 10, 4000, 1), 1, 'a tombstone');
  assert.equal(store.sweep(NOW + 10, 4000, 0), 0);
  let calls = 0;
  while (store.sweep(NOW + 10, 4000) === SWEEP_FREED_MAX) calls++;
  assert.deepEqual([store.live, store.tombstones, store.nameCount], [0, 0, 0]);
  assert.ok(calls > 3989 / SWEEP_FREED_MAX - 1, `${calls} calls`);
  assert.deepEqual([store.tombstonesReclaimed, store.expired], [1000, 3000]);
  store.check();
});

test('keys of every length up to 255 bytes are told apart', () => {
  const store = makeStore(600);
  for (let length = 1; length <= 255; length++) {
    const name = 'x'.repeat(length);
    assert.equal(put(store, name, peer4(length, length)), ADDED, `${length} bytes`);
    const other = `${'x'.repeat(length - 1)}y`;
    assert.equal(put(store, other, peer4(length, 1000 + length)), ADDED, 'last byte differs');
  }
  const key = new Uint8Array(255);
  for (let length = 1; length <= 255; length++) {
    const name = findName(store, 'x'.repeat(length));
    assert.equal(store.copyKey(name, key, 0), length);
    assert.equal(Buffer.from(key.subarray(0, length)).toString(), 'x'.repeat(length));
    assert.deepEqual(portsOf(store, 'x'.repeat(length)), [length]);
  }
  assert.equal(put(store, 'x'.repeat(256), peer4(1)), INVALID);
  assert.equal(put(store, '', peer4(1)), INVALID);
  store.check();
});

test('a key that differs in any one byte is another, wherever it starts in its buffer', () => {
  const names = makeStore(10).names;
  for (const length of [1, 2, 3, 4, 5, 41, 44, 45, 47, 65, 88, 89, 255]) {
    // High bytes, and rubbish around the key: neither sign nor neighbours may matter.
    const buffer = Uint8Array.from({ length: length + 8 }, (_, i) => 0x80 | (i * 37));
    const name = names.create(buffer, 3, 3 + length, 7, 0);
    const copy = new Uint8Array(length + 2);
    assert.equal(names.copyKey(name, copy, 1), length);
    assert.deepEqual(copy.subarray(1, 1 + length), buffer.subarray(3, 3 + length));
    assert.deepEqual([copy[0], copy[length + 1]], [0, 0]);
    const found = (key: Uint8Array) => names.find(key, 1, 1 + length, 7, 0);
    copy.fill(0xff, length + 1);
    assert.equal(found(copy), name);
    for (let at = 1; at <= length; at++) {
      copy[at] ^= 0x80;
      assert.equal(found(copy), -1, `${length} bytes, byte ${at}`);
      copy[at] ^= 0x80;
    }
    names.release(name);
  }
});

test('a store full of the longest keys has room for each of them', () => {
  const limit = 5000;
  const store = makeStore(limit);
  for (let i = 0; i < limit + 100; i++) {
    assert.equal(put(store, `${i}.`.padEnd(255, 'z'), peer4(i)), ADDED);
  }
  assert.deepEqual([store.live, store.nameCount, store.evicted], [limit, limit, 100]);
  assert.equal(store.header[HEADER_OVERFLOW_USED], limit * MAX_OVERFLOW_BLOCKS);
  store.check();
});

test('long names push out nobody while there is room for records', () => {
  const store = makeStore(5000);
  for (let i = 0; i < 2000; i++) put(store, 'crowd', peer4(i, 1 + i));
  for (let i = 0; i < 1100; i++) {
    assert.equal(put(store, `${i}.`.padEnd(250, 'z'), peer4(i)), ADDED);
  }
  assert.deepEqual([store.evicted, store.live, store.nameCount], [0, 3100, 1101]);
  assert.equal(store.liveCount(findName(store, 'crowd')), 2000);
  store.check();
});

test('a change for which a name has no room is refused whole and evicts nobody', () => {
  for (const crowd of [LIST_PEERS_MAX, 12]) {
    const store = makeStore(20, 600);
    for (let i = 0; i < crowd; i++) put(store, 'crowd', peer4(i, 1 + i));
    for (let i = crowd; i < 20; i++) put(store, `n${i}`, peer4(i, 1 + i));
    // As if the extents were used up: in a real store only the strangest mix of names does it.
    const high = store.header[HEADER_EXTENT_HIGH];
    store.header[HEADER_EXTENT_HIGH] = store.membership.extents.words.length;
    const before = dump(store);
    assert.equal(put(store, 'crowd', peer4(99, 99)), FULL);
    store.header[HEADER_EXTENT_HIGH] = high;
    assert.deepEqual(dump(store), before);
    assert.equal(store.evicted, 0);
    store.check();
    assert.equal(put(store, 'crowd', peer4(99, 99)), ADDED);
    assert.equal(store.evicted, 1);
    store.check();
  }
});

/** One used block of 16 words in every 64, then names in blocks of 64 until none is to be had. */
function scatterBlocks(store: RecordStore, random: SeededRandom): void {
  const names = Math.floor(store.limit / 3) - 4;
  const stay = (i: number) => i % 2 === 0 || random.chance(0.02);
  for (let i = 0; i < names; i++) {
    for (let n = 0; n < 3; n++) put(store, `s${i}`, peer4(n, 1));
    for (let n = 0; n < 2; n++) put(store, `s${i}`, peer6(n, 1));
    remove(store, `s${i}`, peer4(2, 1));
    remove(store, `s${i}`, peer6(1, 1));
  }
  for (let i = 0; i < names; i++) {
    if (stay(i)) continue;
    for (let n = 0; n < 2; n++) remove(store, `s${i}`, peer4(n, 1));
    remove(store, `s${i}`, peer6(0, 1));
  }
  for (let i = 0; store.live < store.limit - 300; i++) {
    for (let n = 0; n < 29; n++) assert.equal(put(store, `b${i}`, peer4(n, 1)), ADDED);
    for (let n = 0; n < 13; n++) remove(store, `b${i}`, peer4(n, 1));
  }
}

test('scattered extents keep no name from growing while there is room for records', () => {
  for (const seed of [1, 2, 3]) {
    const store = makeStore(3000 + seed * 37, 0);
    scatterBlocks(store, new SeededRandom(seed));
    const evicted = store.evicted;
    for (let n = 0; n < 270; n++) assert.equal(put(store, 'victim', peer4(n, 1 + n)), ADDED);
    assert.equal(store.evicted, evicted, `seed ${seed}`);
    assert.equal(portsOf(store, 'victim').length, 270);
    store.check();
    // Beyond that the name goes on growing at the cost of the others, to the whole store.
    for (let n = 270; n < store.limit; n++) {
      assert.equal(put(store, 'victim', peer4(n, 1 + n)), ADDED, `seed ${seed}, peer ${n}`);
      if (n % 100 === 0) store.check();
    }
    assert.equal(store.liveCount(findName(store, 'victim')), store.limit);
    store.check();
  }
});

test('names that grow and shrink at random in a small store are never refused', () => {
  for (const limit of [90, 500, 1500]) {
    const random = new SeededRandom(limit);
    const store = makeStore(limit, 0);
    for (let step = 0; step < 20_000; step++) {
      const i = random.below(random.chance(0.5) ? 8 : limit / 3);
      const n = random.below(i < 8 ? limit : 9);
      const peer = random.chance(0.3) ? peer6(n, 1) : peer4(n, 1);
      if (random.chance(step % 4000 < 2500 ? 0.2 : 0.7)) remove(store, `n${i}`, peer);
      else assert.notEqual(put(store, `n${i}`, peer), FULL, `limit ${limit}, step ${step}`);
      if (step % 500 === 0) store.check();
    }
    store.check();
  }
});

test('a name that evicts its own last peer of a family finds room for another of it', () => {
  for (let crowd = LIST_PEERS_LOW; crowd < 16; crowd++) {
    const store = makeStore(crowd);
    put(store, 'crowd', peer6(0, 1));
    for (let i = 1; i < crowd; i++) put(store, 'crowd', peer4(i, 1 + i));
    assert.equal(put(store, 'crowd', peer6(1, 100)), ADDED);
    assert.deepEqual([store.live, store.evicted], [crowd, 1]);
    assert.deepEqual(portsOf(store, 'crowd', NOW, 6), [100]);
    store.check();
  }
});

test('a put of what is stored changes nothing, not even the order of age and of use', () => {
  const store = makeStore(3);
  const fields = { version: 5, origin: 1, expiresAt: NOW + 60 };
  let changes = 0;
  put(store, 'a', peer4(1, 1), fields);
  put(store, 'a', peer4(2, 2), fields);
  put(store, 'b', peer4(3, 3), fields);
  const header = store.header.slice();
  const rows = store.records.words.slice();
  const names = store.names.words.slice();
  store.onChange = () => changes++;
  assert.equal(put(store, 'a', peer4(1, 1), fields), REFRESHED);
  assert.deepEqual([store.header, store.records.words, store.names.words], [header, rows, names]);
  assert.equal(changes, 0, 'no change, no event');
  for (const other of [{ version: 6 }, { origin: 2 }, { expiresAt: NOW + 61 }, { expiresAt: 0 }]) {
    const twin = makeStore(3);
    put(twin, 'a', peer4(1, 1), fields);
    put(twin, 'a', peer4(2, 2), fields);
    put(twin, 'b', peer4(3, 3), fields);
    twin.onChange = () => changes++;
    assert.equal(put(twin, 'a', peer4(1, 1), { ...fields, ...other }), REFRESHED);
    put(twin, 'c', peer4(4, 4));
    assert.equal(findName(twin, 'b'), -1, 'a was used after b');
    put(twin, 'd', peer4(5, 5));
    assert.deepEqual(portsOf(twin, 'a'), [1], 'and port 1 after port 2');
  }
  assert.equal(changes, 4 * 3);
  put(store, 'c', peer4(4, 4));
  assert.deepEqual(portsOf(store, 'a'), [2], 'port 1 was still the oldest of the oldest name');
});

test('a name grows and shrinks through extents of both families', () => {
  const store = makeStore(6000);
  const seed = 99;
  const random = new SeededRandom(seed);
  const there = new Set<number>();
  for (let i = 0; i < 30_000; i++) {
    // Grows to about 5000, then shrinks to nothing.
    const n = random.below(5000);
    const growing = i < 15_000 ? 0.9 : 0.02;
    const peer = n % 3 === 0 ? peer6(n, n + 1) : peer4(n, n + 1);
    if (random.chance(growing)) {
      put(store, 'crowd', peer, { version: i });
      there.add(n + 1);
    } else {
      remove(store, 'crowd', peer, { version: i });
      there.delete(n + 1);
    }
    if (i % 1000 === 0) {
      store.check();
      assert.deepEqual(
        portsOf(store, 'crowd'),
        [...there].sort((a, b) => a - b),
      );
      const sixes = [...there].filter((port) => (port - 1) % 3 === 0).sort((a, b) => a - b);
      assert.deepEqual(portsOf(store, 'crowd', NOW, 6), sixes);
    }
  }
  store.check();
});

test('an IPv4 peer is the same however its first twelve bytes came', () => {
  const store = makeStore(4);
  const bare = { address: new Uint8Array(16), port: 6881, family: 4 };
  bare.address.set(peer4(5).address.subarray(12), 12);
  assert.equal(put(store, 'a', peer4(5)), ADDED);
  assert.equal(put(store, 'a', bare), REFRESHED);
});

test('the observer sees every change that came into effect and no other', () => {
  const store = makeStore(10);
  const seen: [number, number, ApplyResult][] = [];
  store.onChange = (change, result) => seen.push([change.op, change.port, result]);
  put(store, 'a', peer4(1, 1), { version: 2 });
  put(store, 'a', peer4(1, 1), { version: 1 });
  put(store, 'a', peer4(1, 1), { version: 3 });
  remove(store, 'a', peer4(2, 2));
  remove(store, 'a', peer4(1, 1), { version: 3 });
  store.apply(makeChange(3, 'a', peer4(1, 1)));
  assert.deepEqual(seen, [
    [OP_PUT, 1, ADDED],
    [OP_PUT, 1, REFRESHED],
    [OP_REMOVE, 1, REMOVED],
  ]);
});
