/**
 * `npm run bench -- handoff`: where handing datagrams to worker threads pays. Throughput and main
 * thread CPU by number of workers, who sends, and busy work per datagram in the lane.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { describeMode, startBenchServer } from './load/bench-server.ts';
import {
  cpuSince,
  describeRun,
  note,
  parsePlacement,
  reexecPinned,
  stopServer,
  tell,
  threadTimes,
} from './load/processes.ts';
import { plainTxt } from './load/requests.ts';
import { LOOKUP_NAMES, type Subject } from './load/subject.ts';
import { formatTable, median } from './table.ts';

const WORKS_US = [0, 1, 2, 5, 10, 20, 50];
const MODES = [
  [0, 'main'],
  [1, 'main'],
  [1, 'lane'],
  [2, 'main'],
  [2, 'lane'],
] as const;
/** Outstanding requests: what one of several lanes' rings may hold, however uneven the names. */
const IN_FLIGHT = 256;

interface Sample {
  readonly perSecond: number;
  readonly mainUs: number;
  readonly laneUs: number;
  readonly totalUs: number;
}

export async function benchHandoff(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      seconds: { type: 'string', default: '1' },
      rounds: { type: 'string', default: '3' },
      placement: { type: 'string', default: 'free' },
    },
  });
  const placement = parsePlacement(values.placement);
  const pinnedStatus = reexecPinned();
  if (pinnedStatus !== null) return pinnedStatus;
  const subjects: Subject[] = [];
  try {
    for (const [workers, send] of MODES) {
      subjects.push(await startBenchServer({ workers, send, hasWork: true, placement }));
    }
    // samples[work][mode], a sample for each round.
    const samples = WORKS_US.map(() => MODES.map((): Sample[] => []));
    const rounds = Number(values.rounds);
    for (let round = 0; round <= rounds; round++) {
      note(`round ${round} of ${rounds}${round === 0 ? ' (warm-up)' : ''}`);
      WORKS_US.forEach((us, w) => {
        subjects.forEach((subject, m) => {
          tell(subject.server, `work ${us}`);
          const sample = measure(subject, MODES[m][0], round === 0 ? 0.3 : Number(values.seconds));
          if (round > 0) samples[w][m].push(sample);
        });
      });
    }
    report(samples);
    process.stdout.write(describeRun(placement));
  } finally {
    for (const { server } of subjects) stopServer(server);
  }
  return 0;
}

function measure({ server, generator }: Subject, workers: number, seconds: number): Sample {
  const write = plainTxt(0, LOOKUP_NAMES);
  // So that the work that was just set is what all of the measured ones had.
  generator.run(write, 0.1, undefined, undefined, IN_FLIGHT);
  const before = threadTimes(server);
  const load = generator.run(write, seconds, undefined, undefined, IN_FLIGHT);
  const { main, total, others } = cpuSince(server, before);
  const answers = Math.max(1, load.answers);
  const lanes = others.slice(0, workers).reduce((sum, [, ns]) => sum + ns, 0);
  return {
    perSecond: load.answers / load.seconds,
    mainUs: main / 1000 / answers,
    laneUs: lanes / 1000 / answers,
    totalUs: total / 1000 / answers,
  };
}

function report(samples: readonly Sample[][][]): void {
  const rows = [
    ['work us', 'mode', 'q/s', 'x inline', 'main us', 'lane us', 'total us', 'q/s by cores'],
  ];
  WORKS_US.forEach((us, w) => {
    const inline = median(samples[w][0].map((sample) => sample.perSecond));
    MODES.forEach(([workers, send], m) => {
      const of = (pick: (sample: Sample) => number): number => median(samples[w][m].map(pick));
      const perSecond = of((x) => x.perSecond);
      const busiest = of((x) => Math.max(x.mainUs, x.laneUs / Math.max(1, workers)));
      rows.push([
        String(us),
        describeMode(workers, send),
        perSecond.toFixed(0),
        (perSecond / inline).toFixed(2),
        of((x) => x.mainUs).toFixed(2),
        of((x) => x.laneUs).toFixed(2),
        of((x) => x.totalUs).toFixed(2),
        (1e6 / busiest).toFixed(0),
      ]);
    });
  });
  process.stdout.write(`${formatTable(rows)}\n`);
  process.stdout.write(
    'medians; main, lane, total us = CPU per datagram of the main thread, of all lanes, of all\n' +
      'threads; q/s by cores = 1 s of the busiest thread, what the same server would do if each\n' +
      'thread had a core and the load another (computed, not measured)\n',
  );
}
