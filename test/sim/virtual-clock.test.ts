import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Rng } from '../../workers/rng.ts';
import { EventHeap, type SimEvent } from './event-heap.ts';
import { outsideOfJobs, runMicrotasks } from './microtasks.ts';
import { EPOCH_MS, VirtualClock } from './virtual-clock.ts';

function event(at: number): SimEvent {
  return { at, order: 0, isDead: false, run: () => undefined };
}

describe('the event heap', () => {
  test('gives back events by time, and those of one time as they came', () => {
    const rng = new Rng(1);
    const heap = new EventHeap();
    const pushed = Array.from({ length: 5000 }, () => event(rng.below(100)));
    for (const one of pushed) heap.push(one);
    const expected = pushed.toSorted((a, b) => a.at - b.at || a.order - b.order);
    assert.deepEqual(
      pushed.map(() => heap.pop()),
      expected,
    );
    assert.equal(heap.pop(), undefined);
  });

  test('sweeps cancelled events out once they are more than half, and keeps the order', () => {
    const rng = new Rng(2);
    const heap = new EventHeap();
    const pushed = Array.from({ length: 10_000 }, () => event(rng.below(1000)));
    for (const one of pushed) heap.push(one);
    for (const one of pushed) if (rng.below(4) > 0) heap.kill(one);
    assert.ok(heap.size < 6000, `${heap.size} are left`);
    const alive = pushed.filter((one) => !one.isDead);
    const order = alive.toSorted((a, b) => a.at - b.at || a.order - b.order);
    const popped: SimEvent[] = [];
    for (let one = heap.pop(); one !== undefined; one = heap.pop()) {
      if (!one.isDead) popped.push(one);
    }
    assert.deepEqual(popped, order);
  });
});

describe('what promises have queued', () => {
  test('is run to the end, at once, outside of promise jobs', async () => {
    let steps = 0;
    await outsideOfJobs(() => {
      const walk = async () => {
        for (let i = 0; i < 100; i++) {
          await null;
          steps++;
        }
      };
      void walk();
      process.nextTick(() => steps++);
      runMicrotasks();
      assert.equal(steps, 101);
    });
  });

  test('throws what nobody catches where it is run', async () => {
    const failing = outsideOfJobs(() => {
      throw new Error('planted');
    });
    await assert.rejects(failing, /planted/);
  });
});

describe('the virtual clock', () => {
  test('fires timers when they are due, in the order they were set', async () => {
    const clock = new VirtualClock();
    const machine = clock.machine();
    const log: string[] = [];
    const say = (what: string) => () => log.push(`${machine.now() - EPOCH_MS} ${what}`);
    machine.after(30, say('c'));
    machine.after(10, say('a'));
    machine.after(10, say('b'));
    machine.soon(say('soon'));
    const stop = machine.every(20, say('every'));
    machine.after(45, stop);
    await clock.advance(9);
    assert.deepEqual(log, ['0 soon']);
    await clock.advance(91);
    assert.deepEqual(log.slice(1), ['10 a', '10 b', '20 every', '30 c', '40 every']);
    assert.equal(machine.now(), EPOCH_MS + 100);
  });

  test('cancels a timer that has not fired, and one that cancels itself', async () => {
    const clock = new VirtualClock();
    const machine = clock.machine();
    let fired = 0;
    machine.after(5, () => fired++)();
    const stop = machine.every(5, () => {
      fired++;
      stop();
    });
    await clock.advance(100);
    assert.equal(fired, 1);
  });

  test('runs promises between two events of the same time', async () => {
    const clock = new VirtualClock();
    const machine = clock.machine();
    const log: string[] = [];
    machine.after(1, async () => {
      log.push('first');
      await null;
      await null;
      log.push('what the first waited for');
    });
    machine.after(1, () => log.push('second'));
    await clock.advance(1);
    assert.deepEqual(log, ['first', 'what the first waited for', 'second']);
  });

  test('lets time pass until a promise settles, and no longer', async () => {
    const clock = new VirtualClock();
    const machine = clock.machine();
    machine.every(7, () => undefined);
    const slept = new Promise<string>((resolve) => machine.after(50, () => resolve('awake')));
    assert.equal(await clock.until(slept, 1000), 'awake');
    assert.equal(clock.elapsedMs, 50);
    const failing = new Promise((_, reject) =>
      machine.after(1, () => reject(new Error('planted'))),
    );
    await assert.rejects(clock.until(failing, 1000), /planted/);
    const never = clock.until(new Promise(() => undefined), 1000);
    await assert.rejects(never, /within 1000 ms of virtual time/);
  });

  test('fires nothing of a machine that crashed, and takes no new timers of it', async () => {
    const clock = new VirtualClock();
    const [crashing, other] = [clock.machine(), clock.machine()];
    const log: string[] = [];
    crashing.every(10, () => log.push('crashed'));
    other.every(10, () => log.push('other'));
    await clock.advance(15);
    crashing.stop();
    crashing.after(1, () => log.push('late'));
    await clock.advance(10);
    assert.deepEqual(log, ['crashed', 'other', 'other']);
  });

  test('holds what falls due on a sleeping machine until it wakes up', async () => {
    const clock = new VirtualClock();
    const machine = clock.machine(250);
    const times: number[] = [];
    machine.every(100, () => times.push(machine.now() - EPOCH_MS));
    await clock.advance(150);
    machine.sleep(1000);
    await clock.advance(1150);
    assert.deepEqual(times, [350, 1400, 1500]);
  });

  test('says so when time stands still', async () => {
    const clock = new VirtualClock();
    const machine = clock.machine();
    const again = () => machine.soon(again);
    again();
    await assert.rejects(clock.advance(1), /time stands still/);
  });
});
