/** What programs do in their callbacks and listeners, and to the sockets they lend. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import discovery, { Discovery } from '../../../server/discovery/discovery.ts';
import { callUser } from '../../../server/discovery/user-code.ts';

const TEST_TIMEOUT_MS = 30_000;
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** Runs a script; its exit code and what it printed. */
async function run(script: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const args = ['--import', 'tsx', '--input-type=module', '-e', script];
  try {
    const done = await promisify(execFile)(process.execPath, args, { cwd: ROOT });
    return { code: 0, ...done };
  } catch (error) {
    return error as { code: number; stdout: string; stderr: string };
  }
}

test('what a callback throws is thrown, after the others were called', async () => {
  const calls: string[] = [];
  const thrown = once(process, 'uncaughtException');
  // The test runner has a listener of its own, which would fail this test.
  const others = process.listeners('uncaughtException').slice(0, -1);
  for (const other of others) process.off('uncaughtException', other);
  try {
    callUser(() => {
      throw new Error('thrown by the program');
    });
    callUser(() => calls.push('next'));
    const [error] = (await thrown) as [Error];
    assert.equal(error.message, 'thrown by the program');
  } finally {
    for (const other of others) process.on('uncaughtException', other);
  }
  assert.deepEqual(calls, ['next']);
});

test('callbacks that throw as it is destroyed: all are called, and it closes', async () => {
  const { code, stdout } = await run(`
    import discovery from './server/discovery/discovery.ts';
    process.on('uncaughtException', (error) => console.log('thrown', error.message));
    const disc = discovery({ server: '127.0.0.1:9', multicast: false });
    for (const name of ['a', 'b', 'c']) disc.lookup(name, () => { throw new Error(name); });
    disc.on('close', () => console.log('closed'));
    await disc.destroy();
    await disc.destroy();`);
  assert.equal(stdout, 'thrown a\nthrown b\nthrown c\nclosed\n');
  assert.equal(code, 0);
});

test('a socket of the user that he closed: questions fail, nothing is thrown', {
  timeout: TEST_TIMEOUT_MS,
}, async () => {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const disc = discovery({ server: '127.0.0.1:9', multicast: false, socket, timeout: 100 });
  socket.close();
  await once(socket, 'close');
  await assert.rejects(async () => await disc.lookup('app'), { message: 'Query failed' });
  await disc.destroy();
});

test('a kept announce keeps the process, also while the server cannot be found', {
  timeout: TEST_TIMEOUT_MS,
}, async () => {
  const { stdout } = await run(`
    import discovery from './server/discovery/discovery.ts';
    const disc = discovery({ server: 'no-such-host.invalid', multicast: false, timeout: 200 });
    disc.announce('app', 1, { keep: true }, (error) => console.log(error.message));
    setTimeout(() => { console.log('still there'); disc.destroy(); }, 1500).unref();`);
  assert.match(stdout, /Query failed/);
  assert.match(stdout, /still there/);
});

test('an announce whose signal has fired is not announced, nor one aborted later', async () => {
  const disc = discovery({ multicast: false });
  const stop = new AbortController();
  disc.announce('kept', 1, { keep: true, signal: stop.signal });
  assert.deepEqual(disc.toJSON(), [{ name: 'kept', records: [{ port: 1, host: '0.0.0.0' }] }]);
  stop.abort();
  disc.announce('late', 2, { signal: stop.signal });
  assert.deepEqual(disc.toJSON(), []);
  await disc.destroy();
});

test('a class may extend what is called without new', async () => {
  class Mine extends discovery {
    mine(): string {
      return 'mine';
    }
  }
  const disc = new Mine({ multicast: false });
  assert.equal(disc.mine(), 'mine');
  assert.ok(disc instanceof Discovery);
  await disc.destroy();
});

test('destroyed while it begins to listen, the port is free once it is closed', {
  timeout: TEST_TIMEOUT_MS,
}, async () => {
  const socket = createSocket('udp4');
  socket.bind(0, '0.0.0.0');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  for (let i = 0; i < 3; i++) {
    const disc = discovery({ multicast: false });
    const listening = disc.listen(port).catch((error: Error) => error);
    await disc.destroy();
    assert.match(String(await listening), /destroyed/);
  }
  const last = discovery({ multicast: false });
  await last.listen(port);
  await last.destroy();
});
