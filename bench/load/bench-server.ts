/** bench/servers/appliance.ts as a subject: started, filled, its lanes placed. */
import type { Placement, RunningServer } from './processes.ts';
import { ask, placeLanes, startServer } from './processes.ts';
import { probe } from './requests.ts';
import { newSubject, populate, type Subject } from './subject.ts';

export type CounterRows = readonly Record<string, number>[];

export interface BenchServerOptions {
  readonly workers: number;
  readonly send: 'main' | 'lane';
  /** Whether work per datagram can be set, and lanes be hung. */
  readonly hasWork: boolean;
  readonly placement: Placement;
}

/** How a server answers, in words. */
export function describeMode(workers: number, send: 'main' | 'lane'): string {
  if (workers === 0) return 'inline';
  return `${workers} worker${workers === 1 ? '' : 's'}, ${send} sends`;
}

export async function startBenchServer(options: BenchServerOptions): Promise<Subject> {
  const { workers, send, hasWork, placement } = options;
  const args = ['bench/servers/appliance.ts', '--workers', String(workers), '--send', send];
  if (hasWork) args.push('--work');
  const server = await startServer(describeMode(workers, send), args, { placement });
  const subject = newSubject(server);
  subject.generator.napping = placement !== 'together';
  populate(subject, false);
  placeLanes(server, placement, workers, () => subject.generator.run(probe(), 0.4));
  return subject;
}

/** The sums of all threads, then the row of each lane. */
export async function counterRows(server: RunningServer): Promise<CounterRows> {
  return JSON.parse(await ask(server, 'counters')) as CounterRows;
}
