/**
 * Which live records a name has: an age list always, extents beside it while the name has many, and
 * the counts. Tombstones belong to their name too, but wait in one queue of the whole store:
 *
 *   name.oldest -> record <-> record <-> record <- name.newest        (older .. newer)
 *   header.tombstoneOldest -> record <-> record <- tombstoneNewest    (in order of removal)
 */
import { Extents } from './extents.ts';
import {
  HEADER_LIVE,
  HEADER_TOMBSTONE_NEWEST,
  HEADER_TOMBSTONE_OLDEST,
  HEADER_TOMBSTONES,
  NAME_DEAD,
  NAME_LIVE,
  NAME_NEWEST,
  NAME_OLDEST,
  NAME_WORDS,
  NONE,
  RECORD_NEWER,
  RECORD_OLDER,
  RECORD_WORDS,
  type StoreBuffers,
} from './layout.ts';
import type { Names } from './names.ts';
import type { Records } from './records.ts';
import type { StoreWatcher } from './watcher.ts';

/**
 * No extents up to here. Each step of a list waits for memory, the reads of an array overlap: from
 * five peers on the array was measured faster, with 31 almost three times.
 */
export const LIST_PEERS_MAX = 4;
/**
 * Below this a name gives its extents back; the gap spares names at the border the toing and
 * froing.
 */
export const LIST_PEERS_LOW = 3;

/** One unit of the counts that share their word with a byte. */
const ONE = 1 << 8;

export class Membership {
  readonly header: Int32Array;
  readonly names: Int32Array;
  readonly records: Int32Array;
  readonly extents: Extents;
  /** Told of every record that becomes live or stops being so. */
  watcher: StoreWatcher | null = null;
  readonly #nameRows: Names;
  readonly #recordRows: Records;

  constructor(buffers: StoreBuffers, names: Names, records: Records) {
    this.header = new Int32Array(buffers.header);
    this.names = new Int32Array(buffers.names);
    this.records = new Int32Array(buffers.records);
    this.extents = new Extents(buffers);
    this.#nameRows = names;
    this.#recordRows = records;
  }

  oldest(name: number): number {
    return this.names[name * NAME_WORDS + NAME_OLDEST];
  }

  newer(record: number): number {
    return this.records[record * RECORD_WORDS + RECORD_NEWER];
  }

  /** Makes sure that `link` will succeed; false when the name cannot grow. */
  reserve(name: number, family: number): boolean {
    if (this.extents.first(name) === NONE) {
      if (this.#nameRows.live(name) < LIST_PEERS_MAX) return true;
      if (!this.#promote(name)) return false;
    }
    return this.extents.reserve(name, family);
  }

  /** Gives a name extents with all its live records. */
  #promote(name: number): boolean {
    for (let record = this.oldest(name); record !== NONE; record = this.newer(record)) {
      const family = this.#family(record);
      if (!this.extents.reserve(name, family)) {
        this.extents.release(name);
        return false;
      }
      this.extents.add(name, family, record);
    }
    return true;
  }

  #family(record: number): number {
    return this.#recordRows.isIpv6(record) ? 6 : 4;
  }

  /** Makes a live row the newest record of its name, and the name the most recently used. */
  link(name: number, record: number): void {
    this.watcher?.count(name, this.records, record * RECORD_WORDS, 1);
    this.#appendNewest(name, record);
    this.names[name * NAME_WORDS + NAME_LIVE] += ONE;
    this.header[HEADER_LIVE]++;
    if (this.extents.first(name) !== NONE) this.extents.add(name, this.#family(record), record);
    if (this.#nameRows.live(name) === 1) this.#nameRows.lruAppend(name);
    else this.#nameRows.touch(name);
  }

  /** The reverse of `link`; the name stays, perhaps without records. */
  unlink(name: number, record: number): void {
    this.watcher?.count(name, this.records, record * RECORD_WORDS, -1);
    this.#detach(name, record);
    this.names[name * NAME_WORDS + NAME_LIVE] -= ONE;
    this.header[HEADER_LIVE]--;
    const live = this.#nameRows.live(name);
    if (this.extents.first(name) !== NONE) {
      if (live < LIST_PEERS_LOW) this.extents.release(name);
      else this.extents.remove(name, this.#family(record), record);
    }
    if (live === 0) this.#nameRows.lruRemove(name);
  }

  /** Makes a linked record the newest of its name. */
  renew(name: number, record: number): void {
    if (this.names[name * NAME_WORDS + NAME_NEWEST] !== record) {
      this.#detach(name, record);
      this.#appendNewest(name, record);
    }
    this.#nameRows.touch(name);
  }

  #appendNewest(name: number, record: number): void {
    const { names, records } = this;
    const row = record * RECORD_WORDS;
    const newest = names[name * NAME_WORDS + NAME_NEWEST];
    records[row + RECORD_OLDER] = newest;
    records[row + RECORD_NEWER] = NONE;
    if (newest === NONE) names[name * NAME_WORDS + NAME_OLDEST] = record;
    else records[newest * RECORD_WORDS + RECORD_NEWER] = record;
    names[name * NAME_WORDS + NAME_NEWEST] = record;
  }

  #detach(name: number, record: number): void {
    const { names, records } = this;
    const row = record * RECORD_WORDS;
    const older = records[row + RECORD_OLDER];
    const newer = records[row + RECORD_NEWER];
    if (older === NONE) names[name * NAME_WORDS + NAME_OLDEST] = newer;
    else records[older * RECORD_WORDS + RECORD_NEWER] = newer;
    if (newer === NONE) names[name * NAME_WORDS + NAME_NEWEST] = older;
    else records[newer * RECORD_WORDS + RECORD_OLDER] = older;
  }

  /** Puts a tombstone row at the end of the queue. */
  enqueueTombstone(name: number, record: number): void {
    const { header, records } = this;
    const row = record * RECORD_WORDS;
    const newest = header[HEADER_TOMBSTONE_NEWEST];
    records[row + RECORD_OLDER] = newest;
    records[row + RECORD_NEWER] = NONE;
    if (newest === NONE) header[HEADER_TOMBSTONE_OLDEST] = record;
    else records[newest * RECORD_WORDS + RECORD_NEWER] = record;
    header[HEADER_TOMBSTONE_NEWEST] = record;
    this.names[name * NAME_WORDS + NAME_DEAD] += ONE;
    header[HEADER_TOMBSTONES]++;
  }

  /** Takes a tombstone row out of the queue, wherever it stands. */
  dequeueTombstone(name: number, record: number): void {
    const { header, records } = this;
    const row = record * RECORD_WORDS;
    const older = records[row + RECORD_OLDER];
    const newer = records[row + RECORD_NEWER];
    if (older === NONE) header[HEADER_TOMBSTONE_OLDEST] = newer;
    else records[older * RECORD_WORDS + RECORD_NEWER] = newer;
    if (newer === NONE) header[HEADER_TOMBSTONE_NEWEST] = older;
    else records[newer * RECORD_WORDS + RECORD_OLDER] = older;
    this.names[name * NAME_WORDS + NAME_DEAD] -= ONE;
    header[HEADER_TOMBSTONES]--;
  }
}
