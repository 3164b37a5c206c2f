/**
 * `npm run bench -- dht-store [ANNOUNCES]`: memory and speed of the DHT's stores alone.
 *
 * First ten million announces of ever new peers under a million targets into full-sized stores,
 * each with a refresh token and every eighth with a value of the longest kind, beside a million
 * random lookups: resident memory must be flat once the stores are full. Then nanoseconds per
 * operation of one thread; the time of making up the keys is taken off.
 */
import process from 'node:process';
import { HalfSipHash } from '../codecs/hash/halfsiphash.ts';
import { PeerChange, ValueChange } from '../workers/dht/store/change.ts';
import {
  allocateDhtStores,
  allocatePeers,
  DHT_STORE_LIMITS,
  PEER_AGE_MS,
  REFRESH_VALUE_BYTES,
  VALUE_AGE_MS,
} from '../workers/dht/store/layout.ts';
import { PeerStore } from '../workers/dht/store/peer-store.ts';
import { DhtStores } from '../workers/dht/store/stores.ts';
import type { ValueStore } from '../workers/dht/store/value-store.ts';
import { Rng } from '../workers/rng.ts';
import { formatTable, median } from './table.ts';

const ANNOUNCES = 10_000_000;
const TARGETS = 1_000_000;
const ANNOUNCES_PER_LOOKUP = 10;
const ANNOUNCES_PER_VALUE = 8;
/** Networks that announce, in turn. */
const NETWORKS = 1_000_000;
const REPORTS = 10;
const VALUE_BYTES = 1400;
const HASH_KEY: readonly [number, number] = [0x01234567, 0x89abcdef];
const NOW = 1_700_000_000_000;
/** A new peer every 15 ms: some end after their 20 minutes, some are evicted. */
const MS_PER_ANNOUNCE = 15;
const ROUNDS = 5;
const LOOKUPS = 100_000;
const WANTED = 20;
const OUT_BYTES = 1400;
/** Targets and peers of each. */
const CROWDS: readonly (readonly [number, number])[] = [
  [1000, 1],
  [1000, 20],
  [60_000, 1],
  [3000, 20],
  [1, 60_000],
];

class DhtStoreBench {
  readonly #hash = new HalfSipHash(HASH_KEY[0], HASH_KEY[1]);
  readonly #rng = new Rng(7);
  readonly #out = new Uint8Array(OUT_BYTES);
  readonly #target = new Int32Array(8);
  readonly #key = new Int32Array(8);
  readonly #targetBytes = new Uint8Array(this.#target.buffer);
  readonly #keyBytes = new Uint8Array(this.#key.buffer);
  readonly #peer = new PeerChange();
  readonly #value = new ValueChange();

  constructor() {
    this.#peer.target = this.#targetBytes;
    this.#peer.publicKey = this.#keyBytes;
    this.#peer.relays = new Uint8Array(18);
    this.#peer.relayCount = 3;
    this.#value.key = this.#keyBytes;
    this.#value.value = new Uint8Array(VALUE_BYTES);
  }

  #fill(words: Int32Array, n: number): void {
    for (let i = 0; i < 8; i++) {
      const mixed = Math.imul(n ^ (i * 0x9e3779b1), 0x85ebca6b);
      words[i] = Math.imul(mixed ^ (mixed >>> 15), 0xc2b2ae35);
    }
    words[0] = n;
  }

  #hashOf(words: Int32Array): number {
    return this.#hash.words(words, 8);
  }

  announce(store: PeerStore, target: number, n: number, nowMs: number): void {
    this.#fill(this.#target, target);
    this.#fill(this.#key, n);
    const change = this.#peer;
    change.hash = this.#hashOf(this.#target);
    change.expiresAt = nowMs + PEER_AGE_MS;
    change.prefix = 1 + (n % NETWORKS);
    store.apply(change);
  }

  put(store: ValueStore, n: number, length: number, expiresAt: number): void {
    this.#fill(this.#key, n);
    const change = this.#value;
    change.hash = this.#hashOf(this.#key);
    change.valueLength = length;
    change.expiresAt = expiresAt;
    change.prefix = 1 + (n % NETWORKS);
    store.apply(change);
  }

  /** Bytes of a random target's answer. */
  lookUp(store: PeerStore, targets: number): number {
    this.#fill(this.#target, this.#rng.below(targets));
    const hash = this.#hashOf(this.#target);
    const { length } = this.#out;
    return store.sample(this.#targetBytes, 0, hash, this.#rng, WANTED, this.#out, 0, length);
  }

  /** Length of a random key's value. */
  get(store: ValueStore, keys: number): number {
    this.#fill(this.#key, this.#rng.below(keys));
    const row = store.find(this.#keyBytes, 0, this.#hashOf(this.#key));
    return row < 0 ? 0 : store.valueLength(row);
  }

  /** Nanoseconds of making up a key and hashing it. */
  keyCost(count: number): number {
    let sum = 0;
    const each = time(count, (i) => {
      this.#fill(this.#key, i);
      sum ^= this.#hashOf(this.#key);
    });
    return sum === 0.5 ? 0 : each;
  }
}

/** Nanoseconds of one of `count` calls. */
function time(count: number, run: (i: number) => void): number {
  const start = process.hrtime.bigint();
  for (let i = 0; i < count; i++) run(i);
  return Number(process.hrtime.bigint() - start) / count;
}

/** Announces, with what a server does beside them; a line of memory for each tenth. */
function measureMemory(bench: DhtStoreBench, announces: number): void {
  const rows = [['announces', 'peers', 'targets', 'tokens', 'values', 'resident MB', 'heap MB']];
  const stores = new DhtStores(allocateDhtStores(DHT_STORE_LIMITS), HASH_KEY);
  const { peers, forwards, refreshes, mutables, immutables } = stores;
  let found = 0;
  for (let i = 0; i <= announces; i++) {
    const nowMs = NOW + i * MS_PER_ANNOUNCE;
    if (i % 64 === 0) stores.tick(nowMs, 64);
    bench.announce(peers, i % TARGETS, i, nowMs);
    bench.put(refreshes, i, REFRESH_VALUE_BYTES, nowMs + PEER_AGE_MS);
    bench.put(forwards, i, 60, nowMs + PEER_AGE_MS);
    if (i % ANNOUNCES_PER_VALUE === 0) {
      bench.put(mutables, i, VALUE_BYTES, nowMs + VALUE_AGE_MS);
      bench.put(immutables, i, VALUE_BYTES, nowMs + VALUE_AGE_MS);
    }
    if (i % ANNOUNCES_PER_LOOKUP === 0 && bench.lookUp(peers, TARGETS) > 0) found++;
    if (i % Math.ceil(announces / REPORTS) !== 0) continue;
    const { rss, heapUsed } = process.memoryUsage();
    const values = mutables.size + immutables.size;
    const counts = [i, peers.size, peers.targets, refreshes.size, values];
    const megabytes = [rss, heapUsed].map((bytes) => (bytes / 2 ** 20).toFixed(1));
    rows.push([...counts.map(String), ...megabytes]);
  }
  process.stdout.write(`${formatTable(rows)}\n`);
  const lookups = Math.floor(announces / ANNOUNCES_PER_LOOKUP);
  process.stdout.write(`${found} of ${lookups} lookups found peers\n\n`);
}

function measureValues(bench: DhtStoreBench, report: (what: string, ns: number) => void): void {
  const stores = new DhtStores(allocateDhtStores(DHT_STORE_LIMITS), HASH_KEY);
  stores.setTime(NOW);
  const { refreshes, immutables } = stores;
  const end = NOW + VALUE_AGE_MS;
  const { refreshes: most, immutables: values } = DHT_STORE_LIMITS;
  report(
    'put of a new token',
    time(most, (i) => bench.put(refreshes, i, 84, end)),
  );
  report(
    '  of one that is there',
    time(most, (i) => bench.put(refreshes, i, 84, end)),
  );
  report(
    '  into a full store',
    time(most, (i) => bench.put(refreshes, most + i, 84, end)),
  );
  report(
    'put of 1,400 bytes',
    time(values, (i) => bench.put(immutables, i, VALUE_BYTES, end)),
  );
  report(
    'get of a value',
    time(LOOKUPS, () => bench.get(immutables, values)),
  );
}

function measureCrowd(
  bench: DhtStoreBench,
  targets: number,
  peers: number,
  report: (what: string, ns: number) => void,
): void {
  const store = new PeerStore(allocatePeers(targets * peers), HASH_KEY);
  store.setTime(NOW);
  const put = time(targets * peers, (i) => bench.announce(store, i % targets, i, NOW));
  const what = `${targets} targets of ${peers} peers`;
  report(`announce, ${what}`, put);
  for (let i = 0; i < 20_000; i++) bench.lookUp(store, targets);
  const samples = Array.from({ length: ROUNDS }, () =>
    time(LOOKUPS / ROUNDS, () => {
      if (bench.lookUp(store, targets) === 0) throw new Error(`${what}: nothing found`);
    }),
  );
  report(`lookup, ${what}`, median(samples));
}

/** `argv[0]`: announces of the memory table, default ten million. */
export async function benchDhtStore(argv: string[]): Promise<number> {
  const announces = Number(argv[0] ?? ANNOUNCES);
  if (!Number.isInteger(announces) || announces < 1 || announces > 1e9) {
    process.stderr.write(`bench dht-store: ${argv[0]} announces; allowed are 1 to 1000000000\n`);
    return 2;
  }
  const bench = new DhtStoreBench();
  measureMemory(bench, announces);
  const keys = bench.keyCost(1_000_000);
  const rows = [['what', 'ns']];
  // One key is taken off; of an announce, which has two, the other one is in it.
  const report = (what: string, ns: number) => rows.push([what, (ns - keys).toFixed(0)]);
  measureValues(bench, report);
  for (const [targets, peers] of CROWDS) measureCrowd(bench, targets, peers, report);
  process.stdout.write(`${formatTable(rows)}\n`);
  return 0;
}
