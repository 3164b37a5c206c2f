/** Operations on a DHT store and its model side by side: from a seed, or from fast-check. */
import assert from 'node:assert/strict';
import type { PeerChange, ValueChange } from '../../../workers/dht/store/change.ts';
import type { ArenaBuffers } from '../../../workers/dht/store/layout.ts';
import { PeerStore } from '../../../workers/dht/store/peer-store.ts';
import { ValueStore } from '../../../workers/dht/store/value-store.ts';
import { OP_REMOVE } from '../../../workers/store/change.ts';
import type { SeededRandom } from '../store/fixture.ts';
import { checkStore } from './check.ts';
import {
  bumpOf,
  dumpPeers,
  dumpValues,
  HASH_KEY,
  hex,
  keyOf,
  makePeers,
  makeValues,
  NOW,
  peerChange,
  valueChange,
} from './fixture.ts';
import { StoreModel } from './model.ts';

export interface Operation {
  readonly kind: 'put' | 'remove' | 'tick' | 'repair' | 'adopt';
  readonly target: number;
  readonly key: number;
  readonly content: number;
  /** Milliseconds the clock moves on before the operation. */
  readonly passed: number;
  readonly age: number;
  readonly prefix: number;
  readonly host: number;
  readonly bump: number;
}

export interface World {
  store: ValueStore | PeerStore;
  readonly model: StoreModel;
  /** All keys get the same hash. */
  readonly collide: boolean;
  readonly targets: number;
  now: number;
}

export function makeWorld(peers: boolean, limit: number, targets: number, collide = false): World {
  const store = peers ? makePeers(limit) : makeValues(limit);
  const model = new StoreModel(limit);
  model.now = NOW;
  return { store, model, collide, targets, now: NOW };
}

export function randomOperation(random: SeededRandom, targets: number, keys: number): Operation {
  const dice = random.below(1000);
  let kind: Operation['kind'] = 'put';
  if (dice >= 700) kind = 'remove';
  if (dice >= 850) kind = 'tick';
  if (dice >= 990) kind = random.chance(0.5) ? 'repair' : 'adopt';
  return {
    kind,
    target: random.below(targets),
    key: random.below(keys),
    content: random.below(200),
    passed: random.chance(0.1) ? random.below(200) : 0,
    // Mostly the same age: rows then end in the order of their puts.
    age: random.chance(0.8) ? 1000 : random.below(3000),
    prefix: random.below(4),
    host: random.below(8),
    bump: random.chance(0.3) ? random.below(1000) : 0,
  };
}

export function changeOf(world: World, op: Operation): ValueChange | PeerChange {
  const { prefix, host, bump } = op;
  const fields = { prefix, host, bump, expiresAt: world.now + op.age, collide: world.collide };
  const change =
    world.store instanceof PeerStore
      ? peerChange(op.target, op.key, op.content, fields)
      : valueChange(op.key * world.targets + op.target, op.content, fields);
  if (op.kind === 'remove') change.op = OP_REMOVE;
  return change;
}

/** The operation on the store alone. */
export function runOnStore(world: World, op: Operation): unknown {
  const { store } = world;
  if (op.kind === 'tick') return store.tick(world.now, 1 + (op.content % 8));
  if (op.kind === 'repair') return store.repair();
  const change = changeOf(world, op);
  // A union of methods takes what both do: nothing.
  return store instanceof PeerStore
    ? store.apply(change as PeerChange)
    : store.apply(change as ValueChange);
}

export function runOnModel(world: World, op: Operation): unknown {
  const { model } = world;
  if (op.kind === 'tick') return model.tick(world.now, 1 + (op.content % 8));
  if (op.kind === 'repair') return { kept: model.rows.size, dropped: 0 };
  return model.apply(changeOf(world, op));
}

export function passTime(world: World, op: Operation): void {
  world.now += op.passed;
  world.model.now = world.now;
  world.store.setTime(world.now);
}

export function runOperation(world: World, op: Operation): void {
  passTime(world, op);
  if (op.kind === 'adopt') {
    world.store = reopen(world, world.store.buffers);
    return;
  }
  assert.deepEqual(runOnStore(world, op), runOnModel(world, op), `result of ${op.kind}`);
  assert.equal(world.store.size, world.model.rows.size, 'size');
  assert.equal(world.store.evicted, world.model.evicted, 'evictions');
  assert.equal(world.store.expired, world.model.expired, 'expiries');
}

/** What a successor wraps. */
export function reopen(world: World, buffers: ArenaBuffers): ValueStore | PeerStore {
  const isPeers = world.store instanceof PeerStore;
  const store = isPeers ? new PeerStore(buffers, HASH_KEY) : new ValueStore(buffers);
  store.setTime(world.now);
  return store;
}

export function dump(store: ValueStore | PeerStore): [string, string][] {
  return store instanceof PeerStore ? dumpPeers(store) : dumpValues(store);
}

/** Bumps by target. */
export function bumpsOf(world: World, store = world.store): number[] {
  if (!(store instanceof PeerStore)) return [];
  return Array.from({ length: world.targets }, (_, t) => bumpOf(store, t, world.collide));
}

export function modelBumps(world: World): number[] {
  if (!(world.store instanceof PeerStore)) return [];
  return Array.from({ length: world.targets }, (_, t) => world.model.bump(hex(keyOf(2, t), 3, 32)));
}

/** The whole store against the whole model, and the store against itself. */
export function compare(world: World): void {
  checkStore(world.store);
  assert.deepEqual(dump(world.store), world.model.dump(), 'rows by age');
  assert.deepEqual(bumpsOf(world), modelBumps(world), 'bumps');
}
