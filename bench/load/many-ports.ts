/** Probes from many source ports, for what is dispatched by port: a few in flight on each. */
import { performance } from 'node:perf_hooks';
import { writeAddress } from '../../server/net/ip-address.ts';
import { COUNTS_LENGTH, loadAddon, type UdpAddon } from '../../server/net/native/addon.ts';
import {
  SLOT_ADDRESS,
  SLOT_BYTES,
  SLOT_FAMILY,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_UDP,
} from '../../workers/slab.ts';
import type { WriteRequest } from './generator.ts';

const PER_PORT = 2;
const SOCKET_BUFFER_BYTES = 64 << 10;
/** A port whose answers do not come asks again after so long. */
const PATIENCE_MS = 100;

export class ManyPorts {
  readonly #addon: UdpAddon;
  readonly #handles: readonly number[];
  readonly #slab = Slab.allocate(PER_PORT);
  readonly #slots = Int32Array.from({ length: PER_PORT }, (_, i) => i);
  readonly #counts = new Uint32Array(COUNTS_LENGTH);

  /** `ports` sockets on ports that the kernel chooses. */
  constructor(host: string, port: number, ports: number) {
    const loaded = loadAddon();
    if (loaded.addon === null)
      throw new Error(`the load generator needs the addon: ${loaded.reason}`);
    const { addon } = loaded;
    const local = new Uint8Array(16);
    writeAddress('127.0.0.1', local, 0);
    this.#addon = addon;
    this.#handles = Array.from({ length: ports }, () =>
      addon.open(local, 4, 0, 0, 0, SOCKET_BUFFER_BYTES, SOCKET_BUFFER_BYTES, 0),
    );
    const { bytes, u16 } = this.#slab;
    for (let slot = 0; slot < PER_PORT; slot++) {
      const base = slot * SLOT_BYTES;
      bytes[base + SLOT_FAMILY] = 4;
      bytes[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
      u16[(base + SLOT_PORT) >> 1] = port;
      writeAddress(host, bytes, base + SLOT_ADDRESS);
    }
  }

  /** Asks until each port has `perPort` answers. */
  run(write: WriteRequest, perPort: number): void {
    const ports = this.#handles.length;
    const waiting = new Int32Array(ports);
    const answers = new Int32Array(ports);
    const askedAt = new Float64Array(ports);
    for (let left = ports; left > 0; ) {
      const now = performance.now();
      for (let i = 0; i < ports; i++) {
        if (answers[i] >= perPort) continue;
        const got = this.#addon.discard(this.#handles[i], this.#counts);
        waiting[i] -= got;
        answers[i] += got;
        if (answers[i] >= perPort) left--;
        else if (waiting[i] <= 0 || now - askedAt[i] > PATIENCE_MS) {
          waiting[i] = PER_PORT;
          askedAt[i] = now;
          this.#ask(this.#handles[i], write, answers[i]);
        }
      }
    }
  }

  close(): void {
    for (const handle of this.#handles) this.#addon.close(handle);
  }

  #ask(handle: number, write: WriteRequest, sequence: number): void {
    const { bytes, i32 } = this.#slab;
    for (let slot = 0; slot < PER_PORT; slot++) {
      const base = slot * SLOT_BYTES;
      i32[(base + SLOT_LENGTH) >> 2] = write(bytes, base + SLOT_HEADER_BYTES, 0, sequence + slot);
    }
    this.#addon.send(handle, bytes, this.#slots, PER_PORT, this.#counts);
  }
}
