/**
 * The ring's protocol in every order of its steps, atomic and plain: ring-machine.ts runs the code
 * of workers/ring.ts itself. And the same code with one line broken at a time, to see that the
 * check would notice.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Ring } from '../../../workers/ring.ts';
import { explore, type Scenario } from './ring-explorer.ts';
import {
  HEAD,
  type Program,
  type RingClass,
  type State,
  TAIL,
  type Thread,
} from './ring-machine.ts';

/** The first entry's value; the others count up from it. */
const FIRST = 100;
const PRODUCER = 0;
const CONSUMER = 1;
/** The counts wrap in the middle of what a scenario moves. */
const ORIGIN = 0x7fff_ffff;
/** The most one pop takes. */
const BATCH = 2;

/** FIRST + from, FIRST + from + 1, ... in batches of the sizes given. */
function batchesOf(sizes: readonly number[], from = 0): Int32Array[] {
  let next = FIRST + from;
  return sizes.map((size) => Int32Array.from({ length: size }, () => next++));
}

/** Pushes the batches and wakes a lane after each; delivers what went in. */
function pushToLane(sizes: readonly number[]): Program {
  return ({ ring, deliver, turn }) => {
    for (const [i, batch] of batchesOf(sizes).entries()) {
      turn(i);
      const pushed = ring.push(batch, 0, batch.length);
      for (const entry of batch.subarray(0, pushed)) deliver(entry);
      ring.wake();
    }
  };
}

/** The same towards a thread that sleeps in its event loop. */
function pushToLoop(sizes: readonly number[], from = 0): Program {
  return ({ ring, signal, turn }) => {
    for (const [i, batch] of batchesOf(sizes, from).entries()) {
      turn(i);
      ring.push(batch, 0, batch.length);
      if (ring.takeSleeper()) signal();
    }
  };
}

/** A lane: delivers entries, and sleeps when there are none. */
const lane: Program = ({ ring, deliver, turn }) => {
  const out = new Int32Array(BATCH);
  for (;;) {
    turn();
    const count = ring.pop(out, BATCH);
    for (const entry of out.subarray(0, count)) deliver(entry);
    if (count > 0) continue;
    if (ring.arm()) ring.sleep(250);
    ring.disarm();
  }
};

/** The main thread: on whatever event, collects all there is; then looks once more and polls. */
const loop: Program = ({ ring, deliver, poll, turn }) => {
  const out = new Int32Array(BATCH);
  for (;;) {
    turn();
    ring.disarm();
    do {
      for (let count = ring.pop(out, BATCH); count > 0; count = ring.pop(out, BATCH)) {
        for (const entry of out.subarray(0, count)) deliver(entry);
      }
    } while (!ring.arm());
    poll();
  }
};

/** Collects without telling that it is awake: signals it does not need are all that costs. */
const drowsyLoop: Program = ({ ring, deliver, poll, turn }) => {
  const out = new Int32Array(BATCH);
  for (;;) {
    turn();
    for (let count = ring.pop(out, BATCH); count > 0; count = ring.pop(out, BATCH)) {
      for (const entry of out.subarray(0, count)) deliver(entry);
    }
    if (ring.arm()) poll();
  }
};

const count = (words: Int32Array, index: number) => (words[index] - ORIGIN) | 0;

/** Entries in the ring's order, by the counts alone. */
function sequence(length: number): number[] {
  return Array.from({ length }, (_, i) => FIRST + i);
}

/** Nothing lost, nothing twice, in order, and nobody asleep beside an entry. */
function checkEnd(published: (state: State) => readonly number[]): (state: State) => void {
  return (state) => {
    const expected = published(state);
    assert.equal(count(state.words, TAIL), expected.length, 'published');
    assert.equal(count(state.words, HEAD), expected.length, 'an entry is left with a sleeper');
    const consumers = state.threads.filter(isConsumer);
    let from = 0;
    for (const [i, consumer] of consumers.entries()) {
      const { delivered, status } = consumer;
      assert.equal(from, count(consumer.birth, HEAD));
      assert.deepEqual(delivered, expected.slice(from, from + delivered.length), 'delivered');
      const next = consumers[i + 1];
      from = next === undefined ? expected.length : count(next.birth, HEAD);
      const inHand = from - count(consumer.birth, HEAD) - delivered.length;
      assert.ok(inHand === 0 || (status === 'dead' && inHand > 0 && inHand <= BATCH), 'in hand');
    }
  };
}

function isConsumer({ program }: Thread): boolean {
  return program === lane || program === loop || program === drowsyLoop;
}

const pushedAll = (state: State) => state.threads[PRODUCER].delivered;

/** What main sees of a dead consumer: exactly what it has not taken. */
function checkPeek(state: State): void {
  const buffer = Ring.allocate(state.words.length - 48).buffer;
  new Int32Array(buffer).set(state.words);
  const ring = new Ring(buffer);
  const out = new Int32Array(ring.capacity);
  const left = [...out.subarray(0, ring.peek(out))];
  assert.deepEqual(left, sequence(count(state.words, TAIL)).slice(count(state.words, HEAD)));
}

const toLane = (sizes: readonly number[], more: Partial<Scenario> = {}): Scenario => ({
  capacity: 4,
  programs: [pushToLane(sizes), lane],
  origin: ORIGIN,
  mishaps: 0,
  findRaces: sizes.length < 3 && more.mishaps === undefined,
  checkEnd: checkEnd(pushedAll),
  ...more,
});

const toLoop = (sizes: readonly number[], more: Partial<Scenario> = {}): Scenario => ({
  capacity: 4,
  programs: [pushToLoop(sizes), loop],
  origin: ORIGIN,
  mishaps: 0,
  findRaces: sizes.length < 3 && more.mishaps === undefined,
  checkEnd: checkEnd((state) => sequence(count(state.words, TAIL))),
  ...more,
});

const total = (sizes: readonly number[]) => sizes.reduce((sum, size) => sum + size, 0);
const SIZES = [2, 1];

const laneDies = (sizes: readonly number[], more: Partial<Scenario> = {}): Scenario =>
  toLane(sizes, {
    mishaps: 1,
    mortal: { thread: CONSUMER, successor: () => lane, signals: false },
    checkKill: checkPeek,
    ...more,
  });

/** A lane that ends in the middle of its answers; its end is an event to the main thread. */
const replyingLaneDies = (signals: boolean): Scenario =>
  toLoop(SIZES, {
    mishaps: 1,
    mortal: {
      thread: PRODUCER,
      successor: (published) => pushToLoop([total(SIZES) - published], published),
      signals,
    },
    checkEnd: checkEnd(() => sequence(total(SIZES))),
  });

const SCENARIOS: readonly (readonly [string, Scenario])[] = [
  ['to a lane: two batches', toLane(SIZES)],
  ['to a lane: four batches', toLane([2, 1, 1, 3], { capacity: 8 })],
  ['to a lane: a full ring takes what fits', toLane([2, 2, 1], { capacity: 2 })],
  ['to a lane: sleeps that run out', toLane([2, 1, 1], { mishaps: 3, restless: [CONSUMER] })],
  ['to a lane that is killed anywhere: races', laneDies([2], { findRaces: true })],
  ['to a lane that is killed anywhere', laneDies(SIZES)],
  ['to a lane whose successor is killed, too', laneDies(SIZES, { mishaps: 2 })],
  ['to the event loop: two batches', toLoop(SIZES)],
  ['to the event loop: three batches', toLoop([2, 1, 1])],
  ['to the event loop: other events', toLoop(SIZES, { mishaps: 2, restless: [CONSUMER] })],
  ['to a drowsy event loop', toLoop(SIZES, { programs: [pushToLoop(SIZES), drowsyLoop] })],
  ['to the event loop from a lane that is killed anywhere', replyingLaneDies(true)],
];

describe('every order of the steps of workers/ring.ts', () => {
  for (const [name, scenario] of SCENARIOS) {
    test(name, (context) => {
      const { states, ends, kills } = explore(Ring, scenario);
      context.diagnostic(`${states} states, ${ends} ends, ${kills} kills`);
      assert.ok(states > 300 && ends > 1, `only ${states} states and ${ends} ends`);
      assert.equal(kills > 0, scenario.mortal !== undefined);
    });
  }
});

/** [what is broken, the text in workers/ring.ts, its replacement, what is found by it]. */
type Mutation = readonly [string, string | RegExp, string, Scenario, RegExp];

const LEFT = /an entry is left with a sleeper/;
const RECHECK = 'if (this.#atomics.load(words, TAIL) === words[HEAD]) return true;';
const SAY_SLEEP = 'this.#atomics.store(words, SLEEP, 1);';
const PUBLISH = 'if (fits > 0) this.#atomics.store(words, TAIL, (tail + fits) | 0);';
const GIVE_BACK = 'if (count > 0) this.#atomics.store(words, HEAD, (head + count) | 0);';
const TAKE = ' && this.#atomics.exchange(words, SLEEP, 0) === 1';
const WRITE = /for \(let i = 0; i < fits; i\+\+\) .+;/;

const MUTATIONS: readonly Mutation[] = [
  ['no second look before sleeping', RECHECK, 'return true;', toLane(SIZES), LEFT],
  ['the same to the event loop', RECHECK, 'return true;', toLoop(SIZES), LEFT],
  [
    'the second look before the announcement',
    new RegExp(`${escaped(SAY_SLEEP)}\\s+${escaped(RECHECK)}`),
    `if (this.#atomics.load(words, TAIL) === words[HEAD]) { ${SAY_SLEEP} return true; }`,
    toLane(SIZES),
    LEFT,
  ],
  ['no notify', 'if (this.takeSleeper()) this.#atomics.notify', 'void', toLane(SIZES), LEFT],
  ['a wake that leaves the sleep flag', TAKE, '', toLane(SIZES), LEFT],
  ['published before it is written', WRITE, `${PUBLISH} $&`, toLane(SIZES), /races/],
  ['published plainly', PUBLISH, 'words[TAIL] = (tail + fits) | 0;', toLane(SIZES), /races/],
  [
    'read plainly',
    'const waiting = (this.#atomics.load(words, TAIL) - head) | 0;',
    'const waiting = (words[TAIL] - head) | 0;',
    toLane(SIZES),
    /races/,
  ],
  [
    'room given back before it is read',
    'this.#copy(head, out, count);\n    if (count',
    `${GIVE_BACK} this.#copy(head, out, count);\n    if (count`,
    toLane([2, 1], { capacity: 2 }),
    /races/,
  ],
  [
    'more pushed than there is room',
    'Math.min(count - from, room)',
    'count - from',
    toLane([2, 1], { capacity: 2 }),
    /races/,
  ],
];

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** The Ring of workers/ring.ts with one text in place of another. */
async function mutated(from: string | RegExp, to: string): Promise<RingClass> {
  const source = readFileSync(
    fileURLToPath(new URL('../../../workers/ring.ts', import.meta.url)),
    'utf8',
  );
  const replaced = source.replace(from, to);
  assert.notEqual(replaced, source, `workers/ring.ts has no ${from}`);
  const folder = mkdtempSync(join(tmpdir(), 'waypost-ring-'));
  try {
    const file = join(folder, 'ring.mts');
    writeFileSync(file, replaced);
    return (await import(pathToFileURL(file).href)).Ring as RingClass;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('what is broken is found', () => {
  for (const [name, from, to, scenario, found] of MUTATIONS) {
    test(name, async () => {
      const broken = await mutated(from, to);
      assert.throws(() => explore(broken, scenario), found);
    });
  }

  test('a wake before the push', () => {
    const hasty: Program = ({ ring, deliver }) => {
      ring.wake();
      ring.push(Int32Array.of(FIRST), 0, 1);
      deliver(FIRST);
    };
    assert.throws(() => explore(Ring, toLane([1], { programs: [hasty, lane] })), LEFT);
  });

  test('a dead lane whose end does not make the main thread collect', () => {
    assert.throws(() => explore(Ring, replyingLaneDies(false)), LEFT);
  });
});
