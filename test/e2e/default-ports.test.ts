/**
 * The default addresses, in a network namespace of the test's own: 53 free, taken, not permitted.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { type TestContext, test } from 'node:test';
import { ServeProcess } from '../helpers/serve-process.ts';

const NODE = process.execPath;
/** Holds port 53, or $HOLD_PORT, while its parent lives; writes $READY once it does. */
const HOLDER = `const d = require('dgram');
const parent = process.ppid;
const port = Number(process.env.HOLD_PORT || 53);
let left = 2;
const held = () => --left === 0 && require('fs').writeFileSync(process.env.READY, '');
d.createSocket('udp4').bind(port, '0.0.0.0', held);
d.createSocket({type: 'udp6', ipv6Only: true}).bind(port, '::', held);
setInterval(() => process.ppid === parent || process.exit(), 100);`;
/** Starts the holder and goes on when it holds; after 20 s it gives up. */
const HOLD_53 = `"${NODE}" -e "$HOLDER" >/dev/null & tries=400
until [ -e "$READY" ]; do
  tries=$((tries - 1))
  [ $tries -gt 0 ] || { echo 'port 53 was never held'; exit 1; }
  sleep 0.05
done`;

const canUnshare = spawnSync('unshare', ['-n', 'ip', 'link', 'set', 'lo', 'up']).status === 0;
const skip = canUnshare ? false : 'needs root, unshare (util-linux) and ip (iproute2)';
const canDrop = spawnSync('setpriv', ['--version']).status === 0;

/** A shell line in which "$@" is the server, run in a namespace of its own with loopback up. */
function inNamespace(script: string): readonly string[] {
  return ['unshare', '-n', 'sh', '-c', `ip link set lo up; ${script}`, 'sh'];
}

test('53 and 5300 on both families', { skip, timeout: 30_000 }, async (t) => {
  const server = await ServeProcess.serveIn(t, inNamespace('exec "$@"'));
  assert.deepEqual(listening(server), [
    ...bothOf('0.0.0.0:53'),
    ...bothOf('[::]:53'),
    ...bothOf('0.0.0.0:5300'),
    ...bothOf('[::]:5300'),
  ]);
  assert.equal((await server.stop('SIGTERM')).code, 0);
});

test('the DHT is at 49737, and one that is taken is a notice', {
  skip,
  timeout: 30_000,
}, async (t) => {
  const env = { WAYPOST_DHT: undefined };
  const server = await ServeProcess.serveIn(t, inNamespace('exec "$@"'), env);
  assert.match(server.lines.join('\n'), /^dht 0\.0\.0\.0:49737 udp .*; bootstrap node$/m);
  assert.equal((await server.stop('SIGTERM')).code, 0);
  const held = { ...env, HOLDER, READY: join(temporaryFolder(t), 'ready'), HOLD_PORT: '49737' };
  const other = await ServeProcess.serveIn(t, inNamespace(`${HOLD_53}; exec "$@"`), held);
  const text = other.lines.join('\n');
  assert.match(text, /no DHT: 0\.0\.0\.0:49737 udp: already in use/);
  assert.doesNotMatch(text, /^dht /m);
  assert.equal((await other.stop('SIGTERM')).code, 0);
});

test('53 taken: it says how to free it and goes on with 5300', {
  skip,
  timeout: 30_000,
}, async (t) => {
  const env = { HOLDER, READY: join(temporaryFolder(t), 'ready') };
  const server = await ServeProcess.serveIn(t, inNamespace(`${HOLD_53}; exec "$@"`), env);
  const text = server.lines.join('\n');
  assert.match(text, /0\.0\.0\.0:53 udp: already in use\n.*(systemd-resolved|ss -)/);
  assert.deepEqual(listening(server), [...bothOf('0.0.0.0:5300'), ...bothOf('[::]:5300')]);
  assert.equal((await server.stop('SIGTERM')).code, 0);
});

test('53 not permitted: it says how to permit it and goes on with 5300', {
  skip: skip || (!canDrop && 'needs setpriv (util-linux)'),
  timeout: 30_000,
}, async (t) => {
  const drop = 'exec setpriv --bounding-set=-net_bind_service "$@"';
  const server = await ServeProcess.serveIn(t, inNamespace(drop));
  const text = server.lines.join('\n');
  assert.match(text, /0\.0\.0\.0:53 udp: not permitted\n/);
  assert.match(text, /setcap|ip_unprivileged_port_start/);
  assert.deepEqual(listening(server), [...bothOf('0.0.0.0:5300'), ...bothOf('[::]:5300')]);
  assert.equal((await server.stop('SIGTERM')).code, 0);
});

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'waypost-test-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** What a server says it listens on: address and transport. */
function listening(server: ServeProcess): string[] {
  const sockets = server.lines.filter((line) => line.startsWith('dns '));
  return sockets.map((line) => line.split(' ').slice(1, 3).join(' '));
}

function bothOf(endpoint: string): string[] {
  return [`${endpoint} udp`, `${endpoint} tcp`];
}
