/**
 * The lane thread of ring-messages.test.ts: checks each message, writes its reply in place, and
 * sleeps whenever there is none.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { WakeSignal } from '../../server/net/wake-event.ts';
import { Ring } from '../../workers/ring.ts';
import { BATCH, type EchoData, REPLY, REQUEST, STOP, verify, write } from './ring-message.ts';

/** Far longer than a test waits: a wake-up that is lost is not made good by the sleep's end. */
const SLEEP_MS = 600_000;

const data = workerData as EchoData;
const requests = new Ring(data.requests);
const replies = new Ring(data.replies);
const signal = data.wakeDescriptor < 0 ? null : new WakeSignal(data.wakeDescriptor);
const batch = new Int32Array(BATCH);
let expected = 0;
let sleeps = 0;
let isStopping = false;
parentPort?.postMessage('ready');

while (!isStopping) {
  const count = requests.pop(batch, BATCH);
  if (count === 0) {
    if (requests.arm()) {
      sleeps++;
      requests.sleep(SLEEP_MS);
    }
    requests.disarm();
    continue;
  }
  for (let i = 0; i < count; i++) {
    const slot = batch[i];
    isStopping = slot === STOP;
    if (isStopping) continue;
    verify(data.slots, slot, expected, REQUEST);
    write(data.slots, slot, expected, REPLY);
    expected = (expected + 1) | 0;
  }
  const pushed = replies.push(batch, 0, count);
  if (pushed !== count) throw new Error(`only ${pushed} of ${count} replies fit`);
  if (!replies.takeSleeper()) continue;
  if (signal === null) parentPort?.postMessage('wake');
  else signal.signal();
}
signal?.close();
parentPort?.postMessage(sleeps);
