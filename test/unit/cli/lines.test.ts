import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { version } from '../../../index.ts';
import { listenLines } from '../../../server/cli/listen.ts';
import { startLines } from '../../../server/cli/serve.ts';
import { serveConfig } from '../../../server/options/serve.ts';

const socket = (address: string, port: number, transport: 'udp' | 'tcp' = 'udp') => ({
  address,
  port,
  transport,
  backend: 'batch',
  receiveBufferBytes: 425_984,
});

const started = (...listening: ReturnType<typeof socket>[]) => ({ listening, dht: null });

describe('what a started server prints', () => {
  test('serve: a line per socket, what it keeps, how to try it', () => {
    const config = serveConfig({ domain: 'a.b,c.d', ttl: '0', workers: '2' }, {}, () => {});
    assert.deepEqual(
      startLines(config, started(socket('0.0.0.0', 53), socket('::', 5300, 'tcp'))),
      [
        `waypost ${version}`,
        'dns 0.0.0.0:53 udp batch (receive buffer 425984 bytes)',
        'dns [::]:5300 tcp',
        'domains a.b, c.d; records are kept for ever, at most 100000',
        'worker threads 2; replies to unproven sources: 200 a second and prefix',
        'try it: dig @127.0.0.1 my-app.a.b SRV',
      ],
    );
    const other = startLines(
      serveConfig({}, {}, () => {}),
      started(socket('::', 5300)),
    );
    assert.equal(other.at(-1), 'try it: dig @::1 -p 5300 my-app.dns-discovery.local SRV');
  });

  test('listen: the line of the original, once per port', () => {
    const sockets = [socket('0.0.0.0', 53), socket('::', 53), socket('::', 5300)];
    assert.deepEqual(listenLines(sockets), [
      'Server is listening on port 53',
      'Server is listening on port 5300',
    ]);
  });

  test('the version is that of the package', () => {
    const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
    assert.equal(version, (JSON.parse(text) as { version: string }).version);
  });
});
