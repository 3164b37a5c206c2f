/**
 * Whether the simulation would notice: bugs are planted in the code itself, one at a time, and a
 * scenario that is well without them must not be.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Candidates } from '../../server/dht/candidates.ts';
import { DhtNode } from '../../server/dht/node.ts';
import { RoutingTable } from '../../workers/dht/routing-table.ts';
import { SlotChecker } from '../../workers/dht/slot-checker.ts';
import { DhtTokens } from '../../workers/dht/tokens.ts';
import { assertWell, runScenario } from './scenario.ts';

const SEED = 12;
const NODES = 100;

/** Runs the scenario with a method replaced; what a failing test would say, or nothing. */
async function failureWith<T extends object, K extends keyof T & string>(
  owner: { readonly prototype: T },
  method: K,
  planted: (original: T[K]) => T[K],
): Promise<string> {
  const { prototype } = owner;
  const original = prototype[method];
  prototype[method] = planted(original);
  try {
    assertWell(await runScenario({ seed: SEED, nodes: NODES }));
    return '';
  } catch (error) {
    return String(error);
  } finally {
    prototype[method] = original;
  }
}

function assertNoticed(failure: string, how: RegExp): void {
  assert.notEqual(failure, '', `seed ${SEED}: nobody noticed`);
  assert.match(failure, how);
  assert.match(failure, /SIM_SEED=12 SIM_NODES=100 node test\/run\.mjs test\/sim\/seeds\.test\.ts/);
}

describe('the simulation', () => {
  test('is well without a planted bug', async () => {
    assert.deepEqual((await runScenario({ seed: SEED, nodes: NODES })).failures, []);
  });

  test('notices nodes that name the farthest nodes instead of the closest', async () => {
    const failure = await failureWith(
      RoutingTable,
      'writeClosest',
      (original) =>
        function (this: RoutingTable, target, at, most, out, outAt) {
          const far = Uint8Array.from({ length: 32 }, (_, i) => ~target[at + i]);
          return original.call(this, far, 0, most, out, outAt);
        },
    );
    assertNoticed(failure, /nearest/);
  });

  test('notices a query that stops early, at those it knew before', async () => {
    const failure = await failureWith(
      Candidates,
      'add',
      (original) =>
        function (this: Candidates, node, referrer) {
          return referrer === null ? original.call(this, node, referrer) : false;
        },
    );
    assertNoticed(failure, /nearest|knows nobody/);
  });

  test('notices nodes that take nobody into their tables who has asked them', async () => {
    const failure = await failureWith(DhtNode, 'sighted', () => () => undefined);
    assertNoticed(failure, /nearest|knows nobody/);
  });

  test('notices nodes that take no token', async () => {
    const failure = await failureWith(DhtTokens, 'verify', () => () => false);
    assertNoticed(failure, /did not find|no node took/);
  });

  test('notices nodes that take no signature for genuine', async () => {
    const failure = await failureWith(SlotChecker, 'check', () => () => undefined);
    assertNoticed(failure, /did not find the (announced peer|mutable value)|no node took/);
  });
});
