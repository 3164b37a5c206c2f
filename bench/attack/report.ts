/** The tables of `npm run bench -- attacks`, and what in them is not as promised. */

import {
  AMPLIFICATION_BURST_BYTES,
  AMPLIFICATION_BYTES_PER_SECOND,
} from '../../server/limits/rate-limiter.ts';
import { COUNTERS } from '../../workers/counters.ts';
import { formatTable } from '../table.ts';
import { type Goodput, NAMES } from './client.ts';
import { CLIENT_RATE, type TrialResult } from './trial.ts';

/** Of the client's share without the attack. */
const LEAST_GOODPUT = 0.8;
/** What a process's memory moves by without a reason: garbage not collected yet. */
const MEMORY_SLACK_BYTES = 8 << 20;
/** As many connections as a server takes by default, at 16 kB each. */
const CONNECTIONS_BYTES = 4096 * 16_384;
/** The load reads answers late, and then several at once: by less than a second. */
const LATE_BYTES = AMPLIFICATION_BYTES_PER_SECOND;
const MEBI = 1 << 20;

export function goodputTable(results: readonly TrialResult[]): string {
  const head = [
    'attack',
    'workers',
    'offered/s',
    'before %',
    'during %',
    'after %',
    'p50 us before',
    'during',
    'p99 us before',
    'during',
    'alone q/s',
    'busy',
    'attack busy',
    'us each',
    'share q/s',
    'beside q/s',
    '% of share',
    'disturbed',
  ];
  const rows = results.map((result) => {
    const { attack, workers, before, during, after, closed } = result;
    return [
      attack.name,
      String(workers),
      (result.units / result.seconds).toFixed(0),
      percent(answeredPart(before)),
      percent(answeredPart(during)),
      percent(answeredPart(after)),
      before.p50Us.toFixed(0),
      during.p50Us.toFixed(0),
      before.p99Us.toFixed(0),
      during.p99Us.toFixed(0),
      closed.alone.perSecond.toFixed(0),
      `${percent(closed.alone.busy)}%`,
      `${percent(closed.attackBusy)}%`,
      ((closed.attackBusy * 1e6) / Math.max(1, closed.attackRate)).toFixed(1),
      shareOf(result).toFixed(0),
      closed.beside.perSecond.toFixed(0),
      percent(closed.beside.perSecond / shareOf(result)),
      `${percent(result.disturbed)}%`,
    ];
  });
  return `${formatTable([head, ...rows])}
The proven client asks ${CLIENT_RATE} times a second before, during and after; % = answered. Then
in a closed loop: alone; the attack without it, which takes so much of a core of the server's main
thread, us per datagram or connection; both. share = alone less one answer for each datagram of the
attack; with connections, alone x (1 - attack busy).
disturbed: how long the load waited for its core, which it should have for itself.`;
}

export function boundsTable(results: readonly TrialResult[]): string {
  const head = [
    'attack',
    'workers',
    'MiB before',
    'middle',
    'end',
    'bytes out/in',
    'worst prefix over 3x',
    'budget',
    'prefixes',
    'missed',
    'records kept',
    'TCP answered',
  ];
  const rows = results.map((result) => {
    const { attack, workers, residentBytes, kept, tcp } = result;
    const { amplification, missed } = result.result;
    const cells =
      amplification === null
        ? ['', '', '', '']
        : [
            (amplification.receivedBytes / amplification.sentBytes).toFixed(2),
            amplification.worstBytes.toFixed(0),
            attack.isProven ? 'proven' : String(AMPLIFICATION_BURST_BYTES),
            String(amplification.prefixes),
          ];
    return [
      attack.name,
      String(workers),
      ...residentBytes.map((bytes) => (bytes / MEBI).toFixed(1)),
      ...cells,
      String(missed),
      `${kept}/${NAMES}`,
      `${tcp.answered}/${tcp.tried}`,
    ];
  });
  return `${formatTable([head, ...rows])}
worst prefix over 3x: the highest level of any /24 in a bucket that takes what answers have over
three times their questions, headers counted, and leaks ${AMPLIFICATION_BYTES_PER_SECOND} bytes a
second. missed: answers the load itself had no room for.`;
}

/** Of each trial the counters that are not 0, in one line. */
export function countersTable(results: readonly TrialResult[]): string {
  const lines = results.map(({ attack, workers, counters, inFlight }) => {
    const shown = COUNTERS.filter((name) => counters[name] > 0);
    const list = shown.map((name) => `${name} ${counters[name]}`).join(', ');
    return `${attack.name}, workers ${workers}: ${list}; in flight ${inFlight}`;
  });
  return lines.join('\n');
}

/** A line for everything that is not as promised. */
export function failures(results: readonly TrialResult[]): string[] {
  return results.flatMap((result) => {
    const { attack, workers } = result;
    return problemsOf(result).map((problem) => `${attack.name}, workers ${workers}: ${problem}`);
  });
}

function problemsOf(result: TrialResult): string[] {
  const { before, during, residentBytes, kept, counters, attack } = result;
  const problems: string[] = [];
  const paced = answeredPart(during) / answeredPart(before);
  if (paced < LEAST_GOODPUT) problems.push(`${percent(paced)}% of the goodput before`);
  const closed = result.closed.beside.perSecond / shareOf(result);
  if (closed < LEAST_GOODPUT) problems.push(`${percent(closed)}% of the share in the closed loop`);
  const [first, middle, end] = residentBytes;
  const isTcp = attack.unit === 'connection';
  const grown = isTcp ? end - first - CONNECTIONS_BYTES : end - middle;
  if (grown > MEMORY_SLACK_BYTES) problems.push(`memory grew by ${(grown / MEBI).toFixed(1)} MiB`);
  const { amplification } = result.result;
  if (amplification !== null && !attack.isProven) {
    const over = amplification.worstBytes - AMPLIFICATION_BURST_BYTES;
    if (over > LATE_BYTES) problems.push(`${over} bytes over the budget of amplification`);
  }
  if (during.unnamed > 0) problems.push(`${during.unnamed} lookups named nobody`);
  if (kept < NAMES) problems.push(`${NAMES - kept} of the client's records are gone`);
  if (result.inFlight !== 0) problems.push(`${result.inFlight} datagrams unaccounted for`);
  if (counters.laneRestarts > 0) problems.push(`${counters.laneRestarts} lanes died`);
  return problems;
}

/** What the client would get if a datagram of the attack cost as much as one of its own. */
function shareOf({ attack, closed }: TrialResult): number {
  const { alone, attackRate, attackBusy } = closed;
  if (attack.unit === 'connection') return alone.perSecond * Math.max(0, 1 - attackBusy);
  return alone.perSecond - attackRate;
}

function answeredPart({ asked, answered }: Goodput): number {
  return answered / Math.max(1, asked);
}

function percent(part: number): string {
  return (100 * part).toFixed(part > 0.9995 && part < 1 ? 2 : 1);
}
