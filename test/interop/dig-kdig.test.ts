/** BIND's dig and Knot's kdig as clients: what a person types to look at the server. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { testServer } from '../helpers/appliance.ts';
import { UdpAsker } from '../helpers/udp-asker.ts';

const run = promisify(execFile);
const TOOLS = [
  { tool: 'dig', from: 'bind9-dnsutils' },
  { tool: 'kdig', from: 'knot-dnsutils' },
];

for (const { tool, from } of TOOLS) {
  const missing = spawnSync(tool, ['-v']).error !== undefined;
  const skip = missing ? `${tool} is not installed: apt-get install ${from}` : false;

  test(`${tool} reads A, AAAA, SRV, TXT, SOA and NS`, { skip, timeout: 30_000 }, async (t) => {
    const server = await testServer(t, { ttlSeconds: 30 });
    const asker = await UdpAsker.open(t, server.port);
    await asker.announceAll('app', [8080]);
    const ask = async (name: string, type: string, ...flags: string[]): Promise<string> => {
      const args = ['@127.0.0.1', '-p', `${server.port}`, name, type, '+short', ...flags];
      return (await run(tool, args)).stdout.trim();
    };
    const app = 'app.dns-discovery.local';
    assert.equal(await ask(app, 'A'), '127.0.0.1');
    assert.equal(await ask(app, 'A', '+noedns'), '127.0.0.1');
    assert.equal(await ask(app, 'AAAA'), '');
    assert.equal(await ask(app, 'SRV'), '0 0 8080 127.0.0.1.');
    assert.equal(
      await ask('app', 'SRV'),
      '0 0 8080 127.0.0.1.',
      'as the README of the original has it',
    );
    assert.match(await ask(app, 'TXT'), /^"token=.{44}" "peers=fwAAAR\+Q"$/);
    assert.match(await ask('dns-discovery.local', 'SOA'), /^ns\.dns-discovery\.local\. hostmaster/);
    assert.equal(await ask('dns-discovery.local', 'NS'), 'ns.dns-discovery.local.');
  });

  test(`${tool} sees status, flags and EDNS`, { skip, timeout: 30_000 }, async (t) => {
    const server = await testServer(t);
    const ask = async (...args: string[]): Promise<string> =>
      (await run(tool, ['@127.0.0.1', '-p', `${server.port}`, ...args])).stdout;
    assert.match(await ask('x.example.com', 'A'), /status: REFUSED/);
    const empty = await ask('x.dns-discovery.local', 'MX');
    assert.match(empty, /status: NOERROR/);
    assert.match(empty, /flags: qr aa/i);
    assert.match(empty, /SOA\s+ns\.dns-discovery\.local/);
    assert.match(await ask('x.dns-discovery.local', 'TXT', '+edns=0'), /1232/);
  });

  test(`${tool} reads IPv6 peers over IPv6`, { skip, timeout: 30_000 }, async (t) => {
    const server = await testServer(t, {}, '::1');
    const asker = await UdpAsker.open(t, server.port, { host: '::1', from: '::1' });
    await asker.announceAll('app', [8080]);
    const ask = async (type: string): Promise<string> => {
      const name = 'app.dns-discovery.local';
      return (
        await run(tool, ['@::1', '-p', `${server.port}`, name, type, '+short'])
      ).stdout.trim();
    };
    assert.equal(await ask('AAAA'), '::1');
    assert.equal(await ask('A'), '');
    assert.equal((await ask('SRV')).replaceAll('\\', ''), '0 0 8080 ::1.');
  });
}
