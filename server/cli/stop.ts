/** Stopping on signals, apart from the process so that a test can drive it. */

import type { Clock } from '../clock.ts';
import { messageOf } from '../message-of.ts';

export type StopSignal = 'SIGINT' | 'SIGTERM';

/** An operator may count on 2 s (container runtimes kill after 10); the rest is for exiting. */
export const STOP_DEADLINE_MS = 1_800;

/** What a shell shows for a program ended by the signal: 128 + its number. */
const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

export interface StopEnvironment {
  readonly clock: Pick<Clock, 'after'>;
  /** Stops receiving, answers what is in flight, closes. */
  readonly close: () => Promise<void>;
  readonly exit: (code: number) => void;
  readonly notice: (line: string) => void;
}

/**
 * The handler of both signals. The first one closes and exits 0, or 1 when that fails or outlasts
 * the deadline; a second one exits at once with 130 or 143.
 */
export function stopHandler(environment: StopEnvironment): (signal: StopSignal) => void {
  const { clock, close, exit, notice } = environment;
  let stopping = false;
  return (signal) => {
    if (stopping) {
      exit(SIGNAL_EXIT_CODES[signal]);
      return;
    }
    stopping = true;
    const cancelDeadline = clock.after(STOP_DEADLINE_MS, () => {
      notice(`not stopped after ${STOP_DEADLINE_MS} ms: exiting anyway`);
      exit(1);
    });
    close().then(
      () => {
        cancelDeadline();
        exit(0);
      },
      (error: unknown) => {
        cancelDeadline();
        notice(`while stopping: ${messageOf(error)}`);
        exit(1);
      },
    );
  };
}
