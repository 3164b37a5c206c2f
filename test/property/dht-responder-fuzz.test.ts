/**
 * Mutated requests, recorded and made, through the whole DHT responder: with and without budget,
 * proven or not, genuine, forged or checked for real. Nothing throws, the counters balance, every
 * reply can be read and is within its bounds, and what is sent elsewhere goes only to who may get
 * it. FUZZ_MUTATIONS and FUZZ_SEED change the amount and the seed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  hostToU32,
  isPrivateIpv4,
  isReservedIpv4,
  type NodeAddress,
} from '../../codecs/dht/address.ts';
import {
  COMMAND,
  HEAD_BYTES,
  INTERNAL,
  MAX_DATAGRAM_BYTES,
  REQUEST_BYTE,
  TOKEN_BYTES,
} from '../../codecs/dht/constants.ts';
import {
  encodeAnnounce,
  encodeHandshake,
  encodeHolepunch,
  encodeMutablePut,
} from '../../codecs/dht/hyper-messages.ts';
import { decodeReply, decodeRequest, encodeRequest } from '../../codecs/dht/message.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import { RequestReader } from '../../codecs/dht/request.ts';
import type { CounterName } from '../../workers/counters.ts';
import { BUDGET_SILENT, BUDGET_TRUNCATED, SLOT_PROVEN } from '../../workers/slab.ts';
import { type Arrival, type Asked, DhtHarness } from '../helpers/dht-harness.ts';
import { FUZZ_MUTATIONS, FUZZ_SEED, mutate, Rng } from '../helpers/dns-bytes.ts';
import { loadDhtVectors, VECTOR_FILES } from '../unit/codecs/dht/fixture.ts';
import {
  announce,
  crowd,
  hash,
  keyPair,
  lookup,
  putImmutable,
  putMutable,
  topic,
} from '../unit/dht/fixture.ts';

const HEADERS = 28;
const CLIENTS: readonly NodeAddress[] = [
  { host: '203.0.114.7', port: 4001 },
  { host: '203.0.115.8', port: 4002 },
  { host: '127.0.0.1', port: 4003 },
];
/** What must have happened, or the corpus has missed something. */
const KINDS: readonly CounterName[] = [
  'dhtPings',
  'dhtPingNats',
  'dhtFindNodes',
  'dhtDownHints',
  'dhtDelayedPings',
  'dhtFindPeers',
  'dhtLookups',
  'dhtAnnounces',
  'dhtUnannounces',
  'dhtRefreshes',
  'dhtMutablePuts',
  'dhtMutableGets',
  'dhtImmutablePuts',
  'dhtImmutableGets',
  'dhtPlugins',
  'dhtUnknownCommands',
  'dhtRelayed',
  'dhtRelayRefused',
  'dhtBadTokens',
  'dhtForged',
  'dhtLimitedReplies',
  'dropMalformed',
  'dropRateLimited',
];

/** Requests of every command, of clients whose tokens hold. */
function corpus(harness: DhtHarness): Uint8Array[] {
  const recorded = VECTOR_FILES.flatMap((file) => loadDhtVectors(file)).map(({ hex }) =>
    Uint8Array.from(Buffer.from(hex, 'hex')),
  );
  const made = CLIENTS.flatMap((from) => {
    const token = harness.token(from);
    return requests(from, token).map((asked) => encodeRequest(harness.request(asked)));
  });
  return [...recorded.filter((bytes) => bytes[0] === REQUEST_BYTE), ...made, ...made];
}

function requests(from: NodeAddress, token: Uint8Array): Asked[] {
  const target = topic(1);
  const pair = keyPair(1);
  const own = hash(pair.publicKey);
  const internal = Object.values(INTERNAL).map((command) => ({
    command,
    isInternal: true,
    id: nodeId(from.host, from.port),
    target,
    value: Uint8Array.of(200, 0, 0, 0, 1, 2),
  }));
  const signed = { peer: { publicKey: pair.publicKey, relayAddresses: crowd(4) } };
  const signature = new Uint8Array(64);
  const announces = [target, own].flatMap((where) =>
    [null, hash(topic(9))].flatMap((refresh) => {
      const value = encodeAnnounce({ ...signed, refresh, signature, bump: 1_600_000_000_000 });
      return [COMMAND.ANNOUNCE, COMMAND.UNANNOUNCE].map((command) => {
        return { command, target: where, token, value };
      });
    }),
  );
  const refresh = topic(9);
  const renewal = encodeAnnounce({ peer: null, refresh, signature: null, bump: 0 });
  const put = { token, value: new Uint8Array(300).fill(3) };
  const { publicKey } = pair;
  const mutable = encodeMutablePut({ publicKey, seq: 2, value: topic(2), signature });
  const relayed = [0, 1, 2].flatMap((mode) => {
    const peerAddress = CLIENTS[mode];
    const noise = new Uint8Array(100);
    const relayAddress = mode === 1 ? null : CLIENTS[0];
    return [
      {
        command: COMMAND.PEER_HANDSHAKE,
        tid: 7,
        target: own,
        value: encodeHandshake({ mode, noise, peerAddress, relayAddress: null }),
      },
      {
        command: COMMAND.PEER_HANDSHAKE,
        tid: 7,
        target: own,
        value: encodeHandshake({ mode, noise, peerAddress, relayAddress }),
      },
      {
        command: COMMAND.PEER_HOLEPUNCH,
        tid: 7,
        target: own,
        value: encodeHolepunch({ mode, id: 3, payload: noise, peerAddress }),
      },
    ];
  });
  return [
    ...internal,
    ...announces,
    ...relayed,
    { command: COMMAND.ANNOUNCE, target, token, value: renewal },
    { command: COMMAND.LOOKUP, target },
    { command: COMMAND.LOOKUP, target: own },
    { command: COMMAND.FIND_PEER, target: own },
    { command: COMMAND.IMMUTABLE_PUT, target: hash(put.value), ...put },
    { command: COMMAND.IMMUTABLE_GET, target: hash(put.value) },
    { command: COMMAND.MUTABLE_PUT, target: own, token, value: mutable },
    { command: COMMAND.MUTABLE_GET, target: own, value: Uint8Array.of(0) },
    { command: COMMAND.PLUGIN, value: target },
  ];
}

/** With a budget of any kind or without, proven at times, the check of a signature a dice. */
function arrival(rng: Rng): Arrival {
  const verdict = rng.below(3) === 0 ? 'forged' : 'genuine';
  const isProven = rng.below(8) === 0;
  const how = { receiver: rng.below(2), isProven, verdict } as const;
  switch (rng.below(8)) {
    case 0:
      return { ...how, budget: BUDGET_SILENT };
    case 1:
      return { ...how, budget: BUDGET_TRUNCATED };
    case 2:
      return { ...how, budget: 10 + rng.below(1500) };
    default:
      return how;
  }
}

function assertReply(reply: Uint8Array, asked: number, how: Arrival, isProven: boolean): void {
  assert.ok(decodeReply(reply) !== null, 'a readable reply');
  assert.ok(reply.length >= HEAD_BYTES && reply.length <= MAX_DATAGRAM_BYTES);
  if (isProven || how.budget === undefined) return;
  assert.notEqual(how.budget, BUDGET_SILENT);
  const most = how.budget === BUDGET_TRUNCATED ? 3 * (asked + HEADERS) - HEADERS : how.budget;
  assert.ok(reply.length <= most, `${reply.length} bytes for ${asked}, budget ${how.budget}`);
}

/** A relayed message or a delayed reply. */
function assertOwn(to: NodeAddress, bytes: Uint8Array): void {
  assert.ok(bytes.length <= MAX_DATAGRAM_BYTES);
  const isRequest = bytes[0] === REQUEST_BYTE;
  assert.ok((isRequest ? decodeRequest(bytes) : decodeReply(bytes)) !== null, 'readable');
  const host = hostToU32(to.host);
  const isDelayedPing = !isRequest && bytes.length <= HEAD_BYTES + TOKEN_BYTES;
  if (isDelayedPing) return;
  assert.ok(!isReservedIpv4(host) && !isPrivateIpv4(host) && to.port > 0, `to ${to.host}`);
}

/** Whether the requests of a source that showed no valid token have changed anything. */
const CHANGES: readonly CounterName[] = [
  'dhtAnnounces',
  'dhtUnannounces',
  'dhtRefreshes',
  'dhtForged',
  'dhtStoreBounded',
];

function changes(harness: DhtHarness): number {
  const counters = harness.counters();
  return CHANGES.reduce((sum, name) => sum + counters[name], 0);
}

test(`${FUZZ_MUTATIONS} mutated requests to the DHT responder, seed ${FUZZ_SEED}`, () => {
  const harness = new DhtHarness({ seed: FUZZ_SEED, ownSlots: 16 });
  harness.know(...crowd(60), ...CLIENTS);
  const rng = new Rng(FUZZ_SEED);
  const reader = new RequestReader();
  let seeds = corpus(harness);
  for (let i = 0; i < FUZZ_MUTATIONS; i++) {
    const seed = seeds[rng.below(seeds.length)];
    const datagram = (rng.below(4) === 0 ? seed : mutate(seed, rng)).subarray(0, 1500);
    const from = CLIENTS[rng.below(CLIENTS.length)];
    const how = arrival(rng);
    try {
      const hasToken = reader.read(datagram, 0, datagram.length) && reader.tokenStart >= 0;
      const before = hasToken ? 0 : changes(harness);
      const reply = harness.exchange(datagram, from, how);
      const isProven = (harness.state & SLOT_PROVEN) !== 0;
      if (reply !== null) assertReply(reply, datagram.length, how, isProven);
      if (!hasToken) assert.equal(changes(harness), before, 'changed without a token');
      for (const { to, bytes } of harness.takeOwn()) assertOwn(to, bytes);
    } catch (error) {
      const bytes = Buffer.from(datagram).toString('hex');
      const where = `seed ${FUZZ_SEED} mutation ${i} ${JSON.stringify(how)} ${bytes}`;
      throw new Error(where, { cause: error });
    }
    if (i % 100 === 0) harness.advance(500);
    // New tokens now and then, or the epochs leave the corpus behind.
    if (i % 10_000 === 9999) seeds = corpus(harness);
  }
  const counters = harness.counters();
  const least = Math.max(1, Math.floor(FUZZ_MUTATIONS / 20_000));
  for (const kind of KINDS) assert.ok(counters[kind] >= least, `${kind}: ${counters[kind]}`);
  serves(harness);
});

/** After all that the node does what it did before. */
function serves(harness: DhtHarness): void {
  harness.advance(60_000);
  const from = { host: '60.1.2.3', port: 5 };
  announce(harness, from, topic(200), keyPair(200));
  assert.deepEqual(lookup(harness, topic(200))?.peers.length, 1);
  assert.equal(putMutable(harness, from, keyPair(201), 1, topic(3))?.error, 0);
  assert.equal(putImmutable(harness, from, topic(4))?.error, 0);
}
