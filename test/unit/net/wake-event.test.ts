/** Waking the main thread's event loop, from itself and from threads that end at any time. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { loadAddon, packageRoot } from '../../../server/net/native/addon.ts';
import { WakeEvent, WakeSignal } from '../../../server/net/wake-event.ts';

const loaded = loadAddon();
const skip = loaded.addon === null ? loaded.reason : false;
/** Loopback takes microseconds; this is for a machine that is busy with other things. */
const DEADLINE_MS = 20_000;

/** Where node-gyp-build finds the addon, for threads, which have no loader of TypeScript. */
function addonFile(): string {
  const build = createRequire(import.meta.url)('node-gyp-build') as {
    resolve(root: string): string;
  };
  return build.resolve(packageRoot());
}

function open(): WakeEvent {
  const event = WakeEvent.open();
  assert.ok(event);
  return event;
}

async function until(isTrue: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!isTrue()) {
    assert.ok(Date.now() < deadline, what);
    await setImmediate();
  }
}

/** Turns of the event loop in which anything that is there is seen. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await setImmediate();
}

const descriptors = () => readdirSync('/proc/self/fd').length;

describe('wake event', { skip }, () => {
  test('one call for all signals of a turn', async () => {
    const event = open();
    const signal = new WakeSignal(event.fd);
    let calls = 0;
    event.onWake(() => calls++);
    await settle();
    assert.equal(calls, 0, 'nobody has signalled');
    for (let turn = 1; turn <= 5; turn++) {
      for (let i = 0; i < 3; i++) signal.signal();
      await settle();
      assert.equal(calls, turn);
    }
    signal.close();
    event.close();
  });

  test('a signal before the first onWake counts; a later callback takes over', async () => {
    const event = open();
    const signal = new WakeSignal(event.fd);
    const calls: string[] = [];
    signal.signal();
    await settle();
    event.onWake(() => calls.push('first'));
    await settle();
    event.onWake(() => calls.push('second'));
    signal.signal();
    await settle();
    assert.deepEqual(calls, ['first', 'second']);
    signal.close();
    event.close();
  });

  test('a signal within the callback calls again, in a later turn', async () => {
    const event = open();
    const signal = new WakeSignal(event.fd);
    let calls = 0;
    let depth = 0;
    event.onWake(() => {
      assert.equal(depth++, 0);
      if (++calls < 10) signal.signal();
      depth--;
    });
    signal.signal();
    await settle();
    assert.equal(calls, 10);
    signal.close();
    event.close();
  });

  test('after a close nothing is called and nothing fails, whoever closes first', async () => {
    const event = open();
    const signals = [new WakeSignal(event.fd), new WakeSignal(event.fd)];
    event.onWake(() => assert.fail('called after the close'));
    signals[0].signal();
    event.close();
    event.close();
    for (const signal of signals) signal.signal();
    signals[0].close();
    signals[0].close();
    for (const signal of signals) signal.signal();
    signals[1].close();
    await settle();
    assert.throws(() => event.onWake(() => undefined), /the wake event is closed/);
  });

  test('a descriptor of another sort is refused', () => {
    assert.throws(() => new WakeSignal(0), { code: 'EINVAL' });
    assert.throws(() => new WakeSignal(1 << 20), { code: 'EBADF' });
    assert.throws(() => new WakeSignal(-1), { code: 'ERR_INVALID_ARG_VALUE' });
  });

  test('an open event does not keep the process alive', () => {
    const script = `
      const addon = require(process.argv[1]);
      const event = addon.eventOpen();
      addon.watch(event, () => process.stdout.write('woken'));
      addon.eventSignal(event);
      setImmediate(() => setImmediate(() => undefined));
    `;
    const options = { encoding: 'utf8', timeout: DEADLINE_MS } as const;
    const result = spawnSync(process.execPath, ['-e', script, addonFile()], options);
    assert.equal(result.status, 0, `${result.signal} ${result.stderr}`);
    assert.equal(result.stdout, 'woken');
  });

  test('an exception of the callback is the process’s uncaughtException', () => {
    const script = `
      const addon = require(process.argv[1]);
      const event = addon.eventOpen();
      const alive = setInterval(() => undefined, 1000);
      process.once('uncaughtException', (error) => {
        process.stdout.write(error.message);
        addon.eventSignal(event);
      });
      let calls = 0;
      addon.watch(event, () => {
        if (++calls === 1) throw new Error('once');
        process.stdout.write(' and again');
        clearInterval(alive);
      });
      addon.eventSignal(event);
    `;
    const options = { encoding: 'utf8', timeout: DEADLINE_MS } as const;
    const result = spawnSync(process.execPath, ['-e', script, addonFile()], options);
    assert.equal(result.stdout, 'once and again', `${result.status} ${result.stderr}`);
  });
});

/** Counts up and signals; ends after `rounds`, or never. */
const SIGNALLER = `
  const { workerData } = require('node:worker_threads');
  const addon = require(workerData.file);
  const event = addon.eventDuplicate(workerData.fd);
  for (let i = 0; i < workerData.rounds; i++) {
    Atomics.add(workerData.count, 0, 1);
    addon.eventSignal(event);
  }
`;

function startSignaller(fd: number, count: Int32Array, rounds: number): Worker {
  const workerData = { file: addonFile(), fd, count, rounds };
  return new Worker(SIGNALLER, { eval: true, workerData });
}

describe('wake event across threads', { skip }, () => {
  test('what a thread did before its signal is seen in the callback', async () => {
    const event = open();
    const count = new Int32Array(new SharedArrayBuffer(4));
    const rounds = 50_000;
    let seen = 0;
    let calls = 0;
    event.onWake(() => {
      calls++;
      seen = Atomics.load(count, 0);
    });
    const workers = [0, 1].map(() => startSignaller(event.fd, count, rounds));
    const exits = workers.map((worker) => once(worker, 'exit'));
    await until(() => seen === 2 * rounds, `${seen} of ${2 * rounds} seen`);
    assert.ok(calls <= 2 * rounds);
    await Promise.all(exits);
    event.close();
  });

  test('threads killed while they signal: the event stays, no descriptor leaks', async () => {
    const event = open();
    const count = new Int32Array(new SharedArrayBuffer(4));
    let calls = 0;
    event.onWake(() => calls++);
    const kill = async () => {
      const before = Atomics.load(count, 0);
      const worker = startSignaller(event.fd, count, Number.POSITIVE_INFINITY);
      await until(() => Atomics.load(count, 0) > before, 'the thread does not start');
      await worker.terminate();
    };
    await kill();
    const usual = descriptors();
    for (let i = 0; i < 20; i++) await kill();
    await settle();
    // A thread's last descriptor may close after its end was told (Node 24): fewer is no leak.
    assert.ok(descriptors() <= usual, `${descriptors()} open, ${usual} before`);
    const signal = new WakeSignal(event.fd);
    const before = calls;
    signal.signal();
    await settle();
    assert.equal(calls, before + 1);
    signal.close();
    event.close();
  });

  test('a thread that watches an event of its own is killed', async () => {
    const script = `
      const { parentPort, workerData } = require('node:worker_threads');
      const addon = require(workerData.file);
      const event = addon.eventOpen();
      addon.watch(event, () => addon.eventSignal(event));
      addon.eventSignal(event);
      parentPort.on('message', () => undefined);
      parentPort.postMessage('up');
    `;
    const kill = async () => {
      const worker = new Worker(script, { eval: true, workerData: { file: addonFile() } });
      await once(worker, 'message');
      await worker.terminate();
    };
    await kill();
    const before = descriptors();
    for (let i = 0; i < 20; i++) await kill();
    await until(() => descriptors() <= before, 'descriptors leaked');
  });
});

test('there is an event exactly where there is an addon', () => {
  const event = WakeEvent.open();
  assert.equal(event === null, skip !== false);
  event?.close();
  if (event === null) assert.throws(() => new WakeSignal(0), /waking by descriptor/);
});
