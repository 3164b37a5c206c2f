/** A crowded name is never locked, and one host has not all that its network may have. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DEFAULT_NAME_LIMIT, defaultPrefixLimit } from '../../../workers/bounds.ts';
import { ADDED, BOUNDED, FULL, REFRESHED, REMOVED } from '../../../workers/store/change.ts';
import { RecordStore } from '../../../workers/store/record-store.ts';
import {
  dump,
  findName,
  makeStore,
  type Peer,
  put,
  remove,
  SeededRandom,
} from '../store/fixture.ts';
import { Interrupted, interruptible } from '../store/interrupt.ts';
import { bound, peer, wordsOf } from './bounds-fixture.ts';

/** A seed with which no newcomer below shares both cells of a sketch with a crowd. */
const NO_COLLISION = 2;

/** The n-th of a network's peers under a name: as few of each host as its share asks for. */
function neighbour(network: number, n: number): Peer {
  return peer(network, (n & 1) + 256 * (n >> 1));
}

/** Networks 2, 4, ... announce `each` peers, every peer of a network in turn. */
function fill(store: RecordStore, networks: number, each: number, version = 0): number[] {
  const results: number[] = [];
  for (let network = 1; network <= networks; network++) {
    for (let n = 0; n < each; n++) {
      results.push(put(store, 'crowd', neighbour(2 * network, n), { version }));
    }
  }
  return results;
}

function isThere(store: RecordStore, who: Peer): boolean {
  const name = findName(store, 'crowd');
  const words = wordsOf(who);
  for (let record = 0; record < store.limit; record++) {
    if (!store.isLive(record) || store.nameOf(record) !== name) continue;
    if (store.port(record) !== who.port) continue;
    const row = store.records.words.subarray(record * 12, record * 12 + 4);
    if (row.every((word, i) => word === words[i])) return true;
  }
  return false;
}

describe('bounds: a full name', () => {
  test('fault: 32 prefixes that renewed their records held a name for ever', () => {
    const store = makeStore(1000);
    const bounds = bound(store, { nameLimit: 320 }, NO_COLLISION);
    assert.deepEqual(new Set(fill(store, 32, 10)), new Set([ADDED]));
    for (let i = 0; i < 50; i++) {
      const renewed = fill(store, 32, 10, 1 + i);
      // The first newcomer took one of theirs, each later one the place of the one before.
      assert.equal(renewed.filter((result) => result === BOUNDED).length, Math.min(i, 1));
      const newcomer = peer(1000 + i, 1);
      const { evicted } = store;
      assert.equal(put(store, 'crowd', newcomer), ADDED, `newcomer ${i}`);
      assert.ok(isThere(store, newcomer));
      assert.equal(store.evicted, evicted + 1, 'the one replaced is counted');
      assert.equal(store.liveCount(findName(store, 'crowd')), 320);
      assert.equal(put(store, 'crowd', peer(1000 + i, 2)), BOUNDED, 'it has one now');
      assert.equal(put(store, 'crowd', newcomer, { version: 2 }), REFRESHED);
      assert.equal(bounds.ofPair(findName(store, 'crowd'), wordsOf(newcomer)), 1);
    }
    store.check();
  });

  test('it is the oldest that goes, and who is no newcomer costs nobody a record', () => {
    const store = makeStore(1000);
    bound(store, { nameLimit: 320 });
    fill(store, 32, 10);
    assert.equal(put(store, 'crowd', neighbour(2, 0), { version: 1 }), REFRESHED);
    assert.equal(put(store, 'crowd', neighbour(2, 11)), BOUNDED);
    assert.equal(store.evicted, 0);
    put(store, 'crowd', peer(1001, 1));
    assert.ok(isThere(store, neighbour(2, 0)), 'renewed');
    assert.ok(!isThere(store, neighbour(2, 1)), 'the oldest');
    assert.ok(isThere(store, neighbour(2, 2)));
  });

  test('a newcomer is let in by a full store of the default limits', () => {
    const limit = 100_000;
    const store = makeStore(limit);
    const prefixLimit = defaultPrefixLimit(limit);
    const bounds = bound(store, { prefixLimit, nameLimit: DEFAULT_NAME_LIMIT }, 6);
    for (let network = 1; network <= 32; network++) {
      for (let n = 0; n < 256; n++) put(store, 'crowd', neighbour(2 * network, n));
    }
    // As many others as there can be, each with a few under names of their own: noise.
    for (let i = 0; store.live < limit; i++) put(store, `other${i >> 2}`, peer(1000 + i, i & 3));
    store.touch(findName(store, 'crowd'));
    const name = findName(store, 'crowd');
    assert.equal(store.liveCount(name), DEFAULT_NAME_LIMIT);
    let tooHigh = 0;
    for (let i = 0; i < 2000; i++) {
      const who = peer(20_000 + 2 * i, 1);
      if (bounds.ofPair(name, wordsOf(who)) > 0) tooHigh++;
      assert.equal(put(store, 'crowd', who), ADDED, `newcomer ${i}`);
    }
    assert.ok(tooHigh > 500, `${tooHigh}: the sketch is full`);
    assert.equal(store.liveCount(name), DEFAULT_NAME_LIMIT);
  });

  test('whatever prefixes do, others keep the rest of a full name', () => {
    const seed = 51;
    const random = new SeededRandom(seed);
    const store = makeStore(1000);
    const bounds = bound(store, { nameLimit: 64 });
    for (let i = 0; i < 64; i++) put(store, 'crowd', peer(1001 + 2 * i, 1));
    const others = (): number => {
      let count = 0;
      for (let i = 0; i < 64; i++) if (isThere(store, peer(1001 + 2 * i, 1))) count++;
      return count;
    };
    assert.equal(bounds.sharedLimit, 2);
    for (let version = 1; version < 3000; version++) {
      const who = neighbour(2 + 2 * random.below(10), random.below(3));
      if (random.chance(0.6)) put(store, 'crowd', who, { version });
      else remove(store, 'crowd', who, { version });
      assert.ok(store.liveCount(findName(store, 'crowd')) <= 64);
      if (version % 50 === 0) assert.ok(others() >= 64 - 10 * 2, `seed ${seed}, step ${version}`);
    }
    store.check();
  });

  test('one who took his announce back takes a place as a newcomer does', () => {
    const store = makeStore(1000);
    bound(store, { nameLimit: 320 });
    const who = peer(1001, 1);
    put(store, 'crowd', who);
    assert.equal(remove(store, 'crowd', who, { version: 1 }), REMOVED);
    fill(store, 32, 10);
    assert.equal(put(store, 'crowd', who, { version: 2 }), ADDED);
    assert.deepEqual([store.evicted, store.tombstones], [1, 0]);
    assert.ok(!isThere(store, neighbour(2, 0)));
    store.check();
  });

  test('names of few peers, of either family, at every size of their lists', () => {
    for (let nameLimit = 1; nameLimit <= 12; nameLimit++) {
      const store = makeStore(60);
      bound(store, { nameLimit }, NO_COLLISION);
      for (let i = 0; i < 50; i++) {
        const result = put(store, 'crowd', peer(1000 + 2 * i + (i % 3 === 0 ? 1 : 0), 1));
        assert.equal(result, ADDED, `limit ${nameLimit}, peer ${i}`);
        assert.ok(store.liveCount(findName(store, 'crowd')) <= nameLimit);
        store.check();
      }
      assert.equal(store.evicted, 50 - nameLimit);
    }
  });

  test('in a full store a newcomer costs one record, not two', () => {
    const store = makeStore(40);
    bound(store, { nameLimit: 32 });
    for (let i = 0; i < 32; i++) put(store, 'crowd', peer(1001 + 2 * i, 1));
    for (let i = 0; i < 8; i++) put(store, `other${i}`, peer(2, i));
    assert.equal(store.live, 40);
    assert.equal(put(store, 'crowd', peer(4, 1)), ADDED);
    assert.deepEqual([store.live, store.evicted], [40, 1]);
    for (let i = 0; i < 8; i++) assert.ok(findName(store, `other${i}`) >= 0);
    assert.notEqual(put(store, 'crowd', peer(4, 2)), FULL);
  });

  for (const isBuried of [false, true]) {
    test(`a lane that dies while it replaces${isBuried ? ', the newcomer known' : ''}`, () => {
      let kills = 0;
      for (let writes = 0; writes < 60; writes++) {
        const store = makeStore(100);
        bound(store, { nameLimit: 32 });
        const newcomer = peer(1001, 1);
        if (isBuried) {
          put(store, 'crowd', newcomer);
          remove(store, 'crowd', newcomer, { version: 1 });
        }
        for (let i = 0; i < 32; i++) put(store, 'crowd', peer(2 + 2 * i, 1));
        const before = dump(store);
        const interrupter = interruptible(store);
        interrupter.left = writes;
        try {
          put(store, 'crowd', newcomer, { version: 2 });
        } catch (error) {
          assert.ok(error instanceof Interrupted);
          kills++;
        }
        const successor = new RecordStore(store.buffers);
        if (successor.needsRepair) successor.repair();
        successor.check();
        const bounds = bound(successor, { nameLimit: 32 });
        const rows = dump(successor);
        const gone = [...before.keys()].filter((id) => !rows.has(id));
        assert.ok(gone.length <= 1 + Number(isBuried), `killed after ${writes}: ${gone}`);
        for (let i = 1; i < 32; i++) {
          assert.ok(isThere(successor, peer(2 + 2 * i, 1)), `killed after ${writes}: ${i}`);
        }
        const isIn = isThere(successor, newcomer);
        assert.equal(bounds.ofPrefix(wordsOf(newcomer)), Number(isIn), `killed after ${writes}`);
        assert.equal(put(successor, 'crowd', newcomer, { version: 3 }), isIn ? REFRESHED : ADDED);
        assert.ok(successor.liveCount(findName(successor, 'crowd')) <= 32);
        successor.check();
      }
      assert.ok(kills > 15, `${kills} kills`);
    });
  }
});

describe('bounds: a host', () => {
  for (const network of [2, 3]) {
    const family = network === 2 ? 4 : 6;
    test(`fault: one address used up its network's share of the store, IPv${family}`, () => {
      const store = makeStore(100);
      const bounds = bound(store, { prefixLimit: 12 });
      const results = Array.from({ length: 8 }, (_, i) => put(store, `n${i}`, peer(network, 1)));
      assert.deepEqual(results, [...Array(6).fill(ADDED), BOUNDED, BOUNDED]);
      assert.equal(bounds.ofHost(wordsOf(peer(network, 1))), 6);
      for (let i = 0; i < 6; i++) assert.equal(put(store, `n${i}`, peer(network, 2)), ADDED);
      assert.equal(put(store, 'more', peer(network, 3)), BOUNDED, 'the network has all it may');
      assert.equal(put(store, 'n0', peer(network, 1), { version: 1 }), REFRESHED);
      assert.equal(remove(store, 'n0', peer(network, 1), { version: 2 }), REMOVED);
      assert.equal(put(store, 'more', peer(network, 1)), ADDED);
    });

    test(`fault: one address used up its network's share of a name, IPv${family}`, () => {
      const store = makeStore(1000);
      const bounds = bound(store, { nameLimit: 320 });
      const ports = (host: number, count: number): number[] =>
        Array.from({ length: count }, (_, i) => put(store, 'crowd', peer(network, host + 256 * i)));
      assert.deepEqual(ports(1, 7), [...Array(5).fill(ADDED), BOUNDED, BOUNDED]);
      assert.equal(bounds.ofHostPair(findName(store, 'crowd'), wordsOf(peer(network, 1))), 5);
      assert.deepEqual(ports(2, 6), [...Array(5).fill(ADDED), BOUNDED]);
      assert.deepEqual(ports(3, 1), [BOUNDED]);
      assert.equal(put(store, 'other', peer(network, 1)), ADDED);
    });
  }

  test('the default limits let one address have 100 peers of a name', () => {
    const store = makeStore(100_000);
    const prefixLimit = defaultPrefixLimit(100_000);
    bound(store, { prefixLimit, nameLimit: DEFAULT_NAME_LIMIT });
    for (let i = 0; i < 128; i++) {
      assert.equal(put(store, 'crowd', peer(2, 1 + 256 * i)), ADDED);
    }
    assert.equal(put(store, 'crowd', peer(2, 1 + 256 * 128)), BOUNDED);
  });

  test('addresses of one /64 are one host, and of another family another', () => {
    const store = makeStore(100);
    const bounds = bound(store, { prefixLimit: 4 });
    const one = peer(3, 1);
    const two = { ...one, address: one.address.with(15, 7) };
    const next = { ...one, address: one.address.with(7, 9) };
    assert.equal(put(store, 'a', one), ADDED);
    assert.equal(put(store, 'b', two), ADDED);
    assert.equal(put(store, 'c', two), BOUNDED);
    assert.equal(put(store, 'c', next), ADDED);
    // An IPv6 address with the words of an IPv4 host.
    const four = peer(2, 1);
    const six = new Uint8Array(16);
    six.set(four.address.subarray(12), 0);
    six[4] = 4;
    assert.equal(put(store, 'd', four), ADDED);
    assert.equal(bounds.ofHost(wordsOf({ ...four, address: six })), 0);
  });
});
