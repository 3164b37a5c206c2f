/** Operations on a store and its model side by side: from a seed, or from fast-check. */
import assert from 'node:assert/strict';
import { Change, OP_PUT, OP_REMOVE } from '../../../workers/store/change.ts';
import { LIST_PEERS_LOW } from '../../../workers/store/membership.ts';
import type { RecordStore } from '../../../workers/store/record-store.ts';
import { UNLINKS_PER_SAMPLE } from '../../../workers/store/sample.ts';
import { dump, HASH, keyOf, makeStore, NOW, peer4, peer6, SeededRandom } from './fixture.ts';
import { StoreModel } from './model.ts';

export interface Operation {
  readonly kind: 'put' | 'remove' | 'lookup' | 'sweep' | 'repair';
  readonly name: number;
  readonly peer: number;
  /** Seconds the clock moves on before the operation. */
  readonly seconds: number;
  /** Seconds until the record expires; 0 = never. */
  readonly ttl: number;
  readonly version: number;
  readonly origin: number;
}

export interface World {
  readonly store: RecordStore;
  readonly model: StoreModel;
  readonly change: Change;
  readonly random: SeededRandom;
  /** All keys get the same hash. */
  readonly collide: boolean;
  now: number;
}

export interface WorldOptions {
  readonly limit: number;
  readonly tombstoneSeconds: number;
  readonly collide: boolean;
  readonly seed: number;
}

/** Lengths at and around the borders of row and overflow blocks. */
const KEY_LENGTHS = [3, 41, 44, 45, 65, 88, 89, 255];
/** Names that may keep extents are sampled whole: there, which expired rows are met is chance. */
const WHOLE_SAMPLE_FROM = LIST_PEERS_LOW;
/** More peers than any name has here. */
const ALL = 128;

export function makeWorld({ limit, tombstoneSeconds, collide, seed }: WorldOptions): World {
  return {
    store: makeStore(limit, tombstoneSeconds),
    model: new StoreModel(limit, tombstoneSeconds),
    change: new Change(),
    random: new SeededRandom(seed),
    collide,
    now: NOW,
  };
}

export function keyText(name: number): string {
  return `${name}.`.padEnd(KEY_LENGTHS[name % KEY_LENGTHS.length], 'abcdefghij');
}

export function randomOperation(random: SeededRandom, names: number, peers: number): Operation {
  const dice = random.below(1000);
  const kind =
    dice < 600
      ? 'put'
      : dice < 750
        ? 'remove'
        : dice < 970
          ? 'lookup'
          : dice < 995
            ? 'sweep'
            : null;
  return {
    kind: kind ?? 'repair',
    name: random.below(names),
    peer: random.below(peers),
    seconds: random.chance(0.1) ? random.below(20) : 0,
    ttl: random.chance(0.5) ? 0 : 1 + random.below(100),
    version: random.below(4),
    origin: random.below(2),
  };
}

/** Fills the world's change for a put or remove. Odd peers are IPv6, odd names of domain 1. */
export function fillChange(world: World, op: Operation): Change {
  const { change } = world;
  const peer = (op.peer & 1) === 1 ? peer6(op.peer) : peer4(op.peer);
  const key = keyOf(keyText(op.name));
  // Not at offset 0, so that an offset forgotten somewhere shows.
  change.keyBytes = new Uint8Array(key.length + 9);
  change.keyBytes.set(key, 5);
  change.keyStart = 5;
  change.keyEnd = 5 + key.length;
  change.keyHash = world.collide ? 7 : HASH.bytes(key, 0, key.length);
  change.op = op.kind === 'remove' ? OP_REMOVE : OP_PUT;
  change.domain = op.name & 1;
  change.address = peer.address;
  change.port = peer.port;
  change.family = peer.family;
  change.now = world.now;
  change.expiresAt = op.ttl === 0 ? 0 : world.now + op.ttl;
  change.origin = op.origin;
  // Mostly newer, sometimes a little older.
  change.version = Math.max(0, world.now - NOW + op.version);
  return change;
}

export function runOperation(world: World, op: Operation): void {
  const { store, model } = world;
  world.now += op.seconds;
  if (op.kind === 'put' || op.kind === 'remove') {
    const change = fillChange(world, op);
    const expected = model.apply(change);
    assert.equal(store.apply(change), expected, `result of ${op.kind}`);
  } else if (op.kind === 'lookup') {
    lookUp(world, op);
  } else if (op.kind === 'sweep') {
    store.sweep(world.now, store.limit, 2 * store.limit);
    model.sweep(world.now);
  } else {
    assert.deepEqual(store.repair(), { kept: model.rows().length, dropped: 0 });
  }
  assert.equal(store.live, model.live, 'live records');
  assert.equal(store.tombstones, model.tombstones.size, 'tombstones');
  assert.equal(store.evicted, model.evicted, 'evictions');
}

function lookUp(world: World, op: Operation): void {
  const { store, model, random } = world;
  const key = keyOf(keyText(op.name));
  const domain = op.name & 1;
  const modelName = `${domain}/${keyText(op.name)}`;
  const hash = world.collide ? 7 : HASH.bytes(key, 0, key.length);
  const name = store.find(key, 0, key.length, hash, domain);
  const live = model.names.get(modelName)?.size ?? 0;
  if (name < 0) {
    assert.equal(live, 0, 'a live name is found');
    return;
  }
  assert.equal(store.liveCount(name), live, 'live records of the name');
  store.touch(name);
  model.touch(modelName);
  if (live >= WHOLE_SAMPLE_FROM) sampleWhole(world, name, modelName);
  if (model.names.has(modelName)) {
    sampleOnce(world, name, modelName, [0, 4, 6][random.below(3)], random.below(12));
  }
}

/** Samples all of a name until every expired row is unlinked: each call unlinks a few. */
function sampleWhole(world: World, name: number, modelName: string): void {
  const { store } = world;
  let unlinked = UNLINKS_PER_SAMPLE;
  while (unlinked === UNLINKS_PER_SAMPLE && store.liveCount(name) > 0) {
    const before = store.expired;
    sampleOnce(world, name, modelName, 0, ALL);
    unlinked = store.expired - before;
  }
}

function sampleOnce(
  world: World,
  name: number,
  modelName: string,
  family: number,
  max: number,
): void {
  if (max === 0) return;
  const { store, model, random, now } = world;
  const out = new Int32Array(ALL);
  const expired = store.expired;
  const count = store.sample(name, family, max, now, random, out);
  assert.ok(store.expired - expired <= UNLINKS_PER_SAMPLE, 'bounded work');
  const expected = model.sample(modelName, family, now);
  assert.equal(count, Math.min(max, expected.length), 'size of the choice');
  const ids = new Set(expected.map((row) => row.id));
  for (let i = 0; i < count; i++) {
    const at = store.addressOffset(out[i]);
    const address = Buffer.from(store.buffers.records, at, 16).toString('hex');
    assert.ok(ids.delete(`${modelName}/${address}/${store.port(out[i])}`), 'a live, distinct peer');
  }
}

/** The whole store against the whole model, and the store against itself. */
export function compare(world: World): void {
  world.store.check();
  assert.deepEqual(
    [...dump(world.store)].sort(),
    [...world.model.dump()].sort(),
    'rows of store and model',
  );
}
