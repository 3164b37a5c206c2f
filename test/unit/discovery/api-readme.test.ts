/**
 * The examples of npm dns-discovery's README as they stand there, but for where the module is and
 * the port: CommonJS, `var`, callbacks, no `new`.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { installPackage } from '../../helpers/built-package.ts';
import { NetNamespace, noNamespace } from '../../helpers/net-namespace.ts';

const TEST_TIMEOUT_MS = 60_000;

const LISTEN = (path: string, port: number) => `
var discovery = require('${path}')
var server = discovery({multicast: false})
server.listen(${port}, function () {
  var disc = discovery({server: 'localhost:${port}', multicast: false})
  disc.announce('test-app', 8080) // will announce this record to the above discovery server
  disc.on('announced', function () {
    var disc1 = discovery({server: ['localhost:${port}'], multicast: false})
    disc1.on('peer', function (name, peer) {
      console.log(name, peer)
      disc1.destroy()
      disc.destroy(function () { server.destroy() })
    })
    disc1.lookup('test-app')
  })
})`;

async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, '0.0.0.0');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return port;
}

test('var discovery = require(...): listen, announce, lookup, destroy, and the process ends', {
  timeout: TEST_TIMEOUT_MS,
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'waypost-test-'));
  t.after(() => rmSync(folder, { recursive: true }));
  installPackage(folder);
  const script = LISTEN('waypost/discovery', await freePort());
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], {
    cwd: folder,
    timeout: TEST_TIMEOUT_MS,
  });
  assert.equal(stdout, "test-app { port: 8080, host: '127.0.0.1' }\n");
});

const DEFAULT_PORTS = `
import discovery from './server/discovery/discovery.ts';
const server = discovery({ multicast: false });
const opened = await server.listen();
console.log(JSON.stringify([...new Set(opened.map(({ port }) => port))]));
const disc = discovery({ server: 'localhost', multicast: false });
await disc.announce('app', 8080);
console.log(JSON.stringify(await disc.lookup('app')));
await disc.destroy();
await server.destroy();`;

test('the port defaults to 53, and 5300 is opened as well; a server without a port is found', {
  skip: noNamespace,
  timeout: TEST_TIMEOUT_MS,
}, async (t) => {
  const namespace = await NetNamespace.open(t, {});
  const [command, ...args] = [...namespace.wrapper, process.execPath, '--import', 'tsx'];
  const run = [...args, '--input-type=module', '-e', DEFAULT_PORTS];
  const { stdout } = await promisify(execFile)(command, run, { timeout: TEST_TIMEOUT_MS });
  assert.equal(stdout, '[53,5300]\n[{"port":8080,"host":"127.0.0.1"}]\n');
});
