import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NetworkHealth } from '../../../server/dht/health.ts';

function health() {
  const counts = { active: 0, total: 0, responses: 0, timeouts: 0, retries: 0 };
  const changes: string[] = [];
  const health = new NetworkHealth(counts, () => {
    changes.push(health.online ? (health.degraded ? 'degraded' : 'online') : 'offline');
  });
  const tick = (responses: number, timeouts: number, times = 1): void => {
    for (let i = 0; i < times; i++) {
      counts.responses += responses;
      counts.timeouts += timeouts;
      health.update();
    }
  };
  return { health, changes, tick };
}

describe('network health', () => {
  test('it says nothing before four ticks', () => {
    const { changes, tick, health: it } = health();
    tick(0, 10, 3);
    assert.equal(it.stats.cold, true);
    assert.deepEqual(changes, []);
  });

  test('two ticks of timeouts only are offline, one answer is online', () => {
    const { changes, tick } = health();
    tick(10, 0, 4);
    tick(0, 10);
    assert.deepEqual(changes, []);
    tick(0, 10);
    assert.deepEqual(changes, ['offline']);
    tick(0, 10, 5);
    tick(1, 5);
    assert.deepEqual(changes, ['offline', 'online']);
  });

  test('four ticks of mostly timeouts are degraded, four good ones no more', () => {
    const { changes, tick, health: it } = health();
    tick(10, 0, 4);
    tick(4, 6, 3);
    assert.deepEqual(changes, []);
    tick(4, 6);
    assert.deepEqual(changes, ['degraded']);
    assert.equal(it.stats.timeoutsRate, 0.6);
    tick(5, 5, 3);
    assert.deepEqual(changes, ['degraded']);
    tick(5, 5);
    assert.deepEqual(changes, ['degraded', 'online']);
  });

  test('ticks with hardly a request change nothing', () => {
    const { changes, tick, health: it } = health();
    tick(10, 0, 4);
    tick(0, 3, 20);
    assert.equal(it.stats.idle, true);
    assert.deepEqual(changes, []);
  });

  test('after offline ticks it can still be degraded, and recover', () => {
    const { changes, tick } = health();
    tick(10, 0, 4);
    tick(0, 10, 6);
    tick(2, 8, 4);
    tick(9, 1, 4);
    assert.deepEqual(changes, ['offline', 'online', 'degraded', 'online']);
  });

  test('reset, it is online and knows nothing', () => {
    const { changes, tick, health: it } = health();
    tick(0, 10, 6);
    assert.equal(it.online, false);
    it.reset();
    assert.deepEqual(changes, ['offline', 'online']);
    assert.equal(it.stats.cold, true);
  });
});
