import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { MAX_DOMAINS } from '../../../codecs/dns/domains.ts';
import {
  choice,
  domainList,
  hostName,
  MAX_TTL_SECONDS,
  secretHex,
  ttl,
  wholeNumber,
} from '../../../server/options/checks.ts';

type Check = { safeParse(text: string): { success: boolean; data?: unknown } };

function accepts(check: Check, text: string, expected: unknown): void {
  const result = check.safeParse(text);
  assert.deepEqual(result.success ? result.data : 'refused', expected, JSON.stringify(text));
}

function refuses(check: Check, ...texts: string[]): void {
  for (const text of texts) accepts(check, text, 'refused');
}

describe('checks', () => {
  test('whole numbers', () => {
    const check = wholeNumber(1, 10_000_000, 'a number');
    accepts(check, '1', 1);
    accepts(check, '10000000', 10_000_000);
    refuses(check, '', '0', '10000001', '-1', '1.5', '1e3', '0x10', ' 1', '1 ', '1,2', 'Infinity');
    refuses(check, '9'.repeat(400));
  });

  test('TTLs: seconds, or for ever in either way', () => {
    accepts(ttl(), '30', 30);
    accepts(ttl(), '0', 0);
    accepts(ttl(), 'infinity', 0);
    accepts(ttl(), 'Infinity', 0);
    accepts(ttl(), `${MAX_TTL_SECONDS}`, MAX_TTL_SECONDS);
    refuses(ttl(), '', '-1', '1.5', '30s', 'never', `${MAX_TTL_SECONDS + 1}`);
  });

  test('choices', () => {
    accepts(choice(['auto', 'batch']), 'batch', 'batch');
    refuses(choice(['auto', 'batch']), '', 'Batch', 'constructor');
  });

  test('secrets: 32 to 64 bytes of hex', () => {
    accepts(secretHex(), 'ab'.repeat(32), new Uint8Array(32).fill(0xab));
    accepts(secretHex(), 'CD'.repeat(64), new Uint8Array(64).fill(0xcd));
    refuses(secretHex(), '', 'ab'.repeat(31), 'ab'.repeat(65), `${'ab'.repeat(32)}c`);
    refuses(secretHex(), `${'ab'.repeat(31)}zz`, `0x${'ab'.repeat(32)}`);
  });

  test('domains: any depth, lower case, no trailing dot, each once', () => {
    accepts(domainList(), 'dns-discovery.local', ['dns-discovery.local']);
    accepts(domainList(), 'A.b.C.example.', ['a.b.c.example']);
    accepts(domainList(), 'local', ['local']);
    accepts(domainList(), 'a.b, c.d,a.B', ['a.b', 'c.d']);
    accepts(domainList(), '_svc.xn--bcher-kva.example', ['_svc.xn--bcher-kva.example']);
    refuses(domainList(), '', '.', 'a..b', '.a', 'a.b,', 'a b', '-a.b', 'a-.b', 'b\u00fccher.de');
    refuses(domainList(), 'a/b', 'a\u0000b', '*.a', `${'x'.repeat(64)}.local`);
    accepts(domainList(), `${'x'.repeat(63)}.local`, [`${'x'.repeat(63)}.local`]);
  });

  test('domains: room is left for a label of 64 bytes', () => {
    const fits = `${'x'.repeat(62)}.${'y'.repeat(62)}.${'z'.repeat(62)}`;
    assert.equal(1 + 64 + fits.length + 2, 255);
    accepts(domainList(), fits, [fits]);
    refuses(domainList(), `${fits}z`);
  });

  test('domains: what the codec refuses is said in its words', () => {
    const reason = (text: string): string =>
      domainList().safeParse(text).error?.issues[0]?.message ?? 'accepted';
    assert.match(reason('a..b'), /"a\.\.b" has a label of 0 bytes: expected 1 to 63/);
    assert.match(reason(`${'x'.repeat(64)}.b`), /a label of 64 bytes: expected 1 to 63/);
    assert.match(reason(`${'x.'.repeat(95)}x`), /"x\..*" has 193 bytes: at most 190 leave room/);
    const long = reason('y.'.repeat(5000));
    assert.match(long, /is too long: a name has at most 255 bytes/);
    assert.ok(long.length < 200, 'a long name is cut');
  });

  test('host names', () => {
    accepts(hostName(), 'NS1.Example.com.', 'ns1.example.com');
    accepts(hostName(), 'ns', 'ns');
    refuses(hostName(), '', '.', 'a..b', '192.0.2.1', '::1', 'a b', '-a.b', 'x,y', 'x'.repeat(64));
    refuses(hostName(), `${'x.'.repeat(127)}x`);
  });

  test('domains: not too many', () => {
    const names = Array.from({ length: MAX_DOMAINS + 1 }, (_, index) => `d${index}.local`);
    accepts(domainList(), names.slice(1).join(','), names.slice(1));
    refuses(domainList(), names.join(','));
  });

  test('no text makes a check throw', () => {
    const checks = [ttl(), secretHex(), domainList(), hostName(), wholeNumber(1, 9, 'x')];
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        for (const check of checks) check.safeParse(text);
      }),
    );
  });
});
