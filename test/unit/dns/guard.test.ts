import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_RECORDS } from '../../../codecs/dns/constants.ts';
import { guardHeader, isSendable, VERDICT } from '../../../codecs/dns/guard.ts';
import { Arena, hex, loadVectors } from '../../helpers/dns-bytes.ts';

function verdictOf(header: string, extraBytes = 0): number {
  const arena = new Arena(0xff);
  const message = new Uint8Array(header.replaceAll(' ', '').length / 2 + extraBytes);
  message.set(hex(header));
  return guardHeader(arena.bytes, arena.start, arena.load(message));
}

test('less than a header is too short, whatever lies behind it', () => {
  for (let length = 0; length < 12; length++) {
    assert.equal(verdictOf('00'.repeat(length)), VERDICT.TOO_SHORT);
  }
});

test('a response is a response, even with silly counts or another opcode', () => {
  assert.equal(verdictOf('8bbc 8000 0000 0000 0000 0000'), VERDICT.RESPONSE);
  assert.equal(verdictOf('8bbc a800 ffff ffff ffff ffff'), VERDICT.RESPONSE);
});

test('every opcode but QUERY is NOTIMP', () => {
  for (let opcode = 1; opcode < 16; opcode++) {
    const flags = (opcode << 11).toString(16).padStart(4, '0');
    assert.equal(verdictOf(`0001 ${flags} 0001 0000 0000 0000`, 5), VERDICT.NOTIMP, flags);
  }
});

test('counts: two questions, nothing at all, too many, more than fit', () => {
  assert.equal(verdictOf('0001 0100 0001 0000 0000 0000', 5), VERDICT.QUERY_OK);
  assert.equal(verdictOf('0001 0100 0001 0000 0000 0000', 4), VERDICT.FORMERR);
  assert.equal(verdictOf('0001 0100 0002 0000 0000 0000', 100), VERDICT.FORMERR);
  assert.equal(verdictOf('0001 0100 0000 0000 0000 0000', 100), VERDICT.FORMERR);
  assert.equal(verdictOf('0001 0100 0000 0000 0000 0001', 11), VERDICT.QUERY_OK);
  assert.equal(verdictOf('0001 0100 0000 0000 0000 0001', 10), VERDICT.FORMERR);
  assert.equal(verdictOf('0001 0100 ffff ffff ffff ffff'), VERDICT.FORMERR);
  const ok = (MAX_RECORDS - 2).toString(16).padStart(4, '0');
  assert.equal(verdictOf(`0001 0100 0001 0001 0001 ${ok}`, 1000), VERDICT.QUERY_OK);
  const over = (MAX_RECORDS - 1).toString(16).padStart(4, '0');
  assert.equal(verdictOf(`0001 0100 0001 0001 0001 ${over}`, 1000), VERDICT.FORMERR);
});

test('only what can be answered is sendable', () => {
  assert.deepEqual(
    Object.entries(VERDICT).map(([name, verdict]) => [name, isSendable(verdict)]),
    [
      ['QUERY_OK', true],
      ['RESPONSE', false],
      ['TOO_SHORT', false],
      ['FORMERR', true],
      ['NOTIMP', true],
    ],
  );
});

test('recorded datagrams: queries pass, responses are responses', () => {
  for (const vector of loadVectors()) {
    const bytes = hex(vector.hex);
    const expected = bytes[2] & 0x80 ? VERDICT.RESPONSE : VERDICT.QUERY_OK;
    assert.equal(guardHeader(bytes, 0, bytes.length), expected, vector.name);
  }
});
