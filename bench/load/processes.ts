/**
 * Servers under test as child processes, pinned to a core, with their CPU time as the kernel counts
 * it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

export const SERVER_CORE = 0;
export const LOAD_CORE = 1;

export interface RunningServer {
  readonly name: string;
  readonly port: number;
  readonly process: ChildProcess;
}

/** Whether processes can be pinned here (util-linux's taskset, two cores). */
export const canPin = spawnSync('taskset', ['-c', '1', 'true']).status === 0;

/** The command that runs `args` with this Node on `core`. */
function pinned(core: number, args: readonly string[]): [string, string[]] {
  if (!canPin) return [process.execPath, [...args]];
  return ['taskset', ['-c', String(core), process.execPath, ...args]];
}

/**
 * Runs this script again on the load's core and returns its exit status; null when it already is.
 */
export function reexecPinned(): number | null {
  if (!canPin || process.env.WAYPOST_BENCH_PINNED === '1') return null;
  const args = [...process.execArgv, ...process.argv.slice(1)];
  const [command, rest] = pinned(LOAD_CORE, args);
  const env = { ...process.env, WAYPOST_BENCH_PINNED: '1' };
  return spawnSync(command, rest, { stdio: 'inherit', env }).status ?? 1;
}

/**
 * Starts a server that prints a line with its port as `port=N` (or `:N udp`); resolves when it has.
 */
export async function startServer(name: string, args: readonly string[]): Promise<RunningServer> {
  const [command, rest] = pinned(SERVER_CORE, ['--import', 'tsx', ...args]);
  const child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout });
  const exited = new Promise<never>((_, reject) => {
    child.once('exit', (code) =>
      reject(new Error(`${name} exited with ${code} before it listened`)),
    );
  });
  const listening = (async () => {
    for await (const line of lines) {
      const match = /port=(\d+)|:(\d+) udp/.exec(line);
      if (match) return Number(match[1] ?? match[2]);
    }
    throw new Error(`${name} ended without saying its port`);
  })();
  const port = await Promise.race([listening, exited]);
  return { name, port, process: child };
}

/** Nanoseconds of CPU the process's threads have used. */
export function cpuNs(server: RunningServer): number {
  const tasks = `/proc/${server.process.pid}/task`;
  let total = 0;
  for (const task of readdirSync(tasks)) {
    total += Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]);
  }
  return total;
}

/** Resident memory in bytes. */
export function residentBytes(server: RunningServer): number {
  const status = readFileSync(`/proc/${server.process.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

export function stopServer(server: RunningServer): void {
  server.process.kill('SIGKILL');
}
