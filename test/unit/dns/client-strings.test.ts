/** What a client reads out of character-strings: base64 and addresses. */
import assert from 'node:assert/strict';
import { isIPv4, isIPv6 } from 'node:net';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { decodeBase64, isBase64Digits } from '../../../codecs/base64-decode.ts';
import { addressText, canonicalAddress as canonicalOf } from '../../../codecs/dns/address-text.ts';
import { areStrings, stringEnd } from '../../../codecs/dns/peer-strings.ts';
import { FUZZ_SEED, Rng } from '../../helpers/dns-bytes.ts';
import { mapped, stringsOf } from '../../helpers/dns-messages.ts';

function decoded(text: string, room = 1000): string | null {
  const bytes = Buffer.from(`--${text}--`, 'latin1');
  const out = new Uint8Array(room).fill(0xee);
  const count = decodeBase64(bytes, 2, 2 + text.length, out);
  assert.ok(count >= -1 && count <= room);
  return count < 0 ? null : Buffer.from(out.subarray(0, count)).toString('hex');
}

describe('base64', () => {
  test('what was encoded is decoded, whatever its length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (data) => {
        assert.equal(
          decoded(Buffer.from(data).toString('base64')),
          Buffer.from(data).toString('hex'),
        );
      }),
      { seed: FUZZ_SEED },
    );
  });

  test('a text is refused unless it is the only one for its bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'AQgw+/=09z-_ ') }), (text) => {
        const bytes = Buffer.from(text, 'base64');
        const isRight = bytes.toString('base64') === text;
        assert.equal(decoded(text), isRight ? bytes.toString('hex') : null);
      }),
      { seed: FUZZ_SEED, numRuns: 5000 },
    );
    for (const text of [
      'A',
      'AA',
      'AAA',
      'AA=',
      '====',
      '=AAA',
      'AA=A',
      'AB==',
      'AAB=',
      'AA==AAAA',
    ]) {
      assert.equal(decoded(text), null, text);
    }
  });

  test('nothing is written that has no room', () => {
    assert.equal(decoded('AAAA', 3), '000000');
    assert.equal(decoded('AAAA', 2), null);
    assert.equal(decoded('AAA=', 2), '0000');
    assert.equal(decoded('', 0), '');
  });

  test('the alphabet is that of RFC 4648 section 4', () => {
    const digits = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).filter((text) =>
      isBase64Digits(Buffer.from(text, 'latin1'), 0, 1),
    );
    assert.match(digits.join(''), /^[+/0-9A-Za-z]{64}$/);
  });
});

/** Amid digits that are none of its. */
function canonicalAddress(text: string): string | null {
  const bytes = Buffer.from(`1:${text}:1`, 'latin1');
  return canonicalOf(bytes, 2, bytes.length - 2);
}

describe('addresses', () => {
  test('each has one text', () => {
    const texts = [
      ['127.0.0.1', '127.0.0.1'],
      ['0.0.0.0', '0.0.0.0'],
      ['255.255.255.255', '255.255.255.255'],
      ['::', '::'],
      ['::1', '::1'],
      ['1::', '1::'],
      ['2001:DB8::0:1', '2001:db8::1'],
      ['2001:db8:0:0:0:0:0:1', '2001:db8::1'],
      ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
      ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
      ['::ffff:10.0.0.1', '10.0.0.1'],
      ['::ffff:a00:1', '10.0.0.1'],
      ['64:ff9b::10.0.0.1', '64:ff9b::a00:1'],
      ['1:2:3:4:5:6:10.0.0.1', '1:2:3:4:5:6:a00:1'],
    ];
    for (const [text, canonical] of texts) assert.equal(canonicalAddress(text), canonical, text);
  });

  test('others are refused', () => {
    const texts = [
      '',
      '1',
      '1.2.3',
      '1.2.3.4.5',
      '256.1.1.1',
      '01.2.3.4',
      '1.2.3.x',
      '1.2.3.',
      ':',
    ];
    texts.push(':::', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1:2:3:4::5:6:7:8', '12345::', '::g');
    texts.push(
      '1::2::3',
      ':1::',
      '::1:',
      'fe80::1%lo',
      '[::1]',
      '::1.2.3',
      '1.2.3.4::',
      'localhost',
    );
    texts.push('::1.2.3.4:5', '1:2:3:4:5:6:7:1.2.3.4', ' 1.2.3.4', `::${'0'.repeat(44)}`);
    for (const text of texts) assert.equal(canonicalAddress(text), null, text);
  });

  test('an address is one exactly when the system says so', () => {
    const parts = fc.constantFrom('', '0', '1', 'ffff', 'abcde', '1.2.3.4', '1.2.3', 'g', '0db8');
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 10 }), (words) => {
        const text = words.join(':');
        const isRight = isIPv4(text) || isIPv6(text);
        const canonical = canonicalAddress(text);
        assert.equal(canonical !== null, isRight, text);
        if (canonical !== null) assert.equal(canonicalAddress(canonical), canonical);
      }),
      { seed: FUZZ_SEED, numRuns: 5000 },
    );
  });

  test('the text of 16 bytes is read back as the same', () => {
    const rng = new Rng(FUZZ_SEED);
    for (let round = 0; round < 2000; round++) {
      const bytes = Uint8Array.from({ length: 16 }, () => (rng.below(3) === 0 ? rng.next() : 0));
      const text = addressText(bytes, 0);
      assert.equal(canonicalAddress(text), text, `seed ${FUZZ_SEED}`);
    }
    assert.equal(addressText(mapped('10.1.2.3'), 0), '10.1.2.3');
  });
});

describe('character-strings', () => {
  /** As the original writes them, with length bytes modulo 256. */
  function wrapped(...strings: string[]): Uint8Array {
    return Buffer.concat(
      strings.map((text) => Buffer.from([text.length & 255, ...Buffer.from(text)])),
    );
  }

  test('they fill their record exactly, and there is at least one', () => {
    const good = stringsOf('token=x', '', 'peers=AAAA');
    assert.equal(areStrings(good, 0, good.length), true);
    assert.equal(areStrings(good, 0, good.length - 1), false);
    assert.equal(areStrings(good, 0, 0), false);
    assert.equal(areStrings(Uint8Array.of(0), 0, 1), true);
    assert.equal(areStrings(Uint8Array.of(0, 1), 0, 2), false);
  });

  test("the original's overlong strings of 32 to 100 peers are taken for what they are", () => {
    for (let count = 32; count <= 100; count++) {
      const rdata = wrapped('token=abc', `peers=${'CgAAAU4g'.repeat(count)}`);
      assert.equal(areStrings(rdata, 0, rdata.length), true, `${count}`);
      assert.equal(stringEnd(rdata, 10, rdata.length), rdata.length);
    }
  });

  test('but no others are', () => {
    const peers = 'CgAAAU4g'.repeat(40);
    for (const text of [
      `peers6=${peers}`,
      `token=${peers}`,
      `peers=${peers}`.replace('CgA', 'C=A'),
    ]) {
      const rdata = wrapped(text);
      assert.equal(areStrings(rdata, 0, rdata.length), false, text);
    }
    const longer = wrapped(`peers=${'CgAAAU4g'.repeat(101)}`);
    assert.equal(areStrings(longer, 0, longer.length), false);
    const other = wrapped(`peers=${peers}`);
    other[0]++;
    assert.equal(stringEnd(other, 0, other.length), 1 + other[0]);
  });

  test('strings whose lengths could be taken for an overlong one are still themselves', () => {
    const first = `peers=${'CgAAAU4g'.repeat(2)}`;
    for (const next of ['x'.repeat(255), `peers=${'CgAAAU4g'.repeat(31)}A`]) {
      const rdata = stringsOf(first, next);
      assert.equal((rdata.length - 1) & 255, rdata[0]);
      assert.equal(stringEnd(rdata, 0, rdata.length), 1 + first.length);
    }
  });
});
