/**
 * A DHT store's behaviour in the plainest words: a map in the order of the last put. Rows whose
 * time is over stay until something meets them, as in the store.
 */
import { type PeerChange, ValueChange } from '../../../workers/dht/store/change.ts';
import {
  ABSENT,
  ADDED,
  type ApplyResult,
  BOUNDED,
  OP_PUT,
  REFRESHED,
  REMOVED,
  STALE,
} from '../../../workers/store/change.ts';
import { changeText } from './fixture.ts';

interface ModelRow {
  text: string;
  expiresAt: number;
  readonly prefix: number;
  readonly host: number;
  readonly target: string;
}

export class StoreModel {
  readonly limit: number;
  readonly prefixLimit: number;
  readonly rows = new Map<string, ModelRow>();
  readonly bumps = new Map<string, { bump: number; until: number }>();
  now = 0;
  evicted = 0;
  expired = 0;

  constructor(limit: number) {
    this.limit = limit;
    this.prefixLimit = Math.max(16, Math.floor(limit / 16));
  }

  apply(change: ValueChange | PeerChange): ApplyResult {
    const [key, text] = changeText(change);
    if (change.op === OP_PUT && change.expiresAt <= this.now) return STALE;
    const known = this.rows.get(key);
    if (known !== undefined && known.expiresAt <= this.now) {
      this.drop(key);
      this.expired++;
    }
    const row = this.rows.get(key);
    if (change.op !== OP_PUT) {
      if (row === undefined) return ABSENT;
      this.drop(key);
      return REMOVED;
    }
    const { prefix, host, expiresAt } = change;
    if (row === undefined) {
      if (prefix !== 0 && this.countOf('prefix', prefix) >= this.prefixLimit) return BOUNDED;
      if (host !== 0 && this.countOf('host', host) >= this.prefixLimit / 2) return BOUNDED;
      if (this.rows.size === this.limit) {
        this.drop([...this.rows.keys()][0]);
        this.evicted++;
      }
    }
    const owner = { prefix: row?.prefix ?? prefix, host: row?.host ?? host };
    this.rows.delete(key);
    const content = text.replace(/of .*$/, `of ${owner.prefix} ${owner.host}`);
    const target = key.split('/')[0];
    this.rows.set(key, { text: content, expiresAt, ...owner, target });
    if (!(change instanceof ValueChange) && change.bump > this.bump(target)) {
      this.bumps.set(target, { bump: change.bump, until: expiresAt });
    }
    return row === undefined ? ADDED : REFRESHED;
  }

  bump(target: string): number {
    const { bump, until } = this.bumps.get(target) ?? { bump: 0, until: 0 };
    return until > this.now ? bump : 0;
  }

  countOf(field: 'prefix' | 'host', value: number): number {
    return [...this.rows.values()].filter((row) => row[field] === value).length;
  }

  drop(key: string): void {
    const target = this.rows.get(key)?.target ?? '';
    this.rows.delete(key);
    if (![...this.rows.values()].some((row) => row.target === target)) this.bumps.delete(target);
  }

  tick(now: number, most: number): number {
    this.now = now;
    let freed = 0;
    for (const [key, row] of this.rows) {
      if (freed === most || row.expiresAt > now) break;
      this.drop(key);
      this.expired++;
      freed++;
    }
    return freed;
  }

  dump(): [string, string][] {
    return [...this.rows].map(([key, { text }]) => [key, text]);
  }
}
