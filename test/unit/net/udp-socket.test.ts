/** What both backends must do: one table of tests, run for each. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import { formatAddress } from '../../../server/net/ip-address.ts';
import { describeBackend, openUdp } from '../../../server/net/open-udp.ts';
import { UDP_BATCH, UDP_ROUNDS, type UdpBackend } from '../../../server/net/udp-socket.ts';
import * as layout from '../../../workers/slab.ts';
import {
  Client,
  closeHouse,
  type House,
  missing,
  openHouse,
  slotText,
  startEcho,
  until,
} from './udp-house.ts';

const { SLOT_BYTES, SLOT_DATA_BYTES } = layout;
const BACKENDS: readonly UdpBackend[] = ['batch', 'dgram'];

/** Keeps every slot it is given. */
function keep({ socket }: House): number[] {
  const kept: number[] = [];
  socket.start((slots, count) => {
    for (let i = 0; i < count; i++) kept.push(slots[i]);
  });
  return kept;
}

/** The header a client at `address:port` must have left in a slot. */
function checkHeader(house: House, slot: number, address: string, port: number): void {
  const { bytes, u16, i32 } = house.slab;
  const at = slot * SLOT_BYTES;
  assert.equal(bytes[at + layout.SLOT_FAMILY], address.includes(':') ? 6 : 4);
  assert.equal(bytes[at + layout.SLOT_TRANSPORT], layout.TRANSPORT_UDP);
  assert.equal(u16[(at + layout.SLOT_PORT) >>> 1], port);
  assert.equal(formatAddress(bytes, at + layout.SLOT_ADDRESS), address);
  assert.equal(formatAddress(bytes, at + layout.SLOT_LOCAL), address, 'local');
  assert.equal(i32[(at + layout.SLOT_SCOPE) >>> 2], 0);
  assert.equal(i32[(at + layout.SLOT_CONNECTION) >>> 2], 0);
  assert.equal(i32[(at + layout.SLOT_GENERATION) >>> 2], 0);
  assert.equal(i32[(at + layout.SLOT_BUDGET) >>> 2], SLOT_DATA_BYTES);
  assert.equal(u16[(at + layout.SLOT_RECEIVER) >>> 1], house.socket.receiver);
  assert.equal(bytes[at + layout.SLOT_PROTOCOL], 0);
  assert.equal(bytes[at + layout.SLOT_STATE], 0);
  assert.equal(i32[(at + layout.SLOT_KEY_HASH) >>> 2], 0);
}

for (const backend of BACKENDS) {
  describe(`udp socket: ${backend}`, { skip: missing(backend) }, () => {
    for (const address of ['127.0.0.1', '::1']) {
      test(`a round trip on ${address} with every header field`, async () => {
        const house = await openHouse(backend, { address, firstSlot: 2, slotCount: 14 });
        house.slab.bytes.fill(0xff);
        const { socket } = house;
        assert.equal(socket.backend, backend);
        assert.equal(socket.address, address);
        assert.equal(socket.family, address === '::1' ? 6 : 4);
        assert.ok(socket.port > 0);
        assert.ok(backend === 'batch' ? socket.fd > 2 : socket.fd === -1);
        assert.ok(socket.receiveBufferBytes >= 64 * 1024, `${socket.receiveBufferBytes} bytes`);
        const kept = keep(house);
        const client = await Client.open(address);
        client.send('hello', socket.port, address);
        await until(() => kept.length === 1, 'the datagram');
        assert.equal(slotText(house.slab, kept[0]), 'hello');
        checkHeader(house, kept[0], address, client.port);
        const slots = Int32Array.from(kept);
        assert.equal(socket.freeSlots, 13);
        assert.equal(socket.send(slots, 1), 1);
        assert.equal(socket.freeSlots, 13, 'sending releases nothing');
        socket.release(slots, 1);
        assert.equal(socket.freeSlots, 14);
        await client.answered(1);
        assert.deepEqual(client.answers, [{ text: 'hello', address, port: socket.port }]);
        client.close();
        await socket.close();
        assert.equal(house.sums().received, 1);
        assert.equal(house.sums().sent, 1);
      });
    }

    test('the longest datagram fits, a longer one is dropped and counted', async () => {
      const house = await openHouse(backend);
      startEcho(house);
      const client = await Client.open();
      const sizes = [5, SLOT_DATA_BYTES + 1, SLOT_DATA_BYTES, 3000, 3000, 7, 60_000, 0, 9];
      for (const size of sizes) {
        client.send(Buffer.alloc(size, size), house.socket.port, '127.0.0.1');
      }
      // The empty datagram is received, and is an answer of length 0: nothing to send.
      await client.answered(4);
      const lengths = client.answers.map((answer) => answer.text.length);
      assert.deepEqual(lengths, [5, SLOT_DATA_BYTES, 7, 9]);
      assert.equal(client.answers[1].text, String.fromCharCode(0xc0).repeat(SLOT_DATA_BYTES));
      client.close();
      await house.socket.close();
      const sums = house.sums();
      assert.equal(sums.received, sizes.length);
      assert.equal(sums.dropTooLong, 4);
      assert.equal(sums.sent, 4);
      assert.equal(house.socket.freeSlots, house.slab.slotCount);
    });

    test('what finds no free slot is dropped and counted, and slots come back', async () => {
      const house = await openHouse(backend, { slotCount: 4 });
      const kept = keep(house);
      const client = await Client.open();
      for (let i = 0; i < 10; i++) client.send(`${i}`, house.socket.port, '127.0.0.1');
      await until(() => house.sums().received === 10, 'ten datagrams');
      assert.deepEqual(
        kept.map((slot) => slotText(house.slab, slot)),
        ['0', '1', '2', '3'],
      );
      assert.equal(new Set(kept).size, 4);
      assert.equal(house.sums().dropNoSlot, 6);
      assert.equal(house.socket.freeSlots, 0);
      const slots = Int32Array.from(kept);
      assert.equal(house.socket.send(slots, 4), 4);
      house.socket.release(slots, 4);
      startEcho(house);
      client.send('again', house.socket.port, '127.0.0.1');
      await client.answered(5);
      assert.equal(client.answers[4].text, 'again');
      client.close();
      await closeHouse(house);
    });

    test('releasing what is not out, or not ours, is refused', async () => {
      const house = await openHouse(backend, { firstSlot: 4, slotCount: 4 });
      assert.throws(() => house.socket.release(Int32Array.of(4), 1), /only 0 are out/);
      const kept = keep(house);
      const client = await Client.open();
      client.send('a', house.socket.port, '127.0.0.1');
      await until(() => kept.length === 1, 'the datagram');
      assert.throws(() => house.socket.release(Int32Array.of(3), 1), /slot 3 released/);
      client.close();
      await house.socket.close();
    });

    test('more datagrams than one event takes are all answered', async () => {
      const house = await openHouse(backend, { slotCount: 2048 });
      const sizes: number[] = [];
      house.socket.start((slots, count) => {
        sizes.push(count);
        house.socket.send(slots, count);
        house.socket.release(slots, count);
      });
      const client = await Client.open();
      const count = UDP_BATCH * UDP_ROUNDS + 100;
      for (let i = 0; i < count; i++) client.send(`${i}`, house.socket.port, '127.0.0.1');
      await client.answered(count);
      assert.deepEqual(
        client.answers.map((answer) => Number(answer.text)).sort((a, b) => a - b),
        Array.from({ length: count }, (_, i) => i),
      );
      const most = Math.max(...sizes);
      assert.ok(backend === 'batch' ? most > 1 && most <= UDP_BATCH : most === 1, `batch ${most}`);
      client.close();
      await closeHouse(house);
    });

    test('a datagram that cannot be sent is dropped and counted, the others go out', async () => {
      const house = await openHouse(backend);
      const { slab, socket } = house;
      const kept = keep(house);
      const client = await Client.open();
      for (const text of ['one', 'port 0', 'broadcast', 'long', 'family', 'six']) {
        client.send(text, socket.port, '127.0.0.1');
      }
      await until(() => kept.length === 6, 'six datagrams');
      slab.u16[(kept[1] * SLOT_BYTES + layout.SLOT_PORT) >>> 1] = 0;
      // Without SO_BROADCAST the system answers EACCES.
      slab.bytes.fill(255, kept[2] * SLOT_BYTES + 20, kept[2] * SLOT_BYTES + 24);
      slab.i32[(kept[3] * SLOT_BYTES) >>> 2] = SLOT_DATA_BYTES + 1;
      slab.bytes[kept[4] * SLOT_BYTES + layout.SLOT_FAMILY] = 6;
      slab.bytes.fill(0x20, kept[4] * SLOT_BYTES + 8, kept[4] * SLOT_BYTES + 24);
      const slots = Int32Array.from([...kept, slab.slotCount, 0xffffffff]);
      const sent = socket.send(slots, slots.length);
      assert.equal(sent, backend === 'batch' ? 2 : 3, 'dgram learns of a refusal later');
      await client.answered(2);
      await until(() => house.sums().dropSendError === 6, 'the refusals');
      assert.deepEqual(
        client.answers.map((answer) => answer.text),
        ['one', 'six'],
      );
      for (const slot of [kept[1], kept[3], kept[4]]) assert.equal(slotText(slab, slot), '');
      assert.equal(house.sums().sent, 2);
      socket.release(slots, 6);
      client.close();
      await socket.close();
      assert.equal(socket.freeSlots, slab.slotCount);
    });

    test('a slot of length 0 is nothing to send and counts as nothing', async () => {
      const house = await openHouse(backend);
      assert.equal(house.socket.send(Int32Array.of(1, 2, 3), 3), 0);
      const sums = house.sums();
      assert.equal(sums.sent + sums.dropSendError + sums.dropSendFull, 0);
      await closeHouse(house);
    });

    test('stopped it can still send, and start goes on', async () => {
      const house = await openHouse(backend);
      const kept = keep(house);
      const client = await Client.open();
      client.send('first', house.socket.port, '127.0.0.1');
      await until(() => kept.length === 1, 'the datagram');
      house.socket.stop();
      assert.equal(house.socket.send(Int32Array.from(kept), 1), 1);
      house.socket.release(Int32Array.from(kept), 1);
      await client.answered(1);
      startEcho(house);
      client.send('second', house.socket.port, '127.0.0.1');
      await client.answered(2);
      assert.equal(client.answers[1].text, 'second');
      client.close();
      await closeHouse(house);
    });

    test('closing in the middle of a batch ends receiving; later answers are counted', async () => {
      const house = await openHouse(backend);
      const held = new Int32Array(UDP_BATCH);
      let calls = 0;
      let count = 0;
      const closed = new Promise<void>((resolve) => {
        house.socket.start((slots, n) => {
          calls++;
          held.set(slots);
          count = n;
          resolve(house.socket.close());
        });
      });
      const client = await Client.open();
      for (let i = 0; i < 3; i++) client.send(`${i}`, house.socket.port, '127.0.0.1');
      await closed;
      assert.equal(calls, 1);
      assert.equal(house.socket.send(held, count), 0);
      house.socket.release(held, count);
      assert.equal(house.sums().dropSendError, count);
      assert.throws(() => house.socket.start(() => undefined), /is closed/);
      client.close();
      await closeHouse(house);
    });

    test('a taken port and a foreign address are the system errors they are', async () => {
      const house = await openHouse(backend);
      const port = house.socket.port;
      await assert.rejects(openHouse(backend, { port }), { code: 'EADDRINUSE', syscall: 'bind' });
      const foreign = { address: '203.0.113.1' };
      await assert.rejects(openHouse(backend, foreign), { code: 'EADDRNOTAVAIL', syscall: 'bind' });
      await closeHouse(house);
      const again = await openHouse(backend, { port });
      assert.equal(again.socket.port, port);
      await closeHouse(again);
    });

    test('a failed bind leaves no descriptor behind', {
      skip: process.platform === 'linux' ? false : 'reads /proc',
    }, async () => {
      const house = await openHouse(backend);
      const { port } = house.socket;
      const descriptors = () => readdirSync('/proc/self/fd').length;
      const before = descriptors();
      for (let i = 0; i < 8; i++) await assert.rejects(openHouse(backend, { port }));
      assert.equal(descriptors(), before);
      await closeHouse(house);
    });

    test('options that cannot be are refused with what is allowed', async () => {
      const refused: [object, RegExp][] = [
        [{ port: 65_536 }, /port is 65536: expected an integer from 0 to 65535/],
        [{ receiver: -1 }, /receiver is -1/],
        [{ firstSlot: 250, slotCount: 7, slab: layout.Slab.allocate(256) }, /slotCount is 7/],
        [{ address: 'localhost' }, /'localhost' is not an IP address/],
        [{ address: 'fe80::1%nowhere0' }, /no interface 'nowhere0'|EINVAL|EADDRNOTAVAIL/],
      ];
      for (const [options, error] of refused) {
        await assert.rejects(openHouse(backend, options), error);
      }
    });

    test('an IPv6 wildcard leaves the port to IPv4', async () => {
      const six = await openHouse(backend, { address: '::' });
      const four = await openHouse(backend, { address: '0.0.0.0', port: six.socket.port });
      assert.equal(six.socket.address, '::');
      assert.equal(four.socket.address, '0.0.0.0');
      startEcho(six);
      startEcho(four);
      const client = await Client.open();
      client.send('to four', six.socket.port, '127.0.0.1');
      await client.answered(1);
      assert.equal(four.sums().sent, 1);
      assert.equal(six.sums().received, 0);
      client.close();
      await closeHouse(six);
      await closeHouse(four);
    });
  });
}

test('describeBackend says which and why', () => {
  assert.deepEqual(describeBackend('dgram'), { backend: 'dgram', reason: 'dgram (asked for)' });
  const auto = describeBackend('auto');
  assert.ok(auto.reason.startsWith(`${auto.backend} (`), auto.reason);
  if (auto.backend === 'batch') assert.equal(describeBackend('batch').backend, 'batch');
  else assert.throws(() => describeBackend('batch'), /'batch' is not available: .*'dgram'/);
});

test('dgram says that it cannot share a port', async () => {
  const house = openHouse('dgram', { reusePort: true });
  await assert.rejects(house, /reusePort needs the UDP backend batch/);
});

test('auto opens the backend it describes', async () => {
  const house = await openHouse('dgram');
  const other = await openUdp(
    {
      address: '127.0.0.1',
      port: 0,
      slab: house.slab,
      firstSlot: 0,
      slotCount: 1,
      receiver: 0,
      counters: new Float64Array(32),
    },
    'auto',
  );
  assert.equal(other.backend, describeBackend('auto').backend);
  await other.close();
  await closeHouse(house);
});
