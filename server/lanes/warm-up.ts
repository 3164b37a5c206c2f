/**
 * Runs a throw-away lane through the usual requests, so that a spare thread has its code loaded,
 * compiled and its native packages open before it is needed: a lane that has died is then followed
 * within milliseconds instead of tens of them.
 */
import { encode } from 'dns-packet';
import { allocateCounters } from '../../workers/counters.ts';
import { allocateLaneStores, createLane } from '../../workers/create-lane.ts';
import { Overflow } from '../../workers/overflow.ts';
import { PROTOCOL_DNS } from '../../workers/protocols.ts';
import { Ring } from '../../workers/ring.ts';
import {
  SLOT_BUDGET,
  SLOT_BYTES,
  SLOT_DATA_BYTES,
  SLOT_FAMILY,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_PROTOCOL,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_UDP,
} from '../../workers/slab.ts';

const DOMAIN = 'warm.up';
const ROUNDS = 40;
const ORIGIN_SLOTS = 8;
const HASH_KEY = [1, 2] as const;
const SECRET_BYTES = 32;
const COOKIE_BYTES = 16;

/** Answers each of a few requests some dozens of times, in memory that is dropped afterwards. */
export function warmUp(nowMs: number): void {
  const requests = messages();
  const slab = Slab.allocate(requests.length + ORIGIN_SLOTS);
  const ring = Ring.allocate(64);
  const replies = Ring.allocate(64);
  const lane = createLane({
    lane: 0,
    lanes: 1,
    slab: slab.buffer,
    overflow: Overflow.allocate(0),
    firstOverflowSlot: 0,
    requests: ring.buffer,
    replies: replies.buffer,
    counters: allocateCounters(1),
    counterRow: 0,
    firstOriginSlot: requests.length,
    originSlots: ORIGIN_SLOTS,
    receivers: 1,
    domains: [DOMAIN],
    nameserver: null,
    zoneSerial: 1,
    ttlSeconds: 60,
    dht: null,
    stores: allocateLaneStores(64, HASH_KEY),
    bounds: { prefixLimit: 64, nameLimit: 64 },
    hashKey: HASH_KEY,
    tokenSecret: new Uint8Array(SECRET_BYTES),
    cookieSecrets: { active: new Uint8Array(COOKIE_BYTES), previous: null },
    nsid: null,
    seed: 1,
  });
  const slots = Int32Array.from(requests, (_, slot) => slot);
  for (let round = 0; round < ROUNDS; round++) {
    requests.forEach((message, slot) => {
      fill(slab, slot, message);
    });
    ring.push(slots, 0, slots.length);
    lane.drain(nowMs + round);
    lane.tick(nowMs + round);
    replies.pop(slots, slots.length);
  }
}

function messages(): Uint8Array[] {
  const of = (name: string, type: 'TXT' | 'A' | 'SRV', data?: string[]): Uint8Array =>
    encode({
      type: 'query',
      id: 1,
      questions: [{ name, type }],
      additionals: data === undefined ? [] : [{ type: 'TXT', name, data }],
    });
  const name = `id.${DOMAIN}`;
  return [
    of(DOMAIN, 'TXT'),
    of(name, 'TXT', [`token=${'A'.repeat(43)}=`, 'subscribe=true', 'announce=80']),
    of(name, 'A'),
    of(name, 'SRV'),
  ];
}

function fill(slab: Slab, slot: number, message: Uint8Array): void {
  const base = slot * SLOT_BYTES;
  slab.bytes.fill(0, base, base + SLOT_HEADER_BYTES);
  slab.bytes.set(message, base + SLOT_HEADER_BYTES);
  slab.i32[(base + SLOT_LENGTH) >> 2] = message.length;
  slab.i32[(base + SLOT_BUDGET) >> 2] = SLOT_DATA_BYTES;
  slab.bytes[base + SLOT_FAMILY] = 4;
  slab.bytes[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
  slab.bytes[base + SLOT_PROTOCOL] = PROTOCOL_DNS;
  slab.u16[(base + SLOT_PORT) >> 1] = 1;
}
