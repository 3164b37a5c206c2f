import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { writeAddress } from '../../../../codecs/dht/address.ts';
import { COMMAND, DHT_ERROR, INTERNAL } from '../../../../codecs/dht/constants.ts';
import {
  type DhtReply,
  type DhtRequest,
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
} from '../../../../codecs/dht/message.ts';
import { writeReplyHead, writeRequestHead } from '../../../../codecs/dht/reply.ts';
import { HUGE_COMMAND, RequestReader } from '../../../../codecs/dht/request.ts';
import { hexOf, OriginalCodec, SOME_ID, someNodes } from './fixture.ts';

const TARGET = new Uint8Array(32).fill(0x77);
const TOKEN = new Uint8Array(32).fill(0x55);

const PING: DhtRequest = {
  tid: 0x1234,
  to: { host: '10.1.2.3', port: 49_737 },
  id: null,
  token: null,
  isInternal: true,
  command: INTERNAL.PING,
  target: null,
  value: null,
};

const FULL: DhtRequest = {
  ...PING,
  id: SOME_ID,
  token: TOKEN,
  isInternal: false,
  command: COMMAND.ANNOUNCE,
  target: TARGET,
  value: Uint8Array.of(1, 2, 3),
};

const PONG: DhtReply = {
  tid: 0x1234,
  to: { host: '10.1.2.3', port: 5 },
  id: null,
  token: null,
  closerNodes: [],
  error: DHT_ERROR.NONE,
  value: null,
};

const FULL_REPLY: DhtReply = {
  ...PONG,
  id: SOME_ID,
  token: TOKEN,
  closerNodes: someNodes(20),
  error: DHT_ERROR.SEQ_TOO_LOW,
  value: new Uint8Array(300).fill(9),
};

describe('requests of the DHT', () => {
  test('the shortest is eleven bytes', () => {
    assert.equal(hexOf(encodeRequest(PING)), '03043412 0a010203 49c2 00'.replaceAll(' ', ''));
  });

  test('whatever is in one is read again, and the original writes the same bytes', () => {
    const original = new OriginalCodec();
    const commands = [0, 10, 0xfc, 0xfd, 0xffff, 0x1_0000, 0x1_0000_0000, 2 ** 53 - 1];
    const requests = [
      PING,
      FULL,
      { ...FULL, value: new Uint8Array() },
      { ...FULL, id: null, value: new Uint8Array(1000) },
      { ...FULL, token: null },
      ...commands.map((command) => ({ ...PING, command })),
    ];
    for (const request of requests) {
      const bytes = encodeRequest(request);
      assert.deepEqual(decodeRequest(bytes), request);
      assert.equal(hexOf(bytes), hexOf(original.encodeRequest(request)));
    }
  });

  test('the reader tells where everything is', () => {
    const bytes = encodeRequest(FULL);
    const around = new Uint8Array(bytes.length + 20).fill(0xee);
    around.set(bytes, 7);
    const reader = new RequestReader();
    assert.equal(reader.read(around, 7, bytes.length), true);
    assert.equal(reader.flags, 1 | 2 | 8 | 16);
    assert.equal(reader.tid, 0x1234);
    assert.equal(reader.isInternal, false);
    assert.equal(reader.command, COMMAND.ANNOUNCE);
    assert.deepEqual(around.subarray(reader.idStart, reader.idStart + 32), SOME_ID);
    assert.deepEqual(around.subarray(reader.tokenStart, reader.tokenStart + 32), TOKEN);
    assert.deepEqual(around.subarray(reader.targetStart, reader.targetStart + 32), TARGET);
    assert.equal(reader.toStart, 7 + 4);
    assert.equal(reader.commandStart, 7 + 10 + 64);
    assert.equal(reader.valueStart, 7 + bytes.length - 3);
    assert.equal(reader.valueLength, 3);
  });

  test('nothing of the last request is left in the reader', () => {
    const reader = new RequestReader();
    const full = encodeRequest(FULL);
    const ping = encodeRequest(PING);
    assert.equal(reader.read(full, 0, full.length), true);
    assert.equal(reader.read(ping, 0, ping.length), true);
    const { idStart, tokenStart, targetStart, valueStart, valueLength } = reader;
    assert.deepEqual(
      [idStart, tokenStart, targetStart, valueStart, valueLength],
      [-1, -1, -1, -1, 0],
    );
    assert.equal(reader.isInternal, true);
  });

  test('a huge command stays a small number in the reader', () => {
    const reader = new RequestReader();
    const bytes = encodeRequest({ ...PING, command: 2 ** 40 });
    assert.equal(reader.read(bytes, 0, bytes.length), true);
    assert.equal(reader.command, HUGE_COMMAND);
  });

  test('no beginning of a request is readable, and what follows one is ignored', () => {
    for (const request of [PING, FULL, { ...FULL, value: new Uint8Array(700) }]) {
      const bytes = encodeRequest(request);
      for (let length = 0; length < bytes.length; length++) {
        assert.equal(decodeRequest(bytes, 0, length), null, `${length} bytes`);
      }
      const longer = new Uint8Array(bytes.length + 5);
      longer.set(bytes);
      assert.deepEqual(decodeRequest(longer), request);
    }
  });

  test('another first byte is no request, and no reply either but for its own', () => {
    const bytes = encodeRequest(PING);
    for (const first of [0x00, 0x02, 0x04, 0x13, 0x23, 0x83]) {
      bytes[0] = first;
      assert.equal(decodeRequest(bytes), null);
      assert.equal(decodeReply(bytes) !== null, first === 0x13);
    }
  });

  test('what was read does not change with the memory it lay in', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(512));
    shared.set(encodeRequest(FULL), 100);
    const request = decodeRequest(shared, 100, encodeRequest(FULL).length);
    shared.fill(0);
    assert.deepEqual(request, FULL);
    assert.ok(request?.value?.buffer instanceof ArrayBuffer);
    const buffer = Buffer.from(encodeRequest(FULL));
    const other = decodeRequest(buffer);
    buffer.fill(0);
    assert.deepEqual(other, FULL);
  });

  test('an id, token or target of another length is refused', () => {
    const short = new Uint8Array(31);
    for (const part of ['id', 'token', 'target']) {
      assert.throws(() => encodeRequest({ ...FULL, [part]: short }), /31 bytes: expected 32/);
    }
    assert.throws(() => encodeReply({ ...FULL_REPLY, id: new Uint8Array(33) }), /33 bytes/);
  });
});

describe('replies of the DHT', () => {
  test('the shortest is ten bytes', () => {
    assert.equal(hexOf(encodeReply(PONG)), '13003412 0a010203 0500'.replaceAll(' ', ''));
  });

  test('whatever is in one is read again, and the original writes the same bytes', () => {
    const original = new OriginalCodec();
    const replies = [
      PONG,
      FULL_REPLY,
      { ...FULL_REPLY, closerNodes: [] },
      { ...FULL_REPLY, closerNodes: someNodes(1), token: null },
      { ...PONG, error: DHT_ERROR.UNKNOWN_COMMAND },
      { ...PONG, error: 70_000, value: new Uint8Array() },
      { ...PONG, token: TOKEN, closerNodes: someNodes(255) },
    ];
    for (const reply of replies) {
      const bytes = encodeReply(reply);
      assert.deepEqual(decodeReply(bytes), reply);
      assert.equal(hexOf(bytes), hexOf(original.encodeReply(reply)));
    }
  });

  test('no beginning of a reply is readable, and what follows one is ignored', () => {
    for (const reply of [PONG, FULL_REPLY]) {
      const bytes = encodeReply(reply);
      for (let length = 0; length < bytes.length; length++) {
        assert.equal(decodeReply(bytes, 0, length), null, `${length} bytes`);
      }
      const longer = new Uint8Array(bytes.length + 9).fill(0xff);
      longer.set(bytes, 4);
      assert.deepEqual(decodeReply(longer, 4), reply);
    }
  });

  test('a million closer nodes are not looked for in a short datagram', () => {
    const bytes = encodeReply({ ...PONG, closerNodes: someNodes(2) });
    const forged = Uint8Array.of(...bytes.subarray(0, 10), 0xfe, 0x00, 0x00, 0x10, 0x00, 1, 2, 3);
    assert.equal(decodeReply(forged), null);
  });

  test('heads and addresses are written in place as the encoder writes them', () => {
    const slot = new Uint8Array(64);
    slot.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 1, 2, 3]);
    let end = writeAddress(slot, writeReplyHead(slot, 16, 0, 0x1234), slot, 0, 5);
    assert.equal(hexOf(slot.subarray(16, end)), hexOf(encodeReply(PONG)));
    end = writeAddress(slot, writeRequestHead(slot, 16, 4, 0x1234), slot, 0, 49_737);
    slot[end++] = INTERNAL.PING;
    assert.equal(hexOf(slot.subarray(16, end)), hexOf(encodeRequest(PING)));
  });
});
