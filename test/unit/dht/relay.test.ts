/** Handshakes and hole punches: who they are relayed to, and who nobody is relayed to. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { NodeAddress } from '../../../codecs/dht/address.ts';
import { COMMAND, MAX_DATAGRAM_BYTES, RELAY_MODE } from '../../../codecs/dht/constants.ts';
import {
  decodeHandshake,
  decodeHolepunch,
  encodeHandshake,
  encodeHolepunch,
} from '../../../codecs/dht/hyper-messages.ts';
import { decodeReply } from '../../../codecs/dht/message.ts';
import { CLIENT_GUARD_MS, SERVER_GUARD_MS } from '../../../workers/dht/create-responder.ts';
import { RECEIVER_RATE, SOURCE_RATE } from '../../../workers/dht/relay.ts';
import { PEER_AGE_MS } from '../../../workers/dht/store/layout.ts';
import { BUDGET_SILENT } from '../../../workers/slab.ts';
import { CLIENT_SOCKET, DhtHarness, type DhtHarnessOptions } from '../../helpers/dht-harness.ts';
import { ALICE, announce, BOB, CAROL, crowd, hash, keyPair, topic, unannounce } from './fixture.ts';

const SERVER = ALICE;
const CLIENT = BOB;
const PAIR = keyPair(7);
const TARGET = hash(PAIR.publicKey);
const NOISE = Uint8Array.of(1, 2, 3);
const PAYLOAD = Uint8Array.of(4, 5);

/** A node at which a server has announced itself. */
function node(options: DhtHarnessOptions = {}, server = SERVER): DhtHarness {
  const harness = new DhtHarness(options);
  announce(harness, server, TARGET, PAIR);
  return harness;
}

interface Message {
  readonly tid?: number;
  readonly target?: Uint8Array | null;
  readonly noise?: Uint8Array;
  readonly peer?: NodeAddress | null;
  readonly relay?: NodeAddress | null;
  readonly how?: object;
}

function handshake(harness: DhtHarness, from: NodeAddress, mode: number, message: Message = {}) {
  const { tid = 9, target = TARGET, noise = NOISE, peer = null, relay = null, how } = message;
  const value = encodeHandshake({ mode, noise, peerAddress: peer, relayAddress: relay });
  return harness.ask({ command: COMMAND.PEER_HANDSHAKE, tid, target, value }, from, how);
}

function holepunch(harness: DhtHarness, from: NodeAddress, mode: number, message: Message = {}) {
  const { tid = 9, target = TARGET, peer = null, how } = message;
  const value = encodeHolepunch({ mode, id: 5, payload: PAYLOAD, peerAddress: peer });
  return harness.ask({ command: COMMAND.PEER_HOLEPUNCH, tid, target, value }, from, how);
}

/** The datagram relayed last, if there is just one. */
function relayed(harness: DhtHarness) {
  const { to, request } = harness.takeRelayed();
  assert.ok(request.value);
  const handshakeValue = decodeHandshake(request.value);
  return { to, request, value: request.value, handshake: handshakeValue };
}

function assertRefused(harness: DhtHarness, what: string): void {
  assert.deepEqual(harness.takeOwn(), [], what);
}

describe('a handshake from a client', () => {
  test('goes to the announced server, with the address of the client', () => {
    const harness = node();
    assert.equal(handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { tid: 0x1234 }), null);
    const { to, request, handshake: value } = relayed(harness);
    assert.deepEqual(to, SERVER);
    assert.deepEqual(request, {
      tid: 0x1234,
      to: SERVER,
      id: harness.id,
      token: null,
      isInternal: false,
      command: COMMAND.PEER_HANDSHAKE,
      target: TARGET,
      value: request.value,
    });
    const mode = RELAY_MODE.FROM_RELAY;
    assert.deepEqual(value, { mode, noise: NOISE, peerAddress: CLIENT, relayAddress: null });
    const counters = harness.counters();
    assert.deepEqual([counters.dhtRelayed, counters.absorbed], [1, 1]);
  });

  test('leaves by the socket it came by', () => {
    const harness = node();
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { how: { receiver: CLIENT_SOCKET } });
    const [sent] = harness.takeOwn();
    assert.equal(sent.receiver, CLIENT_SOCKET);
    assert.equal(sent.bytes[1] & 1, 0, 'no id');
  });

  test('for an unknown target gets closer nodes', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(4));
    const reply = handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT);
    assert.deepEqual([reply?.error, reply?.token, reply?.value], [0, null, null]);
    assert.equal(reply?.closerNodes.length, 4);
    assert.deepEqual(handshake(harness, CLIENT, 0, { target: null })?.closerNodes, []);
  });

  test('is relayed by a node that is not persistent, too', () => {
    const harness = node();
    harness.table.setOwn(harness.id, false);
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT);
    assert.equal(relayed(harness).request.id, null);
  });

  test('is not relayed once the server is gone', () => {
    const harness = node();
    unannounce(harness, SERVER, TARGET, PAIR);
    assert.ok(handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT));
    announce(harness, SERVER, TARGET, PAIR);
    harness.advance(PEER_AGE_MS);
    assert.ok(handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT));
    assertRefused(harness, 'gone');
  });

  test('goes to where the server announced itself last', () => {
    const harness = node();
    announce(harness, CAROL, TARGET, PAIR);
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT);
    assert.deepEqual(relayed(harness).to, CAROL);
  });

  test('to a relay it names goes only if that is a node we know', () => {
    const harness = node();
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { relay: CAROL });
    assertRefused(harness, 'a stranger');
    assert.equal(harness.counters().dropRelayRefused, 1);
    assert.equal(harness.counters().dhtRelayRefused, 1);
    harness.know(CAROL);
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { relay: CAROL });
    assert.deepEqual(relayed(harness).to, CAROL);
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { relay: { ...CAROL, port: 1 } });
    assertRefused(harness, 'another port');
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { relay: SERVER });
    assert.deepEqual(relayed(harness).to, SERVER);
  });

  test('of who has had its budget is not relayed', () => {
    const harness = node();
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { how: { budget: BUDGET_SILENT } });
    assertRefused(harness, 'silent');
  });

  test('longer than a datagram is not relayed', () => {
    const harness = node();
    const head = 10 + 32 + 1 + 32 + 3 + 2 + 3 + 6;
    const noise = new Uint8Array(MAX_DATAGRAM_BYTES - head).fill(7);
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { noise });
    assert.deepEqual(relayed(harness).handshake?.noise, noise);
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { noise: new Uint8Array(noise.length + 1) });
    assertRefused(harness, 'too long');
  });

  test('without a slot to send it from is not relayed', () => {
    const harness = node({ ownSlots: 1 });
    harness.slab.bytes[2048 + 59] = 1;
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT);
    assert.equal(harness.counters().dropRelayRefused, 1);
  });
});

describe('a handshake from another node', () => {
  test('goes to the announced server, with the addresses of both', () => {
    const harness = node();
    handshake(harness, CAROL, RELAY_MODE.FROM_RELAY, { peer: CLIENT });
    const { to, handshake: value } = relayed(harness);
    assert.deepEqual(to, SERVER);
    const mode = RELAY_MODE.FROM_SECOND_RELAY;
    assert.deepEqual(value, { mode, noise: NOISE, peerAddress: CLIENT, relayAddress: CAROL });
  });

  test('without the address of a client goes on without', () => {
    const harness = node();
    handshake(harness, CAROL, RELAY_MODE.FROM_RELAY);
    assert.equal(relayed(harness).handshake?.peerAddress, null);
  });

  test('for an unknown target is not answered', () => {
    const harness = node();
    assert.equal(handshake(harness, CAROL, RELAY_MODE.FROM_RELAY, { target: topic(1) }), null);
    assertRefused(harness, 'unknown');
  });
});

describe('a handshake from a server', () => {
  test('goes back to the client as its reply', () => {
    const harness = node();
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { tid: 77 });
    relayed(harness);
    handshake(harness, SERVER, RELAY_MODE.FROM_SERVER, { tid: 77, peer: CLIENT });
    const [{ to, bytes }] = harness.takeOwn();
    assert.deepEqual(to, CLIENT);
    const reply = decodeReply(bytes);
    assert.deepEqual(reply && { ...reply, value: null }, {
      tid: 77,
      to: CLIENT,
      id: harness.id,
      token: null,
      closerNodes: [],
      error: 0,
      value: null,
    });
    assert.deepEqual(reply?.value && decodeHandshake(reply.value), {
      mode: RELAY_MODE.REPLY,
      noise: NOISE,
      peerAddress: SERVER,
      relayAddress: null,
    });
  });

  test('goes back as often as the client asked, and within ten seconds', () => {
    const harness = node();
    const reply = () => {
      handshake(harness, SERVER, RELAY_MODE.FROM_SERVER, { peer: CLIENT });
      return harness.takeOwn().length;
    };
    for (let i = 0; i < 2; i++) {
      handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT);
      relayed(harness);
    }
    assert.deepEqual([reply(), reply(), reply()], [1, 1, 0]);
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT);
    relayed(harness);
    harness.advance(CLIENT_GUARD_MS - 1);
    assert.equal(reply(), 1);
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT);
    relayed(harness);
    harness.advance(CLIENT_GUARD_MS);
    assert.equal(reply(), 0);
  });

  test('goes to nobody who did not ask for this target in this transaction', () => {
    const harness = node();
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT);
    relayed(harness);
    for (const message of [
      { peer: CAROL },
      { peer: { ...CLIENT, port: 1 } },
      { peer: CLIENT, tid: 10 },
      { peer: CLIENT, target: topic(1) },
      { peer: CLIENT, target: null },
      {},
    ]) {
      assert.equal(handshake(harness, SERVER, RELAY_MODE.FROM_SERVER, message), null);
      assertRefused(harness, JSON.stringify(message));
    }
    assert.equal(harness.counters().dhtRelayRefused, 6);
  });
});

describe('hole punches', () => {
  test('go to the announced server and back', () => {
    const harness = node();
    assert.equal(holepunch(harness, CLIENT, RELAY_MODE.FROM_CLIENT), null);
    const { to, value, request } = relayed(harness);
    assert.deepEqual(to, SERVER);
    assert.equal(request.command, COMMAND.PEER_HOLEPUNCH);
    const message = { id: 5, payload: PAYLOAD };
    const mode = RELAY_MODE.FROM_RELAY;
    assert.deepEqual(decodeHolepunch(value), { mode, ...message, peerAddress: CLIENT });
    holepunch(harness, CAROL, RELAY_MODE.FROM_SERVER, { peer: CLIENT });
    const [sent] = harness.takeOwn();
    assert.deepEqual(sent.to, CLIENT);
    const reply = decodeReply(sent.bytes);
    const back = { mode: RELAY_MODE.REPLY, ...message, peerAddress: CAROL };
    assert.deepEqual(reply?.value && decodeHolepunch(reply.value), back);
  });

  test('go to a server that has just answered through us, by its new address', () => {
    const harness = node();
    const moved = { ...SERVER, port: 5555 };
    holepunch(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { peer: moved });
    assertRefused(harness, 'nobody knows it');
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT);
    relayed(harness);
    handshake(harness, moved, RELAY_MODE.FROM_SERVER, { peer: CLIENT });
    harness.takeOwn();
    holepunch(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { peer: moved });
    assert.deepEqual(relayed(harness).to, moved);
    holepunch(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { peer: moved, target: topic(1) });
    assertRefused(harness, 'for another target');
    harness.advance(SERVER_GUARD_MS);
    holepunch(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { peer: moved });
    assertRefused(harness, 'too late');
  });

  test('without anybody to relay to are not answered', () => {
    const harness = new DhtHarness();
    assert.equal(holepunch(harness, CLIENT, RELAY_MODE.FROM_CLIENT), null);
    assert.equal(holepunch(harness, CLIENT, RELAY_MODE.FROM_CLIENT, { target: null }), null);
    assert.equal(holepunch(harness, CLIENT, RELAY_MODE.FROM_RELAY), null);
    assertRefused(harness, 'nobody');
  });
});

describe('what is not relayed', () => {
  test('to private and reserved addresses, but in a private network to private ones', () => {
    for (const host of ['127.0.0.1', '10.1.2.3', '192.168.1.1', '169.254.1.1', '100.64.0.1']) {
      const server = { host, port: 4000 };
      const harness = node({}, server);
      handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT);
      assertRefused(harness, host);
      assert.equal(harness.counters().dropRelayRefused, 1);
      const home = node({ isPrivate: true }, server);
      handshake(home, CLIENT, RELAY_MODE.FROM_CLIENT);
      assert.deepEqual(relayed(home).to, server);
    }
    for (const host of ['0.0.0.0', '224.0.0.1', '255.255.255.255', '240.0.0.1']) {
      const harness = node({ isPrivate: true }, { host, port: 4000 });
      handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT);
      assertRefused(harness, host);
    }
  });

  test('messages of other modes, and what is unreadable', () => {
    const harness = node();
    for (const mode of [RELAY_MODE.FROM_SECOND_RELAY, RELAY_MODE.REPLY, 5, 200]) {
      assert.equal(handshake(harness, CLIENT, mode), null);
      assert.equal(holepunch(harness, CLIENT, mode), null);
    }
    assert.equal(harness.counters().absorbed, 8);
    for (const command of [COMMAND.PEER_HANDSHAKE, COMMAND.PEER_HOLEPUNCH]) {
      for (const value of [null, Uint8Array.of(0, 0), Uint8Array.of(1, 0, 0, 0)]) {
        assert.equal(harness.ask({ command, target: TARGET, value }, CLIENT), null);
      }
    }
    assert.equal(harness.counters().dropMalformed, 6);
    assertRefused(harness, 'nothing at all');
  });

  test('more than so many of one network', () => {
    const harness = node();
    let count = 0;
    for (let i = 0; i < SOURCE_RATE.burst + 20; i++) {
      const from = { host: `203.0.115.${i % 250}`, port: 1000 + i };
      handshake(harness, from, RELAY_MODE.FROM_CLIENT);
      count += harness.takeOwn().length;
    }
    assert.equal(count, SOURCE_RATE.burst);
    handshake(harness, CAROL, RELAY_MODE.FROM_CLIENT);
    assert.equal(harness.takeOwn().length, 1);
    harness.advance(1000);
    handshake(harness, CLIENT, RELAY_MODE.FROM_CLIENT);
    assert.equal(harness.takeOwn().length, 1);
  });

  test('more than so many to one server', () => {
    const harness = node();
    let count = 0;
    for (let i = 0; i < RECEIVER_RATE.burst + 20; i++) {
      const from = { host: `60.${i >> 8}.${i & 255}.1`, port: 1000 };
      handshake(harness, from, RELAY_MODE.FROM_CLIENT);
      count += harness.takeOwn().length;
    }
    assert.equal(count, RECEIVER_RATE.burst);
    assert.equal(harness.counters().dhtRelayRefused, 20);
  });
});
