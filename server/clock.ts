/**
 * The one door to time and timers. Protocol logic is handed the time as a number; only the shells
 * around it ask a clock, and tests hand them a clock of their own.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch; never less than before. */
  now(): number;
  /** Calls `fn` every `periodMs`; the timer alone does not keep the process alive. */
  every(periodMs: number, fn: () => void): () => void;
  /** Calls `fn` once after `delayMs`. */
  after(delayMs: number, fn: () => void): () => void;
  /** Calls `fn` once in the next turn of the event loop, after what sockets have. */
  soon(fn: () => void): void;
}

/**
 * The time of `wall`, except that it never goes back: when the wall clock is set back, time goes on
 * from where it was, at the pace of `monotonic`. Expiry, retries and versions then need not care.
 * Servers that share a token secret disagree on the epoch until the wall clock catches up, or the
 * one whose clock was ahead is started again. It begins at `notBefore` when the wall is behind.
 */
export function steadyTime(
  wall: () => number,
  monotonic: () => number,
  notBefore = Number.NEGATIVE_INFINITY,
): () => number {
  let offset = notBefore - monotonic();
  return () => {
    const elapsed = monotonic();
    offset = Math.max(offset, wall() - elapsed);
    return Math.floor(elapsed + offset);
  };
}

/** The time for a thread of its own: that of the machine, from `notBefore` on. */
export function threadTime(notBefore: number): () => number {
  return steadyTime(
    () => Date.now(),
    () => performance.now(),
    notBefore,
  );
}

export const systemClock: Clock = {
  now: steadyTime(
    () => Date.now(),
    () => performance.now(),
  ),
  every(periodMs, fn) {
    const timer = setInterval(fn, periodMs);
    timer.unref();
    return () => clearInterval(timer);
  },
  after(delayMs, fn) {
    const timer = setTimeout(fn, delayMs);
    return () => clearTimeout(timer);
  },
  soon(fn) {
    setImmediate(fn);
  },
};
