/**
 * A UDP load generator for the DHT: several flows at once, each either with a window of requests
 * always outstanding or at a fixed rate, from the next of many source addresses (127.1.0.0 and up,
 * by packet info on one socket). It polls without an event loop, so it wants a core of its own;
 * where it shares one, it can nap when nothing has come. What it sends is matched by transaction
 * id.
 */
import { performance } from 'node:perf_hooks';
import { FLAG_ERROR, REPLY_BYTE } from '../../codecs/dht/constants.ts';
import { readU16, writeU16 } from '../../codecs/dht/varint.ts';
import { type OnAnswer, SOURCES, type WriteRequest } from './generator.ts';
import { Histogram } from './histogram.ts';
import { BATCH, FIRST_SOURCE, LoadSocket } from './load-socket.ts';

const TIDS = 65_536;
const NOBODY = -1;
/** A request without an answer for so long is counted lost. */
const LOST_AFTER_MS = 300;
const SCAN_EVERY_MS = 50;
/** What could not be sent in time for longer is not made up for. */
const MAX_DEBT_MS = 20;
/** Answers to requests of the last run pass by unseen. */
const DRAIN_MS = 30;

export interface DhtFlow {
  readonly write: WriteRequest;
  /** Requests outstanding at any time, or ... */
  readonly window?: number;
  /** ... requests per second. */
  readonly rate?: number;
  /** No more than so many in all. */
  readonly most?: number;
  readonly onAnswer?: OnAnswer;
}

export class DhtFlowCount {
  seconds = 0;
  answers = 0;
  /** Of the answers, those with an error number. */
  errors = 0;
  lost = 0;
  bytes = 0;
  sent = 0;
  waiting = 0;
  readonly latencies = new Histogram();
}

export class DhtGenerator {
  readonly #socket: LoadSocket;
  readonly #firstSource: number;
  readonly #sending = Int32Array.from({ length: BATCH }, (_, i) => i);
  readonly #sentAt = new Float64Array(TIDS);
  readonly #flowOf = new Int8Array(TIDS).fill(NOBODY);
  readonly #sourceOf = new Uint16Array(TIDS);
  /** The port that all sources have. */
  readonly port: number;
  /** Whatever came, answer or not, since the socket was opened. */
  readonly received = { datagrams: 0, bytes: 0 };
  /** Sleep a little when there is no answer, rather than poll. */
  napping = false;
  #tid = 0;

  /** `firstSource`: the first of the source addresses, a multiple of 256 * 256. */
  constructor(host: string, port: number, firstSource = FIRST_SOURCE) {
    this.#socket = new LoadSocket(host, port, BATCH);
    this.#firstSource = firstSource;
    this.port = this.#socket.port;
  }

  close(): void {
    this.#socket.close();
  }

  /** Runs for `seconds`, or until the first flow has `limit` answers; the counts of each flow. */
  run(
    flows: readonly DhtFlow[],
    seconds: number,
    limit = Number.POSITIVE_INFINITY,
  ): DhtFlowCount[] {
    this.#flowOf.fill(NOBODY);
    const counts = flows.map(() => new DhtFlowCount());
    const began = performance.now();
    const due = flows.map(() => began);
    const deadline = began + seconds * 1000;
    let lastScan = began;
    let now = began;
    while (now < deadline && counts[0].answers < limit) {
      let moved = 0;
      for (let f = 0; f < flows.length; f++) moved += this.#send(flows[f], f, counts[f], due, now);
      moved += this.#receive(flows, counts);
      if (moved === 0 && this.napping) this.#socket.nap();
      now = performance.now();
      if (now - lastScan < SCAN_EVERY_MS) continue;
      lastScan = now;
      this.#forgetLost(counts, now);
    }
    this.#socket.drain(DRAIN_MS);
    for (const count of counts) count.seconds = (now - began) / 1000;
    return counts;
  }

  /** Sends what a flow owes by now, a batch at most. */
  #send(flow: DhtFlow, f: number, flowCount: DhtFlowCount, due: number[], now: number): number {
    let owed = (flow.window ?? 0) - flowCount.waiting;
    if (flow.rate !== undefined) {
      const everyMs = 1000 / flow.rate;
      due[f] = Math.max(due[f], now - Math.max(MAX_DEBT_MS, everyMs));
      owed = Math.min(BATCH, Math.floor((now - due[f]) / everyMs));
      due[f] += owed * everyMs;
    }
    const left = (flow.most ?? Number.POSITIVE_INFINITY) - flowCount.sent;
    const count = Math.min(BATCH, owed, left);
    if (count <= 0) return 0;
    for (let slot = 0; slot < count; slot++) this.#fill(slot, flow, f, flowCount);
    this.#socket.send(this.#sending, count);
    return count;
  }

  #fill(slot: number, flow: DhtFlow, f: number, count: DhtFlowCount): void {
    const { bytes } = this.#socket;
    const sequence = count.sent++;
    const source = sequence % SOURCES;
    const start = this.#socket.start(slot);
    const length = flow.write(bytes, start, source, sequence);
    this.#socket.address(slot, this.#firstSource + source, length);
    const tid = this.#tid;
    this.#tid = (tid + 1) % TIDS;
    writeU16(bytes, start + 2, tid);
    this.#sentAt[tid] = performance.now();
    this.#flowOf[tid] = f;
    this.#sourceOf[tid] = source;
    count.waiting++;
  }

  #receive(flows: readonly DhtFlow[], counts: DhtFlowCount[]): number {
    const { bytes } = this.#socket;
    const got = this.#socket.receive();
    if (got === 0) return 0;
    const now = performance.now();
    for (let i = 0; i < got; i++) {
      const landed = this.#socket.landed(i);
      const start = this.#socket.start(landed);
      const length = this.#socket.length(landed);
      this.received.datagrams++;
      this.received.bytes += length;
      const tid = readU16(bytes, start + 2);
      const f = this.#flowOf[tid];
      if (bytes[start] !== REPLY_BYTE || f === NOBODY) continue;
      this.#flowOf[tid] = NOBODY;
      const count = counts[f];
      count.waiting--;
      count.answers++;
      count.bytes += length;
      if ((bytes[start + 1] & FLAG_ERROR) !== 0) count.errors++;
      count.latencies.add((now - this.#sentAt[tid]) * 1000);
      flows[f].onAnswer?.(bytes, start, length, this.#sourceOf[tid]);
    }
    return got;
  }

  #forgetLost(counts: DhtFlowCount[], now: number): void {
    for (let tid = 0; tid < TIDS; tid++) {
      const f = this.#flowOf[tid];
      if (f === NOBODY || now - this.#sentAt[tid] < LOST_AFTER_MS) continue;
      this.#flowOf[tid] = NOBODY;
      counts[f].lost++;
      counts[f].waiting--;
    }
  }
}
