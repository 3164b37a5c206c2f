/**
 * `npm run bench -- dns`: queries per second and server CPU per answered query, of ours on both
 * backends,
 * the original and a bare batched echo, interleaved in one run on one core, the load on the other.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import {
  GENTLE_WINDOW,
  Generator,
  type LoadResult,
  type OnAnswer,
  SOURCES,
  type WriteRequest,
} from './load/generator.ts';
import {
  canPin,
  cpuNs,
  type RunningServer,
  reexecPinned,
  startServer,
  stopServer,
} from './load/processes.ts';
import { announce, lookup, plainTxt, probe, TokenBook } from './load/requests.ts';
import { formatTable, median } from './table.ts';

/** Names of each kind that lookups go round: 1 peer each, then 31 peers each. */
const LOOKUP_NAMES = 256;
const FIRST_CROWDED = 0x1000;
const FIRST_NEW = 0x100000;
const CROWD = 31;
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

interface Subject {
  readonly server: RunningServer;
  readonly generator: Generator;
  readonly tokens: TokenBook;
  nextNewName: number;
}

interface Sample {
  readonly load: LoadResult;
  readonly cpuUs: number;
  readonly busy: number;
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
    },
  });
  const pinnedStatus = reexecPinned();
  if (pinnedStatus !== null) return pinnedStatus;
  const subjects = await startSubjects(values.servers, values.baseline);
  try {
    for (const subject of subjects) populate(subject);
    const wanted = SCENARIOS.map((name) => name.includes(values.only));
    const samples = measure(subjects, wanted, Number(values.rounds), Number(values.seconds));
    report(subjects, samples);
  } finally {
    for (const subject of subjects) stopServer(subject.server);
  }
  return 0;
}

/** `wanted`: names of servers, all when empty; `baseline`: another checkout to compare with. */
async function startSubjects(wanted: string, baseline: string | undefined): Promise<Subject[]> {
  const main = 'server/cli/main.ts';
  const flags = ['serve', '--dns', '127.0.0.1:0', '--limit', String(LIMIT), '--udp-backend'];
  const commands: Record<string, string[]> = {
    echo: ['bench/rivals/echo.ts'],
    'waypost batch': [main, ...flags, 'batch'],
    'waypost dgram': [main, ...flags, 'dgram'],
    'dns-discovery': ['bench/rivals/dns-discovery.mjs', String(LIMIT)],
  };
  if (baseline !== undefined) commands.baseline = [`${baseline}/${main}`, ...flags, 'batch'];
  const subjects: Subject[] = [];
  for (const [name, args] of Object.entries(commands)) {
    if (wanted !== '' && name !== 'echo' && !wanted.split(',').includes(name)) continue;
    const server = await startServer(name, args);
    subjects.push({
      server,
      generator: new Generator('127.0.0.1', server.port),
      tokens: new TokenBook(),
      nextNewName: FIRST_NEW,
    });
  }
  return subjects;
}

/** Announces what lookups will find. */
function populate(subject: Subject): void {
  const { generator, server, tokens } = subject;
  if (server.name === 'echo') return;
  note(`${server.name}: ${SOURCES} tokens, ${LOOKUP_NAMES * (1 + CROWD)} announces`);
  learnTokens(subject);
  generator.run(announce(tokens, 0, 1), 20, LOOKUP_NAMES, undefined, GENTLE_WINDOW);
  const crowds = announce(tokens, FIRST_CROWDED, CROWD);
  generator.run(crowds, 20, LOOKUP_NAMES * CROWD, undefined, GENTLE_WINDOW);
}

/** Learns every source's token anew: they last for five minutes only. */
function learnTokens({ generator, server, tokens }: Subject): void {
  tokens.known.fill(0);
  for (let tries = 0; tokens.known.includes(0); tries++) {
    if (tries === 20) throw new Error(`${server.name} does not answer probes of all sources`);
    const learn: OnAnswer = (bytes, start, length, source) =>
      tokens.learn(bytes, start, length, source);
    generator.run(probe(), 5, SOURCES, learn, GENTLE_WINDOW);
  }
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
        if (subjects[i].server.name === 'waypost batch') {
          const bytes = Math.round(sample.load.bytes / Math.max(1, sample.load.answers));
          subjects[0].server.process.stdin?.write(`${bytes}\n`);
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
  const before = cpuNs(subject.server);
  const load = subject.generator.run(write, seconds);
  const used = cpuNs(subject.server) - before;
  return {
    load,
    cpuUs: used / 1000 / Math.max(1, load.answers),
    busy: used / 1e9 / load.seconds,
  };
}

function report(subjects: Subject[], samples: Sample[][][]): void {
  const rows: string[][] = [
    [
      'scenario',
      'server',
      'q/s',
      'CPU us/query',
      'x echo',
      'x original',
      'busy',
      'limit',
      'p50 us',
      'p99 us',
      'bytes',
      'lost',
    ],
  ];
  SCENARIOS.forEach((scenario, s) => {
    if (samples[s][0].length === 0) return;
    const cpu = samples[s].map((list) => median(list.map((sample) => sample.cpuUs)));
    const original = subjects.findIndex((subject) => subject.server.name === 'dns-discovery');
    subjects.forEach((subject, i) => {
      const of = (pick: (sample: Sample) => number): number => median(samples[s][i].map(pick));
      rows.push([
        scenario,
        subject.server.name,
        of((x) => x.load.answers / x.load.seconds).toFixed(0),
        cpu[i].toFixed(2),
        (cpu[i] / cpu[0]).toFixed(2),
        original < 0 ? '' : (cpu[i] / cpu[original]).toFixed(3),
        `${(100 * of((x) => x.busy)).toFixed(0)}%`,
        of((x) => x.busy) >= BUSY ? 'server' : 'load',
        of((x) => x.load.p50Us).toFixed(0),
        of((x) => x.load.p99Us).toFixed(0),
        of((x) => x.load.bytes / Math.max(1, x.load.answers)).toFixed(0),
        of((x) => x.load.lost).toFixed(0),
      ]);
    });
  });
  process.stdout.write(`${formatTable(rows)}\n`);
  process.stdout.write(
    "medians; busy = share of the server's core used; limit = what limited the figure: the\n" +
      "server's core, or the load generator's\n" +
      `${canPin ? 'server on core 0, load on core 1' : 'NOT pinned: no taskset, or one core'}\n`,
  );
}

function note(line: string): void {
  process.stderr.write(`${line}\n`);
}
