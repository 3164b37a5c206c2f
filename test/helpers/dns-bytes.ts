/** Arenas with canaries, a seeded generator and mutations, for tests of the DNS codec. */
import { readFileSync } from 'node:fs';

/** One recorded datagram of test/vectors/dns-discovery.json. */
export interface Vector {
  name: string;
  transport: string;
  direction: string;
  hex: string;
  decoded: {
    id: number;
    type: string;
    flags: number;
    questions: { name: string; type: string }[];
    answers: VectorRecord[];
    additionals: VectorRecord[];
    undecodable?: string;
  };
}

export interface VectorRecord {
  name: string;
  type: string;
  ttl: number;
  data: unknown;
}

export function loadVectors(): Vector[] {
  const url = new URL('../vectors/dns-discovery.json', import.meta.url);
  return JSON.parse(readFileSync(url, 'utf8'));
}

export function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
}

/** Room before and behind a message in an arena. */
export const ARENA_START = 1024;
export const ARENA_BYTES = 8192;

/**
 * A buffer of one value with a message in its middle. What is written outside shows as a changed
 * canary; what is read outside shows as a different result under another canary.
 */
export class Arena {
  readonly bytes = new Uint8Array(new SharedArrayBuffer(ARENA_BYTES));
  readonly start = ARENA_START;
  readonly canary: number;

  constructor(canary: number) {
    this.canary = canary;
    this.bytes.fill(canary);
  }

  /** Puts `message` in the middle, the rest is canary again. Returns its length. */
  load(message: Uint8Array): number {
    this.bytes.fill(this.canary);
    this.bytes.set(message, ARENA_START);
    return message.length;
  }

  message(length: number): Uint8Array {
    return this.bytes.slice(ARENA_START, ARENA_START + length);
  }

  /**
   * The first offset relative to start, outside [0, length), that is no canary; undefined when
   * intact.
   */
  damage(length: number): number | undefined {
    for (let i = 0; i < ARENA_BYTES; i++) {
      if (i === ARENA_START) i += length;
      if (i < ARENA_BYTES && this.bytes[i] !== this.canary) return i - ARENA_START;
    }
    return undefined;
  }
}

/** How many mutations a fuzz test makes: FUZZ_MUTATIONS for the long runs. */
export const FUZZ_MUTATIONS = Number(process.env.FUZZ_MUTATIONS ?? 200_000);
export const FUZZ_SEED = Number(process.env.FUZZ_SEED ?? 20_240_607) >>> 0;

/** mulberry32. */
export class Rng {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  below(bound: number): number {
    return this.next() % bound;
  }
}

/**
 * Bytes where DNS parsers break: lengths at the limits, pointers, counts, letters at the folding's
 * edges.
 */
const INTERESTING = [0, 1, 2, 11, 12, 16, 33, 41, 0x3f, 0x40, 0x41, 0x5a, 0x5b, 0x61, 0x7f, 0x80];
INTERESTING.push(0xbf, 0xc0, 0xc1, 0xfe, 0xff);

/** A copy of `source` with 1 to 4 random changes. */
export function mutate(source: Uint8Array, rng: Rng): Uint8Array {
  let bytes = Uint8Array.from(source);
  const changes = 1 + rng.below(4);
  for (let i = 0; i < changes; i++) bytes = change(bytes, rng);
  return bytes;
}

function change(bytes: Uint8Array<ArrayBuffer>, rng: Rng): Uint8Array<ArrayBuffer> {
  const length = bytes.length;
  if (length === 0) return Uint8Array.of(rng.below(256));
  const at = rng.below(length);
  switch (rng.below(8)) {
    case 0:
      bytes[at] ^= 1 << rng.below(8);
      return bytes;
    case 1:
      bytes[at] = rng.below(256);
      return bytes;
    case 2:
      bytes[at] = INTERESTING[rng.below(INTERESTING.length)];
      return bytes;
    case 3:
      return bytes.slice(0, at);
    case 4: {
      const longer = new Uint8Array(Math.min(length + 1 + rng.below(64), 1500));
      longer.set(bytes.subarray(0, longer.length));
      for (let i = length; i < longer.length; i++) longer[i] = rng.below(256);
      return longer;
    }
    case 5:
      bytes.copyWithin(at, rng.below(length), rng.below(length + 1));
      return bytes;
    case 6:
      bytes[Math.min(length - 1, 5 + 2 * rng.below(4))] = rng.below(20);
      return bytes;
    default:
      bytes[at] = 0xc0;
      if (at + 1 < length) bytes[at + 1] = rng.below(Math.min(length, 256));
      return bytes;
  }
}
