/**
 * `npm run bench -- kill`: how long a server with one lane does not answer after that lane's thread
 * was ended, or hangs, under load: from the deed to the end of the longest silence after it.
 */
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { counterRows, describeMode, startBenchServer } from './load/bench-server.ts';
import { OpenLoop } from './load/open-loop.ts';
import {
  ask,
  describeRun,
  note,
  type Placement,
  parsePlacement,
  reexecPinned,
  stopServer,
  tell,
} from './load/processes.ts';
import { plainTxt } from './load/requests.ts';
import { LOOKUP_NAMES } from './load/subject.ts';
import { formatTable } from './table.ts';

const AFTER_MS = 100;
const KILL_SECONDS = 0.4;
/** A lane counts as hung after a second without a sign of life. */
const HANG_SECONDS = 2;
/** Silences that begin this little before the deed are its doing: what it stopped was under way. */
const BEFORE_MS = 1;

interface Outage {
  readonly ms: number;
  readonly unanswered: number;
}

export async function benchKill(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      kills: { type: 'string', default: '30' },
      hangs: { type: 'string', default: '8' },
      rate: { type: 'string', default: '20000' },
      placement: { type: 'string', default: 'free' },
    },
  });
  const placement = parsePlacement(values.placement);
  const pinnedStatus = reexecPinned();
  if (pinnedStatus !== null) return pinnedStatus;
  const counts = { kill: Number(values.kills), hang: Number(values.hangs) };
  const rate = Number(values.rate);
  const rows = [
    ['deed', 'mode', 'times', 'p50 ms', 'p99 ms', 'most ms', 'unanswered', 'dropLaneDied each'],
  ];
  for (const send of ['main', 'lane'] as const) {
    rows.push(...(await measureMode(send, counts, rate, placement)));
  }
  process.stdout.write(
    `${formatTable(rows)}\n` +
      `${rate} queries a second; unanswered = in the mean, of those sent around one deed\n` +
      describeRun(placement),
  );
  return 0;
}

async function measureMode(
  send: 'main' | 'lane',
  counts: Record<'kill' | 'hang', number>,
  rate: number,
  placement: Placement,
): Promise<string[][]> {
  const rows: string[][] = [];
  const { server } = await startBenchServer({ workers: 1, send, hasWork: true, placement });
  const load = new OpenLoop('127.0.0.1', server.port);
  try {
    for (const deed of ['kill', 'hang'] as const) {
      note(`${describeMode(1, send)}: ${counts[deed]} times ${deed}`);
      const before = (await counterRows(server))[0].dropLaneDied;
      const outages: Outage[] = [];
      for (let i = 0; i < counts[deed]; i++) {
        await ask(server, 'whole');
        outages.push(
          await measureOutage(
            deed,
            load,
            rate,
            () => tell(server, deed === 'kill' ? `kill 0 ${AFTER_MS}` : `hang ${AFTER_MS}`),
            async () => Number(BigInt(await server.lines.next())) / 1e6,
          ),
        );
      }
      const lost = (await counterRows(server))[0].dropLaneDied - before;
      rows.push(rowOf(deed, describeMode(1, send), outages, lost));
    }
  } finally {
    load.close();
    stopServer(server);
  }
  return rows;
}

/** `order` asks for the deed; `doneAt` resolves with its time in ms of the machine's clock. */
async function measureOutage(
  deed: 'kill' | 'hang',
  load: OpenLoop,
  rate: number,
  order: () => void,
  doneAt: () => Promise<number>,
): Promise<Outage> {
  const arrivals: number[] = [];
  const machineMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();
  order();
  const [flow] = load.run(
    [{ rate, write: plainTxt(0, LOOKUP_NAMES) }],
    deed === 'kill' ? KILL_SECONDS : HANG_SECONDS,
    { onAnswer: (now) => arrivals.push(now), napping: true },
  );
  const at = (await doneAt()) - machineMs;
  // Silent to the end: longer than was waited for.
  if ((arrivals.at(-1) ?? 0) < at) return { ms: Infinity, unanswered: flow.sent - flow.answered };
  let longest = 0;
  let endedAt = at;
  for (let i = 1; i < arrivals.length; i++) {
    const silence = arrivals[i] - arrivals[i - 1];
    if (arrivals[i - 1] < at - BEFORE_MS || silence <= longest) continue;
    longest = silence;
    endedAt = arrivals[i];
  }
  return { ms: endedAt - at, unanswered: flow.sent - flow.answered };
}

function rowOf(deed: string, mode: string, outages: readonly Outage[], lost: number): string[] {
  const sorted = outages.map(({ ms }) => ms).sort((a, b) => a - b);
  const at = (share: number): string =>
    (sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN).toFixed(1);
  const unanswered = outages.reduce((sum, outage) => sum + outage.unanswered, 0);
  return [
    deed,
    mode,
    String(outages.length),
    at(0.5),
    at(0.99),
    at(1),
    (unanswered / outages.length).toFixed(1),
    (lost / outages.length).toFixed(1),
  ];
}
