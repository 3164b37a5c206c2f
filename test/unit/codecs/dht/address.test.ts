import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import {
  encodeAddress,
  hostToU32,
  isPrivateIpv4,
  isReservedIpv4,
  readAddress,
  readHost,
  readPort,
  u32ToHost,
  writeAddress,
  writeHostPort,
  writeNodeAddress,
} from '../../../../codecs/dht/address.ts';
import { nodeId } from '../../../../codecs/dht/node-id.ts';
import { Rng } from '../../../helpers/dns-bytes.ts';
import { hexOf } from './fixture.ts';

const require = createRequire(import.meta.url);
const bogon = require('bogon') as {
  isPrivate(host: string): boolean;
  isReserved(host: string): boolean;
};

describe('addresses of the DHT', () => {
  test('six bytes: the address first byte first, the port low byte first', () => {
    const bytes = encodeAddress({ host: '127.0.0.1', port: 42_700 });
    assert.equal(hexOf(bytes), '7f000001cca6');
    assert.deepEqual(readAddress(bytes, 0), { host: '127.0.0.1', port: 42_700 });
    assert.equal(readHost(bytes, 0), 0x7f00_0001);
    assert.equal(readPort(bytes, 0), 42_700);
  });

  test('all ways to write an address write the same', () => {
    const expected = hexOf(encodeAddress({ host: '254.3.2.1', port: 65_535 }));
    const slot = new Uint8Array(20);
    slot.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 254, 3, 2, 1], 4);
    const bytes = new Uint8Array(24);
    assert.equal(writeAddress(bytes, 1, slot, 4, 65_535), 7);
    assert.equal(writeHostPort(bytes, 7, 0xfe03_0201, 65_535), 13);
    assert.equal(writeNodeAddress(bytes, 13, { host: '254.3.2.1', port: 65_535 }), 19);
    assert.equal(hexOf(bytes), `00${expected}${expected}${expected}0000000000`);
  });

  test('hosts and numbers are one to one', () => {
    for (const host of ['0.0.0.0', '1.2.3.4', '128.0.0.1', '255.255.255.255', '10.20.30.200']) {
      assert.equal(u32ToHost(hostToU32(host)), host);
    }
    assert.equal(hostToU32('255.255.255.255'), 0xffff_ffff);
  });

  test('what is no dotted IPv4 address has no number and no bytes', () => {
    const wrong = ['', '1.2.3', '1.2.3.4.', '.1.2.3.4', '1.2.3.256', '1.2.3.04', '1.2.3.4.5'];
    wrong.push('1..2.3', ' 1.2.3.4', '1.2.3.4 ', '1.2.3.1000', '::1', 'a.b.c.d', '1.2.3.-4');
    for (const host of wrong) {
      assert.equal(hostToU32(host), -1, host);
      assert.throws(() => encodeAddress({ host, port: 1 }), /expected IPv4/, host);
    }
  });

  test('private and reserved networks are those the original tells apart', () => {
    const seed = 77;
    const rng = new Rng(seed);
    const edges = ['9.255.255.255', '10.0.0.0', '100.63.0.1', '100.64.0.0', '100.127.255.255'];
    edges.push('100.128.0.0', '172.15.0.1', '172.16.0.0', '172.31.9.9', '172.32.0.0');
    edges.push('169.254.1.1', '192.0.0.1', '192.0.1.1', '192.0.2.1', '192.0.3.1', '198.17.1.1');
    edges.push('198.18.0.0', '198.19.255.255', '198.20.0.0', '198.51.100.1', '198.51.101.1');
    edges.push('203.0.113.9', '203.0.112.9', '223.255.255.255', '224.0.0.0', '255.255.255.255');
    edges.push('0.0.0.0', '0.255.1.1', '1.0.0.0', '127.0.0.1', '128.0.0.1', '192.168.1.1');
    for (let i = 0; i < 2000; i++) {
      edges.push(u32ToHost(rng.next()));
      edges.push(u32ToHost(((192 + rng.below(12)) << 24) | (rng.next() & 0xff_ffff)));
    }
    for (const host of edges) {
      const value = hostToU32(host);
      assert.equal(isPrivateIpv4(value), bogon.isPrivate(host), `${host}, seed ${seed}`);
      assert.equal(isReservedIpv4(value), bogon.isReserved(host), `${host}, seed ${seed}`);
    }
  });

  test('an id is the hash of the six bytes, as the original makes it', () => {
    // Recorded: the node at 127.0.0.1:49738 and what it called itself.
    const recorded = 'ea50f55683100864aa622153cff29c6f99eea9e753f8e211d6b01e0a8af2ac6c';
    assert.equal(hexOf(nodeId('127.0.0.1', 49_738)), recorded);
    const { id } = require('dht-rpc/lib/peer.js');
    assert.equal(hexOf(id('9.8.7.6', 54_321)), hexOf(nodeId('9.8.7.6', 54_321)));
  });
});
