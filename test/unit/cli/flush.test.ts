/** What was printed leaves the process before it ends. */
import assert from 'node:assert/strict';
import { PassThrough, Writable } from 'node:stream';
import { test } from 'node:test';
import { flush } from '../../../server/cli/print.ts';
import { bench, settle } from './client-fixture.ts';

/** Takes a chunk when the test says so. */
function slowStream() {
  const waiting: (() => void)[] = [];
  const stream = new Writable({ write: (_chunk, _encoding, done) => void waiting.push(done) });
  return { stream, take: () => waiting.shift()?.() };
}

test('a flush waits for all that was written before it, to both streams', async () => {
  const { environment } = bench();
  const { stream, take } = slowStream();
  stream.write('one');
  stream.write('two');
  let isRead: boolean | null = null;
  void flush(environment.clock, [stream, new PassThrough()]).then((is) => {
    isRead = is;
  });
  for (let chunk = 0; chunk < 3; chunk++) {
    await settle();
    assert.equal(isRead, null, `${chunk} chunks are taken`);
    take();
  }
  await settle();
  assert.equal(isRead, true);
});

test('a flush gives a reader that takes nothing 10 seconds, and says so', async () => {
  const { environment, pass } = bench();
  const { stream } = slowStream();
  stream.write('one');
  let isRead: boolean | null = null;
  void flush(environment.clock, [stream]).then((is) => {
    isRead = is;
  });
  await pass(9999);
  assert.equal(isRead, null);
  await pass(1);
  assert.equal(isRead, false);
});

test('a flush does not wait for a reader that is gone', async () => {
  const { environment } = bench();
  const gone = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
  const stream = new Writable({
    write: (_chunk, _encoding, done) => void setImmediate(done, gone),
  });
  stream.on('error', () => undefined);
  stream.write('one');
  assert.equal(await flush(environment.clock, [stream]), true);
  assert.equal(await flush(environment.clock, [stream]), true, 'nor for one that was');
});
