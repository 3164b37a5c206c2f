/**
 * `npm run bench -- overload`: three times as much as the server can do, for a minute. What it
 * still answers each second, its memory, and how soon it is its old self afterwards. The server is
 * on core 0 with all its threads, and made slower by work per datagram, or one core of load could
 * not ask for three times as much.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { describeMode, startBenchServer } from './load/bench-server.ts';
import { OpenLoop } from './load/open-loop.ts';
import {
  cpuSince,
  describeRun,
  note,
  type Placement,
  parsePlacement,
  type RunningServer,
  reexecPinned,
  residentBytes,
  stopServer,
  tell,
  threadTimes,
} from './load/processes.ts';
import { lookup } from './load/requests.ts';
import { LOOKUP_NAMES, type Subject } from './load/subject.ts';
import { formatTable, median } from './table.ts';

const FACTOR = 3;
/** The peak is the best of so many seconds. */
const PEAK_SECONDS = 5;
const CALM_SECONDS = 3;
/** Before and after, the server is asked this share of what it can do. */
const CALM_SHARE = 0.5;
const CALM_WINDOW_MS = 50;
/** Normal: so many windows in a row with p99 at most twice as long, and next to all answered. */
const CALM_WINDOWS = 4;
const NORMAL_FACTOR = 2;
const NORMAL_SHARE = 0.95;
const IN_FLIGHT = 384;
const MIB = 2 ** 20;

interface Overload {
  readonly peak: number;
  readonly offered: number;
  readonly goodput: readonly number[];
  /** Of a core, what the main thread and all threads had. */
  readonly mainBusy: number;
  readonly totalBusy: number;
  readonly p99Us: number;
  readonly memory: readonly number[];
  readonly p99BeforeUs: number;
  /** CPU per answer, all threads: at the peak and in the overload. */
  readonly peakUs: number;
  readonly overloadUs: number;
  /** Null: not within CALM_SECONDS. */
  readonly normalAfterMs: number | null;
}

export async function benchOverload(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      seconds: { type: 'string', default: '60' },
      work: { type: 'string', default: '10' },
      placement: { type: 'string', default: 'together' },
    },
  });
  const placement = parsePlacement(values.placement);
  const pinnedStatus = reexecPinned();
  if (pinnedStatus !== null) return pinnedStatus;
  const rows = [HEAD];
  for (const [workers, send] of [
    [0, 'main'],
    [1, 'main'],
    [1, 'lane'],
  ] as const) {
    const subject = await startBenchServer({ workers, send, hasWork: true, placement });
    try {
      note(`${subject.server.name}: ${values.seconds} s`);
      tell(subject.server, `work ${values.work}`);
      const overload = measure(subject, Number(values.seconds));
      rows.push(rowOf(describeMode(workers, send), overload));
      series(subject.server, overload);
    } finally {
      stopServer(subject.server);
    }
  }
  report(rows, values.work, placement);
  return 0;
}

function measure({ server, generator, tokens }: Subject, seconds: number): Overload {
  const write = lookup(tokens, 0, LOOKUP_NAMES);
  generator.napping = false;
  generator.run(write, 1, undefined, undefined, IN_FLIGHT);
  const atPeak = threadTimes(server);
  let answered = 0;
  const peaks = Array.from({ length: PEAK_SECONDS }, () => {
    const { answers, seconds: took } = generator.run(write, 1, undefined, undefined, IN_FLIGHT);
    answered += answers;
    return answers / took;
  });
  const peak = Math.max(...peaks);
  const peakUs = cpuSince(server, atPeak).total / 1000 / answered;
  const load = new OpenLoop('127.0.0.1', server.port);
  const calm = [{ rate: CALM_SHARE * peak, write }];
  const before = load.run(calm, CALM_SECONDS)[0].latencies.at(0.99);
  const goodput: number[] = [];
  const memory = [residentBytes(server)];
  const cpuBefore = threadTimes(server);
  const [total] = load.run([{ rate: FACTOR * peak, write }], seconds, {
    tailMs: 0,
    onWindow: (_, [flow], took) => {
      goodput.push(flow.answered / took);
      memory.push(residentBytes(server));
    },
  });
  const cpu = cpuSince(server, cpuBefore);
  const windows: boolean[] = [];
  load.run(calm, CALM_SECONDS, {
    windowMs: CALM_WINDOW_MS,
    onWindow: (_, [flow]) => {
      const isFast = flow.latencies.at(0.99) <= NORMAL_FACTOR * before;
      windows.push(isFast && flow.answered >= NORMAL_SHARE * flow.sent);
    },
  });
  load.close();
  const first = windows.findIndex((_, i) =>
    windows.slice(i, i + CALM_WINDOWS).every((isNormal) => isNormal),
  );
  return {
    peak,
    offered: total.sent / seconds,
    goodput,
    mainBusy: cpu.main / 1e9 / seconds,
    totalBusy: cpu.total / 1e9 / seconds,
    p99Us: total.latencies.at(0.99),
    memory,
    p99BeforeUs: before,
    peakUs,
    overloadUs: cpu.total / 1000 / total.answered,
    normalAfterMs: first < 0 ? null : first * CALM_WINDOW_MS,
  };
}

const HEAD = [
  'mode',
  '',
  'peak q/s',
  'offered',
  'x peak',
  'goodput',
  'of peak',
  'worst second',
  'by CPU',
  'main',
  'all',
  'p99 ms',
  'MiB before',
  'after 5 s',
  'most',
  'end',
  'p99 before ms',
  'normal after ms',
];

function rowOf(mode: string, overload: Overload): string[] {
  const { peak, offered, goodput, p99Us, memory, p99BeforeUs, normalAfterMs } = overload;
  const mib = (bytes: number): string => (bytes / MIB).toFixed(1);
  const percent = (perSecond: number): string => `${((100 * perSecond) / peak).toFixed(0)}%`;
  return [
    mode,
    '',
    peak.toFixed(0),
    offered.toFixed(0),
    (offered / peak).toFixed(2),
    median(goodput).toFixed(0),
    percent(median(goodput)),
    percent(Math.min(...goodput)),
    `${((100 * overload.peakUs) / overload.overloadUs).toFixed(0)}%`,
    `${(100 * overload.mainBusy).toFixed(0)}%`,
    `${(100 * overload.totalBusy).toFixed(0)}%`,
    (p99Us / 1000).toFixed(1),
    mib(memory[0]),
    mib(memory[Math.min(5, memory.length - 1)]),
    mib(Math.max(...memory)),
    mib(memory[memory.length - 1]),
    (p99BeforeUs / 1000).toFixed(2),
    normalAfterMs === null ? 'not' : `< ${normalAfterMs + CALM_WINDOW_MS}`,
  ];
}

/** Goodput and memory of every second. */
function series({ name }: RunningServer, { goodput, memory }: Overload): void {
  const thousands = goodput.map((perSecond) => (perSecond / 1000).toFixed(0)).join(' ');
  const mib = memory.map((bytes) => (bytes / MIB).toFixed(0)).join(' ');
  process.stdout.write(`${name}\n  1000 answers each second: ${thousands}\n  MiB: ${mib}\n`);
}

function report(rows: readonly string[][], work: string, placement: Placement): void {
  process.stdout.write(
    `${formatTable(rows)}\n` +
      `${work} us of work per datagram in the lane; peak = best of ${PEAK_SECONDS} seconds;\n` +
      'goodput = median of the seconds; by CPU = CPU per answer at the peak by that in the\n' +
      'overload, which tells the same where others took the core in turns; main, all = share\n' +
      'of a core they had in the overload; normal: p99 at most ' +
      `${NORMAL_FACTOR} x what it was before\nat ${CALM_SHARE} x peak, in windows of ` +
      `${CALM_WINDOW_MS} ms, and ${100 * NORMAL_SHARE}% answered\n` +
      describeRun(placement),
  );
}
