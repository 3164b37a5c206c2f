/**
 * `node --import tsx bench/tcp-idle.ts [CONNECTIONS]`: what idle TCP connections cost the server:
 * the growth of its resident memory, and the latency of UDP beside them. The clients are another
 * process. Each connection asks once and then stays idle.
 *
 * For the latency two servers run on one core, one of them with the connections, and take turns at
 * a modest UDP load: whatever else the machine does happens to both. It still decides p99; so what
 * is compared is the rounds it left alone, the quieter quarter. Exits with 1 above a bar.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../server/clock.ts';
import { TcpReceiver } from '../server/net/tcp/tcp-receiver.ts';
import { allocateCounters, counterRow } from '../workers/counters.ts';
import { Overflow } from '../workers/overflow.ts';
import { Slab } from '../workers/slab.ts';
import { OpenLoop } from './load/open-loop.ts';
import {
  describeRun,
  note,
  type RunningServer,
  reexecPinned,
  startServer,
  stopServer,
} from './load/processes.ts';
import { plainTxt } from './load/requests.ts';
import { formatTable } from './table.ts';

const MAX_BYTES = 16_384;
/** How much of UDP's p99 the connections may add. */
const MAX_RISE = 0.1;
const DEFAULT_CONNECTIONS = 10_000;
/** UDP queries per second, a small part of what the server can do. */
const UDP_RATE = 20_000;
const UDP_NAMES = 256;
/** More than a tick of the TCP receiver, which looks after all connections. */
const UDP_SECONDS = 0.3;
const UDP_ROUNDS = 40;
/** Answers that come later than this are as good as lost: the next round begins. */
const TAIL_MS = 30;
const SLOTS = 128;
/** Connections being opened at once; more would overflow the backlog. */
const OPENING = 128;
const PER_SOURCE = 2_000;

function residentBytes(): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
}

/** The clients' side of the latencies: opens the connections it is told to, and holds them. */
async function hold(): Promise<void> {
  const sockets: Socket[] = [];
  process.on('message', async ({ port, count }: { port: number; count: number }) => {
    await openClients(port, count, sockets);
    process.send?.({ port, bytes: 0, connections: sockets.length });
  });
  process.send?.({ port: 0, bytes: 0, connections: 0 });
}

/** The server's side: listens, and says what it is asked. */
async function serve(): Promise<void> {
  const tcp = new TcpReceiver({
    slab: Slab.allocate(SLOTS),
    overflow: new Overflow(Overflow.allocate(SLOTS), 0),
    firstSlot: 0,
    slotCount: SLOTS,
    receiver: 0,
    counters: counterRow(allocateCounters(1), 0),
    clock: systemClock,
    maxConnections: 100_000,
    maxConnectionsPerPrefix: 100_000,
    idleMs: 3_600_000,
  });
  tcp.start((slots, count) => {
    tcp.send(slots, count);
    tcp.release(slots, count);
  });
  const { port } = await tcp.listen('127.0.0.1', 0);
  process.send?.({ port });
  process.on('message', () => {
    process.send?.({ port, bytes: residentBytes(), connections: tcp.connections });
  });
}

interface Report {
  readonly port: number;
  readonly bytes: number;
  readonly connections: number;
}

function nextReport(child: ChildProcess): Promise<Report> {
  return new Promise((resolve) => child.once('message', (message) => resolve(message as Report)));
}

async function askFor(child: ChildProcess): Promise<Report> {
  const report = nextReport(child);
  child.send('report');
  return report;
}

/** Opens `count` connections and asks one query on each. */
async function openClients(port: number, count: number, opened: Socket[]): Promise<void> {
  const query = queryFrame();
  const openOne = (i: number) =>
    new Promise<void>((resolve, reject) => {
      const localAddress = `127.0.1.${1 + Math.floor(i / PER_SOURCE)}`;
      const socket = connect({ port, host: '127.0.0.1', localAddress });
      opened.push(socket);
      socket.once('error', reject);
      socket.once('data', () => resolve());
      socket.write(query);
    });
  let next = 0;
  const work = async () => {
    while (next < count) await openOne(next++);
  };
  await Promise.all(Array.from({ length: OPENING }, work));
}

async function measure(count: number): Promise<number> {
  const child = fork(fileURLToPath(import.meta.url), ['serve'], { execArgv: process.execArgv });
  const sockets: Socket[] = [];
  try {
    const { port } = await nextReport(child);
    // Code that runs once is paid for before.
    await openClients(port, OPENING, sockets);
    const before = await askFor(child);
    await openClients(port, count, sockets);
    const after = await askFor(child);
    const grown = after.bytes - before.bytes;
    const each = grown / (after.connections - before.connections);
    const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
    const row = [String(count), mib(before.bytes), mib(after.bytes), each.toFixed(0)];
    const head = ['idle connections', 'RSS before, MiB', 'after, MiB', 'bytes each'];
    process.stdout.write(`${formatTable([head, row])}\n`);
    return each;
  } finally {
    for (const socket of sockets) socket.destroy();
    child.kill('SIGKILL');
  }
}

/** A question that any server answers, framed: a DNS header and the root. */
function queryFrame(): Buffer {
  const message = Buffer.alloc(17);
  message.set([0, 1, 1, 0, 0, 1], 0);
  message.set([0, 0, 16, 0, 1], 12);
  return Buffer.concat([Buffer.of(0, message.length), message]);
}

interface Latency {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly lost: number;
}

function loadUdp(loop: OpenLoop): Latency {
  const flow = { rate: UDP_RATE, write: plainTxt(0, UDP_NAMES) };
  const [{ sent, answered, latencies }] = loop.run([flow], UDP_SECONDS, { tailMs: TAIL_MS });
  return { p50Us: latencies.at(0.5), p99Us: latencies.at(0.99), lost: sent - answered };
}

function quantile(values: readonly number[], part: number): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length * part)];
}

function startServe(workers: number, most: number): Promise<RunningServer> {
  const tcp = ['--tcp-connections', most, '--tcp-connections-per-prefix', most, '--tcp-idle', 3600];
  const args = ['--dns', '127.0.0.1:0', '--rate-limit', 'off', '--workers', workers, ...tcp];
  return startServer(`workers ${workers}`, ['server/cli/main.ts', 'serve', ...args.map(String)]);
}

/** The rows of two servers, without and with `count` connections, and by how much p99 rises. */
async function compareLatency(
  workers: number,
  count: number,
): Promise<{ rows: string[][]; rise: number }> {
  const servers = [await startServe(workers, count), await startServe(workers, count)];
  const loops = servers.map(({ port }) => new OpenLoop('127.0.0.1', port));
  const holder = fork(fileURLToPath(import.meta.url), ['hold'], { execArgv: process.execArgv });
  try {
    await nextReport(holder);
    const opened = nextReport(holder);
    holder.send({ port: servers[1].port, count });
    const held = (await opened).connections;
    note(`workers ${workers}: ${held} connections held`);
    const found: Latency[][] = [[], []];
    for (const loop of loops) loadUdp(loop);
    for (let round = 0; round < UDP_ROUNDS; round++) {
      for (const i of round % 2 === 0 ? [0, 1] : [1, 0]) found[i].push(loadUdp(loops[i]));
    }
    const p99s = found.map((rounds) => rounds.map((round) => round.p99Us));
    const quiet = p99s.map((values) => quantile(values, 0.25));
    const rows = found.map((rounds, i) => [
      String(workers),
      String(i === 0 ? 0 : held),
      quantile(
        rounds.map((round) => round.p50Us),
        0.5,
      ).toFixed(0),
      quantile(p99s[i], 0.5).toFixed(0),
      quiet[i].toFixed(0),
      String(rounds.reduce((sum, round) => sum + round.lost, 0)),
    ]);
    return { rows, rise: quiet[1] / quiet[0] - 1 };
  } finally {
    holder.kill('SIGKILL');
    for (const loop of loops) loop.close();
    for (const server of servers) stopServer(server);
  }
}

/** Whether both bars are held. */
async function run(count: number): Promise<boolean> {
  const each = await measure(count);
  const head = ['workers', 'idle connections', 'UDP p50, us', 'p99, us', 'p99 when quiet', 'lost'];
  const none = await compareLatency(0, count);
  const one = await compareLatency(1, count);
  process.stdout.write(`${formatTable([head, ...none.rows, ...one.rows])}\n`);
  const percent = [none, one].map(({ rise }) => `${(rise * 100).toFixed(1)}%`);
  process.stdout.write(
    `UDP at ${UDP_RATE}/s, ${UDP_ROUNDS} rounds of ${UDP_SECONDS} s in turn: their median, and ` +
      `p99 of the\nquieter quarter, which rises by ${percent[0]} without workers, ` +
      `${percent[1]} with one (at most ${MAX_RISE * 100}%)\n`,
  );
  process.stdout.write(describeRun('together'));
  return each <= MAX_BYTES && none.rise <= MAX_RISE && one.rise <= MAX_RISE;
}

const [argument] = process.argv.slice(2);
if (argument === 'serve') {
  await serve();
} else if (argument === 'hold') {
  await hold();
} else {
  const status = reexecPinned();
  if (status !== null) process.exitCode = status;
  else process.exitCode = (await run(Number(argument ?? DEFAULT_CONNECTIONS))) ? 0 : 1;
}
