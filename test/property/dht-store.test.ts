/** The DHT stores against a model of them: sequences of operations at limits where all happens. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PeerChange, ValueChange } from '../../workers/dht/store/change.ts';
import { INVALID } from '../../workers/store/change.ts';
import { checkStore } from '../unit/dht-store/check.ts';
import { makePeers, makeValues, NOW, peerChange, valueChange } from '../unit/dht-store/fixture.ts';
import {
  compare,
  makeWorld,
  type Operation,
  randomOperation,
  runOperation,
} from '../unit/dht-store/operations.ts';
import { SeededRandom } from '../unit/store/fixture.ts';

interface Setting {
  readonly limit: number;
  readonly targets: number;
  readonly keys: number;
  readonly collide?: boolean;
}

const SETTINGS: readonly Setting[] = [
  { limit: 1, targets: 2, keys: 2 },
  { limit: 2, targets: 2, keys: 3 },
  { limit: 7, targets: 3, keys: 6 },
  { limit: 7, targets: 3, keys: 6, collide: true },
  { limit: 50, targets: 8, keys: 12 },
  { limit: 50, targets: 50, keys: 2 },
  { limit: 60, targets: 1, keys: 90, collide: true },
  { limit: 300, targets: 2, keys: 250 },
];
const OPERATIONS = 4_000;

for (const [index, { limit, targets, keys, collide }] of SETTINGS.entries()) {
  for (const peers of [false, true]) {
    const kind = peers ? 'peers' : 'values';
    test(`a store of ${kind} behaves as its model: ${JSON.stringify(SETTINGS[index])}`, () => {
      const seed = 2000 + index;
      const world = makeWorld(peers, limit, targets, collide);
      const random = new SeededRandom(seed);
      for (let i = 0; i < OPERATIONS; i++) {
        const op = randomOperation(random, targets, keys);
        try {
          runOperation(world, op);
          if (i % 20 === 0) compare(world);
        } catch (error) {
          throw new Error(`seed ${seed}, operation ${i}: ${JSON.stringify(op)}`, { cause: error });
        }
      }
      compare(world);
    });
  }
}

const operation: fc.Arbitrary<Operation> = fc.record({
  kind: fc.constantFrom('put', 'put', 'put', 'remove', 'tick', 'repair', 'adopt'),
  target: fc.nat(2),
  key: fc.nat(4),
  content: fc.nat(255),
  passed: fc.nat(3),
  age: fc.integer({ min: -1, max: 5 }),
  prefix: fc.nat(2),
  host: fc.nat(2),
  bump: fc.nat(9),
});

test('both stores behave as their model: shrinkable sequences', () => {
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.constantFrom(1, 2, 3, 7),
      fc.boolean(),
      fc.array(operation, { maxLength: 60 }),
      (peers, limit, collide, operations) => {
        const world = makeWorld(peers, limit, 3, collide);
        for (const op of operations) {
          runOperation(world, op);
          compare(world);
        }
      },
    ),
    { numRuns: 300 },
  );
});

const ODD = [0, 1, 2, 3, 4, 31, 32, 37, 38, 255, 2 ** 31, 2 ** 32, 2 ** 53, -1, 0.5, NaN, Infinity];
const FIELDS = ['op', 'hash', 'expiresAt', 'prefix', 'host', 'bump', 'relayCount', 'valueLength'];
FIELDS.push('keyAt', 'valueAt', 'targetAt', 'publicKeyAt', 'relaysAt');

test('no value of any field makes apply throw or break a store', () => {
  const seed = 4242;
  const random = new SeededRandom(seed);
  const values = makeValues(20);
  const peers = makePeers(20);
  let invalid = 0;
  const odd = <C extends ValueChange | PeerChange>(change: C): C => {
    for (let n = random.below(3); n > 0; n--) {
      const field = FIELDS[random.below(FIELDS.length)];
      if (field in change) Object.assign(change, { [field]: ODD[random.below(ODD.length)] });
    }
    return change;
  };
  for (let i = 0; i < 20_000; i++) {
    const content = random.below(200);
    const fields = { expiresAt: NOW + 1 + random.below(9) };
    const results = [
      values.apply(odd(valueChange(random.below(30), content, fields))),
      peers.apply(odd(peerChange(random.below(4), random.below(30), content, fields))),
    ];
    for (const result of results) {
      assert.ok(result >= 1 && result <= 8, `seed ${seed}, change ${i}: result ${result}`);
      if (result === INVALID) invalid++;
    }
    if (i % 500 === 0) {
      checkStore(values);
      checkStore(peers);
    }
  }
  assert.ok(invalid > 2_000 && invalid < 30_000, `both kinds occur: ${invalid} invalid`);
});
