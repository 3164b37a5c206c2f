/** Mutable and immutable values, as hyperdht's persistent nodes keep them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { COMMAND, DHT_ERROR, MAX_DATAGRAM_BYTES } from '../../../codecs/dht/constants.ts';
import { decodeMutableValue, encodeMutablePut } from '../../../codecs/dht/hyper-messages.ts';
import { mutableSignable } from '../../../codecs/dht/namespaces.ts';
import { writeVarint } from '../../../codecs/dht/varint.ts';
import { VALUE_AGE_MS } from '../../../workers/dht/store/layout.ts';
import { MAX_KEPT_BYTES } from '../../../workers/dht/values.ts';
import { DhtHarness } from '../../helpers/dht-harness.ts';
import { sign } from '../../helpers/signing.ts';
import { ALICE, BOB, crowd, hash, keyPair, putImmutable, putMutable, topic } from './fixture.ts';

const PAIR = keyPair(3);
const TARGET = hash(PAIR.publicKey);

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function getMutable(harness: DhtHarness, seq: number) {
  const value = new Uint8Array(9);
  const asked = { command: COMMAND.MUTABLE_GET, target: TARGET };
  return harness.ask({ ...asked, value: value.subarray(0, writeVarint(value, 0, seq)) }, BOB);
}

function mutableOf(harness: DhtHarness, seq = 0) {
  const value = getMutable(harness, seq)?.value;
  return value ? decodeMutableValue(value) : null;
}

function getImmutable(harness: DhtHarness, target: Uint8Array, how = {}) {
  return harness.ask({ command: COMMAND.IMMUTABLE_GET, target }, BOB, how);
}

describe('immutable values', () => {
  test('of every length come back as they were put', () => {
    const harness = new DhtHarness({ limits: { immutables: 1000 } });
    harness.know(...crowd(60));
    for (const length of [0, 1, 3, 252, 253, 254, 1000, 1250, MAX_KEPT_BYTES]) {
      const value = new Uint8Array(length).map((_, i) => i * 7 + length);
      const put = putImmutable(harness, ALICE, value);
      assert.deepEqual([put?.error, put?.value, put?.closerNodes.length], [0, null, 20]);
      assert.ok(put?.token);
      const got = getImmutable(harness, hash(value));
      assert.deepEqual(got?.value, value, `${length} bytes`);
      assert.ok(got.token);
    }
  });

  test('closer nodes make room for a long value', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(60));
    const value = new Uint8Array(MAX_DATAGRAM_BYTES - 10 - 32 - 32 - 3 - 1 - 6 * 7);
    putImmutable(harness, ALICE, value);
    assert.equal(getImmutable(harness, hash(value))?.closerNodes.length, 7);
    // That is no limit of the asker's.
    assert.equal(harness.counters().dhtLimitedReplies, 0);
  });

  test('longer than what can be answered are refused', () => {
    const harness = new DhtHarness();
    const value = new Uint8Array(MAX_KEPT_BYTES + 1);
    assert.equal(putImmutable(harness, ALICE, value)?.error, DHT_ERROR.UNKNOWN_COMMAND);
    assert.equal(harness.counters().dhtStoreRejected, 1);
    assert.equal(getImmutable(harness, hash(value))?.value, null);
  });

  test('within a budget come whole or not at all', () => {
    const harness = new DhtHarness();
    const value = new Uint8Array(500);
    putImmutable(harness, ALICE, value);
    assert.equal(getImmutable(harness, hash(value), { budget: 10 + 64 + 3 + 499 }), null);
    assert.equal(harness.counters().dropRateLimited, 1);
    const got = getImmutable(harness, hash(value), { budget: 10 + 64 + 3 + 500 });
    assert.equal(got?.value?.length, 500);
  });

  test('are put only under their hash, with a token, a target and a value', () => {
    const harness = new DhtHarness();
    const value = text('hello');
    const token = harness.token(ALICE);
    const good = { command: COMMAND.IMMUTABLE_PUT, target: hash(value), token, value };
    for (const asked of [
      { ...good, target: topic(1) },
      { ...good, target: null },
      { ...good, token: null },
      { ...good, value: null },
    ]) {
      assert.equal(harness.ask(asked, ALICE, { isProven: true }), null);
    }
    assert.equal(harness.ask({ ...good, token: topic(1) }, ALICE)?.error, DHT_ERROR.INVALID_TOKEN);
    assert.equal(getImmutable(harness, hash(value))?.value, null);
    assert.equal(harness.ask({ command: COMMAND.IMMUTABLE_GET }, BOB), null);
  });

  test('of a host that puts all it can leave room for those of its neighbours', () => {
    const harness = new DhtHarness({ limits: { immutables: 640 } });
    const greedy = { ...ALICE, host: '203.0.114.66' };
    let kept = 0;
    for (let i = 0; i < 100; i++) {
      if (putImmutable(harness, greedy, Uint8Array.of(i, 1))?.error === 0) kept++;
    }
    assert.equal(kept, 20);
    assert.equal(putImmutable(harness, ALICE, Uint8Array.of(1, 2))?.error, 0);
  });

  test('are kept for 48 hours', () => {
    const harness = new DhtHarness();
    const value = text('hello');
    putImmutable(harness, ALICE, value);
    harness.advance(VALUE_AGE_MS - 1);
    assert.ok(getImmutable(harness, hash(value))?.value);
    harness.advance(1);
    assert.equal(getImmutable(harness, hash(value))?.value, null);
  });
});

describe('mutable values', () => {
  test('come back with their signature', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(4));
    for (const [seq, value] of [
      [0, text('')],
      [7, text('first')],
      [300, new Uint8Array(250).fill(1)],
      [2 ** 40, new Uint8Array(1000).fill(2)],
    ] as const) {
      const put = putMutable(harness, ALICE, PAIR, seq, value);
      assert.deepEqual([put?.error, put?.closerNodes.length], [0, 4]);
      assert.ok(put?.token);
      const signature = Uint8Array.from(sign(mutableSignable(seq, value), PAIR.secretKey));
      assert.deepEqual(mutableOf(harness), { seq, value, signature });
    }
  });

  test('are answered unless older than asked for', () => {
    const harness = new DhtHarness();
    assert.equal(getMutable(harness, 0)?.value, null);
    putMutable(harness, ALICE, PAIR, 5, text('five'));
    assert.equal(mutableOf(harness, 5)?.seq, 5);
    assert.equal(mutableOf(harness, 6), null);
    assert.ok(getMutable(harness, 6)?.token);
    const asked = { command: COMMAND.MUTABLE_GET, target: TARGET };
    assert.equal(harness.ask(asked, BOB), null);
    assert.equal(harness.ask({ ...asked, value: Uint8Array.of(0xfd, 1) }, BOB), null);
    assert.equal(harness.ask({ ...asked, target: null, value: Uint8Array.of(0) }, BOB), null);
  });

  test('another value under the same number is an error, as is a lower number', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(4));
    putMutable(harness, ALICE, PAIR, 5, text('five'));
    for (const [seq, value, error] of [
      [5, 'other', DHT_ERROR.SEQ_REUSED],
      [5, 'five and more', DHT_ERROR.SEQ_REUSED],
      [5, 'fiv', DHT_ERROR.SEQ_REUSED],
      [4, 'five', DHT_ERROR.SEQ_TOO_LOW],
      [5, 'five', 0],
      [6, 'five', 0],
    ] as const) {
      const reply = putMutable(harness, ALICE, PAIR, seq, text(value));
      assert.equal(reply?.error, error, `${seq} ${value}`);
      assert.equal(reply?.closerNodes.length, 4);
      assert.equal(reply?.token === null, error !== 0);
    }
    assert.equal(mutableOf(harness)?.seq, 6);
  });

  test('what is here already need not be checked again, and stays 48 hours longer', () => {
    const harness = new DhtHarness();
    putMutable(harness, ALICE, PAIR, 5, text('five'));
    harness.advance(VALUE_AGE_MS - 1);
    putMutable(harness, BOB, PAIR, 5, text('five'), { verdict: 'forged' });
    assert.equal(harness.checks, 1);
    harness.advance(VALUE_AGE_MS - 1);
    assert.equal(mutableOf(harness)?.seq, 5);
  });

  test('that are not signed by the key the target is the hash of are not kept', () => {
    const harness = new DhtHarness();
    const value = text('value');
    const token = harness.token(ALICE);
    const signature = sign(mutableSignable(1, value), PAIR.secretKey);
    const put = encodeMutablePut({ publicKey: PAIR.publicKey, seq: 1, value, signature });
    const good = { command: COMMAND.MUTABLE_PUT, target: TARGET, token, value: put };
    for (const asked of [
      { ...good, target: topic(1) },
      { ...good, target: null },
      { ...good, token: null },
      { ...good, value: null },
      { ...good, value: put.subarray(0, put.length - 1) },
    ]) {
      assert.equal(harness.ask(asked, ALICE, { isProven: true }), null);
    }
    assert.equal(harness.checks, 0);
    const forged = Uint8Array.from(put);
    forged[40]++;
    assert.equal(harness.ask({ ...good, value: forged }, ALICE), null);
    assert.equal(harness.counters().dhtForged, 1);
    assert.equal(mutableOf(harness), null);
    assert.equal(harness.ask(good, ALICE)?.error, 0);
  });

  test('another key cannot overwrite them', () => {
    const harness = new DhtHarness();
    putMutable(harness, ALICE, PAIR, 5, text('five'));
    const value = text('six');
    const signature = sign(mutableSignable(6, value), keyPair(9).secretKey);
    const { publicKey } = PAIR;
    const put = encodeMutablePut({ publicKey, seq: 6, value, signature });
    const token = harness.token(BOB);
    const asked = { command: COMMAND.MUTABLE_PUT, target: TARGET, token, value: put };
    assert.equal(harness.ask(asked, BOB), null);
    assert.equal(mutableOf(harness)?.seq, 5);
  });

  test('numbers longer than they need be are not kept', () => {
    const harness = new DhtHarness();
    const value = text('value');
    const signature = sign(mutableSignable(1, value), PAIR.secretKey);
    const put = encodeMutablePut({ publicKey: PAIR.publicKey, seq: 1, value, signature });
    const longer = [...put.subarray(0, 32), 0xfd, 1, 0, ...put.subarray(33)];
    const token = harness.token(ALICE);
    const asked = { command: COMMAND.MUTABLE_PUT, target: TARGET, token };
    assert.equal(harness.ask({ ...asked, value: Uint8Array.from(longer) }, ALICE), null);
    assert.equal(harness.checks, 0);
  });
});

describe('plugins', () => {
  test('are not answered for', () => {
    const harness = new DhtHarness();
    assert.equal(harness.ask({ command: COMMAND.PLUGIN, value: topic(1) }, ALICE), null);
    assert.equal(harness.ask({ command: COMMAND.PLUGIN }, ALICE), null);
    assert.equal(harness.counters().dhtPlugins, 2);
    assert.equal(harness.counters().absorbed, 2);
  });
});
