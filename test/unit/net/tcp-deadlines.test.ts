/** TCP: deadlines on a fake clock, and the memory that clients share. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WRITE_MS } from '../../../server/net/tcp/output.ts';
import { MESSAGE_MS, TCP_TICK_MS } from '../../../server/net/tcp/tcp-receiver.ts';
import { MAX_MESSAGE_BYTES } from '../../../workers/overflow.ts';
import {
  answerTcp,
  closeTcpHouse,
  dropTcp,
  frame,
  numbered,
  openTcpHouse,
  setTcpLength,
  startTcpEcho,
  startTcpKeep,
  TcpClient,
  type TcpHouse,
  turns,
  until,
} from '../../helpers/tcp-client.ts';

const IDLE_MS = 10_000;

/** Sends the answer of `slot` again and again until some of it is unsent. */
function fillOutput(house: TcpHouse, slot: number): void {
  for (let i = 0; i < 500 && house.tcp.unsentBytes === 0; i++) {
    setTcpLength(house, slot, MAX_MESSAGE_BYTES);
    house.tcp.send(Int32Array.of(slot), 1);
  }
  assert.ok(house.tcp.unsentBytes > 0);
}

/** Closes a house in which messages were sent more or less often than received. */
async function closeUneven(house: TcpHouse): Promise<void> {
  dropTcp(house, [...house.taken]);
  const { received, sent, dropConnectionGone } = house.sums();
  await closeTcpHouse(house, received - sent - dropConnectionGone);
}

describe('TCP: deadlines', () => {
  test('an idle connection is closed after idleMs, counted from its last answer', async () => {
    const house = await openTcpHouse();
    startTcpEcho(house);
    const silent = await TcpClient.open(house.port);
    const asking = await TcpClient.open(house.port);
    await until(() => house.tcp.connections === 2, 'the connections');
    house.clock.advance(1_000);
    asking.ask(numbered(1));
    await asking.answered(1);
    await until(() => house.tcp.idleConnections === 2, 'idle connections');
    house.clock.advance(IDLE_MS - 1_000 - 1);
    await turns();
    assert.equal(house.tcp.connections, 2);
    house.clock.advance(1);
    await until(() => silent.closed, 'the first close');
    house.clock.advance(999);
    await turns();
    assert.equal(asking.closed, false);
    house.clock.advance(1);
    await until(() => asking.closed, 'the second close');
    assert.deepEqual([silent.error, asking.error], [null, null]);
    await closeTcpHouse(house);
    assert.equal(house.sums().tcpTimeouts, 2);
  });

  test('a byte at a time is cut off 5 s after the first', async () => {
    const house = await openTcpHouse();
    startTcpEcho(house);
    const client = await TcpClient.open(house.port);
    const bytes = frame(numbered(1, 400));
    const sendByte = async (i: number) => {
      const held = house.tcp.heldBytes;
      client.socket.write(Uint8Array.of(bytes[i]));
      await turns();
      assert.ok(house.tcp.heldBytes >= Math.max(held, 1));
    };
    for (let i = 0; i < 20; i++) {
      await sendByte(i);
      if (i < 19) house.clock.advance(MESSAGE_MS / 20);
    }
    house.clock.advance(MESSAGE_MS / 20 - 1);
    await turns();
    assert.equal(client.closed, false);
    house.clock.advance(1);
    await until(() => client.closed, 'the close');
    await closeTcpHouse(house);
    assert.equal(house.sums().tcpTimeouts, 1);
  });

  test('the deadline is each message’s own', async () => {
    const house = await openTcpHouse();
    startTcpEcho(house);
    const client = await TcpClient.open(house.port);
    const bytes = frame(numbered(1));
    client.socket.write(bytes.subarray(0, 5));
    for (let i = 1; i <= 4; i++) {
      await until(() => house.tcp.heldBytes > 0, 'the first part');
      house.clock.advance(MESSAGE_MS - TCP_TICK_MS);
      client.socket.write(Buffer.concat([bytes.subarray(5), bytes.subarray(0, 5)]));
      await client.answered(i);
    }
    house.clock.advance(MESSAGE_MS);
    await until(() => client.closed, 'the close');
    await closeTcpHouse(house);
  });

  test('no deadline while its messages are in flight or wait for slots', async () => {
    const house = await openTcpHouse({ slotCount: 1 });
    startTcpKeep(house);
    const client = await TcpClient.open(house.port);
    client.socket.write(Buffer.concat([frame(numbered(1)), frame(numbered(2)), Buffer.of(0, 99)]));
    await until(() => house.taken.length === 1 && house.tcp.heldBytes > 0, 'the first message');
    for (let i = 0; i < 4; i++) {
      house.clock.advance(IDLE_MS);
      await turns();
    }
    answerTcp(house, [...house.taken]);
    await until(() => house.taken.length === 1, 'the second message');
    answerTcp(house, [...house.taken]);
    await client.answered(2);
    house.clock.advance(MESSAGE_MS - TCP_TICK_MS);
    await turns();
    assert.equal(client.closed, false, 'the third is not late yet');
    house.clock.advance(TCP_TICK_MS);
    await until(() => client.closed, 'the close');
    await closeTcpHouse(house);
  });

  test('a client that never reads is closed after 5 s without progress', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const client = await TcpClient.open(house.port);
    client.socket.pause();
    client.ask(numbered(1));
    await until(() => house.taken.length === 1, 'the message');
    const [slot] = house.taken;
    fillOutput(house, slot);
    // What node:net has read ahead, and what the system moves by itself, comes to rest.
    await turns(200);
    house.clock.advance(WRITE_MS - TCP_TICK_MS);
    await turns();
    // More answers are no progress.
    setTcpLength(house, slot, 100);
    assert.equal(house.tcp.send(Int32Array.of(slot), 1), 1);
    house.clock.advance(2 * TCP_TICK_MS);
    await until(() => house.tcp.connections === 0, 'the close');
    assert.equal(house.tcp.unsentBytes, 0);
    client.close();
    await closeUneven(house);
    assert.equal(house.sums().tcpTimeouts, 1);
  });

  test('a client that reads slowly is not', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const client = await TcpClient.open(house.port);
    client.socket.pause();
    client.ask(numbered(1));
    await until(() => house.taken.length === 1, 'the message');
    fillOutput(house, house.taken[0]);
    for (let i = 0; i < 5; i++) {
      const before = house.tcp.unsentBytes;
      fillOutput(house, house.taken[0]);
      house.clock.advance(WRITE_MS - TCP_TICK_MS);
      assert.ok(before > 0);
      client.socket.resume();
      await until(() => house.tcp.unsentBytes === 0, 'the answers');
      client.socket.pause();
      await turns();
      fillOutput(house, house.taken[0]);
    }
    assert.equal(house.tcp.connections, 1);
    client.close();
    await until(() => house.tcp.connections === 0, 'the close');
    await closeUneven(house);
    assert.equal(house.sums().tcpTimeouts, 0);
  });
});

describe('TCP: shared memory', () => {
  test('incomplete messages share memory: the oldest is cut off', async () => {
    const house = await openTcpHouse({ heldBytes: 40_000 });
    startTcpEcho(house);
    const clients: TcpClient[] = [];
    for (let i = 0; i < 3; i++) {
      const client = await TcpClient.open(house.port);
      client.socket.write(Buffer.concat([Buffer.of(0xff, 0xff), Buffer.alloc(14_000)]));
      await until(() => house.tcp.heldBytes > i * 16_000 || i === 2, 'the part');
      await turns();
      clients.push(client);
    }
    await until(() => clients[0].closed, 'the cut');
    assert.equal(house.tcp.connections, 2);
    assert.equal(house.tcp.heldBytes, 2 * 16_384);
    const ok = await TcpClient.open(house.port);
    ok.ask(numbered(1));
    await ok.answered(1);
    for (const client of [...clients, ok]) client.close();
    await closeTcpHouse(house);
  });

  test('waiting messages share it too', async () => {
    const house = await openTcpHouse({ heldBytes: 250_000, slotCount: 1 });
    startTcpKeep(house);
    const clients: TcpClient[] = [];
    for (let i = 0; i < 8; i++) {
      const client = await TcpClient.open(house.port);
      client.socket.write(
        Buffer.concat(Array.from({ length: 20 }, () => frame(Buffer.alloc(5_000)))),
      );
      await turns();
      clients.push(client);
    }
    await until(() => {
      house.clock.advance(TCP_TICK_MS);
      return house.tcp.connections === 2;
    }, 'the cuts');
    assert.ok(house.tcp.heldBytes <= 250_000);
    for (const client of clients) client.close();
    // Their messages are served before it is seen that nobody waits for the answers.
    await until(() => {
      dropTcp(house, [...house.taken]);
      return house.tcp.connections === 0;
    }, 'the close');
    await closeUneven(house);
  });

  test('unread answers share memory: those longest without progress are cut off', async () => {
    const house = await openTcpHouse({ unsentBytes: 100_000 });
    startTcpKeep(house);
    const first = await TcpClient.open(house.port);
    const second = await TcpClient.open(house.port);
    for (const client of [first, second]) {
      client.socket.pause();
      client.ask(numbered(1));
      const count = house.taken.length + 1;
      await until(() => house.taken.length === count, 'the message');
    }
    const [one, two] = house.taken;
    fillOutput(house, one);
    house.clock.advance(TCP_TICK_MS);
    for (let i = 0; i < 500 && house.tcp.connections === 2; i++) {
      setTcpLength(house, two, MAX_MESSAGE_BYTES);
      house.tcp.send(Int32Array.of(two), 1);
    }
    assert.equal(house.tcp.connections, 1);
    assert.ok(house.tcp.unsentBytes <= 100_000);
    setTcpLength(house, one, 50);
    assert.equal(house.tcp.send(Int32Array.of(one), 1), 0, 'the first is gone');
    for (const client of [first, second]) client.close();
    await closeUneven(house);
  });
});
