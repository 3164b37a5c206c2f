import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeBase64 } from '../../../codecs/base64.ts';

test('base64 equals Buffer for every length and content', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(5), (data, offset) => {
      const out = new Uint8Array(offset + Math.ceil(data.length / 3) * 4 + 1).fill(0xee);
      const end = encodeBase64(data, 0, data.length, out, offset);
      const text = Buffer.from(out.subarray(offset, end)).toString('latin1');
      assert.equal(text, Buffer.from(data).toString('base64'));
      assert.equal(end - offset, Math.ceil(data.length / 3) * 4);
      assert.equal(out[end], 0xee, 'wrote past the end');
    }),
  );
});
