/** Datagrams longer than the interface takes, in a network namespace with a small one. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { missing } from './udp-house.ts';

const HOUSE = new URL('./udp-house.ts', import.meta.url).href;
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const MTU_BYTES = 1280;
/** The longest datagram of one packet: behind 20 bytes of IPv4 and 8 of UDP. */
const FITTING_BYTES = MTU_BYTES - 28;
/** Ends a child that hangs. */
const TIMEOUT_MS = 30_000;

const SMALL_MTU = `ip link set lo mtu ${MTU_BYTES} up`;
const canUnshare = spawnSync('unshare', ['-n', 'sh', '-c', SMALL_MTU]).status === 0;
const needs = canUnshare ? false : 'needs root, unshare (util-linux) and ip (iproute2)';

/**
 * An echo server that is sent one byte too many, which the client's system fragments, and then what
 * fits. Prints what came back and the counters.
 */
const ECHO = `(async () => {
  const { Client, openHouse, startEcho, until } = await import('${HOUSE}');
  const house = await openHouse('batch');
  startEcho(house);
  const client = await Client.open();
  client.send(Buffer.alloc(${FITTING_BYTES + 1}), house.socket.port, '127.0.0.1');
  await until(() => house.sums().received === 1, 'the long one');
  client.send(Buffer.alloc(${FITTING_BYTES}), house.socket.port, '127.0.0.1');
  await until(() => client.answers.some(({ text }) => text.length === ${FITTING_BYTES}), 'echo');
  const { received, sent, dropSendError } = house.sums();
  const lengths = client.answers.map(({ text }) => text.length);
  console.log(JSON.stringify({ lengths, received, sent, dropSendError }));
  client.close();
  await house.socket.close();
})();`;

test('an answer longer than a packet is a counted drop and never fragmented', {
  skip: missing('batch') || needs,
}, () => {
  const script = `${SMALL_MTU} && exec "$@"`;
  const node = [process.execPath, '--import', 'tsx', '-e', ECHO];
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    ['-n', 'sh', '-c', script, 'sh', ...node],
    {
      cwd: ROOT,
      encoding: 'utf8',
      timeout: TIMEOUT_MS,
    },
  );
  assert.equal(status, 0, stderr);
  assert.deepEqual(JSON.parse(stdout), {
    lengths: [FITTING_BYTES],
    received: 2,
    sent: 1,
    dropSendError: 1,
  });
});
