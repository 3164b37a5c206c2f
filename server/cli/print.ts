/** The one place that writes to the terminal. */
import process from 'node:process';
import type { Writable } from 'node:stream';
import type { Clock } from '../clock.ts';

/** A reader that takes nothing for this long, while the command waits for it to end, is stuck. */
const FLUSH_MS = 10_000;

/** What was asked for: answers, addresses, help. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** What an operator should know: notices and errors. */
export function printError(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** A reader that went away (`waypost serve | head -1`) is no reason to stop serving. */
export function surviveClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
}

/**
 * Resolves when what was printed has left the process, which process.exit() would drop; false: some
 * of it is lost, as nobody has read it in 10 seconds. A reader that went away has lost nothing.
 */
export function flush(
  clock: Pick<Clock, 'after'>,
  streams: readonly Pick<Writable, 'write'>[] = [process.stdout, process.stderr],
): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = clock.after(FLUSH_MS, () => resolve(false));
    let left = streams.length;
    const written = () => {
      if (--left > 0) return;
      cancel();
      resolve(true);
    };
    // Called behind all that was written before; with an error when the reader is gone.
    for (const stream of streams) stream.write('', written);
  });
}
