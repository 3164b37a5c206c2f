/**
 * What happened, as a running hash: two runs are the same when their traces are. A datagram goes in
 * with its time, its two ends and all its bytes, and so does what is found by looking.
 *
 * The hash after every 4,096 records is kept, which tells where two runs part; the records
 * themselves only on request (SIM_TRACE).
 */
import { u32ToHost } from '../../codecs/dht/address.ts';

/** What becomes of a datagram, and notes that are not about one. */
export const RECORD = {
  sent: 1,
  delivered: 2,
  lost: 3,
  duplicated: 4,
  filtered: 5,
  parted: 6,
  unreachable: 7,
  note: 8,
} as const;

const NAMES = Object.fromEntries(Object.entries(RECORD).map(([name, code]) => [code, name]));
const RECORDS_PER_MARK = 4096;
const NO_BYTES = new Uint8Array(0);

export class Trace {
  /** The hash after each 4,096 records. */
  readonly marks: string[] = [];
  /** What `keep` wants, in words. */
  readonly lines: string[] = [];
  readonly counts = new Float64Array(Object.keys(RECORD).length + 1);
  readonly #keep: boolean;
  #a = 0x9e37_79b9;
  #b = 0x85eb_ca6b;
  #records = 0;

  /** `keep`: also in words, for reading; a line per record. */
  constructor(keep = false) {
    this.#keep = keep;
  }

  get records(): number {
    return this.#records;
  }

  /** 64 bits in hexadecimal: equal for equal runs. */
  get digest(): string {
    return hex(this.#a ^ this.#records) + hex(this.#b);
  }

  datagram(
    kind: number,
    atUs: number,
    from: number,
    fromPort: number,
    to: number,
    toPort: number,
    bytes: Uint8Array = NO_BYTES,
  ): void {
    this.#mix(kind);
    this.#mixTime(atUs);
    this.#mix(from);
    this.#mix(to);
    this.#mix((fromPort << 16) | toPort);
    this.#mixBytes(bytes);
    this.#count(kind);
    if (this.#keep) {
      const about = `${u32ToHost(from)}:${fromPort} > ${u32ToHost(to)}:${toPort}`;
      this.#line(atUs, kind, `${about} ${Buffer.from(bytes).toString('hex')}`);
    }
  }

  /** Something that is not a datagram: a node that crashed, what a lookup found. */
  note(atUs: number, text: string): void {
    this.#mix(RECORD.note);
    this.#mixTime(atUs);
    this.#mixBytes(Buffer.from(text));
    this.#count(RECORD.note);
    if (this.#keep) this.#line(atUs, RECORD.note, text);
  }

  #count(kind: number): void {
    this.counts[kind]++;
    if (++this.#records % RECORDS_PER_MARK === 0) this.marks.push(this.digest);
  }

  #line(atUs: number, kind: number, about: string): void {
    this.lines.push(`${(atUs / 1000).toFixed(3).padStart(13)} ${NAMES[kind]} ${about}`);
  }

  #mixTime(atUs: number): void {
    this.#mix(atUs | 0);
    this.#mix(Math.floor(atUs / 0x1_0000_0000));
  }

  #mixBytes(bytes: Uint8Array): void {
    const whole = bytes.length & ~3;
    for (let at = 0; at < whole; at += 4) {
      this.#mix(bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24));
    }
    let rest = bytes.length;
    for (let at = whole; at < bytes.length; at++) rest = (rest << 8) | bytes[at];
    this.#mix(rest);
  }

  /** Two rounds of multiplying and turning, one per half, each fed by the other. */
  #mix(word: number): void {
    const a = Math.imul(this.#a ^ word, 0xcc9e_2d51);
    this.#a = (a << 15) | (a >>> 17);
    const b = Math.imul(this.#b + this.#a, 0x1b87_3593);
    this.#b = (b << 13) | (b >>> 19);
  }
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}
