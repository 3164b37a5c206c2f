/** Announces, lookups and all that hangs on them, as hyperdht's persistent nodes do it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { COMMAND, DHT_ERROR, K, MAX_BUMP_DRIFT_MS } from '../../../codecs/dht/constants.ts';
import { decodePeer, encodeAnnounce } from '../../../codecs/dht/hyper-messages.ts';
import { CHECK_RATE } from '../../../workers/dht/checks.ts';
import { PEER_AGE_MS } from '../../../workers/dht/store/layout.ts';
import { DhtHarness } from '../../helpers/dht-harness.ts';
import {
  ALICE,
  announce,
  BOB,
  CAROL,
  crowd,
  hash,
  hex,
  keyPair,
  lookup,
  peersOf,
  topic,
  unannounce,
} from './fixture.ts';

const TARGET = topic(0x77);
const RELAYS = crowd(5);

function findPeer(harness: DhtHarness, target: Uint8Array, from = BOB) {
  return harness.ask({ command: COMMAND.FIND_PEER, target }, from);
}

describe('ANNOUNCE', () => {
  test('brings a peer under a topic, with three relay addresses at most', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(3));
    const pair = keyPair(1);
    const reply = announce(harness, ALICE, TARGET, pair, { relays: RELAYS });
    assert.deepEqual([reply?.error, reply?.token, reply?.closerNodes], [0, null, []]);
    const found = lookup(harness, TARGET);
    assert.deepEqual(found, {
      peers: [{ publicKey: pair.publicKey, relayAddresses: RELAYS.slice(0, 3) }],
      bump: 0,
    });
    assert.equal(harness.checks, 1);
  });

  test('twice is once, with the relays of the second time', () => {
    const harness = new DhtHarness();
    announce(harness, ALICE, TARGET, keyPair(1), { relays: RELAYS });
    announce(harness, BOB, TARGET, keyPair(1), { relays: [CAROL] });
    assert.deepEqual(lookup(harness, TARGET)?.peers, [
      { publicKey: keyPair(1).publicKey, relayAddresses: [CAROL] },
    ]);
  });

  test('stands for 20 minutes', () => {
    const harness = new DhtHarness();
    announce(harness, ALICE, TARGET, keyPair(1));
    harness.advance(PEER_AGE_MS - 1);
    assert.equal(lookup(harness, TARGET)?.peers.length, 1);
    harness.advance(1);
    assert.equal(lookup(harness, TARGET), null);
  });

  test('with a wrong signature, or one for another node, is not answered', () => {
    const harness = new DhtHarness();
    assert.equal(
      announce(harness, ALICE, TARGET, keyPair(1), { how: { verdict: 'forged' } }),
      null,
    );
    const other = new DhtHarness({ port: 5 });
    const token = harness.token(ALICE);
    const how = { isProven: true };
    // The same secret makes the same tokens; the id is signed too.
    assert.equal(announce(other, ALICE, TARGET, keyPair(1), { token, how })?.error, 0);
    const peer = { publicKey: keyPair(1).publicKey, relayAddresses: [] };
    const signature = new Uint8Array(64);
    const value = encodeAnnounce({ peer, refresh: null, signature, bump: 0 });
    const asked = { command: COMMAND.ANNOUNCE, target: TARGET, token, value };
    assert.equal(harness.ask(asked, ALICE), null);
    assert.equal(harness.counters().dhtForged, 2);
    assert.equal(lookup(harness, TARGET), null);
  });

  test('is checked only with a valid token, a target and all it needs', () => {
    const harness = new DhtHarness();
    const token = harness.token(ALICE);
    const { publicKey } = keyPair(1);
    const peer = { publicKey, relayAddresses: [] };
    const signature = new Uint8Array(64);
    const whole = encodeAnnounce({ peer, refresh: null, signature, bump: 0 });
    const unsigned = encodeAnnounce({ peer, refresh: null, signature: null, bump: 0 });
    const nobody = encodeAnnounce({ peer: null, refresh: null, signature, bump: 0 });
    for (const command of [COMMAND.ANNOUNCE, COMMAND.UNANNOUNCE]) {
      const good = { command, target: TARGET, token, value: whole };
      for (const asked of [
        { ...good, token: null },
        { ...good, target: null },
        { ...good, value: null },
        { ...good, value: whole.subarray(0, whole.length - 1) },
        { ...good, value: unsigned },
        { ...good, value: nobody },
      ]) {
        assert.equal(harness.ask(asked, ALICE, { isProven: true }), null);
      }
      const bad = harness.ask({ ...good, token: topic(1) }, ALICE);
      assert.equal(bad?.error, DHT_ERROR.INVALID_TOKEN);
    }
    assert.equal(harness.checks, 0);
    assert.equal(harness.counters().dropMalformed, 12);
  });

  test('so many signatures are checked for one network only', () => {
    const harness = new DhtHarness();
    const token = harness.token(ALICE);
    const options = { token, how: { verdict: 'forged' } } as const;
    for (let i = 0; i < CHECK_RATE.burst + 10; i++) {
      announce(harness, ALICE, TARGET, keyPair(1), options);
    }
    assert.equal(harness.checks, CHECK_RATE.burst);
    assert.equal(harness.counters().dropRateLimited, 10);
    announce(harness, BOB, TARGET, keyPair(1));
    assert.equal(harness.checks, CHECK_RATE.burst + 1);
  });

  test('beyond what one network or one host of it may have is told so', () => {
    const harness = new DhtHarness({ limits: { peers: 320 } });
    const neighbour = { ...ALICE, host: '203.0.114.99' };
    const third = { ...ALICE, host: '203.0.114.100' };
    for (let i = 0; i < 25; i++) {
      const reply = announce(harness, ALICE, topic(i), keyPair(i));
      assert.equal(reply?.error, i < 10 ? 0 : DHT_ERROR.UNKNOWN_COMMAND, `announce ${i}`);
    }
    assert.equal(harness.counters().dhtStoreBounded, 15);
    for (let i = 30; i < 40; i++) {
      assert.equal(announce(harness, neighbour, topic(i), keyPair(i))?.error, 0, `announce ${i}`);
    }
    const reply = announce(harness, third, topic(50), keyPair(50));
    assert.equal(reply?.error, DHT_ERROR.UNKNOWN_COMMAND);
    assert.equal(announce(harness, BOB, topic(60), keyPair(60))?.error, 0);
  });
});

describe('LOOKUP', () => {
  test('names 20 random peers of many, each as often', () => {
    const harness = new DhtHarness();
    const all = Array.from({ length: 30 }, (_, i) => keyPair(i));
    for (const pair of all) announce(harness, ALICE, TARGET, pair);
    const named = new Map<string, number>();
    for (let i = 0; i < 300; i++) {
      const peers = peersOf(lookup(harness, TARGET));
      assert.equal(new Set(peers).size, K);
      for (const peer of peers) named.set(peer, (named.get(peer) ?? 0) + 1);
    }
    assert.equal(named.size, 30);
    for (const count of named.values()) assert.ok(count > 150 && count < 250, `${count}`);
  });

  test('without a target is not answered; of an unknown topic has no value', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(3));
    assert.equal(harness.ask({ command: COMMAND.LOOKUP }, ALICE), null);
    const reply = harness.ask({ command: COMMAND.LOOKUP, target: TARGET }, ALICE);
    assert.equal(reply?.value, null);
    assert.equal(reply?.closerNodes.length, 3);
    assert.ok(reply?.token);
  });

  test('values of every length stand where they belong', () => {
    for (const nodes of [0, 3, 30]) {
      const harness = new DhtHarness({ limits: { peers: 10_000 } });
      harness.know(...crowd(nodes));
      for (let peers = 1; peers <= 21; peers++) {
        const target = topic(peers);
        for (let i = 0; i < peers; i++) {
          announce(harness, ALICE, target, keyPair(i), { relays: RELAYS.slice(0, i % 4) });
        }
        const reply = harness.ask({ command: COMMAND.LOOKUP, target }, BOB);
        assert.equal(reply?.closerNodes.length, Math.min(nodes, 20));
        const expected = Array.from({ length: peers }, (_, i) => hex(keyPair(i).publicKey));
        const found = peersOf(lookup(harness, target));
        if (peers <= 20) assert.deepEqual(found, expected.sort());
        assert.equal(found.length, Math.min(peers, 20));
      }
    }
  });
});

describe('bumps', () => {
  test('the highest is answered, of those that are not ahead of the clock', () => {
    const harness = new DhtHarness();
    const bump = (number: number) => announce(harness, ALICE, TARGET, keyPair(1), { bump: number });
    bump(1000);
    assert.equal(lookup(harness, TARGET)?.bump, 1000);
    bump(900);
    assert.equal(lookup(harness, TARGET)?.bump, 1000);
    const latest = harness.nowMs + MAX_BUMP_DRIFT_MS;
    bump(latest + 1);
    assert.equal(lookup(harness, TARGET)?.bump, 1000);
    bump(latest);
    assert.equal(lookup(harness, TARGET)?.bump, latest);
  });
});

describe('peers who announce themselves', () => {
  const pair = keyPair(7);
  const own = hash(pair.publicKey);

  test('are found by FIND_PEER and named last by LOOKUP', () => {
    const harness = new DhtHarness();
    announce(harness, ALICE, own, pair, { relays: RELAYS });
    const value = findPeer(harness, own)?.value;
    assert.deepEqual(value && decodePeer(value), {
      publicKey: pair.publicKey,
      relayAddresses: RELAYS.slice(0, 3),
    });
    for (let i = 0; i < 19; i++) announce(harness, ALICE, own, keyPair(100 + i));
    const peers = lookup(harness, own)?.peers ?? [];
    assert.equal(peers.length, 20);
    assert.deepEqual(peers[19].publicKey, pair.publicKey);
    announce(harness, ALICE, own, keyPair(200));
    assert.ok(!peersOf(lookup(harness, own)).includes(hex(pair.publicKey)));
  });

  test('raise no bump', () => {
    const harness = new DhtHarness();
    announce(harness, ALICE, own, pair, { bump: 1000 });
    assert.equal(lookup(harness, own)?.bump, 0);
  });

  test('an unknown one has no value; without a target there is no answer', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(2));
    const reply = findPeer(harness, own);
    assert.deepEqual([reply?.value, reply?.closerNodes.length], [null, 2]);
    assert.ok(reply?.token);
    assert.equal(harness.ask({ command: COMMAND.FIND_PEER }, BOB), null);
  });

  test('are gone after UNANNOUNCE, or 20 minutes', () => {
    const harness = new DhtHarness();
    announce(harness, ALICE, own, pair);
    assert.equal(unannounce(harness, BOB, own, pair)?.error, 0);
    assert.equal(findPeer(harness, own)?.value, null);
    announce(harness, ALICE, own, pair);
    harness.advance(PEER_AGE_MS);
    assert.equal(findPeer(harness, own)?.value, null);
  });
});

describe('UNANNOUNCE', () => {
  test('takes one peer from a topic and leaves the others', () => {
    const harness = new DhtHarness();
    for (let i = 0; i < 3; i++) announce(harness, ALICE, TARGET, keyPair(i));
    const reply = unannounce(harness, ALICE, TARGET, keyPair(1));
    assert.deepEqual([reply?.error, reply?.token, reply?.closerNodes], [0, null, []]);
    const left = [hex(keyPair(0).publicKey), hex(keyPair(2).publicKey)].sort();
    assert.deepEqual(peersOf(lookup(harness, TARGET)), left);
  });

  test('of a peer that is not there is confirmed', () => {
    assert.equal(unannounce(new DhtHarness(), ALICE, TARGET, keyPair(1))?.error, 0);
  });

  test('signed as an announce is forged', () => {
    const harness = new DhtHarness();
    announce(harness, ALICE, TARGET, keyPair(1));
    const peer = { publicKey: keyPair(1).publicKey, relayAddresses: [] };
    const signature = new Uint8Array(64).fill(1);
    const value = encodeAnnounce({ peer, refresh: null, signature, bump: 0 });
    const token = harness.token(ALICE);
    const asked = { command: COMMAND.UNANNOUNCE, target: TARGET, token, value };
    assert.equal(harness.ask(asked, ALICE), null);
    assert.equal(lookup(harness, TARGET)?.peers.length, 1);
  });
});

describe('refresh tokens', () => {
  /** Each is the hash of the next. */
  const chain = [topic(1)];
  for (let i = 0; i < 3; i++) chain.unshift(hash(chain[0]));

  function refresh(harness: DhtHarness, secret: Uint8Array, target = TARGET, from = ALICE) {
    const value = encodeAnnounce({ peer: null, refresh: secret, signature: null, bump: 0 });
    const token = harness.token(from);
    return harness.ask({ command: COMMAND.ANNOUNCE, target, token, value }, from);
  }

  test('renew an announce without a signature, each once', () => {
    const harness = new DhtHarness();
    announce(harness, ALICE, TARGET, keyPair(1), { refresh: chain[0], relays: RELAYS });
    for (const secret of chain.slice(1)) {
      harness.advance(PEER_AGE_MS - 1000);
      const reply = refresh(harness, secret);
      assert.deepEqual([reply?.error, reply?.token, reply?.closerNodes], [0, null, []]);
      assert.equal(refresh(harness, secret), null, 'used up');
    }
    assert.equal(harness.checks, 1);
    assert.equal(harness.counters().dhtRefreshes, 3);
    harness.advance(PEER_AGE_MS - 1000);
    assert.deepEqual(lookup(harness, TARGET)?.peers, [
      { publicKey: keyPair(1).publicKey, relayAddresses: RELAYS.slice(0, 3) },
    ]);
  });

  test('of a peer who announced itself move it to where they come from', () => {
    const harness = new DhtHarness();
    const pair = keyPair(7);
    const own = hash(pair.publicKey);
    announce(harness, ALICE, own, pair, { refresh: chain[0] });
    harness.advance(PEER_AGE_MS - 1000);
    assert.equal(refresh(harness, chain[1], own, BOB)?.error, 0);
    harness.advance(PEER_AGE_MS - 1000);
    assert.ok(findPeer(harness, own)?.value);
    assert.equal(lookup(harness, own)?.peers.length, 1);
  });

  test('that are unknown, or for another target, or without a token, are not answered', () => {
    const harness = new DhtHarness();
    announce(harness, ALICE, TARGET, keyPair(1), { refresh: chain[0] });
    assert.equal(refresh(harness, topic(9)), null);
    assert.equal(refresh(harness, chain[1], topic(9)), null);
    const value = encodeAnnounce({ peer: null, refresh: chain[1], signature: null, bump: 0 });
    const asked = { command: COMMAND.ANNOUNCE, target: TARGET, value };
    assert.equal(harness.ask(asked, ALICE, { isProven: true }), null);
    assert.equal(refresh(harness, chain[1])?.error, 0);
  });
});
