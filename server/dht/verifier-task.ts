/**
 * What a verifier's thread runs, as long as it lives; a task of the pool starts it.
 *
 *   request ring --at most 8--> check --> result ring, wake main --nothing left? sleep until woken
 *
 * A message for each batch would cost main more than the rest of an announce does; rings cost it
 * next to nothing, and a system call only when somebody sleeps.
 */
import { constants, platform, setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { loadSodium } from '../../workers/dht/signature.ts';
import { type CheckedMemory, SlotChecker } from '../../workers/dht/slot-checker.ts';
import { Ring } from '../../workers/ring.ts';
import { ThreadControl } from '../../workers/thread-control.ts';
import { systemClock } from '../clock.ts';
import { WakeSignal } from '../net/wake-event.ts';

/** 0.3 ms of a thread's work: what a request waits for besides its own check. */
export const VERIFY_BATCH = 8;
/** Nice value of a verifier's thread: where cores are scarce lanes and main go first. */
const PRIORITY = constants.priority.PRIORITY_BELOW_NORMAL;

/** What the task is given: plain values and shared memory only. */
export interface VerifierAssignment {
  readonly memory: CheckedMemory;
  /** Rings of slots: main's to be checked, and those that have been. */
  readonly requests: SharedArrayBuffer;
  readonly results: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  /** The main thread's wake event; -1: by message. */
  readonly wakeDescriptor: number;
}

/**
 * Has this thread check signatures from the next turn of its event loop on, for ever. The task ends
 * before: one that never did would keep the process alive.
 */
export default function serveChecks(assignment: VerifierAssignment): void {
  systemClock.soon(() => serve(assignment));
}

function serve(assignment: VerifierAssignment): void {
  const requests = new Ring(assignment.requests);
  const results = new Ring(assignment.results);
  const control = new ThreadControl(assignment.control);
  const checker = new SlotChecker(assignment.memory);
  const batch = new Int32Array(VERIFY_BATCH);
  giveWay();
  loadSodium();
  const wakeMain = openSignal(assignment.wakeDescriptor);
  control.beat();
  // Main waits for the first beat.
  wakeMain();
  for (;;) {
    const count = requests.pop(batch, VERIFY_BATCH);
    if (count > 0) {
      checker.check(batch, count);
      results.push(batch, 0, count);
      if (results.takeSleeper()) wakeMain();
    } else {
      if (requests.arm()) requests.sleep(Number.POSITIVE_INFINITY);
      requests.disarm();
    }
    control.beat();
  }
}

function openSignal(wakeDescriptor: number): () => void {
  const tell = (): void => parentPort?.postMessage(null);
  if (wakeDescriptor < 0) return tell;
  try {
    const signal = new WakeSignal(wakeDescriptor);
    return () => signal.signal();
  } catch {
    // No descriptor is left, say: main listens to both.
    return tell;
  }
}

/** Returns whether this thread lets others go first; where not, checks compete with answers. */
function giveWay(): boolean {
  // Linux takes 0 for the calling thread; elsewhere it would be all of them.
  if (platform() !== 'linux') return false;
  try {
    setPriority(0, PRIORITY);
    return true;
  } catch {
    // A sandbox may forbid it.
    return false;
  }
}
