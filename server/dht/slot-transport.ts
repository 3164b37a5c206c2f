/**
 * Carries the control plane's datagrams: into main's own slots, and out by the node's sockets at
 * the end of the turn, many with one system call.
 */

import { hostToU32, type NodeAddress } from '../../codecs/dht/address.ts';
import { V4_MAPPED } from '../../codecs/mapped-address.ts';
import { COUNTER, type CounterRow } from '../../workers/counters.ts';
import {
  SLOT_ADDRESS,
  SLOT_BUDGET,
  SLOT_BYTES,
  SLOT_DATA_BYTES,
  SLOT_FAMILY,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_RECEIVER,
  SLOT_TRANSPORT,
  type Slab,
  TRANSPORT_UDP,
} from '../../workers/slab.ts';
import type { UdpSocket } from '../net/udp-socket.ts';
import type { DhtTransport, SocketKind } from './types.ts';

export interface SlotTransportParts {
  readonly slab: Slab;
  /** The slots to send from: `slotCount` from `firstSlot` on, nobody else's. */
  readonly firstSlot: number;
  readonly slotCount: number;
  readonly counters: CounterRow;
  readonly server: UdpSocket;
  readonly client: UdpSocket;
}

export class SlotTransport implements DhtTransport {
  readonly #parts: SlotTransportParts;
  readonly #waiting: Int32Array;
  readonly #run: Int32Array;
  #count = 0;

  constructor(parts: SlotTransportParts) {
    this.#parts = parts;
    this.#waiting = new Int32Array(parts.slotCount);
    this.#run = new Int32Array(parts.slotCount);
  }

  get serverPort(): number {
    return this.#parts.server.port;
  }

  /** @throws RangeError when the datagram is longer than any that is sent, or nobody's host. */
  send(from: SocketKind, datagram: Uint8Array, to: NodeAddress): void {
    const { slab, counters, firstSlot, slotCount, server, client } = this.#parts;
    const host = hostToU32(to.host);
    if (datagram.length > SLOT_DATA_BYTES || host < 0) {
      const what = host < 0 ? `host ${to.host}` : `${datagram.length} bytes`;
      throw new RangeError(`${what}: expected IPv4 and at most ${SLOT_DATA_BYTES} bytes`);
    }
    if (this.#count === 0) queueMicrotask(() => this.flush());
    else if (this.#count === slotCount) this.flush();
    const slot = firstSlot + this.#count;
    const base = slot * SLOT_BYTES;
    slab.bytes.fill(0, base, base + SLOT_HEADER_BYTES);
    slab.i32[(base + SLOT_LENGTH) >> 2] = datagram.length;
    slab.bytes[base + SLOT_FAMILY] = 4;
    slab.bytes[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
    slab.u16[(base + SLOT_PORT) >> 1] = to.port;
    slab.i32[(base + SLOT_ADDRESS + 8) >> 2] = V4_MAPPED;
    slab.view.setUint32(base + SLOT_ADDRESS + 12, host);
    slab.i32[(base + SLOT_BUDGET) >> 2] = SLOT_DATA_BYTES;
    slab.u16[(base + SLOT_RECEIVER) >> 1] = (from === 'server' ? server : client).receiver;
    slab.bytes.set(datagram, base + SLOT_HEADER_BYTES);
    counters[COUNTER.originated]++;
    this.#waiting[this.#count++] = slot;
  }

  /** Sends what waits. */
  flush(): void {
    const { server, client } = this.#parts;
    const count = this.#count;
    this.#count = 0;
    for (const socket of [server, client]) {
      const run = this.#select(count, socket.receiver);
      if (run > 0) socket.send(this.#run, run);
    }
  }

  /** Puts those of waiting[0..count) that leave by `receiver` into the run. */
  #select(count: number, receiver: number): number {
    const { u16 } = this.#parts.slab;
    let run = 0;
    for (let i = 0; i < count; i++) {
      const slot = this.#waiting[i];
      if (u16[(slot * SLOT_BYTES + SLOT_RECEIVER) >> 1] === receiver) this.#run[run++] = slot;
    }
    return run;
  }
}
