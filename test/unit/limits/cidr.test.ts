import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CidrList, MAX_CIDRS } from '../../../server/limits/cidr.ts';
import { writeAddress } from '../../../server/net/ip-address.ts';

function holds(list: CidrList, address: string): boolean {
  const bytes = new Uint8Array(40);
  writeAddress(address, bytes, 17);
  return list.contains(bytes, 17);
}

const HELD: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['', [], ['0.0.0.0', '::']],
  ['192.0.2.0/24', ['192.0.2.0', '192.0.2.255'], ['192.0.3.0', '192.0.1.255', '::c000:200']],
  ['127.0.0.1', ['127.0.0.1'], ['127.0.0.2', '::1']],
  ['10.0.0.0/9', ['10.127.255.255'], ['10.128.0.0']],
  ['0.0.0.0/0', ['1.2.3.4'], ['::1', '2001:db8::1', '::102:304']],
  ['::/0', ['::1', 'ffff::', '::102:304'], ['1.2.3.4', '0.0.0.0']],
  ['2001:db8::/32', ['2001:db8:ffff::1'], ['2001:db9::', '32.1.13.184']],
  ['2001:db8::8000/113', ['2001:db8::8001'], ['2001:db8::7fff']],
  ['::1', ['::1'], ['::2', '127.0.0.1']],
  [' 192.0.2.0/24 , ::1/128', ['192.0.2.9', '::1'], ['192.0.3.9']],
];

for (const [text, inside, outside] of HELD) {
  test(`${JSON.stringify(text)} holds what it says`, () => {
    const list = CidrList.parse(text);
    for (const address of inside) assert.ok(holds(list, address), address);
    for (const address of outside) assert.ok(!holds(list, address), address);
  });
}

const WRONG: readonly (readonly [string, RegExp])[] = [
  ['192.0.2.0/33', /"192\.0\.2\.0\/33": the prefix length of IPv4 is 0 to 32/],
  ['2001:db8::/129', /"2001:db8::\/129": the prefix length of IPv6 is 0 to 128/],
  ['192.0.2.0/', /prefix length of IPv4 is 0 to 32/],
  ['192.0.2.0/-1', /prefix length/],
  ['192.0.2.0/24/1', /prefix length/],
  ['127.0.0.1,,::1', /"": "" is not an IP address: expected .*192\.0\.2\.0\/24/],
  ['example.com', /"example.com" is not an IP address/],
  ['192.0.2/24', /"192\.0\.2" is not an IP address/],
  [
    '192.0.2.1/24',
    /"192\.0\.2\.1\/24" has bits set behind its \/24: did you mean 192\.0\.2\.0\/24/,
  ],
  ['2001:db8::1/32', /did you mean 2001:db8::\/32\?/],
  ['fe80::1%eth0', /no scope/],
  ['::ffff:192.0.2.0/120', /write an IPv4 address in its own form \(192\.0\.2\.0\)/],
  [
    Array(MAX_CIDRS + 1)
      .fill('::1')
      .join(','),
    /65 networks: expected at most 64/,
  ],
];

for (const [text, message] of WRONG) {
  test(`${JSON.stringify(text.slice(0, 40))} is refused and named`, () => {
    assert.throws(() => CidrList.parse(text), { name: 'TypeError', message });
  });
}

test('as many as allowed are taken', () => {
  const list = CidrList.parse(
    Array.from({ length: MAX_CIDRS }, (_, i) => `10.${i}.0.0/16`).join(','),
  );
  assert.equal(list.count, MAX_CIDRS);
  assert.ok(holds(list, '10.63.1.1'));
  assert.ok(!holds(list, '10.64.1.1'));
});
