/** The checks of the options about limits. */
import type { z } from 'zod';
import { Refusal, readAs } from '../options/option.ts';
import { CidrList } from './cidr.ts';
import { MAX_REPLIES_PER_SECOND } from './rate-limiter.ts';

/** Comma-separated networks and addresses. */
export function cidrList(): z.ZodType<CidrList, string> {
  return readAs((text) => {
    try {
      return CidrList.parse(text);
    } catch (error) {
      if (error instanceof TypeError) return new Refusal(error.message);
      throw error;
    }
  });
}

/** Replies per second; null for `off`. */
export function replyRate(): z.ZodType<number | null, string> {
  return readAs((text) => {
    if (text === 'off') return null;
    const rate = Number(text);
    if (/^\d{1,7}$/.test(text) && rate >= 1 && rate <= MAX_REPLIES_PER_SECOND) return rate;
    return new Refusal(`expected whole replies per second, 1 to ${MAX_REPLIES_PER_SECOND}, or off`);
  });
}
