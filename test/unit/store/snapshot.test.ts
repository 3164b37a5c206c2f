import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RECORD_SEQ, RECORD_WORDS } from '../../../workers/store/layout.ts';
import { RecordStore } from '../../../workers/store/record-store.ts';
import { dump, makeStore, NOW, peer4, peer6, put, remove } from './fixture.ts';

test('a snapshot has live records and tombstones, whole or in parts', () => {
  const store = makeStore(10);
  put(store, 'a', peer4(1, 1), { expiresAt: NOW + 5, version: 7, origin: 2 });
  put(store, 'b'.repeat(200), peer6(2, 2), { domain: 3 });
  put(store, 'c', peer4(3, 3));
  remove(store, 'c', peer4(3, 3));
  assert.deepEqual(
    [...dump(store).values()],
    [
      `live v4 until ${NOW + 5} version 7.2`,
      'live v6 until 0 version 0.0',
      `dead v4 until ${NOW + 600} version 0.0`,
    ],
  );
  const ports: number[] = [];
  store.forEachRecord((view) => ports.push(view.port), 1, 2);
  assert.deepEqual(ports, [2]);
});

test('a row whose writer died in it is left out and counted, and nobody waits for it', () => {
  const store = makeStore(3);
  for (let i = 1; i <= 3; i++) put(store, 'a', peer4(i, i));
  store.records.seqs[1 * RECORD_WORDS + RECORD_SEQ]++;
  const ports: number[] = [];
  assert.equal(
    store.forEachRecord((view) => ports.push(view.port)),
    1,
  );
  assert.deepEqual(ports, [1, 3]);
});

test('a row that changes hands while it is read is read again', () => {
  const store = makeStore(1);
  put(store, 'old', peer4(1, 1), { version: 1 });
  const reader = new RecordStore(store.buffers);
  let changed = false;
  const bytes = new Proxy(reader.records.bytes, {
    get: (target, property) => {
      if (!changed) {
        changed = true;
        put(store, 'the new name', peer6(2, 2), { version: 2, expiresAt: NOW + 9 });
      }
      return Reflect.get(target, property);
    },
  });
  Object.assign(reader.records, { bytes });
  assert.deepEqual([...dump(reader)], [...dump(store)]);
  assert.equal(changed, true);
});
