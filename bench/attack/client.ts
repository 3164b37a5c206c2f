/**
 * The proven client: 32 hosts of one network with valid tokens that look up their own 64 names and
 * renew their announces. At a fixed rate (an open loop: what is not answered is lost), or with a
 * window always outstanding.
 */
import { TOKEN_TEXT_BYTES } from '../../codecs/dns/constants.ts';
import { BATCH, LoadSocket } from '../load/load-socket.ts';
import type { TokenMaker } from './house.ts';
import { Template } from './messages.ts';
import { CLIENT_PREFIX } from './sources.ts';

export const NAMES = 64;
/** Numbers of names: the client's are FIRST_NAME to FIRST_NAME + NAMES - 1. */
export const FIRST_NAME = 0xc1000000;
const HOSTS = 32;
export const FIRST_PORT = 20_000;
/** One request of so many renews an announce. */
const ANNOUNCE_EVERY = 8;
const SLOT_BITS = 10;
const SLOTS = 1 << SLOT_BITS;
const LOST_AFTER_MS = 1000;
const SCAN_MS = 50;
const SAMPLES = 1 << 20;
const READS_PER_STEP = 4;
/** `peers=`, which follows the token in an answer that names somebody. */
const PEERS = Buffer.from('peers=');

export interface Goodput {
  readonly seconds: number;
  readonly asked: number;
  readonly answered: number;
  /** Lookups whose answer names nobody, though the client has announced. */
  readonly unnamed: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** The host that announces a name, as an IPv4 address. */
export function hostOf(name: number): number {
  return CLIENT_PREFIX + 1 + (name % HOSTS);
}

export class ProvenClient {
  readonly #socket: LoadSocket;
  readonly #maker: TokenMaker;
  readonly #tokens = new Uint8Array(HOSTS * TOKEN_TEXT_BYTES);
  readonly #lookup = new Template('TXT', ['subscribe=true', Template.token]);
  readonly #announce = new Template('TXT', ['subscribe=true', Template.token, Template.announce]);
  readonly #free = new Int32Array(SLOTS);
  #freeCount = 0;
  readonly #generation = new Uint8Array(SLOTS);
  readonly #waiting = new Uint8Array(SLOTS);
  readonly #isLookup = new Uint8Array(SLOTS);
  readonly #sentAt = new Float64Array(SLOTS);
  readonly #latencies = new Float32Array(SAMPLES);
  readonly #batch = new Int32Array(BATCH);
  #sequence = 0;
  #began = 0;
  #nextScan = 0;
  #rate = 0;
  #window = 0;
  #asked = 0;
  #answered = 0;
  #unnamed = 0;

  constructor(host: string, port: number, maker: TokenMaker) {
    this.#socket = new LoadSocket(host, port, SLOTS);
    this.#maker = maker;
  }

  /** Begins a phase: `rate` requests per second, or, with 0, `window` outstanding. */
  begin(nowMs: number, rate: number, window = 0): void {
    for (let host = 0; host < HOSTS; host++) {
      this.#maker.write(CLIENT_PREFIX + 1 + host, this.#tokens, host * TOKEN_TEXT_BYTES);
    }
    this.#rate = rate;
    this.#window = window;
    this.#began = nowMs;
    this.#nextScan = nowMs + SCAN_MS;
    this.#asked = 0;
    this.#answered = 0;
    this.#unnamed = 0;
    this.#waiting.fill(0);
    this.#freeCount = rate > 0 ? SLOTS : window;
    for (let i = 0; i < this.#freeCount; i++) this.#free[i] = i;
  }

  step(nowMs: number): void {
    this.#receive(nowMs);
    if (nowMs >= this.#nextScan) this.#freeLost(nowMs);
    let due = this.#freeCount;
    if (this.#rate > 0) {
      due = Math.floor(((nowMs - this.#began) * this.#rate) / 1000) - this.#asked;
      // Nobody has room for them: asked in vain.
      const vain = Math.max(0, due - this.#freeCount);
      this.#asked += vain;
      due -= vain;
    }
    for (; due > 0; due -= BATCH) this.#send(Math.min(due, BATCH), nowMs);
  }

  /** Ends a phase. Answers that come later count for nobody. */
  end(nowMs: number): Goodput {
    this.#receive(nowMs);
    const kept = this.#latencies.slice(0, Math.min(this.#answered, SAMPLES)).sort();
    const at = (share: number): number => kept[Math.floor(kept.length * share)] ?? Number.NaN;
    return {
      seconds: (nowMs - this.#began) / 1000,
      asked: this.#asked,
      answered: this.#answered,
      unnamed: this.#unnamed,
      p50Us: at(0.5),
      p99Us: at(0.99),
    };
  }

  close(): void {
    this.#socket.close();
  }

  #send(count: number, nowMs: number): void {
    const socket = this.#socket;
    for (let i = 0; i < count; i++) {
      const slot = this.#free[--this.#freeCount];
      this.#batch[i] = slot;
      this.#fill(slot, nowMs);
    }
    this.#asked += count;
    socket.send(this.#batch, count);
  }

  #fill(slot: number, nowMs: number): void {
    const socket = this.#socket;
    const sequence = this.#sequence++;
    const name = Math.floor(sequence / ANNOUNCE_EVERY) % NAMES;
    const isLookup = sequence % ANNOUNCE_EVERY !== 0;
    // Lookups of a name come from any host, an announce from the name's own.
    const host = (isLookup ? sequence : name) % HOSTS;
    const template = isLookup ? this.#lookup : this.#announce;
    const generation = (this.#generation[slot] + 1) & 63;
    const id = (generation << SLOT_BITS) | slot;
    const start = socket.start(slot);
    const length = template.write(socket.bytes, start, id, FIRST_NAME + name);
    template.writeToken(socket.bytes, start, this.#tokens, host * TOKEN_TEXT_BYTES);
    if (!isLookup) template.writePort(socket.bytes, start, FIRST_PORT + name);
    socket.address(slot, CLIENT_PREFIX + 1 + host, length);
    this.#generation[slot] = generation;
    this.#isLookup[slot] = isLookup ? 1 : 0;
    this.#waiting[slot] = 1;
    this.#sentAt[slot] = nowMs;
  }

  #receive(nowMs: number): void {
    const socket = this.#socket;
    for (let round = 0; round < READS_PER_STEP; round++) {
      const got = socket.receive();
      for (let i = 0; i < got; i++) this.#take(socket.landed(i), nowMs);
      if (got < BATCH) return;
    }
  }

  #take(landed: number, nowMs: number): void {
    const { bytes } = this.#socket;
    const start = this.#socket.start(landed);
    const id = (bytes[start] << 8) | bytes[start + 1];
    const slot = id & (SLOTS - 1);
    // A push is a query, not an answer.
    if ((bytes[start + 2] & 0x80) === 0) return;
    if (this.#waiting[slot] === 0 || this.#generation[slot] !== id >> SLOT_BITS) return;
    this.#waiting[slot] = 0;
    this.#free[this.#freeCount++] = slot;
    const isCut = (bytes[start + 2] & 0x02) !== 0;
    if (isCut) return;
    this.#latencies[this.#answered++ & (SAMPLES - 1)] = (nowMs - this.#sentAt[slot]) * 1000;
    if (this.#isLookup[slot] === 1 && !this.#namesSomebody(landed)) this.#unnamed++;
  }

  #namesSomebody(landed: number): boolean {
    const { bytes } = this.#socket;
    const start = this.#socket.start(landed);
    const end = start + this.#socket.length(landed) - PEERS.length;
    for (let at = start; at < end; at++) {
      let i = 0;
      while (i < PEERS.length && bytes[at + i] === PEERS[i]) i++;
      if (i === PEERS.length) return true;
    }
    return false;
  }

  #freeLost(nowMs: number): void {
    this.#nextScan = nowMs + SCAN_MS;
    const slots = this.#rate > 0 ? SLOTS : this.#window;
    for (let slot = 0; slot < slots; slot++) {
      if (this.#waiting[slot] === 0 || nowMs - this.#sentAt[slot] < LOST_AFTER_MS) continue;
      this.#waiting[slot] = 0;
      this.#free[this.#freeCount++] = slot;
    }
  }
}
