/**
 * The record store against a model of it: sequences of operations at limits where everything
 * happens.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Change, INVALID } from '../../workers/store/change.ts';
import { makeStore, SeededRandom } from '../unit/store/fixture.ts';
import {
  compare,
  makeWorld,
  type Operation,
  randomOperation,
  runOperation,
} from '../unit/store/operations.ts';

interface Setting {
  readonly limit: number;
  readonly names: number;
  readonly peers: number;
  readonly collide?: boolean;
  readonly tombstoneSeconds?: number;
}

const SETTINGS: readonly Setting[] = [
  { limit: 1, names: 3, peers: 3 },
  { limit: 2, names: 3, peers: 3 },
  { limit: 7, names: 5, peers: 6 },
  { limit: 7, names: 20, peers: 2, collide: true },
  { limit: 50, names: 8, peers: 12 },
  { limit: 50, names: 60, peers: 3, tombstoneSeconds: 0 },
  { limit: 50, names: 2, peers: 60 },
  { limit: 50, names: 2, peers: 60, tombstoneSeconds: 0, collide: true },
  { limit: 300, names: 3, peers: 90 },
];
const OPERATIONS = 25_000;

for (const [index, setting] of SETTINGS.entries()) {
  test(`store behaves as its model: ${JSON.stringify(setting)}`, () => {
    const seed = 1000 + index;
    const world = makeWorld({ tombstoneSeconds: 30, collide: false, ...setting, seed });
    const random = new SeededRandom(seed + 77);
    for (let i = 0; i < OPERATIONS; i++) {
      const op = randomOperation(random, setting.names, setting.peers);
      try {
        runOperation(world, op);
        if (i % 100 === 0) compare(world);
      } catch (error) {
        throw new Error(`seed ${seed}, operation ${i}: ${JSON.stringify(op)}`, { cause: error });
      }
    }
    compare(world);
  });
}

const operation: fc.Arbitrary<Operation> = fc.record({
  kind: fc.constantFrom('put', 'put', 'put', 'remove', 'lookup', 'sweep', 'repair'),
  name: fc.nat(4),
  peer: fc.nat(4),
  seconds: fc.nat(3),
  ttl: fc.nat(5),
  version: fc.nat(3),
  origin: fc.nat(1),
});

test('store behaves as its model: shrinkable sequences', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 3, 7),
      fc.constantFrom(0, 2, 10),
      fc.boolean(),
      fc.array(operation, { maxLength: 60 }),
      (limit, tombstoneSeconds, collide, operations) => {
        const world = makeWorld({ limit, tombstoneSeconds, collide, seed: 5 });
        for (const op of operations) {
          runOperation(world, op);
          compare(world);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('no value of any field makes apply throw or break the store', () => {
  const seed = 4242;
  const random = new SeededRandom(seed);
  const store = makeStore(20, 5);
  const odd = [
    0,
    1,
    4,
    6,
    255,
    256,
    65535,
    65536,
    2 ** 32 - 1,
    2 ** 32,
    -1,
    0.5,
    NaN,
    Infinity,
    100,
  ];
  const fields = ['op', 'now', 'keyStart', 'keyEnd', 'keyHash', 'domain', 'addressOffset', 'port'];
  fields.push('family', 'expiresAt', 'origin', 'version');
  let invalid = 0;
  for (let i = 0; i < 50_000; i++) {
    const change = new Change();
    change.keyBytes = Uint8Array.from({ length: random.below(300) }, () => random.below(3));
    change.keyEnd = Math.min(255, 1 + random.below(change.keyBytes.length + 1));
    change.address = new Uint8Array(random.chance(0.9) ? 16 + random.below(5) : random.below(16));
    change.op = 1 + random.below(2);
    for (let n = random.below(3); n > 0; n--) {
      const field = fields[random.below(fields.length)];
      Object.assign(change, { [field]: odd[random.below(odd.length)] });
    }
    const result = store.apply(change);
    assert.ok(result >= 1 && result <= INVALID, `seed ${seed}, change ${i}: result ${result}`);
    if (result === INVALID) invalid++;
    if (i % 500 === 0) store.check();
  }
  store.check();
  assert.ok(invalid > 5_000 && invalid < 45_000, `both kinds occur: ${invalid} invalid`);
});
