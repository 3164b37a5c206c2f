import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AddressSet } from '../../../workers/address-set.ts';
import { Rng } from '../../../workers/rng.ts';

test('a thousand addresses of either length, each taken once per round', () => {
  const set = new AddressSet(new Rng(1));
  for (const length of [4, 16]) {
    const bytes = new Uint8Array(1000 * 18);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < 1000; i++) view.setUint32(i * 18 + length - 4, Math.floor(i / 2));
    for (let round = 0; round < 3; round++) {
      set.clear();
      for (let i = 0; i < 1000; i++) assert.equal(set.add(bytes, i * 18, length), i % 2 === 0);
    }
  }
});
