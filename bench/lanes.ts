/**
 * `npm run bench -- lanes`: how evenly four lanes are loaded, by probes from many ports, by random
 * names, and with a hot name; and what a flood on one name does to those who ask for others.
 */
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { counterRows, startBenchServer } from './load/bench-server.ts';
import type { WriteRequest } from './load/generator.ts';
import { ManyPorts } from './load/many-ports.ts';
import { type FlowCount, OpenLoop } from './load/open-loop.ts';
import {
  describeRun,
  note,
  type Placement,
  parsePlacement,
  reexecPinned,
  stopServer,
  tell,
} from './load/processes.ts';
import { plainTxtOf, probe, scatteredName } from './load/requests.ts';
import type { Subject } from './load/subject.ts';
import { formatTable } from './table.ts';

const LANES = 4;
/** The addon opens 64 sockets in a process; so many at a time, on ports the kernel chooses. */
const PORTS = 56;
const PORT_ROUNDS = 36;
const PROBES_PER_PORT = 20;
const HOT_NAME = 1;
/** What one of the lanes' rings may hold, however uneven the names. */
const IN_FLIGHT = 256;
/** Other names of the flood, of which each lane has about a quarter. */
const OTHER_NAMES = 64;
const FIRST_OTHER = 0x1000;
/** Queries per second for other names: of the hot name's lane, and of the other three. */
const NEIGHBOUR_RATE = 1000;
const STRANGER_RATE = 3000;
const FLOOD_FACTOR = 3;

export async function benchLanes(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      seconds: { type: 'string', default: '2' },
      work: { type: 'string', default: '20' },
      placement: { type: 'string', default: 'free' },
    },
  });
  const placement = parsePlacement(values.placement);
  const pinnedStatus = reexecPinned();
  if (pinnedStatus !== null) return pinnedStatus;
  const seconds = Number(values.seconds);
  const shares = [
    ['load', 'send', 'q/s', ...Array.from({ length: LANES }, (_, i) => `lane ${i}`), 'most / mean'],
  ];
  const floods = [
    [
      'send',
      'asking',
      'alone: answered',
      'p99 us',
      'in the flood: offered/s',
      'answered',
      'p99 us',
    ],
  ];
  for (const send of ['main', 'lane'] as const) {
    note(`${LANES} lanes, ${send} sends`);
    const subject = await startLanes(send, placement);
    try {
      for (const row of await measureShares(subject, seconds))
        shares.push([row[0], send, ...row[1]]);
      tell(subject.server, `work ${values.work}`);
      for (const row of await measureFlood(subject, seconds)) floods.push([send, ...row]);
    } finally {
      stopServer(subject.server);
    }
  }
  process.stdout.write(
    `${formatTable(shares)}\n\n${formatTable(floods)}\n` +
      `the flood: ${FLOOD_FACTOR} times what the hot name's lane answers, with ` +
      `${values.work} us\nof work per datagram; neighbours ask for other names of its lane, ` +
      'strangers for those of\nother lanes\n' +
      describeRun(placement),
  );
  return 0;
}

function startLanes(send: 'main' | 'lane', placement: Placement): Promise<Subject> {
  return startBenchServer({ workers: LANES, send, hasWork: true, placement });
}

/** For each load: its name; queries per second, the share of each lane, the largest by the mean. */
async function measureShares(
  subject: Subject,
  seconds: number,
): Promise<[load: string, cells: string[]][]> {
  const { server, generator } = subject;
  const names = (write: WriteRequest) => (): number => {
    const load = generator.run(write, seconds, undefined, undefined, IN_FLIGHT);
    return load.answers / load.seconds;
  };
  const half = (n: number): number => (n % 2 === 0 ? HOT_NAME : scatteredName(n));
  const loads: Record<string, () => number> = {
    [`probes, ${PORTS * PORT_ROUNDS} ports`]: () => {
      const began = performance.now();
      for (let round = 0; round < PORT_ROUNDS; round++) {
        const ports = new ManyPorts('127.0.0.1', server.port, PORTS);
        ports.run(probe(), PROBES_PER_PORT);
        ports.close();
      }
      return (PORTS * PORT_ROUNDS * PROBES_PER_PORT * 1000) / (performance.now() - began);
    },
    'random names': names(plainTxtOf(scatteredName)),
    'hot name 50%': names(plainTxtOf(half)),
    'hot name 100%': names(plainTxtOf(() => HOT_NAME)),
  };
  const rows: [string, string[]][] = [];
  for (const [name, run] of Object.entries(loads)) {
    const before = await answeredByLane(subject);
    const perSecond = run();
    const after = await answeredByLane(subject);
    const answered = after.map((count, lane) => count - before[lane]);
    const sum = answered.reduce((a, b) => a + b, 0);
    const shares = answered.map((count) => `${((100 * count) / sum).toFixed(1)}%`);
    const most = (Math.max(...answered) * LANES) / sum;
    rows.push([name, [perSecond.toFixed(0), ...shares, most.toFixed(2)]]);
  }
  return rows;
}

/** What each lane has answered. */
async function answeredByLane({ server }: Subject): Promise<number[]> {
  const [, ...lanes] = await counterRows(server);
  return lanes.map((row) => row.probes + row.plainQueries + row.lookups);
}

/** Rows of the flood's table: the hot name, its neighbours, strangers. */
async function measureFlood(subject: Subject, seconds: number): Promise<string[][]> {
  const { server, generator } = subject;
  const hot = plainTxtOf(() => HOT_NAME);
  const [neighbours, strangers] = await sortNames(subject);
  const { answers, seconds: took } = generator.run(hot, 1, undefined, undefined, IN_FLIGHT);
  const rate = (FLOOD_FACTOR * answers) / took;
  const others = [
    { rate: NEIGHBOUR_RATE, write: plainTxtOf((n) => neighbours[n % neighbours.length]) },
    { rate: STRANGER_RATE, write: plainTxtOf((n) => strangers[n % strangers.length]) },
  ];
  const load = new OpenLoop('127.0.0.1', server.port);
  const alone = load.run(others, seconds, { napping: true });
  const flooded = load.run([...others, { rate, write: hot }], 2 * seconds, { napping: true });
  load.close();
  const row = (name: string, before: FlowCount | undefined, during: FlowCount): string[] => [
    name,
    before === undefined ? '' : shareOf(before),
    before === undefined ? '' : before.latencies.at(0.99).toFixed(0),
    (during.sent / (2 * seconds)).toFixed(0),
    shareOf(during),
    during.latencies.at(0.99).toFixed(0),
  ];
  return [
    row('hot name', undefined, flooded[2]),
    row('neighbours', alone[0], flooded[0]),
    row('strangers', alone[1], flooded[1]),
  ];
}

/** Other names: those of the hot name's lane, and those of the other lanes. */
async function sortNames(subject: Subject): Promise<[number[], number[]]> {
  const laneOf = async (name: number): Promise<number> => {
    const before = await answeredByLane(subject);
    subject.generator.run(
      plainTxtOf(() => name),
      2,
      1,
      undefined,
      1,
    );
    const after = await answeredByLane(subject);
    return after.findIndex((count, lane) => count > before[lane]);
  };
  const hotLane = await laneOf(HOT_NAME);
  const sorted: [number[], number[]] = [[], []];
  for (let i = 0; i < OTHER_NAMES; i++) {
    const name = FIRST_OTHER + i;
    sorted[(await laneOf(name)) === hotLane ? 0 : 1].push(name);
  }
  return sorted;
}

function shareOf({ sent, answered }: FlowCount): string {
  return `${((100 * answered) / Math.max(1, sent)).toFixed(1)}%`;
}
