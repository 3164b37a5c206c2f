/**
 * Servers under test as child processes, their threads placed on cores, with their CPU time as the
 * kernel counts it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { createInterface } from 'node:readline';
import { LineQueue } from './line-queue.ts';

export const SERVER_CORE = 0;
export const LOAD_CORE = 1;

/**
 * Where a server's threads run; the load is always on core 1.
 *
 *   together   all on core 0
 *   spread     main on core 0, its lanes on 1, 0, 1, 0 ... in turn
 *   free       wherever the kernel puts them
 */
export const PLACEMENTS = ['together', 'spread', 'free'] as const;
export type Placement = (typeof PLACEMENTS)[number];

export interface RunningServer {
  readonly name: string;
  readonly port: number;
  readonly process: ChildProcess;
  /** What it prints after its port. */
  readonly lines: LineQueue;
}

/** Whether processes can be pinned here (util-linux's taskset, two cores). */
export const canPin = spawnSync('taskset', ['-c', '1', 'true']).status === 0;

/** Reads a `--placement`; throws an Error that names the choices. */
export function parsePlacement(text: string): Placement {
  const found = PLACEMENTS.find((name) => name === text);
  if (found === undefined) throw new Error(`--placement ${text}: one of ${PLACEMENTS.join(', ')}`);
  return found;
}

/** A line on where things run. */
function describePlacement(placement: Placement): string {
  if (!canPin) return 'NOT pinned: no taskset, or one core';
  const where = {
    together: 'all threads of the server on core 0',
    spread: 'main thread on core 0, lanes on core 1, 0, 1, 0 ... in turn',
    free: 'threads of the server on any core',
  };
  return `placement ${placement}: ${where[placement]}; load on core 1`;
}

/** Lines on where things ran, and how busy the machine was with whatever else. */
export function describeRun(placement: Placement): string {
  const load = loadavg().map((average) => average.toFixed(1));
  return `${describePlacement(placement)}\nload average ${load.join(', ')}\n`;
}

/** The command that runs `args` with this Node on `cores`. */
function pinned(cores: string, args: readonly string[]): [string, string[]] {
  if (!canPin) return [process.execPath, [...args]];
  return ['taskset', ['-c', cores, process.execPath, ...args]];
}

/**
 * Runs this script again on the load's core and returns its exit status; null when it already is.
 */
export function reexecPinned(): number | null {
  if (!canPin || process.env.WAYPOST_BENCH_PINNED === '1') return null;
  const args = [...process.execArgv, ...process.argv.slice(1)];
  const [command, rest] = pinned(String(LOAD_CORE), args);
  const env = { ...process.env, WAYPOST_BENCH_PINNED: '1' };
  return spawnSync(command, rest, { stdio: 'inherit', env }).status ?? 1;
}

/**
 * Starts a server that prints a line with its port as `port=N` (or `:N udp`); resolves when it has.
 * It runs on core 0, or on any with placement `free`; `placeLanes` does the rest.
 */
export async function startServer(
  name: string,
  args: readonly string[],
  { placement = 'together', env = {} }: { placement?: Placement; env?: NodeJS.ProcessEnv } = {},
): Promise<RunningServer> {
  const cores = placement === 'free' ? `${SERVER_CORE},${LOAD_CORE}` : String(SERVER_CORE);
  const [command, rest] = pinned(cores, ['--import', 'tsx', ...args]);
  const child = spawn(command, rest, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  const lines = new LineQueue(createInterface({ input: child.stdout }));
  child.once('exit', (code) => lines.end(`${name} exited with ${code}`));
  for (;;) {
    const match = /port=(\d+)|:(\d+) udp/.exec(await lines.next());
    if (match) return { name, port: Number(match[1] ?? match[2]), process: child, lines };
  }
}

/** Writes a line to a server of bench/servers/ and resolves with the line it answers. */
export function ask(server: RunningServer, command: string): Promise<string> {
  tell(server, command);
  return server.lines.next();
}

/** Writes a line that has no answer. */
export function tell(server: RunningServer, command: string): void {
  server.process.stdin?.write(`${command}\n`);
}

/** Nanoseconds of CPU by thread. */
export type ThreadTimes = ReadonlyMap<number, number>;

export function threadTimes(server: RunningServer): ThreadTimes {
  const tasks = `/proc/${server.process.pid}/task`;
  const times = new Map<number, number>();
  for (const task of readdirSync(tasks)) {
    const schedstat = readFileSync(`${tasks}/${task}/schedstat`, 'utf8');
    times.set(Number(task), Number(schedstat.split(' ')[0]));
  }
  return times;
}

/** Nanoseconds of CPU since `before`: of all threads, of the main one, and of the others by use. */
export function cpuSince(
  server: RunningServer,
  before: ThreadTimes,
): { total: number; main: number; others: [thread: number, ns: number][] } {
  const used = [...threadTimes(server)].map(([thread, ns]): [number, number] => [
    thread,
    ns - (before.get(thread) ?? 0),
  ]);
  return {
    total: used.reduce((sum, [, ns]) => sum + ns, 0),
    main: used.find(([thread]) => thread === server.process.pid)?.[1] ?? 0,
    others: used.filter(([thread]) => thread !== server.process.pid).sort(([, a], [, b]) => b - a),
  };
}

/**
 * Puts the lanes' threads where `spread` wants them. Threads have no names: the `lanes` that `load`
 * makes busiest, beside the main one, are it.
 */
export function placeLanes(
  server: RunningServer,
  placement: Placement,
  lanes: number,
  load: () => void,
): void {
  if (placement !== 'spread' || lanes === 0 || !canPin) return;
  load();
  const before = threadTimes(server);
  load();
  cpuSince(server, before)
    .others.slice(0, lanes)
    .forEach(([thread], i) => {
      const core = i % 2 === 0 ? LOAD_CORE : SERVER_CORE;
      spawnSync('taskset', ['-c', '-p', String(core), String(thread)]);
    });
}

/** Runs `load` with this process on another core than the load's. */
export function withLoadOn<T>(core: number, load: () => T): T {
  const move = (to: number): void => {
    if (canPin) spawnSync('taskset', ['-a', '-c', '-p', String(to), String(process.pid)]);
  };
  move(core);
  try {
    return load();
  } finally {
    move(LOAD_CORE);
  }
}

/** Nanoseconds of CPU the process's threads have used. */
export function cpuNs(server: RunningServer): number {
  return [...threadTimes(server).values()].reduce((sum, ns) => sum + ns, 0);
}

/** Resident memory in bytes. */
export function residentBytes(server: RunningServer): number {
  const status = readFileSync(`/proc/${server.process.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

export function stopServer(server: RunningServer): void {
  server.process.kill('SIGKILL');
}

/** A line on standard error: what the benchmark is at. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}
