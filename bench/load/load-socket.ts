/**
 * One UDP socket of the load: sends from any address of 127.0.0.0/8 by packet info, polls, and
 * never waits.
 *
 *   slots 0 .. requests-1            requests, the caller's to fill
 *   slots requests .. requests+63    answers land here
 */
import { MAPPED_AT } from '../../codecs/mapped-address.ts';
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

export const BATCH = 64;
const BUFFER_BYTES = 8 << 20;
/** Where a load's sources begin: 127.1.0.0. */
export const FIRST_SOURCE = 0x7f_01_00_00;
/** A nap of a load that shares its core: with what the kernel adds, about 0.1 ms. */
const NAP_MS = 0.05;

export class LoadSocket {
  /** Of the slots. */
  readonly bytes: Uint8Array;
  /** The port that all sources have. */
  readonly port: number;
  readonly #slab: Slab;
  readonly #addon: UdpAddon;
  readonly #handle: number;
  readonly #counts = new Uint32Array(COUNTS_LENGTH);
  readonly #landing: Int32Array;
  readonly #nap = new Int32Array(new SharedArrayBuffer(4));

  constructor(host: string, port: number, requests: number) {
    const loaded = loadAddon();
    if (loaded.addon === null) throw new Error(`the load needs the addon: ${loaded.reason}`);
    this.#addon = loaded.addon;
    this.#slab = Slab.allocate(requests + BATCH);
    this.bytes = this.#slab.bytes;
    this.#landing = Int32Array.from({ length: BATCH }, (_, i) => requests + i);
    const any = new Uint8Array(16);
    writeAddress('0.0.0.0', any, 0);
    this.#handle = this.#addon.open(any, 4, 0, 0, 0, BUFFER_BYTES, BUFFER_BYTES, 0);
    this.port = this.#addon.describe(this.#handle, any)[2];
    for (let slot = 0; slot < requests; slot++) {
      const base = slot * SLOT_BYTES;
      this.bytes[base + SLOT_FAMILY] = 4;
      this.bytes[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
      this.#slab.u16[(base + SLOT_PORT) >> 1] = port;
      writeAddress(host, this.bytes, base + SLOT_ADDRESS);
      writeAddress('127.0.0.1', this.bytes, base + SLOT_LOCAL);
    }
  }

  /** Where a slot's message begins in `bytes`. */
  start(slot: number): number {
    return slot * SLOT_BYTES + SLOT_HEADER_BYTES;
  }

  /** The message in a slot is `length` bytes long and comes from the IPv4 address `source`. */
  address(slot: number, source: number, length: number): void {
    const base = slot * SLOT_BYTES;
    this.#slab.i32[(base + SLOT_LENGTH) >> 2] = length;
    const at = base + SLOT_LOCAL + MAPPED_AT;
    for (let i = 0; i < 4; i++) this.bytes[at + i] = source >>> (24 - 8 * i);
  }

  send(slots: Int32Array, count: number): number {
    return this.#addon.send(this.#handle, this.bytes, slots, count, this.#counts);
  }

  /** Receives up to BATCH datagrams; the i-th is in slot `landed(i)`. */
  receive(): number {
    return this.#addon.recv(this.#handle, this.bytes, this.#landing, BATCH, this.#counts);
  }

  landed(i: number): number {
    return this.#landing[i];
  }

  length(slot: number): number {
    return this.#slab.i32[(slot * SLOT_BYTES + SLOT_LENGTH) >> 2];
  }

  /** The IPv4 address a received datagram was sent to. */
  destination(slot: number): number {
    const at = slot * SLOT_BYTES + SLOT_LOCAL + MAPPED_AT;
    const { bytes } = this;
    return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
  }

  /** Lets whatever comes in the next `ms` pass: answers to requests of an earlier run. */
  drain(ms: number): void {
    const until = performance.now() + ms;
    while (performance.now() < until) this.#addon.discard(this.#handle, this.#counts);
  }

  /** Sleeps a little, on a core that others want too. */
  nap(): void {
    Atomics.wait(this.#nap, 0, 0, NAP_MS);
  }

  /** Answers that came and were lost here for want of room. */
  kernelDrops(): number {
    return this.#addon.kernelDrops(this.#handle);
  }

  close(): void {
    this.#addon.close(this.#handle);
  }
}
