/**
 * A closed-loop UDP load generator on the batched addon: a window of requests is always
 * outstanding, each from the next of many source addresses (127.1.0.0 and up, by packet info on one
 * socket). It polls without an event loop, so it wants a core of its own; where it shares one, it
 * can nap when nothing has come.
 *
 *   slots 0 .. window-1          one request each; the id is the slot's number
 *   slots window .. window+63    answers land here
 */

import { BATCH, FIRST_SOURCE, LoadSocket } from './load-socket.ts';

export const WINDOW = 512;
/** A window that no server's receive buffer is too small for: nothing is lost. */
export const GENTLE_WINDOW = 64;
export const SOURCES = 4096;
/** A request without an answer for so long is counted lost and its slot used again. */
const LOST_AFTER_MS = 300;
/** Answers to requests of the last run pass by unseen. */
const DRAIN_MS = 30;
/** Latencies kept for the percentiles, spread over the run. */
const SAMPLES = 1 << 20;

/**
 * Writes request number `sequence` of the run from `source` at bytes[start..]; returns its length.
 */
export type WriteRequest = (
  bytes: Uint8Array,
  start: number,
  source: number,
  sequence: number,
) => number;

export interface LoadResult {
  readonly seconds: number;
  readonly answers: number;
  readonly lost: number;
  readonly bytes: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** Called for each answer: its bytes and the source whose request it answers. */
export type OnAnswer = (bytes: Uint8Array, start: number, length: number, source: number) => void;

export class Generator {
  readonly #socket: LoadSocket;
  readonly #sentAt = new Float64Array(WINDOW);
  readonly #source = new Int32Array(WINDOW);
  readonly #waiting = new Uint8Array(WINDOW);
  readonly #latencies = new Float32Array(SAMPLES);
  /** Sleep a little when there is no answer, rather than poll. */
  napping = false;
  #latencyCount = 0;
  #next = 0;
  #sequence = 0;

  constructor(host: string, port: number) {
    this.#socket = new LoadSocket(host, port, WINDOW);
  }

  close(): void {
    this.#socket.close();
  }

  /**
   * Runs for `seconds`, or until `limit` answers, with `window` requests outstanding. Every source
   * takes its turn.
   */
  run(
    write: WriteRequest,
    seconds: number,
    limit = Number.POSITIVE_INFINITY,
    onAnswer?: OnAnswer,
    window = WINDOW,
  ): LoadResult {
    this.#latencyCount = 0;
    this.#waiting.fill(0);
    this.#next = 0;
    this.#sequence = 0;
    const began = performance.now();
    const deadline = began + seconds * 1000;
    const fresh = new Int32Array(BATCH);
    const result = { answers: 0, lost: 0, bytes: 0 };
    let now = began;
    let lastScan = began;
    let started = 0;
    while (now < deadline && result.answers < limit) {
      let sending = 0;
      while (started < window && sending < BATCH) fresh[sending++] = started++;
      if (sending > 0) this.#send(fresh, sending, write, now);
      const got = this.#socket.receive();
      now = performance.now();
      let freed = 0;
      for (let i = 0; i < got; i++) {
        const slot = this.#take(this.#socket.landed(i), now, result, onAnswer);
        if (slot >= 0) fresh[freed++] = slot;
      }
      if (freed > 0) this.#send(fresh, freed, write, now);
      if (got === 0 && this.napping) this.#socket.nap();
      if (now - lastScan > 50) {
        lastScan = now;
        result.lost += this.#resendLost(write, now);
      }
    }
    this.#socket.drain(DRAIN_MS);
    return this.#result(result, (now - began) / 1000);
  }

  #send(slots: Int32Array, count: number, write: WriteRequest, now: number): number {
    for (let i = 0; i < count; i++) this.#fill(slots[i], write, now);
    return this.#socket.send(slots, count);
  }

  #fill(slot: number, write: WriteRequest, now: number): void {
    const { bytes } = this.#socket;
    const source = this.#next;
    this.#next = source + 1 === SOURCES ? 0 : source + 1;
    const start = this.#socket.start(slot);
    const length = write(bytes, start, source, this.#sequence++);
    this.#socket.address(slot, FIRST_SOURCE + source, length);
    const id = slot + 1;
    bytes[start] = id >> 8;
    bytes[start + 1] = id;
    this.#sentAt[slot] = now;
    this.#source[slot] = source;
    this.#waiting[slot] = 1;
  }

  /** Counts the answer in a landing slot; the request slot that is free again, or -1. */
  #take(
    landed: number,
    now: number,
    result: { answers: number; bytes: number },
    onAnswer: OnAnswer | undefined,
  ): number {
    const { bytes } = this.#socket;
    const start = this.#socket.start(landed);
    const slot = ((bytes[start] << 8) | bytes[start + 1]) - 1;
    if (slot < 0 || slot >= WINDOW || this.#waiting[slot] === 0) return -1;
    if ((bytes[start + 2] & 0x80) === 0) return -1;
    this.#waiting[slot] = 0;
    const length = this.#socket.length(landed);
    result.answers++;
    result.bytes += length;
    this.#latencies[this.#latencyCount++ & (SAMPLES - 1)] = (now - this.#sentAt[slot]) * 1000;
    onAnswer?.(bytes, start, length, this.#source[slot]);
    return slot;
  }

  #resendLost(write: WriteRequest, now: number): number {
    let lost = 0;
    const one = new Int32Array(1);
    for (let slot = 0; slot < WINDOW; slot++) {
      if (this.#waiting[slot] === 0 || now - this.#sentAt[slot] < LOST_AFTER_MS) continue;
      lost++;
      one[0] = slot;
      this.#send(one, 1, write, now);
    }
    return lost;
  }

  #result(sums: { answers: number; lost: number; bytes: number }, seconds: number): LoadResult {
    const kept = this.#latencies.subarray(0, Math.min(this.#latencyCount, SAMPLES)).slice().sort();
    const at = (share: number): number => kept[Math.floor(kept.length * share)] ?? 0;
    return { ...sums, seconds, p50Us: at(0.5), p99Us: at(0.99) };
  }
}
