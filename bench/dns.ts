/**
 * `npm run bench -- dns`: queries per second and server CPU per answered query, of ours on both
 * backends and with a lane in a worker thread, of the original and of a bare batched echo,
 * interleaved in one run, the load on core 1. Inline, everything of a server is on core 0; where a
 * worker's lane is `--placement` says.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import type { LoadResult, WriteRequest } from './load/generator.ts';
import { OpenLoop } from './load/open-loop.ts';
import {
  ask,
  cpuSince,
  describeRun,
  note,
  type Placement,
  parsePlacement,
  placeLanes,
  reexecPinned,
  startServer,
  stopServer,
  tell,
  threadTimes,
} from './load/processes.ts';
import { announce, lookup, plainTxt, probe } from './load/requests.ts';
import {
  FIRST_CROWDED,
  LOOKUP_NAMES,
  learnTokens,
  newSubject,
  populate,
  type Subject,
} from './load/subject.ts';
import { formatTable, median } from './table.ts';

/** Records each server may keep: announces of new names soon make the oldest go. */
const LIMIT = 1_000_000;

const SCENARIOS = [
  'probe',
  'plain TXT, 1 peer',
  'lookup, 1 peer',
  'lookup, 31 peers',
  'announce, new names',
];

/** Scenarios from here on send tokens. */
const FIRST_WITH_TOKEN = 2;
/** A server that uses less of its core than this is not what limits the figure. */
const BUSY = 0.95;
const INLINE = 'waypost batch';
const WORKER = '1 worker';
/**
 * Requests outstanding; fewer than a socket has slots, for a lane sends answers a moment before
 * their slots are free again.
 */
const IN_FLIGHT = 384;
/** More than a thread can receive. */
const FLOOD_RATE = 500_000;

interface Sample {
  readonly load: LoadResult;
  /** CPU per answered query: of the main thread, and of all threads. */
  readonly mainUs: number;
  readonly totalUs: number;
  /** The share of a core that main, and that all threads used. */
  readonly mainBusy: number;
  readonly totalBusy: number;
}

export async function benchDns(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      seconds: { type: 'string', default: '1.5' },
      rounds: { type: 'string', default: '5' },
      only: { type: 'string', default: '' },
      servers: { type: 'string', default: '' },
      baseline: { type: 'string' },
      placement: { type: 'string', default: 'spread' },
    },
  });
  const placement = parsePlacement(values.placement);
  const pinnedStatus = reexecPinned();
  if (pinnedStatus !== null) return pinnedStatus;
  const subjects = await startSubjects(values.servers, values.baseline, placement);
  try {
    const wanted = SCENARIOS.map((name) => name.includes(values.only));
    const seconds = Number(values.seconds);
    for (const subject of subjects) prepare(subject, placement);
    const samples = measure(subjects, wanted, Number(values.rounds), seconds);
    const receiveUs = await measureReceiving(subjects[0]);
    report(subjects, samples, placement, receiveUs);
  } finally {
    for (const subject of subjects) stopServer(subject.server);
  }
  return 0;
}

/**
 * `wanted`: parts of names of servers, separated by commas, all when empty; `baseline`: another
 * checkout to compare with, inline.
 */
async function startSubjects(
  wanted: string,
  baseline: string | undefined,
  placement: Placement,
): Promise<Subject[]> {
  const main = 'server/cli/main.ts';
  const flags = ['serve', '--dns', '127.0.0.1:0', '--limit', String(LIMIT)];
  const batch = [...flags, '--udp-backend', 'batch'];
  const worker = [main, ...batch, '--workers', '1', '--send-from'];
  const commands: Record<string, string[]> = {
    echo: ['bench/rivals/echo.ts'],
    [INLINE]: [main, ...batch],
    [`${WORKER}, main sends`]: [...worker, 'main'],
    [`${WORKER}, lane sends`]: [...worker, 'lane'],
    'waypost dgram': [main, ...flags, '--udp-backend', 'dgram'],
    'dns-discovery': ['bench/rivals/dns-discovery.mjs', String(LIMIT)],
  };
  if (baseline !== undefined) commands.baseline = [`${baseline}/${main}`, ...batch];
  const subjects: Subject[] = [];
  for (const [name, args] of Object.entries(commands)) {
    const isWanted = wanted.split(',').some((part) => name.includes(part));
    if (name !== 'echo' && !isWanted) continue;
    // By environment: a baseline may be too old to know the flags.
    const env = { WAYPOST_RATE_LIMIT: 'off', WAYPOST_WORKERS: '0' };
    subjects.push(newSubject(await startServer(name, args, { placement, env })));
  }
  return subjects;
}

/** Fills a server with what will be asked for, and puts its lane where it belongs. */
function prepare(subject: Subject, placement: Placement): void {
  const { generator, server } = subject;
  // A lane on the load's core would have to wait for its turn.
  generator.napping = placement !== 'together';
  if (server.name !== 'echo') populate(subject, true);
  const lanes = server.name.startsWith(WORKER) ? 1 : 0;
  placeLanes(server, placement, lanes, () => generator.run(probe(), 0.5));
}

function requestOf(subject: Subject, scenario: number): WriteRequest {
  const { tokens } = subject;
  switch (scenario) {
    case 0:
      return probe();
    case 1:
      return plainTxt(0, LOOKUP_NAMES);
    case 2:
      return lookup(tokens, 0, LOOKUP_NAMES);
    case 3:
      return lookup(tokens, FIRST_CROWDED, LOOKUP_NAMES);
    default:
      subject.nextNewName += 0x1000000;
      return announce(tokens, subject.nextNewName, 1);
  }
}

/** samples[scenario][subject]: one per round; the first round only warms up. */
function measure(
  subjects: Subject[],
  wanted: boolean[],
  rounds: number,
  seconds: number,
): Sample[][][] {
  const samples = SCENARIOS.map(() => subjects.map((): Sample[] => []));
  for (let round = 0; round <= rounds; round++) {
    note(`round ${round} of ${rounds}${round === 0 ? ' (warm-up)' : ''}`);
    for (let scenario = 0; scenario < SCENARIOS.length; scenario++) {
      if (!wanted[scenario]) continue;
      for (let i = subjects.length - 1; i >= 0; i--) {
        const sample = measureOne(subjects[i], scenario, seconds);
        if (round > 0) samples[scenario][i].push(sample);
        // The echo runs after the others, and answers with as many bytes as ours did.
        if (subjects[i].server.name === INLINE) {
          const bytes = Math.round(sample.load.bytes / Math.max(1, sample.load.answers));
          tell(subjects[0].server, String(bytes));
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
        }
      }
    }
  }
  return samples;
}

function measureOne(subject: Subject, scenario: number, seconds: number): Sample {
  if (scenario >= FIRST_WITH_TOKEN && subject.server.name !== 'echo') learnTokens(subject);
  const write = requestOf(subject, scenario);
  const before = threadTimes(subject.server);
  const load = subject.generator.run(write, seconds, undefined, undefined, IN_FLIGHT);
  const { main, total } = cpuSince(subject.server, before);
  const answers = Math.max(1, load.answers);
  return {
    load,
    mainUs: main / 1000 / answers,
    totalUs: total / 1000 / answers,
    mainBusy: main / 1e9 / load.seconds,
    totalBusy: total / 1e9 / load.seconds,
  };
}

/** CPU of receiving alone, us per datagram: the echo is flooded and answers nothing. */
async function measureReceiving({ server }: Subject): Promise<number> {
  tell(server, '0');
  const flood = new OpenLoop('127.0.0.1', server.port);
  const flows = [{ rate: FLOOD_RATE, write: probe() }];
  const samples: number[] = [];
  for (let round = 0; round < 5; round++) {
    const received = Number(await ask(server, 'received'));
    const before = threadTimes(server);
    flood.run(flows, 0.6);
    const { main } = cpuSince(server, before);
    samples.push(main / 1000 / (Number(await ask(server, 'received')) - received));
  }
  flood.close();
  return median(samples);
}

const HEAD = [
  'scenario',
  'server',
  'q/s',
  'main us/query',
  'CPU us/query',
  'main x echo',
  'x echo',
  'x inline',
  'x original',
  'main',
  'all',
  'limit',
  'p50 us',
  'p99 us',
  'bytes',
  'lost',
];

function report(
  subjects: Subject[],
  samples: Sample[][][],
  placement: Placement,
  receiveUs: number,
): void {
  const rows = [HEAD];
  SCENARIOS.forEach((scenario, s) => {
    if (samples[s][0].length === 0) return;
    const cpu = samples[s].map((list) => median(list.map((sample) => sample.totalUs)));
    const times = (i: number, name: string, digits: number): string => {
      const other = subjects.findIndex(({ server }) => server.name === name);
      return other < 0 ? '' : (cpu[i] / cpu[other]).toFixed(digits);
    };
    subjects.forEach((subject, i) => {
      const of = (pick: (sample: Sample) => number): number => median(samples[s][i].map(pick));
      rows.push([
        scenario,
        subject.server.name,
        of((x) => x.load.answers / x.load.seconds).toFixed(0),
        of((x) => x.mainUs).toFixed(2),
        cpu[i].toFixed(2),
        (of((x) => x.mainUs) / median(samples[s][0].map((x) => x.mainUs))).toFixed(2),
        times(i, 'echo', 2),
        times(i, INLINE, 2),
        times(i, 'dns-discovery', 3),
        percent(of((x) => x.mainBusy)),
        percent(of((x) => x.totalBusy)),
        limitOf(
          of((x) => x.mainBusy),
          of((x) => x.totalBusy),
          placement,
        ),
        of((x) => x.load.p50Us).toFixed(0),
        of((x) => x.load.p99Us).toFixed(0),
        of((x) => x.load.bytes / Math.max(1, x.load.answers)).toFixed(0),
        of((x) => x.load.lost).toFixed(0),
      ]);
    });
  });
  process.stdout.write(`${formatTable(rows)}\n`);
  process.stdout.write(
    'medians; main, all = share of a core that the main thread, and all threads, used; limit =\n' +
      'what limited the figure: the main thread, the core all threads of the server are on, or\n' +
      'core 1, which has the load and, when spread, the lane\n' +
      `receiving alone (the echo, flooded, silent): ${receiveUs.toFixed(2)} us/datagram\n` +
      describeRun(placement),
  );
}

function limitOf(mainBusy: number, totalBusy: number, placement: Placement): string {
  if (mainBusy >= BUSY) return 'main';
  return placement === 'together' && totalBusy >= BUSY ? 'core 0' : 'core 1';
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)}%`;
}
