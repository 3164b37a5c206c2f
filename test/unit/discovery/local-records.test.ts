import assert from 'node:assert/strict';
import { test } from 'node:test';
import { foldCase, LocalRecords } from '../../../server/discovery/local-records.ts';

test('ports of a name, in the order they were announced last', () => {
  const own = new LocalRecords(10);
  own.add('app', 1);
  own.add('app', 2);
  own.add('app', 1);
  assert.deepEqual(own.ports('app'), [2, 1]);
  assert.deepEqual(own.ports('other'), []);
  own.remove('app', 2);
  own.remove('app', 9);
  own.remove('other', 9);
  assert.deepEqual(own.ports('app'), [1]);
  own.remove('app', 1);
  assert.deepEqual([...own.names()], []);
});

test('names are found whatever their ASCII case, and told as first given', () => {
  const own = new LocalRecords(10);
  own.add('Test-App', 1);
  own.add('TEST-APP', 2);
  assert.deepEqual(own.ports('test-app'), [1, 2]);
  assert.deepEqual([...own.names()], [['Test-App', [1, 2]]]);
  own.add('ÄB', 3);
  assert.deepEqual(own.ports('äb'), []);
  assert.deepEqual(own.ports('Äb'), [3]);
  assert.equal(foldCase('İK\u212aZ'), 'İk\u212az');
});

test('what is no port is not kept', () => {
  const own = new LocalRecords(10);
  for (const port of [0, -1, 65_536, 1.5, Number.NaN]) own.add('app', port);
  assert.deepEqual([...own.names()], []);
});

test('beyond the limit the name not announced for the longest time loses its oldest port', () => {
  const own = new LocalRecords(3);
  own.add('a', 1);
  own.add('a', 2);
  own.add('b', 3);
  own.add('c', 4);
  assert.deepEqual(
    [...own.names()],
    [
      ['a', [2]],
      ['b', [3]],
      ['c', [4]],
    ],
  );
  own.add('a', 2);
  own.add('d', 5);
  assert.deepEqual(
    [...own.names()],
    [
      ['c', [4]],
      ['a', [2]],
      ['d', [5]],
    ],
  );
  own.add('c', 6);
  assert.deepEqual(
    [...own.names()],
    [
      ['a', [2]],
      ['d', [5]],
      ['c', [6]],
    ],
  );
});

test('a limit of one port is kept to even within one name', () => {
  const own = new LocalRecords(1);
  for (const port of [1, 2, 3]) own.add('a', port);
  assert.deepEqual([...own.names()], [['a', [3]]]);
});
