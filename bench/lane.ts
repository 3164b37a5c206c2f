/**
 * `npm run bench -- lane`: what a lane costs per datagram without any socket, in nanoseconds. The
 * difference to `bench -- dns` is the kernel's and the addon's share.
 */
import process from 'node:process';
import { DomainTable } from '../codecs/dns/domains.ts';
import { QueryReader } from '../codecs/dns/query.ts';
import { Admission } from '../server/admission.ts';
import { Dispatcher } from '../server/dispatch.ts';
import { writeAddress } from '../server/net/ip-address.ts';
import { SOCKET_DNS } from '../server/net/protocol-table.ts';
import { allocateCounters, counterRow } from '../workers/counters.ts';
import { allocateLaneStores, createLane, nameHash } from '../workers/create-lane.ts';
import { Overflow } from '../workers/overflow.ts';
import { Ring } from '../workers/ring.ts';
import {
  SLOT_ADDRESS,
  SLOT_BUDGET,
  SLOT_BYTES,
  SLOT_DATA_BYTES,
  SLOT_FAMILY,
  SLOT_HEADER_BYTES,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_STATE,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_UDP,
} from '../workers/slab.ts';
import { SOURCES, type WriteRequest } from './load/generator.ts';
import { announce, DOMAIN, lookup, plainTxt, probe, TokenBook } from './load/requests.ts';
import { formatTable, median } from './table.ts';

const BATCH = 64;
const HASH_KEY = [123, 456] as const;
const ORIGIN_SLOTS = 512;
const NAMES = 256;
const FIRST_CROWDED = 0x1000;
const FIRST_NEW = 0x100000;
const SAMPLE_DATAGRAMS = 200_000;
const ROUNDS = 5;

class LaneBench {
  readonly #slab = Slab.allocate(BATCH + ORIGIN_SLOTS);
  readonly #counters = allocateCounters(2);
  readonly #requests = Ring.allocate(1024);
  readonly #replies = Ring.allocate(1024);
  readonly #overflow = new Overflow(Overflow.allocate(0), 0);
  readonly #dispatcher = new Dispatcher(
    this.#slab,
    this.#overflow,
    1,
    new QueryReader(new DomainTable([DOMAIN])),
    nameHash(HASH_KEY),
  );
  readonly #admission = new Admission(this.#slab, this.#overflow, counterRow(this.#counters, 0));
  readonly #batch = Int32Array.from({ length: BATCH }, (_, slot) => slot);
  readonly #out = new Int32Array(BATCH);
  readonly tokens = new TokenBook();
  #now = Date.now();
  readonly #lane = createLane({
    lane: 0,
    lanes: 1,
    slab: this.#slab.buffer,
    overflow: this.#overflow.buffer,
    firstOverflowSlot: 0,
    requests: this.#requests.buffer,
    replies: this.#replies.buffer,
    counters: this.#counters,
    counterRow: 1,
    firstOriginSlot: BATCH,
    originSlots: ORIGIN_SLOTS,
    receivers: 1,
    domains: [DOMAIN],
    nameserver: null,
    zoneSerial: 1,
    ttlSeconds: 3600,
    dht: null,
    stores: allocateLaneStores(4_000_000, HASH_KEY),
    bounds: { prefixLimit: 4_000_000, nameLimit: 8192 },
    hashKey: HASH_KEY,
    tokenSecret: new Uint8Array(32).fill(3),
    cookieSecrets: { active: new Uint8Array(16), previous: null },
    nsid: null,
    seed: 7,
  });

  constructor() {
    for (let slot = 0; slot < BATCH; slot++) {
      const base = slot * SLOT_BYTES;
      this.#slab.bytes[base + SLOT_FAMILY] = 4;
      this.#slab.bytes[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
      this.#slab.u16[(base + SLOT_PORT) >> 1] = 1234;
      this.#slab.i32[(base + SLOT_BUDGET) >> 2] = SLOT_DATA_BYTES;
      writeAddress('127.1.0.0', this.#slab.bytes, base + SLOT_ADDRESS);
    }
  }

  /** Nanoseconds of `datagrams` requests in the lane, and in writing them. */
  run(write: WriteRequest, datagrams: number, learn = false): { lane: number; write: number } {
    let lane = 0n;
    let writing = 0n;
    for (let sequence = 0; sequence < datagrams; sequence += BATCH) {
      const t0 = process.hrtime.bigint();
      for (let slot = 0; slot < BATCH; slot++) this.#fill(slot, write, sequence + slot);
      const t1 = process.hrtime.bigint();
      this.#now += 1;
      for (let slot = 0; slot < BATCH; slot++) {
        this.#admission.admit(slot, SOCKET_DNS);
        this.#dispatcher.laneOf(slot);
      }
      this.#requests.push(this.#batch, 0, BATCH);
      this.#lane.drain(this.#now);
      this.#release(learn, sequence);
      const t2 = process.hrtime.bigint();
      writing += t1 - t0;
      lane += t2 - t1;
      if (sequence % (BATCH * 256) === 0) this.#lane.tick(this.#now);
    }
    return { lane: Number(lane) / datagrams, write: Number(writing) / datagrams };
  }

  #fill(slot: number, write: WriteRequest, sequence: number): void {
    const base = slot * SLOT_BYTES;
    const source = sequence % SOURCES;
    this.#slab.bytes[base + SLOT_ADDRESS + 14] = source >> 8;
    this.#slab.bytes[base + SLOT_ADDRESS + 15] = source;
    const start = base + SLOT_HEADER_BYTES;
    this.#slab.i32[(base + SLOT_LENGTH) >> 2] = write(this.#slab.bytes, start, source, sequence);
  }

  #release(learn: boolean, sequence: number): void {
    for (;;) {
      const count = this.#replies.pop(this.#out, BATCH);
      if (count === 0) return;
      for (let i = 0; i < count; i++) {
        const slot = this.#out[i];
        const base = slot * SLOT_BYTES;
        if (slot >= BATCH) this.#slab.bytes[base + SLOT_STATE] = 0;
        else if (learn) {
          const length = this.#slab.i32[(base + SLOT_LENGTH) >> 2];
          const source = (sequence + slot) % SOURCES;
          this.tokens.learn(this.#slab.bytes, base + SLOT_HEADER_BYTES, length, source);
        }
      }
    }
  }
}

/** `argv[0]`: only the scenarios whose name contains it. */
export async function benchLane(argv: string[]): Promise<number> {
  const [wanted = ''] = argv;
  const bench = new LaneBench();
  bench.run(probe(), SOURCES, true);
  const { tokens } = bench;
  bench.run(announce(tokens, 0, 1), NAMES);
  bench.run(announce(tokens, FIRST_CROWDED, 31), NAMES * 31);
  let fresh = FIRST_NEW;
  const scenarios: Record<string, () => WriteRequest> = {
    probe: () => probe(),
    'plain TXT, 1 peer': () => plainTxt(0, NAMES),
    'lookup, 1 peer': () => lookup(tokens, 0, NAMES),
    'lookup, 31 peers': () => lookup(tokens, FIRST_CROWDED, NAMES),
    'announce, new names': () => {
      fresh += SAMPLE_DATAGRAMS + BATCH;
      return announce(tokens, fresh, 1);
    },
  };
  const rows = [['scenario', '', 'ns in lane', 'ns to write the request']];
  for (const [name, make] of Object.entries(scenarios)) {
    if (!name.includes(wanted)) continue;
    bench.run(make(), SAMPLE_DATAGRAMS);
    const samples = Array.from({ length: ROUNDS }, () => bench.run(make(), SAMPLE_DATAGRAMS));
    rows.push([
      name,
      '',
      median(samples.map(({ lane }) => lane)).toFixed(0),
      median(samples.map(({ write }) => write)).toFixed(0),
    ]);
  }
  process.stdout.write(`${formatTable(rows)}\n`);
  return 0;
}
