/**
 * The raw limit: a bare batched echo on the same addon. It answers each datagram with as many bytes
 * as it was last told on standard input, 0: not at all. It decides nothing and stores nothing. To
 * `received` it says how many datagrams it has.
 */
import process from 'node:process';
import { createInterface } from 'node:readline';
import { openUdp } from '../../server/net/open-udp.ts';
import { allocateCounters, COUNTER, counterRow } from '../../workers/counters.ts';
import { SLOT_BYTES, SLOT_HEADER_BYTES, Slab } from '../../workers/slab.ts';

const SLOTS = 512;
const slab = Slab.allocate(SLOTS);
const counters = counterRow(allocateCounters(1), 0);
let answerBytes = 12;
const socket = await openUdp(
  {
    address: '127.0.0.1',
    port: 0,
    slab,
    firstSlot: 0,
    slotCount: SLOTS,
    receiver: 0,
    counters,
  },
  'batch',
);
socket.start((slots, count) => {
  for (let i = 0; i < count && answerBytes > 0; i++) {
    slab.bytes[slots[i] * SLOT_BYTES + SLOT_HEADER_BYTES + 2] = 0x80;
    slab.i32[(slots[i] * SLOT_BYTES) >> 2] = answerBytes;
  }
  if (answerBytes > 0) socket.send(slots, count);
  socket.release(slots, count);
});
createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'received') process.stdout.write(`${counters[COUNTER.received]}\n`);
  else answerBytes = Number(line);
});
process.stdout.write(`port=${socket.port}\n`);
