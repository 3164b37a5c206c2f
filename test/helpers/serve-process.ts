/** `waypost` as a child process on loopback, as a person starts it. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { WAYPOST } from './waypost-command.ts';

export class ServeProcess {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  /** All lines of both outputs so far. */
  readonly lines: string[] = [];
  /** Calls of line() that go on with the next line or the end. */
  #waiting: (() => void)[] = [];
  /** The process is gone and its outputs are read to the end. */
  #isClosed = false;

  /** `wrapper` is a command that runs the command behind it, such as `unshare -n`. */
  constructor(
    t: TestContext,
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
    wrapper: readonly string[] = [],
  ) {
    const command = [...wrapper, ...WAYPOST, ...args];
    this.child = spawn(command[0], command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      // The default port of the DHT is one for the whole machine.
      env: { ...process.env, WAYPOST_DHT: 'off', ...env },
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line);
        this.#wake();
      });
    }
    this.child.once('close', () => {
      this.#isClosed = true;
      this.#wake();
    });
    t.after(() => this.child.kill('SIGKILL'));
  }

  /** Starts `waypost serve` with `args` and waits until it listens. */
  static async serve(t: TestContext, ...args: string[]): Promise<ServeProcess> {
    const server = new ServeProcess(t, ['serve', ...args]);
    await server.line(/^try it/);
    return server;
  }

  /** Starts `waypost serve` with its defaults behind a wrapper and waits until it listens. */
  static async serveIn(
    t: TestContext,
    wrapper: readonly string[],
    env: NodeJS.ProcessEnv = {},
  ): Promise<ServeProcess> {
    const server = new ServeProcess(t, ['serve'], env, wrapper);
    await server.line(/^try it/);
    return server;
  }

  /** The first line that matches, now or later; rejects when the process ends without one. */
  async line(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = this.lines.find((line) => pattern.test(line));
      if (found !== undefined) return found;
      if (this.#isClosed) {
        const { exitCode, signalCode } = this.child;
        const ending = signalCode === null ? `exited with ${exitCode}` : `ended by ${signalCode}`;
        throw new Error(`${ending}: ${this.lines.join('\n')}`);
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /** The port of the n-th listening line. */
  port(index = 0): number {
    const listening = this.lines.filter((line) => / udp (batch|dgram) /.test(line));
    return Number(/:(\d+) udp/.exec(listening[index])?.[1]);
  }

  /** Sends a signal and waits for the end: exit code and milliseconds. */
  async stop(signal: NodeJS.Signals): Promise<{ code: number | null; ms: number }> {
    const began = performance.now();
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exit = once(this.child, 'exit');
      this.child.kill(signal);
      await exit;
    }
    return { code: this.child.exitCode, ms: performance.now() - began };
  }

  /** Resident memory in bytes (Linux). */
  residentBytes(): number {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
  }
}
