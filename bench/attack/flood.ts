/** A UDP attack: a steady rate of datagrams from many addresses, and what comes back. */

import { BATCH, LoadSocket } from '../load/load-socket.ts';
import { type Amplification, AmplificationMeter } from './amplification.ts';
import type { Write } from './messages.ts';
import type { Sources } from './sources.ts';

/** What is late by more than this is not made up for: the rate is what was offered. */
const LATE_DATAGRAMS = 4 * BATCH;
/** Batches of answers read in one step, so that the proven client has its turn. */
const READS_PER_STEP = 4;

export interface AttackResult {
  /** Datagrams, or connections. */
  readonly units: number;
  readonly amplification: Amplification | null;
  /** Answers that the load's own socket had no room for. */
  readonly missed: number;
}

/** Something that is driven by steps and goes on until it is stopped. */
export interface RunningAttack {
  step(nowMs: number): void;
  /** Takes answers without asking for more. */
  drain(nowMs: number): void;
  result(): AttackResult;
  stop(): void;
}

export class Flood implements RunningAttack {
  readonly #socket: LoadSocket;
  readonly #rate: number;
  readonly #sources: Sources;
  readonly #write: Write;
  readonly #meter = new AmplificationMeter();
  /** Lengths of the last questions, by id. */
  readonly #asked = new Uint16Array(65_536);
  readonly #slots = Int32Array.from({ length: BATCH }, (_, i) => i);
  #began = Number.NaN;
  #count = 0;
  #skipped = 0;

  /** `rate`: datagrams per second. */
  constructor(host: string, port: number, rate: number, sources: Sources, write: Write) {
    this.#socket = new LoadSocket(host, port, BATCH);
    this.#rate = rate;
    this.#sources = sources;
    this.#write = write;
  }

  step(nowMs: number): void {
    if (Number.isNaN(this.#began)) this.#began = nowMs;
    let due = Math.floor(((nowMs - this.#began) * this.#rate) / 1000) - this.#count - this.#skipped;
    if (due > LATE_DATAGRAMS) {
      this.#skipped += due - LATE_DATAGRAMS;
      due = LATE_DATAGRAMS;
    }
    for (; due > 0; due -= BATCH) this.#send(Math.min(due, BATCH));
    this.#receive(nowMs);
  }

  result(): AttackResult {
    const amplification = this.#meter.result();
    return { units: this.#count, amplification, missed: this.#socket.kernelDrops() };
  }

  drain(nowMs: number): void {
    this.#receive(nowMs);
  }

  stop(): void {
    this.#socket.close();
  }

  #send(count: number): void {
    const socket = this.#socket;
    for (let i = 0; i < count; i++) {
      const n = this.#count++;
      const source = this.#sources(n);
      const start = socket.start(i);
      const length = this.#write(socket.bytes, start, n, source);
      const id = n & 0xffff;
      socket.bytes[start] = id >> 8;
      socket.bytes[start + 1] = id;
      this.#asked[id] = length;
      socket.address(i, source, length);
      this.#meter.sent(source, length);
    }
    socket.send(this.#slots, count);
  }

  #receive(nowMs: number): void {
    const socket = this.#socket;
    for (let round = 0; round < READS_PER_STEP; round++) {
      const got = socket.receive();
      for (let i = 0; i < got; i++) {
        const slot = socket.landed(i);
        const start = socket.start(slot);
        const asked = this.#asked[(socket.bytes[start] << 8) | socket.bytes[start + 1]];
        this.#meter.received(socket.destination(slot), socket.length(slot), asked, nowMs);
      }
      if (got < BATCH) return;
    }
  }
}
