/**
 * One attack on one server, with the proven client measured before, during and after it:
 *
 *   at a fixed rate     before | attack begins ......... ends | after, records counted
 *   in a closed loop    alone | the attack without the client | both
 *
 * What the client's share in the closed loop is, report.ts says.
 */
import { readFileSync } from 'node:fs';
import { inFlight } from '../../workers/counters.ts';
import { cpuSince, threadTimes } from '../load/processes.ts';
import { median } from '../table.ts';
import { type Attack, crowdedName, type Target } from './attacks.ts';
import { type Goodput, ProvenClient } from './client.ts';
import type { AttackResult, RunningAttack } from './flood.ts';
import { type Counters, House, TokenMaker } from './house.ts';
import { countKept, TcpClient } from './tcp-client.ts';

const HOST = '127.0.0.1';
/** Requests per second of the proven client: a network with 32 busy hosts. */
export const CLIENT_RATE = 4000;
const WINDOW = 256;
const CROWD = 1600;
const ROUNDS = 5;
const ROUND_SECONDS = 0.4;
/** How often sockets of node:net have their turn; a turn of the event loop costs some us. */
const TURN_MS = 0.25;
/** For what is still under way. */
const SETTLE_SECONDS = 0.4;

export interface TrialOptions {
  readonly workers: number;
  readonly rate: number;
  /** Of the attack; the other phases are a third of it. */
  readonly seconds: number;
}

/** Answers per second, and the part of a core the server used. */
export interface Load {
  readonly perSecond: number;
  readonly busy: number;
}

/** Medians of short rounds, so that what else the machine does meanwhile does not count. */
export interface ClosedLoop {
  readonly alone: Load;
  readonly beside: Load;
  /**
   * Units per second of the attack without the client, and the part of a core that the server's
   * main thread uses then: a lane that waits awake would look busy.
   */
  readonly attackRate: number;
  readonly attackBusy: number;
}

export interface TrialResult {
  readonly attack: Attack;
  readonly workers: number;
  readonly units: number;
  readonly seconds: number;
  readonly before: Goodput;
  readonly during: Goodput;
  readonly after: Goodput;
  readonly closed: ClosedLoop;
  /** Of the server at rest, in which the client asks only. */
  readonly residentBytes: readonly [before: number, middle: number, end: number];
  readonly result: AttackResult;
  readonly kept: number;
  readonly tcp: { readonly tried: number; readonly answered: number };
  readonly counters: Counters;
  readonly inFlight: number;
  /** The part of the time that the load waited for its core: others were using it. */
  readonly disturbed: number;
}

function medianOf(loads: readonly Load[]): Load {
  return {
    perSecond: median(loads.map(({ perSecond }) => perSecond)),
    busy: median(loads.map(({ busy }) => busy)),
  };
}

/** Milliseconds that this process was ready to run and did not. */
function waitedMs(): number {
  return Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[1]) / 1e6;
}

/** What is driven by steps, all in one loop on the load's core. */
interface Stepped {
  step(nowMs: number): void;
}

async function drive(seconds: number, parts: readonly Stepped[]): Promise<void> {
  const until = performance.now() + seconds * 1000;
  let nextTurn = 0;
  for (let now = performance.now(); now < until; now = performance.now()) {
    for (const part of parts) part.step(now);
    if (now < nextTurn) continue;
    nextTurn = now + TURN_MS;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export async function runTrial(attack: Attack, options: TrialOptions): Promise<TrialResult> {
  const house = await House.start({ workers: String(options.workers) });
  try {
    return await new Trial(attack, options, house).run();
  } finally {
    house.stop();
  }
}

class Trial {
  readonly #attack: Attack;
  readonly #options: TrialOptions;
  readonly #house: House;
  readonly #target: Target;
  readonly #client: ProvenClient;
  readonly #tcp: TcpClient;

  constructor(attack: Attack, options: TrialOptions, house: House) {
    this.#attack = attack;
    this.#options = options;
    this.#house = house;
    const maker = new TokenMaker();
    this.#target = { host: HOST, port: house.port, maker, rate: options.rate };
    this.#client = new ProvenClient(HOST, house.port, maker);
    this.#tcp = new TcpClient(HOST, house.port);
  }

  async run(): Promise<TrialResult> {
    const { seconds } = this.#options;
    const began = performance.now();
    const waited = waitedMs();
    await this.#prepare();
    const before = await this.#atRate(seconds / 3);
    const attacked = await this.#underAttack();
    await drive(SETTLE_SECONDS, []);
    const after = await this.#atRate(seconds / 3);
    const kept = await countKept(HOST, this.#house.port);
    const closed = await this.#closedLoop();
    await drive(SETTLE_SECONDS, []);
    const counters = await this.#house.counters();
    this.#client.close();
    return {
      attack: this.#attack,
      workers: this.#options.workers,
      before,
      ...attacked,
      after,
      kept,
      closed,
      counters,
      inFlight: inFlight(counters),
      disturbed: (waitedMs() - waited) / (performance.now() - began),
    };
  }

  /** The client's records, a crowded name, and code that is warm. */
  async #prepare(): Promise<void> {
    const crowd = crowdedName(this.#target);
    while (crowd.result().units < CROWD) await drive(0.01, [crowd]);
    crowd.stop();
    await this.#closed(this.#options.seconds / 6, []);
  }

  async #atRate(seconds: number): Promise<Goodput> {
    this.#client.begin(performance.now(), CLIENT_RATE);
    await drive(seconds, [this.#client]);
    return this.#client.end(performance.now());
  }

  async #underAttack() {
    const { seconds } = this.#options;
    const house = this.#house;
    const attack = this.#attack.start(this.#target);
    const first = house.residentBytes;
    this.#client.begin(performance.now(), CLIENT_RATE);
    const parts = [this.#client, attack, this.#tcp];
    await drive(seconds / 2, parts);
    const middle = house.residentBytes;
    await drive(seconds / 2, parts);
    const during = this.#client.end(performance.now());
    const residentBytes = [first, middle, house.residentBytes] as const;
    const result = await this.#stop(attack);
    const { tried, answered } = this.#tcp;
    return {
      during,
      residentBytes,
      result,
      units: result.units,
      seconds,
      tcp: { tried, answered },
    };
  }

  async #closedLoop(): Promise<ClosedLoop> {
    const alone = await this.#rounds([]);
    const attack = this.#attack.start(this.#target);
    // Connections have to be there first.
    await drive(this.#options.seconds / 3, [attack]);
    const attackRates: number[] = [];
    const attackBusy: number[] = [];
    const beside: Load[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const units = attack.result().units;
      const { seconds, main } = await this.#busyWhile(() => drive(ROUND_SECONDS, [attack]));
      attackRates.push((attack.result().units - units) / seconds);
      attackBusy.push(main);
      beside.push(await this.#closed(ROUND_SECONDS, [attack]));
    }
    await this.#stop(attack);
    alone.push(...(await this.#rounds([])));
    return {
      alone: medianOf(alone),
      beside: medianOf(beside),
      attackRate: median(attackRates),
      attackBusy: median(attackBusy),
    };
  }

  async #rounds(others: readonly Stepped[]): Promise<Load[]> {
    const loads: Load[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      loads.push(await this.#closed(ROUND_SECONDS, others));
    }
    return loads;
  }

  /** The client in a closed loop beside others. */
  async #closed(seconds: number, others: readonly Stepped[]): Promise<Load> {
    this.#client.begin(performance.now(), 0, WINDOW);
    const { busy } = await this.#busyWhile(() => drive(seconds, [this.#client, ...others]));
    const { answered, seconds: took } = this.#client.end(performance.now());
    return { perSecond: answered / took, busy };
  }

  /** The part of a core that the server, and its main thread, used while `work` went on. */
  async #busyWhile(
    work: () => Promise<void>,
  ): Promise<{ seconds: number; busy: number; main: number }> {
    const { server } = this.#house;
    const before = threadTimes(server);
    const began = performance.now();
    await work();
    const ns = (performance.now() - began) * 1e6;
    const { total, main } = cpuSince(server, before);
    return { seconds: ns / 1e9, busy: total / ns, main: main / ns };
  }

  /** Ends the attack and takes what is still coming. */
  async #stop(attack: RunningAttack): Promise<AttackResult> {
    await drive(SETTLE_SECONDS, [{ step: (nowMs) => attack.drain(nowMs) }]);
    const result = attack.result();
    attack.stop();
    return result;
  }
}
