/**
 * What only the batched backend does: arrival addresses, descriptors, shared ports, kernel drops.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { BatchSender, openSender } from '../../../server/net/batch-socket.ts';
import { formatAddress } from '../../../server/net/ip-address.ts';
import {
  COUNT_SEND_FAILED,
  COUNT_SEND_FULL,
  type UdpAddon,
} from '../../../server/net/native/addon.ts';
import { COUNTER, counterRow } from '../../../workers/counters.ts';
import { SLOT_ADDRESS, SLOT_BYTES, SLOT_FAMILY, SLOT_LOCAL, Slab } from '../../../workers/slab.ts';
import { Client, closeHouse, missing, openHouse, startEcho, until } from './udp-house.ts';

const NET = new URL('../../../server/net/', import.meta.url).href;
const WORKERS = new URL('../../../workers/', import.meta.url).href;
const TSX = import.meta.resolve('tsx/esm/api');
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

describe('udp socket: batch only', { skip: missing('batch') }, () => {
  for (const [wildcard, asked] of [
    ['0.0.0.0', '127.0.0.5'],
    ['::', '::1'],
  ]) {
    test(`bound to ${wildcard} it answers from the address that was asked`, async () => {
      const house = await openHouse('batch', { address: wildcard });
      const locals: string[] = [];
      house.socket.start((slots, count) => {
        const at = slots[0] * SLOT_BYTES;
        locals.push(formatAddress(house.slab.bytes, at + SLOT_LOCAL));
        house.socket.send(slots, count);
        house.socket.release(slots, count);
      });
      const client = await Client.open(asked === '::1' ? '::1' : '127.0.0.1');
      client.send('who', house.socket.port, asked);
      await client.answered(1);
      assert.equal(client.answers[0].address, asked);
      assert.deepEqual(locals, [asked]);
      client.close();
      await closeHouse(house);
    });
  }

  test('a slot without a local address leaves from where the system likes', async () => {
    const house = await openHouse('batch', { address: '0.0.0.0' });
    house.socket.start((slots, count) => {
      const local = slots[0] * SLOT_BYTES + SLOT_LOCAL;
      house.slab.bytes.fill(0, local, local + 16);
      house.socket.send(slots, count);
      house.socket.release(slots, count);
    });
    const client = await Client.open();
    client.send('who', house.socket.port, '127.0.0.5');
    await client.answered(1);
    assert.equal(client.answers[0].address, '127.0.0.1');
    client.close();
    await closeHouse(house);
  });

  test('two sockets share a port and each gets a part', async () => {
    const one = await openHouse('batch', { reusePort: true });
    const two = await openHouse('batch', { reusePort: true, port: one.socket.port });
    startEcho(one);
    startEcho(two);
    const clients = await Promise.all(Array.from({ length: 48 }, () => Client.open()));
    for (const client of clients) client.send('x', one.socket.port, '127.0.0.1');
    for (const client of clients) await client.answered(1);
    const parts = [one.sums().received, two.sums().received];
    assert.equal(parts[0] + parts[1], clients.length);
    assert.ok(parts[0] > 0 && parts[1] > 0, `${parts}`);
    for (const client of clients) client.close();
    await closeHouse(one);
    await closeHouse(two);
  });

  test('what the kernel drops is counted, to the last one', async () => {
    const house = await openHouse('batch', { receiveBufferBytes: 8192 });
    const { receiveBufferBytes } = house.socket;
    assert.ok(receiveBufferBytes < 64 * 1024, `${receiveBufferBytes} bytes`);
    const client = await Client.open();
    const flood = Buffer.alloc(1000);
    for (let i = 0; i < 200; i++) client.send(flood, house.socket.port, '127.0.0.1');
    startEcho(house);
    await until(() => house.sums().received > 0, 'the first');
    // The next datagram carries the count; what is dropped after it is asked for at the close.
    client.send('after', house.socket.port, '127.0.0.1');
    await until(() => house.sums().kernelDropped > 0, 'the count');
    const before = house.sums();
    assert.equal(before.received + before.kernelDropped, 201);
    house.socket.stop();
    for (let i = 0; i < 200; i++) client.send(flood, house.socket.port, '127.0.0.1');
    client.close();
    await closeHouse(house);
    assert.ok(house.sums().kernelDropped > before.kernelDropped);
  });

  test('an inherited descriptor is adopted, and the process exits after the close', async () => {
    // Bound to both families, as an init system binds [::]: IPv4 comes as v4-mapped addresses.
    const plain = createSocket('udp6');
    await new Promise<void>((resolve) => plain.bind(0, '::', resolve));
    const port = plain.address().port;
    const child = spawn(process.execPath, ['--import', 'tsx', '-e', ADOPTER], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit', descriptorOf(plain)],
    });
    const exited = once(child, 'exit');
    let output = '';
    child.stdout?.on('data', (data) => {
      output += data;
    });
    await until(() => output.includes('\n'), 'the child');
    plain.close();
    const client = await Client.open();
    client.send('hello', port, '127.0.0.9');
    await client.answered(1);
    assert.deepEqual(client.answers, [{ text: 'hello', address: '127.0.0.9', port }]);
    client.send('end', port, '127.0.0.9');
    assert.deepEqual(await exited, [0, null]);
    assert.deepEqual(
      output
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
      [
        { backend: 'batch', address: '::', family: 6, port },
        { family: 4, address: '127.0.0.1', local: '127.0.0.9' },
        { family: 4, address: '127.0.0.1', local: '127.0.0.9' },
      ],
    );
    client.close();
  });

  test('a descriptor that is no bound UDP socket is refused and left alone', async () => {
    await assert.rejects(openHouse('batch', { fd: 1_000_000 }), { code: 'EBADF' });
    await assert.rejects(openHouse('batch', { fd: 0 }), {
      code: /ENOTSOCK|EPROTOTYPE|EAFNOSUPPORT/,
    });
    assert.throws(() => openSender(1_000_000, Slab.allocate(1), new Float64Array(32)), {
      code: 'EBADF',
      syscall: 'fcntl',
    });
  });

  test('a worker thread sends on the main thread’s socket, which outlives it', async () => {
    const house = await openHouse('batch', { address: '0.0.0.0', slotCount: 64 });
    const worker = new Worker(SENDER, {
      eval: true,
      workerData: { slab: house.slab.buffer, counters: house.counterBuffer, fd: house.socket.fd },
    });
    await once(worker, 'message');
    house.socket.start((slots, count) => worker.postMessage([...slots.subarray(0, count)]));
    worker.on('message', (slots: number[]) => {
      house.socket.release(Int32Array.from(slots), slots.length);
    });
    const client = await Client.open();
    for (let i = 0; i < 20; i++) client.send(`${i}`, house.socket.port, '127.0.0.7');
    await client.answered(20);
    assert.ok(client.answers.every((answer) => answer.address === '127.0.0.7'));
    await until(() => house.socket.freeSlots === 64, 'the slots');
    await worker.terminate();
    assert.equal(counterRow(house.counterBuffer, 1)[COUNTER.sent], 20);
    startEcho(house);
    client.send('still here', house.socket.port, '127.0.0.1');
    await client.answered(21);
    client.close();
    const port = house.socket.port;
    await closeHouse(house);
    await closeHouse(await openHouse('batch', { address: '0.0.0.0', port }));
  });

  test('a worker thread that ends with an open, watched socket leaves nothing', async () => {
    for (const ending of ['terminate', 'exit', 'throw']) {
      const worker = new Worker(OWNER, { eval: true });
      const [port] = (await once(worker, 'message')) as [number];
      worker.on('error', (error) => assert.equal(error.message, 'on purpose'));
      const exited = new Promise((resolve) => worker.on('exit', resolve));
      if (ending === 'terminate') await worker.terminate();
      else worker.postMessage(ending);
      await exited;
      await closeHouse(await openHouse('batch', { port }));
    }
  });

  test('an exception of onBatch is an uncaught exception, and receiving goes on', async () => {
    const child = spawn(process.execPath, ['--import', 'tsx', '-e', THROWER], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    let output = '';
    child.stdout?.on('data', (data) => {
      output += data;
    });
    assert.deepEqual(await exited, [0, null]);
    assert.equal(output, 'on purpose\non purpose\n');
  });
});

test('drops of the kernel call are counted by kind', () => {
  const addon = {
    send(_handle: number, _slab: Uint8Array, _slots: Uint32Array, _n: number, counts: Uint32Array) {
      counts[COUNT_SEND_FULL] += 3;
      counts[COUNT_SEND_FAILED] += 2;
      return 1;
    },
  } as unknown as UdpAddon;
  const counters = new Float64Array(32);
  const sender = new BatchSender(addon, 0, Slab.allocate(8), counters);
  for (let i = 1; i <= 2; i++) {
    assert.equal(sender.send(new Int32Array(6), 6), 1);
    assert.equal(counters[COUNTER.sent], i);
    assert.equal(counters[COUNTER.dropSendFull], 3 * i);
    assert.equal(counters[COUNTER.dropSendError], 2 * i);
  }
});

/** The descriptor of a node:dgram socket, to hand on to a child. */
function descriptorOf(socket: object): number {
  const handle = (socket as { _handle?: { fd: number } })._handle;
  assert.ok(handle !== undefined && handle.fd > 0);
  return handle.fd;
}

const OPEN = `
  const { openUdp } = await import('${NET}open-udp.ts');
  const { formatAddress } = await import('${NET}ip-address.ts');
  const { Slab } = await import('${WORKERS}slab.ts');
  const slab = Slab.allocate(64);
  const open = (options) => openUdp({ address: '127.0.0.1', port: 0, slab, firstSlot: 0,
    slotCount: 64, receiver: 0, counters: new Float64Array(32), ...options }, 'batch');
`;

/** Adopts descriptor 3, echoes, and closes at the datagram 'end'. */
const ADOPTER = `(async () => {${OPEN}
  const socket = await open({ fd: 3 });
  const { backend, address, family, port } = socket;
  console.log(JSON.stringify({ backend, address, family, port }));
  socket.start((slots, count) => {
    const at = slots[0] * ${SLOT_BYTES};
    console.log(JSON.stringify({ family: slab.bytes[at + ${SLOT_FAMILY}],
      address: formatAddress(slab.bytes, at + ${SLOT_ADDRESS}),
      local: formatAddress(slab.bytes, at + ${SLOT_LOCAL}) }));
    socket.send(slots, count);
    socket.release(slots, count);
    if (slab.i32[at / 4] === 3) socket.close();
  });
})();`;

/** Prints two exceptions thrown in onBatch, then closes. */
const THROWER = `(async () => {${OPEN}
  const socket = await open({});
  const client = require('node:dgram').createSocket('udp4');
  let left = 2;
  process.on('uncaughtException', (error) => {
    console.log(error.message);
    if (--left > 0) return client.send('again', socket.port, '127.0.0.1');
    client.close();
    socket.close();
  });
  socket.start((slots, count) => {
    socket.release(slots, count);
    throw new Error('on purpose');
  });
  client.send('once', socket.port, '127.0.0.1');
})();`;

/** Opens and watches a socket of its own, and ends as it is told. */
const OWNER = `(async () => {
  (await import('${TSX}')).register();${OPEN}
  const { parentPort } = require('node:worker_threads');
  const socket = await open({});
  socket.start(() => undefined);
  parentPort.on('message', (ending) => {
    if (ending === 'exit') process.exit(0);
    throw new Error('on purpose');
  });
  parentPort.postMessage(socket.port);
})();`;

/** Sends the slots it is told to on a descriptor, and tells when it has. */
const SENDER = `(async () => {
  (await import('${TSX}')).register();
  const { parentPort, workerData } = require('node:worker_threads');
  const { openSender } = await import('${NET}batch-socket.ts');
  const { Slab } = await import('${WORKERS}slab.ts');
  const { counterRow } = await import('${WORKERS}counters.ts');
  const sender = openSender(workerData.fd, new Slab(workerData.slab),
    counterRow(workerData.counters, 1));
  parentPort.on('message', (slots) => {
    sender.send(Int32Array.from(slots), slots.length);
    parentPort.postMessage(slots);
  });
  parentPort.postMessage([]);
})();`;
