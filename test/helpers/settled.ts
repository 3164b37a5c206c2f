/** Waits until a server has nothing under way. */
import type { Appliance } from '../../server/appliance.ts';
import { inFlight } from '../../workers/counters.ts';
import { until } from './tcp-client.ts';

/**
 * Resolves when the counters balance: worker threads count an answer a moment after it has been
 * sent. Fails with the counters when they never do.
 */
export async function settled(server: Pick<Appliance, 'counters'>): Promise<void> {
  const isSettled = () => inFlight(server.counters()) === 0;
  try {
    await until(isSettled, 'the counters to balance');
  } catch (error) {
    throw new Error(JSON.stringify(server.counters()), { cause: error });
  }
}
