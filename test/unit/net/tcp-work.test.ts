/** TCP: crowded names over TCP do not keep UDP waiting; small answers are not slowed down by it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MAX_UNSENT_BYTES } from '../../../server/net/tcp/intake.ts';
import { TCP_TICK_MS } from '../../../server/net/tcp/tcp-receiver.ts';
import {
  BURST_BYTES,
  FIRST_WEIGHT_BYTES,
  FREE_ANSWER_BYTES,
  LEAST_WEIGHT_BYTES,
  PACE_BYTES_PER_MS,
  WORK_BYTES,
  Work,
} from '../../../server/net/tcp/work.ts';
import { MAX_MESSAGE_BYTES } from '../../../workers/overflow.ts';
import {
  answerTcp,
  closeTcpHouse,
  FakeClock,
  lightenTcp,
  numbered,
  openTcpHouse,
  setTcpLength,
  startTcpKeep,
  TcpClient,
  type TcpHouse,
  turns,
  until,
} from '../../helpers/tcp-client.ts';

const SLOTS = 128;
/** As many of the longest answers as may be in flight. */
const MOST_LONG = Math.floor(WORK_BYTES / MAX_MESSAGE_BYTES);
/** Ticks until a surprise of the longest answer is of no importance. */
const FORGET_TICKS = 60;

function newWork(): { work: Work; clock: FakeClock } {
  const clock = new FakeClock();
  const work = new Work(4, 0, SLOTS, clock);
  for (let n = 0; n < 4; n++) work.begin(n);
  return { work, clock };
}

/** Places and answers a message of `n`. */
function exchange(work: Work, n: number, length: number): void {
  work.place(0, n);
  work.answered(0, n, length);
  work.release(Int32Array.of(0), 1);
}

async function openMany(house: TcpHouse, count: number): Promise<TcpClient[]> {
  const clients: TcpClient[] = [];
  for (let i = 0; i < count; i++) clients.push(await TcpClient.open(house.port));
  return clients;
}

/** Answers everything that was kept with `length` bytes each. */
function answerAll(house: TcpHouse, length: number): number {
  const slots = [...house.taken];
  for (const slot of slots) setTcpLength(house, slot, length);
  answerTcp(house, slots);
  return slots.length;
}

const asks = (count: number) => Array.from({ length: count }, (_, i) => numbered(i));

describe('TCP: what a message weighs', () => {
  test('a connection weighs a first guess, then what its answers are; less only slowly', () => {
    const { work } = newWork();
    assert.equal(work.chargeOf(0), FIRST_WEIGHT_BYTES);
    exchange(work, 0, 30_000);
    assert.equal(work.chargeOf(0), 30_000);
    exchange(work, 0, 10_000);
    assert.equal(work.chargeOf(0), 25_000);
    for (let i = 0; i < 100; i++) exchange(work, 0, 12);
    assert.equal(work.chargeOf(0), LEAST_WEIGHT_BYTES);
    assert.equal(work.chargeOf(1), FIRST_WEIGHT_BYTES);
  });

  test('a slot gives back what it was charged, whatever its connection weighs by then', () => {
    const { work } = newWork();
    work.place(3, 0);
    work.place(4, 1);
    work.answered(3, 0, 30_000);
    assert.equal(work.chargedBytes, 2 * FIRST_WEIGHT_BYTES);
    work.begin(0);
    work.release(Int32Array.of(3), 1);
    assert.equal(work.chargedBytes, FIRST_WEIGHT_BYTES);
    work.release(Int32Array.of(4, 3), 2);
    assert.equal(work.chargedBytes, 0);
  });

  test('short answers do not make room for long ones: a surprise weighs on all for seconds', () => {
    const { work } = newWork();
    for (let n = 0; n < 4; n++) for (let i = 0; i < 100; i++) exchange(work, n, 100);
    exchange(work, 0, MAX_MESSAGE_BYTES);
    assert.equal(work.chargeOf(1), MAX_MESSAGE_BYTES);
    for (let i = 0; i < 5; i++) work.tick();
    assert.ok(work.chargeOf(1) > MAX_MESSAGE_BYTES / 2);
    for (let i = 0; i < FORGET_TICKS; i++) work.tick();
    assert.equal(work.chargeOf(1), LEAST_WEIGHT_BYTES);
    // What was expected is none.
    for (let i = 0; i < 20; i++) exchange(work, 0, MAX_MESSAGE_BYTES);
    for (let i = 0; i < 2 * FORGET_TICKS; i++) work.tick();
    exchange(work, 0, MAX_MESSAGE_BYTES);
    assert.equal(work.chargeOf(1), LEAST_WEIGHT_BYTES);
  });

  test('who asks for much has shorter turns', () => {
    const { work } = newWork();
    const turns = () => [0, 1, 2].map((n) => work.turnOf(n, 8));
    assert.deepEqual(turns(), [2, 2, 2]);
    for (let i = 0; i < 100; i++) exchange(work, 0, 100);
    exchange(work, 1, MAX_MESSAGE_BYTES);
    assert.deepEqual(turns(), [8, 1, 2]);
  });

  test('answers beyond the pace wait, to the millisecond; short ones never do', () => {
    const { work, clock } = newWork();
    for (let i = 0; i < 100_000; i++) exchange(work, 0, FREE_ANSWER_BYTES);
    assert.deepEqual([work.isAhead, work.waitMs()], [false, 0]);
    const each = PACE_BYTES_PER_MS + FREE_ANSWER_BYTES;
    for (let i = 0; i < BURST_BYTES / PACE_BYTES_PER_MS; i++) exchange(work, 0, each);
    assert.deepEqual([work.isAhead, work.waitMs()], [false, 0]);
    // One by one: what is in flight is paid for before the next.
    work.place(0, 0);
    work.place(1, 0);
    assert.equal(work.hasRoom(2), false);
    work.release(Int32Array.of(0, 1), 2);
    assert.equal(work.hasRoom(2), true);
    for (let i = 0; i < 7; i++) exchange(work, 0, each);
    assert.deepEqual([work.isAhead, work.waitMs()], [true, 7]);
    clock.advance(6);
    assert.deepEqual([work.waitMs(), work.isAhead], [1, true]);
    clock.advance(1);
    assert.deepEqual([work.waitMs(), work.isAhead], [0, false]);
    // A pause gives no more than one burst.
    clock.advance(3_600_000);
    assert.equal(work.waitMs(), 0);
    for (let i = 0; i < BURST_BYTES / PACE_BYTES_PER_MS + 1; i++) exchange(work, 0, each);
    assert.equal(work.waitMs(), 1);
  });
});

describe('TCP: crowded names do not stall UDP', () => {
  test('in flight of all connections: as many long answers as WORK_BYTES hold', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const clients = await openMany(house, 8);
    for (const client of clients) client.ask(...asks(20));
    await until(() => house.taken.length > 0, 'messages');
    await turns();
    assert.equal(house.taken.length, WORK_BYTES / FIRST_WEIGHT_BYTES, 'strangers');
    let answers = answerAll(house, MAX_MESSAGE_BYTES);
    await until(() => {
      house.clock.advance(1);
      assert.ok(house.taken.length <= MOST_LONG, `${house.taken.length} in flight`);
      assert.ok(house.tcp.chargedBytes <= WORK_BYTES);
      answers += answerAll(house, MAX_MESSAGE_BYTES);
      return answers === 8 * 20;
    }, 'all messages');
    for (const client of clients) {
      await client.answered(20);
      client.close();
    }
    await closeTcpHouse(house);
  });

  test('of one connection: as many long answers as it may have unread', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const [client] = await openMany(house, 1);
    client.ask(numbered(1));
    await until(() => house.taken.length === 1, 'the first message');
    answerAll(house, MAX_MESSAGE_BYTES);
    client.ask(...asks(40));
    await client.answered(41, () => {
      house.clock.advance(1);
      assert.ok(house.taken.length <= Math.floor(MAX_UNSENT_BYTES / MAX_MESSAGE_BYTES));
      answerAll(house, MAX_MESSAGE_BYTES);
    });
    client.close();
    await closeTcpHouse(house);
  });

  test('over time: no more long answers than the pace, and then everyone goes on', async () => {
    const house = await openTcpHouse();
    const { clock } = house;
    let bytes = 0;
    house.tcp.start((slots, count) => {
      for (let i = 0; i < count; i++) setTcpLength(house, slots[i], MAX_MESSAGE_BYTES);
      bytes += count * (MAX_MESSAGE_BYTES - FREE_ANSWER_BYTES);
      house.tcp.send(slots, count);
      house.tcp.release(slots, count);
    });
    const clients = await openMany(house, 4);
    for (const client of clients) client.ask(...asks(100));
    await until(() => bytes > 0, 'messages');
    await turns();
    // Before anything is known of a connection, one batch may go out at once.
    const most = BURST_BYTES + 2 * WORK_BYTES * (MAX_MESSAGE_BYTES / FIRST_WEIGHT_BYTES);
    const began = clock.now();
    const all = 400 * (MAX_MESSAGE_BYTES - FREE_ANSWER_BYTES);
    await until(() => {
      assert.ok(bytes <= most + (clock.now() - began) * PACE_BYTES_PER_MS, `${bytes} bytes`);
      clock.advance(1);
      return bytes === all;
    }, 'all messages');
    assert.ok(clock.now() - began >= (all - most) / PACE_BYTES_PER_MS);
    assert.ok(clock.now() - began <= all / PACE_BYTES_PER_MS, 'no slower than the pace');
    for (const client of clients) {
      await client.answered(100);
      client.close();
    }
    await closeTcpHouse(house);
  });

  test('small answers: every slot is used, and nobody waits for the pace', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const clients = await openMany(house, 8);
    for (const client of clients) await lightenTcp(house, client);
    for (const client of clients) client.ask(...asks(200));
    await until(() => house.taken.length === SLOTS, 'all slots');
    for (const client of clients) {
      await client.answered(200, () => {
        if (house.taken.length > 0) answerAll(house, FREE_ANSWER_BYTES);
        house.clock.advance(1);
      });
      client.close();
    }
    await closeTcpHouse(house);
  });

  test('the guard of a surprise is forgotten by the tick, and those who waited go on', async () => {
    const house = await openTcpHouse();
    startTcpKeep(house);
    const clients = await openMany(house, 8);
    for (const client of clients) await lightenTcp(house, client);
    clients[0].ask(numbered(1));
    await until(() => house.taken.length === 1, 'the message');
    answerAll(house, MAX_MESSAGE_BYTES);
    // The pace forgets it before the guard does.
    house.clock.advance(10);
    for (const client of clients) client.ask(...asks(16));
    await until(() => house.taken.length > 0, 'messages');
    await turns();
    assert.equal(house.taken.length, MOST_LONG);
    house.clock.advance(FORGET_TICKS * TCP_TICK_MS);
    const [one] = house.taken;
    setTcpLength(house, one, 12);
    answerTcp(house, [one]);
    await turns();
    assert.ok(house.taken.length > MOST_LONG, `${house.taken.length} in flight`);
    await until(() => {
      if (house.taken.length > 0) answerAll(house, 12);
      house.clock.advance(1);
      return clients.every((client, i) => client.answers.length === (i === 0 ? 17 : 16));
    }, 'all answers');
    for (const client of clients) client.close();
    await closeTcpHouse(house);
  });
});
