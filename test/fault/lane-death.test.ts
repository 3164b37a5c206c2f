/**
 * A lane killed at a thousand random points of its work, as a thread is ended from outside: the
 * engine's own termination, which strikes at any loop or call, inside writes to the store as well.
 * Each time a successor adopts what is left. Nothing may be torn, no slot lost, no record forgotten
 * that an answer had confirmed, and the counters must balance to the last datagram.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import vm from 'node:vm';
import { Collector } from '../../server/collector.ts';
import { writeAddress } from '../../server/net/ip-address.ts';
import {
  allocateCounters,
  COUNTER,
  counterRow,
  inFlight,
  sumCounters,
} from '../../workers/counters.ts';
import { allocateLaneStores, createLane, type LaneConfig } from '../../workers/create-lane.ts';
import type { Lane } from '../../workers/lane.ts';
import { Overflow } from '../../workers/overflow.ts';
import { PROTOCOL_DNS } from '../../workers/protocols.ts';
import { Ring } from '../../workers/ring.ts';
import { Rng } from '../../workers/rng.ts';
import {
  SLOT_ADDRESS,
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
import { RecordStore } from '../../workers/store/record-store.ts';
import { Tokens } from '../../workers/tokens.ts';
import { DOMAIN, queryBytes } from '../helpers/lane-harness.ts';

const KILLS = Number(process.env.LANE_DEATHS ?? 1000);
const SEED = Number(process.env.SEED ?? 20261121);
/** Waiting at each kill: more than the lane works off in the time it gets. */
const SLOTS = 4096;
const ORIGIN_SLOTS = 1024;
const NAMES = 400;
const ADDRESSES = 64;
const NOW_MS = 1_700_000_000_000;
const HASH_KEY = [5, 6] as const;
const SECRET = new Uint8Array(32).fill(9);

/** The announces by slot, as `name port`, of what is on the ring or in the lane's hands. */
class Load {
  readonly announced: (string | null)[] = new Array(SLOTS).fill(null);
  readonly #rng = new Rng(SEED);
  readonly #slab: Slab;
  readonly #tokens: string[];

  constructor(slab: Slab) {
    this.#slab = slab;
    this.#tokens = Array.from({ length: ADDRESSES }, (_, i) => tokenOf(addressOf(i)));
  }

  /** A random request into a slot: announces mostly, some unannounces of other ports, lookups. */
  fill(slot: number): void {
    const who = this.#rng.below(ADDRESSES);
    const name = `id${this.#rng.below(NAMES)}.${DOMAIN}`;
    const port = 1 + this.#rng.below(60_000);
    const kind = this.#rng.below(10);
    // Ports of three digits less are never announced: an unannounce takes nothing back that counts.
    const act =
      kind < 7 ? [`announce=${1000 + port}`] : kind < 8 ? [`unannounce=${port % 999}`] : [];
    const strings = [`token=${this.#tokens[who]}`, ...act, 'subscribe=true'];
    this.announced[slot] = kind < 7 ? `${name} ${addressOf(who)} ${1000 + port}` : null;
    this.#write(slot, queryBytes({ name, strings }), addressOf(who));
  }

  #write(slot: number, datagram: Uint8Array, address: string): void {
    const { bytes, i32, u16 } = this.#slab;
    const base = slot * SLOT_BYTES;
    bytes.fill(0, base, base + SLOT_HEADER_BYTES);
    bytes.set(datagram, base + SLOT_HEADER_BYTES);
    i32[(base + SLOT_LENGTH) >> 2] = datagram.length;
    bytes[base + SLOT_FAMILY] = writeAddress(address, bytes, base + SLOT_ADDRESS);
    bytes[base + SLOT_TRANSPORT] = TRANSPORT_UDP;
    bytes[base + SLOT_PROTOCOL] = PROTOCOL_DNS;
    u16[(base + SLOT_PORT) >> 1] = 7000;
    i32[(base + SLOT_BUDGET) >> 2] = SLOT_DATA_BYTES;
  }
}

function addressOf(index: number): string {
  return `198.51.${index >> 3}.${(index & 7) + 1}`;
}

function tokenOf(address: string): string {
  const tokens = new Tokens(SECRET, 1);
  tokens.setTime(NOW_MS);
  const bytes = new Uint8Array(16);
  writeAddress(address, bytes, 0);
  tokens.load(new Int32Array(bytes.buffer), 0);
  return Buffer.from(tokens.text).toString('latin1');
}

test(`${KILLS} deaths in the middle of work: nothing torn, nothing lost`, (t) => {
  const slab = Slab.allocate(SLOTS + ORIGIN_SLOTS);
  const buffer = allocateCounters(2);
  const main = counterRow(buffer, 0);
  const requests = Ring.allocate(SLOTS);
  const replies = Ring.allocate(2 * SLOTS);
  const stores = allocateLaneStores(1_000_000, HASH_KEY);
  const load = new Load(slab);
  const confirmed = new Set<string>();
  const free: number[] = Array.from({ length: SLOTS }, (_, slot) => slot);
  const config: LaneConfig = laneConfig(slab, buffer, requests, replies, stores);
  const receiver = {
    receiver: 0,
    mayDrop: true,
    send(slots: Int32Array, count: number): number {
      for (let i = 0; i < count; i++) {
        if (slots[i] < SLOTS && load.announced[slots[i]] !== null) {
          confirmed.add(load.announced[slots[i]] as string);
        }
      }
      main[COUNTER.sent] += count;
      return count;
    },
    release(slots: Int32Array, count: number): void {
      for (let i = 0; i < count; i++) free.push(slots[i]);
    },
  };
  const collector = new Collector({
    slab,
    counters: main,
    receivers: [receiver],
    lanes: [
      {
        requests,
        replies,
        inline: null,
        counters: counterRow(buffer, 1),
        firstOriginSlot: SLOTS,
        originSlots: ORIGIN_SLOTS,
      },
    ],
    slotsPerReceiver: SLOTS,
    firstLaneSlot: SLOTS,
    limiter: null,
    lanesSend: false,
  });
  let lane = createLane(config);
  let interrupted = 0;
  let insideStore = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    refill(free, load, requests, collector, main);
    if (!killWhileWorking(lane, NOW_MS + kill * 10)) continue;
    interrupted++;
    if (new RecordStore(stores.records).needsRepair) insideStore++;
    if (new RecordStore(stores.subscriptions).needsRepair) insideStore++;
    const held = collector.reclaim(0);
    assert.ok(held <= 64, `kill ${kill}: ${held} slots in hand`);
    const counters = sumCounters(buffer);
    assert.equal(inFlight(counters), requests.size, `kill ${kill}, seed ${SEED}`);
    assert.equal(free.length + requests.size, SLOTS, `kill ${kill}: a slot was lost`);
    lane = createLane({ ...config, seed: kill });
    if (kill % 50 === 0) {
      new RecordStore(stores.records).check();
      new RecordStore(stores.subscriptions).check();
    }
  }
  while (lane.drain(NOW_MS) > 0) collector.collect(0);
  collector.collect(0);
  assert.equal(inFlight(sumCounters(buffer)), 0);
  assert.equal(free.length, SLOTS);
  assertAllThere(new RecordStore(stores.records), confirmed);
  t.diagnostic(
    `${interrupted} interrupted, ${insideStore} of them inside a write to a store;` +
      ` ${confirmed.size} confirmed announces all there`,
  );
  assert.ok(interrupted > KILLS / 2, `only ${interrupted} of ${KILLS} struck while it worked`);
});

function laneConfig(
  slab: Slab,
  counters: SharedArrayBuffer,
  requests: Ring,
  replies: Ring,
  stores: LaneConfig['stores'],
): LaneConfig {
  return {
    lane: 0,
    lanes: 1,
    slab: slab.buffer,
    overflow: Overflow.allocate(0),
    firstOverflowSlot: 0,
    requests: requests.buffer,
    replies: replies.buffer,
    counters,
    counterRow: 1,
    firstOriginSlot: SLOTS,
    originSlots: ORIGIN_SLOTS,
    receivers: 1,
    domains: [DOMAIN],
    nameserver: null,
    zoneSerial: 1,
    ttlSeconds: 0,
    dht: null,
    stores,
    bounds: { prefixLimit: 1_000_000, nameLimit: 1_000_000 },
    hashKey: HASH_KEY,
    tokenSecret: SECRET,
    cookieSecrets: { active: new Uint8Array(16), previous: null },
    nsid: null,
    seed: 1,
  };
}

/** Fills every free slot with a request and puts them on the ring. */
function refill(
  free: number[],
  load: Load,
  requests: Ring,
  collector: Collector,
  main: Float64Array,
): void {
  const slots = Int32Array.from(free);
  free.length = 0;
  for (const slot of slots) load.fill(slot);
  main[COUNTER.received] += slots.length;
  collector.handedOver(0, slots, slots.length);
  assert.equal(requests.push(slots, 0, slots.length), slots.length);
}

/** Lets the lane work for about a millisecond, then ends it wherever it is. */
function killWhileWorking(lane: Lane, nowMs: number): boolean {
  const work = (): void => {
    while (lane.drain(nowMs) > 0);
    for (;;) lane.tick(nowMs);
  };
  Object.assign(globalThis, { workOfLane: work });
  try {
    vm.runInThisContext('workOfLane()', { timeout: 1 });
    return false;
  } catch (error) {
    assert.equal((error as { code?: string }).code, 'ERR_SCRIPT_EXECUTION_TIMEOUT');
    return true;
  } finally {
    Reflect.deleteProperty(globalThis, 'workOfLane');
  }
}

/** Every announce that an answer confirmed is a live record. */
function assertAllThere(store: RecordStore, confirmed: ReadonlySet<string>): void {
  store.check();
  const live = new Set<string>();
  const torn = store.forEachRecord((row) => {
    const id = Buffer.from(row.key.subarray(1, row.keyLength)).toString('latin1');
    const address = row.address.subarray(12).join('.');
    if (!row.tombstone) live.add(`${id}.${DOMAIN} ${address} ${row.port}`);
  });
  assert.equal(torn, 0);
  for (const announce of confirmed) assert.ok(live.has(announce), `lost: ${announce}`);
}
