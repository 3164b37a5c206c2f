import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SIPHASH_BYTES, SIPHASH_KEY_BYTES, siphash } from '../../../codecs/mac/siphash.ts';
import { hex } from '../../helpers/dns-bytes.ts';

test('the example of the SipHash paper (Aumasson and Bernstein 2012, appendix A)', () => {
  const out = new Uint8Array(SIPHASH_BYTES);
  const key = Uint8Array.from({ length: SIPHASH_KEY_BYTES }, (_, i) => i);
  siphash(
    out,
    Uint8Array.from({ length: 15 }, (_, i) => i),
    key,
  );
  assert.deepEqual(out, hex('e545be4961ca29a1'));
});
