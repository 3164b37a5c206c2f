/** A real writer thread: read while it writes, killed while it writes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { StoreBuffers } from '../../../workers/store/layout.ts';
import { RecordStore } from '../../../workers/store/record-store.ts';
import { makeStore, SeededRandom } from './fixture.ts';

const WRITER = new URL('./writer.ts', import.meta.url).href;
/**
 * A worker does not inherit the loader of TypeScript: it registers it and goes on to the writer.
 */
const BOOT = `import('tsx/esm/api').then((tsx) => { tsx.register(); return import('${WRITER}'); })`;

async function startWriter(buffers: StoreBuffers, seed: number): Promise<[Worker, Int32Array]> {
  const rounds = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(BOOT, { eval: true, workerData: { buffers, rounds, seed } });
  worker.on('error', (error) => {
    throw error;
  });
  await once(worker, 'message');
  return [worker, rounds];
}

/** Waits until the writer has made `count` more changes; lets its errors come through meanwhile. */
async function waitForChanges(rounds: Int32Array, count: number): Promise<void> {
  const target = Atomics.load(rounds, 0) + count;
  while (Atomics.load(rounds, 0) < target) await setImmediate();
}

test('every row a snapshot reads beside a writer is whole', async () => {
  const store = makeStore(500, 5);
  const [worker, rounds] = await startWriter(store.buffers, 1);
  const key = new TextDecoder();
  let rows = 0;
  for (let snapshot = 0; snapshot < 60; snapshot++) {
    await waitForChanges(rounds, 100);
    store.forEachRecord((view) => {
      // The writer derives every field from one number (writer.ts).
      const n = view.address[13] * 65536 + view.address[14] * 256 + view.address[15];
      const name = key.decode(view.key.subarray(0, view.keyLength));
      assert.equal(name, `name ${n % 97}`.padEnd(3 + (n % 97), '-'));
      assert.equal(view.port, n & 0xffff);
      assert.equal(view.expiresAt !== 0 && !view.tombstone, n % 2 === 1 && !view.tombstone);
      if (!view.tombstone && n % 2 === 1)
        assert.equal(view.expiresAt, 2_000_000_000 + view.version);
      rows++;
    });
  }
  await worker.terminate();
  assert.ok(rows > 10_000, `${rows} rows read`);
});

test('a store whose writer thread was killed is adopted and repaired', async () => {
  const random = new SeededRandom(17);
  const store = makeStore(500, 5);
  for (let seed = 1; seed <= 5; seed++) {
    const [worker, rounds] = await startWriter(store.buffers, seed);
    await waitForChanges(rounds, 2000 + random.below(5000));
    await worker.terminate();
    const successor = new RecordStore(store.buffers);
    successor.repair();
    successor.check();
    assert.ok(successor.live > 100, `${successor.live} records are there`);
  }
});
