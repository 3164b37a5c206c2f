/** The one place that writes to the terminal. */
import process from 'node:process';

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
