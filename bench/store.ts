/**
 * `npm run bench -- store [RECORDS]`: memory and speed of the record store alone.
 *
 * Memory is the growth of the process's resident set per record, at one record per name, names of
 * 40 and of 64 hexadecimal characters (the longer ones take an overflow block each). Speeds are
 * nanoseconds per operation of one thread, keys hashed inside the measured time, as a lane would;
 * the time of making up the keys is taken off.
 */
import process from 'node:process';
import { HalfSipHash } from '../codecs/hash/halfsiphash.ts';
import {
  ADDED,
  type ApplyResult,
  Change,
  OP_PUT,
  OP_REMOVE,
  REFRESHED,
  REMOVED,
} from '../workers/store/change.ts';
import { RecordStore } from '../workers/store/record-store.ts';
import { formatTable, median } from './table.ts';

const DEFAULT_RECORDS = 1_000_000;
const SHORT_HEX = 40;
const LONG_HEX = 64;
const NOW = 1_000_000;
const HEX = Buffer.from('0123456789abcdef');
/** Peers asked for, as a lookup of classic DNS size does. */
const WANTED = 31;
const LOOKUPS = 200_000;
const ROUNDS = 5;
/** Names and peers of each: few names stay in the cache, many do not. */
const CROWDS: readonly (readonly [number, number])[] = [
  [1000, 1],
  [1000, 4],
  [1000, 5],
  [1000, 31],
  [1000, 1000],
  [100_000, 4],
  [100_000, 5],
  [20_000, 31],
  [6_000, 100],
];

type Row = [what: string, value: string, unit: string];

class StoreBench {
  readonly rows: string[][] = [['what', 'unit', 'value']];
  readonly #hash = new HalfSipHash(0x01234567, 0x89abcdef);
  readonly #key = new Uint8Array(256);
  readonly #change = new Change();
  readonly #found = new Int32Array(64);
  readonly #out = new Uint8Array(64 * 18);
  #keyBytes = 0;
  #state = 88172645;

  constructor() {
    this.#change.keyBytes = this.#key;
    this.#change.address = new Uint8Array(16);
    this.#change.port = 6881;
    this.#change.now = NOW;
    this.#change.version = NOW;
    this.setHex(SHORT_HEX);
  }

  /** xorshift32. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** Names have `characters` from now on; in wire format a length byte comes first. */
  setHex(characters: number): void {
    this.#key[0] = characters;
    this.#keyBytes = 1 + characters;
    this.#change.keyEnd = this.#keyBytes;
  }

  report(...[what, value, unit]: Row): void {
    this.rows.push([what, unit, value]);
  }

  /** Writes the key of name `index`: hexadecimal characters that look random. */
  #fillKey(index: number): void {
    let word = index | 0;
    for (let i = 0; i + 1 < this.#keyBytes; i++) {
      if ((i & 7) === 0) {
        word = Math.imul(index ^ (i * 0x9e3779b1), 0x85ebca6b);
        word = Math.imul(word ^ (word >>> 15), 0xc2b2ae35);
        word ^= word >>> 13;
        if (i === 0) word = index;
      }
      this.#key[i + 1] = HEX[(word >>> ((i & 7) * 4)) & 15];
    }
  }

  #fillAddress(index: number): void {
    const { address } = this.#change;
    address[12] = 10;
    address[13] = index >>> 16;
    address[14] = index >>> 8;
    address[15] = index;
  }

  #hashKey(): number {
    return this.#hash.bytes(this.#key, 0, this.#keyBytes);
  }

  /** Nanoseconds of making one key and address. */
  keyCost(count: number): number {
    const start = process.hrtime.bigint();
    for (let i = 0; i < count; i++) {
      this.#fillKey(i);
      this.#fillAddress(i);
    }
    return Number(process.hrtime.bigint() - start) / count;
  }

  /** Nanoseconds of one change; each must have the result expected. */
  changeAll(
    store: RecordStore,
    op: number,
    count: number,
    from: number,
    expected: ApplyResult,
  ): number {
    const change = this.#change;
    change.op = op;
    const start = process.hrtime.bigint();
    for (let i = from; i < from + count; i++) {
      this.#fillKey(i);
      this.#fillAddress(i);
      change.keyHash = this.#hashKey();
      const result = store.apply(change);
      if (result !== expected) throw new Error(`change ${i}: ${result}, not ${expected}`);
    }
    return Number(process.hrtime.bigint() - start) / count;
  }

  /** Later puts are newer ones. */
  advance(): void {
    this.#change.version++;
  }

  /** Nanoseconds of one lookup of a random name, peers copied out. */
  lookUpAll(store: RecordStore, count: number, names: number, peers: number): number {
    let bytes = 0;
    const start = process.hrtime.bigint();
    for (let i = 0; i < count; i++) {
      this.#fillKey(this.next() % names);
      const name = store.find(this.#key, 0, this.#keyBytes, this.#hashKey(), 0);
      store.touch(name);
      const got = store.sample(name, 4, WANTED, NOW, this, this.#found);
      bytes += store.copyPeers(this.#found, got, this.#out, 0);
    }
    const each = Number(process.hrtime.bigint() - start) / count;
    if (bytes !== count * Math.min(WANTED, peers) * 6) throw new Error(`${bytes} bytes of peers`);
    return each;
  }

  /** A store of `names` x `peers`, announced in random order: a name's rows lie scattered. */
  #makeCrowds(names: number, peers: number): RecordStore {
    const total = names * peers;
    const order = Int32Array.from({ length: total }, (_, i) => i);
    for (let i = total - 1; i > 0; i--) {
      const other = this.next() % (i + 1);
      const swapped = order[i];
      order[i] = order[other];
      order[other] = swapped;
    }
    const store = RecordStore.allocate({ limit: total, hashKey0: 5, hashKey1: 6 });
    const change = this.#change;
    change.op = OP_PUT;
    for (const n of order) {
      this.#fillKey(n % names);
      this.#fillAddress(Math.floor(n / names));
      change.keyHash = this.#hashKey();
      if (store.apply(change) !== ADDED) throw new Error(`peer ${n} was not added`);
    }
    return store;
  }

  measureCrowds(names: number, peers: number): void {
    const store = this.#makeCrowds(names, peers);
    this.lookUpAll(store, 20_000, names, peers);
    const keys = this.keyCost(LOOKUPS);
    const samples = Array.from({ length: ROUNDS }, () =>
      this.lookUpAll(store, LOOKUPS / ROUNDS, names, peers),
    );
    const what = `lookup, ${Math.min(WANTED, peers)} of ${peers} peers, ${names} names, scattered`;
    this.report(what, (median(samples) - keys).toFixed(0), 'ns');
  }
}

/** Resident bytes per record of a store filled with new names; also what a put cost. */
function fill(bench: StoreBench, hex: number, records: number): [RecordStore, number] {
  bench.setHex(hex);
  const keys = bench.keyCost(Math.min(records, 200_000));
  const before = process.memoryUsage();
  const store = RecordStore.allocate({ limit: records, hashKey0: 3, hashKey1: 4 });
  const put = bench.changeAll(store, OP_PUT, records, 0, ADDED);
  const after = process.memoryUsage();
  const bytes = (after.rss - before.rss) / records;
  const heap = (after.heapUsed - before.heapUsed) / records;
  bench.report(`resident memory, ${records} names of ${hex} hex`, bytes.toFixed(1), 'B/record');
  bench.report('  of which JavaScript heap', heap.toFixed(1), 'B/record');
  bench.report('  put of a new name', (put - keys).toFixed(0), 'ns');
  return [store, keys];
}

/** Returns the store: were it collected, the next one would seem to take no memory. */
function measureOne(bench: StoreBench, records: number): RecordStore {
  const [store, keys] = fill(bench, SHORT_HEX, records);
  const time = (what: string, ns: number) => bench.report(what, (ns - keys).toFixed(0), 'ns');
  time('put again, the same', bench.changeAll(store, OP_PUT, records, 0, REFRESHED));
  bench.advance();
  time('put again, newer', bench.changeAll(store, OP_PUT, records, 0, REFRESHED));
  const evicting = bench.changeAll(store, OP_PUT, records, records, ADDED);
  time('put of a new name, store full (evicts)', evicting);
  bench.changeAll(store, OP_PUT, records, 0, ADDED);
  time('lookup, 1 peer', bench.lookUpAll(store, records, records, 1));
  const tenth = Math.floor(records / 10);
  time('remove (leaves a tombstone)', bench.changeAll(store, OP_REMOVE, tenth, 0, REMOVED));
  const start = process.hrtime.bigint();
  store.sweep(NOW, records, records);
  const swept = process.hrtime.bigint();
  store.repair();
  const repaired = process.hrtime.bigint();
  bench.report('sweep, per row', (Number(swept - start) / records).toFixed(1), 'ns');
  bench.report('repair, whole store', (Number(repaired - swept) / 1e6).toFixed(0), 'ms');
  return store;
}

/** `argv[0]`: records of the large stores, default one million. */
export async function benchStore(argv: string[]): Promise<number> {
  const records = Number(argv[0] ?? DEFAULT_RECORDS);
  if (!Number.isInteger(records) || records < 10 || records > 10_000_000) {
    process.stderr.write(`bench store: ${argv[0]} records; allowed are 10 to 10000000\n`);
    return 2;
  }
  const bench = new StoreBench();
  // Warm up the compiler and the heap on a small store, so that their growth is not counted.
  const small = RecordStore.allocate({ limit: 20_000, hashKey0: 1, hashKey1: 2 });
  for (let round = 0; round < 5; round++) {
    bench.changeAll(small, OP_PUT, 20_000, round * 20_000, ADDED);
  }
  bench.keyCost(100_000);
  const first = measureOne(bench, records);
  fill(bench, LONG_HEX, records);
  if (first.live === 0) throw new Error('the first store is empty');
  bench.setHex(SHORT_HEX);
  for (const [names, peers] of CROWDS) bench.measureCrowds(names, peers);
  process.stdout.write(`${formatTable(bench.rows)}\n`);
  return 0;
}
