/**
 * An open-loop UDP load generator: sends at fixed rates whatever comes back, so it can ask for more
 * than a server can do. Several flows at once, each with its rate and requests; latencies run from
 * the sending of each request.
 *
 *   sequence number = message id * SOURCES + source, so that answers are told apart for minutes
 */
import { performance } from 'node:perf_hooks';
import { SOURCES, type WriteRequest } from './generator.ts';
import { Histogram } from './histogram.ts';
import { BATCH, FIRST_SOURCE, LoadSocket } from './load-socket.ts';

/** Requests whose time of sending is kept: seconds of them. */
const KEPT = 1 << 21;
/** What could not be sent in time for longer is not made up for. */
const MAX_DEBT_MS = 20;
/** Answers that come this long after the end still count, unless told otherwise. */
const TAIL_MS = 250;

export interface Flow {
  /** Requests per second. */
  readonly rate: number;
  readonly write: WriteRequest;
}

/** What became of a flow, in a window or in all. Answers count when they come. */
export class FlowCount {
  sent = 0;
  answered = 0;
  readonly latencies = new Histogram();
}

export interface OpenLoopOptions {
  readonly windowMs?: number;
  /** After each window: its number, its flows, its length in seconds. */
  readonly onWindow?: (window: number, flows: readonly FlowCount[], seconds: number) => void;
  /** Each answer's time (performance.now), with the number of its flow. */
  readonly onAnswer?: (nowMs: number, flow: number) => void;
  /** How long answers still count that come after the last request. */
  readonly tailMs?: number;
  /** Whether to sleep a little when there is nothing to do. */
  readonly napping?: boolean;
}

export class OpenLoop {
  readonly #socket: LoadSocket;
  readonly #sentAt = new Float64Array(KEPT);
  readonly #flowOf = new Uint8Array(KEPT);
  readonly #sending = Int32Array.from({ length: BATCH }, (_, i) => i);
  #sequence = 0;

  constructor(host: string, port: number) {
    this.#socket = new LoadSocket(host, port, BATCH);
  }

  close(): void {
    this.#socket.close();
  }

  /** Runs for `seconds`; the counts of each flow over all of it. */
  run(flows: readonly Flow[], seconds: number, options: OpenLoopOptions = {}): FlowCount[] {
    const { windowMs = 1000, onWindow, onAnswer, tailMs = TAIL_MS, napping = false } = options;
    const totals = flows.map(() => new FlowCount());
    let current = flows.map(() => new FlowCount());
    const began = performance.now();
    const due = flows.map(() => began);
    const end = began + seconds * 1000;
    let windowEnd = began + windowMs;
    let window = 0;
    for (let now = began; now < end + tailMs; now = performance.now()) {
      let moved = 0;
      if (now < end) {
        for (let f = 0; f < flows.length; f++) {
          moved += this.#sendDue(flows[f], f, due, now, totals, current);
        }
      }
      moved += this.#receive(began, totals, current, onAnswer);
      if (moved === 0 && napping) this.#socket.nap();
      if (now < windowEnd || now >= end) continue;
      onWindow?.(window++, current, (now - windowEnd + windowMs) / 1000);
      current = flows.map(() => new FlowCount());
      windowEnd = now + windowMs;
    }
    return totals;
  }

  /** Sends what a flow owes by now, a batch at most. */
  #sendDue(
    flow: Flow,
    f: number,
    due: number[],
    now: number,
    totals: FlowCount[],
    current: FlowCount[],
  ): number {
    const everyMs = 1000 / flow.rate;
    due[f] = Math.max(due[f], now - MAX_DEBT_MS);
    const count = Math.min(BATCH, Math.floor((now - due[f]) / everyMs));
    if (count === 0) return 0;
    due[f] += count * everyMs;
    for (let slot = 0; slot < count; slot++) this.#fill(slot, flow, f, now, totals[f]);
    this.#socket.send(this.#sending, count);
    current[f].sent += count;
    return count;
  }

  #fill(slot: number, flow: Flow, f: number, now: number, total: FlowCount): void {
    const { bytes } = this.#socket;
    const sequence = this.#sequence++;
    const source = sequence % SOURCES;
    const start = this.#socket.start(slot);
    const length = flow.write(bytes, start, source, total.sent++);
    this.#socket.address(slot, FIRST_SOURCE + source, length);
    const id = Math.floor(sequence / SOURCES);
    bytes[start] = id >> 8;
    bytes[start + 1] = id;
    this.#sentAt[sequence & (KEPT - 1)] = now;
    this.#flowOf[sequence & (KEPT - 1)] = f;
  }

  /** One batch of answers; those to requests of an earlier run are passed over. */
  #receive(
    began: number,
    totals: FlowCount[],
    current: FlowCount[],
    onAnswer: OpenLoopOptions['onAnswer'],
  ): number {
    const { bytes } = this.#socket;
    const got = this.#socket.receive();
    if (got === 0) return 0;
    const now = performance.now();
    for (let i = 0; i < got; i++) {
      const landed = this.#socket.landed(i);
      const start = this.#socket.start(landed);
      if ((bytes[start + 2] & 0x80) === 0) continue;
      const source = this.#socket.destination(landed) - FIRST_SOURCE;
      const id = (bytes[start] << 8) | bytes[start + 1];
      const kept = (id * SOURCES + source) & (KEPT - 1);
      const sentAt = this.#sentAt[kept];
      if (sentAt < began) continue;
      const f = this.#flowOf[kept];
      const us = (now - sentAt) * 1000;
      totals[f].answered++;
      totals[f].latencies.add(us);
      current[f].answered++;
      current[f].latencies.add(us);
      onAnswer?.(now, f);
    }
    return got;
  }
}
