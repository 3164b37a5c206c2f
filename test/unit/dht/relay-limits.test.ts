/** How much is relayed: what strangers and other lanes leave to honest clients. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { NodeAddress } from '../../../codecs/dht/address.ts';
import { COMMAND, RELAY_MODE } from '../../../codecs/dht/constants.ts';
import { encodeHandshake } from '../../../codecs/dht/hyper-messages.ts';
import { CHECK_RATE } from '../../../workers/dht/checks.ts';
import { DEFLECTION_RATE } from '../../../workers/dht/internal-commands.ts';
import { RECEIVER_RATE, SOURCE_RATE } from '../../../workers/dht/relay.ts';
import {
  SLOT_BUSY,
  SLOT_BYTES,
  SLOT_FREE,
  SLOT_STATE,
  SLOT_UNPROVEN,
} from '../../../workers/slab.ts';
import { type Arrival, DhtHarness, type DhtHarnessOptions } from '../../helpers/dht-harness.ts';
import { ALICE, announce, BOB, CAROL, hash, keyPair, pingNat } from './fixture.ts';

const PAIR = keyPair(7);
const TARGET = hash(PAIR.publicKey);
const LANES = 4;
const FORGED_PER_SECOND = 200;
const STEP_MS = 1000 / FORGED_PER_SECOND;
const { FROM_CLIENT, FROM_SERVER } = RELAY_MODE;

/** A node at which Alice has announced herself. */
function node(options: DhtHarnessOptions = {}): DhtHarness {
  const harness = new DhtHarness(options);
  announce(harness, ALICE, TARGET, PAIR);
  return harness;
}

/** Sends a handshake; returns how many messages were relayed: 1 or 0. */
function handshake(
  harness: DhtHarness,
  from: NodeAddress,
  how: Arrival = {},
  mode: number = FROM_CLIENT,
): number {
  const peerAddress = mode === FROM_SERVER ? BOB : null;
  const value = encodeHandshake({ mode, noise: TARGET, peerAddress, relayAddress: null });
  harness.ask({ command: COMMAND.PEER_HANDSHAKE, tid: 9, target: TARGET, value }, from, how);
  return harness.takeOwn().length;
}

/** The n-th address of ever new networks. */
function stranger(n: number): NodeAddress {
  return { host: `${60 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}.1`, port: 1000 };
}

function count(times: number, run: (i: number) => boolean): number {
  let done = 0;
  for (let i = 0; i < times; i++) if (run(i)) done++;
  return done;
}

/** Takes all slots of the node's own, as if the kernel had not sent them, or gives them back. */
function setOwnSlots({ slab }: DhtHarness, state: number): void {
  for (let slot = 1; slot < slab.slotCount; slot++)
    slab.bytes[slot * SLOT_BYTES + SLOT_STATE] = state;
}

describe('each of several lanes', () => {
  const options = { lane: { lanes: LANES } };

  test('relays to one server as much as one lane does: a server meets one lane', () => {
    const harness = node(options);
    const passed = count(RECEIVER_RATE.burst + 50, (i) => handshake(harness, stranger(i)) > 0);
    assert.equal(passed, RECEIVER_RATE.burst);
    let later = 0;
    for (let i = 0; i < 4 * FORGED_PER_SECOND; i++) {
      harness.nowMs += STEP_MS;
      later += handshake(harness, stranger(1000 + i));
    }
    assert.ok(Math.abs(later - 4 * RECEIVER_RATE.perSecond) <= 1, `${later} in four seconds`);
  });

  test('relays as much for one network as one lane does: it may be after one server', () => {
    const harness = node(options);
    const passed = count(SOURCE_RATE.burst + 50, () => handshake(harness, BOB) > 0);
    assert.equal(passed, SOURCE_RATE.burst);
  });

  test('has as many signatures checked for one network as one lane does', () => {
    const harness = new DhtHarness(options);
    const token = harness.token(BOB);
    const how = { verdict: 'forged' } as const;
    for (let i = 0; i < CHECK_RATE.burst + 50; i++) {
      announce(harness, BOB, TARGET, PAIR, { token, how });
    }
    assert.equal(harness.checks, CHECK_RATE.burst);
  });

  test('answers elsewhere its part of what a network may have: ports are spread over lanes', () => {
    const harness = new DhtHarness(options);
    const answered = count(DEFLECTION_RATE.burst, () => pingNat(harness, [1, 2], BOB) !== null);
    assert.equal(answered, DEFLECTION_RATE.burst / LANES);
  });
});

describe('forged handshakes to one server', () => {
  test('let honest clients pass once they are proven, as is asked for', () => {
    const harness = node();
    let n = 0;
    while (handshake(harness, stranger(n++)) > 0);
    let refused = 0;
    for (let step = 0; step < 20 * FORGED_PER_SECOND; step++) {
      harness.nowMs += STEP_MS;
      handshake(harness, stranger(n++));
      if (step % 50 !== 0) continue;
      const client = { host: `203.0.${step % 200}.8`, port: 5000 + (step % 977) };
      if (handshake(harness, client) > 0) continue;
      refused++;
      assert.equal(harness.state & SLOT_UNPROVEN, SLOT_UNPROVEN, 'it is to be asked for a proof');
      assert.equal(handshake(harness, client, { isProven: true }), 1, `at step ${step}`);
      assert.equal(harness.state & SLOT_UNPROVEN, 0);
    }
    assert.ok(refused > 10, `${refused} refused at first`);
  });

  test('nobody is asked for a proof whose network has had its rate, or who is proven', () => {
    const harness = node();
    while (handshake(harness, BOB) > 0);
    assert.equal(harness.state & SLOT_UNPROVEN, 0, 'the network');
    let n = 0;
    while (handshake(harness, stranger(n++), { isProven: true }) > 0);
    assert.equal(harness.state & SLOT_UNPROVEN, 0, 'proven');
    assert.equal(n - 1, RECEIVER_RATE.burst, 'proven ones have as much, and no more');
    assert.equal(handshake(harness, CAROL), 1, 'and leave theirs to the others');
  });
});

describe('what is refused costs nothing', () => {
  test('neither a sender whose server has had its rate', () => {
    const harness = node();
    let n = 0;
    while (handshake(harness, stranger(n++)) > 0);
    assert.equal(
      count(SOURCE_RATE.burst, () => handshake(harness, CAROL) > 0),
      0,
    );
    const how = { isProven: true };
    const passed = count(SOURCE_RATE.burst + 9, () => handshake(harness, CAROL, how) > 0);
    // Of the many before her one or two may share her cells of the sketch.
    assert.ok(passed >= SOURCE_RATE.burst - 2, `${passed} passed`);
  });

  test('nor sender and server when there is no slot to send from', () => {
    const harness = node();
    setOwnSlots(harness, SLOT_BUSY);
    assert.equal(harness.counters().dhtRelayed, 0);
    for (let i = 0; i < RECEIVER_RATE.burst; i++) handshake(harness, i % 2 ? BOB : stranger(i));
    assert.equal(harness.counters().dhtRelayed, 0);
    setOwnSlots(harness, SLOT_FREE);
    const passed = count(SOURCE_RATE.burst + 9, () => handshake(harness, BOB) > 0);
    assert.equal(passed, SOURCE_RATE.burst);
    const others = count(RECEIVER_RATE.burst, (i) => handshake(harness, stranger(i)) > 0);
    assert.equal(others, RECEIVER_RATE.burst - SOURCE_RATE.burst);
  });

  test('nor the reply to a client, which passes when it is sent again', () => {
    const harness = node();
    handshake(harness, BOB);
    setOwnSlots(harness, SLOT_BUSY);
    assert.equal(handshake(harness, ALICE, {}, FROM_SERVER), 0);
    setOwnSlots(harness, SLOT_FREE);
    assert.equal(handshake(harness, ALICE, {}, FROM_SERVER), 1);
    assert.equal(handshake(harness, ALICE, {}, FROM_SERVER), 0, 'but once');
  });

  test('nor senders to an address that nothing is sent to', () => {
    const harness = new DhtHarness();
    announce(harness, { host: '10.0.0.1', port: 9 }, TARGET, PAIR);
    for (let i = 0; i < SOURCE_RATE.burst; i++) assert.equal(handshake(harness, BOB), 0);
    announce(harness, ALICE, TARGET, PAIR);
    const passed = count(SOURCE_RATE.burst + 9, () => handshake(harness, BOB) > 0);
    assert.equal(passed, SOURCE_RATE.burst);
  });
});
