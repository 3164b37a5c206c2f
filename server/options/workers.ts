/** The options about threads. */
import { availableParallelism } from 'node:os';
import type { z } from 'zod';
import { choice } from './checks.ts';
import { option, Refusal, readAs } from './option.ts';

/** A lane is a thread with tables of its own; more than cores never pay. */
export const MAX_WORKERS = 64;

export const SEND_FROM = ['auto', 'main', 'lane'] as const;
export type SendFrom = (typeof SEND_FROM)[number];

export const workersOption = option({
  flag: '--workers',
  placeholder: 'N|auto',
  env: 'WAYPOST_WORKERS',
  help:
    'threads that answer beside the one that receives; 0: that one answers itself;' +
    ' auto: one less than there are cores',
  fallback: 'auto',
  check: workerCount(),
});

export const sendFromOption = option({
  flag: '--send-from',
  placeholder: SEND_FROM.join('|'),
  env: 'WAYPOST_SEND_FROM',
  help:
    'with workers: whether answers by UDP leave from the main thread or from the lane that made' +
    ' them (which takes the backend batch); auto: main with one worker,' +
    ' lane with several',
  fallback: 'auto',
  check: choice(SEND_FROM),
});

function workerCount(): z.ZodType<number, string> {
  return readAs((text) => {
    if (text === 'auto') return Math.min(availableParallelism() - 1, MAX_WORKERS);
    if (/^\d{1,2}$/.test(text) && Number(text) <= MAX_WORKERS) return Number(text);
    return new Refusal(`expected 0 to ${MAX_WORKERS} threads, or auto`);
  });
}
