/**
 * Checksummed messages from the main thread to a lane thread and back through two rings, with the
 * lane's sleep, and the main thread's in its event loop, as often as can be.
 *
 * RING_MESSAGES: how many, a million unless told.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { loadAddon } from '../../server/net/native/addon.ts';
import { WakeEvent } from '../../server/net/wake-event.ts';
import { Ring } from '../../workers/ring.ts';
import { Rng } from '../../workers/rng.ts';
import {
  BATCH,
  type EchoData,
  REPLY,
  REQUEST,
  SLOT_WORDS,
  STOP,
  verify,
  write,
} from './ring-message.ts';

const MESSAGES = Number(process.env.RING_MESSAGES ?? 1_000_000);
const SLOTS = 1024;
/** No message for so long means that somebody sleeps who should not. */
const STALL_MS = 15_000;
/** Rounds of sending and collecting in a turn of the event loop. */
const ROUNDS = 64;

const ECHO = new URL('./ring-echo.ts', import.meta.url).href;
/** A worker does not inherit the loader of TypeScript: it registers it and goes on to the lane. */
const BOOT = `import('tsx/esm/api').then((tsx) => { tsx.register(); return import('${ECHO}'); })`;

/** The main thread's half. */
class Sender {
  readonly requests = Ring.allocate(SLOTS);
  readonly replies = Ring.allocate(SLOTS);
  readonly slots = new Int32Array(new SharedArrayBuffer(SLOTS * SLOT_WORDS * 4));
  readonly #free = Int32Array.from({ length: SLOTS }, (_, slot) => slot);
  #freeCount = SLOTS;
  readonly #batch = new Int32Array(BATCH);
  readonly #rng: Rng;
  readonly #messages: number;
  #sent = 0;
  received = 0;
  sleeps = 0;

  constructor(messages: number, seed: number) {
    this.#messages = messages;
    this.#rng = new Rng(seed);
  }

  /**
   * Sends and collects until all is done ('done'), until it sleeps ('asleep': call again when
   * woken) or until others should have a turn ('busy').
   */
  run(): 'done' | 'asleep' | 'busy' {
    this.replies.disarm();
    for (let round = 0; round < ROUNDS; round++) {
      this.#collect();
      if (this.received === this.#messages) return 'done';
      // Now and then it lets the lane run dry, and sleeps as well.
      const isResting = this.#rng.below(16) === 0;
      if (!isResting) this.#send(1 + this.#rng.below(BATCH));
      const mustWait = this.#freeCount === 0 || this.#sent === this.#messages;
      if ((isResting || mustWait) && this.#freeCount < SLOTS && this.replies.arm()) {
        this.sleeps++;
        return 'asleep';
      }
      this.replies.disarm();
    }
    return 'busy';
  }

  #send(most: number): void {
    const count = Math.min(most, this.#freeCount, this.#messages - this.#sent);
    if (count === 0) return;
    for (let i = 0; i < count; i++) {
      const slot = this.#free[--this.#freeCount];
      write(this.slots, slot, this.#sent++ | 0, REQUEST);
      this.#batch[i] = slot;
    }
    assert.equal(this.requests.push(this.#batch, 0, count), count);
    this.requests.wake();
  }

  #collect(): void {
    for (;;) {
      const count = this.replies.pop(this.#batch, BATCH);
      if (count === 0) return;
      for (let i = 0; i < count; i++) {
        const slot = this.#batch[i];
        verify(this.slots, slot, this.received++ | 0, REPLY);
        this.#free[this.#freeCount++] = slot;
      }
    }
  }

  stop(): void {
    this.requests.push(Int32Array.of(STOP), 0, 1);
    this.requests.wake();
  }

  get state(): string {
    const asleep = `asleep: lane ${this.requests.isArmed}, main ${this.replies.isArmed}`;
    const waiting = `waiting: ${this.requests.size} requests, ${this.replies.size} replies`;
    return `${this.received} of ${this.#messages}; ${asleep}; ${waiting}`;
  }
}

/** Drives the sender from the event loop until it is done; rejects when nothing moves any more. */
function drive(sender: Sender, worker: Worker, event: WakeEvent | null): Promise<void> {
  return new Promise((resolve, reject) => {
    let last = -1;
    const watch = setInterval(() => {
      if (sender.received === last) end(() => reject(new Error(`stalled at ${sender.state}`)));
      last = sender.received;
    }, STALL_MS);
    let isAsleep = false;
    const end = (how: () => void) => {
      clearInterval(watch);
      isAsleep = false;
      how();
    };
    const turn = () => {
      try {
        const state = sender.run();
        isAsleep = state === 'asleep';
        if (state === 'busy') setImmediate(turn);
        if (state === 'done') end(resolve);
      } catch (error) {
        end(() => reject(error));
      }
    };
    const onWake = () => {
      if (isAsleep) turn();
    };
    if (event !== null) event.onWake(onWake);
    worker.on('message', (message) => message === 'wake' && onWake());
    worker.on('error', (error) => end(() => reject(error)));
    turn();
  });
}

async function exchange(event: WakeEvent | null, messages: number): Promise<string> {
  const seed = process.pid;
  const sender = new Sender(messages, seed);
  const workerData: EchoData = {
    requests: sender.requests.buffer,
    replies: sender.replies.buffer,
    slots: sender.slots,
    wakeDescriptor: event?.fd ?? -1,
  };
  const worker = new Worker(BOOT, { eval: true, workerData });
  try {
    await once(worker, 'message');
    const started = performance.now();
    await drive(sender, worker, event);
    const seconds = (performance.now() - started) / 1000;
    assert.equal(sender.received, messages);
    const farewell = new Promise((resolve) => {
      worker.on('message', (message) => typeof message === 'number' && resolve(message));
    });
    sender.stop();
    const sleeps = await farewell;
    const slept = `sleeps: lane ${sleeps}, main ${sender.sleeps}`;
    return `${messages} messages in ${seconds.toFixed(1)} s; ${slept}`;
  } catch (error) {
    throw new Error(`seed ${seed}: ${sender.state}`, { cause: error });
  } finally {
    await worker.terminate();
    event?.close();
  }
}

test('every message arrives whole and in order, main woken by an event', async (context) => {
  const loaded = loadAddon();
  if (loaded.addon === null) return context.skip(loaded.reason);
  const event = WakeEvent.open();
  assert.ok(event);
  context.diagnostic(await exchange(event, MESSAGES));
});

test('the same, main woken by messages', async (context) => {
  context.diagnostic(await exchange(null, Math.min(MESSAGES, 200_000)));
});
