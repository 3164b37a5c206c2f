/**
 * A lane's thread: waits for a lane to be assigned, then serves it until told to stop.
 *
 *   drain -> tick when due -> wake main -> nothing left? spin a little, then sleep until woken
 *
 * Threads are started ahead and assigned later: what takes long at a start, loading and compiling
 * the code, is done by then, so that the successor of a lane that died is there at once.
 */
import { type MessagePort, parentPort } from 'node:worker_threads';
import { counterRow } from '../../workers/counters.ts';
import { createLane, type LaneConfig } from '../../workers/create-lane.ts';
import type { Lane } from '../../workers/lane.ts';
import { Ring } from '../../workers/ring.ts';
import { Slab } from '../../workers/slab.ts';
import { ThreadControl } from '../../workers/thread-control.ts';
import { threadTime } from '../clock.ts';
import { openSender } from '../net/batch-socket.ts';
import { WakeSignal } from '../net/wake-event.ts';
import { warmUp } from './warm-up.ts';

/** How often a lane looks at what is due: the original's retry timer ticks as often. */
export const TICK_MS = 250;

/** What a thread is given to serve: plain values and shared memory only. */
export interface LaneAssignment {
  readonly config: LaneConfig;
  readonly control: SharedArrayBuffer;
  /** Descriptors by receiver to send answers on; -1: main sends. Empty: main sends everything. */
  readonly descriptors: readonly number[];
  /** The main thread's wake event; -1: by message. */
  readonly wakeDescriptor: number;
  /** Empty turns before sleeping. */
  readonly spinRounds: number;
  /** The lane's time begins here, should this thread's clock be behind; milliseconds. */
  readonly notBefore: number;
}

/** The first message of a thread. */
export const THREAD_READY = 'ready';

/** Serves the lane; returns when told to stop. */
export function serveLane(assignment: LaneAssignment, port: MessagePort): void {
  const { config, descriptors, wakeDescriptor } = assignment;
  const slab = new Slab(config.slab);
  const counters = counterRow(config.counters, config.counterRow);
  const senders = descriptors.map((fd) => (fd < 0 ? null : openSender(fd, slab, counters)));
  const signal = wakeDescriptor < 0 ? null : new WakeSignal(wakeDescriptor);
  const wakeMain = signal === null ? () => port.postMessage(null) : () => signal.signal();
  runLane(assignment, createLane(config, senders), wakeMain);
  signal?.close();
  for (const sender of senders) sender?.close();
}

/** One turn after the other, the lanes' half of a datagram's way. */
function runLane(assignment: LaneAssignment, lane: Lane, wakeMain: () => void): void {
  const { config, spinRounds } = assignment;
  const requests = new Ring(config.requests);
  const replies = new Ring(config.replies);
  const control = new ThreadControl(assignment.control);
  const time = threadTime(assignment.notBefore);
  let nextTick = time();
  let spins = 0;
  for (;;) {
    control.beat();
    // Before draining: what main pushed before it said stop is drained after.
    const isStopping = control.isStopping;
    const now = time();
    const drained = lane.drain(now);
    if (now >= nextTick) {
      lane.tick(now);
      nextTick = now + TICK_MS;
    }
    if (lane.takeWantsMain() && replies.takeSleeper()) wakeMain();
    if (drained > 0) {
      spins = 0;
    } else if (isStopping) {
      return;
    } else if (++spins > spinRounds) {
      spins = 0;
      if (requests.arm() && !control.isStopping) requests.sleep(Math.max(1, nextTick - now));
      requests.disarm();
    }
  }
}

/** Makes this thread serve the lane that main assigns to it by message, `serve` telling how. */
export function awaitAssignment(serve: typeof serveLane): void {
  const port = parentPort;
  if (port === null) return;
  warmUp(threadTime(Number.NEGATIVE_INFINITY)());
  port.once('message', (assignment: LaneAssignment) => {
    serve(assignment, port);
    port.close();
  });
  port.postMessage(THREAD_READY);
}
