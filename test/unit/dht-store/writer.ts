/** The writer thread of threads.test.ts: it changes two stores until it is killed. */
import { parentPort, workerData } from 'node:worker_threads';
import type { ArenaBuffers } from '../../../workers/dht/store/layout.ts';
import { PeerStore } from '../../../workers/dht/store/peer-store.ts';
import { ValueStore } from '../../../workers/dht/store/value-store.ts';
import { OP_REMOVE } from '../../../workers/store/change.ts';
import { SeededRandom } from '../store/fixture.ts';
import { HASH_KEY, NOW, peerChange, valueChange } from './fixture.ts';

const { buffers, rounds, seed } = workerData as {
  buffers: { readonly peers: ArenaBuffers; readonly values: ArenaBuffers };
  rounds: Int32Array;
  seed: number;
};
const peers = new PeerStore(buffers.peers, HASH_KEY);
const values = new ValueStore(buffers.values);
const random = new SeededRandom(seed);
// Made beforehand: the thread is to be killed while it changes, not while it makes changes up.
const changes = Array.from({ length: 2000 }, () => {
  const n = random.below(600);
  const op = random.chance(0.7) ? {} : { op: OP_REMOVE };
  const fields = { prefix: n % 50, expiresAt: NOW + 1 + n };
  return {
    peer: Object.assign(peerChange(n % 7, n, n, { ...fields, bump: n }), op),
    value: Object.assign(valueChange(n, n, fields), op),
  };
});
for (const store of [peers, values]) store.setTime(NOW);
parentPort?.postMessage('ready');

for (;;) {
  for (const { peer, value } of changes) {
    peers.apply(peer);
    values.apply(value);
    Atomics.add(rounds, 0, 1);
  }
}
