import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allocateDhtStores, allocateValues } from '../../../workers/dht/store/layout.ts';
import { DhtStores } from '../../../workers/dht/store/stores.ts';
import { ValueStore } from '../../../workers/dht/store/value-store.ts';
import {
  ABSENT,
  ADDED,
  BOUNDED,
  INVALID,
  REFRESHED,
  REMOVED,
  STALE,
} from '../../../workers/store/change.ts';
import { checkStore } from './check.ts';
import {
  AGE,
  dumpValues,
  findValue,
  HASH_KEY,
  hex,
  makePeers,
  makeValues,
  NOW,
  putPeer,
  putValue,
  removeValue,
  VALUE_BYTES,
  valueChange,
} from './fixture.ts';

/** Key numbers that are there. */
function present(store: ValueStore, keys: number): number[] {
  return Array.from({ length: keys }, (_, n) => n).filter((n) => findValue(store, n) >= 0);
}

test('a value is found under its key, as it was put last, until its time', () => {
  const store = makeValues(10);
  assert.equal(findValue(store, 1), -1);
  assert.equal(putValue(store, 1, 20), ADDED);
  assert.equal(putValue(store, 2, 0), ADDED);
  const row = findValue(store, 1);
  const { value, valueAt } = valueChange(1, 20);
  assert.equal(store.valueLength(row), 20);
  assert.equal(hex(store.bytes, store.valueStart(row), 20), hex(value, valueAt, 20));
  assert.equal(store.expiresAt(row), NOW + AGE);
  assert.equal(store.valueLength(findValue(store, 2)), 0);
  assert.equal(putValue(store, 1, 7, { expiresAt: NOW + 5000 }), REFRESHED);
  assert.equal(store.valueLength(findValue(store, 1)), 7);
  assert.equal(store.size, 2);
  store.setTime(NOW + AGE);
  assert.deepEqual(present(store, 3), [1]);
  store.setTime(NOW + 5000);
  assert.deepEqual(present(store, 3), []);
  assert.equal(store.size, 2, 'nobody has met them');
});

test('the longest value fits, and one byte more is invalid', () => {
  const store = new ValueStore(allocateValues(2, 1400));
  const change = valueChange(1, 1);
  change.value = Uint8Array.from({ length: 1500 }, (_, i) => i);
  change.valueAt = 0;
  change.valueLength = store.valueBytes;
  assert.ok(store.valueBytes >= 1400 && store.valueBytes < 1408);
  assert.equal(store.apply(change), ADDED);
  const row = store.find(change.key, change.keyAt, change.hash);
  assert.equal(hex(store.bytes, store.valueStart(row), 1400), hex(change.value, 0, 1400));
  change.valueLength++;
  assert.equal(store.apply(change), INVALID);
  assert.equal(putValue(store, 2, 5), ADDED);
  assert.equal(hex(store.bytes, store.valueStart(row), 1400), hex(change.value, 0, 1400));
});

test('a removal takes away what is there, and nothing else', () => {
  const store = makeValues(10);
  putValue(store, 1, 1);
  putValue(store, 2, 2);
  assert.equal(removeValue(store, 1), REMOVED);
  assert.equal(removeValue(store, 1), ABSENT);
  assert.deepEqual(present(store, 3), [2]);
  store.setTime(NOW + AGE);
  assert.equal(removeValue(store, 2), ABSENT, 'its time is over');
  assert.equal(store.size, 0);
  assert.equal(store.expired, 1);
});

test('a put that is over changes nothing, and one after the end of the old row adds', () => {
  const store = makeValues(10);
  assert.equal(putValue(store, 1, 1, { expiresAt: NOW }), STALE);
  assert.equal(store.size, 0);
  putValue(store, 1, 1);
  store.setTime(NOW + AGE);
  assert.equal(putValue(store, 1, 2, { expiresAt: NOW + 2 * AGE }), ADDED);
  assert.equal(store.size, 1);
});

test('a full store evicts what was put or renewed the longest ago', () => {
  const store = makeValues(4);
  for (let n = 0; n < 4; n++) putValue(store, n, n);
  putValue(store, 0, 9);
  assert.equal(store.renew(findValue(store, 1), NOW + 2 * AGE), REFRESHED);
  findValue(store, 2);
  assert.equal(putValue(store, 4, 4), ADDED);
  assert.deepEqual(present(store, 8), [0, 1, 3, 4], 'being found does not count');
  putValue(store, 5, 5);
  putValue(store, 6, 6);
  assert.deepEqual(present(store, 8), [1, 4, 5, 6]);
  assert.equal(store.evicted, 3);
  assert.equal(store.size, 4);
});

test('a renewal keeps the value and gives it a new end', () => {
  const store = makeValues(4);
  putValue(store, 1, 30, { prefix: 5 });
  const [[key, text]] = dumpValues(store);
  const row = findValue(store, 1);
  assert.equal(store.renew(row, NOW), STALE);
  assert.equal(store.renew(row, NOW + 3000), REFRESHED);
  assert.deepEqual(dumpValues(store), [[key, text.replace('until 1000', 'until 3000')]]);
});

test('a tick frees what is over, the oldest first, and no more rows than it may', () => {
  const store = makeValues(20);
  for (let n = 0; n < 10; n++) putValue(store, n, n, { expiresAt: NOW + 100 + n });
  assert.equal(store.tick(NOW + 99, 5), 0);
  assert.equal(store.tick(NOW + 106, 5), 5);
  assert.equal(store.size, 5);
  assert.equal(store.tick(NOW + 106, 5), 2);
  assert.deepEqual(present(store, 10), [7, 8, 9]);
  assert.equal(store.expired, 7);
  assert.equal(store.tick(NOW + 1000, 5), 3);
  assert.equal(store.tick(NOW + 1000, 5), 0);
});

test('a network has at most a 16th of a large store, and 16 rows of a small one', () => {
  const store = makeValues(1600);
  for (let n = 0; n < 100; n++) assert.equal(putValue(store, n, 1, { prefix: 77 }), ADDED);
  assert.equal(putValue(store, 100, 1, { prefix: 77 }), BOUNDED);
  assert.equal(store.size, 100);
  assert.equal(putValue(store, 5, 2, { prefix: 77 }), REFRESHED);
  assert.equal(putValue(store, 100, 1, { prefix: -78 }), ADDED);
  removeValue(store, 5);
  assert.equal(putValue(store, 101, 1, { prefix: 77 }), ADDED);
  assert.equal(putValue(store, 102, 1, { prefix: 77 }), BOUNDED);
  const small = makeValues(30);
  for (let n = 0; n < 20; n++) putValue(small, n, 1, { prefix: 0xffffffff });
  assert.equal(small.size, 16);
});

test('a host has at most half of what its network has, and its neighbours the rest', () => {
  const store = makeValues(1600);
  const mine = { prefix: 7, host: 70 };
  const neighbour = { prefix: 7, host: 71 };
  for (let n = 0; n < 50; n++) assert.equal(putValue(store, n, 1, mine), ADDED);
  assert.equal(putValue(store, 50, 1, mine), BOUNDED);
  assert.equal(putValue(store, 5, 2, mine), REFRESHED);
  for (let n = 50; n < 100; n++) assert.equal(putValue(store, n, 1, neighbour), ADDED);
  assert.equal(putValue(store, 100, 1, { prefix: 7, host: 72 }), BOUNDED, 'the network is full');
  removeValue(store, 60);
  assert.equal(putValue(store, 100, 1, mine), BOUNDED);
  assert.equal(putValue(store, 100, 1, { prefix: 7, host: 72 }), ADDED);
  // Of another network, were there such a host; a row stays with who brought it.
  assert.equal(putValue(store, 101, 1, { prefix: 8, host: 70 }), BOUNDED);
  for (let n = 0; n < 50; n++) assert.equal(putValue(store, n, 2, neighbour), REFRESHED);
  assert.equal(store.renew(findValue(store, 0), NOW + 2 * AGE), REFRESHED);
  const successor = new ValueStore(store.buffers);
  for (const adopted of [store, successor]) {
    adopted.setTime(NOW);
    assert.equal(adopted.rows.hosts, 3);
    assert.equal(putValue(adopted, 102, 1, { prefix: 9, host: 70 }), BOUNDED);
    adopted.repair();
    assert.equal(putValue(adopted, 102, 1, { prefix: 9, host: 70 }), BOUNDED);
  }
  store.tick(NOW + 2 * AGE, 1000);
  assert.equal(store.rows.hosts, 0);
});

test('who is spared the bound may fill the store', () => {
  const store = makeValues(100);
  for (let n = 0; n < 150; n++) assert.equal(putValue(store, n, 1), ADDED);
  assert.equal(store.size, 100);
});

test('what is refused evicts nobody', () => {
  const store = makeValues(20);
  for (let n = 0; n < 20; n++) putValue(store, n, 1, { prefix: n < 16 ? 1 : 2 });
  assert.equal(putValue(store, 30, 1, { prefix: 1 }), BOUNDED);
  assert.equal(store.evicted, 0);
  assert.equal(putValue(store, 30, 1, { prefix: 3 }), ADDED);
  assert.equal(putValue(store, 31, 1, { prefix: 1 }), ADDED, 'the evicted one was of network 1');
  assert.equal(putValue(store, 32, 1, { prefix: 1 }), ADDED, 'as it was before it');
});

test('a row that renews stays with the network that brought it', () => {
  const store = makeValues(100);
  for (let n = 0; n < 16; n++) putValue(store, n, 1, { prefix: 1 });
  for (let n = 0; n < 16; n++) assert.equal(putValue(store, n, 2, { prefix: 2 }), REFRESHED);
  assert.equal(putValue(store, 20, 1, { prefix: 1 }), BOUNDED);
  assert.equal(putValue(store, 20, 1, { prefix: 2 }), ADDED);
});

test('a successor counts the networks of what it adopts', () => {
  const store = makeValues(100);
  for (let n = 0; n < 16; n++) putValue(store, n, 1, { prefix: 9 });
  const successor = new ValueStore(store.buffers);
  successor.setTime(NOW);
  checkStore(successor);
  assert.equal(putValue(successor, 16, 1, { prefix: 9 }), BOUNDED);
  successor.repair();
  assert.equal(putValue(successor, 16, 1, { prefix: 9 }), BOUNDED);
});

test('networks that have no row any more are forgotten', () => {
  const store = makeValues(20);
  for (let n = 0; n < 500; n++) putValue(store, n, 1, { prefix: 1 + n });
  assert.equal(store.rows.networks, 20);
  store.tick(NOW + AGE, 15);
  assert.equal(store.rows.networks, 5);
  store.repair();
  assert.equal(store.rows.networks, 5);
});

test('a value may be put from the rows themselves, even into a full store', () => {
  const store = makeValues(3);
  for (let n = 0; n < 3; n++) putValue(store, n, 20 + n);
  // The row the value is in is the one that goes.
  const row = findValue(store, 0);
  const change = valueChange(7, 0);
  change.value = store.bytes;
  change.valueAt = store.valueStart(row);
  change.valueLength = store.valueLength(row);
  assert.equal(store.apply(change), ADDED);
  const { value, valueAt } = valueChange(0, 20);
  const put = findValue(store, 7);
  assert.equal(hex(store.bytes, store.valueStart(put), 20), hex(value, valueAt, 20));
  assert.deepEqual(present(store, 8), [1, 2, 7]);
});

test('each change that came into effect is told, once', () => {
  const store = makeValues(2);
  const told: number[] = [];
  store.onChange = (_change, result) => told.push(result);
  putValue(store, 1, 1);
  putValue(store, 1, 1, { expiresAt: NOW });
  putValue(store, 1, 2);
  store.renew(findValue(store, 1), NOW + 9 * AGE);
  removeValue(store, 1);
  removeValue(store, 1);
  store.apply(Object.assign(valueChange(1, 1), { keyAt: -1 }));
  assert.deepEqual(told, [ADDED, REFRESHED, REFRESHED, REMOVED]);
});

test('only the buffers of one store of the same kind are adopted', () => {
  const { buffers } = makeValues(10);
  const other = makeValues(12).buffers;
  const expected = { name: 'RangeError', message: /not one store of this layout/ };
  assert.throws(() => new ValueStore({ ...buffers, rows: other.rows }), expected);
  assert.throws(() => new ValueStore({ ...buffers, tables: other.tables }), expected);
  assert.throws(() => new ValueStore(makePeers(10).buffers), expected);
  const header = new SharedArrayBuffer(buffers.header.byteLength);
  assert.throws(() => new ValueStore({ ...buffers, header }), expected);
});

test('limits out of range are refused by name', () => {
  for (const limit of [0, -1, 1.5, Number.NaN, 2 ** 20 + 1]) {
    const message = `DHT store: limit is ${limit}; allowed are whole numbers 1 to 1048576`;
    assert.throws(() => allocateValues(limit, VALUE_BYTES), { name: 'RangeError', message });
  }
  assert.throws(() => allocateValues(1, 1921), /valueBytes is 1921; allowed are .* 1 to 1920/);
});

test('small limits take little memory, and the stores tell the time together', () => {
  const limits = { peers: 8, forwards: 8, refreshes: 8, mutables: 4, immutables: 4 };
  const buffers = allocateDhtStores(limits);
  const bytes = Object.values(buffers)
    .flatMap(({ header, rows, tables }) => [header, rows, ...tables])
    .reduce((sum, { byteLength }) => sum + byteLength, 0);
  assert.ok(bytes < 18_000, `${bytes} bytes`);
  const stores = new DhtStores(buffers, HASH_KEY);
  assert.equal(stores.adopt(), 0);
  stores.setTime(NOW);
  for (const store of [stores.forwards, stores.refreshes, stores.mutables, stores.immutables]) {
    assert.equal(putValue(store, 1, 1), ADDED);
    assert.equal(putValue(store, 2, 1, { expiresAt: NOW }), STALE);
  }
  assert.equal(putPeer(stores.peers, 1, 1), ADDED);
  assert.equal(stores.tick(NOW + AGE, 10), 5);
});
