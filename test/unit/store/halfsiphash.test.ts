import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HalfSipHash } from '../../../codecs/hash/halfsiphash.ts';
import { SeededRandom } from './fixture.ts';

// Key 00 01 .. 07, message 00 01 .. n-1: output bytes of the authors' reference implementation.
const REFERENCE_2_4 = [
  'a9359f5b',
  '27475ab8',
  'fa62a603',
  '8afee704',
  '2a6e4689',
  'c5fab669',
  '5863fc23',
  '8bcf63c5',
  'd0b8848f',
  'f806e779',
  '94b07934',
  '08083050',
  '57f0872f',
  '77e663ff',
  'd6fff87c',
  '74fe2b97',
];
// The same of the 1-3 variant, as numbers.
const REFERENCE_1_3 = [
  0x5814c896, 0xe7e864ca, 0xbc4b0e30, 0x01539939, 0x7e059ea6, 0x88e3d89b, 0xa0080b65, 0x9d38d9d6,
];
const KEY_0 = 0x03020100;
const KEY_1 = 0x07060504;

const counting = Uint8Array.from({ length: 64 }, (_, i) => i);

test('HalfSipHash-2-4 gives the reference outputs', () => {
  const hash = new HalfSipHash(KEY_0, KEY_1, 2, 4);
  for (const [length, expected] of REFERENCE_2_4.entries()) {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(hash.bytes(counting, 0, length));
    assert.equal(bytes.toString('hex'), expected, `${length} bytes`);
  }
});

test('HalfSipHash-1-3 gives the reference outputs', () => {
  const hash = new HalfSipHash(KEY_0, KEY_1);
  for (const [length, expected] of REFERENCE_1_3.entries()) {
    assert.equal(hash.bytes(counting, 0, length) >>> 0, expected, `${length} bytes`);
  }
});

/** The definition word for word, in BigInt. */
function plain(k0: number, k1: number, message: Uint8Array, c: number, d: number): number {
  const M = 0xffffffffn;
  const v = [BigInt(k0), BigInt(k1), 0x6c796765n ^ BigInt(k0), 0x74656462n ^ BigInt(k1)] as [
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  const rotl = (x: bigint, n: bigint) => ((x << n) | (x >> (32n - n))) & M;
  const rounds = (n: number) => {
    for (let i = 0; i < n; i++) {
      v[0] = (v[0] + v[1]) & M;
      v[1] = rotl(v[1], 5n) ^ v[0];
      v[0] = rotl(v[0], 16n);
      v[2] = (v[2] + v[3]) & M;
      v[3] = rotl(v[3], 8n) ^ v[2];
      v[0] = (v[0] + v[3]) & M;
      v[3] = rotl(v[3], 7n) ^ v[0];
      v[2] = (v[2] + v[1]) & M;
      v[1] = rotl(v[1], 13n) ^ v[2];
      v[2] = rotl(v[2], 16n);
    }
  };
  const padded = Buffer.alloc(Math.floor(message.length / 4) * 4 + 4);
  padded.set(message);
  padded[padded.length - 1] = message.length & 0xff;
  for (let at = 0; at < padded.length; at += 4) {
    const word = BigInt(padded.readUInt32LE(at));
    v[3] ^= word;
    rounds(c);
    v[0] ^= word;
  }
  v[2] ^= 0xffn;
  rounds(d);
  return Number(v[1] ^ v[3]);
}

test('bytes and words agree with the definition for random keys and messages', () => {
  const seed = 7;
  const random = new SeededRandom(seed);
  for (let i = 0; i < 3000; i++) {
    const [k0, k1] = [random.next(), random.next()];
    const start = random.below(8);
    const data = Uint8Array.from({ length: start + random.below(300) }, () => random.below(256));
    const message = data.subarray(start);
    const [c, d] = random.chance(0.5) ? [1, 3] : [2, 4];
    const hash = new HalfSipHash(k0, k1, c, d);
    const expected = plain(k0, k1, message, c, d);
    assert.equal(
      hash.bytes(data, start, data.length) >>> 0,
      expected,
      `seed ${seed}, message ${i}`,
    );
    if (message.length % 4 === 0) {
      const words = new Int32Array(data.slice(start).buffer);
      assert.equal(hash.words(words, words.length), expected | 0, `seed ${seed}, words ${i}`);
    }
  }
});

test('every bit of key and message changes about half of the hash', () => {
  const random = new SeededRandom(3);
  let flipped = 0;
  const cases = 2000;
  for (let i = 0; i < cases; i++) {
    const data = Uint8Array.from({ length: 41 }, () => random.below(256));
    const [k0, k1] = [random.next(), random.next()];
    const before = new HalfSipHash(k0, k1).bytes(data, 0, 41);
    const bit = random.below(41 * 8 + 32);
    if (bit < 41 * 8) data[bit >> 3] ^= 1 << (bit & 7);
    const key = bit < 41 * 8 ? k0 : k0 ^ (1 << (bit - 41 * 8));
    let difference = before ^ new HalfSipHash(key, k1).bytes(data, 0, 41);
    for (; difference !== 0; difference &= difference - 1) flipped++;
  }
  const share = flipped / (cases * 32);
  assert.ok(share > 0.48 && share < 0.52, `${share} of the bits`);
});
