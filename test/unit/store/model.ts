/**
 * The record store's behaviour in the plainest words: maps in order of insertion, no indices, no
 * reuse. Rows whose time is over stay until something meets them, as in the store.
 */
import {
  ABSENT,
  ADDED,
  type ApplyResult,
  type Change,
  OP_PUT,
  REFRESHED,
  REMOVED,
  STALE,
} from '../../../workers/store/change.ts';
import { rowId, rowText } from './fixture.ts';

export interface ModelRow {
  readonly id: string;
  readonly name: string;
  state: 'live' | 'dead';
  family: number;
  expiresAt: number;
  version: number;
  origin: number;
}

export class StoreModel {
  readonly limit: number;
  readonly tombstoneSeconds: number;
  /** Names by last use, oldest first; of each its live rows, oldest first. */
  readonly names = new Map<string, Map<string, ModelRow>>();
  /** Oldest first. */
  readonly tombstones = new Map<string, ModelRow>();
  evicted = 0;

  constructor(limit: number, tombstoneSeconds: number) {
    this.limit = limit;
    this.tombstoneSeconds = tombstoneSeconds;
  }

  get live(): number {
    let live = 0;
    for (const rows of this.names.values()) live += rows.size;
    return live;
  }

  apply(change: Change): ApplyResult {
    const key = Buffer.from(change.keyBytes.subarray(change.keyStart, change.keyEnd)).toString();
    const name = `${change.domain}/${key}`;
    const id = rowId(key, change.domain, change.address, change.port);
    if (change.op === OP_PUT && over(change.expiresAt, change.now)) return STALE;
    let row = this.names.get(name)?.get(id) ?? this.tombstones.get(id);
    if (row !== undefined && over(row.expiresAt, change.now)) {
      this.drop(row);
      row = undefined;
    }
    if (row !== undefined && isOlder(change, row)) return STALE;
    return change.op === OP_PUT ? this.#put(change, name, id, row) : this.#remove(change, row);
  }

  #put(change: Change, name: string, id: string, known: ModelRow | undefined): ApplyResult {
    const { expiresAt, version, origin, family } = change;
    const wasLive = known?.state === 'live';
    // Said again: nothing changes, not even the order of age and of use.
    if (known !== undefined && wasLive && isSame(change, known)) return REFRESHED;
    if (known === undefined) {
      this.touch(name);
      if (this.live + this.tombstones.size >= this.limit) this.#makeRoom();
    }
    const row: ModelRow = known ?? { id, name, state: 'live', family, expiresAt, version, origin };
    if (!wasLive) row.family = family;
    Object.assign(row, { state: 'live', expiresAt, version, origin });
    this.tombstones.delete(id);
    const rows = this.names.get(name) ?? new Map<string, ModelRow>();
    rows.delete(id);
    rows.set(id, row);
    this.names.set(name, rows);
    this.touch(name);
    return wasLive ? REFRESHED : ADDED;
  }

  #remove(change: Change, row: ModelRow | undefined): ApplyResult {
    if (row === undefined) return ABSENT;
    const wasLive = row.state === 'live';
    this.drop(row);
    if (this.tombstoneSeconds > 0) {
      row.state = 'dead';
      row.expiresAt = change.now + this.tombstoneSeconds;
      row.version = change.version;
      row.origin = change.origin;
      this.tombstones.set(row.id, row);
    }
    return wasLive ? REMOVED : ABSENT;
  }

  #makeRoom(): void {
    for (const tombstone of this.tombstones.values()) {
      this.drop(tombstone);
      return;
    }
    for (const rows of this.names.values()) {
      for (const row of rows.values()) {
        this.drop(row);
        this.evicted++;
        return;
      }
    }
  }

  drop(row: ModelRow): void {
    this.tombstones.delete(row.id);
    const rows = this.names.get(row.name);
    rows?.delete(row.id);
    if (rows?.size === 0) this.names.delete(row.name);
  }

  touch(name: string): void {
    const rows = this.names.get(name);
    if (rows === undefined) return;
    this.names.delete(name);
    this.names.set(name, rows);
  }

  /** Unlinks a name's expired rows and returns the others. */
  sample(name: string, family: number, now: number): ModelRow[] {
    const rows = [...(this.names.get(name)?.values() ?? [])];
    for (const row of rows) if (over(row.expiresAt, now)) this.drop(row);
    return rows.filter((r) => !over(r.expiresAt, now) && (family === 0 || r.family === family));
  }

  sweep(now: number): void {
    for (const row of this.rows()) if (over(row.expiresAt, now)) this.drop(row);
  }

  rows(): ModelRow[] {
    const live = [...this.names.values()].flatMap((rows) => [...rows.values()]);
    return [...live, ...this.tombstones.values()];
  }

  dump(): Map<string, string> {
    return new Map(
      this.rows().map((r) => [r.id, rowText(r.state, r.family, r.expiresAt, r.version, r.origin)]),
    );
  }
}

function over(expiresAt: number, now: number): boolean {
  return expiresAt !== 0 && expiresAt <= now;
}

function isSame(change: Change, row: ModelRow): boolean {
  return (
    change.expiresAt === row.expiresAt &&
    change.version === row.version &&
    change.origin === row.origin
  );
}

function isOlder(change: Change, row: ModelRow): boolean {
  if (change.version !== row.version) return change.version < row.version;
  return change.origin < row.origin;
}
