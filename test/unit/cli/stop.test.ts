import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { STOP_DEADLINE_MS, stopHandler } from '../../../server/cli/stop.ts';

interface Bench {
  readonly signal: ReturnType<typeof stopHandler>;
  readonly exits: number[];
  readonly notices: string[];
  readonly closed: { resolve: () => void; reject: (error: Error) => void; calls: number };
  readonly timer: { delayMs: number; fire: (() => void) | null };
}

function bench(): Bench {
  const exits: number[] = [];
  const notices: string[] = [];
  const timer: Bench['timer'] = { delayMs: 0, fire: null };
  const closed: Bench['closed'] = { resolve: () => {}, reject: () => {}, calls: 0 };
  const signal = stopHandler({
    clock: {
      after(delayMs, fn) {
        timer.delayMs = delayMs;
        timer.fire = fn;
        return () => {
          timer.fire = null;
        };
      },
    },
    close: () => {
      closed.calls++;
      return new Promise((resolve, reject) => Object.assign(closed, { resolve, reject }));
    },
    exit: (code) => void exits.push(code),
    notice: (line) => void notices.push(line),
  });
  return { signal, exits, notices, closed, timer };
}

/** Lets what hangs on settled promises run. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('stopping on a signal', () => {
  test('closes, then exits 0', async () => {
    const { signal, exits, closed, timer } = bench();
    signal('SIGTERM');
    await settle();
    assert.deepEqual([closed.calls, exits], [1, []]);
    closed.resolve();
    await settle();
    assert.deepEqual(exits, [0]);
    assert.equal(timer.fire, null, 'the deadline is cancelled');
  });

  test('a second signal exits at once, with the number of the signal', () => {
    for (const [name, code] of [['SIGINT', 130] as const, ['SIGTERM', 143] as const]) {
      const { signal, exits, closed } = bench();
      signal('SIGTERM');
      signal(name);
      assert.deepEqual([exits, closed.calls], [[code], 1]);
    }
  });

  test('a close that hangs ends within 2 s and is told', () => {
    const { signal, exits, notices, timer } = bench();
    signal('SIGINT');
    assert.ok(timer.delayMs === STOP_DEADLINE_MS && STOP_DEADLINE_MS < 2_000);
    timer.fire?.();
    assert.deepEqual([exits, notices.length], [[1], 1]);
  });

  test('a close that fails is told', async () => {
    const { signal, exits, notices, closed } = bench();
    signal('SIGINT');
    closed.reject(new Error('no'));
    await settle();
    assert.deepEqual([exits, notices], [[1], ['while stopping: no']]);
  });
});
