/**
 * Random clients of the TCP receiver, random answers in random order, on a fake clock: the bounds
 * on work hold at every step, and nobody who waits is forgotten.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MAX_IN_FLIGHT } from '../../server/net/tcp/intake.ts';
import {
  BURST_BYTES,
  FREE_ANSWER_BYTES,
  PACE_BYTES_PER_MS,
  WORK_BYTES,
} from '../../server/net/tcp/work.ts';
import { MAX_MESSAGE_BYTES } from '../../workers/overflow.ts';
import {
  answerTcp,
  closeTcpHouse,
  numbered,
  openTcpHouse,
  setTcpLength,
  startTcpKeep,
  TcpClient,
  type TcpHouse,
  turns,
  until,
} from '../helpers/tcp-client.ts';

const CLIENTS = 6;
const STEPS = 60;
/** Messages in slots when the pace has been overrun: they will still be answered. */
const SLOTS = 48;

function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** What one run knows, to compare the receiver with. */
class Traffic {
  readonly house: TcpHouse;
  readonly next: (below: number) => number;
  readonly why: string;
  clients: TcpClient[] = [];
  asked: number[] = [];
  readonly #began: number;
  #bytes = 0;

  constructor(house: TcpHouse, seed: number) {
    this.house = house;
    this.next = random(seed);
    this.why = `seed ${seed}`;
    this.#began = house.clock.now();
  }

  async open(i: number): Promise<void> {
    this.clients[i] = await TcpClient.open(this.house.port);
    this.asked[i] = 0;
  }

  /** Answers some of what was kept, in any order; now and then with much. */
  answer(most: number): void {
    const { house, next } = this;
    const kind = next(3);
    for (let left = most; left > 0 && house.taken.length > 0; left--) {
      const slot = house.taken[next(house.taken.length)];
      const length = [12 + next(100), 12 + next(4_000), MAX_MESSAGE_BYTES - next(9_000)][kind];
      setTcpLength(house, slot, length);
      this.#bytes += Math.max(0, length - FREE_ANSWER_BYTES);
      answerTcp(house, [slot]);
    }
    this.check();
  }

  check(): void {
    const { tcp, clock, taken } = this.house;
    assert.ok(tcp.chargedBytes <= WORK_BYTES, `${this.why}: ${tcp.chargedBytes} bytes charged`);
    assert.equal(tcp.freeSlots, SLOTS - taken.length, `${this.why}: slots`);
    assert.equal(tcp.chargedBytes > 0, taken.length > 0, `${this.why}: charges left`);
    const pace = BURST_BYTES + (clock.now() - this.#began) * PACE_BYTES_PER_MS;
    const most = pace + SLOTS * MAX_MESSAGE_BYTES;
    assert.ok(this.#bytes <= most, `${this.why}: ${this.#bytes} of ${most} bytes`);
  }

  async step(): Promise<void> {
    const { next, clients, house } = this;
    const i = next(CLIENTS);
    const client = clients[i];
    switch (next(12)) {
      case 0:
        client.socket.resetAndDestroy();
        await this.open(i);
        break;
      case 1:
        client.socket.pause();
        break;
      case 2:
        client.socket.resume();
        break;
      case 3:
      case 4:
      case 5: {
        const count = 1 + next(2 * MAX_IN_FLIGHT);
        client.ask(
          ...Array.from({ length: count }, () => numbered(this.asked[i]++, 12 + next(50))),
        );
        break;
      }
      case 6:
        house.clock.advance(next(40));
        break;
      case 7:
        this.answer(house.taken.length);
        break;
      default:
        this.answer(1 + next(20));
    }
    await turns(3);
    this.check();
  }
}

describe('TCP traffic', () => {
  for (let seed = 1; seed <= 12; seed++) {
    test(`work is bounded and nobody is forgotten, seed ${seed}`, async () => {
      const house = await openTcpHouse({ slotCount: SLOTS, idleMs: 3_600_000 });
      startTcpKeep(house);
      const traffic = new Traffic(house, seed);
      for (let i = 0; i < CLIENTS; i++) await traffic.open(i);
      for (let i = 0; i < STEPS; i++) await traffic.step();
      // Nobody asks more. With answers and time, all that was asked is answered.
      const { clients, asked } = traffic;
      for (const client of clients) client.socket.resume();
      await until(() => {
        traffic.answer(house.taken.length);
        house.clock.advance(1);
        return clients.every((client, i) => client.answers.length === asked[i]);
      }, `${traffic.why}: all answers`);
      assert.deepEqual([house.tcp.chargedBytes, house.tcp.heldBytes], [0, 0], traffic.why);
      assert.equal(house.sums().tcpTimeouts, 0, traffic.why);
      for (const client of clients) client.close();
      await closeTcpHouse(house);
    });
  }
});
