/** The lines of a stream, one at a time, kept until somebody asks. */
import type { Interface } from 'node:readline';

export class LineQueue {
  readonly #lines: string[] = [];
  readonly #waiting: { resolve(line: string): void; reject(error: Error): void }[] = [];
  #ended: Error | null = null;

  constructor(input: Interface) {
    input.on('line', (line) => {
      const first = this.#waiting.shift();
      if (first === undefined) this.#lines.push(line);
      else first.resolve(line);
    });
  }

  /** The next line; rejects when there will be none. */
  next(): Promise<string> {
    const line = this.#lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    if (this.#ended !== null) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** No more lines come, and why. */
  end(why: string): void {
    this.#ended = new Error(why);
    for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
  }
}
