/**
 * What all DHT stores have in common: rows until a time of their own, one door of change, eviction
 * of the row whose last put is the oldest, bounds on what a network and a host have, and repair.
 *
 * One lane is the only writer. Time is what `setTime` and `tick` say.
 */
import {
  ABSENT,
  ADDED,
  type ApplyResult,
  BOUNDED,
  INVALID,
  OP_PUT,
  OP_REMOVE,
  REFRESHED,
  REMOVED,
  STALE,
} from '../../store/change.ts';
import type { HashTable } from '../../store/hash-table.ts';
import type { Change } from './change.ts';
import {
  type ArenaBuffers,
  checkArena,
  HEADER_SIZE,
  HEADER_WRITING,
  NONE,
  TOTAL_EVICTED,
  TOTAL_EXPIRED,
} from './layout.ts';
import { type RepairReport, Rows } from './rows.ts';

export abstract class ExpiringStore<C extends Change> {
  readonly buffers: ArenaBuffers;
  /** Called after each change that came into effect: ADDED, REFRESHED or REMOVED. */
  onChange: ((change: C, result: ApplyResult) => void) | null = null;
  readonly rows: Rows;
  abstract readonly tables: readonly HashTable[];

  /**
   * Wraps existing buffers, and writes nothing; a writer repairs them if need be.
   *
   * @throws RangeError when they are not one store of this layout with as many tables.
   */
  constructor(buffers: ArenaBuffers, tables: number) {
    checkArena(buffers, tables);
    this.buffers = buffers;
    this.rows = new Rows(buffers);
  }

  /** Rows in use, among them those whose time is over and that no tick has met yet. */
  get size(): number {
    return this.rows.header[HEADER_SIZE];
  }

  /** Rows that had to go for newer ones, ever. */
  get evicted(): number {
    return this.rows.totals[TOTAL_EVICTED];
  }

  /** Rows whose time was over when they were met, ever. */
  get expired(): number {
    return this.rows.totals[TOTAL_EXPIRED];
  }

  /** Milliseconds from now on: what is over then is absent. */
  setTime(nowMs: number): void {
    this.rows.now = nowMs;
  }

  /**
   * The one door of change. Never throws; allocates nothing; keeps no reference to the change.
   *
   * ADDED, REFRESHED (a put of what is there: written anew, and the newest), REMOVED, ABSENT
   * (nothing to remove), STALE (a put that is over), BOUNDED (the network or the host has its share
   * of rows; nothing changed) or INVALID (a field out of range).
   */
  apply(change: C): ApplyResult {
    const isPut = change.op === OP_PUT && Number.isFinite(change.expiresAt);
    const isKnown = isPut || change.op === OP_REMOVE;
    if (!isKnown || !this.hasKey(change) || (isPut && !this.hasContent(change))) return INVALID;
    const { header } = this.rows;
    header[HEADER_WRITING] = 1;
    const result = isPut ? this.#put(change) : this.#remove(change);
    header[HEADER_WRITING] = 0;
    if (this.onChange !== null && result <= REMOVED) this.onChange(change, result);
    return result;
  }

  #put(change: C): ApplyResult {
    const { rows } = this;
    if (change.expiresAt <= rows.now) return STALE;
    let row = this.#findLive(change);
    if (row !== NONE) {
      rows.begin(row);
      this.writeContent(row, change);
      rows.renew(row, change.expiresAt);
      rows.end(row);
      rows.moveToNewest(row);
      this.settle(row);
      return REFRESHED;
    }
    // Before anyone is evicted: what is refused must cost nobody a row.
    if (!rows.admits(change.prefix, change.host)) return BOUNDED;
    if (rows.isFull) {
      this.#drop(rows.oldest);
      rows.totals[TOTAL_EVICTED]++;
    }
    row = rows.take();
    rows.begin(row);
    this.writeKey(row, change);
    this.writeContent(row, change);
    rows.fill(row, change);
    rows.end(row);
    this.enter(row);
    rows.link(row);
    return ADDED;
  }

  #remove(change: C): ApplyResult {
    const row = this.#findLive(change);
    if (row === NONE) return ABSENT;
    this.#drop(row);
    return REMOVED;
  }

  /** The change's row, or NONE; frees it when its time is over. */
  #findLive(change: C): number {
    const row = this.seek(change);
    if (row === NONE || !this.rows.isOver(row)) return row;
    this.#expire(row);
    return NONE;
  }

  #drop(row: number): void {
    this.leave(row);
    this.rows.release(row);
  }

  #expire(row: number): void {
    this.#drop(row);
    this.rows.totals[TOTAL_EXPIRED]++;
  }

  /**
   * Sets the time and frees up to `atMostRows` rows that are over, the oldest first: one with a
   * longer life than those put after it makes them wait for its end.
   *
   * @returns how many it freed; `atMostRows` means that there may be more.
   */
  tick(nowMs: number, atMostRows: number): number {
    const { rows } = this;
    rows.now = nowMs;
    let freed = 0;
    for (; freed < atMostRows && rows.oldest !== NONE && rows.isOver(rows.oldest); freed++) {
      rows.header[HEADER_WRITING] = 1;
      this.#expire(rows.oldest);
      rows.header[HEADER_WRITING] = 0;
    }
    return freed;
  }

  /** Whether a writer died in the middle of a change of these buffers. */
  get needsRepair(): boolean {
    return this.rows.header[HEADER_WRITING] !== 0;
  }

  /**
   * Rebuilds the lists, tables and counts from the rows that are whole; for the writer. Linear in
   * the rows ever used; may be interrupted and run again.
   */
  repair(): RepairReport {
    const { header } = this.rows;
    header[HEADER_WRITING] = 1;
    const { order, dropped } = this.rows.salvage();
    for (const table of this.tables) table.clear();
    for (const row of order) {
      this.enter(row);
      this.rows.link(row);
    }
    header[HEADER_WRITING] = 0;
    return { kept: order.length, dropped };
  }

  /** The row of the change's key, over or not, or -1. */
  abstract seek(change: C): number;
  /** Whether the change's key is all there. */
  protected abstract hasKey(change: C): boolean;
  /** Whether a put's other fields are in their ranges. */
  protected abstract hasContent(change: C): boolean;
  protected abstract writeKey(row: number, change: C): void;
  /** Of a new row after its key, or of one that is there. */
  protected abstract writeContent(row: number, change: C): void;
  /** Makes a row findable; also one that was so before the tables were cleared. */
  protected abstract enter(row: number): void;
  /** After the content of a row that is findable was written. */
  protected abstract settle(row: number): void;
  /** Makes a row no longer findable. */
  protected abstract leave(row: number): void;
}
