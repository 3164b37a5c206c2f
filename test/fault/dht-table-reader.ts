/** The reading thread of dht-table-threads.test.ts: whatever it reads must be true. */
import { parentPort, workerData } from 'node:worker_threads';
import { u32ToHost } from '../../codecs/dht/address.ts';
import { ADDRESS_BYTES } from '../../codecs/dht/constants.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import { NOT_FOUND, RoutingTable } from '../../workers/dht/routing-table.ts';
import { Rng } from '../../workers/rng.ts';
import { mapped, portOf, privateHost, randomId } from '../unit/dht-table/fixture.ts';

const { buffer, control, seed } = workerData as {
  buffer: SharedArrayBuffer;
  /** 0: stop, 1: rounds, 2: addresses read, 3: entries found. */
  control: Int32Array;
  seed: number;
};
const table = new RoutingTable(buffer);
const rng = new Rng(seed);
const out = new Uint8Array(20 * ADDRESS_BYTES);
const view = new DataView(out.buffer);
const own = new Uint8Array(32);

while (Atomics.load(control, 0) === 0) {
  Atomics.add(control, 1, 1);
  const count = table.writeClosest(randomId(rng), 0, 20, out, 0);
  if (count > 20) fail(`${count} nodes`);
  for (let i = 0; i < count; i++) {
    const host = u32ToHost(view.getUint32(i * ADDRESS_BYTES));
    const port = view.getUint16(i * ADDRESS_BYTES + 4, true);
    if (port !== portOf(host)) fail(`${host}:${port} is of two nodes`);
    if (isTwice(i)) fail(`${host}:${port} is there twice`);
  }
  Atomics.add(control, 2, count);
  // The writer's own ids are 32 times the same byte; its lowest bit says whether it is shown.
  table.ownId(own, 0);
  if (own.some((byte) => byte !== own[0])) fail(`own id ${own}`);
  const host = privateHost(rng.below(400));
  const id = nodeId(host, portOf(host));
  if (table.find(id, 0) !== NOT_FOUND) Atomics.add(control, 3, 1);
  table.touch(id, 0, mapped(host), 0, portOf(host), 1_000_000);
}
parentPort?.postMessage('done');

function isTwice(index: number): boolean {
  for (let i = 0; i < index; i++) {
    let same = 0;
    while (same < ADDRESS_BYTES && out[i * 6 + same] === out[index * 6 + same]) same++;
    if (same === ADDRESS_BYTES) return true;
  }
  return false;
}

function fail(why: string): never {
  throw new Error(`seed ${seed}: ${why}`);
}
