import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isMapped } from '../../../codecs/mapped-address.ts';
import {
  formatAddress,
  isZeroAddress,
  scopeIndex,
  scopeName,
  writeAddress,
} from '../../../server/net/ip-address.ts';

function hex(text: string): string {
  const bytes = new Uint8Array(16).fill(0xee);
  writeAddress(text, bytes, 0);
  return Buffer.from(bytes).toString('hex');
}

function rewrite(text: string): string {
  const bytes = new Uint8Array(24).fill(0xee);
  writeAddress(text, bytes, 5);
  assert.equal(bytes[4], 0xee);
  assert.equal(bytes[21], 0xee);
  return formatAddress(bytes, 5);
}

describe('addresses', () => {
  const bytes: [string, string][] = [
    ['0.0.0.0', '00000000000000000000ffff00000000'],
    ['1.2.3.4', '00000000000000000000ffff01020304'],
    ['255.255.255.255', '00000000000000000000ffffffffffff'],
    ['::ffff:1.2.3.4', '00000000000000000000ffff01020304'],
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['2001:db8::', '20010db8000000000000000000000000'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
    ['1:2:3:4:5:6:1.2.3.4', '00010002000300040005000601020304'],
    ['64:ff9b::192.0.2.33', '0064ff9b0000000000000000c0000221'],
    ['fe80::1%eth0', 'fe800000000000000000000000000001'],
  ];
  for (const [text, expected] of bytes) {
    test(`${text} is ${expected}`, () => assert.equal(hex(text), expected));
  }

  // RFC 5952, sections 4 and 5.
  const forms: [string, string][] = [
    ['2001:0db8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:DB8::A', '2001:db8::a'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['0:1:0:1:0:1:0:1', '0:1:0:1:0:1:0:1'],
    ['::ffff:102:304', '1.2.3.4'],
    ['1.2.3.4', '1.2.3.4'],
  ];
  for (const [text, expected] of forms) {
    test(`${text} is written ${expected}`, () => assert.equal(rewrite(text), expected));
  }

  test('the family is that of the bytes', () => {
    const room = new Uint8Array(16);
    assert.equal(writeAddress('1.2.3.4', room, 0), 4);
    assert.ok(isMapped(room, 0));
    assert.equal(writeAddress('::ffff:1.2.3.4', room, 0), 4);
    assert.equal(writeAddress('::fffe:1.2.3.4', room, 0), 6);
    assert.ok(!isMapped(room, 0));
    assert.ok(!isZeroAddress(room, 0));
    writeAddress('::', room, 0);
    assert.ok(isZeroAddress(room, 0));
  });

  const wrong = ['', '1.2.3', '1.2.3.256', '01.2.3.4', 'localhost', '::1::', '1:2', ' ::1', '::g'];
  for (const text of wrong) {
    test(`'${text}' is no address`, () => {
      const message = `'${text}' is not an IP address: expected IPv4 (192.0.2.1) or IPv6 (::1)`;
      assert.throws(() => writeAddress(text, new Uint8Array(16), 0), {
        name: 'TypeError',
        message,
      });
    });
  }

  test('text and bytes come back the same', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (address) => {
        const text = formatAddress(address, 0);
        assert.equal(isIP(text), isMapped(address, 0) ? 4 : 6);
        assert.equal(hex(text), Buffer.from(address).toString('hex'));
      }),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        assert.equal(hex(rewrite(text)), hex(text));
      }),
      { numRuns: 500 },
    );
  });
});

describe('scopes', () => {
  test('a scope is a number or the name of an interface', () => {
    assert.equal(scopeIndex('::1'), 0);
    assert.equal(scopeIndex('fe80::1%7'), 7);
    assert.throws(() => scopeIndex('fe80::1%nowhere0'), /no interface 'nowhere0'.*there are: /);
    assert.throws(() => scopeIndex('fe80::1%0'), /no interface '0'/);
    assert.equal(scopeName(4_000_000), '4000000');
  });

  test('names and indices lead to each other', () => {
    for (const [name, addresses] of Object.entries(networkInterfaces())) {
      for (const address of addresses ?? []) {
        if (address.family !== 'IPv6' || address.scopeid === 0) continue;
        assert.equal(scopeIndex(`fe80::1%${name}`), address.scopeid);
        assert.equal(scopeName(address.scopeid), name);
      }
    }
  });
});
