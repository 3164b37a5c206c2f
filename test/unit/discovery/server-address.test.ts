/** The forms in which a server is given. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseServer } from '../../../server/discovery/wire/server-address.ts';

describe('parseServer', () => {
  test('understands every form', () => {
    const forms: readonly (readonly [string, string, number, number])[] = [
      ['discovery.example', 'discovery.example', 5300, 53],
      ['localhost', 'localhost', 5300, 53],
      ['127.0.0.1', '127.0.0.1', 5300, 53],
      ['localhost:1', 'localhost', 1, 0],
      ['192.0.2.1:65535', '192.0.2.1', 65_535, 0],
      ['example.com:53,5300', 'example.com', 53, 5300],
      ['[::1]', '::1', 5300, 53],
      ['[2001:db8::1]:5300', '2001:db8::1', 5300, 0],
      ['[fe80::1%eth0]:53,5300', 'fe80::1%eth0', 53, 5300],
      ['::1', '::1', 5300, 53],
      ['2001:db8::1:5300', '2001:db8::1:5300', 5300, 53],
      ['fe80::1%eth0', 'fe80::1%eth0', 5300, 53],
      ['bücher.example:00053', 'bücher.example', 53, 0],
    ];
    for (const [text, host, port, secondPort] of forms) {
      assert.deepEqual(parseServer(text), { host, port, secondPort }, text);
    }
  });

  test('refuses what is none, begins as the original does, and says what is allowed', () => {
    const refusals: readonly (readonly [string, RegExp])[] = [
      ['', /^Could not parse "": the host is empty; expected HOST, HOST:PORT or/],
      [':5300', /^Could not parse :5300: the host is empty/],
      ['my host', /^Could not parse "my host": the host has spaces or control characters/],
      ['host\n', /^Could not parse "host\\n": the host has spaces/],
      ['\u0000', /^Could not parse "\\u0000": the host has spaces or control/],
      ['host\u00a0', /the host has spaces/],
      ['host:', /^Could not parse host:: the port "" is no number from 1 to 65535/],
      ['host:0', /the port "0" is no number from 1 to 65535/],
      ['host:65536', /the port "65536" is no/],
      ['host:dns', /^Could not parse host:dns: the port "dns"/],
      ['host: 53', /the port " 53" is no/],
      ['host:5300,', /the port "" is no/],
      ['host:5300,x', /the port "x" is no/],
      ['host:5300,53,54', /expected at most two ports/],
      ['host,53', /^Could not parse host,53: expected HOST/],
      ['host:53:54', /the port "53:54" is no/],
      ['2001:db8::1::2', /the port "db8::1::2" is no/],
      ['[::1', /expected HOST, HOST:PORT.*an IPv6 address before a port in brackets/],
      ['::1]', /expected HOST|the host is empty/],
      ['[127.0.0.1]:53', /"127\.0\.0\.1" is no IPv6 address/],
      ['[]:53', /"" is no IPv6 address/],
      ['[::1]53', /expected HOST/],
      ['http://host', /the port "\/\/host" is no/],
    ];
    for (const [text, reason] of refusals) {
      assert.throws(
        () => parseServer(text),
        (error: Error) => {
          assert.ok(error instanceof RangeError);
          assert.match(error.message, reason, JSON.stringify(text));
          assert.match(error.message, /^Could not parse /);
          return true;
        },
        text,
      );
    }
  });

  test('refuses what is no text with a TypeError', () => {
    for (const value of [undefined, null, 53, {}]) {
      assert.throws(() => parseServer(value as never), {
        name: 'TypeError',
        message: /^Could not parse .*: a server is text, expected HOST/,
      });
    }
  });
});
