/**
 * Work of a stated length per datagram, put before each answer of a lane, inline or in a thread;
 * and a lane that hangs when told to. Both are told through shared memory that threads inherit:
 *
 *   word 0   microseconds of work per datagram
 *   word 1   1: the lane that next has a datagram hangs
 */
import { performance } from 'node:perf_hooks';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { DiscoveryResponder } from '../../workers/discovery.ts';

const WORK_US = 0;
const HANG = 1;
const KEY = 'waypost bench work';
/** Loops of a calibration, and how often it is made: the fastest was not disturbed. */
const CALIBRATION_LOOPS = 400_000;
const CALIBRATIONS = 25;

let sink = 1;

/** In the server's main thread, before it starts any other. */
export function shareWork(): Int32Array {
  const words = new Int32Array(new SharedArrayBuffer(64));
  setEnvironmentData(KEY, words);
  return words;
}

export function setWork(words: Int32Array, microseconds: number): void {
  Atomics.store(words, WORK_US, microseconds);
}

export function hangNext(words: Int32Array): void {
  Atomics.store(words, HANG, 1);
}

/** In the thread whose lane is to work: from here on every answer costs as much more as is told. */
export function installWork(words = getEnvironmentData(KEY) as Int32Array): void {
  const loopsPerUs = calibrate();
  const answer = DiscoveryResponder.prototype.answer;
  DiscoveryResponder.prototype.answer = function (slot) {
    const work = words[WORK_US];
    if (work > 0) spin(work * loopsPerUs);
    if (words[HANG] === 1 && Atomics.exchange(words, HANG, 0) === 1) for (;;);
    return answer.call(this, slot);
  };
}

/** Counted loops rather than a clock: a thread that waits for its core does not work. */
function spin(loops: number): void {
  let x = sink | 1;
  for (let i = 0; i < loops; i++) x = (Math.imul(x, 0x5851f42d) + 0x14057b7f) | 0;
  sink = x;
}

function calibrate(): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < CALIBRATIONS; i++) {
    const start = performance.now();
    spin(CALIBRATION_LOOPS);
    best = Math.min(best, performance.now() - start);
  }
  return CALIBRATION_LOOPS / (best * 1000);
}
