/** What our node asks of hyperdht nodes, and what it makes of wrong answers. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { COMMAND, DHT_ERROR } from '../../../codecs/dht/constants.ts';
import {
  decodeAnnounce,
  decodeMutablePut,
  encodeLookupReply,
  encodeMutableValue,
  encodePeer,
  type Peer as PeerRecord,
} from '../../../codecs/dht/hyper-messages.ts';
import type { DhtReply } from '../../../codecs/dht/message.ts';
import { announceSignable, mutableSignable, NAMESPACE } from '../../../codecs/dht/namespaces.ts';
import { isSigned } from '../../../codecs/sign/ed25519.ts';
import { hashOf } from '../../../server/dht/record-answers.ts';
import { DhtRecords } from '../../../server/dht/records.ts';
import { Rng } from '../../../workers/rng.ts';
import { NodeHarness, type Peer, type Sent, targetOf } from '../../helpers/dht-node-harness.ts';
import { keyPair, sign } from '../../helpers/signing.ts';

const TARGET = targetOf(5);
const PAIR = keyPair(targetOf(6));
const OTHER = keyPair(targetOf(7));
const VALUE = new TextEncoder().encode('a value');
const FRESH = new Uint8Array(32).fill(9);

type Parts = Partial<DhtReply> | null;

class World {
  readonly harness = new NodeHarness({ bootstrap: ['45.0.7.9:49737'], ephemeral: true });
  readonly records = new DhtRecords(this.harness.node);

  /** A node in a network of `count` others. */
  async join(count = 40): Promise<this> {
    this.harness.crowd(count);
    await this.harness.ready();
    this.harness.take();
    return this;
  }

  /** From now on all answer as usual, but for `parts`; null: not at all. */
  answer(parts: (sent: Sent, peer: Peer) => Parts): void {
    for (const peer of this.harness.peers.values()) {
      peer.answer = (sent) => {
        const own = sent.request.isInternal ? {} : parts(sent, peer);
        return own === null ? null : { ...this.harness.usual(sent), ...own };
      };
    }
  }

  /** What a promise comes to while time passes. */
  async ends<T>(promise: Promise<T>, ms = 3000, stepMs = 100): Promise<T> {
    // It may reject before anybody looks.
    const settled = Promise.allSettled([promise]);
    await this.harness.clock.pass(ms, stepMs);
    await settled;
    return promise;
  }

  async all<T>(query: AsyncIterable<T>): Promise<T[]> {
    const found: T[] = [];
    const reading = async () => {
      for await (const answer of query) found.push(answer);
    };
    await this.ends(reading());
    return found;
  }

  /** The requests with a command that have come to others since the last call. */
  sent(command: number): Sent[] {
    const all = this.harness.take();
    return all.filter(({ request }) => !request.isInternal && request.command === command);
  }

  get closest(): Peer[] {
    return this.harness.closest(TARGET);
  }
}

const peerOf = (publicKey: Uint8Array): PeerRecord => ({ publicKey, relayAddresses: [] });

function mutable(seq: number, value: Uint8Array, secretKey = PAIR.secretKey): Uint8Array {
  return encodeMutableValue({
    seq,
    value,
    signature: sign(mutableSignable(seq, value), secretKey),
  });
}

/** Values that no reader of anything should take. */
const UNREADABLE = [
  new Uint8Array(),
  new Uint8Array([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
  // So many peers that nobody has the memory.
  new Uint8Array([0xfe, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]),
  new Uint8Array([2, ...PAIR.publicKey, 0]),
  new Uint8Array([...PAIR.publicKey, 0xfd, 0xff, 0xff]),
];

/** Every peer answers with one of several values, in turn. */
function inTurn(values: readonly (Uint8Array | null)[]): (sent: Sent, peer: Peer) => Parts {
  const given = new Map<Peer, Uint8Array | null>();
  return (_, peer) => {
    if (!given.has(peer)) given.set(peer, values[given.size % values.length]);
    return { value: given.get(peer) ?? null };
  };
}

describe('records: what is asked for', () => {
  test('findPeer tells only the peer whose key it is', async () => {
    const world = await new World().join();
    const lies = [encodePeer(peerOf(OTHER.publicKey)), ...UNREADABLE];
    world.answer(inTurn([...lies, encodePeer(peerOf(PAIR.publicKey))]));
    const found = await world.all(world.records.findPeer(PAIR.publicKey));
    assert.ok(found.length >= 2, `${found.length} told`);
    for (const { peer, from, token } of found) {
      assert.deepEqual(peer.publicKey, new Uint8Array(PAIR.publicKey));
      assert.equal(from.id?.length, 32);
      assert.equal(token?.length, 32);
    }
  });

  test('lookup tells what can be read, of each node that has something', async () => {
    const world = await new World().join();
    const peers = [peerOf(PAIR.publicKey), peerOf(OTHER.publicKey)];
    world.answer(inTurn([...UNREADABLE, null, encodeLookupReply({ peers, bump: 77 })]));
    const found = await world.all(world.records.lookup(TARGET));
    assert.ok(found.length >= 2, `${found.length} told`);
    for (const { peers: told, bump } of found) {
      assert.deepEqual([told.length, bump], [2, 77]);
    }
  });

  test('an immutable value is believed by its hash alone', async () => {
    const world = await new World().join();
    const hash = hashOf(VALUE);
    const lies = [...UNREADABLE, new Uint8Array(VALUE).fill(1), hash];
    world.answer(inTurn(lies));
    assert.equal(await world.ends(world.records.immutableGet(hash)), null);
    world.answer(inTurn([...lies, VALUE]));
    const found = await world.ends(world.records.immutableGet(hash));
    assert.deepEqual(found?.value, VALUE);
  });

  test('a mutable value is believed by its signature alone', async () => {
    const world = await new World().join();
    const forged = mutable(3, VALUE);
    forged[0] = 4;
    const cut = mutable(3, VALUE).subarray(0, -1);
    const lies = [...UNREADABLE, forged, cut, mutable(9, VALUE, OTHER.secretKey)];
    world.answer(inTurn(lies));
    assert.equal(await world.ends(world.records.mutableGet(PAIR.publicKey)), null);
    world.answer(inTurn([...lies, mutable(3, VALUE)]));
    const found = await world.ends(world.records.mutableGet(PAIR.publicKey));
    assert.deepEqual([found?.seq, found?.value], [3, VALUE]);
  });

  test('of mutable values the latest is told, or the first if that will do', async () => {
    const world = await new World().join(300);
    const { records } = world;
    world.answer(inTurn([1, 2, 3, 4, 5].map((seq) => mutable(seq, new Uint8Array([seq])))));
    const get = (options: object) => world.ends(records.mutableGet(PAIR.publicKey, options));
    assert.equal((await get({}))?.seq, 5);
    assert.equal((await get({ seq: 5, latest: false }))?.seq, 5);
    assert.equal(await get({ seq: 6 }), null);
    const all = world.sent(COMMAND.MUTABLE_GET).length / 3;
    const first = records.mutableGet(PAIR.publicKey, { latest: false });
    assert.notEqual(await world.ends(first, 1000, 10), null);
    const asked = world.sent(COMMAND.MUTABLE_GET).length;
    assert.ok(asked < all, `${asked} asked for the first, ${all} for the latest`);
  });

  test('no answer, whatever is in it, throws or is believed', async () => {
    const seed = 11;
    const rng = new Rng(seed);
    const world = await new World().join();
    const honest = [
      mutable(3, VALUE),
      VALUE,
      encodePeer(peerOf(PAIR.publicKey)),
      encodeLookupReply({ peers: [peerOf(PAIR.publicKey)], bump: 1 }),
    ];
    world.answer(() => {
      const bytes = new Uint8Array(honest[rng.below(honest.length)]).slice(rng.below(3));
      for (let i = rng.below(4); i >= 0; i--) bytes[rng.below(bytes.length)] = rng.below(256);
      return { value: bytes };
    });
    for (let round = 0; round < 10; round++) {
      const { records } = world;
      const text = `seed ${seed}, round ${round}`;
      const value = await world.ends(records.immutableGet(hashOf(VALUE)), 1000);
      assert.deepEqual(value?.value ?? VALUE, VALUE, text);
      const kept = await world.ends(records.mutableGet(PAIR.publicKey), 1000);
      assert.deepEqual(kept?.value ?? VALUE, VALUE, text);
      for (const { peer } of await world.all(records.findPeer(PAIR.publicKey))) {
        assert.deepEqual(peer.publicKey, new Uint8Array(PAIR.publicKey), text);
      }
      await world.all(records.lookup(TARGET));
    }
  });

  test('nobody there: queries for records end empty, those that store fail', async () => {
    const world = new World();
    assert.equal(await world.ends(world.records.immutableGet(TARGET), 20_000), null);
    await assert.rejects(world.ends(world.records.immutablePut(VALUE), 20_000), {
      code: 'TOO_FEW_REPLIES',
    });
  });
});

describe('records: what is stored', () => {
  test('an announce is signed for each of the closest, with its id and token', async () => {
    const world = await new World().join();
    const relays = [1, 2, 3, 4].map((port) => ({ host: '45.9.9.9', port }));
    world.answer((_, { port, host }) => ({ token: hashOf(Buffer.from(`${host}:${port}`)) }));
    await world.ends(world.records.announce(TARGET, PAIR, relays, { bump: 5 }).finished());
    const sent = world.sent(COMMAND.ANNOUNCE);
    assert.deepEqual(
      sent.map(({ to }) => to.host),
      world.closest.map(({ host }) => host),
    );
    for (const { request, to } of sent) {
      const { peer, refresh, signature, bump } = decodeAnnounce(request.value as Uint8Array) ?? {};
      assert.deepEqual(peer?.relayAddresses, relays.slice(0, 3));
      assert.deepEqual([refresh, bump], [null, 5]);
      const token = hashOf(Buffer.from(`${to.host}:${to.port}`));
      assert.deepEqual(request.token, token);
      assert.deepEqual(request.target, TARGET);
      const id = world.harness.peers.get(`${to.host}:${to.port}`)?.id as Uint8Array;
      const encoded = encodePeer(peer as PeerRecord);
      const signed = announceSignable(NAMESPACE.ANNOUNCE, TARGET, id, token, encoded, null);
      assert.ok(isSigned(signature as Uint8Array, signed, PAIR.publicKey), to.host);
    }
  });

  test('a token that has turned is replaced once, and what it is for signed again', async () => {
    const world = await new World().join();
    const [stale] = world.closest;
    for (const refuses of [1, 100]) {
      let refused = 0;
      world.answer(({ request }, peer) => {
        const isStale = request.command === COMMAND.ANNOUNCE && peer === stale;
        return isStale && refused++ < refuses ? { error: 2, token: FRESH } : {};
      });
      await world.ends(world.records.announce(TARGET, PAIR).finished());
      const sent = world.sent(COMMAND.ANNOUNCE).filter(({ to }) => to.host === stale.host);
      assert.deepEqual(
        sent.map(({ request }) => request.token?.[0]),
        [7, 9],
      );
      const { signature } = decodeAnnounce(sent[1].request.value as Uint8Array) ?? {};
      const encoded = encodePeer(peerOf(PAIR.publicKey));
      const parts = [TARGET, stale.id, FRESH, encoded] as const;
      const signed = announceSignable(NAMESPACE.ANNOUNCE, ...parts, null);
      assert.ok(isSigned(signature as Uint8Array, signed, PAIR.publicKey));
    }
  });

  test('an unannounce goes to those that list the key, or as many peers as fit', async () => {
    const world = await new World().join();
    const many = Array.from({ length: 20 }, (_, i) => peerOf(targetOf(100 + i)));
    const [lists, full, other] = world.closest;
    world.answer(({ request }, peer) => {
      if (request.command !== COMMAND.LOOKUP) return {};
      const peers = new Map([
        [lists, [peerOf(OTHER.publicKey), peerOf(PAIR.publicKey)]],
        [full, many],
        [other, [peerOf(OTHER.publicKey)]],
      ]).get(peer);
      return { value: peers === undefined ? null : encodeLookupReply({ peers, bump: 0 }) };
    });
    await world.ends(world.records.unannounce(TARGET, PAIR));
    const sent = world.sent(COMMAND.UNANNOUNCE);
    assert.deepEqual(sent.map(({ to }) => to.host).sort(), [lists.host, full.host].sort());
    for (const { request, to } of sent) {
      const { signature } = decodeAnnounce(request.value as Uint8Array) ?? {};
      const id = world.harness.peers.get(`${to.host}:${to.port}`)?.id as Uint8Array;
      const encoded = encodePeer(peerOf(PAIR.publicKey));
      const token = request.token as Uint8Array;
      const signed = announceSignable(NAMESPACE.UNANNOUNCE, TARGET, id, token, encoded, null);
      assert.ok(isSigned(signature as Uint8Array, signed, PAIR.publicKey));
    }
    await world.ends(world.records.announce(TARGET, PAIR, [], { clear: true }).finished());
    const commands = world.harness.take().map(({ request }) => request.command);
    assert.equal(commands.filter((command) => command === COMMAND.UNANNOUNCE).length, 2);
    assert.equal(commands.filter((command) => command === COMMAND.ANNOUNCE).length, 20);
  });

  test('who is asked to unannounce and does not answer is no failure', async () => {
    const world = await new World().join();
    const value = encodeLookupReply({ peers: [peerOf(PAIR.publicKey)], bump: 0 });
    world.answer(({ request }) => (request.command === COMMAND.LOOKUP ? { value } : null));
    const open: number[] = [];
    const commit = async () => open.push(world.harness.node.openRequests);
    await world.ends(world.records.unannounce(TARGET, PAIR, { commit }), 20_000);
    assert.deepEqual(open, Array(20).fill(0), 'what is to follow waits until all have ended');
    world.answer(({ request }) => (request.command === COMMAND.LOOKUP ? { value } : { error: 1 }));
    await world.ends(world.records.unannounce(TARGET, PAIR), 20_000);
  });

  test('values go to the closest, with their tokens; the result names them', async () => {
    const world = await new World().join();
    const { hash, closestNodes } = await world.ends(world.records.immutablePut(VALUE));
    assert.deepEqual(hash, hashOf(VALUE));
    const sent = world.sent(COMMAND.IMMUTABLE_PUT);
    assert.deepEqual(
      sent.map(({ to }) => to.host),
      closestNodes.map(({ host }) => host),
    );
    assert.equal(sent.length, 20);
    assert.ok(sent.every(({ request }) => Buffer.from(VALUE).equals(request.value ?? FRESH)));
    const put = await world.ends(world.records.mutablePut(PAIR, VALUE, { seq: 3 }));
    assert.equal(put.seq, 3);
    assert.equal(put.closestNodes.length, 20);
    for (const { request } of world.sent(COMMAND.MUTABLE_PUT)) {
      const { seq, value, signature, publicKey } =
        decodeMutablePut(request.value as Uint8Array) ?? {};
      assert.deepEqual([seq, value, signature], [3, VALUE, put.signature]);
      assert.deepEqual(publicKey, put.publicKey);
    }
    assert.ok(isSigned(put.signature, mutableSignable(3, VALUE), PAIR.publicKey));
  });

  test('what the caller does with its arrays meanwhile changes nothing', async () => {
    const world = await new World().join();
    const pair = keyPair(targetOf(8));
    const value = new Uint8Array(VALUE);
    const end = world.records.mutablePut(pair, value);
    const other = world.records.immutablePut(value);
    const { publicKey } = keyPair(targetOf(8));
    for (const bytes of [value, pair.publicKey, pair.secretKey]) bytes.fill(0);
    const put = await world.ends(end);
    assert.deepEqual((await other).hash, hashOf(VALUE));
    const sent = world.sent(COMMAND.IMMUTABLE_PUT);
    assert.ok(sent.every(({ request }) => Buffer.from(VALUE).equals(request.value ?? FRESH)));
    assert.deepEqual(put.publicKey, new Uint8Array(publicKey));
    assert.ok(isSigned(put.signature, mutableSignable(0, VALUE), publicKey));
  });
});

describe('records: refusals', () => {
  /** A put of a mutable value, to nodes that answer it so. */
  async function put(answer: (place: number) => Parts): Promise<unknown> {
    const world = await new World().join();
    let place = 0;
    world.answer(({ request: { token } }) => (token === null ? {} : answer(place++)));
    return world.ends(world.records.mutablePut(PAIR, VALUE), 30_000);
  }

  test('a seq that was used, or is too low, at every node is told', async () => {
    const cases = [
      [DHT_ERROR.SEQ_REUSED, 'SEQ_REUSED'],
      [DHT_ERROR.SEQ_TOO_LOW, 'SEQ_TOO_LOW'],
      [DHT_ERROR.UNKNOWN_COMMAND, 'REFUSED'],
      [99, 'REFUSED'],
    ] as const;
    for (const [error, code] of cases) {
      await assert.rejects(
        put(() => ({ error })),
        { name: 'DHTError', code, error },
      );
    }
  });

  test('one node that takes it is enough', async () => {
    await put((place) => (place === 19 ? {} : { error: DHT_ERROR.SEQ_REUSED }));
    await put((place) => (place === 0 ? {} : null));
  });

  test('the reason is that of most who gave one, whoever was the last', async () => {
    const { SEQ_REUSED, SEQ_TOO_LOW } = DHT_ERROR;
    await assert.rejects(
      put((place) => ({ error: place < 7 ? SEQ_REUSED : place < 17 ? SEQ_TOO_LOW : 99 })),
      { code: 'SEQ_TOO_LOW' },
    );
    await assert.rejects(
      put((place) => (place === 3 ? { error: SEQ_REUSED } : null)),
      { code: 'SEQ_REUSED' },
    );
  });

  test('without a token, or any answer, nothing is stored', async () => {
    const world = await new World().join();
    world.answer(() => ({ token: null }));
    const announce = world.records.announce(TARGET, PAIR).finished();
    await assert.rejects(world.ends(announce), { code: 'NO_TOKEN' });
    await assert.rejects(
      put(() => null),
      { code: 'REQUEST_TIMEOUT' },
    );
    await assert.rejects(
      put(() => ({ error: DHT_ERROR.INVALID_TOKEN })),
      { code: 'REFUSED', error: 2 },
    );
  });

  test('what is no key, target, number or value is refused before anybody is asked', async () => {
    const world = await new World().join(0);
    const { records } = world;
    const short = new Uint8Array(31);
    const mixed = { publicKey: PAIR.publicKey, secretKey: OTHER.secretKey };
    const bad = { publicKey: PAIR.publicKey, secretKey: short };
    const relay = { host: '45.9.9.9', port: 0 };
    assert.throws(() => records.findPeer(short), /publicKey: expected .* of 32 bytes/);
    assert.throws(() => records.lookup(short), /target: expected .* of 32 bytes/);
    assert.throws(() => records.announce(TARGET, bad), /secretKey: expected .* of 64 bytes/);
    assert.throws(() => records.unannounce(TARGET, mixed), /belongs to publicKey/);
    assert.throws(() => records.announce(TARGET, PAIR, [relay]), TypeError);
    assert.throws(() => records.announce(TARGET, PAIR, [], { bump: -1 }), /bump -1: expected/);
    const text = 'text' as unknown as Uint8Array;
    await assert.rejects(records.immutablePut(text), /value: expected a Uint8Array/);
    await assert.rejects(records.immutablePut(new Uint8Array(1363)), /at most 1362 can be put/);
    await assert.rejects(records.mutablePut(PAIR, VALUE, { seq: 0.5 }), /seq 0.5: expected/);
    await assert.rejects(records.mutablePut(PAIR, new Uint8Array(1263)), /at most 1262 can be/);
    await assert.rejects(records.mutableGet(PAIR.publicKey, { seq: 2 ** 53 }), RangeError);
    await assert.rejects(records.immutableGet(short), TypeError);
    assert.deepEqual(world.harness.take(), []);
    assert.equal(world.harness.node.stats.queries.active, 0);
  });
});
