/** Verifies that a DHT store is consistent in itself: every list, table and count. */
import assert from 'node:assert/strict';
import { PeerChange, ValueChange } from '../../../workers/dht/store/change.ts';
import {
  HEADER_FREE,
  HEADER_HIGH,
  HEADER_NEWEST,
  HEADER_SIZE,
  NONE,
  PEER_BUMP,
  PEER_COUNT,
  PEER_KEY,
  PEER_POSITION,
  PEER_TARGET,
  PEER_WORDS,
  ROW_HASH,
  ROW_NEWER,
  ROW_OLDER,
  ROW_SEQ,
} from '../../../workers/dht/store/layout.ts';
import { PeerStore } from '../../../workers/dht/store/peer-store.ts';
import type { Rows } from '../../../workers/dht/store/rows.ts';
import type { ValueStore } from '../../../workers/dht/store/value-store.ts';
import { hex, rowsByAge } from './fixture.ts';

export function checkStore(store: ValueStore | PeerStore): void {
  assert.equal(store.needsRepair, false, 'no change is under way');
  checkRows(store.rows);
  for (const table of store.tables) {
    const used = table.slots.reduce((count, entry) => count + (entry === 0 ? 0 : 1), 0);
    assert.equal(used, store.size, 'entries of a table');
  }
  if (store instanceof PeerStore) checkPeers(store);
  else checkValues(store);
}

function checkRows(rows: Rows): void {
  const { header, words, rowWords } = rows;
  const live = rowsByAge(rows);
  assert.equal(live.length, header[HEADER_SIZE], 'rows in the order of age');
  for (const [i, row] of live.entries()) {
    assert.ok(rows.isLive(row), `row ${row} in the order of age is live`);
    assert.equal(words[row * rowWords + ROW_OLDER], live[i - 1] ?? NONE, `row ${row}: link back`);
  }
  assert.equal(header[HEADER_NEWEST], live.at(-1) ?? NONE, 'newest row');
  const seen = new Set(live);
  for (let row = header[HEADER_FREE]; row !== NONE; row = words[row * rowWords + ROW_NEWER]) {
    assert.ok(!seen.has(row) && !rows.isLive(row), `free row ${row} is free, and once`);
    seen.add(row);
  }
  assert.equal(seen.size, header[HEADER_HIGH], 'rows used and free');
  for (const row of seen) assert.equal(words[row * rowWords + ROW_SEQ] & 1, 0, `row ${row} whole`);
}

function checkValues(store: ValueStore): void {
  for (const row of rowsByAge(store.rows)) {
    const change = new ValueChange();
    change.key = store.bytes;
    change.keyAt = store.keyStart(row);
    change.hash = store.hashOf(row);
    assert.equal(store.seek(change), row, `row ${row} is found by its key`);
  }
}

function checkPeers(store: PeerStore): void {
  const { words, floats, bytes } = store.rows;
  const targets = new Map<string, { count: number; said: number }>();
  for (const row of rowsByAge(store.rows)) {
    const at = row * PEER_WORDS;
    const change = new PeerChange();
    change.target = bytes;
    change.targetAt = (at + PEER_TARGET) * 4;
    change.publicKey = bytes;
    change.publicKeyAt = (at + PEER_KEY) * 4;
    change.hash = words[at + ROW_HASH];
    assert.equal(store.seek(change), row, `row ${row} is found by its keys`);
    const position = words[at + PEER_POSITION];
    assert.equal(store.placeOf(row, position), row, `row ${row} is found by its position`);
    const name = `${change.hash}/${hex(bytes, change.targetAt, 32)}`;
    const target = targets.get(name) ?? { count: 0, said: NONE };
    target.count++;
    if (position === 0) target.said = words[at + PEER_COUNT];
    else assert.equal(floats[(at + PEER_BUMP) >> 1], 0, `row ${row}: only heads have a bump`);
    targets.set(name, target);
  }
  // Positions are distinct, as each is found: with as many as the head says they have no gap.
  for (const { count, said } of targets.values()) assert.equal(said, count, 'peers of a target');
  assert.equal(store.targets, targets.size, 'number of targets');
}
