import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encode, type Packet } from 'dns-packet';
import { readLongLabels } from '../../../server/discovery/multicast/long-labels.ts';

const ID = 'fedcba9876543210'.repeat(4);
const NAME = `${ID}.dns-discovery.local`;

function message(more: Packet): Buffer {
  return encode({ type: 'query', ...more });
}

test('questions and records of all sections, in the form of dns-packet', () => {
  const txt = [Buffer.from('token=x'), Buffer.from('peers=')];
  const bytes = message({
    type: 'response',
    id: 77,
    flags: 0x400,
    questions: [{ type: 'SRV', name: 'a.local' }],
    answers: [{ type: 'TXT', name: NAME, ttl: 70_000, data: txt, flush: true }],
    authorities: [{ type: 'A', name: NAME, ttl: 5, data: '10.0.0.1' }],
    additionals: [{ type: 'SRV', name: NAME, ttl: 0, data: { port: 80, target: '10.0.0.1' } }],
  });
  assert.deepEqual(readLongLabels(bytes), {
    id: 77,
    type: 'response',
    flags: 0x400,
    questions: [{ name: 'a.local', type: 'SRV', class: 'IN' }],
    answers: [{ name: NAME, type: 'TXT', ttl: 70_000, class: 'IN', flush: true, data: txt }],
    authorities: [{ name: NAME, type: 'A', ttl: 5, class: 'IN', flush: false, data: null }],
    additionals: [
      {
        name: NAME,
        type: 'SRV',
        ttl: 0,
        class: 'IN',
        flush: false,
        data: { priority: 0, weight: 0, port: 80, target: '10.0.0.1' },
      },
    ],
  });
});

test('a question with the QU bit, of a type unknown here', () => {
  const bytes = message({ questions: [{ type: 'TXT', name: NAME }] });
  bytes.writeUInt16BE(0x8001, bytes.length - 2);
  bytes.writeUInt16BE(65_000, bytes.length - 4);
  const [question] = readLongLabels(bytes)?.questions ?? [];
  assert.deepEqual(question, { name: NAME, type: 'UNKNOWN_65000', class: 'UNKNOWN_32769' });
});

test('a long name that is pointed to', () => {
  const bytes = message({ questions: [{ type: 'TXT', name: NAME }] });
  bytes.writeUInt16BE(1, 6);
  const record = Buffer.from('c00c00100001000000780000', 'hex');
  const [answer] = readLongLabels(Buffer.concat([bytes, record]))?.answers ?? [];
  assert.deepEqual([answer.name, answer.ttl, answer.data], [NAME, 120, []]);
});

test('messages without such a label are left to dns-packet', () => {
  const name = `${'@'.repeat(20)}.dns-discovery.local`;
  assert.equal(readLongLabels(message({ questions: [{ type: 'TXT', name }] })), null);
  assert.equal(readLongLabels(message({})), null);
});

test('malformed ones are none', () => {
  const data = [Buffer.from('token=x')];
  const bytes = message({
    questions: [{ type: 'TXT', name: NAME }],
    answers: [{ type: 'TXT', name: NAME, data }],
  });
  assert.notEqual(readLongLabels(bytes), null);
  for (let length = 12; length < bytes.length; length++) {
    assert.equal(readLongLabels(bytes.subarray(0, length)), null, `${length} bytes`);
  }
  const longer = Buffer.from(bytes);
  longer[12] = 65;
  assert.equal(readLongLabels(longer), null);
});
