/** A server on loopback whose time stands still, for what depends on how much time has passed. */
import type { TestContext } from 'node:test';
import { systemClock } from '../../server/clock.ts';
import type { ApplianceConfig } from '../../server/options/config.ts';
import { TEST_LIMITS, type TestServer, testServer } from './appliance.ts';

/**
 * `repliesPerSecond` is what one network gets in all without proof: the limiter's buckets are not
 * filled again.
 */
export async function frozenServer(
  t: TestContext,
  repliesPerSecond: number,
  options: Pick<ApplianceConfig, 'workers'>,
): Promise<TestServer> {
  const nowMs = systemClock.now();
  const limits = { ...TEST_LIMITS, rateLimit: repliesPerSecond };
  const clock = { ...systemClock, now: () => nowMs };
  return testServer(t, { limit: 1000, limits, ...options }, '127.0.0.1', clock);
}
