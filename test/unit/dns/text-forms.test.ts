import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writeAddress, writeAddressName, writeDecimal } from '../../../codecs/dns/address.ts';
import { fitPeers4, fitPeers6, peers4Bytes, peers6Bytes } from '../../../codecs/dns/txt-strings.ts';
import { isMapped } from '../../../codecs/mapped-address.ts';
import { Rng } from '../../helpers/dns-bytes.ts';
import { mapped } from '../../helpers/dns-messages.ts';

function addressText(address: Uint8Array): string {
  const out = new Uint8Array(64);
  return Buffer.from(out.subarray(0, writeAddress(out, 0, address, 0))).toString();
}

function groups(...values: number[]): Uint8Array {
  return Uint8Array.from(values.flatMap((value) => [value >> 8, value & 255]));
}

test('writeDecimal writes every 16-bit number', () => {
  const out = new Uint8Array(8);
  for (let value = 0; value <= 0xffff; value++) {
    const end = writeDecimal(out, 1, value);
    assert.equal(Buffer.from(out.subarray(1, end)).toString(), `${value}`);
  }
});

test('addresses: RFC 5952 section 4', () => {
  const texts: [Uint8Array, string][] = [
    [groups(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), '2001:db8::1'],
    [groups(0x2001, 0xdb8, 0, 1, 1, 1, 1, 1), '2001:db8:0:1:1:1:1:1'],
    [groups(0x2001, 0, 0, 1, 0, 0, 0, 1), '2001:0:0:1::1'],
    [groups(0x2001, 0xdb8, 0, 0, 1, 0, 0, 1), '2001:db8::1:0:0:1'],
    [groups(0, 0, 0, 0, 0, 0, 0, 0), '::'],
    [groups(0, 0, 0, 0, 0, 0, 0, 1), '::1'],
    [groups(1, 0, 0, 0, 0, 0, 0, 0), '1::'],
    [groups(0xfe80, 0, 0, 0, 0xabcd, 0xef01, 0x10, 0x100), 'fe80::abcd:ef01:10:100'],
    [groups(1, 2, 3, 4, 5, 6, 7, 8), '1:2:3:4:5:6:7:8'],
    [
      groups(0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff),
      `${'ffff:'.repeat(7)}ffff`,
    ],
    [groups(0, 0, 1, 0, 0, 0, 0, 0), '0:0:1::'],
    [mapped('127.0.0.1'), '127.0.0.1'],
    [mapped('255.255.255.255'), '255.255.255.255'],
  ];
  for (const [address, text] of texts) assert.equal(addressText(address), text);
  assert.equal(isMapped(mapped('1.2.3.4'), 0), true);
  assert.equal(isMapped(groups(0, 0, 0, 0, 1, 0xffff, 1, 1), 0), false);
});

test('IPv6 texts name the same address as the URL parser, which follows RFC 5952 too', () => {
  const rng = new Rng(5952);
  for (let round = 0; round < 2000; round++) {
    const address = Uint8Array.from({ length: 16 }, () => (rng.below(3) === 0 ? rng.next() : 0));
    if (isMapped(address, 0)) continue;
    const text = addressText(address);
    assert.equal(new URL(`http://[${text}]`).hostname, `[${text}]`);
  }
});

test('addresses as names', () => {
  const out = new Uint8Array(64);
  const name = (address: Uint8Array, from: number, size: number): string =>
    Buffer.from(out.subarray(0, writeAddressName(out, 0, address, from, size))).toString('latin1');
  assert.equal(name(mapped('127.0.0.1'), 12, 4), '\x03127\x010\x010\x011\x00');
  assert.equal(name(groups(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 0, 16), '\x0b2001:db8::1\x00');
});

test('fitting peers: as many as fit, never one too many', () => {
  for (let count = 0; count < 130; count += 1) {
    for (let room = -20; room < 1200; room += 1) {
      const four = fitPeers4(room, count);
      assert.ok(four === 0 || peers4Bytes(four) <= room);
      assert.ok(four === count || peers4Bytes(four + 1) > room, `${count} in ${room}: ${four}`);
      const six = fitPeers6(room, count);
      assert.ok(six === 0 || peers6Bytes(six) <= room);
      assert.ok(six === count || peers6Bytes(six + 1) > room, `${count} in ${room}: ${six}`);
    }
  }
});
