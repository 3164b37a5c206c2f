/**
 * Repair after a writer died in the middle of a change.
 *
 * What is trusted: rows whose sequence number is even, and the name rows and overflow chains they
 * refer to (a name is complete before a record refers to it and freed after the last one stopped).
 * Everything else (lists, tables, free lists, extents, counts) is rebuilt from them. A torn row is
 * dropped: the change that was being made is whole or absent, all earlier ones are there.
 *
 * The order of lists is worth keeping, since evictions follow it: a doubly linked list torn in one
 * place is still whole from its two ends to the tear.
 *
 *   oldest -> a -> b -> c -x      x- f <- g <- newest      found by neither end: appended
 */
import {
  HEADER_LRU_NEWEST,
  HEADER_LRU_OLDEST,
  HEADER_NAME_HIGH,
  HEADER_NAMES,
  HEADER_OVERFLOW_HIGH,
  HEADER_OVERFLOW_USED,
  HEADER_RECORD_HIGH,
  HEADER_TOMBSTONE_NEWEST,
  HEADER_TOMBSTONE_OLDEST,
  HEADER_WRITING,
  NAME_DEAD,
  NAME_EXTENT,
  NAME_LIVE,
  NAME_LRU_NEWER,
  NAME_LRU_OLDER,
  NAME_NEWEST,
  NAME_OLDEST,
  NAME_OVERFLOW,
  NAME_WORDS,
  NONE,
  OVERFLOW_WORDS,
  RECORD_NEWER,
  RECORD_OLDER,
  RECORD_SEQ,
  RECORD_WORDS,
  resetHeads,
  STATE_FREE,
  STATE_LIVE,
  STATE_TOMBSTONE,
} from './layout.ts';
import type { Membership } from './membership.ts';
import type { Names } from './names.ts';
import type { Records } from './records.ts';

export interface RepairReport {
  /** Live records and tombstones that are there after the repair. */
  readonly kept: number;
  /** Rows that were torn, or for which no extent could be had. */
  readonly dropped: number;
}

/** The parts of a store that repair works on. */
export interface Repairable {
  readonly header: Int32Array;
  readonly names: Names;
  readonly records: Records;
  readonly membership: Membership;
}

/** Rebuilds a store in place. Linear in the rows ever used; may be interrupted and run again. */
export function repairStore(store: Repairable): RepairReport {
  const { header } = store;
  header[HEADER_WRITING] = 1;
  const torn = discardTornRows(store);
  const used = referencedNames(store);
  const live = liveOrder(store, used);
  const tombstones = tombstoneOrder(store);
  const recent = recencyOrder(store, used);
  const order = { live, tombstones, recent };
  resetHeads(header);
  store.names.table.clear();
  store.records.table.clear();
  rebuildNames(store, used);
  rebuildOverflow(store, used);
  freeUnusedRows(store);
  const dropped = torn + relink(store, order);
  header[HEADER_WRITING] = 0;
  return { kept: live.length + tombstones.length - (dropped - torn), dropped };
}

function discardTornRows({ header, records }: Repairable): number {
  let torn = 0;
  for (let record = 0; record < header[HEADER_RECORD_HIGH]; record++) {
    if ((Atomics.load(records.seqs, record * RECORD_WORDS + RECORD_SEQ) & 1) === 0) continue;
    records.discardTorn(record);
    torn++;
  }
  return torn;
}

/** 1 for each name that a whole row refers to. */
function referencedNames({ header, records }: Repairable): Uint8Array {
  const used = new Uint8Array(header[HEADER_NAME_HIGH]);
  for (let record = 0; record < header[HEADER_RECORD_HIGH]; record++) {
    if (records.state(record) !== STATE_FREE) used[records.name(record)] = 1;
  }
  return used;
}

/** A doubly linked list that may be torn, and which rows can be in it. */
interface TornList {
  readonly words: Int32Array;
  readonly rowWords: number;
  readonly olderWord: number;
  readonly newerWord: number;
  readonly belongs: (index: number) => boolean;
}

/** Appends to `out` what the two ends of a list still reach, oldest first, each row once. */
function salvage(
  list: TornList,
  oldest: number,
  newest: number,
  seen: Uint8Array,
  out: Sequence,
): void {
  const take = (index: number): boolean => {
    if (index < 0 || index >= seen.length || seen[index] === 1 || !list.belongs(index))
      return false;
    seen[index] = 1;
    return true;
  };
  for (let at = oldest; take(at); at = list.words[at * list.rowWords + list.newerWord]) {
    out.push(at);
  }
  const fromEnd = out.length;
  for (let at = newest; take(at); at = list.words[at * list.rowWords + list.olderWord]) {
    out.push(at);
  }
  out.reverseFrom(fromEnd);
}

/** A growing list of row numbers, 4 bytes each: ten million of them are no array of objects. */
class Sequence {
  #items: Int32Array;
  #length = 0;

  constructor(most: number) {
    this.#items = new Int32Array(most);
  }

  get length(): number {
    return this.#length;
  }

  at(index: number): number {
    return this.#items[index];
  }

  push(item: number): void {
    this.#items[this.#length++] = item;
  }

  reverseFrom(start: number): void {
    this.#items.subarray(start, this.#length).reverse();
  }
}

/** All live rows; those of one name are in the order of their age. */
function liveOrder({ header, names, records }: Repairable, used: Uint8Array): Sequence {
  const high = header[HEADER_RECORD_HIGH];
  const seen = new Uint8Array(high);
  const order = new Sequence(high);
  let name = 0;
  const list = recordList(records, (r) => records.isLive(r) && records.name(r) === name);
  for (; name < used.length; name++) {
    if (used[name] === 0) continue;
    const row = name * NAME_WORDS;
    salvage(list, names.words[row + NAME_OLDEST], names.words[row + NAME_NEWEST], seen, order);
  }
  appendUnseen(seen, (record) => records.state(record) === STATE_LIVE, order);
  return order;
}

/** All tombstones, in the order of their removal. */
function tombstoneOrder({ header, records }: Repairable): Sequence {
  const high = header[HEADER_RECORD_HIGH];
  const seen = new Uint8Array(high);
  const order = new Sequence(high);
  const isTombstone = (record: number) => records.state(record) === STATE_TOMBSTONE;
  const list = recordList(records, isTombstone);
  salvage(list, header[HEADER_TOMBSTONE_OLDEST], header[HEADER_TOMBSTONE_NEWEST], seen, order);
  appendUnseen(seen, isTombstone, order);
  return order;
}

/** All names in use, in the order of their last use. */
function recencyOrder({ header, names }: Repairable, used: Uint8Array): Sequence {
  const seen = new Uint8Array(used.length);
  const order = new Sequence(used.length);
  const list = {
    words: names.words,
    rowWords: NAME_WORDS,
    olderWord: NAME_LRU_OLDER,
    newerWord: NAME_LRU_NEWER,
    belongs: (name: number) => used[name] === 1,
  };
  salvage(list, header[HEADER_LRU_OLDEST], header[HEADER_LRU_NEWEST], seen, order);
  appendUnseen(seen, list.belongs, order);
  return order;
}

function recordList(records: Records, belongs: (record: number) => boolean): TornList {
  return {
    words: records.words,
    rowWords: RECORD_WORDS,
    olderWord: RECORD_OLDER,
    newerWord: RECORD_NEWER,
    belongs,
  };
}

function appendUnseen(seen: Uint8Array, belongs: (index: number) => boolean, out: Sequence): void {
  for (let index = 0; index < seen.length; index++) {
    if (seen[index] === 0 && belongs(index)) out.push(index);
  }
}

/** Empties every name in use and makes it findable; frees the others. */
function rebuildNames({ header, names }: Repairable, used: Uint8Array): void {
  const { words } = names;
  for (let name = used.length - 1; name >= 0; name--) {
    if (used[name] === 0) {
      names.freeRow(name);
      continue;
    }
    const row = name * NAME_WORDS;
    words[row + NAME_LRU_OLDER] = NONE;
    words[row + NAME_LRU_NEWER] = NONE;
    words[row + NAME_OLDEST] = NONE;
    words[row + NAME_NEWEST] = NONE;
    words[row + NAME_LIVE] &= 0xff;
    words[row + NAME_DEAD] &= 0xff;
    words[row + NAME_EXTENT] = NONE;
    names.table.insert(names.hashOf(name), name);
    header[HEADER_NAMES]++;
  }
}

function rebuildOverflow({ header, names }: Repairable, used: Uint8Array): void {
  const inUse = new Uint8Array(header[HEADER_OVERFLOW_HIGH]);
  for (let name = 0; name < used.length; name++) {
    if (used[name] === 0) continue;
    let block = names.words[name * NAME_WORDS + NAME_OVERFLOW];
    for (; block !== NONE; block = names.overflow[block * OVERFLOW_WORDS]) {
      inUse[block] = 1;
      header[HEADER_OVERFLOW_USED]++;
    }
  }
  for (let block = inUse.length - 1; block >= 0; block--) {
    if (inUse[block] === 0) names.freeBlock(block);
  }
}

function freeUnusedRows({ header, records }: Repairable): void {
  for (let record = header[HEADER_RECORD_HIGH] - 1; record >= 0; record--) {
    if (records.state(record) === STATE_FREE) records.freeRow(record);
  }
}

interface SalvagedOrder {
  readonly live: Sequence;
  readonly tombstones: Sequence;
  readonly recent: Sequence;
}

/** Links every row again; returns how many found no extent and were dropped. */
function relink(store: Repairable, order: SalvagedOrder): number {
  const { names, records, membership } = store;
  let dropped = 0;
  for (let i = 0; i < order.tombstones.length; i++) {
    const record = order.tombstones.at(i);
    records.table.insert(records.hashOf(record), record);
    membership.enqueueTombstone(records.name(record), record);
  }
  for (let i = 0; i < order.live.length; i++) {
    const record = order.live.at(i);
    const name = records.name(record);
    records.table.insert(records.hashOf(record), record);
    if (membership.reserve(name, records.isIpv6(record) ? 6 : 4)) {
      membership.link(name, record);
    } else {
      records.release(record);
      dropped++;
    }
  }
  for (let i = 0; i < order.recent.length; i++) names.touch(order.recent.at(i));
  return dropped;
}
