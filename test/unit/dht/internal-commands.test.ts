/** The commands of dht-rpc itself, and what networks may have answered elsewhere or later. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encodeAddress, type NodeAddress } from '../../../codecs/dht/address.ts';
import { DHT_ERROR, INTERNAL } from '../../../codecs/dht/constants.ts';
import { decodeReply } from '../../../codecs/dht/message.ts';
import { DELAYED_PINGS, DELAYED_PINGS_PER_PREFIX } from '../../../workers/dht/delayed-pings.ts';
import {
  DEFLECTION_RATE,
  DOWN_HINTS_PER_SECOND,
  HINT_HASHES_PER_SECOND,
} from '../../../workers/dht/internal-commands.ts';
import { BUDGET_SILENT, SLOT_DOWN_HINT, SLOT_KEY_HASH } from '../../../workers/slab.ts';
import { CLIENT_SOCKET, DhtHarness } from '../../helpers/dht-harness.ts';
import { ALICE, BOB, CAROL, crowd, PING, pingNat } from './fixture.ts';

const PRIVATE: NodeAddress = { host: '127.0.0.1', port: 5000 };

function downHint(harness: DhtHarness, node: NodeAddress) {
  const value = encodeAddress(node);
  return harness.ask({ command: INTERNAL.DOWN_HINT, isInternal: true, value }, ALICE);
}

function delayedPing(harness: DhtHarness, delayMs: number, from = ALICE, how = {}) {
  const value = new Uint8Array(4);
  new DataView(value.buffer).setUint32(0, delayMs, true);
  return harness.ask({ command: INTERNAL.DELAYED_PING, isInternal: true, value }, from, how);
}

describe('PING', () => {
  test('is answered with nothing but the head and the id', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(5));
    const reply = harness.ask({ ...PING, target: new Uint8Array(32) }, ALICE);
    assert.deepEqual([reply?.token, reply?.closerNodes, reply?.value], [null, [], null]);
  });
});

describe('PING_NAT', () => {
  test('is answered to the port it names, and says so', () => {
    const harness = new DhtHarness();
    const reply = pingNat(harness, [0x34, 0x12]);
    assert.deepEqual(harness.repliedTo, { ...ALICE, port: 0x1234 });
    assert.deepEqual(reply?.to, { ...ALICE, port: 0x1234 });
  });

  test('without a port, or to port 0, it is not answered', () => {
    const harness = new DhtHarness();
    for (const value of [null, [], [1], [0, 0]]) assert.equal(pingNat(harness, value), null);
    assert.equal(harness.counters().dropMalformed, 4);
  });

  test('so often only for one network, proven or not', () => {
    const harness = new DhtHarness();
    let replies = 0;
    for (let i = 0; i < DEFLECTION_RATE.burst + 50; i++) {
      const from = { host: `203.0.114.${i % 250}`, port: 4001 };
      if (pingNat(harness, [1, 2], from) !== null) replies++;
    }
    assert.equal(replies, DEFLECTION_RATE.burst);
    assert.equal(harness.counters().dropRateLimited, 50);
    assert.ok(pingNat(harness, [1, 2], BOB));
    harness.advance(1000);
    assert.ok(pingNat(harness, [1, 2]));
  });

  test('of a private network as often as it asks', () => {
    const harness = new DhtHarness({ isPrivate: true });
    for (let i = 0; i < DEFLECTION_RATE.burst + 50; i++) {
      assert.ok(pingNat(harness, [1, 2], PRIVATE));
    }
  });
});

describe('DOWN_HINT', () => {
  test('of a known node is told to main, with its entry', () => {
    const harness = new DhtHarness();
    const nodes = crowd(30);
    harness.know(...nodes);
    for (const node of nodes.slice(0, 10)) {
      assert.equal(downHint(harness, node)?.error, 0);
      assert.equal(harness.state & SLOT_DOWN_HINT, SLOT_DOWN_HINT);
      const known = harness.table.at(harness.slab.i32[SLOT_KEY_HASH >> 2]);
      assert.equal(`${known?.host}:${known?.port}`, `${node.host}:${node.port}`);
    }
  });

  test('of an unknown node is answered all the same', () => {
    const harness = new DhtHarness();
    assert.equal(downHint(harness, BOB)?.error, 0);
    assert.equal(harness.state & SLOT_DOWN_HINT, 0);
  });

  test('without an address is not answered', () => {
    const harness = new DhtHarness();
    for (const value of [null, new Uint8Array(5)]) {
      const asked = { command: INTERNAL.DOWN_HINT, isInternal: true, value };
      assert.equal(harness.ask(asked, ALICE), null);
    }
  });

  test('is looked into so many times a second only', () => {
    const harness = new DhtHarness();
    harness.know(BOB);
    let told = 0;
    for (let i = 0; i < 100; i++) {
      assert.ok(downHint(harness, BOB));
      if ((harness.state & SLOT_DOWN_HINT) !== 0) told++;
    }
    assert.equal(told, DOWN_HINTS_PER_SECOND);
    harness.advance(1000);
    downHint(harness, BOB);
    assert.equal(harness.state & SLOT_DOWN_HINT, SLOT_DOWN_HINT);
  });

  test('of unknown nodes does not use up what others may tell, but for very many', () => {
    const harness = new DhtHarness();
    harness.know(BOB);
    const hintStrangers = (count: number) => {
      for (let port = 1; port <= count; port++) downHint(harness, { host: '9.9.9.9', port });
    };
    hintStrangers(HINT_HASHES_PER_SECOND - 1);
    downHint(harness, BOB);
    assert.equal(harness.state & SLOT_DOWN_HINT, SLOT_DOWN_HINT);
    downHint(harness, BOB);
    assert.equal(harness.state & SLOT_DOWN_HINT, 0, 'all hashes are spent');
    harness.advance(1000);
    downHint(harness, BOB);
    assert.equal(harness.state & SLOT_DOWN_HINT, SLOT_DOWN_HINT);
  });
});

describe('DELAYED_PING', () => {
  test('is answered when its time has come, by the way it came', () => {
    const harness = new DhtHarness();
    const asked = { command: INTERNAL.DELAYED_PING, isInternal: true, tid: 0x1234 } as const;
    const value = Uint8Array.of(0xe8, 3, 0, 0);
    assert.equal(harness.ask({ ...asked, value }, ALICE, { receiver: CLIENT_SOCKET }), null);
    assert.equal(harness.counters().absorbed, 1);
    harness.advance(999);
    assert.deepEqual(harness.takeOwn(), []);
    harness.advance(33);
    const [sent] = harness.takeOwn();
    assert.deepEqual(sent.to, ALICE);
    assert.equal(sent.receiver, CLIENT_SOCKET);
    const reply = decodeReply(sent.bytes);
    assert.deepEqual([reply?.tid, reply?.to, reply?.id], [0x1234, ALICE, null]);
  });

  test('shows the id by the server socket', () => {
    const harness = new DhtHarness();
    delayedPing(harness, 1);
    harness.advance(40);
    assert.deepEqual(decodeReply(harness.takeOwn()[0].bytes)?.id, harness.id);
  });

  test('is sent at the next request as well as at the next tick', () => {
    const harness = new DhtHarness();
    delayedPing(harness, 100);
    harness.nowMs += 200;
    harness.ask(PING, BOB);
    assert.equal(harness.takeOwn().length, 1);
  });

  test('of no delay is answered at once; of too long a delay, or none said, it is not', () => {
    const harness = new DhtHarness();
    assert.ok(delayedPing(harness, 0));
    assert.equal(delayedPing(harness, 10_001), null);
    assert.equal(harness.ask({ command: INTERNAL.DELAYED_PING, isInternal: true }, ALICE), null);
    assert.equal(harness.counters().dropMalformed, 2);
    assert.equal(delayedPing(harness, 10_000), null);
    harness.advance(10_032);
    assert.equal(harness.takeOwn().length, 1);
  });

  test('delays of every length come in their order, none too early', () => {
    const harness = new DhtHarness({ isPrivate: true, ownSlots: 32 });
    const due = new Map<number, number>();
    const check = () => {
      for (const { bytes } of harness.takeOwn()) {
        const tid = decodeReply(bytes)?.tid ?? -1;
        const lateMs = harness.nowMs - (due.get(tid) ?? Number.POSITIVE_INFINITY);
        assert.ok(lateMs >= 0 && lateMs < 32 + 25, `${tid} is ${lateMs} ms late`);
        due.delete(tid);
      }
    };
    for (let i = 0; i < 400; i++) {
      const delayMs = 1 + ((i * 7919) % 10_000);
      const tid = harness.request({ command: 0 }).tid + 1;
      due.set(tid, harness.nowMs + delayMs);
      delayedPing(harness, delayMs, PRIVATE);
      check();
      harness.nowMs += i % 25;
    }
    for (let i = 0; i < 500; i++) {
      harness.advance(25);
      check();
    }
    assert.equal(due.size, 0);
  });

  test('so many wait for one network, and so many in all', () => {
    const harness = new DhtHarness();
    for (let i = 0; i < DELAYED_PINGS_PER_PREFIX; i++) delayedPing(harness, 5000);
    assert.equal(harness.counters().dropTimersFull, 0);
    delayedPing(harness, 5000, { ...ALICE, host: '203.0.114.200' });
    assert.equal(harness.counters().dropTimersFull, 1);
    delayedPing(harness, 5000, BOB);
    assert.equal(harness.counters().dropTimersFull, 1);
    const how = { isProven: true };
    for (let i = 0; i < DELAYED_PINGS; i++) {
      delayedPing(harness, 5000, { host: `60.${i >> 8}.${i & 255}.1`, port: 9 }, how);
    }
    assert.equal(harness.counters().dropTimersFull, 1 + DELAYED_PINGS_PER_PREFIX + 1);
    harness.advance(6000);
    delayedPing(harness, 5000, CAROL);
    assert.equal(harness.counters().dropTimersFull, 1 + DELAYED_PINGS_PER_PREFIX + 1);
  });

  test('of forged sources takes half of the room, and the rest is for proven ones', () => {
    const harness = new DhtHarness();
    let sent = 0;
    let refused = 0;
    // 200 a second of ten seconds each: twice as many as there are rows.
    for (let ms = 0; ms < 40_000; ms += 5) {
      harness.nowMs += 5;
      delayedPing(harness, 10_000, { host: `60.${(sent >> 8) & 255}.${sent & 255}.1`, port: 9 });
      sent++;
      if (ms % 100 === 0) harness.advance(0);
      if (ms < 15_000 || ms % 1000 !== 0) continue;
      const before = harness.counters().dropTimersFull;
      delayedPing(harness, 1000, BOB, { isProven: true });
      if (harness.counters().dropTimersFull !== before) refused++;
    }
    assert.ok(harness.counters().dropTimersFull > 4000, 'there was no room for all');
    assert.equal(refused, 0);
  });

  test('that has no room costs a network nothing of its rate', () => {
    const harness = new DhtHarness();
    for (let i = 0; i < DELAYED_PINGS; i++) {
      delayedPing(harness, 5000, { host: `60.${i >> 8}.${i & 255}.1`, port: 9 });
    }
    for (let i = 0; i < DEFLECTION_RATE.burst; i++) delayedPing(harness, 5000, ALICE);
    assert.ok(pingNat(harness, [1, 2], ALICE));
  });

  test('makes room again when it is answered', () => {
    const harness = new DhtHarness({ ownSlots: 32 });
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < DELAYED_PINGS; i++) {
        delayedPing(harness, 100, { host: `60.${i >> 8}.${i & 255}.1`, port: 9 });
      }
      assert.equal(harness.counters().dropTimersFull, (DELAYED_PINGS / 2) * (round + 1));
      for (let i = 0; i < 40; i++) harness.advance(20);
    }
  });

  test('counts for its network until it is answered', () => {
    const harness = new DhtHarness({ ownSlots: 64 });
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < DELAYED_PINGS_PER_PREFIX + 2; i++) delayedPing(harness, 100 + i);
      assert.equal(harness.counters().dropTimersFull, 2 * (round + 1));
      harness.advance(1000);
      assert.equal(harness.takeOwn().length, DELAYED_PINGS_PER_PREFIX);
    }
  });

  test('waits on when there are no slots to send from', () => {
    const harness = new DhtHarness({ ownSlots: 2 });
    for (let i = 0; i < 10; i++) delayedPing(harness, 100);
    const sent: number[] = [];
    for (let i = 0; i < 6; i++) {
      harness.advance(200);
      sent.push(harness.takeOwn().length);
    }
    assert.deepEqual(sent, [2, 2, 2, 2, 2, 0]);
  });

  test('is not taken from who has had its budget', () => {
    const harness = new DhtHarness();
    delayedPing(harness, 100, ALICE, { budget: BUDGET_SILENT });
    harness.advance(1000);
    assert.deepEqual(harness.takeOwn(), []);
  });
});

describe('other internal commands', () => {
  test('are unknown', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(3));
    const target = new Uint8Array(32);
    for (const command of [5, 99, 252, 253, 70_000, 2 ** 40]) {
      const reply = harness.ask({ command, isInternal: true, target }, ALICE);
      assert.equal(reply?.error, DHT_ERROR.UNKNOWN_COMMAND, `command ${command}`);
      assert.equal(reply?.closerNodes.length, 3);
      assert.equal(reply?.token, null);
    }
  });
});
