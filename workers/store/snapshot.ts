/**
 * Reading a store row by row while its lane writes it, from any thread: for toJSON and persistence.
 * Each row is whole (its sequence number was even and the same before and after); the rows together
 * are not one moment in time.
 */
import {
  HEADER_RECORD_HIGH,
  MAX_KEY_BYTES,
  RECORD_BYTES,
  RECORD_NAME,
  RECORD_SEQ,
  RECORD_WORDS,
  STATE_FREE,
  STATE_TOMBSTONE,
} from './layout.ts';
import type { Names } from './names.ts';
import type { Records } from './records.ts';

/**
 * A writer needs well under a microsecond for a row; one that died in it leaves it odd for good.
 */
const READ_ATTEMPTS = 1000;

/** One row, copied out. The visitor must not keep it: it is filled again for the next row. */
export class RecordView {
  record = 0;
  tombstone = false;
  /** The key is `key[0..keyLength)`. */
  readonly key = new Uint8Array(MAX_KEY_BYTES);
  keyLength = 0;
  domain = 0;
  readonly address = new Uint8Array(16);
  port = 0;
  /** 4 or 6. */
  family = 4;
  origin = 0;
  /** Whole unix seconds, 0 = never; of a tombstone: when it may be forgotten. */
  expiresAt = 0;
  version = 0;
}

export type RecordVisitor = (view: RecordView) => void;

/**
 * Visits every row of `[first, end)` that is in use, expired or not.
 *
 * @returns how many rows were left out because they stayed torn (their writer died in them).
 */
export function visitRecords(
  records: Records,
  names: Names,
  visitor: RecordVisitor,
  first = 0,
  end = Number.POSITIVE_INFINITY,
): number {
  const view = new RecordView();
  const fence = new Int32Array(new SharedArrayBuffer(4));
  const last = Math.min(end, records.header[HEADER_RECORD_HIGH]);
  let torn = 0;
  for (let record = first; record < last; record++) {
    const read = readRow(records, names, record, view, fence);
    if (read === READ_TORN) torn++;
    else if (read === READ_USED) visitor(view);
  }
  return torn;
}

const READ_FREE = 0;
const READ_USED = 1;
const READ_TORN = 2;

function readRow(
  records: Records,
  names: Names,
  record: number,
  view: RecordView,
  fence: Int32Array,
): number {
  const seqAt = record * RECORD_WORDS + RECORD_SEQ;
  for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
    const before = Atomics.load(records.seqs, seqAt);
    if ((before & 1) !== 0) continue;
    const used = copyRow(records, names, record, view);
    // A full barrier: the second look at the number must not come before the copy.
    Atomics.add(fence, 0, 1);
    if (Atomics.load(records.seqs, seqAt) === before) return used ? READ_USED : READ_FREE;
  }
  return READ_TORN;
}

function copyRow(records: Records, names: Names, record: number, view: RecordView): boolean {
  const state = records.state(record);
  if (state === STATE_FREE) return false;
  const name = records.words[record * RECORD_WORDS + RECORD_NAME];
  view.record = record;
  view.tombstone = state === STATE_TOMBSTONE;
  view.port = records.port(record);
  view.family = records.isIpv6(record) ? 6 : 4;
  view.origin = records.origin(record);
  view.expiresAt = records.expiresAt(record);
  view.version = records.version(record);
  view.domain = names.domain(name);
  view.keyLength = names.copyKey(name, view.key, 0);
  const at = record * RECORD_BYTES;
  for (let i = 0; i < 16; i++) view.address[i] = records.bytes[at + i];
  return true;
}
