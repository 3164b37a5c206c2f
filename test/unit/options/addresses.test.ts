import assert from 'node:assert/strict';
import { isIPv6 } from 'node:net';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  bindAddress,
  formatEndpoint,
  listenAddresses,
  portList,
} from '../../../server/options/addresses.ts';

function parse(text: string): unknown {
  const result = listenAddresses().safeParse(text);
  return result.success ? result.data : result.error.issues[0]?.message;
}

const everywhere = (port: number) => [
  { address: '0.0.0.0', port },
  { address: '::', port, ifIpv6: true },
];

describe('listen addresses', () => {
  test('what is understood', () => {
    assert.deepEqual(parse('127.0.0.1:53'), [{ address: '127.0.0.1', port: 53 }]);
    assert.deepEqual(parse('[::1]:5300'), [{ address: '::1', port: 5300 }]);
    assert.deepEqual(parse('[fe80::1%eth0]:53'), [{ address: 'fe80::1%eth0', port: 53 }]);
    assert.deepEqual(parse('5300'), everywhere(5300));
    assert.deepEqual(parse(':5300'), everywhere(5300));
    assert.deepEqual(parse('127.0.0.1:0, 127.0.0.1:0'), [
      { address: '127.0.0.1', port: 0 },
      { address: '127.0.0.1', port: 0 },
    ]);
    assert.deepEqual(parse(':53,:5300'), [...everywhere(53), ...everywhere(5300)]);
    assert.equal(parse('off'), 'off');
  });

  test('what is not, and why', () => {
    const refusals: readonly (readonly [string, RegExp])[] = [
      ['', /port is a number/],
      ['127.0.0.1', /has no port/],
      ['::1', /has no port/],
      ['::1:53', /has no port/],
      ['127.0.0.1:', /port is a number, 0 to 65535/],
      ['127.0.0.1:65536', /port is a number/],
      ['127.0.0.1:-1', /port is a number/],
      ['127.0.0.1:5e3', /port is a number/],
      ['localhost:53', /names are not resolved/],
      ['[127.0.0.1]:53', /not an IP address/],
      ['[]:53', /not an IP address/],
      ['256.0.0.1:53', /not an IP address/],
      ['[::1:53', /expected ADDR:PORT/],
      ['127.0.0.1:53,', /port is a number/],
      ['127.0.0.1:53,off', /port is a number/],
      ['127.0.0.1:53,127.0.0.1:53', /127\.0\.0\.1:53 is named twice/],
      [':53,0.0.0.0:53', /0\.0\.0\.0:53 is named twice/],
      [Array.from({ length: 65 }, (_, index) => `127.0.0.1:${index + 1}`).join(), /at most 64/],
    ];
    for (const [text, reason] of refusals) assert.match(String(parse(text)), reason, text);
  });

  test('ports and the address of listen', () => {
    assert.deepEqual(portList().parse('53, 5300'), [53, 5300]);
    for (const text of ['', '53,', ':53', '70000', '53,53']) {
      assert.equal(portList().safeParse(text).success, false, text);
    }
    assert.equal(bindAddress().parse('[::1]'), '::1');
    assert.equal(bindAddress().parse('192.0.2.1'), '192.0.2.1');
    assert.equal(bindAddress().safeParse('localhost').success, false);
  });

  test('an address that is written can be read again', () => {
    const address = fc.oneof(fc.ipV4(), fc.ipV6().filter(isIPv6));
    fc.assert(
      fc.property(address, fc.nat(65_535), (host, port) => {
        assert.deepEqual(parse(formatEndpoint({ address: host, port })), [{ address: host, port }]);
      }),
    );
  });

  test('no text makes it throw', () => {
    const text = fc.string({ unit: fc.constantFrom(...'0123456789abcf.:[],%of ') });
    fc.assert(fc.property(text, (given) => void parse(given)));
  });
});
