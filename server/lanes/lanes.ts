/**
 * The lanes in threads, joined to the main thread's event loop: none, when the lane runs inline.
 *
 *   lanes --wake event (or message)--> collect -> arm
 *   a receive turn ends             --> collect -> arm
 *   a lane ends                     --> the collector takes back what it held
 */
import { availableParallelism } from 'node:os';
import { COUNTER, type CounterRow } from '../../workers/counters.ts';
import type { LaneConfig } from '../../workers/create-lane.ts';
import type { Clock } from '../clock.ts';
import type { Collector, LanePort } from '../collector.ts';
import { WakeEvent } from '../net/wake-event.ts';
import type { ApplianceConfig } from '../options/config.ts';
import { LanePool, WATCH_MS } from './lane-pool.ts';
import { laneEntry } from './lane-worker.ts';

/** How long lanes may take at a close to answer what they were given. */
const CLOSE_MS = 500;
/** With a core to itself a lane waits awake, in turns of about 0.2 us; otherwise hardly at all. */
const SPINS_WITH_CORES = 2000;
const SPINS_SHARED = 50;

/** What the lanes are joined to. */
export interface LaneHouse {
  readonly ports: readonly LanePort[];
  readonly collector: Collector;
  readonly laneConfig: (lane: number) => LaneConfig;
  readonly counters: CounterRow;
}

export class Lanes {
  readonly #config: ApplianceConfig;
  readonly #clock: Clock;
  readonly #wake: WakeEvent | null;
  #pool: LanePool | null = null;
  #house: LaneHouse | null = null;
  #descriptors: readonly number[] = [];
  #stopWatching: () => void = () => undefined;
  #isTurnPending = false;

  private constructor(config: ApplianceConfig, clock: Clock, wake: WakeEvent | null) {
    this.#config = config;
    this.#clock = clock;
    this.#wake = wake;
  }

  /** Starts `workers` threads, which may be none; they serve when `serve` is called. */
  static async start(workers: number, config: ApplianceConfig, clock: Clock): Promise<Lanes> {
    const lanes = new Lanes(config, clock, workers === 0 ? null : openWakeEvent(config));
    if (workers === 0) return lanes;
    try {
      lanes.#pool = await LanePool.start({
        entry: config.laneEntry ?? laneEntry(),
        lanes: workers,
        assignment: (lane, control) => lanes.#assignment(lane, control, workers),
        wake: (lane) => lanes.#house?.ports[lane].requests.wake(),
        onDeath: (lane, why) => lanes.#died(lane, why),
        onWake: () => lanes.turnEnds(),
        after: (delayMs, fn) => clock.after(delayMs, fn),
        notice: config.notice,
      });
    } catch (error) {
      lanes.#wake?.close();
      throw error;
    }
    return lanes;
  }

  /**
   * Decides who sends: whether lanes send answers on these descriptors (by receiver; -1: only
   * main).
   */
  send(descriptors: readonly number[]): boolean {
    const canSend = this.#pool !== null && descriptors.some((fd) => fd >= 0);
    const { sendFrom, workers } = this.#config;
    // One lane that sends is busier than main: with several main is what limits (bench/RESULTS.md).
    const isWanted = sendFrom === 'lane' || (sendFrom === 'auto' && workers > 1);
    const isLane = canSend && isWanted;
    if (!isLane && sendFrom === 'lane') {
      this.#config.notice(
        'answers leave from the main thread: lanes can send only with --workers and the UDP' +
          ' backend batch',
      );
    }
    this.#descriptors = isLane ? descriptors : [];
    return isLane;
  }

  /** Joins the lanes to the pipeline's parts and lets them serve. */
  serve(house: LaneHouse): void {
    if (this.#pool === null) return;
    this.#house = house;
    this.#wake?.onWake(() => this.turnEnds());
    this.#pool.serve();
    const pool = this.#pool;
    this.#stopWatching = this.#clock.every(WATCH_MS, () => {
      pool.watch();
      // Nothing should be left lying; if it ever were, then not for long.
      this.turnEnds();
    });
    this.turnEnds();
  }

  /** Collects what is there and asks to be woken for more. */
  turnEnds(): void {
    const collector = this.#house?.collector;
    if (collector === undefined) return;
    collector.collectAll();
    if (collector.armAll() || this.#isTurnPending) return;
    // The lanes are faster than this: the sockets get their turn first.
    this.#isTurnPending = true;
    this.#clock.soon(() => {
      this.#isTurnPending = false;
      this.turnEnds();
    });
  }

  /** See LanePool.health; without threads nothing serves there and nothing can be missing. */
  health(): { serving: number; hasSpare: boolean } {
    return this.#pool?.health() ?? { serving: 0, hasSpare: true };
  }

  kill(lane: number): void {
    this.#pool?.kill(lane);
  }

  /** Lets the lanes answer what they have, sends it, and ends them. */
  async close(): Promise<void> {
    if (this.#pool === null) return;
    this.#stopWatching();
    await this.#pool.close(CLOSE_MS);
    const house = this.#house;
    for (let lane = 0; house !== null && lane < house.ports.length; lane++) {
      house.collector.abandon(lane);
    }
    this.#wake?.close();
  }

  #assignment(lane: number, control: SharedArrayBuffer, workers: number) {
    const house = this.#house;
    if (house === null) throw new Error('a lane was assigned before there was one');
    const cores = availableParallelism();
    return {
      config: house.laneConfig(lane),
      control,
      descriptors: this.#descriptors,
      wakeDescriptor: this.#wake?.fd ?? -1,
      spinRounds: cores > workers + 1 ? SPINS_WITH_CORES : SPINS_SHARED,
      notBefore: this.#clock.now(),
    };
  }

  #died(lane: number, why: string): void {
    const house = this.#house;
    if (house === null) return;
    const lost = house.collector.reclaim(lane);
    house.counters[COUNTER.laneRestarts]++;
    this.#config.notice(
      `lane ${lane} ended (${why}): ${lost} datagrams dropped, another thread takes its place`,
    );
    // It may have died between taking main's wake-up upon itself and waking it.
    this.turnEnds();
  }
}

/** Without the addon lanes wake main by messages, which works everywhere and costs more. */
function openWakeEvent(config: ApplianceConfig): WakeEvent | null {
  return config.udpBackend === 'dgram' ? null : WakeEvent.open();
}
