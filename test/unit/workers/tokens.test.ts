import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TOKEN_EPOCH_MS, Tokens } from '../../../workers/tokens.ts';

const SECRET = new Uint8Array(32).fill(7);
const T0 = 1_000_000 * TOKEN_EPOCH_MS;

function addressWords(n: number): Int32Array {
  return Int32Array.of(0, 0, 0xffff0000, n);
}

function tokenOf(tokens: Tokens, n: number): Uint8Array {
  tokens.load(addressWords(n), 0);
  return tokens.text.slice();
}

function verify(tokens: Tokens, n: number, token: Uint8Array): boolean {
  tokens.load(addressWords(n), 0);
  return tokens.verify(new DataView(token.buffer, token.byteOffset), 0, token.length);
}

test('a token is 32 bytes of base64, differs by address, and verifies for its address only', () => {
  const tokens = new Tokens(SECRET, 1);
  tokens.setTime(T0);
  const one = tokenOf(tokens, 1);
  assert.match(Buffer.from(one).toString('latin1'), /^[A-Za-z0-9+/]{43}=$/);
  assert.notDeepEqual(one, tokenOf(tokens, 2));
  assert.ok(verify(tokens, 1, one));
  assert.ok(!verify(tokens, 2, one));
  assert.ok(!verify(tokens, 1, one.subarray(0, 43)));
  const flipped = one.slice();
  flipped[20]! ^= 1;
  assert.ok(!verify(tokens, 1, flipped));
});

test('a token is good in its epoch and the next, cached or not', () => {
  for (const warm of [true, false]) {
    const tokens = new Tokens(SECRET, 1);
    tokens.setTime(T0);
    const token = tokenOf(tokens, 1);
    const judge = warm ? tokens : new Tokens(SECRET, 2);
    judge.setTime(T0 + TOKEN_EPOCH_MS - 1);
    assert.ok(verify(judge, 1, token));
    judge.setTime(T0 + 2 * TOKEN_EPOCH_MS - 1);
    assert.ok(verify(judge, 1, token), `one epoch old, warm=${warm}`);
    judge.setTime(T0 + 2 * TOKEN_EPOCH_MS);
    assert.ok(!verify(judge, 1, token), `two epochs old, warm=${warm}`);
  }
});

test('servers with one secret accept each other, with different secrets they do not', () => {
  const a = new Tokens(SECRET, 1);
  const b = new Tokens(SECRET, 99);
  const c = new Tokens(new Uint8Array(32).fill(8), 1);
  for (const tokens of [a, b, c]) tokens.setTime(T0);
  assert.ok(verify(b, 5, tokenOf(a, 5)));
  assert.ok(!verify(c, 5, tokenOf(a, 5)));
});

test('a server whose clock is behind takes the token of one that is ahead, by 30 s', () => {
  const ahead = new Tokens(SECRET, 1);
  const behind = new Tokens(SECRET, 2);
  ahead.setTime(T0 + TOKEN_EPOCH_MS);
  const token = tokenOf(ahead, 1);
  behind.setTime(T0 + TOKEN_EPOCH_MS - 30_000);
  assert.ok(verify(behind, 1, token));
  assert.ok(!verify(behind, 2, token));
  behind.setTime(T0 + TOKEN_EPOCH_MS - 30_001);
  assert.ok(!verify(behind, 1, token));
});

test('a flood of addresses neither grows the cache nor breaks it', () => {
  const tokens = new Tokens(SECRET, 1);
  tokens.setTime(T0);
  const first = tokenOf(tokens, 1);
  for (let n = 2; n < 40_000; n++) tokens.load(addressWords(n), 0);
  assert.deepEqual(tokenOf(tokens, 1), first);
  assert.ok(verify(tokens, 39_999, tokenOf(tokens, 39_999)));
});

test('the tokens of 4,096 neighbours are nearly all kept', () => {
  const tokens = new Tokens(SECRET, 1);
  tokens.setTime(T0);
  const loadAll = (): void => {
    for (let n = 0; n < 4096; n++) tokens.load(addressWords(n << 16), 0);
  };
  loadAll();
  assert.equal(tokens.computed, 4096);
  loadAll();
  // By chance a few sets get a third address: about 3 in 100 addresses at this load.
  assert.ok(tokens.computed - 4096 < 300, `${tokens.computed - 4096} computed again`);
});

test('a secret of another size is refused by name', () => {
  assert.throws(() => new Tokens(new Uint8Array(31), 1), /token secret of 31 bytes: expected 32/);
});
