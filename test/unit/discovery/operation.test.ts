import assert from 'node:assert/strict';
import { once } from 'node:events';
import process from 'node:process';
import { test } from 'node:test';
import { Lookup, Operation } from '../../../server/discovery/operation.ts';

const peer = (port: number) => ({ host: '192.0.2.1', port });

test('an operation can be awaited before and after its end, several times', async () => {
  const operation = new Operation<number>();
  const before = operation.then((value) => value + 1);
  operation.resolve(1);
  operation.resolve(2);
  operation.reject(new Error('too late'));
  assert.equal(await before, 2);
  assert.equal(await operation, 1);
  assert.equal(await operation.finally(() => undefined), 1);
});

test('a failed operation rejects those who await it, and only those', async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', note);
  const operation = new Operation<void>();
  operation.reject(new Error('no answer'));
  const tick = new AbortController();
  setImmediate(() => setImmediate(() => tick.abort()));
  await once(tick.signal, 'abort');
  process.off('unhandledRejection', note);
  assert.deepEqual(unhandled, []);
  await assert.rejects(async () => operation, /no answer/);
  assert.equal(await operation.catch(() => 'caught'), 'caught');
});

test('a lookup tells each peer once, to whoever iterates and whenever', async () => {
  const lookup = new Lookup(false, () => undefined);
  const early = collect(lookup);
  lookup.add(peer(1));
  lookup.add(peer(2));
  lookup.add(peer(1));
  lookup.complete(null);
  lookup.add(peer(3));
  assert.deepEqual(await early, [1, 2]);
  assert.deepEqual(await collect(lookup), [1, 2]);
  assert.deepEqual(await lookup, [peer(1), peer(2)]);
});

test('a failed lookup throws at the end of the iteration', async () => {
  const lookup = new Lookup(false, () => undefined);
  lookup.add(peer(1));
  lookup.complete(new Error('Query failed'));
  const seen: number[] = [];
  await assert.rejects(async () => {
    for await (const { port } of lookup) seen.push(port);
  }, /Query failed/);
  assert.deepEqual(seen, [1]);
});

test('a kept lookup goes on after it is complete; break stops it', async () => {
  let stops = 0;
  const lookup = new Lookup(true, () => stops++);
  lookup.add(peer(1));
  lookup.complete(null);
  assert.deepEqual(await lookup, [peer(1)]);
  for await (const { port } of lookup) {
    if (port === 1) lookup.add(peer(2));
    else break;
  }
  assert.equal(stops, 1);
});

async function collect(lookup: Lookup): Promise<number[]> {
  const ports: number[] = [];
  for await (const { port } of lookup) ports.push(port);
  return ports;
}
