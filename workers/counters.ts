/**
 * Counters in shared memory: one row per thread, each row written by its thread alone, read by
 * anyone.
 *
 *   row 0 (main)  | received | originated | sent | ... |   128 float64, 16 cache lines
 *   row 1 (lane)  | ...
 *
 * A float64 holds exact integers up to 2^53 and an aligned 8-byte store is never seen torn on the
 * platforms Node runs on, so a row needs no lock and no BigInt.
 *
 * The balance, summed over all rows, is exact whenever nothing is moving:
 *   received + originated = sent + absorbed + every drop* + in flight
 */
export const COUNTERS = [
  // The balance.
  'received', // datagrams read from a socket
  'originated', // datagrams a lane sends on its own account (pushes)
  'sent', // datagrams the kernel accepted
  'absorbed', // datagrams that need no answer (acknowledged pushes)
  'dropTooLong', // longer than a slot
  'dropNoSlot', // every slot of the receiver was in flight
  'dropPortZero', // source port 0 cannot be answered
  'dropShort', // shorter than the header of its protocol
  'dropUnknownProtocol', // first bytes no protocol claims
  'dropUnsolicited', // a response nobody asked for
  'dropRingFull', // the lane's request ring was full
  'dropRateLimited', // over the budget of its prefix, and nothing proved the source
  'dropLaneDied', // in the hands of a lane that died
  'dropMalformed', // unreadable, or a request that lacks what its command needs
  'dropVerifyFull', // a signature to check, and too many were waiting for that
  'dropVerifyFailed', // the thread that was to check its signature ended
  'dropTimersFull', // a delayed ping, and too many were waiting
  'dropRelayRefused', // not relayed: nothing known of the target, too many, or not allowed
  'dropConnectionGone', // the TCP connection closed before its answer
  'dropSendFull', // the socket's send buffer was full
  'dropSendError', // the kernel refused the datagram (unreachable, not permitted)
  // What the answers were; outside the balance.
  'probes',
  'lookups',
  'plainQueries',
  'announces',
  'unannounces',
  'subscribes',
  'badTokens',
  'refused',
  'formatErrors',
  'notImplemented',
  'pushes',
  'pushRetries',
  'pushTimeouts',
  'dropPushFull', // pushes not made because the push table or its slots were full
  'announcesRejected', // announces the full store could not take
  'announcesBounded', // announces beyond what one host, prefix or name may have
  'subscribesBounded', // the same of subscriptions
  'pushesBounded', // pushes not made: the announcer's prefix has caused enough of them
  'limitedReplies', // answers cut to three times the question, the prefix's budget being used up
  'truncatedReplies', // answers with a token at most, or TC: the prefix's replies are used up
  'cookiesValid', // queries whose server cookie proved their source
  'badCookies', // queries with a server cookie that is not ours
  'tcpAccepted', // TCP connections taken
  'tcpRefused', // TCP connections closed at once: too many, and all the others at work
  'tcpTimeouts', // TCP connections closed at a deadline: idle, slow to ask or slow to read
  'tcpEvicted', // idle or slow TCP connections closed to make room
  'tcpMalformed', // TCP connections closed because of what they sent
  'dhtPings',
  'dhtPingNats',
  'dhtFindNodes',
  'dhtDownHints',
  'dhtDelayedPings',
  'dhtFindPeers',
  'dhtLookups',
  'dhtAnnounces',
  'dhtUnannounces',
  'dhtRefreshes', // announces renewed by a refresh token, without a signature
  'dhtMutablePuts',
  'dhtMutableGets',
  'dhtImmutablePuts',
  'dhtImmutableGets',
  'dhtPlugins',
  'dhtUnknownCommands',
  'dhtRelayed', // handshakes and hole-punch messages passed on
  'dhtRelayRefused', // those that were not
  'dhtBadTokens',
  'dhtForged', // announces and puts whose signature is wrong
  'dhtLimitedReplies', // answers cut to three times the request
  'dhtSightings', // ids seen in requests that match their address and are new
  'dhtStoreBounded', // announces and puts beyond what one prefix may have
  'dhtStoreRejected', // announces and puts a full store could not take
  'dhtChecks', // signatures checked
  'dhtReplies', // replies to requests of our own
  'dhtChallenges', // pings sent to sources that have had their budget
  'laneRestarts', // lanes that died and were replaced
  'kernelDropped', // datagrams the kernel dropped before we read them (receive buffer full)
] as const;

export type CounterName = (typeof COUNTERS)[number];

/** Index of each counter within a row. */
export const COUNTER = Object.fromEntries(COUNTERS.map((name, index) => [name, index])) as Record<
  CounterName,
  number
>;

export const COUNTER_ROW_LENGTH = 128;

/** The names whose sum, beside `sent` and `absorbed`, balances `received` + `originated`. */
export const DROP_COUNTERS = COUNTERS.slice(
  COUNTER.dropTooLong,
  COUNTER.dropSendError + 1,
) as readonly CounterName[];

/** The row of one thread: a view of 128 float64 into the shared buffer. */
export type CounterRow = Float64Array;

/** Allocates zeroed rows for `threads` threads. */
export function allocateCounters(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * COUNTER_ROW_LENGTH * 8);
}

/** The row of thread `index`. */
export function counterRow(buffer: SharedArrayBuffer, index: number): CounterRow {
  return new Float64Array(buffer, index * COUNTER_ROW_LENGTH * 8, COUNTER_ROW_LENGTH);
}

/** A row by name: a snapshot. */
export function namedCounters(row: CounterRow): Record<CounterName, number> {
  const named = {} as Record<CounterName, number>;
  for (const name of COUNTERS) named[name] = row[COUNTER[name]];
  return named;
}

/** Sums all rows by name: a snapshot for metrics and tests. */
export function sumCounters(buffer: SharedArrayBuffer): Record<CounterName, number> {
  const rows = buffer.byteLength / (COUNTER_ROW_LENGTH * Float64Array.BYTES_PER_ELEMENT);
  const sums = namedCounters(new Float64Array(COUNTER_ROW_LENGTH));
  for (let index = 0; index < rows; index++) {
    const row = counterRow(buffer, index);
    for (const name of COUNTERS) sums[name] += row[COUNTER[name]];
  }
  return sums;
}

/** Datagrams still in the house: received + originated - sent - absorbed - dropped. */
export function inFlight(sums: Record<CounterName, number>): number {
  let left = sums.received + sums.originated - sums.sent - sums.absorbed;
  for (const name of DROP_COUNTERS) left -= sums[name];
  return left;
}
