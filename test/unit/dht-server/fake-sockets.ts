/** The two sockets of a node, which remember what is sent by them. */
import { u32ToHost } from '../../../codecs/dht/address.ts';
import type { DhtSockets } from '../../../server/listeners.ts';
import type { UdpSocket } from '../../../server/net/udp-socket.ts';
import { COUNTER, type CounterRow } from '../../../workers/counters.ts';
import {
  SLOT_ADDRESS,
  SLOT_BYTES,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_RECEIVER,
  type Slab,
} from '../../../workers/slab.ts';

export interface SentDatagram {
  readonly by: 'server' | 'client';
  /** What its slot says that it is sent by. */
  readonly receiver: number;
  readonly slot: number;
  readonly header: Uint8Array;
  readonly datagram: Uint8Array;
  readonly to: string;
}

export interface FakeSockets extends DhtSockets {
  readonly sent: SentDatagram[];
  /** Of each call of `send`: by whom, and how many. */
  readonly calls: [by: string, count: number][];
}

export function fakeSockets(slab: Slab, counters: CounterRow): FakeSockets {
  const sent: SentDatagram[] = [];
  const calls: [string, number][] = [];
  const socket = (by: 'server' | 'client', receiver: number): UdpSocket => ({
    ...{ receiver, mayDrop: true, backend: 'dgram', address: '127.0.0.1', family: 4, fd: -1 },
    ...{ port: 4000 + receiver, receiveBufferBytes: 0, freeSlots: 0 },
    start: () => undefined,
    stop: () => undefined,
    release: () => undefined,
    close: async () => undefined,
    send(slots, count) {
      calls.push([by, count]);
      for (let i = 0; i < count; i++) sent.push(copyOf(slab, slots[i], by));
      counters[COUNTER.sent] += count;
      return count;
    },
  });
  return { server: socket('server', 0), client: socket('client', 1), sent, calls };
}

function copyOf(slab: Slab, slot: number, by: SentDatagram['by']): SentDatagram {
  const base = slot * SLOT_BYTES;
  const start = base + SLOT_HEADER_BYTES;
  const length = slab.i32[(base + SLOT_LENGTH) >> 2];
  const host = u32ToHost(slab.view.getUint32(base + SLOT_ADDRESS + 12));
  return {
    ...{ by, slot },
    receiver: slab.u16[(base + SLOT_RECEIVER) >> 1],
    header: slab.bytes.slice(base, start),
    datagram: slab.bytes.slice(start, start + length),
    to: `${host}:${slab.u16[(base + SLOT_PORT) >> 1]}`,
  };
}
