/**
 * Every recorded datagram of npm dht-rpc 5.0.6, dht-rpc 6.27.0 and hyperdht 6.34.0 decodes to what
 * the recorder wrote down beside it, payloads included, and is encoded to the same bytes again.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  decodeAnnounce,
  decodeHandshake,
  decodeHolepunch,
  decodeLookupReply,
  decodeMutablePut,
  decodeMutableValue,
  decodePeer,
  encodeAnnounce,
  encodeHandshake,
  encodeHolepunch,
  encodeLookupReply,
  encodeMutablePut,
  encodeMutableValue,
  encodePeer,
} from '../../codecs/dht/hyper-messages.ts';
import {
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
} from '../../codecs/dht/message.ts';
import { nodeId } from '../../codecs/dht/node-id.ts';
import {
  bytesOf,
  type DhtVector,
  hexOf,
  loadDhtVectors,
  originalDecode,
  plain,
  VECTOR_FILES,
} from '../unit/codecs/dht/fixture.ts';

interface PayloadCodec {
  readonly kind: string;
  again(bytes: Uint8Array): { value: object; bytes: Uint8Array };
}

function codec<T extends object>(
  kind: string,
  decode: (bytes: Uint8Array) => T | null,
  encode: (value: T) => Uint8Array,
): PayloadCodec {
  return {
    kind,
    again(bytes) {
      const value = decode(bytes);
      assert.ok(value !== null, `unreadable ${kind} ${hexOf(bytes)}`);
      return { value, bytes: encode(value) };
    },
  };
}

const ANNOUNCE = codec('announce', decodeAnnounce, encodeAnnounce);
const HANDSHAKE = codec('handshake', decodeHandshake, encodeHandshake);
const HOLEPUNCH = codec('holepunch', decodeHolepunch, encodeHolepunch);

/** By the name of the recorded datagram: what its value is. */
const PAYLOADS: Record<string, PayloadCodec> = {
  'announce request': ANNOUNCE,
  'unannounce request': ANNOUNCE,
  'peer_handshake request': HANDSHAKE,
  'response to peer_handshake': HANDSHAKE,
  'peer_holepunch request': HOLEPUNCH,
  'response to peer_holepunch': HOLEPUNCH,
  'mutable_put request': codec('mutablePutRequest', decodeMutablePut, encodeMutablePut),
  'response to mutable_get': codec('mutableGetResponse', decodeMutableValue, encodeMutableValue),
  'response to find_peer': codec('peer', decodePeer, encodePeer),
  'response to lookup': codec('lookupRawReply', decodeLookupReply, encodeLookupReply),
};

function assertRequest({ hex, decoded }: DhtVector): void {
  const request = decodeRequest(bytesOf(hex));
  assert.ok(request !== null);
  const recorded = {
    tid: decoded.tid,
    to: decoded.to,
    id: decoded.id ?? null,
    token: decoded.token ?? null,
    isInternal: decoded.internal,
    command: decoded.command,
    target: decoded.target ?? null,
    value: decoded.value ?? null,
  };
  assert.deepEqual(plain(request), plain(recorded));
  assert.equal(hexOf(encodeRequest(request)), hex);
}

function assertReply({ hex, decoded, src }: DhtVector): void {
  const reply = decodeReply(bytesOf(hex));
  assert.ok(reply !== null);
  const recorded = {
    tid: decoded.tid,
    to: decoded.to,
    id: decoded.id ?? null,
    token: decoded.token ?? null,
    closerNodes: decoded.closerNodes ?? [],
    error: decoded.error,
    value: decoded.value ?? null,
  };
  assert.deepEqual(plain(reply), plain(recorded));
  assert.equal(hexOf(encodeReply(reply)), hex);
  if (reply.id === null) return;
  const [host, port] = src.split(':');
  assert.equal(hexOf(nodeId(host, Number(port))), decoded.id, 'the id is of the source');
}

/** Returns whether the datagram has a payload that is known. */
function assertPayload({ name, decoded }: DhtVector): boolean {
  const payload = PAYLOADS[name];
  if (payload === undefined || decoded.value === undefined) return false;
  const bytes = bytesOf(decoded.value);
  const again = payload.again(bytes);
  assert.equal(hexOf(again.bytes), decoded.value);
  const original = originalDecode(payload.kind, Buffer.from(bytes));
  assert.deepEqual(plain(again.value), plain(original));
  const recorded = decoded.valueDecoded;
  // The recorder knew no lookup's reply with a bump.
  if (recorded === undefined || 'decodeError' in recorded) return true;
  assert.deepEqual(plain(again.value), recorded);
  return true;
}

describe('recorded datagrams of the DHT', () => {
  for (const file of VECTOR_FILES) {
    test(`each of ${file} is decoded to its meaning and encoded to its bytes`, () => {
      const counts = { request: 0, response: 0, other: 0 };
      for (const vector of loadDhtVectors(file)) {
        const { kind } = vector.decoded;
        counts[kind ?? 'other']++;
        if (kind === 'request') assertRequest(vector);
        else if (kind === 'response') assertReply(vector);
        else {
          assert.equal(decodeRequest(bytesOf(vector.hex)), null, vector.name);
          assert.equal(decodeReply(bytesOf(vector.hex)), null, vector.name);
        }
      }
      assert.ok(counts.request > 50 && counts.response > 50, JSON.stringify(counts));
    });
  }

  test('each payload of hyperdht-6.34.0 likewise', () => {
    const counts = new Map<string, number>();
    for (const vector of loadDhtVectors('hyperdht-6.34.0')) {
      if (!assertPayload(vector)) continue;
      counts.set(vector.name, (counts.get(vector.name) ?? 0) + 1);
    }
    assert.deepEqual([...counts.keys()].sort(), Object.keys(PAYLOADS).sort());
  });
});
