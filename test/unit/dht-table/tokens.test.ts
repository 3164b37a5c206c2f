/** The DHT's tokens. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DHT_TOKEN_EPOCH_MS, DhtTokens } from '../../../workers/dht/tokens.ts';
import { Tokens } from '../../../workers/tokens.ts';

const SECRET = new Uint8Array(32).fill(7);
const T0 = 1_000_000 * DHT_TOKEN_EPOCH_MS;

function addressWords(n: number): Int32Array {
  return Int32Array.of(0, 0, 0xffff0000, n);
}

/** Written behind some other bytes, into shared memory, as into a slot. */
function tokenOf(tokens: DhtTokens, n: number): Uint8Array {
  const slot = new Uint8Array(new SharedArrayBuffer(40)).fill(0xee);
  tokens.load(addressWords(n), 0);
  tokens.write(slot, 5);
  assert.equal(slot[4], 0xee);
  assert.equal(slot[37], 0xee);
  return slot;
}

function verify(tokens: DhtTokens, n: number, slot: Uint8Array): boolean {
  tokens.load(addressWords(n), 0);
  return tokens.verify(slot, 5);
}

test('a token differs by address and secret, and verifies for its address only', () => {
  const tokens = new DhtTokens(SECRET, 1);
  const other = new DhtTokens(new Uint8Array(32).fill(8), 1);
  for (const each of [tokens, other]) each.setTime(T0);
  const one = tokenOf(tokens, 1);
  assert.ok(verify(tokens, 1, one));
  assert.ok(!verify(tokens, 2, one));
  assert.ok(!verify(other, 1, one));
  assert.notDeepEqual(one, tokenOf(tokens, 2));
  for (let i = 5; i < 37; i++) {
    const flipped = one.slice();
    flipped[i] ^= 1 << (i % 8);
    assert.ok(!verify(tokens, 1, flipped), `byte ${i}`);
  }
});

test('a token is good in its epoch and the next, cached or not', () => {
  for (const isWarm of [true, false]) {
    const tokens = new DhtTokens(SECRET, 1);
    tokens.setTime(T0);
    const token = tokenOf(tokens, 1);
    const judge = isWarm ? tokens : new DhtTokens(SECRET, 2);
    judge.setTime(T0 + DHT_TOKEN_EPOCH_MS - 1);
    assert.ok(verify(judge, 1, token));
    judge.setTime(T0 + 2 * DHT_TOKEN_EPOCH_MS - 1);
    assert.ok(verify(judge, 1, token), `one epoch old, warm=${isWarm}`);
    judge.setTime(T0 + 2 * DHT_TOKEN_EPOCH_MS);
    assert.ok(!verify(judge, 1, token), `two epochs old, warm=${isWarm}`);
  }
});

test('a server whose clock is behind takes the token of one that is ahead, by 30 s', () => {
  const ahead = new DhtTokens(SECRET, 1);
  const behind = new DhtTokens(SECRET, 2);
  ahead.setTime(T0 + DHT_TOKEN_EPOCH_MS);
  const token = tokenOf(ahead, 1);
  behind.setTime(T0 + DHT_TOKEN_EPOCH_MS - 30_000);
  assert.ok(verify(behind, 1, token));
  assert.ok(!verify(behind, 2, token));
  behind.setTime(T0 + DHT_TOKEN_EPOCH_MS - 30_001);
  assert.ok(!verify(behind, 1, token));
});

test('a clock that starts at zero makes real tokens, of a real key', () => {
  const tokens = new DhtTokens(SECRET, 1);
  const other = new DhtTokens(new Uint8Array(32).fill(8), 1);
  for (const each of [tokens, other]) each.setTime(0);
  const token = tokenOf(tokens, 0);
  assert.ok(verify(tokens, 0, token));
  assert.ok(!verify(other, 0, token));
  assert.ok(!verify(tokens, 0, new Uint8Array(40)));
});

test('a token of the DNS server with the same secret is none of the DHT', () => {
  const dns = new Tokens(SECRET, 1);
  const dht = new DhtTokens(SECRET, 1);
  dns.setTime(T0);
  dht.setTime(T0);
  dns.load(addressWords(1), 0);
  const slot = new Uint8Array(40);
  slot.set(Buffer.from(Buffer.from(dns.text).toString('latin1'), 'base64'), 5);
  assert.ok(!verify(dht, 1, slot));
});

test('a busy address costs one MAC an epoch, a flood costs MACs and no memory', () => {
  const tokens = new DhtTokens(SECRET, 1, 16);
  tokens.setTime(T0);
  const first = tokenOf(tokens, 1);
  for (let i = 0; i < 100; i++) assert.ok(verify(tokens, 1, first));
  assert.equal(tokens.computed, 1);
  tokens.setTime(T0 + DHT_TOKEN_EPOCH_MS);
  for (let i = 0; i < 100; i++) assert.ok(verify(tokens, 1, first));
  assert.equal(tokens.computed, 2);
  for (let n = 2; n < 5000; n++) tokens.load(addressWords(n), 0);
  assert.ok(verify(tokens, 1, first));
  assert.deepEqual(tokenOf(tokens, 4999), tokenOf(new DhtTokensAt(T0 + DHT_TOKEN_EPOCH_MS), 4999));
});

class DhtTokensAt extends DhtTokens {
  constructor(nowMs: number) {
    super(SECRET, 99);
    this.setTime(nowMs);
  }
}

test('wrong sizes are refused by name', () => {
  assert.throws(() => new DhtTokens(new Uint8Array(31), 1), /token secret of 31 bytes/);
  assert.throws(() => new DhtTokens(SECRET, 1, 12), /12 sets: expected a power of two/);
});
