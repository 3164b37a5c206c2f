/** `waypost dht` and the DHT of `waypost serve`, as processes, with originals that use them. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { Command } from '../helpers/command.ts';
import { Hyperdht, original, PERSISTENT } from '../helpers/original-dht.ts';
import { WAYPOST } from '../helpers/waypost-command.ts';

const TIMEOUT_MS = 60_000;

function waypost(t: TestContext, args: string): Command {
  return new Command(t, [...WAYPOST, ...args.split(' ')]);
}

/** The port in a line like `dht 127.0.0.1:40123 udp batch; bootstrap node`. */
function portIn(line: string): number {
  const port = Number(/:(\d+) udp/.exec(line)?.[1]);
  assert.ok(port > 0, line);
  return port;
}

test('bootstrap and nodes form a network that originals use', {
  timeout: TIMEOUT_MS,
}, async (t) => {
  const first = waypost(t, 'serve --dns off --dht 127.0.0.1:0');
  const port = portIn(await first.line(/^dht 127\.0\.0\.1:\d+ udp .*; bootstrap node, private/));
  const bootstrap = [`127.0.0.1:${port}`];
  const nodes = waypost(t, `dht node --bootstrap ${bootstrap[0]} --nodes 3 --host 127.0.0.1`);
  await nodes.line(/^waypost /);
  await nodes.line(/dht port \d+: persistent, as 127\.0\.0\.1:\d+/);
  const announcer = await original(t, Hyperdht, { bootstrap });
  const asker = await original(t, Hyperdht, { bootstrap, ...PERSISTENT });
  const target = randomBytes(32);
  await announcer.announce(target, Hyperdht.keyPair()).finished();
  let answers = 0;
  for await (const { peers } of asker.lookup(target)) answers += peers.length;
  assert.ok(answers >= 1, `${answers}`);
  for (const process of [nodes, first]) {
    const { code, ms } = await process.stop('SIGINT');
    assert.equal(code, 0);
    assert.ok(ms < 2000, `${ms} ms`);
  }
});

test('a bootstrap node listens at the port asked for', { timeout: TIMEOUT_MS }, async (t) => {
  const taken = await original(t, Hyperdht, { bootstrap: [], ...PERSISTENT });
  const { port } = taken.address();
  const node = waypost(t, `dht bootstrap --host 127.0.0.1 --port ${port}`);
  await node.line(/already in use/);
  assert.equal((await node.end()).code, 1);
});
