/**
 * What a source that has proven nothing can make the DHT node send, command by command: how many
 * times its own bytes, headers counted, of all that leaves, whoever it goes to.
 *
 *   full       within the budget of its network, which is bounded in bytes (server/limits): what
 *              npm hyperdht 6.34.0 sends to anybody (test/unit/dht/as-the-original.test.ts)
 *   limited    with 3 times its bytes, what everybody may have
 *   silent     without any
 *
 * Without headers, as its own users count, a lookup of 43 bytes has 28 times as many from both.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encodeAddress, type NodeAddress } from '../../codecs/dht/address.ts';
import { COMMAND, INTERNAL, MAX_DATAGRAM_BYTES, RELAY_MODE } from '../../codecs/dht/constants.ts';
import { encodeHandshake, encodeHolepunch } from '../../codecs/dht/hyper-messages.ts';
import { encodeRequest } from '../../codecs/dht/message.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import { AMPLIFICATION_FACTOR, IPV4_UDP_HEADER_BYTES } from '../../workers/amplification.ts';
import { BUDGET_SILENT, BUDGET_TRUNCATED } from '../../workers/slab.ts';
import { type Asked, DhtHarness } from '../helpers/dht-harness.ts';
import {
  ALICE,
  announce,
  crowd,
  hash,
  keyPair,
  putImmutable,
  putMutable,
  topic,
} from '../unit/dht/fixture.ts';

const VICTIM: NodeAddress = { host: '203.0.115.66', port: 4002 };
const TOPIC = topic(0x77);
const SERVER = keyPair(1000);
const WRITER = keyPair(1001);
const VALUE = new Uint8Array(1200).fill(1);
/** The shortest message to relay is the dearest. */
const NOTHING = new Uint8Array(0);

interface Row {
  readonly name: string;
  readonly asked: Asked;
  /** The most bytes, headers counted, for one byte of the request within the budget. */
  readonly full: number;
}

const internal = (command: number, rest: Partial<Asked> = {}): Asked => {
  return { command, isInternal: true, ...rest };
};

const handshake = (mode: number, target: Uint8Array, peer: NodeAddress | null = null): Asked => {
  const value = encodeHandshake({ mode, noise: NOTHING, peerAddress: peer, relayAddress: null });
  return { command: COMMAND.PEER_HANDSHAKE, target, value };
};

const holepunch = (mode: number, target: Uint8Array, peer: NodeAddress | null = null): Asked => {
  const value = encodeHolepunch({ mode, id: 0, payload: NOTHING, peerAddress: peer });
  return { command: COMMAND.PEER_HOLEPUNCH, target, value };
};

const server = hash(SERVER.publicKey);
const ROWS: readonly Row[] = [
  { name: 'PING', asked: internal(INTERNAL.PING), full: 1.8 },
  {
    name: 'PING_NAT',
    asked: internal(INTERNAL.PING_NAT, { value: Uint8Array.of(1, 2) }),
    full: 1.7,
  },
  { name: 'FIND_NODE', asked: internal(INTERNAL.FIND_NODE, { target: TOPIC }), full: 2.7 },
  {
    name: 'DOWN_HINT',
    asked: internal(INTERNAL.DOWN_HINT, { value: encodeAddress(ALICE) }),
    full: 1.6,
  },
  {
    name: 'DELAYED_PING',
    asked: internal(INTERNAL.DELAYED_PING, { value: Uint8Array.of(200, 0, 0, 0) }),
    full: 1.6,
  },
  { name: 'an unknown internal command', asked: internal(99, { target: TOPIC }), full: 2.8 },
  { name: 'a wrong token', asked: { command: 0, target: TOPIC, token: TOPIC }, full: 2.2 },
  { name: 'a wrong token, short', asked: internal(INTERNAL.PING, { token: TOPIC }), full: 1.5 },
  { name: 'PEER_HANDSHAKE of a server here', asked: handshake(0, server), full: 1.6 },
  { name: 'PEER_HANDSHAKE of nobody', asked: handshake(0, TOPIC), full: 2.6 },
  {
    name: 'PEER_HANDSHAKE by a node',
    asked: handshake(RELAY_MODE.FROM_RELAY, server, ALICE),
    full: 1.7,
  },
  {
    name: 'PEER_HANDSHAKE by a server, unasked',
    asked: handshake(RELAY_MODE.FROM_SERVER, server, ALICE),
    full: 0,
  },
  { name: 'PEER_HOLEPUNCH of a server here', asked: holepunch(0, server), full: 1.6 },
  { name: 'PEER_HOLEPUNCH to a stranger', asked: holepunch(0, server, VICTIM), full: 0 },
  { name: 'FIND_PEER', asked: { command: COMMAND.FIND_PEER, target: server }, full: 3.9 },
  { name: 'LOOKUP', asked: { command: COMMAND.LOOKUP, target: TOPIC }, full: 17.7 },
  {
    name: 'ANNOUNCE without a token',
    asked: { command: COMMAND.ANNOUNCE, target: TOPIC, value: TOPIC },
    full: 0,
  },
  {
    name: 'UNANNOUNCE without a token',
    asked: { command: COMMAND.UNANNOUNCE, target: TOPIC, value: TOPIC },
    full: 0,
  },
  {
    name: 'MUTABLE_PUT without a token',
    asked: { command: COMMAND.MUTABLE_PUT, target: TOPIC, value: TOPIC },
    full: 0,
  },
  {
    name: 'MUTABLE_GET',
    asked: {
      command: COMMAND.MUTABLE_GET,
      target: hash(WRITER.publicKey),
      value: Uint8Array.of(0),
    },
    full: 20.5,
  },
  {
    name: 'IMMUTABLE_PUT without a token',
    asked: { command: COMMAND.IMMUTABLE_PUT, target: hash(VALUE), value: VALUE },
    full: 0,
  },
  {
    name: 'IMMUTABLE_GET',
    asked: { command: COMMAND.IMMUTABLE_GET, target: hash(VALUE) },
    full: 20.5,
  },
  { name: 'PLUGIN', asked: { command: COMMAND.PLUGIN, value: TOPIC }, full: 0 },
  { name: 'an unknown command', asked: { command: 200, target: TOPIC }, full: 2.8 },
];

/** A node with everything a stranger could wish for. */
function richNode(): DhtHarness {
  const harness = new DhtHarness();
  harness.know(ALICE, ...crowd(200));
  const relays = crowd(3);
  for (let i = 0; i < 30; i++) announce(harness, ALICE, TOPIC, keyPair(i), { relays });
  announce(harness, ALICE, server, SERVER, { relays });
  putMutable(harness, ALICE, WRITER, 1, VALUE);
  putImmutable(harness, ALICE, VALUE);
  return harness;
}

interface Measured {
  readonly asked: number;
  /** Bytes of all datagrams that left, headers counted. */
  readonly sent: number;
  readonly datagrams: number;
}

function measure(harness: DhtHarness, asked: Asked, budget: number): Measured {
  const request = encodeRequest(harness.request(asked));
  const checks = harness.checks;
  const reply = harness.exchange(request, VICTIM, { budget });
  assert.equal(harness.checks, checks, 'a signature was checked');
  harness.advance(1000);
  const sent = harness.takeOwn().map(({ bytes }) => bytes);
  if (reply !== null) sent.push(reply);
  const bytes = sent.reduce((sum, { length }) => sum + length + IPV4_UDP_HEADER_BYTES, 0);
  return { asked: request.length + IPV4_UDP_HEADER_BYTES, sent: bytes, datagrams: sent.length };
}

describe('amplification for an unproven source', () => {
  const table: string[] = [];

  for (const { name, asked, full } of ROWS) {
    test(`${name}: at most ${full} within the budget, 3 when limited, none when silent`, () => {
      const harness = richNode();
      const within = measure(harness, asked, MAX_DATAGRAM_BYTES);
      const limited = measure(harness, asked, BUDGET_TRUNCATED);
      const silent = measure(harness, asked, BUDGET_SILENT);
      assert.ok(within.sent <= full * within.asked, `${within.sent} bytes for ${within.asked}`);
      assert.ok(full === 0 || within.datagrams === 1, 'an answer');
      assert.ok(limited.sent <= AMPLIFICATION_FACTOR * limited.asked);
      assert.ok(limited.datagrams <= 1);
      assert.equal(silent.datagrams, 0);
      const ratios = [within, limited].map(({ sent, asked: bytes }) => (sent / bytes).toFixed(1));
      table.push(`${name.padEnd(36)} ${within.asked.toString().padStart(5)} ${ratios.join('  ')}`);
    });
  }

  test('a lookup has 28 times its bytes within the budget, headers not counted', () => {
    const asked = { command: COMMAND.LOOKUP, target: TOPIC };
    const { asked: request, sent } = measure(richNode(), asked, MAX_DATAGRAM_BYTES);
    const times = (sent - IPV4_UDP_HEADER_BYTES) / (request - IPV4_UDP_HEADER_BYTES);
    assert.equal(Math.floor(times), 28);
  });

  test('the figures', (t) => {
    t.diagnostic(`${'command'.padEnd(36)} bytes full limited`);
    for (const row of table) t.diagnostic(row);
  });
});

describe('what an unproven source cannot cause', () => {
  test('no command of it stores, removes or has anything checked', () => {
    const harness = richNode();
    const before = harness.counters();
    const id = nodeId(VICTIM.host, VICTIM.port);
    for (const { asked } of ROWS) {
      measure(harness, { ...asked, id }, MAX_DATAGRAM_BYTES);
    }
    const after = harness.counters();
    for (const name of [
      'dhtAnnounces',
      'dhtUnannounces',
      'dhtRefreshes',
      'dhtMutablePuts',
    ] as const) {
      assert.equal(after[name], before[name], name);
    }
    const lookup = { command: COMMAND.LOOKUP, target: TOPIC };
    assert.ok(harness.ask(lookup, VICTIM)?.value);
  });

  test('one datagram of it is never more than one of ours, and one ping of main', () => {
    const harness = richNode();
    for (const { name, asked } of ROWS) {
      const { datagrams } = measure(harness, asked, MAX_DATAGRAM_BYTES);
      assert.ok(datagrams <= 1, name);
    }
  });
});
