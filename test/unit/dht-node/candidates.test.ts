import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nodeId } from '../../../codecs/dht/node-id.ts';
import { type Candidate, Candidates } from '../../../server/dht/candidates.ts';
import { Deadlines } from '../../../server/dht/deadlines.ts';
import { Fifo } from '../../../server/dht/fifo.ts';
import type { OwnRequest } from '../../../server/dht/request.ts';
import type { DhtResponse } from '../../../server/dht/types.ts';
import { Rng } from '../../../workers/rng.ts';
import { compareDistance, targetOf } from '../../helpers/dht-node-harness.ts';

const K = 20;
const OURS = { host: '51.15.0.7', port: 1 };

function answerOf({ host, port, id }: Candidate): DhtResponse {
  const from = { id, host, port };
  const rest = { token: null, closerNodes: [], error: 0, value: null };
  return { tid: 1, rtt: 1, from, to: OURS, socket: 'server', ...rest };
}

function someNode(rng: Rng, networks: number) {
  const network = rng.below(networks);
  return { host: `45.${network}.${rng.below(256)}.${rng.below(256)}`, port: 1 + rng.below(9) };
}

describe('candidates of a query', () => {
  test('whatever happens, the closest that answered are kept, in order and once each', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const rng = new Rng(seed);
      const target = targetOf(seed);
      // More than enough networks: none is crowded.
      const candidates = new Candidates(target, K, false);
      const answered: Candidate[] = [];
      const asked: Candidate[] = [];
      for (let step = 0; step < 400; step++) {
        const what = rng.below(4);
        if (what < 2) candidates.add(someNode(rng, 250), null);
        const next = what === 2 ? candidates.next() : null;
        if (next !== null) asked.push(next);
        if (what !== 3 || asked.length === 0) continue;
        const [one] = asked.splice(rng.below(asked.length), 1);
        if (rng.below(5) === 0) candidates.failed(one, true);
        else {
          candidates.answered(one, answerOf(one), true);
          answered.push(one);
        }
      }
      answered.sort((a, b) => compareDistance(target, a.id, b.id));
      const expected = answered.slice(0, K).map(({ host, port }) => `${host}:${port}`);
      const found = candidates.closest.map(({ from }) => `${from.host}:${from.port}`);
      assert.ok(found.length <= K && new Set(found).size === found.length, `seed ${seed}`);
      const ids = candidates.closest.map(({ from }) => from.id as Uint8Array);
      for (let i = 1; i < ids.length; i++) {
        assert.ok(compareDistance(target, ids[i - 1], ids[i]) < 0, `seed ${seed}, place ${i}`);
      }
      // Of a network with more than five, the farther ones are left out.
      const missing = expected.filter((node) => !found.includes(node));
      assert.ok(missing.length <= 1, `seed ${seed}: ${missing}`);
    }
  });

  test('the closest is asked first, nobody twice', () => {
    const target = targetOf(1);
    const candidates = new Candidates(target, K, false);
    const rng = new Rng(1);
    for (let i = 0; i < 100; i++) candidates.add(someNode(rng, 200), null);
    const ids: Uint8Array[] = [];
    for (let next = candidates.next(); next !== null; next = candidates.next()) {
      ids.push(next.id);
      candidates.add(next, null);
    }
    assert.ok(ids.length >= 98);
    for (let i = 1; i < ids.length; i++) assert.ok(compareDistance(target, ids[i - 1], ids[i]) < 0);
  });

  test('what strangers name is bounded', () => {
    const target = targetOf(2);
    const candidates = new Candidates(target, K, false);
    const rng = new Rng(2);
    for (let i = 0; i < 20_000; i++) candidates.add(someNode(rng, 256), null);
    assert.equal(candidates.openCount, 512);
    let asked = 0;
    for (let next = candidates.next(); next !== null; next = candidates.next()) {
      asked++;
      candidates.failed(next, true);
      for (let i = 0; i < 20; i++) candidates.add(someNode(rng, 256), null);
    }
    assert.ok(asked <= 512, `${asked} asked`);
    assert.equal(candidates.openCount, 0);
  });

  test('who named a node that is down is told, also who names it later', () => {
    const candidates = new Candidates(targetOf(3), K, false);
    const node = { host: '45.1.1.1', port: 1 };
    const referrers = Array.from({ length: 40 }, (_, i) => ({
      id: nodeId('45.2.1.1', i + 1),
      host: '45.2.1.1',
      port: i + 1,
    }));
    for (const referrer of referrers) assert.equal(candidates.add(node, referrer), false);
    const next = candidates.next();
    assert.ok(next);
    assert.equal(candidates.failed(next, true).length, 16);
    assert.equal(candidates.add(node, referrers[0]), true);
  });
});

describe('deadlines', () => {
  test('they come in the order of their times, those that were moved or met not', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const rng = new Rng(seed);
      const deadlines = new Deadlines();
      const requests = Array.from(
        { length: 200 },
        () => ({ dueAt: rng.below(50), isDone: false }) as OwnRequest,
      );
      for (const request of requests) deadlines.push(request);
      for (const request of requests) {
        const what = rng.below(4);
        if (what === 0) request.isDone = true;
        if (what !== 1) continue;
        request.dueAt += 1 + rng.below(100);
        deadlines.push(request);
      }
      const left = requests.filter(({ isDone }) => !isDone);
      const expected = left.map(({ dueAt }) => dueAt).sort((a, b) => a - b);
      const found: number[] = [];
      for (let now = 0; now <= 200; now++) {
        for (let due = deadlines.due(now); due !== null; due = deadlines.due(now)) {
          assert.ok(due.dueAt <= now, `seed ${seed}`);
          found.push(due.dueAt);
          due.isDone = true;
        }
      }
      assert.deepEqual(found, expected, `seed ${seed}`);
      assert.equal(deadlines.first(), Number.POSITIVE_INFINITY);
    }
  });
});

describe('fifo', () => {
  test('what goes in first comes out first, however many there are', () => {
    const fifo = new Fifo<number>();
    const rng = new Rng(1);
    let pushed = 0;
    let taken = 0;
    for (let i = 0; i < 5000; i++) {
      if (rng.below(2) === 0) fifo.push(pushed++);
      else if (taken < pushed) assert.equal(fifo.shift(), taken++);
      else assert.equal(fifo.shift(), undefined);
      assert.equal(fifo.size, pushed - taken);
    }
  });
});
