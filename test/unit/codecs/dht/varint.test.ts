import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import {
  readU16,
  readU32,
  readVarint,
  varintBytes,
  varintSize,
  writeU16,
  writeU32,
  writeVarint,
} from '../../../../codecs/dht/varint.ts';
import { bytesOf, hexOf } from './fixture.ts';

const compact = createRequire(import.meta.url)('compact-encoding');

/** Numbers on both sides of every border between lengths. */
const BORDERS: readonly (readonly [value: number, bytes: string])[] = [
  [0, '00'],
  [1, '01'],
  [0xfc, 'fc'],
  [0xfd, 'fdfd00'],
  [0xff, 'fdff00'],
  [0x100, 'fd0001'],
  [0xffff, 'fdffff'],
  [0x1_0000, 'fe00000100'],
  [0x7fff_ffff, 'feffffff7f'],
  [0x8000_0000, 'fe00000080'],
  [0xffff_ffff, 'feffffffff'],
  [0x1_0000_0000, 'ff0000000001000000'],
  [1_700_000_000_000, 'ff0068e5cf8b010000'],
  [Number.MAX_SAFE_INTEGER, 'ffffffffffffff1f00'],
];

describe('uints of the DHT', () => {
  for (const [value, text] of BORDERS) {
    test(`${value} is written as ${text} and read again, as compact-encoding does`, () => {
      const bytes = new Uint8Array(12).fill(0xaa);
      const end = writeVarint(bytes, 1, value);
      assert.equal(hexOf(bytes.subarray(1, end)), text);
      assert.equal(bytes[end], 0xaa, 'nothing is written behind it');
      assert.equal(varintBytes(value), end - 1);
      assert.equal(varintSize(bytes[1]), end - 1);
      assert.equal(readVarint(bytes, 1, end), value);
      assert.equal(hexOf(compact.encode(compact.uint, value)), text);
    });
  }

  test('what ends before the number does is unreadable', () => {
    for (const [, text] of BORDERS) {
      const bytes = bytesOf(`${text}000000`);
      for (let end = 0; end < text.length / 2; end++) assert.equal(readVarint(bytes, 0, end), -1);
    }
  });

  test('numbers above 2^53 - 1 are unreadable', () => {
    for (const text of ['ff0000000000002000', 'ffffffffffffffffff', 'ff00000000000000ff']) {
      assert.equal(readVarint(bytesOf(text), 0, 9), -1, text);
    }
  });

  test('a number may be longer than it needs to be', () => {
    for (const text of ['fd0500', 'fe05000000', 'ff0500000000000000']) {
      assert.equal(readVarint(bytesOf(text), 0, 9), 5, text);
    }
  });

  test('fixed numbers are little-endian and unsigned', () => {
    const bytes = new Uint8Array(8);
    assert.equal(writeU16(bytes, 1, 0x1_f203), 3);
    assert.equal(writeU32(bytes, 3, 0xfedc_ba98), 7);
    assert.equal(hexOf(bytes), '0003f298badcfe00');
    assert.equal(readU16(bytes, 1), 0xf203);
    assert.equal(readU32(bytes, 3), 0xfedc_ba98);
  });
});
