/** A command as a person runs it: its two outputs line by line, signals, its end. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { installPackage } from './built-package.ts';
import { ORIGINAL_CLI } from './original-discovery.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The words that run npm dns-discovery's command. */
export const ORIGINAL = [process.execPath, ORIGINAL_CLI] as const;

/** What the environment may hold is not a test's to depend on. */
const PLAIN_ENV = {
  WAYPOST_SERVER: undefined,
  WAYPOST_DOMAIN: undefined,
  WAYPOST_TTL: undefined,
  // The original's output; set to nothing it would mean yes.
  FORCE_COLOR: undefined,
  // Its default port is one for the whole machine.
  WAYPOST_DHT: 'off',
};

export interface CommandOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Signals go to all that it started, too. */
  readonly isGroup?: boolean;
}

export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly ms: number;
}

export class Command {
  readonly words: readonly string[];
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  /** Lines of standard output, of standard error, and of both, so far. */
  readonly out: string[] = [];
  readonly err: string[] = [];
  readonly lines: string[] = [];
  readonly #isGroup: boolean;
  readonly #began = performance.now();
  #ending: Ending | null = null;
  #waiting: (() => void)[] = [];

  constructor(t: TestContext, words: readonly string[], options: CommandOptions = {}) {
    const { env, cwd = ROOT, isGroup = false } = options;
    this.words = words;
    this.#isGroup = isGroup;
    this.child = spawn(words[0], words.slice(1), {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...PLAIN_ENV, ...env },
      detached: isGroup,
    });
    this.#read(this.child.stdout, this.out);
    this.#read(this.child.stderr, this.err);
    this.child.once('close', (code, signal) => {
      this.#ending = { code, signal, ms: performance.now() - this.#began };
      this.#wake();
    });
    t.after(() => this.#kill('SIGKILL'));
  }

  get isOver(): boolean {
    return this.#ending !== null;
  }

  /** The first line of either output that matches, now or later; rejects when there is none. */
  async line(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = this.lines.find((line) => pattern.test(line));
      if (found !== undefined) return found;
      if (this.#ending !== null) throw new Error(`no ${pattern}: ${this.describe()}`);
      await this.change();
    }
  }

  /** Resolves at its end. */
  async end(): Promise<Ending> {
    while (this.#ending === null) await this.change();
    return this.#ending;
  }

  /** Resolves when there is another line, or the end. */
  change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves once `is` holds; rejects when it ends before. */
  async until(is: () => boolean): Promise<void> {
    while (!is()) {
      if (this.#ending !== null) throw new Error(this.describe());
      await this.change();
    }
  }

  /** Sends a signal; resolves at the end, with the milliseconds from the signal on. */
  async stop(signal: NodeJS.Signals = 'SIGINT'): Promise<Ending> {
    const began = performance.now();
    this.#kill(signal);
    return { ...(await this.end()), ms: performance.now() - began };
  }

  /** What it was and what it said. */
  describe(): string {
    const ending = this.#ending;
    const how = ending === null ? 'runs' : `ended with ${ending.code ?? ending.signal}`;
    return `${this.words.join(' ')} ${how}:\n${this.lines.join('\n')}`;
  }

  #kill(signal: NodeJS.Signals): void {
    const { pid } = this.child;
    if (this.#ending !== null || pid === undefined) return;
    if (!this.#isGroup) {
      this.child.kill(signal);
      return;
    }
    try {
      process.kill(-pid, signal);
    } catch (error) {
      // All have ended, and the end of their outputs is still to be told.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  #read(stream: Readable, lines: string[]): void {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      this.lines.push(line);
      this.#wake();
    });
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}

/**
 * Compiles the package into `folder`/node_modules; returns the words that run `waypost` from there.
 * Each run saves the third of a second that compiling from source takes.
 */
export function compileWaypost(folder: string): readonly string[] {
  installPackage(folder);
  const home = join(folder, 'node_modules', 'waypost');
  for (const native of ['prebuilds', 'build']) {
    if (existsSync(join(ROOT, native))) symlinkSync(join(ROOT, native), join(home, native));
  }
  return [process.execPath, join(home, 'dist', 'server', 'cli', 'main.js')];
}

/** Runs npm dns-discovery's command with these arguments. */
export function original(t: TestContext, args: string): Command {
  return new Command(t, [...ORIGINAL, ...args.split(' ')]);
}
