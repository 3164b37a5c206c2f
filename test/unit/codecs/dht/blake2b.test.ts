import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { blake2b256, blake2b256Batch } from '../../../../codecs/hash/blake2b.ts';
import { hexOf } from './fixture.ts';

function hash(text: string, key?: Uint8Array): string {
  const out = new Uint8Array(32);
  blake2b256(out, Buffer.from(text), key);
  return hexOf(out);
}

describe('BLAKE2b-256', () => {
  test('known answers', () => {
    const nothing = '0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8';
    const abc = 'bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319';
    assert.equal(hash(''), nothing);
    assert.equal(hash('abc'), abc);
  });

  test('a key makes another hash', () => {
    const key = new Uint8Array(32).fill(7);
    assert.notEqual(hash('abc', key), hash('abc'));
    assert.notEqual(hash('abc', key), hash('abc', new Uint8Array(32)));
    assert.equal(hash('abc', key), hash('abc', Uint8Array.from(key)));
  });

  test('a batch is hashed as one input, empty parts included', () => {
    const out = new Uint8Array(32);
    const parts = ['', 'a', '', 'bc', ''].map((part) => Buffer.from(part));
    blake2b256Batch(out, parts);
    assert.equal(hexOf(out), hash('abc'));
    blake2b256Batch(out, []);
    assert.equal(hexOf(out), hash(''));
  });

  test('shared memory is never hashed wrongly: refused, or on newer versions of Node right', () => {
    const abc = Buffer.from('abc');
    const shared = new Uint8Array(new SharedArrayBuffer(3));
    shared.set(abc);
    const out = new Uint8Array(32);
    if (!isRefused(() => blake2b256(out, shared))) assert.equal(hexOf(out), hash('abc'));
    const sharedOut = new Uint8Array(new SharedArrayBuffer(32));
    if (!isRefused(() => blake2b256(sharedOut, abc))) assert.equal(hexOf(sharedOut), hash('abc'));
  });
});

function isRefused(act: () => void): boolean {
  try {
    act();
    return false;
  } catch (error) {
    assert.ok(error instanceof Error);
    return true;
  }
}
