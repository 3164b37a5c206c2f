/** TCP at its caps: who makes room for whom, in all and within a network. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
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
  until,
} from '../../helpers/tcp-client.ts';

/** Connects and waits until the server has the connection, as its `count`th. */
async function open(house: TcpHouse, count: number, from?: string): Promise<TcpClient> {
  const client = await TcpClient.open(house.port, '127.0.0.1', from);
  await until(() => house.tcp.connections === count, 'the connection');
  house.clock.advance(1);
  return client;
}

/** Sends half a message, and waits until the server has it. */
async function sendHalf(house: TcpHouse, client: TcpClient): Promise<void> {
  const held = house.tcp.heldBytes;
  client.socket.write(frame(numbered(1, 40)).subarray(0, 20));
  await until(() => house.tcp.heldBytes > held, 'half a message');
  house.clock.advance(1);
}

/** Of each client, whether it is closed. */
function closedOf(clients: readonly TcpClient[]): boolean[] {
  return clients.map((client) => client.closed);
}

/** The books of evictions: those accepted, evicted and refused. */
function tolls(house: TcpHouse): number[] {
  const { tcpAccepted, tcpEvicted, tcpRefused } = house.sums();
  return [tcpAccepted, tcpEvicted, tcpRefused];
}

describe('TCP: the cap of all', () => {
  test('at the cap the connection that was idle the longest makes room', async () => {
    const house = await openTcpHouse({ maxConnections: 3 });
    startTcpKeep(house);
    const clients: TcpClient[] = [];
    for (let i = 0; i < 3; i++) {
      clients.push(await TcpClient.open(house.port));
      await until(() => house.tcp.connections === i + 1, 'the connection');
      house.clock.advance(10);
    }
    // The first is used again: the second is now the oldest.
    clients[0].ask(numbered(1));
    await until(() => house.taken.length === 1, 'the message');
    answerTcp(house, [...house.taken]);
    const fourth = await TcpClient.open(house.port);
    await until(() => clients[1].closed, 'the eviction');
    assert.equal(house.tcp.connections, 3);
    const open = [clients[0], clients[2], fourth];
    assert.deepEqual(
      open.map((client) => client.closed),
      [false, false, false],
    );
    // None is idle: there is no room.
    open.forEach((client, i) => {
      client.ask(numbered(i));
    });
    await until(() => house.taken.length === 3, 'three messages');
    const fifth = await TcpClient.open(house.port);
    await until(() => fifth.closed, 'the refusal');
    answerTcp(house, [...house.taken]);
    for (const client of open) {
      await client.answered(1);
      client.close();
    }
    await closeTcpHouse(house);
    const { tcpAccepted, tcpEvicted, tcpRefused } = house.sums();
    assert.deepEqual([tcpAccepted, tcpEvicted, tcpRefused], [4, 1, 1]);
  });

  test('a byte each few seconds locks nobody out: incomplete messages make room', async () => {
    const house = await openTcpHouse({ maxConnections: 3 });
    startTcpEcho(house);
    const slow = [await open(house, 1), await open(house, 2), await open(house, 3)];
    for (const i of [1, 0, 2]) await sendHalf(house, slow[i]);
    assert.equal(house.tcp.idleConnections, 0);
    const client = await TcpClient.open(house.port);
    await until(() => slow[1].closed, 'the eviction');
    client.ask(numbered(7));
    await client.answered(1);
    assert.deepEqual(closedOf(slow), [false, true, false]);
    // It is idle now, but not for as long as the others are half way: a newcomer, idle until its
    // question arrives, would otherwise always be the first to go.
    const next = await TcpClient.open(house.port);
    await until(() => slow[0].closed, 'the second eviction');
    assert.deepEqual(closedOf(slow), [true, true, false]);
    assert.equal(client.closed, false);
    assert.deepEqual(tolls(house), [5, 2, 0]);
    for (const c of [...slow, client, next]) c.close();
    await closeTcpHouse(house);
  });

  test('clients that do not read lock nobody out: the longest stalled makes room', async () => {
    const house = await openTcpHouse({ maxConnections: 2 });
    startTcpKeep(house);
    const stalled = [await open(house, 1), await open(house, 2)];
    for (const [i, client] of stalled.entries()) {
      client.socket.pause();
      client.ask(numbered(i));
      await until(() => house.taken.length === i + 1, 'the message');
    }
    for (const slot of [...house.taken].reverse()) {
      const before = house.tcp.unsentBytes;
      for (let i = 0; i < 500 && house.tcp.unsentBytes <= before; i++) {
        setTcpLength(house, slot, MAX_MESSAGE_BYTES);
        house.tcp.send(Int32Array.of(slot), 1);
      }
      house.clock.advance(1);
    }
    dropTcp(house, [...house.taken]);
    const client = await TcpClient.open(house.port);
    await until(() => house.sums().tcpEvicted === 1, 'the eviction');
    for (const { socket } of stalled) socket.resume();
    await until(() => stalled[1].closed, 'the close');
    assert.equal(stalled[0].closed, false);
    assert.deepEqual(tolls(house), [3, 1, 0]);
    for (const c of [...stalled, client]) c.close();
    const { received, sent } = house.sums();
    await closeTcpHouse(house, received - sent);
  });

  test('messages that wait for us are not cut off to make room', async () => {
    const house = await openTcpHouse({ maxConnections: 2, slotCount: 1 });
    startTcpKeep(house);
    const clients = [await open(house, 1), await open(house, 2)];
    for (const client of clients) client.ask(numbered(1), numbered(2));
    await until(() => house.taken.length === 1 && house.tcp.heldBytes > 14, 'waiting messages');
    await until(() => house.tcp.idleConnections === 0, 'nobody idle');
    const late = await TcpClient.open(house.port);
    await until(() => late.closed, 'the refusal');
    for (const client of clients) {
      await client.answered(2, () => answerTcp(house, [...house.taken]));
      client.close();
    }
    assert.deepEqual(tolls(house), [2, 0, 1]);
    await closeTcpHouse(house);
  });
});

describe('TCP: the cap of a network', () => {
  test('one host does not shut TCP for its network: its idle connections make room', async () => {
    const house = await openTcpHouse({ maxConnectionsPerPrefix: 3 });
    startTcpKeep(house);
    const neighbour = await open(house, 1, '127.0.8.3');
    const host: TcpClient[] = [];
    for (let i = 0; i < 3; i++) host.push(await open(house, 2 + i, '127.0.7.1'));
    // The first is used again: the second is now the oldest of its network.
    host[0].ask(numbered(1));
    await until(() => house.taken.length === 1, 'the message');
    answerTcp(house, [...house.taken]);
    const other = await TcpClient.open(house.port, '127.0.0.1', '127.0.7.200');
    await until(() => host[1].closed, 'the eviction');
    other.ask(numbered(2));
    await other.answered(1, () => answerTcp(house, [...house.taken]));
    assert.deepEqual(closedOf([...host, neighbour]), [false, true, false, false]);
    assert.deepEqual(tolls(house), [5, 1, 0]);
    for (const c of [...host, other, neighbour]) c.close();
    await closeTcpHouse(house);
  });

  test('of a network with none idle, the longest incomplete message makes room', async () => {
    const house = await openTcpHouse({ maxConnectionsPerPrefix: 2 });
    startTcpEcho(house);
    const neighbour = await open(house, 1, '127.0.8.3');
    await sendHalf(house, neighbour);
    const host = [await open(house, 2, '127.0.7.1'), await open(house, 3, '127.0.7.1')];
    await sendHalf(house, host[1]);
    await sendHalf(house, host[0]);
    const other = await TcpClient.open(house.port, '127.0.0.1', '127.0.7.200');
    await until(() => host[1].closed, 'the eviction');
    other.ask(numbered(1));
    await other.answered(1);
    assert.deepEqual(closedOf([host[0], neighbour]), [false, false]);
    assert.deepEqual(tolls(house), [4, 1, 0]);
    for (const c of [host[0], other, neighbour]) c.close();
    await closeTcpHouse(house);
  });

  test('a network whose connections are all at work has no room; its neighbour has', async () => {
    const house = await openTcpHouse({ maxConnectionsPerPrefix: 2 });
    startTcpKeep(house);
    const host = [await open(house, 1, '127.0.7.1'), await open(house, 2, '127.0.7.200')];
    for (const client of host) client.ask(numbered(1));
    await until(() => house.taken.length === 2, 'the messages');
    const idle = await open(house, 3, '127.0.8.1');
    const third = await TcpClient.open(house.port, '127.0.0.1', '127.0.7.3');
    await until(() => third.closed, 'the refusal');
    const neighbour = await open(house, 4, '127.0.8.3');
    answerTcp(house, [...house.taken]);
    host[0].close();
    await until(() => house.tcp.connections === 3, 'the close');
    const fourth = await open(house, 4, '127.0.7.3');
    fourth.ask(numbered(2));
    await fourth.answered(1, () => answerTcp(house, [...house.taken]));
    assert.deepEqual(closedOf([host[1], idle, neighbour]), [false, false, false]);
    assert.deepEqual(tolls(house), [5, 0, 1]);
    for (const c of [host[1], idle, neighbour, fourth]) c.close();
    await closeTcpHouse(house);
  });
});
