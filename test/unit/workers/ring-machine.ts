/**
 * Runs the code of a Ring one memory access at a time, in every order there is.
 *
 * A thread is a plain function over a Ring of its own. Each access of the Ring to shared memory,
 * atomic or plain, is one step. To take a step the function is run from its start with the results
 * of the steps it has taken, then takes one more, and is thrown out at the next: what it does
 * depends on nothing else. Threads are stepped in every order, states seen before are not gone
 * into again.
 *
 * Steps are sequentially consistent. That is what Atomics are; that it holds for the plain accesses
 * as well is checked: two of them that conflict must be ordered by atomics in between (vector
 * clocks), for otherwise the processor may reorder them.
 */
import type { Ring, RingAtomics } from '../../../workers/ring.ts';

export type RingClass = typeof Ring;

/** Words of the ring's picture. */
export const HEAD = 0;
export const TAIL = 16;

/** What a thread's function may do. */
export interface Steps {
  readonly ring: Ring;
  /**
   * Says that what the thread will do depends, from here on, on `memory` and what it has delivered
   * alone, not on how it came here: such states are the same. (A Ring keeps nothing to itself.)
   */
  turn(memory?: number): void;
  /** Sleeps in the event loop until there is a signal, and takes it. */
  poll(): void;
  /** Makes the event readable. */
  signal(): void;
  /** Notes that an entry has been delivered. */
  deliver(entry: number): void;
}

export type Program = (steps: Steps) => void;

type Status = 'ready' | 'waiting' | 'polling' | 'done' | 'dead';

export interface Thread {
  readonly program: Program;
  readonly results: readonly number[];
  /** The last turn's memory, and the number of results before it. */
  readonly turn: readonly [memory: number, results: number];
  readonly status: Status;
  /** What it has delivered. */
  readonly delivered: readonly number[];
  /** The shared words when the thread came into being. */
  readonly birth: Int32Array;
  /** How much of each thread's past this one has seen. */
  readonly clock: readonly number[];
}

/** Of each word: who wrote it last and who has read it since, plainly or atomically. */
interface Access {
  readonly thread: number;
  readonly time: number;
  readonly plain: boolean;
  readonly write: boolean;
}

export interface State {
  readonly words: Int32Array;
  readonly threads: readonly Thread[];
  readonly signalled: boolean;
  readonly accesses: ReadonlyMap<number, readonly Access[]>;
  readonly released: ReadonlyMap<number, readonly number[]>;
  /** What has befallen the threads: kills and time-outs, of which a scenario allows a few. */
  readonly mishaps: number;
}

export class Fault extends Error {}
/** Throws a thread's function out at the step after the one it was to take. */
const PAUSE = { pause: true };
const SLEEP_OVER = 0;
const NOT_EQUAL = 1;

type Step =
  | { kind: 'read' | 'load'; index: number }
  | { kind: 'write' | 'store' | 'exchange'; index: number; value: number }
  | { kind: 'wait'; index: number; value: number }
  | { kind: 'notify'; index: number }
  | { kind: 'poll' }
  | { kind: 'signal' };

/** The state being made: a copy of the one before with one step taken. */
class Draft {
  readonly words: Int32Array;
  readonly threads: Thread[];
  readonly accesses: Map<number, readonly Access[]>;
  readonly released: Map<number, readonly number[]>;
  signalled: boolean;
  mishaps: number;
  status: Status = 'ready';

  constructor(state: State) {
    this.words = state.words.slice();
    this.threads = [...state.threads];
    this.accesses = new Map(state.accesses);
    this.released = new Map(state.released);
    this.signalled = state.signalled;
    this.mishaps = state.mishaps;
  }

  /** Takes `step` for thread `me`: its result, or undefined when it sleeps now. */
  take(step: Step, me: number, clock: number[] | null): number | undefined {
    if (clock !== null) clock[me] += 1;
    if (step.kind === 'poll') {
      if (this.signalled) return this.#drain();
      this.status = 'polling';
      return undefined;
    }
    if (step.kind === 'signal') return this.#signal();
    if (step.kind === 'notify') return this.#notify();
    const { index } = step;
    const before = this.words[index];
    const write = step.kind === 'write' || step.kind === 'store' || step.kind === 'exchange';
    const plain = step.kind === 'read' || step.kind === 'write';
    if (clock !== null) {
      if (!plain && step.kind !== 'store') join(clock, this.released.get(index));
      this.#note(index, { thread: me, time: clock[me], plain, write }, clock);
      if (!plain && write) this.released.set(index, [...clock]);
    }
    if (write) this.words[index] = step.value;
    if (step.kind !== 'wait') return before;
    if (before !== step.value) return NOT_EQUAL;
    this.status = 'waiting';
    return undefined;
  }

  /** Two accesses race when one writes, one is plain, and neither has seen the other. */
  #note(index: number, access: Access, clock: readonly number[]): void {
    const earlier = this.accesses.get(index) ?? [];
    for (const other of earlier) {
      const conflict = (other.write || access.write) && (other.plain || access.plain);
      if (other.thread === access.thread || !conflict || clock[other.thread] >= other.time)
        continue;
      throw new Fault(`a plain access to word ${index} races with another thread's`);
    }
    const kept = earlier.filter(
      (other) =>
        other.thread !== access.thread ||
        other.plain !== access.plain ||
        other.write !== access.write,
    );
    this.accesses.set(index, [...kept, access]);
  }

  #drain(): number {
    this.signalled = false;
    return 0;
  }

  #signal(): number {
    const sleeper = this.threads.findIndex((thread) => thread.status === 'polling');
    this.signalled = sleeper < 0;
    if (sleeper >= 0) this.wake(sleeper);
    return 0;
  }

  #notify(): number {
    const sleeper = this.threads.findIndex((thread) => thread.status === 'waiting');
    if (sleeper >= 0) this.wake(sleeper);
    return sleeper < 0 ? 0 : 1;
  }

  wake(index: number): void {
    const thread = this.threads[index];
    this.threads[index] = {
      ...thread,
      status: 'ready',
      results: [...thread.results, SLEEP_OVER],
    };
  }
}

export class Machine {
  readonly #Ring: RingClass;
  readonly #buffer: SharedArrayBuffer;
  readonly #findRaces: boolean;

  /** Looking for races multiplies the states: the past of two threads may differ in that alone. */
  constructor(ringClass: RingClass, capacity: number, findRaces: boolean) {
    this.#Ring = ringClass;
    this.#findRaces = findRaces;
    this.#buffer = ringClass.allocate(capacity).buffer;
  }

  start(programs: readonly Program[], set: (words: Int32Array) => void): State {
    const words = new Int32Array(this.#buffer).slice();
    set(words);
    const clock = programs.map(() => 0);
    const threads = programs.map((program) => thread(program, words, clock));
    const none = { accesses: new Map(), released: new Map() };
    return { words, threads, signalled: false, ...none, mishaps: 0 };
  }

  /** The state after thread `index`, which is ready, has taken its next step. */
  step(state: State, index: number): State {
    const draft = new Draft(state);
    const { program, results, clock } = state.threads[index];
    const later = [...clock];
    const delivered: number[] = [];
    let replayed = 0;
    let taken: number | undefined;
    let turn: readonly [number, number] = [0, 0];
    const access = (step: Step): number => {
      if (replayed < results.length) return results[replayed++];
      if (replayed++ > results.length) throw PAUSE;
      taken = draft.take(step, index, this.#findRaces ? later : null);
      if (taken === undefined) throw PAUSE;
      return taken;
    };
    const words = observed(new Int32Array(this.#buffer), access);
    const steps: Steps = {
      ring: this.#makeRing(words, access),
      turn: (memory = 0) => {
        turn = [memory, Math.min(replayed, results.length + 1)];
      },
      poll: () => void access({ kind: 'poll' }),
      signal: () => void access({ kind: 'signal' }),
      deliver: (entry) => void delivered.push(entry),
    };
    if (runsToEnd(program, steps)) draft.status = 'done';
    draft.threads[index] = {
      ...state.threads[index],
      turn,
      results: taken === undefined ? results : [...results, taken],
      status: draft.status,
      delivered,
      clock: later,
    };
    return draft;
  }

  /** A Ring whose words are watched: it makes its own view of the buffer, here an observed one. */
  #makeRing(words: Int32Array, access: TakeStep): Ring {
    const real = globalThis.Int32Array;
    const fake = function observedArray(): Int32Array {
      return words;
    };
    globalThis.Int32Array = fake as unknown as Int32ArrayConstructor;
    try {
      return new this.#Ring(this.#buffer, atomicsOf(access));
    } finally {
      globalThis.Int32Array = real;
    }
  }

  /** The state after the thread's sleep ended without a wake: time is up, or other events. */
  timeOut(state: State, index: number): State {
    const draft = new Draft(state);
    draft.wake(index);
    draft.mishaps++;
    return draft;
  }

  /**
   * The state after thread `index` was killed where it stood and succeeded by one that runs
   * `program`. With `signalling` the end itself is an event of the event loop.
   */
  succeed(state: State, index: number, program: Program, signalling: boolean): State {
    const draft = new Draft(state);
    const killed = draft.threads[index];
    draft.threads[index] = { ...killed, status: 'dead' };
    if (signalling) {
      const sleeper = draft.threads.findIndex((other) => other.status === 'polling');
      if (sleeper >= 0) draft.wake(sleeper);
      else draft.signalled = true;
    }
    draft.threads.push(thread(program, draft.words, killed.clock));
    for (const [i, other] of draft.threads.entries())
      draft.threads[i] = { ...other, clock: [...other.clock, 0].slice(0, draft.threads.length) };
    draft.mishaps++;
    return draft;
  }
}

type TakeStep = (step: Step) => number;

function join(clock: number[], released: readonly number[] = []): void {
  for (const [i, time] of released.entries()) clock[i] = Math.max(clock[i], time);
}

function thread(program: Program, birth: Int32Array, clock: readonly number[]): Thread {
  return { program, results: [], turn: [0, 0], status: 'ready', delivered: [], birth, clock };
}

function atomicsOf(access: TakeStep): RingAtomics {
  const atomics = {
    load: (_: unknown, index: number) => access({ kind: 'load', index }),
    store: (_: unknown, index: number, value: number) => {
      access({ kind: 'store', index, value });
      return value;
    },
    exchange: (_: unknown, index: number, value: number) =>
      access({ kind: 'exchange', index, value }),
    wait: (_: unknown, index: number, value: number) =>
      access({ kind: 'wait', index, value }) === NOT_EQUAL ? 'not-equal' : 'ok',
    notify: (_: unknown, index: number) => access({ kind: 'notify', index }),
  };
  return atomics as unknown as RingAtomics;
}

/** Whether the program came to its end. */
function runsToEnd(program: Program, steps: Steps): boolean {
  try {
    program(steps);
    return true;
  } catch (error) {
    if (error !== PAUSE) throw error;
    return false;
  }
}

/** `array` whose elements are read and written by `access`. */
function observed(array: Int32Array, access: TakeStep): Int32Array {
  return new Proxy(array, {
    get(target, name) {
      if (typeof name === 'string' && /^\d+$/.test(name)) {
        return access({ kind: 'read', index: Number(name) });
      }
      return Reflect.get(target, name, target);
    },
    set(_, name, value) {
      access({ kind: 'write', index: Number(String(name)), value });
      return true;
    },
  });
}

/** The same text for states that have the same future, and the same to be checked of their past. */
export function keyOf(state: State, withClocks: boolean): string {
  const threads = state.threads.map(({ results, status, clock, turn, delivered, birth }) => {
    const past = `${status}:${delivered}:${birth[HEAD]}:${withClocks && clock}`;
    return status === 'dead' ? past : `${past}:${turn[0]}:${results.slice(turn[1])}`;
  });
  const accesses = [...state.accesses].map(
    ([word, list]) =>
      `${word}:${list.map((one) => [one.thread, one.time, one.plain, one.write]).sort()}`,
  );
  const released = [...state.released].map(([word, clock]) => `${word}:${clock}`);
  return [
    ...[state.words, state.signalled, state.mishaps],
    ...[...threads, ...accesses.sort(), ...released.sort()],
  ].join(';');
}
