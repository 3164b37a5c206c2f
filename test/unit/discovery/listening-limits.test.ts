/** The limits of a listening instance that a server of its own does not have, or has otherwise. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { writeAddress } from '../../../server/net/ip-address.ts';
import { allocateLaneStores } from '../../../workers/create-lane.ts';
import { isPrivate } from '../../../workers/source-prefix.ts';
import {
  HASH_KEY,
  HarnessClient,
  type HarnessOptions,
  LaneHarness,
  peersOf,
} from '../../helpers/lane-harness.ts';

function house(options: HarnessOptions, address = '127.0.0.1') {
  const harness = new LaneHarness(options);
  return { harness, client: new HarnessClient(harness, address, 5000) };
}

const withoutTombstones = (limit: number) =>
  allocateLaneStores(limit, HASH_KEY, { tombstoneSeconds: 0 });

describe('listening: records, the most names', () => {
  const capped = (nameCount: number) =>
    house({ lane: { stores: withoutTombstones(100), nameCount } });

  test('with one more, the name used least recently goes with all its peers', () => {
    const { client } = capped(2);
    client.announce('a', 1);
    client.announce('a', 2);
    client.announce('b', 3);
    client.lookup('a');
    client.announce('c', 4);
    assert.deepEqual(peersOf(client.lookup('b')), [], 'a was looked up since');
    assert.equal(peersOf(client.lookup('a')).length, 2);
    client.announce('d', 5);
    assert.deepEqual(peersOf(client.lookup('c')), []);
    assert.equal(peersOf(client.lookup('a')).length, 2);
    assert.equal(peersOf(client.lookup('d')).length, 1);
  });

  test('a name that was unannounced makes room, and peers of a name are not counted', () => {
    const { client } = capped(1);
    for (let port = 1; port <= 20; port++) client.announce('a', port);
    assert.equal(peersOf(client.lookup('a')).length, 20);
    for (let port = 1; port <= 20; port++) client.unannounce('a', port);
    client.announce('b', 1);
    assert.equal(peersOf(client.lookup('b')).length, 1);
    client.announce('a', 1);
    assert.deepEqual(peersOf(client.lookup('b')), []);
  });

  test('of IPv6 peers and ids of many blocks too', () => {
    const harness = new LaneHarness({ lane: { stores: withoutTombstones(100), nameCount: 3 } });
    const client = new HarnessClient(harness, '2001:db8::1', 5000);
    const id = (n: number) => `${n}${'x'.repeat(50)}.${'y'.repeat(60)}.${'z'.repeat(60)}`;
    for (let n = 0; n < 50; n++) client.announce(id(n), 1000 + n);
    for (let n = 0; n < 47; n++) {
      assert.equal(client.lookup(id(n)).answers?.length, 1);
    }
    assert.ok(harness.counters().announces === 50);
    const live = [47, 48, 49].filter((n) => hasPeers6(client, id(n)));
    assert.deepEqual(live, [47, 48, 49]);
    assert.ok(!hasPeers6(client, id(46)));
  });
});

function hasPeers6(client: HarnessClient, id: string): boolean {
  const answer = client.lookup(id).answers?.[0];
  return (
    answer?.type === 'TXT' && [answer.data].flat().some((each) => `${each}`.includes('peers6='))
  );
}

describe('listening: private addresses are spared', () => {
  const bounds = { prefixLimit: 4, nameLimit: 8, sparesPrivate: true };

  test('one host may have all of a name, at whose limit its oldest peer goes', () => {
    const { client } = house({ bounds }, '192.168.1.2');
    for (let port = 1; port <= 12; port++) client.announce('app', port);
    const peers = peersOf(client.lookup('app')).sort();
    const expected = [5, 6, 7, 8, 9, 10, 11, 12].map((port) => `192.168.1.2:${port}`);
    assert.deepEqual(peers, expected.sort());
  });

  test('one host may have all of the store', () => {
    const { client, harness } = house({ bounds, limit: 100 }, '10.1.2.3');
    for (let port = 1; port <= 150; port++) client.announce(`app${port}`, port);
    assert.equal(harness.counters().announcesBounded, 0);
    assert.equal(peersOf(client.lookup('app51')).length, 1);
    assert.equal(peersOf(client.lookup('app50')).length, 0);
  });

  test('public addresses are not spared', () => {
    const { client, harness } = house({ bounds }, '203.0.113.1');
    for (let port = 1; port <= 12; port++) client.announce('app', port);
    assert.equal(peersOf(client.lookup('app')).length, 1);
    assert.equal(harness.counters().announcesBounded, 11);
  });

  test('private addresses are not spared where that was not asked for', () => {
    const { client } = house({ bounds: { prefixLimit: 4, nameLimit: 8 } }, '192.168.1.2');
    for (let port = 1; port <= 12; port++) client.announce('app', port);
    assert.equal(peersOf(client.lookup('app')).length, 1);
  });

  test('what is private, and what is not', () => {
    const verdict = (address: string) => {
      const bytes = new Uint8Array(16);
      writeAddress(address, bytes, 0);
      return isPrivate(new Int32Array(bytes.buffer), 0);
    };
    const inside = ['127.0.0.1', '127.255.0.9', '10.255.0.1', '172.16.0.1', '172.31.255.255'];
    inside.push('192.168.0.1', '169.254.1.1', '::1', 'fc00::1', 'fdff::1', 'fe80::1', 'febf::1');
    for (const address of inside) assert.ok(verdict(address), address);
    const outside = ['126.0.0.1', '11.0.0.1', '172.15.0.1', '172.32.0.1', '192.169.0.1'];
    outside.push('192.0.2.1', '169.255.0.1', '::2', '::', 'fec0::1', 'fb00::1', '2001:db8::1');
    outside.push('1::1', '::1:0:0:1', '0.0.0.0');
    for (const address of outside) assert.ok(!verdict(address), address);
  });
});

describe('listening: subscriptions', () => {
  /** How many pushes an announce causes so long after a lookup. */
  function pushesAfter(seconds: number, subscriptionTtlSeconds: number): number {
    const harness = new LaneHarness({ lane: { subscriptionTtlSeconds } });
    new HarnessClient(harness, '127.0.0.1', 5000).lookup('app');
    harness.advance(seconds * 1000);
    harness.takePushes();
    new HarnessClient(harness, '127.0.0.2', 5000).announce('app', 1);
    return harness.takePushes().length;
  }

  test('they live as long as push.ttl says, at most five seconds longer', () => {
    assert.equal(pushesAfter(9, 10), 1);
    assert.equal(pushesAfter(16, 10), 0);
  });

  test('with 0 they live for ever', () => {
    assert.equal(pushesAfter(10_000_000, 0), 1);
  });

  test('push.limit is a limit of their own', () => {
    const stores = allocateLaneStores(100, HASH_KEY, { subscriptionLimit: 2 });
    const harness = new LaneHarness({ lane: { stores } });
    for (let host = 1; host <= 5; host++) {
      new HarnessClient(harness, `127.0.0.${host}`, 5000).lookup('app');
    }
    const announcer = new HarnessClient(harness, '127.0.1.1', 5000);
    announcer.announce('app', 1);
    assert.equal(harness.takePushes().length, 2);
    for (let port = 2; port <= 20; port++) announcer.announce('app', port);
    assert.equal(peersOf(announcer.lookup('app')).length, 20, 'records have theirs');
  });
});
