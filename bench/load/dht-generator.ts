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
import { writeAddress } from '../../server/net/ip-address.ts';
import { COUNTS_LENGTH, loadAddon, type UdpAddon } from '../../server/net/native/addon.ts';
import {
  SLOT_ADDRESS,
  SLOT_BYTES,
  SLOT_FAMILY,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_LOCAL,
  SLOT_PORT,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_UDP,
} from '../../workers/slab.ts';
import { type OnAnswer, SOURCES, type WriteRequest } from './generator.ts';
import { Histogram } from './histogram.ts';

const BATCH = 64;
const TIDS = 65_536;
const NOBODY = -1;
/** A nap of a generator that shares its core: with what the kernel adds, about 0.1 ms. */
const NAP_MS = 0.05;
/** A request without an answer for so long is counted lost. */
const LOST_AFTER_MS = 300;
const SCAN_EVERY_MS = 50;
/** What could not be sent in time for longer is not made up for. */
const MAX_DEBT_MS = 20;
/** Answers to requests of the last run pass by unseen. */
const DRAIN_MS = 30;
const SOCKET_BUFFER_BYTES = 8 << 20;

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
  readonly #addon: UdpAddon;
  readonly #handle: number;
  readonly #slab = Slab.allocate(2 * BATCH);
  readonly #counts = new Uint32Array(COUNTS_LENGTH);
  readonly #sending = Int32Array.from({ length: BATCH }, (_, i) => i);
  readonly #landing = Int32Array.from({ length: BATCH }, (_, i) => BATCH + i);
  readonly #sentAt = new Float64Array(TIDS);
  readonly #flowOf = new Int8Array(TIDS).fill(NOBODY);
  readonly #sourceOf = new Uint16Array(TIDS);
  readonly #nap = new Int32Array(new SharedArrayBuffer(4));
  /** The port that all sources have. */
  readonly port: number;
  /** Whatever came, answer or not, since the socket was opened. */
  readonly received = { datagrams: 0, bytes: 0 };
  /** Sleep a little when there is no answer, rather than poll. */
  napping = false;
  #tid = 0;

  /** `firstSource`: the first of the source addresses, a multiple of 256 * 256. */
  constructor(host: string, port: number, firstSource = '127.1.0.0') {
    const loaded = loadAddon();
    if (loaded.addon === null) {
      throw new Error(`the load generator needs the addon: ${loaded.reason}`);
    }
    this.#addon = loaded.addon;
    const any = new Uint8Array(16);
    writeAddress('0.0.0.0', any, 0);
    const size = SOCKET_BUFFER_BYTES;
    this.#handle = this.#addon.open(any, 4, 0, 0, 0, size, size, 0);
    this.port = this.#addon.describe(this.#handle, any)[2];
    const { bytes, u16 } = this.#slab;
    for (let slot = 0; slot < BATCH; slot++) {
      const base = slot * SLOT_BYTES;
      bytes[base + SLOT_FAMILY] = 4;
      bytes[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
      u16[(base + SLOT_PORT) >> 1] = port;
      writeAddress(host, bytes, base + SLOT_ADDRESS);
      writeAddress(firstSource, bytes, base + SLOT_LOCAL);
    }
  }

  close(): void {
    this.#addon.close(this.#handle);
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
      if (moved === 0 && this.napping) Atomics.wait(this.#nap, 0, 0, NAP_MS);
      now = performance.now();
      if (now - lastScan < SCAN_EVERY_MS) continue;
      lastScan = now;
      this.#forgetLost(counts, now);
    }
    this.#drain();
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
    this.#addon.send(this.#handle, this.#slab.bytes, this.#sending, count, this.#counts);
    return count;
  }

  #fill(slot: number, flow: DhtFlow, f: number, count: DhtFlowCount): void {
    const { bytes, i32 } = this.#slab;
    const base = slot * SLOT_BYTES;
    const sequence = count.sent++;
    const source = sequence % SOURCES;
    bytes[base + SLOT_LOCAL + 14] = source >> 8;
    bytes[base + SLOT_LOCAL + 15] = source;
    const start = base + SLOT_HEADER_BYTES;
    i32[(base + SLOT_LENGTH) >> 2] = flow.write(bytes, start, source, sequence);
    const tid = this.#tid;
    this.#tid = (tid + 1) % TIDS;
    writeU16(bytes, start + 2, tid);
    this.#sentAt[tid] = performance.now();
    this.#flowOf[tid] = f;
    this.#sourceOf[tid] = source;
    count.waiting++;
  }

  #receive(flows: readonly DhtFlow[], counts: DhtFlowCount[]): number {
    const { bytes, i32 } = this.#slab;
    const landing = this.#landing;
    const got = this.#addon.recv(this.#handle, bytes, landing, BATCH, this.#counts);
    if (got === 0) return 0;
    const now = performance.now();
    for (let i = 0; i < got; i++) {
      const base = landing[i] * SLOT_BYTES;
      const start = base + SLOT_HEADER_BYTES;
      const length = i32[(base + SLOT_LENGTH) >> 2];
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

  #drain(): void {
    const until = performance.now() + DRAIN_MS;
    while (performance.now() < until) this.#addon.discard(this.#handle, this.#counts);
  }
}
