/** Goes through every order of the steps of a scenario's threads: see ring-machine.ts. */
import {
  Fault,
  HEAD,
  keyOf,
  Machine,
  type Program,
  type RingClass,
  type State,
  TAIL,
} from './ring-machine.ts';

export interface Scenario {
  readonly capacity: number;
  readonly programs: readonly Program[];
  /** Where the ring's two counts begin. */
  readonly origin: number;
  /** Sleeps that end by themselves, and kills, in one run at most. */
  readonly mishaps: number;
  /** Whether plain accesses that nothing orders are a fault, too. */
  readonly findRaces: boolean;
  /** Threads that sleep no longer than they like. */
  readonly restless?: readonly number[];
  /** The thread that may be killed, what its successor runs, and whether the end is a signal. */
  readonly mortal?: {
    readonly thread: number;
    readonly successor: (published: number) => Program;
    readonly signals: boolean;
  };
  /** Throws when the state, which no thread will change any more, must not be. */
  readonly checkEnd: (state: State) => void;
  /** Throws when what others see of the thread, should it be killed now, is wrong. */
  readonly checkKill?: (state: State) => void;
}

export interface Explored {
  readonly states: number;
  readonly ends: number;
  readonly kills: number;
}

interface Visit {
  readonly state: State;
  readonly before: Visit | null;
  readonly move: string;
}

/** A scenario with more states than this is too large to be gone through in a test. */
const MAX_STATES = 2_000_000;

/** Throws what is wrong with the first bad state, with the moves that led to it. */
export function explore(ringClass: RingClass, scenario: Scenario): Explored {
  const machine = new Machine(ringClass, scenario.capacity, scenario.findRaces);
  const first = machine.start(scenario.programs, (words) => {
    words[HEAD] = scenario.origin;
    words[TAIL] = scenario.origin;
  });
  const seen = new Set<string>();
  const open: Visit[] = [{ state: first, before: null, move: 'start' }];
  let ends = 0;
  let kills = 0;
  for (let visit = open.pop(); visit !== undefined; visit = open.pop()) {
    const key = keyOf(visit.state, scenario.findRaces);
    if (seen.has(key)) continue;
    seen.add(key);
    if (seen.size > MAX_STATES) throw new Error('too many states');
    try {
      const isEnd = visit.state.threads.every(({ status }) => status !== 'ready');
      if (isEnd) scenario.checkEnd(visit.state);
      if (isEnd) ends++;
      for (const next of movesFrom(machine, scenario, visit)) open.push(next);
      if (killable(scenario, visit.state) >= 0) kills++;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Fault(`${reason}\n${pathOf(visit)}`);
    }
  }
  return { states: seen.size, ends, kills };
}

function movesFrom(machine: Machine, scenario: Scenario, visit: Visit): Visit[] {
  const { state } = visit;
  const next: Visit[] = [];
  for (const [i, { status }] of state.threads.entries()) {
    const isAsleep = status === 'waiting' || status === 'polling';
    if (status === 'ready') {
      next.push({ state: machine.step(state, i), before: visit, move: `${i}` });
    } else if (isAsleep && state.mishaps < scenario.mishaps && scenario.restless?.includes(i)) {
      next.push({ state: machine.timeOut(state, i), before: visit, move: `${i} times out` });
    }
  }
  const killed = killable(scenario, state);
  if (killed >= 0 && scenario.mortal) {
    scenario.checkKill?.(state);
    const program = scenario.mortal.successor((state.words[TAIL] - scenario.origin) | 0);
    const after = machine.succeed(state, killed, program, scenario.mortal.signals);
    next.push({ state: after, before: visit, move: `${killed} is killed` });
  }
  return next;
}

/** The thread that may be killed now, the latest successor if there is one; or -1. */
function killable({ mortal, mishaps, programs }: Scenario, state: State): number {
  if (mortal === undefined || state.mishaps >= mishaps) return -1;
  const { length } = state.threads;
  const latest = length > programs.length ? length - 1 : mortal.thread;
  return state.threads[latest].status === 'done' ? -1 : latest;
}

function pathOf(visit: Visit): string {
  const moves: string[] = [];
  for (let at: Visit | null = visit; at !== null; at = at.before) moves.unshift(at.move);
  return `after: ${moves.join(', ')}`;
}
