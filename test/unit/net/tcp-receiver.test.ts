/** DNS over TCP on loopback: messages and their answers, order, halves, resets, the books. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FRAME_BYTES } from '../../../server/net/tcp/framer.ts';
import {
  MAX_IN_FLIGHT,
  MAX_UNSENT_BYTES,
  MESSAGES_PER_LOOP,
} from '../../../server/net/tcp/intake.ts';
import { TCP_CLOSE_WAIT_MS, TcpReceiver } from '../../../server/net/tcp/tcp-receiver.ts';
import { MAX_MESSAGE_BYTES } from '../../../workers/overflow.ts';
import * as layout from '../../../workers/slab.ts';
import {
  answerTcp,
  closeTcpHouse,
  dropTcp,
  FIRST_SLOT,
  frame,
  lightenTcp,
  numbered,
  openTcpHouse,
  setTcpLength,
  startTcpEcho,
  startTcpKeep,
  TcpClient,
  tcpMessage,
  turns,
  until,
} from '../../helpers/tcp-client.ts';

const HUNDRED = Array.from({ length: 100 }, (_, i) => i);

describe('TCP: messages and answers', () => {
  test('100 queries in one segment are all answered, in batches', async () => {
    const house = await openTcpHouse();
    startTcpEcho(house);
    const client = await TcpClient.open(house.port);
    client.ask(...HUNDRED.map((i) => numbered(i, 12 + i)));
    await client.answered(100);
    assert.deepEqual(client.numbers(), HUNDRED);
    assert.deepEqual(
      client.answers.map((answer) => answer.length),
      HUNDRED.map((i) => 12 + i),
    );
    client.close();
    await closeTcpHouse(house);
    assert.equal(house.sums().sent, 100);
  });

  test('the slot says who asked, and where', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const client = await TcpClient.open(house.port, '127.0.0.1', '127.0.0.9');
    client.ask(Buffer.from('twelve bytes'));
    await until(() => house.taken.length === 1, 'the message');
    const slot = house.taken[0];
    const at = slot * layout.SLOT_BYTES;
    const { bytes, u16, i32 } = house.slab;
    assert.ok(slot >= FIRST_SLOT);
    assert.equal(tcpMessage(house, slot).toString(), 'twelve bytes');
    assert.equal(bytes[at + layout.SLOT_FAMILY], 4);
    assert.equal(bytes[at + layout.SLOT_TRANSPORT], layout.TRANSPORT_TCP);
    assert.equal(u16[(at + layout.SLOT_PORT) >>> 1], client.socket.localPort);
    const address = (start: number) => [...bytes.slice(at + start, at + start + 16)];
    const mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0];
    assert.deepEqual(address(layout.SLOT_ADDRESS), [...mapped, 9]);
    assert.deepEqual(address(layout.SLOT_LOCAL), [...mapped, 1]);
    assert.equal(i32[(at + layout.SLOT_BUDGET) >>> 2], MAX_MESSAGE_BYTES);
    assert.equal(u16[(at + layout.SLOT_RECEIVER) >>> 1], 5);
    const zero = [layout.SLOT_PROTOCOL, layout.SLOT_STATE].map((offset) => bytes[at + offset]);
    assert.deepEqual(zero, [0, 0]);
    assert.equal(i32[(at + layout.SLOT_KEY_HASH) >>> 2], 0);
    answerTcp(house, [slot]);
    await client.answered(1);
    client.close();
    await closeTcpHouse(house);
  });

  test('65,535 bytes both ways, and a byte at a time', async () => {
    const house = await openTcpHouse();
    startTcpEcho(house);
    const client = await TcpClient.open(house.port);
    const longest = Buffer.from(Uint8Array.from({ length: MAX_MESSAGE_BYTES }, (_, i) => i * 7));
    client.ask(longest, longest);
    await client.answered(2);
    assert.ok(client.answers.every((answer) => answer.equals(longest)));
    for (const byte of frame(numbered(3))) {
      client.socket.write(Uint8Array.of(byte));
      await turns(2);
    }
    await client.answered(3);
    assert.deepEqual(client.answers[2], numbered(3));
    client.close();
    await closeTcpHouse(house);
  });

  test('IPv6, on a wildcard that leaves IPv4 alone', async () => {
    const house = await openTcpHouse();
    startTcpEcho(house);
    const { port, address } = await house.tcp.listen('::', 0);
    assert.equal(address, '::');
    await house.tcp.listen('0.0.0.0', port);
    const six = await TcpClient.open(port, '::1');
    const four = await TcpClient.open(port, '127.0.0.1');
    six.ask(numbered(6));
    four.ask(numbered(4));
    await Promise.all([six.answered(1), four.answered(1)]);
    six.close();
    four.close();
    await closeTcpHouse(house);
  });

  test('answers leave in the order they are made', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const client = await TcpClient.open(house.port);
    client.ask(numbered(1), numbered(2), numbered(3));
    await until(() => house.taken.length === 3, 'three messages');
    const [one, two, three] = house.taken;
    answerTcp(house, [three]);
    answerTcp(house, [two, one]);
    await client.answered(3);
    assert.deepEqual(client.numbers(), [3, 2, 1]);
    client.close();
    await closeTcpHouse(house);
  });

  test('a message may stay without an answer', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const client = await TcpClient.open(house.port);
    client.ask(numbered(1), numbered(2));
    await until(() => house.taken.length === 2, 'two messages');
    setTcpLength(house, house.taken[0], 0);
    answerTcp(house, [...house.taken]);
    await client.answered(1);
    assert.deepEqual(client.numbers(), [2]);
    assert.equal(house.tcp.idleConnections, 1);
    client.close();
    await closeTcpHouse(house, 1);
  });

  test('a client that sends no more still gets its answers, and then the end', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const client = await TcpClient.open(house.port);
    client.socket.end(Buffer.concat([frame(numbered(1)), frame(numbered(2)), Buffer.of(0, 40, 1)]));
    await until(() => house.taken.length === 2, 'two messages');
    await turns();
    assert.equal(client.ended, false);
    answerTcp(house, [house.taken[1]]);
    await client.answered(1);
    assert.equal(client.ended, false, 'one is still to come');
    answerTcp(house, [house.taken[0]]);
    await until(() => client.closed, 'the end');
    assert.deepEqual(client.numbers(), [2, 1]);
    assert.equal(client.error, null);
    await until(() => house.tcp.connections === 0, 'the end on this side');
    await closeTcpHouse(house);
  });

  for (const [what, bytes] of [
    ['length 0', Buffer.of(0, 0)],
    ['11 bytes', frame(Buffer.alloc(11))],
    ['a message and then length 11', Buffer.concat([frame(numbered(1)), Buffer.of(0, 11)])],
  ] as const) {
    test(`${what}: the connection is closed`, async () => {
      const house = await openTcpHouse();
      startTcpEcho(house);
      const client = await TcpClient.open(house.port);
      client.socket.write(bytes);
      await until(() => client.closed, 'the close');
      await closeTcpHouse(house);
      assert.equal(house.sums().tcpMalformed, 1);
    });
  }
});

describe('TCP: connections that go', () => {
  test('answers to a connection that is gone are counted, whoever has its number now', async () => {
    const house = await openTcpHouse({ maxConnections: 1 });
    startTcpKeep(house);
    const first = await TcpClient.open(house.port);
    first.ask(numbered(1), numbered(2));
    await until(() => house.taken.length === 2, 'two messages');
    first.socket.resetAndDestroy();
    await until(() => house.tcp.connections === 0, 'the reset');
    const second = await TcpClient.open(house.port);
    second.ask(numbered(3));
    await until(() => house.taken.length === 3, 'the third message');
    const [one, two, three] = house.taken;
    assert.equal(house.tcp.send(Int32Array.of(one, two, three), 3), 1);
    const lengths = [one, two, three].map((slot) => tcpMessage(house, slot).length);
    assert.deepEqual(lengths, [0, 0, 12]);
    house.tcp.release(Int32Array.of(one, two, three), 3);
    house.taken.length = 0;
    await second.answered(1);
    assert.deepEqual(second.numbers(), [3]);
    second.close();
    await closeTcpHouse(house);
    assert.equal(house.sums().dropConnectionGone, 2);
  });

  test('reset in the middle of an answer', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const client = await TcpClient.open(house.port);
    await lightenTcp(house, client);
    client.socket.pause();
    for (let i = 0; i < MAX_IN_FLIGHT; i++) client.ask(numbered(i));
    await until(() => house.taken.length === MAX_IN_FLIGHT, 'the messages');
    for (let round = 0; house.tcp.unsentBytes === 0 && round < 100; round++) {
      for (const slot of house.taken) setTcpLength(house, slot, MAX_MESSAGE_BYTES);
      house.tcp.send(Int32Array.from(house.taken), house.taken.length);
    }
    assert.ok(house.tcp.unsentBytes > 0);
    client.socket.resetAndDestroy();
    await until(() => house.tcp.connections === 0, 'the reset');
    assert.equal(house.tcp.unsentBytes, 0);
    dropTcp(house, [...house.taken]);
    const sums = house.sums();
    await closeTcpHouse(house, sums.received - sums.sent);
  });

  test('closing: what was written arrives, more does not', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const client = await TcpClient.open(house.port);
    const idle = await TcpClient.open(house.port);
    client.ask(numbered(1));
    await until(() => house.taken.length === 1, 'the message');
    house.tcp.stop();
    await assert.rejects(house.tcp.listen('127.0.0.1', 0), /stopped/);
    assert.throws(() => startTcpKeep(house), /stopped/);
    client.ask(numbered(2));
    await turns();
    assert.equal(house.taken.length, 1, 'no more is read');
    answerTcp(house, [...house.taken]);
    const closing = house.tcp.close();
    await until(() => client.closed && idle.closed, 'the end');
    await closing;
    assert.deepEqual(client.numbers(), [1]);
    assert.deepEqual([client.error, idle.error], [null, null]);
    await closeTcpHouse(house);
  });

  test('closing: who does not read nor close is cut off', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const client = await TcpClient.open(house.port);
    client.socket.pause();
    client.ask(numbered(1));
    await until(() => house.taken.length === 1, 'the message');
    const { clock } = house;
    for (let i = 0; i < 100; i++) {
      setTcpLength(house, house.taken[0], MAX_MESSAGE_BYTES);
      house.tcp.send(Int32Array.from(house.taken), 1);
    }
    assert.ok(house.tcp.unsentBytes > 0);
    dropTcp(house, [...house.taken]);
    const closing = house.tcp.close();
    clock.advance(TCP_CLOSE_WAIT_MS - 1);
    await turns();
    assert.equal(house.tcp.connections, 1);
    clock.advance(1);
    await closing;
    client.close();
    const sums = house.sums();
    await closeTcpHouse(house, sums.received - sums.sent);
  });

  test('what opened nothing closes; an address in use is the system’s error', async () => {
    const house = await openTcpHouse();
    await assert.rejects(house.tcp.listen('127.0.0.1', house.port), {
      code: 'EADDRINUSE',
      syscall: 'listen',
    });
    await closeTcpHouse(house);
    const { slab, overflow, clock } = house;
    const counters = new Float64Array(64);
    const options = { slab, overflow, firstSlot: 16, slotCount: 8, receiver: 1, counters, clock };
    const limits = { maxConnections: 4, maxConnectionsPerPrefix: 4, idleMs: 1000 };
    await new TcpReceiver({ ...options, ...limits }).close();
    assert.throws(() => new TcpReceiver({ ...options, ...limits, maxConnections: 0 }), /from 1 to/);
    assert.throws(() => new TcpReceiver({ ...options, ...limits, slotCount: 500 }), /slotCount/);
  });
});

describe('TCP: back-pressure', () => {
  test('a connection has MAX_IN_FLIGHT messages in flight, and goes on as they end', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const client = await TcpClient.open(house.port);
    await lightenTcp(house, client);
    client.ask(...HUNDRED.map((i) => numbered(i)));
    await until(() => house.taken.length > 0, 'messages');
    await turns();
    assert.equal(house.taken.length, MAX_IN_FLIGHT);
    answerTcp(house, house.taken.slice(0, 5));
    await turns();
    assert.equal(house.taken.length, MAX_IN_FLIGHT);
    await client.answered(100, () => answerTcp(house, [...house.taken]));
    assert.deepEqual(client.numbers(), HUNDRED);
    client.close();
    await closeTcpHouse(house);
  });

  test('without slots messages wait, in turn, and none is lost', async () => {
    const house = await openTcpHouse({ slotCount: 8 });
    startTcpKeep(house);
    const clients: TcpClient[] = [];
    for (let i = 0; i < 5; i++) clients.push(await TcpClient.open(house.port));
    for (const client of clients) client.ask(...HUNDRED.map((i) => numbered(i)));
    await until(() => house.taken.length === 8, 'the first messages');
    await turns();
    assert.equal(house.taken.length, 8);
    assert.ok(house.tcp.heldBytes > 0);
    const done = () => clients.every((client) => client.answers.length === 100);
    let most = 0;
    await until(() => {
      answerTcp(house, [...house.taken]);
      const counts = clients.map((client) => client.answers.length);
      most = Math.max(most, Math.max(...counts) - Math.min(...counts));
      house.clock.advance(1);
      return done();
    }, 'all answers');
    // Each has had its turns: nobody is far ahead (the first had no one to wait for).
    assert.ok(most <= 40, `one client was ${most} answers ahead`);
    for (const client of clients) {
      assert.deepEqual(client.numbers(), HUNDRED);
      client.close();
    }
    await closeTcpHouse(house);
  });

  test('messages before the start wait for it', async () => {
    const house = await openTcpHouse();
    const client = await TcpClient.open(house.port);
    client.ask(numbered(1));
    await until(() => house.tcp.heldBytes > 0, 'the message');
    startTcpEcho(house);
    await client.answered(1);
    client.close();
    await closeTcpHouse(house);
  });

  test('one turn of the event loop takes MESSAGES_PER_LOOP messages, of all', async () => {
    const house = await openTcpHouse();
    let handed = 0;
    house.tcp.start((slots, count) => {
      handed += count;
      house.tcp.send(slots, count);
      house.tcp.release(slots, count);
    });
    const clients = [await TcpClient.open(house.port), await TcpClient.open(house.port)];
    const many = Array.from({ length: 400 }, (_, i) => numbered(i));
    for (const client of clients) client.ask(...many);
    await until(() => handed > 0, 'messages');
    await turns();
    assert.equal(handed, MESSAGES_PER_LOOP);
    house.clock.advance(1);
    await turns();
    assert.equal(handed, 2 * MESSAGES_PER_LOOP);
    for (const client of clients) {
      await client.answered(400, () => house.clock.advance(1));
      client.close();
    }
    await closeTcpHouse(house);
  });

  test('a client that does not read is asked no more questions', async () => {
    const house = await openTcpHouse();
    let handed = 0;
    house.tcp.start((slots, count) => {
      handed += count;
      for (let i = 0; i < count; i++) setTcpLength(house, slots[i], MAX_MESSAGE_BYTES);
      house.tcp.send(slots, count);
      house.tcp.release(slots, count);
    });
    const client = await TcpClient.open(house.port);
    client.socket.pause();
    const many = Array.from({ length: 2_000 }, (_, i) => numbered(i));
    client.ask(...many);
    await until(() => {
      house.clock.advance(1);
      return house.tcp.unsentBytes > 0;
    }, 'a full connection');
    house.clock.advance(5);
    await turns();
    const before = handed;
    assert.ok(before < 2_000, `${before} of 2,000 handed on`);
    const most = MAX_UNSENT_BYTES + MAX_IN_FLIGHT * FRAME_BYTES;
    assert.ok(house.tcp.unsentBytes <= most, `${house.tcp.unsentBytes} bytes unsent`);
    for (let i = 0; i < 10; i++) {
      house.clock.advance(1);
      await turns(2);
    }
    assert.equal(handed, before);
    client.socket.resume();
    await client.answered(2_000, () => house.clock.advance(1));
    client.close();
    await closeTcpHouse(house);
  });
});
