/**
 * The DHT's codecs against any input. Requests, replies and payloads made at random go there and
 * back, and the original encoders (npm dht-rpc 6.27.0, hyperdht 6.34.0) write the same bytes.
 * Seeded mutations of recorded and made ones: nothing throws, nothing outside the message is read
 * or written, and the original reads the same or, like us, nothing. FUZZ_MUTATIONS and FUZZ_SEED
 * change the amount and the seed.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { NodeAddress } from '../../codecs/dht/address.ts';
import { AnnounceReader, MutablePutReader } from '../../codecs/dht/hyper.ts';
import {
  decodeAnnounce,
  decodeHandshake,
  decodeHolepunch,
  decodeLookupReply,
  decodeMutablePut,
  decodeMutableValue,
  decodePeer,
  decodePluginRequest,
  encodeAnnounce,
  encodeHandshake,
  encodeHolepunch,
  encodeLookupReply,
  encodeMutablePut,
  encodeMutableValue,
  encodePeer,
  encodePluginRequest,
} from '../../codecs/dht/hyper-messages.ts';
import {
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
} from '../../codecs/dht/message.ts';
import {
  HolepunchReader,
  RelayReader,
  writeHandshake,
  writeHolepunch,
} from '../../codecs/dht/relay.ts';
import { RequestReader } from '../../codecs/dht/request.ts';
import {
  ARENA_START,
  Arena,
  FUZZ_MUTATIONS,
  FUZZ_SEED,
  mutate,
  Rng,
} from '../helpers/dns-bytes.ts';
import {
  bytesOf,
  hexOf,
  loadDhtVectors,
  OriginalCodec,
  originalDecode,
  originalEncode,
  plain,
  VECTOR_FILES,
} from '../unit/codecs/dht/fixture.ts';

const FROM: NodeAddress = { host: '192.0.2.9', port: 999 };
const RUNS = 500;

const bytesOfLength = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const bytes32 = bytesOfLength(32);
const bytes64 = bytesOfLength(64);
/** Plain objects, as the decoders make them. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null });
const uint = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.integer({ min: 0, max: 0x7fff_ffff }),
  fc.maxSafeNat(),
);
const value = fc.uint8Array({ maxLength: 400, size: 'max' });
const address = record({
  host: fc.ipV4(),
  port: fc.integer({ min: 0, max: 65_535 }),
});
const tid = fc.integer({ min: 0, max: 65_535 });

const request = record({
  tid,
  to: address,
  id: optional(bytes32),
  token: optional(bytes32),
  isInternal: fc.boolean(),
  command: uint,
  target: optional(bytes32),
  value: optional(value),
});

const reply = record({
  tid,
  to: address,
  id: optional(bytes32),
  token: optional(bytes32),
  closerNodes: fc.array(address, { maxLength: 20 }),
  error: uint,
  value: optional(value),
});

const peer = record({
  publicKey: bytes32,
  relayAddresses: fc.array(address, { maxLength: 4 }),
});
const mutable = { seq: uint, value, signature: bytes64 };

/** A kind of payload: how one is made, read and written, and what the original calls it. */
interface Kind {
  readonly name: string;
  readonly made: fc.Arbitrary<object>;
  encode(value: object): Uint8Array;
  decode(bytes: Uint8Array): object | null;
}

function kindOf<T extends object>(
  name: string,
  made: fc.Arbitrary<T>,
  encode: (value: T) => Uint8Array,
  decode: (bytes: Uint8Array) => T | null,
): Kind {
  return { name, made, encode: encode as (value: object) => Uint8Array, decode };
}

const KINDS: readonly Kind[] = [
  kindOf('peer', peer, encodePeer, decodePeer),
  kindOf(
    'announce',
    record({
      peer: optional(peer),
      refresh: optional(bytes32),
      signature: optional(bytes64),
      bump: uint,
    }),
    encodeAnnounce,
    decodeAnnounce,
  ),
  kindOf(
    'mutablePutRequest',
    record({ publicKey: bytes32, ...mutable }),
    encodeMutablePut,
    decodeMutablePut,
  ),
  kindOf('mutableGetResponse', record(mutable), encodeMutableValue, decodeMutableValue),
  kindOf(
    'handshake',
    record({
      mode: fc.integer({ min: 0, max: 9 }),
      noise: value,
      peerAddress: optional(address),
      relayAddress: optional(address),
    }),
    encodeHandshake,
    decodeHandshake,
  ),
  kindOf(
    'holepunch',
    record({
      mode: fc.integer({ min: 0, max: 9 }),
      id: uint,
      payload: value,
      peerAddress: optional(address),
    }),
    encodeHolepunch,
    decodeHolepunch,
  ),
  kindOf(
    'pluginRequest',
    record({
      plugin: fc.string({ unit: 'grapheme' }),
      version: uint,
      command: uint,
      value: optional(value),
    }),
    encodePluginRequest,
    decodePluginRequest,
  ),
  kindOf(
    'lookupRawReply',
    record({ peers: fc.array(peer, { maxLength: 5 }), bump: uint }),
    encodeLookupReply,
    decodeLookupReply,
  ),
];

const original = new OriginalCodec();

/** Asserts that the original reads what we read; returns whether it was readable. */
function assertSameRequest(bytes: Uint8Array): boolean {
  const ours = decodeRequest(bytes);
  const theirs = original.decodeRequest(bytes, ours?.token ?? null);
  assert.equal(ours === null, theirs === null, 'readable by one only');
  if (ours === null || theirs === null) return false;
  const { to, command, target, value: theirValue, token } = theirs as unknown as typeof ours;
  const read = { tid: theirs.tid, to, token, isInternal: theirs.internal, command, target };
  const { id: _id, ...compared } = ours;
  assert.deepEqual(plain({ ...read, value: theirValue }), plain(compared));
  return true;
}

function assertSameReply(bytes: Uint8Array): boolean {
  const ours = decodeReply(bytes);
  const theirs = original.decodeReply(bytes, FROM);
  assert.equal(ours === null, theirs === null, 'readable by one only');
  if (ours === null || theirs === null) return false;
  const { to, token, closerNodes, error, value: theirValue } = theirs;
  const read = { tid: theirs.tid, to, token, closerNodes: closerNodes ?? [], error };
  const { id: _id, ...compared } = ours;
  assert.deepEqual(plain({ ...read, value: theirValue }), plain(compared));
  return true;
}

function corpus(): Uint8Array[] {
  const recorded = VECTOR_FILES.flatMap((file) => loadDhtVectors(file));
  const made = [
    ...fc.sample(request, { numRuns: 100, seed: FUZZ_SEED }).map(encodeRequest),
    ...fc.sample(reply, { numRuns: 100, seed: FUZZ_SEED }).map(encodeReply),
  ];
  return [...recorded.map(({ hex }) => bytesOf(hex)), ...made];
}

const arenas = [new Arena(0x00), new Arena(0xff)] as const;

/** What `read` returns for the message in both arenas, which must be the same. */
function readInArenas(bytes: Uint8Array, read: (bytes: Uint8Array, length: number) => unknown) {
  const results = arenas.map((arena) => {
    const length = arena.load(bytes);
    return read(arena.bytes, length);
  });
  assert.deepEqual(results[0], results[1]);
  return results[0];
}

/** Every field of a reader, when it could read; bytes it points to must be within the message. */
function fields(reader: object, isReadable: boolean, length: number): unknown {
  if (!isReadable) return null;
  for (const [name, field] of Object.entries(reader)) {
    if (!/(Start|End)$/.test(name) || field === -1) continue;
    assert.ok(field >= ARENA_START && field <= ARENA_START + length, `${name} ${field}`);
  }
  return { ...reader };
}

/** Calls `check` with mutations of the corpus; tells the seed, round and bytes when it throws. */
function mutations(
  sources: readonly Uint8Array[],
  count: number,
  check: (bytes: Uint8Array) => boolean,
): number {
  const rng = new Rng(FUZZ_SEED);
  let readable = 0;
  for (let round = 0; round < count; round++) {
    const bytes = mutate(sources[rng.below(sources.length)], rng);
    try {
      if (check(bytes)) readable++;
    } catch (error) {
      const where = `FUZZ_SEED=${FUZZ_SEED}, round ${round}, bytes ${hexOf(bytes)}`;
      throw new Error(`${where}: ${error}`, { cause: error });
    }
  }
  return readable;
}

describe('DHT messages made at random', () => {
  test('requests go there and back, and the original writes the same bytes', () => {
    const property = fc.property(request, (made) => {
      const bytes = encodeRequest(made);
      assert.deepEqual(decodeRequest(bytes), made);
      assert.equal(hexOf(bytes), hexOf(original.encodeRequest(made)));
      assertSameRequest(bytes);
    });
    fc.assert(property, { numRuns: RUNS, seed: FUZZ_SEED });
  });

  test('replies go there and back, and the original writes the same bytes', () => {
    const property = fc.property(reply, (made) => {
      const bytes = encodeReply(made);
      assert.deepEqual(decodeReply(bytes), made);
      assert.equal(hexOf(bytes), hexOf(original.encodeReply(made)));
      assertSameReply(bytes);
    });
    fc.assert(property, { numRuns: RUNS, seed: FUZZ_SEED });
  });

  for (const { name, made, encode, decode } of KINDS) {
    test(`${name}: goes there and back, and the original writes the same bytes`, () => {
      const property = fc.property(made, (payload) => {
        const bytes = encode(payload);
        assert.deepEqual(decode(bytes), payload);
        const theirs =
          name === 'lookupRawReply'
            ? { ...payload, peers: (payload as { peers: never[] }).peers.map(encodePeer) }
            : payload;
        assert.equal(hexOf(bytes), hexOf(originalEncode(name, theirs)));
      });
      fc.assert(property, { numRuns: RUNS, seed: FUZZ_SEED });
    });
  }
});

describe('DHT messages mutated', () => {
  test('requests and replies: read as the original reads them, or not at all', () => {
    const reader = new RequestReader();
    const readable = mutations(corpus(), FUZZ_MUTATIONS, (bytes) => {
      const read = readInArenas(bytes, (memory, length) =>
        fields(reader, reader.read(memory, ARENA_START, length), length),
      );
      const isRequest = assertSameRequest(bytes);
      assert.equal(read !== null, isRequest);
      return isRequest || assertSameReply(bytes);
    });
    assert.ok(readable > FUZZ_MUTATIONS / 3, `${readable} readable of ${FUZZ_MUTATIONS}`);
  });

  const readers = [
    ['announce', new AnnounceReader()],
    ['mutablePutRequest', new MutablePutReader()],
    ['handshake', new RelayReader()],
    ['holepunch', new HolepunchReader()],
  ] as const;
  for (const kind of KINDS) {
    test(`${kind.name}: read as the original reads it, or not at all`, () => {
      const samples = fc.sample(kind.made, { numRuns: 300, seed: FUZZ_SEED }).map(kind.encode);
      const reader = readers.find(([name]) => name === kind.name)?.[1];
      const count = Math.ceil(FUZZ_MUTATIONS / KINDS.length);
      const readable = mutations(samples, count, (bytes) => {
        const ours = kind.decode(bytes);
        // The original makes an array as long as any count says: too slow for many of them.
        const theirs = originalDecode(kind.name, Buffer.from(bytes));
        assert.deepEqual(plain(ours), plain(theirs));
        if (reader === undefined) return ours !== null;
        const read = readInArenas(bytes, (memory, length) =>
          fields(reader, reader.read(memory, ARENA_START, length), length),
        );
        assert.equal(read !== null, ours !== null);
        return ours !== null;
      });
      assert.ok(readable > count / 10, `${readable} readable of ${count}`);
    });
  }

  test('what is relayed fits its announced length and touches nothing else', () => {
    const relay = new RelayReader();
    const punch = new HolepunchReader();
    const out = new Arena(0xa5);
    const addresses = Uint8Array.of(1, 2, 3, 4, 5, 6);
    const samples = ['handshake', 'holepunch'].flatMap((name) => {
      const kind = KINDS.find((candidate) => candidate.name === name);
      return kind === undefined ? [] : fc.sample(kind.made, 200).map(kind.encode);
    });
    const readable = mutations(samples, FUZZ_MUTATIONS / 10, (bytes) => {
      out.load(new Uint8Array());
      let end = ARENA_START;
      if (relay.read(bytes, 0, bytes.length)) {
        const { noiseStart: start, noiseLength: length } = relay;
        end = writeHandshake(out.bytes, end, 2, bytes, start, length, addresses, 0, -1);
      } else if (punch.read(bytes, 0, bytes.length)) {
        const { id, payloadStart: start, payloadLength: length } = punch;
        end = writeHolepunch(out.bytes, end, 2, id, bytes, start, length, addresses, 0);
      }
      assert.equal(out.damage(end - ARENA_START), undefined);
      const written = out.message(end - ARENA_START);
      assert.ok(written.length <= bytes.length + 6);
      return written.length > 0 && (decodeHandshake(written) ?? decodeHolepunch(written)) !== null;
    });
    assert.ok(readable > FUZZ_MUTATIONS / 40, `${readable} readable`);
  });
});
