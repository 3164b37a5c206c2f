/** A routing table read by another thread while it is written, as fast as both can. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { nodeId } from '../../codecs/dht/node-id.ts';
import { Rng } from '../../workers/rng.ts';
import { makeTables, portOf, privateHost } from '../unit/dht-table/fixture.ts';

const READER = new URL('./dht-table-reader.ts', import.meta.url).href;
/** A worker does not inherit the loader of TypeScript: it registers it and goes on. */
const BOOT = `import('tsx/esm/api').then((tsx) => { tsx.register(); return import('${READER}'); })`;
const ROUNDS = 40_000;
/** A table that is cleared now and then, so that rows go empty and are replaced. */
const SLICE = 200;

test('what a thread reads beside the writer is true: addresses, order and own id', async () => {
  for (const seed of [1, 2]) {
    const { buffer, writer } = makeTables(true, 40);
    const control = new Int32Array(new SharedArrayBuffer(16));
    const worker = new Worker(BOOT, { eval: true, workerData: { buffer, control, seed } });
    const failed = once(worker, 'error').then(([error]) => {
      throw error;
    });
    const ended = once(worker, 'message');
    const rng = new Rng(seed);
    let changes = 0;
    while (Atomics.load(control, 1) < ROUNDS) {
      for (let i = 0; i < SLICE; i++) changes += Number(changeOnce(rng, writer));
      await Promise.race([setImmediate(), failed]);
    }
    Atomics.store(control, 0, 1);
    await Promise.race([ended, failed]);
    await worker.terminate();
    assert.ok(changes > 1000, `seed ${seed}: ${changes} changes`);
    assert.ok(control[2] > ROUNDS, `seed ${seed}: ${control[2]} addresses read`);
    assert.ok(control[3] > 100, `seed ${seed}: ${control[3]} entries found`);
    const touched = writer.all().filter((node) => node.seen === 1_000_000);
    assert.ok(touched.length > 0, `seed ${seed}: no mark of the reader is there`);
  }
});

function changeOnce(rng: Rng, writer: ReturnType<typeof makeTables>['writer']): boolean {
  const host = privateHost(rng.below(400));
  const port = portOf(host);
  if (rng.below(300) === 0) {
    const byte = rng.below(256);
    writer.setOwn(new Uint8Array(32).fill(byte), (byte & 1) === 1);
    return true;
  }
  if (rng.below(2) === 0) return writer.remove(nodeId(host, port));
  return writer.add(host, port, 1) === 'added';
}
