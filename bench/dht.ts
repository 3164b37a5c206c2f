/**
 * `npm run bench -- dht`: what a DHT node's answers cost, of ours inline and with a worker, and of
 * the originals npm dht-rpc and hyperdht, interleaved in one run; each with a table of 100 nodes or
 * more. All threads of a server are on core 0, the load on core 1. Then the latency of lookups
 * while signatures are verified at full rate, with the verifiers on core 1; and how many announces
 * a verifier with that core to itself lets through, the load on core 0 with the main thread.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import type { DhtFlow, DhtFlowCount } from './load/dht-generator.ts';
import {
  announces,
  findNode,
  immutableGet,
  immutablePut,
  lookup,
  ping,
} from './load/dht-requests.ts';
import {
  CROWDED,
  type DhtSubject,
  FILLED,
  LEAST_NODES,
  LONELY,
  learnDhtTokens,
  newDhtSubject,
  populateDht,
  putFilled,
  RANDOM,
  startNetwork,
  tableSize,
} from './load/dht-subject.ts';
import type { WriteRequest } from './load/generator.ts';
import {
  ask,
  cpuSince,
  describeRun,
  note,
  type Placement,
  placeLanes,
  reexecPinned,
  SERVER_CORE,
  startServer,
  stopServer,
  threadTimes,
  withLoadOn,
} from './load/processes.ts';
import { formatTable, median } from './table.ts';

interface Scenario {
  readonly name: string;
  /** Called before each measurement. */
  readonly prepare?: (subject: DhtSubject) => void;
  /** dht-rpc alone keeps no lists of peers. */
  readonly needsPeers?: boolean;
  readonly window?: number;
  write(subject: DhtSubject): WriteRequest;
}

const ANNOUNCE = 'announce';
/** Announces outstanding: what a verifier's queue holds. */
const VERIFY_WINDOW = 192;
const SCENARIOS: readonly Scenario[] = [
  { name: 'ping', write: ({ address }) => ping(address) },
  { name: 'find_node', write: ({ address }) => findNode(address, RANDOM) },
  { name: 'lookup, 1 peer', write: ({ address }) => lookup(address, LONELY) },
  {
    name: 'lookup, 20 peers',
    needsPeers: true,
    write: ({ address }) => lookup(address, CROWDED),
  },
  {
    name: 'commit with token',
    prepare: learnDhtTokens,
    write: ({ address, tokens }) => immutablePut(address, tokens),
  },
  {
    name: 'immutable get',
    prepare: putFilled,
    write: ({ address }) => immutableGet(address, FILLED),
  },
  {
    name: ANNOUNCE,
    prepare: learnDhtTokens,
    needsPeers: true,
    window: VERIFY_WINDOW,
    write: ({ address, nodeId, tokens }) => announces({ to: address, nodeId, tokens }),
  },
];

const DHT_RPC = 'dht-rpc 6.27.0';
const HYPERDHT = 'hyperdht 6.34.0';
const OURS = 'waypost';
const INLINE = `${OURS} inline`;
/** Requests outstanding: fewer than a socket has slots, so that nothing is lost. */
const IN_FLIGHT = 384;
/** The fastest counts: the limit is what a core can do when nothing disturbs it. */
const VERIFY_TRIES = 8;
/** Lookups a second while announces come as fast as they are answered. */
const LOOKUP_RATE = 2000;

interface Sample {
  readonly load: DhtFlowCount;
  /** CPU per answered request: of all threads, and of the main one. */
  readonly totalUs: number;
  readonly mainUs: number;
  /** The share of a core that all threads used. */
  readonly busy: number;
}

export async function benchDht(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      seconds: { type: 'string', default: '1.5' },
      rounds: { type: 'string', default: '5' },
      only: { type: 'string', default: '' },
      servers: { type: 'string', default: '' },
    },
  });
  const pinnedStatus = reexecPinned();
  if (pinnedStatus !== null) return pinnedStatus;
  const seconds = Number(values.seconds);
  const wanted = SCENARIOS.filter(({ name }) => name.includes(values.only));
  await withSubjects(values.servers, 'together', async (subjects) => {
    const { samples, verifyUs } = await measure(subjects, wanted, Number(values.rounds), seconds);
    reportScenarios(subjects, wanted, samples);
    if (wanted.at(-1)?.name === ANNOUNCE) reportAnnounces(subjects, samples, verifyUs);
    process.stdout.write(describeRun('together'));
  });
  await withSubjects(values.servers, 'spread', async (subjects) => {
    const rows = subjects.filter(storesPeers).map((subject) => underAnnounces(subject, seconds));
    process.stdout.write(`\n${formatTable([LATENCY_HEAD, ...rows])}\n${describeRun('spread')}`);
    const rival = subjects.find(({ server }) => server.name === HYPERDHT);
    for (const subject of subjects) {
      if (rival === undefined || !subject.server.name.includes(OURS)) continue;
      const tries: number[] = [];
      for (let i = 0; i < VERIFY_TRIES; i++) tries.push(Number(await ask(rival.server, 'verify')));
      const verifyUs = Math.min(...tries);
      process.stdout.write(withVerifierAlone(subject, verifyUs, seconds));
    }
  });
  return 0;
}

/** `wanted`: parts of names of servers, separated by commas; all when empty. */
function commandsOf(wanted: string): [name: string, args: string[]][] {
  const serve = ['server/cli/main.ts', 'serve', '--dns', 'off', '--dht', '127.0.0.1:0'];
  const ours = [...serve, '--dht-private', '--udp-backend', 'batch', '--workers'];
  const commands: [string, string[]][] = [
    [INLINE, [...ours, '0']],
    [`${OURS} 1 worker`, [...ours, '1']],
    [DHT_RPC, ['bench/rivals/dht-rpc.mjs']],
    [HYPERDHT, ['bench/rivals/hyperdht.mjs']],
  ];
  return commands.filter(([name]) => wanted.split(',').some((part) => name.includes(part)));
}

/** Starts and fills the servers, and ends them when `use` has resolved. */
async function withSubjects(
  wanted: string,
  placement: Placement,
  use: (subjects: DhtSubject[]) => Promise<void>,
): Promise<void> {
  const subjects: DhtSubject[] = [];
  let network: Awaited<ReturnType<typeof startNetwork>> | null = null;
  try {
    for (const [name, args] of commandsOf(wanted)) {
      const env = { WAYPOST_RATE_LIMIT: 'off' };
      subjects.push(newDhtSubject(await startServer(name, args, { placement, env })));
    }
    network = await startNetwork(subjects.map(({ server }) => server));
    for (const subject of subjects) {
      subject.generator.napping = true;
      const nodes = tableSize(subject);
      note(`${subject.server.name}: ${nodes} nodes in its table`);
      if (nodes < LEAST_NODES) throw new Error(`${nodes} nodes, ${LEAST_NODES} are needed`);
      populateDht(subject);
    }
    await use(subjects);
  } finally {
    for (const { server, generator } of subjects) {
      stopServer(server);
      generator.close();
    }
    network?.kill('SIGKILL');
  }
}

/** Whether the server checks announces and keeps peers. */
function storesPeers({ server }: DhtSubject): boolean {
  return server.name !== DHT_RPC;
}

interface Measured {
  /** samples[scenario][subject]: one per round; the first round only warms up. */
  readonly samples: Sample[][][];
  /** What verifying a signature alone takes; NaN when nobody could tell. */
  readonly verifyUs: number;
}

async function measure(
  subjects: readonly DhtSubject[],
  scenarios: readonly Scenario[],
  rounds: number,
  seconds: number,
): Promise<Measured> {
  const rival = subjects.find(({ server }) => server.name === HYPERDHT);
  const verifyUs: number[] = [];
  const samples = scenarios.map(() => subjects.map((): Sample[] => []));
  for (let round = 0; round <= rounds; round++) {
    note(`round ${round} of ${rounds}${round === 0 ? ' (warm-up)' : ''}`);
    scenarios.forEach((scenario, s) => {
      subjects.forEach((subject, i) => {
        if (scenario.needsPeers === true && !storesPeers(subject)) return;
        const sample = measureOne(subject, scenario, seconds);
        if (round > 0) samples[s][i].push(sample);
      });
    });
    if (rival !== undefined) verifyUs.push(Number(await ask(rival.server, 'verify')));
  }
  return { samples, verifyUs: median(verifyUs) };
}

function measureOne(subject: DhtSubject, scenario: Scenario, seconds: number): Sample {
  scenario.prepare?.(subject);
  const write = scenario.write(subject);
  const before = threadTimes(subject.server);
  const [load] = subject.generator.run([{ write, window: scenario.window ?? IN_FLIGHT }], seconds);
  const { total, main } = cpuSince(subject.server, before);
  const answers = Math.max(1, load.answers);
  return {
    load,
    totalUs: total / 1000 / answers,
    mainUs: main / 1000 / answers,
    busy: total / 1e9 / load.seconds,
  };
}

const HEAD = [
  'scenario',
  'server',
  'requests/s',
  'CPU us/request',
  'x dht-rpc',
  'x hyperdht',
  'core 0',
  'p50 us',
  'p99 us',
  'bytes',
  'errors',
  'lost',
];

function reportScenarios(
  subjects: readonly DhtSubject[],
  scenarios: readonly Scenario[],
  samples: readonly Sample[][][],
): void {
  const rows = [HEAD];
  scenarios.forEach(({ name }, s) => {
    const cpu = samples[s].map((list) => median(list.map(({ totalUs }) => totalUs)));
    const times = (i: number, rival: string): string => {
      const other = subjects.findIndex(({ server }) => server.name === rival);
      return other < 0 || Number.isNaN(cpu[other]) ? '' : (cpu[i] / cpu[other]).toFixed(2);
    };
    subjects.forEach(({ server }, i) => {
      if (samples[s][i].length === 0) return;
      const of = (pick: (load: DhtFlowCount) => number, digits = 0): string =>
        median(samples[s][i].map(({ load }) => pick(load))).toFixed(digits);
      rows.push([
        name,
        server.name,
        of(({ answers, seconds }) => answers / seconds),
        cpu[i].toFixed(2),
        times(i, DHT_RPC),
        times(i, HYPERDHT),
        `${(100 * median(samples[s][i].map(({ busy }) => busy))).toFixed(0)}%`,
        of(({ latencies }) => latencies.at(0.5)),
        of(({ latencies }) => latencies.at(0.99)),
        of(({ bytes, answers }) => bytes / Math.max(1, answers)),
        of(({ errors }) => errors),
        of(({ lost }) => lost),
      ]);
    });
  });
  process.stdout.write(`${formatTable(rows)}\nmedians; core 0 = the share that was used\n`);
}

/** How much of an announce's cost is the verification of its signature. */
function reportAnnounces(
  subjects: readonly DhtSubject[],
  samples: readonly Sample[][][],
  verifyUs: number,
): void {
  process.stdout.write(`verifying alone: ${verifyUs.toFixed(1)} us per signature on core 0\n`);
  subjects.forEach(({ server }, i) => {
    const list = samples[samples.length - 1][i];
    if (list.length === 0) return;
    const us = median(list.map(({ totalUs }) => totalUs));
    const mainUs = median(list.map((sample) => sample.mainUs));
    const share = ((100 * verifyUs) / us).toFixed(0);
    process.stdout.write(
      `${server.name}: ${us.toFixed(1)} us per announce, ${mainUs.toFixed(1)} of them by the main` +
        ` thread: ${share}% of the limit\n`,
    );
  });
}

const LATENCY_HEAD = [
  'lookups under announces',
  'server',
  'announces/s',
  'lookups/s',
  'p50 us',
  'p99 us',
  'max us',
  'lost',
];

function announcesOf(subject: DhtSubject): DhtFlow {
  learnDhtTokens(subject);
  return { write: SCENARIOS[SCENARIOS.length - 1].write(subject), window: VERIFY_WINDOW };
}

/** Announces alone, as fast as they are answered; the verifier is where it was put before. */
function withVerifierAlone(subject: DhtSubject, verifyUs: number, seconds: number): string {
  const { generator, server } = subject;
  const [load] = withLoadOn(SERVER_CORE, () => {
    generator.run([announcesOf(subject)], seconds);
    return generator.run([announcesOf(subject)], 2 * seconds);
  });
  const rate = load.answers / load.seconds;
  return (
    `${server.name}: ${rate.toFixed(0)} announces/s with core 1 to the verifier alone, which` +
    ` verifies ${(1e6 / verifyUs).toFixed(0)} signatures/s:` +
    ` ${((rate * verifyUs) / 1e4).toFixed(0)}% of the limit\n`
  );
}

/** Announces as fast as they are answered, and lookups at a fixed rate beside them. */
function underAnnounces(subject: DhtSubject, seconds: number): string[] {
  const { generator, server } = subject;
  const announceFlow = (): DhtFlow => announcesOf(subject);
  const lookups = { write: lookup(subject.address, LONELY), rate: LOOKUP_RATE };
  // The busiest threads beside the main one: the verifier on core 1, and a worker's lane on core 0.
  const first = announceFlow();
  placeLanes(server, 'spread', 2, () => generator.run([first], 0.5));
  generator.run([announceFlow(), lookups], seconds);
  const [announced, looked] = generator.run([announceFlow(), lookups], 2 * seconds);
  return [
    `${LOOKUP_RATE} lookups/s`,
    server.name,
    (announced.answers / announced.seconds).toFixed(0),
    (looked.answers / looked.seconds).toFixed(0),
    looked.latencies.at(0.5).toFixed(0),
    looked.latencies.at(0.99).toFixed(0),
    looked.latencies.at(1).toFixed(0),
    looked.lost.toFixed(0),
  ];
}
