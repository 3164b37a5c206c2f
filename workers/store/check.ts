/**
 * Verifies that a store is consistent in itself: every list, table, free list and count
 * (layout.ts).
 */
import { capacity, EXTENT_FREE_NEXT, EXTENT_KIND, EXTENT_OWNER, EXTENT_USED } from './extents.ts';
import { firstMark, type HashTable, nextMark } from './hash-table.ts';
import {
  EXTENT_MAX_CLASS,
  EXTENT_MIN_CLASS,
  HEADER_EXTENT_FREE,
  HEADER_EXTENT_HIGH,
  HEADER_LIVE,
  HEADER_LRU_NEWEST,
  HEADER_LRU_OLDEST,
  HEADER_NAME_FREE,
  HEADER_NAME_HIGH,
  HEADER_NAMES,
  HEADER_OVERFLOW_FREE,
  HEADER_OVERFLOW_HIGH,
  HEADER_OVERFLOW_USED,
  HEADER_RECORD_FREE,
  HEADER_RECORD_HIGH,
  HEADER_TOMBSTONE_NEWEST,
  HEADER_TOMBSTONE_OLDEST,
  HEADER_TOMBSTONES,
  HEADER_WRITING,
  NAME_EXTENT,
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
  RECORD_POSITION,
  RECORD_SEQ,
  RECORD_WORDS,
  STATE_FREE,
  STATE_LIVE,
} from './layout.ts';
import { LIST_PEERS_LOW, LIST_PEERS_MAX } from './membership.ts';
import { overflowBlocksFor } from './names.ts';
import type { Repairable } from './repair.ts';

/** @throws Error naming the first invariant that does not hold. */
export function checkStore(store: Repairable): void {
  const { header, names, records } = store;
  expect(header[HEADER_WRITING] === 0, 'no change is under way');
  const freeNames = freeRows(names.words, NAME_WORDS, NAME_LRU_OLDER, header[HEADER_NAME_FREE]);
  const freeRecords = freeRows(
    records.words,
    RECORD_WORDS,
    RECORD_OLDER,
    header[HEADER_RECORD_FREE],
  );
  checkTable('names', names.table, header[HEADER_NAMES], (name) => !freeNames.has(name));
  const inUse = header[HEADER_LIVE] + header[HEADER_TOMBSTONES];
  checkTable('records', records.table, inUse, (record) => records.state(record) !== STATE_FREE);
  expect(header[HEADER_RECORD_HIGH] === inUse + freeRecords.size, 'record rows: used + free');
  expect(header[HEADER_NAME_HIGH] === header[HEADER_NAMES] + freeNames.size, 'name rows');
  const dead = checkTombstones(store);
  checkNames(store, freeNames, dead);
  checkOverflow(store, freeNames);
  checkExtents(store);
  for (let record = 0; record < header[HEADER_RECORD_HIGH]; record++) {
    expect((records.seqs[record * RECORD_WORDS + RECORD_SEQ] & 1) === 0, `row ${record} is whole`);
    expect(
      (records.state(record) === STATE_FREE) === freeRecords.has(record),
      `row ${record} is free exactly when in the free list`,
    );
  }
}

function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(`record store: does not hold: ${what}`);
}

function freeRows(words: Int32Array, rowWords: number, link: number, head: number): Set<number> {
  const free = new Set<number>();
  for (let row = head; row !== NONE; row = words[row * rowWords + link]) {
    expect(!free.has(row), `free list reaches row ${row} once`);
    free.add(row);
  }
  return free;
}

function checkTable(
  what: string,
  table: HashTable,
  count: number,
  inUse: (index: number) => boolean,
): void {
  let entries = 0;
  for (let slot = 0; slot < table.size; slot++) {
    const entry = table.slots[slot];
    if (entry === 0) continue;
    entries++;
    const index = (entry >>> 8) - 1;
    const hash = table.hashOf(index);
    expect(inUse(index), `${what} table: entry ${index} is in use`);
    let mark = firstMark(hash);
    for (let at = table.home(hash); at !== slot; at = table.next(at)) {
      expect(table.slots[at] !== 0, `${what} table: no gap before ${index}`);
      mark = nextMark(mark);
    }
    expect((entry & 0xff) === mark, `${what} table: tag and distance of ${index}`);
  }
  expect(entries === count, `${what} table has ${entries} entries of ${count}`);
}

/** Returns the number of tombstones per name. */
function checkTombstones({ header, records }: Repairable): Map<number, number> {
  const dead = new Map<number, number>();
  let previous = NONE;
  let count = 0;
  let at = header[HEADER_TOMBSTONE_OLDEST];
  for (; at !== NONE; at = records.words[at * RECORD_WORDS + RECORD_NEWER]) {
    const row = at * RECORD_WORDS;
    expect(records.words[row + RECORD_OLDER] === previous, `tombstone ${at}: link back`);
    expect(!records.isLive(at) && records.state(at) !== STATE_FREE, `tombstone ${at}: state`);
    dead.set(records.name(at), (dead.get(records.name(at)) ?? 0) + 1);
    previous = at;
    expect(++count <= records.limit, 'the queue of tombstones ends');
  }
  expect(previous === header[HEADER_TOMBSTONE_NEWEST], 'newest tombstone');
  expect(count === header[HEADER_TOMBSTONES], 'number of tombstones');
  return dead;
}

function checkNames(store: Repairable, free: Set<number>, dead: Map<number, number>): void {
  const { header, names } = store;
  let live = 0;
  let withLive = 0;
  for (let name = 0; name < header[HEADER_NAME_HIGH]; name++) {
    if (free.has(name)) continue;
    expect(names.dead(name) === (dead.get(name) ?? 0), `name ${name}: number of tombstones`);
    expect(names.live(name) + names.dead(name) > 0, `name ${name} has records`);
    checkAgeList(store, name);
    live += names.live(name);
    if (names.live(name) > 0) withLive++;
  }
  expect(live === header[HEADER_LIVE], 'number of live records');
  let previous = NONE;
  let at = header[HEADER_LRU_OLDEST];
  for (; at !== NONE; at = names.words[at * NAME_WORDS + NAME_LRU_NEWER]) {
    const row = at * NAME_WORDS;
    expect(names.words[row + NAME_LRU_OLDER] === previous, `name ${at}: link back`);
    expect(!free.has(at) && names.live(at) > 0, `name ${at} in the order of use is live`);
    previous = at;
    expect(--withLive >= 0, 'the order of use has each name once');
  }
  expect(previous === header[HEADER_LRU_NEWEST] && withLive === 0, 'the order of use is complete');
}

function checkAgeList({ names, records, membership }: Repairable, name: number): void {
  const row = name * NAME_WORDS;
  let previous = NONE;
  let count = 0;
  for (let at = names.words[row + NAME_OLDEST]; at !== NONE; at = membership.newer(at)) {
    expect(records.words[at * RECORD_WORDS + RECORD_OLDER] === previous, `record ${at}: link back`);
    expect(records.state(at) === STATE_LIVE && records.name(at) === name, `record ${at}: its name`);
    previous = at;
    expect(++count <= names.live(name), `name ${name}: the age list ends`);
  }
  expect(previous === names.words[row + NAME_NEWEST], `name ${name}: newest`);
  expect(count === names.live(name), `name ${name}: number of live records`);
  const hasExtents = names.words[row + NAME_EXTENT] !== NONE;
  expect(hasExtents || count <= LIST_PEERS_MAX, `name ${name} with ${count} has extents`);
  expect(!hasExtents || count >= LIST_PEERS_LOW, `name ${name} with ${count} needs no extents`);
}

function checkOverflow({ header, names }: Repairable, free: Set<number>): void {
  const seen = freeRows(names.overflow, OVERFLOW_WORDS, 0, header[HEADER_OVERFLOW_FREE]);
  let used = 0;
  for (let name = 0; name < header[HEADER_NAME_HIGH]; name++) {
    if (free.has(name)) continue;
    let blocks = 0;
    let block = names.words[name * NAME_WORDS + NAME_OVERFLOW];
    for (; block !== NONE; block = names.overflow[block * OVERFLOW_WORDS]) {
      expect(!seen.has(block), `overflow block ${block} is used once`);
      seen.add(block);
      blocks++;
    }
    expect(blocks === overflowBlocksFor(names.keyLength(name)), `name ${name}: overflow blocks`);
    used += blocks;
  }
  expect(used === header[HEADER_OVERFLOW_USED], 'overflow blocks in use');
  expect(seen.size === header[HEADER_OVERFLOW_HIGH], 'overflow blocks: used + free');
}

/**
 * Walks the tiles below the high mark: used blocks belong to names, free ones are in their lists.
 */
function checkExtents(store: Repairable): void {
  const { header } = store;
  const { extents } = store.membership;
  const free = new Map<number, number>();
  for (let k = EXTENT_MIN_CLASS; k <= EXTENT_MAX_CLASS; k++) {
    let block = header[HEADER_EXTENT_FREE + k];
    for (; block !== NONE; block = extents.words[block + EXTENT_FREE_NEXT]) free.set(block, k);
  }
  let listed = 0;
  for (let at = 0; at < header[HEADER_EXTENT_HIGH]; ) {
    const kind = extents.words[at + EXTENT_KIND];
    const k = kind & 0xff;
    expect(k >= EXTENT_MIN_CLASS && k <= EXTENT_MAX_CLASS, `extent block ${at}: class ${k}`);
    expect(at % (1 << k) === 0, `extent block ${at} is aligned`);
    if ((kind & EXTENT_USED) === 0) {
      expect(free.get(at) === k, `free extent block ${at} is in its list`);
      expect(free.get(at ^ (1 << k)) !== k, `free extent block ${at} joined its buddy`);
      listed++;
    } else {
      checkExtent(store, at, k);
    }
    at += 1 << k;
  }
  expect(listed === free.size, 'free extent blocks');
}

function checkExtent({ names, records, membership }: Repairable, block: number, k: number): void {
  const { extents } = membership;
  const name = extents.words[block + EXTENT_OWNER];
  const family = extents.family(block);
  const count = extents.count(block);
  expect(extents.find(name, family) === block, `extent block ${block} is its owner's`);
  expect(count <= capacity(k), `extent block ${block}: count`);
  for (let i = 0; i < count; i++) {
    const record = extents.at(block, i);
    const position = records.words[record * RECORD_WORDS + RECORD_POSITION];
    expect(records.isLive(record) && records.name(record) === name, `extent ${block}[${i}]`);
    expect(records.isIpv6(record) === (family === 6), `extent ${block}[${i}]: family`);
    expect(position === i, `record ${record}: position`);
  }
  const other = extents.find(name, family === 4 ? 6 : 4);
  const total = count + (other === NONE ? 0 : extents.count(other));
  expect(total === names.live(name), `name ${name}: extents hold all its live records`);
}
