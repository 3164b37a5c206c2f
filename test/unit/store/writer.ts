/** The writer thread of threads.test.ts: changes a store for ever, all fields from one number. */
import { parentPort, workerData } from 'node:worker_threads';
import type { StoreBuffers } from '../../../workers/store/layout.ts';
import { RecordStore } from '../../../workers/store/record-store.ts';
import { NOW, peer4, put, remove, SeededRandom } from './fixture.ts';

const { buffers, rounds, seed } = workerData as {
  buffers: StoreBuffers;
  rounds: Int32Array;
  seed: number;
};
const store = new RecordStore(buffers);
const random = new SeededRandom(seed);
parentPort?.postMessage('ready');

for (let round = 1; ; round++) {
  const n = random.below(3000);
  const name = `name ${n % 97}`.padEnd(3 + (n % 97), '-');
  const version = seed * 1_000_000 + round;
  const expiresAt = n % 2 === 1 ? 2_000_000_000 + version : 0;
  if (random.chance(0.8)) put(store, name, peer4(n, n & 0xffff), { version, expiresAt, now: NOW });
  else remove(store, name, peer4(n, n & 0xffff), { version, now: NOW });
  Atomics.add(rounds, 0, 1);
}
