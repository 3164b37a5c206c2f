import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HalfSipHash } from '../../../codecs/hash/halfsiphash.ts';
import { PeerStore, SAMPLE_MAX } from '../../../workers/dht/store/peer-store.ts';
import { Shuffle } from '../../../workers/dht/store/shuffle.ts';
import {
  ABSENT,
  ADDED,
  BOUNDED,
  INVALID,
  REFRESHED,
  REMOVED,
} from '../../../workers/store/change.ts';
import { SeededRandom } from '../store/fixture.ts';
import { checkStore } from './check.ts';
import {
  AGE,
  bumpOf,
  countOf,
  dumpPeers,
  HASH_KEY,
  makePeers,
  NOW,
  peerChange,
  peerName,
  putPeer,
  removePeer,
  samplePeers,
} from './fixture.ts';

const SEED = 31;

function names(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, i) => peerName(from + i)).sort();
}

function allPeers(store: PeerStore, target: number): string[] {
  return samplePeers(store, target, SAMPLE_MAX, new SeededRandom(SEED)).sort();
}

/** Whether no count is further from the mean than chance allows once in millions. */
function assertEven(counts: Iterable<number>, cells: number, draws: number, what: string): void {
  const mean = draws / cells;
  let seen = 0;
  for (const count of counts) {
    const isNear = Math.abs(count - mean) < 5.5 * Math.sqrt(mean);
    assert.ok(isNear, `seed ${SEED}, ${what}: ${count}, not about ${mean}`);
    seen++;
  }
  assert.equal(seen, cells, `seed ${SEED}, ${what}: all occur`);
}

test('peers are found under their targets, each as it was put last', () => {
  const store = makePeers(20);
  assert.deepEqual(allPeers(store, 1), []);
  assert.equal(putPeer(store, 1, 1), ADDED);
  assert.equal(putPeer(store, 1, 2), ADDED);
  assert.equal(putPeer(store, 2, 1), ADDED);
  assert.equal(putPeer(store, 1, 1), REFRESHED);
  assert.deepEqual(allPeers(store, 1), names(1, 3));
  assert.deepEqual(allPeers(store, 2), names(1, 2));
  assert.equal(countOf(store, 1), 2);
  assert.equal(store.size, 3);
  assert.equal(store.targets, 2);
  assert.equal(removePeer(store, 1, 1), REMOVED);
  assert.equal(removePeer(store, 1, 1), ABSENT);
  assert.equal(removePeer(store, 2, 2), ABSENT);
  assert.deepEqual(allPeers(store, 1), names(2, 3));
  removePeer(store, 1, 2);
  assert.equal(store.targets, 1);
});

test('a choice has peers as the wire has them: key, number of relays, relays', () => {
  const store = makePeers(5);
  for (let relays = 0; relays < 4; relays++) {
    const change = peerChange(relays, 1, 100 + relays);
    assert.equal(change.relayCount, relays);
    assert.equal(store.apply(change), ADDED);
    const out = new Uint8Array(60);
    const { target, targetAt, hash } = change;
    const random = new SeededRandom(SEED);
    const bytes = store.sample(target, targetAt, hash, random, 20, out, 4, 60);
    assert.equal(bytes, 33 + 6 * relays);
    assert.equal(store.sampleCount, 1);
    const expected = [
      ...change.publicKey.subarray(change.publicKeyAt, change.publicKeyAt + 32),
      relays,
      ...change.relays.subarray(change.relaysAt, change.relaysAt + 6 * relays),
    ];
    assert.deepEqual([...out.subarray(4, 4 + bytes)], expected);
  }
  assert.equal(store.apply(Object.assign(peerChange(1, 1), { relayCount: 4 })), INVALID);
});

test('a choice stops where the next peer does not fit', () => {
  const store = makePeers(5);
  for (let n = 0; n < 5; n++) putPeer(store, 1, 4 * n);
  for (let room = 0; room < 200; room++) {
    const found = samplePeers(store, 1, 20, new SeededRandom(room), room);
    assert.equal(found.length, Math.min(5, Math.floor(room / 33)), `${room} bytes`);
  }
  // Not even when a shorter one would: large answers must not prefer peers with few relays.
  const mixed = makePeers(40);
  for (let n = 0; n < 40; n++) putPeer(mixed, 1, n);
  for (let seed = 0; seed < 50; seed++) {
    const all = samplePeers(mixed, 1, 20, new SeededRandom(seed));
    const some = samplePeers(mixed, 1, 20, new SeededRandom(seed), 400);
    assert.deepEqual(some, all.slice(0, some.length), `seed ${seed}`);
  }
});

test('of many peers each is chosen equally often, in each place, none twice', () => {
  const store = makePeers(100);
  const peers = 30;
  for (let n = 0; n < peers; n++) putPeer(store, 1, n);
  // Their positions change.
  for (let n = 0; n < peers; n += 3) removePeer(store, 1, n);
  for (let n = 0; n < peers; n += 3) putPeer(store, 1, n);
  const random = new SeededRandom(SEED);
  const chosen = new Map<string, number>();
  const first = new Map<string, number>();
  const pairs = new Map<string, number>();
  const add = (map: Map<string, number>, key: string) => map.set(key, (map.get(key) ?? 0) + 1);
  const choices = 20_000;
  for (let i = 0; i < choices; i++) {
    const found = samplePeers(store, 1, 5, random);
    assert.equal(new Set(found).size, 5);
    for (const name of found) add(chosen, name);
    add(first, found[0]);
    add(pairs, `${found[1]} ${found[4]}`);
  }
  assertEven(chosen.values(), peers, 5 * choices, 'chosen');
  assertEven(first.values(), peers, choices, 'first');
  assertEven(pairs.values(), peers * (peers - 1), choices, 'second and fifth');
});

test('each order of a shuffle is equally likely, drawn at once or one by one', () => {
  const random = new SeededRandom(SEED);
  // Of 4, of 8 of which all are kept, and of 8 of which some are beyond what is kept.
  for (const [most, n, drawn, orders] of [
    [4, 4, 4, 24],
    [8, 8, 3, 336],
    [3, 8, 3, 336],
    [2, 5, 2, 20],
  ]) {
    for (const step of [1, 2, drawn]) {
      const shuffle = new Shuffle(most);
      const counts = new Map<string, number>();
      const choices = orders * 300;
      for (let i = 0; i < choices; i++) {
        for (let at = 0; at < drawn; at += step) {
          shuffle.draw(at, Math.min(at + step, drawn), n, random);
        }
        const order = shuffle.numbers.subarray(0, drawn).join(' ');
        assert.equal(new Set(shuffle.numbers.subarray(0, drawn)).size, drawn);
        counts.set(order, (counts.get(order) ?? 0) + 1);
      }
      assertEven(counts.values(), orders, choices, `${drawn} of ${n}, ${step} at a time`);
    }
  }
});

test('a choice from 60,000 peers takes as many random numbers as peers', () => {
  const store = makePeers(60_000);
  for (let n = 0; n < 60_000; n++) assert.equal(putPeer(store, 1, n), ADDED);
  assert.equal(countOf(store, 1), 60_000);
  const random = new SeededRandom(SEED);
  let drawn = 0;
  const counting = {
    next: () => {
      drawn++;
      return random.next();
    },
  };
  const all = new Set<string>();
  for (let i = 0; i < 500; i++) {
    const found = samplePeers(store, 1, 20, counting);
    assert.equal(new Set(found).size, 20);
    for (const name of found) all.add(name);
  }
  assert.equal(drawn, 500 * 20);
  assert.ok(all.size > 9_000, `seed ${SEED}: ${all.size} of 10,000 chosen are different`);
  // A table that is badly spread would show here, in seconds.
  for (let n = 0; n < 60_000; n += 2) assert.equal(removePeer(store, 1, n), REMOVED);
  checkStore(store);
});

test('targets chosen to go with public keys do not crowd the tables', () => {
  // The server may hash targets with the key under which its store hashes public keys.
  const hash = new HalfSipHash(HASH_KEY[0], HASH_KEY[1]);
  const store = makePeers(3000);
  for (let n = 0; n < 3000; n++) {
    const change = peerChange(0, n);
    change.target = change.publicKey;
    change.hash = hash.bytes(change.target, change.targetAt, change.targetAt + 32);
    assert.equal(store.apply(change), ADDED);
  }
  for (const table of store.tables) {
    const far = table.slots.filter((entry) => (entry & 15) === 15).length;
    assert.ok(far < 150, `${far} of 3,000 entries stand 15 or more slots from home`);
  }
});

test('peers whose time is over are never chosen', () => {
  const store = makePeers(100);
  for (let n = 0; n < 40; n++) {
    putPeer(store, 1, n, { expiresAt: NOW + (n < 10 ? 2 * AGE : AGE) });
  }
  store.setTime(NOW + AGE);
  assert.deepEqual(allPeers(store, 1), names(0, 10));
  assert.equal(putPeer(store, 1, 20, { expiresAt: NOW + 2 * AGE }), ADDED);
  store.setTime(NOW + 2 * AGE);
  assert.deepEqual(allPeers(store, 1), []);
  assert.equal(removePeer(store, 1, 0), ABSENT);
  while (store.tick(NOW + 2 * AGE, 7) > 0) checkStore(store);
  assert.equal(store.size, 0);
  assert.equal(store.targets, 0);
});

test('the work of a choice is bounded in a target full of peers that are over', () => {
  const store = makePeers(5000);
  for (let n = 0; n < 5000; n++) putPeer(store, 1, n);
  store.setTime(NOW + AGE);
  let drawn = 0;
  const random = { next: () => drawn++ };
  assert.deepEqual(samplePeers(store, 1, 20, random), []);
  assert.ok(drawn <= 100, `${drawn} looks`);
});

test('a full store evicts the peer whose last put is the oldest', () => {
  const store = makePeers(4);
  for (let n = 0; n < 3; n++) putPeer(store, 1, n);
  putPeer(store, 2, 9);
  putPeer(store, 1, 0);
  assert.equal(putPeer(store, 3, 5), ADDED);
  assert.deepEqual(allPeers(store, 1), [peerName(0), peerName(2)].sort());
  putPeer(store, 3, 6);
  putPeer(store, 3, 7);
  assert.equal(store.targets, 2, 'target 2 has gone with its peer');
  assert.equal(store.evicted, 3);
  checkStore(store);
});

test('a network has at most a 16th of the peers', () => {
  const store = makePeers(1600);
  for (let n = 0; n < 100; n++) assert.equal(putPeer(store, n, n, { prefix: 3 }), ADDED);
  assert.equal(putPeer(store, 5, 100, { prefix: 3 }), BOUNDED);
  assert.equal(countOf(store, 5), 1);
  assert.equal(putPeer(store, 5, 100, { prefix: 4 }), ADDED);
});

test('a host has at most half of the peers its network has', () => {
  const store = makePeers(1600);
  for (let n = 0; n < 50; n++) {
    assert.equal(putPeer(store, n, n, { prefix: 3, host: 30 }), ADDED);
  }
  assert.equal(putPeer(store, 5, 100, { prefix: 3, host: 30 }), BOUNDED);
  assert.equal(putPeer(store, 5, 100, { prefix: 3, host: 31 }), ADDED);
  removePeer(store, 7, 7);
  assert.equal(putPeer(store, 5, 101, { prefix: 3, host: 30 }), ADDED);
});

test('a bump only rises, and ends with its time or with the last peer', () => {
  const store = makePeers(10);
  const large = Number.MAX_SAFE_INTEGER;
  putPeer(store, 1, 1);
  assert.equal(bumpOf(store, 1), 0);
  putPeer(store, 1, 2, { bump: 50 });
  putPeer(store, 1, 3, { bump: 40, expiresAt: NOW + 2 * AGE });
  assert.equal(bumpOf(store, 1), 50);
  putPeer(store, 1, 1, { bump: large });
  assert.equal(bumpOf(store, 1), large);
  assert.equal(bumpOf(store, 2), 0);
  // It outlasts who brought it, and the head.
  removePeer(store, 1, 1);
  assert.equal(bumpOf(store, 1), large);
  checkStore(store);
  store.setTime(NOW + AGE);
  assert.equal(bumpOf(store, 1), 0, 'its time is over');
  putPeer(store, 1, 3, { bump: 7, expiresAt: NOW + 2 * AGE });
  assert.equal(bumpOf(store, 1), 7);
  removePeer(store, 1, 3);
  store.tick(NOW + AGE, 10);
  putPeer(store, 1, 1, { expiresAt: NOW + 2 * AGE });
  assert.equal(bumpOf(store, 1), 0, 'all peers were gone');
  for (const bump of [-1, 0.5, 2 ** 53, Number.NaN]) {
    assert.equal(putPeer(store, 1, 1, { bump }), INVALID);
  }
});

test('a successor has the same peers in the same order of age', () => {
  const store = makePeers(50);
  for (let n = 0; n < 40; n++) putPeer(store, n % 3, n, { bump: n });
  for (let n = 0; n < 40; n += 7) putPeer(store, n % 3, n);
  const before = dumpPeers(store);
  const successor = new PeerStore(store.buffers, HASH_KEY);
  successor.setTime(NOW);
  assert.equal(successor.needsRepair, false);
  assert.deepEqual(dumpPeers(successor), before);
  assert.deepEqual(successor.repair(), { kept: 40, dropped: 0 });
  checkStore(successor);
  assert.deepEqual(dumpPeers(successor), before);
  assert.deepEqual(
    [0, 1, 2].map((t) => bumpOf(successor, t)),
    [39, 37, 38],
  );
});
