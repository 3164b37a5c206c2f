/**
 * A closed-loop UDP load generator on the batched addon: a window of requests is always
 * outstanding, each from the next of many source addresses (127.1.0.0 and up, by packet info on one
 * socket). It polls without an event loop, so it wants a core of its own; where it shares one, it
 * can nap when nothing has come.
 *
 *   slots 0 .. window-1          one request each; the id is the slot's number
 *   slots window .. window+63    answers land here
 */

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

export const WINDOW = 512;
/** A window that no server's receive buffer is too small for: nothing is lost. */
export const GENTLE_WINDOW = 64;
export const SOURCES = 4096;
const BATCH = 64;
/** A nap of a generator that shares its core: with what the kernel adds, about 0.1 ms. */
const NAP_MS = 0.05;
/** A request without an answer for so long is counted lost and its slot used again. */
const LOST_AFTER_MS = 300;
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
  readonly #addon: UdpAddon;
  readonly #handle: number;
  readonly #slab = Slab.allocate(WINDOW + BATCH);
  readonly #counts = new Uint32Array(COUNTS_LENGTH);
  readonly #sentAt = new Float64Array(WINDOW);
  readonly #source = new Int32Array(WINDOW);
  readonly #waiting = new Uint8Array(WINDOW);
  readonly #latencies = new Float32Array(SAMPLES);
  readonly #napping = new Int32Array(new SharedArrayBuffer(4));
  /** Sleep a little when there is no answer, rather than poll. */
  napping = false;
  #latencyCount = 0;
  #next = 0;
  #sequence = 0;

  constructor(host: string, port: number) {
    const loaded = loadAddon();
    if (loaded.addon === null)
      throw new Error(`the load generator needs the addon: ${loaded.reason}`);
    this.#addon = loaded.addon;
    const address = new Uint8Array(16);
    writeAddress('0.0.0.0', address, 0);
    this.#handle = this.#addon.open(address, 4, 0, 0, 0, 8 << 20, 8 << 20, 0);
    for (let slot = 0; slot < WINDOW; slot++) {
      const base = slot * SLOT_BYTES;
      this.#slab.bytes[base + SLOT_FAMILY] = 4;
      this.#slab.bytes[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
      this.#slab.u16[(base + SLOT_PORT) >> 1] = port;
      writeAddress(host, this.#slab.bytes, base + SLOT_ADDRESS);
      writeAddress('127.1.0.0', this.#slab.bytes, base + SLOT_LOCAL);
    }
  }

  close(): void {
    this.#addon.close(this.#handle);
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
    const landing = Int32Array.from({ length: BATCH }, (_, i) => WINDOW + i);
    const result = { answers: 0, lost: 0, bytes: 0 };
    let now = began;
    let lastScan = began;
    let started = 0;
    while (now < deadline && result.answers < limit) {
      let sending = 0;
      while (started < window && sending < BATCH) fresh[sending++] = started++;
      if (sending > 0) this.#send(fresh, sending, write, now);
      const got = this.#addon.recv(this.#handle, this.#slab.bytes, landing, BATCH, this.#counts);
      now = performance.now();
      let freed = 0;
      for (let i = 0; i < got; i++) {
        const slot = this.#take(landing[i], now, result, onAnswer);
        if (slot >= 0) fresh[freed++] = slot;
      }
      if (freed > 0) this.#send(fresh, freed, write, now);
      if (got === 0 && this.napping) Atomics.wait(this.#napping, 0, 0, NAP_MS);
      if (now - lastScan > 50) {
        lastScan = now;
        result.lost += this.#resendLost(write, now);
      }
    }
    this.#drain();
    return this.#result(result, (now - began) / 1000);
  }

  #send(slots: Int32Array, count: number, write: WriteRequest, now: number): number {
    for (let i = 0; i < count; i++) this.#fill(slots[i], write, now);
    return this.#addon.send(this.#handle, this.#slab.bytes, slots, count, this.#counts);
  }

  #fill(slot: number, write: WriteRequest, now: number): void {
    const { bytes, i32 } = this.#slab;
    const base = slot * SLOT_BYTES;
    const source = this.#next;
    this.#next = source + 1 === SOURCES ? 0 : source + 1;
    bytes[base + SLOT_LOCAL + 14] = source >> 8;
    bytes[base + SLOT_LOCAL + 15] = source;
    const start = base + SLOT_HEADER_BYTES;
    i32[(base + SLOT_LENGTH) >> 2] = write(bytes, start, source, this.#sequence++);
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
    const { bytes, i32 } = this.#slab;
    const start = landed * SLOT_BYTES + SLOT_HEADER_BYTES;
    const slot = ((bytes[start] << 8) | bytes[start + 1]) - 1;
    if (slot < 0 || slot >= WINDOW || this.#waiting[slot] === 0) return -1;
    if ((bytes[start + 2] & 0x80) === 0) return -1;
    this.#waiting[slot] = 0;
    const length = i32[(landed * SLOT_BYTES + SLOT_LENGTH) >> 2];
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

  /** Lets late answers of this run pass, so that the next one does not count them. */
  #drain(): void {
    const until = performance.now() + 30;
    while (performance.now() < until) this.#addon.discard(this.#handle, this.#counts);
  }

  #result(sums: { answers: number; lost: number; bytes: number }, seconds: number): LoadResult {
    const kept = this.#latencies.subarray(0, Math.min(this.#latencyCount, SAMPLES)).slice().sort();
    const at = (share: number): number => kept[Math.floor(kept.length * share)] ?? 0;
    return { ...sums, seconds, p50Us: at(0.5), p99Us: at(0.99) };
  }
}
