/** A real writer thread, killed while it writes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { PeerStore } from '../../../workers/dht/store/peer-store.ts';
import { ValueStore } from '../../../workers/dht/store/value-store.ts';
import { SeededRandom } from '../store/fixture.ts';
import { checkStore } from './check.ts';
import {
  changeText,
  dumpPeers,
  dumpValues,
  HASH_KEY,
  makePeers,
  makeValues,
  NOW,
  peerChange,
  valueChange,
} from './fixture.ts';

const WRITER = new URL('./writer.ts', import.meta.url).href;
/**
 * A worker does not inherit the loader of TypeScript: it registers it and goes on to the writer.
 */
const BOOT = `import('tsx/esm/api').then((tsx) => { tsx.register(); return import('${WRITER}'); })`;
const KILLS = 8;

/** Everything the writer may ever have put. */
function allTexts(): Map<string, string> {
  const texts = new Map<string, string>();
  for (let n = 0; n < 600; n++) {
    const fields = { prefix: n % 50, expiresAt: NOW + 1 + n };
    texts.set(...changeText(peerChange(n % 7, n, n, fields)));
    texts.set(...changeText(valueChange(n, n, fields)));
  }
  return texts;
}

test('stores whose writer thread was killed are adopted and hold whole rows', async () => {
  const random = new SeededRandom(17);
  const buffers = { peers: makePeers(300).buffers, values: makeValues(300).buffers };
  const texts = allTexts();
  for (let seed = 1; seed <= KILLS; seed++) {
    const rounds = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(BOOT, { eval: true, workerData: { buffers, rounds, seed } });
    worker.on('error', (error) => {
      throw error;
    });
    await once(worker, 'message');
    const enough = 1000 + random.below(5000);
    while (Atomics.load(rounds, 0) < enough) await setImmediate();
    await worker.terminate();
    const peers = new PeerStore(buffers.peers, HASH_KEY);
    const values = new ValueStore(buffers.values);
    for (const store of [peers, values]) {
      if (!store.needsRepair) checkStore(store);
      const { dropped } = store.repair();
      assert.ok(dropped <= 1, `seed ${seed}: ${dropped} torn rows`);
      checkStore(store);
    }
    const rows = [...dumpPeers(peers), ...dumpValues(values)];
    for (const [key, text] of rows) assert.equal(texts.get(key), text, `seed ${seed}: ${key}`);
    assert.ok(rows.length > 300, `seed ${seed}: ${rows.length} rows are there`);
  }
});
