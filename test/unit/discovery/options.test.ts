import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkName, checkOptions, checkPort, wireName } from '../../../server/discovery/options.ts';
import type { DiscoveryOptions } from '../../../server/discovery/types.ts';

test('defaults are those of the original', () => {
  const config = checkOptions({});
  assert.deepEqual(config.servers, []);
  assert.equal(config.ttlSeconds, Number.POSITIVE_INFINITY);
  assert.equal(config.limit, 10_000);
  assert.equal(config.multicast, true);
  assert.equal(config.domain, 'dns-discovery.local');
  assert.equal(config.loopback, false);
  assert.deepEqual(config.push, { ttlSeconds: 60, limit: 10_000 });
  assert.equal(config.timeoutMs, 7500);
});

test('push follows ttl and limit, as with the original', () => {
  assert.deepEqual(checkOptions({ ttl: 30, limit: 5 }).push, { ttlSeconds: 30, limit: 5 });
  const given = { ttl: 30, limit: 5, push: { ttl: 7, limit: 3 } };
  assert.deepEqual(checkOptions(given).push, { ttlSeconds: 7, limit: 3 });
});

test('servers: one or several, `servers` before `server`', () => {
  const hosts = (options: DiscoveryOptions) =>
    checkOptions(options).servers.map(({ host, port, secondPort }) => [host, port, secondPort]);
  assert.deepEqual(hosts({ server: 'a.example' }), [['a.example', 5300, 53]]);
  assert.deepEqual(hosts({ server: ['a:1', '[::1]:2,3'] }), [
    ['a', 1, 0],
    ['::1', 2, 3],
  ]);
  assert.deepEqual(hosts({ server: 'a:1', servers: 'b:2' }), [['b', 2, 0]]);
});

test('wrong options name what is allowed', () => {
  const wrong: [object, RegExp][] = [
    [{ server: 5 }, /^TypeError: server 5: expected a string/],
    [{ server: 'a:b' }, /^RangeError: Could not parse a:b/],
    [{ server: new Array(65).fill('a') }, /at most 64/],
    [{ ttl: -1 }, /^RangeError: ttl -1: expected seconds/],
    [{ ttl: 'long' }, /ttl "long": expected seconds/],
    [{ limit: 1.5 }, /limit 1\.5: expected a whole number from 1 to 10000000/],
    [{ push: { limit: -1 } }, /push\.limit -1/],
    [{ multicast: {} }, /multicast: expected true, false or an instance/],
    [{ domain: 5 }, /domain 5: expected a name/],
    [{ domain: 'a..b' }, /expected 1 to 63/],
    [{ host: 'eth0' }, /host "eth0": expected an IP address/],
    [{ retries: -1 }, /retries -1/],
    [{ timeout: 700_000 }, /timeout 700000: expected a whole number from 1 to 600000/],
    [{ udpBackend: 'fast' }, /udpBackend "fast": expected auto, batch or dgram/],
    [{ interfaces: [1] }, /interfaces 1: expected a string/],
  ];
  for (const [options, message] of wrong) {
    assert.throws(
      () => checkOptions(options as DiscoveryOptions),
      (error: Error) => {
        assert.match(String(error), message);
        return true;
      },
    );
  }
});

test('names: text, or bytes as hex', () => {
  assert.equal(checkName('app'), 'app');
  assert.equal(checkName(Buffer.from('c0ffee', 'hex')), 'c0ffee');
  assert.equal(checkName(5), '5');
  for (const name of ['', null, undefined, {}]) {
    assert.throws(() => checkName(name), /expected a string of at least one character or a Buffer/);
  }
});

test('wire names: labels of up to 64 bytes, backslashes are themselves', () => {
  const text = (wire: Uint8Array) => Buffer.from(wire).toString('latin1');
  assert.equal(text(wireName('a.b', 'x.y')), '\x01a\x01b\x01x\x01y\0');
  assert.equal(text(wireName('', 'x.y')), '\x01x\x01y\0');
  assert.equal(text(wireName('a\\b', 'x')), '\x03a\\b\x01x\0');
  assert.equal(wireName('f'.repeat(64), 'x')[0], 64);
  assert.throws(() => wireName('f'.repeat(65), 'x'), /expected 1 to 64/);
  assert.throws(() => wireName('a..b', 'x'), /label of 0 bytes/);
  assert.throws(() => wireName('a.'.repeat(126).slice(0, -1), 'x.y'), /at most 255/);
});

test('ports', () => {
  assert.equal(checkPort('port', 65_535, false), 65_535);
  assert.equal(checkPort('port', 0, true), 0);
  assert.equal(checkPort('port', '8080', false), 8080);
  for (const port of [0, -1, 65_536, 1.5, '', 'http', '65536', undefined, Number.NaN]) {
    assert.throws(() => checkPort('port', port, false), /port .*: expected a whole number from 1/);
  }
});
