import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RELAY_MODE } from '../../../../codecs/dht/constants.ts';
import { AnnounceReader, MutablePutReader } from '../../../../codecs/dht/hyper.ts';
import {
  type Announce,
  decodeAnnounce,
  decodeHandshake,
  decodeHolepunch,
  decodeLookupReply,
  decodePluginRequest,
  encodeAnnounce,
  encodeHandshake,
  encodeHolepunch,
  encodeLookupReply,
  encodeMutablePut,
  encodePeer,
  encodePluginRequest,
  type Peer,
} from '../../../../codecs/dht/hyper-messages.ts';
import { announceSignable, mutableSignable, NAMESPACE } from '../../../../codecs/dht/namespaces.ts';
import {
  HolepunchReader,
  handshakeBytes,
  holepunchBytes,
  RelayReader,
  writeHandshake,
  writeHolepunch,
} from '../../../../codecs/dht/relay.ts';
import { hexOf, loadDhtVectors, originalNamespaces, someNodes } from './fixture.ts';

const PEER: Peer = { publicKey: new Uint8Array(32).fill(3), relayAddresses: someNodes(2) };
const ANNOUNCE: Announce = {
  peer: PEER,
  refresh: new Uint8Array(32).fill(4),
  signature: new Uint8Array(64).fill(5),
  bump: 1_700_000_000_000,
};
const NOISE = Uint8Array.from({ length: 120 }, (_, i) => i);
const ADDRESSES = Uint8Array.of(1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16);
const PEER_ADDRESS = { host: '1.2.3.4', port: 5 + 6 * 256 };
const RELAY_ADDRESS = { host: '11.12.13.14', port: 15 + 16 * 256 };

/** `bytes` in the middle of others. */
function surrounded(bytes: Uint8Array): Uint8Array {
  const around = new Uint8Array(bytes.length + 40).fill(0xee);
  around.set(bytes, 20);
  return around;
}

describe('announces', () => {
  test('the reader tells where everything is', () => {
    const bytes = encodeAnnounce(ANNOUNCE);
    const around = surrounded(bytes);
    const reader = new AnnounceReader();
    assert.equal(reader.read(around, 20, bytes.length), true);
    const { peerStart, peerEnd, relaysStart, refreshStart, signatureStart } = reader;
    assert.deepEqual(around.subarray(peerStart, peerEnd), encodePeer(PEER));
    assert.equal(reader.relayCount, 2);
    assert.equal(relaysStart, peerStart + 33);
    assert.deepEqual(around.subarray(refreshStart, refreshStart + 32), ANNOUNCE.refresh);
    assert.deepEqual(around.subarray(signatureStart, signatureStart + 64), ANNOUNCE.signature);
    assert.equal(reader.bump, ANNOUNCE.bump);
    assert.equal(reader.flags, 15);
  });

  test('nothing of the last announce is left in the reader', () => {
    const reader = new AnnounceReader();
    const full = encodeAnnounce(ANNOUNCE);
    assert.equal(reader.read(full, 0, full.length), true);
    assert.equal(reader.read(Uint8Array.of(0), 0, 1), true);
    const { peerStart, peerEnd, relayCount, refreshStart, signatureStart, bump } = reader;
    const read = [peerStart, peerEnd, relayCount, refreshStart, signatureStart, bump];
    assert.deepEqual(read, [-1, -1, 0, -1, -1, 0]);
  });

  test('no beginning of one is readable', () => {
    const bytes = encodeAnnounce(ANNOUNCE);
    const reader = new AnnounceReader();
    for (let length = 0; length < bytes.length; length++) {
      assert.equal(reader.read(bytes, 0, length), false, `${length} bytes`);
      assert.equal(decodeAnnounce(bytes.subarray(0, length)), null);
    }
  });

  test('any number of relay addresses is read, as long as they are there', () => {
    const reader = new AnnounceReader();
    const peer = { ...PEER, relayAddresses: someNodes(200) };
    const bytes = encodeAnnounce({ ...ANNOUNCE, peer });
    assert.equal(reader.read(bytes, 0, bytes.length), true);
    assert.equal(reader.relayCount, 200);
    const forged = Uint8Array.from(bytes);
    forged.set([0xff, 0, 0, 0, 0, 0, 0, 0x10, 0], 33);
    assert.equal(reader.read(forged, 0, forged.length), false);
  });
});

describe('mutable puts', () => {
  test('the reader tells where everything is', () => {
    const value = Uint8Array.from(Buffer.from('a value'));
    const signature = new Uint8Array(64).fill(8);
    const bytes = encodeMutablePut({ publicKey: PEER.publicKey, seq: 70_000, value, signature });
    const around = surrounded(bytes);
    const reader = new MutablePutReader();
    assert.equal(reader.read(around, 20, bytes.length), true);
    assert.equal(reader.publicKeyStart, 20);
    assert.equal(reader.seqStart, 52);
    assert.equal(reader.seq, 70_000);
    assert.deepEqual(around.subarray(reader.valueStart, reader.signatureStart), value);
    assert.equal(reader.valueLength, 7);
    assert.equal(reader.signatureStart + 64, 20 + bytes.length);
    for (let length = 0; length < bytes.length; length++) {
      assert.equal(reader.read(around, 20, length), false, `${length} bytes`);
    }
  });
});

describe('handshakes and hole punches', () => {
  test('what is written for the next is what the encoder writes, and is read again', () => {
    const reader = new RelayReader();
    for (const [hasPeer, hasRelay] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ]) {
      const out = new Uint8Array(400).fill(0xee);
      const [peerAt, relayAt] = [hasPeer ? 0 : -1, hasRelay ? 6 : -1];
      const mode = RELAY_MODE.FROM_SECOND_RELAY;
      const end = writeHandshake(out, 9, mode, NOISE, 10, 100, ADDRESSES, peerAt, relayAt);
      const expected = encodeHandshake({
        mode,
        noise: NOISE.subarray(10, 110),
        peerAddress: hasPeer ? PEER_ADDRESS : null,
        relayAddress: hasRelay ? RELAY_ADDRESS : null,
      });
      assert.equal(hexOf(out.subarray(9, end)), hexOf(expected));
      assert.equal(end - 9, handshakeBytes(100, hasPeer, hasRelay));
      assert.equal(out[end], 0xee);
      assert.equal(reader.read(out, 9, end - 9), true);
      assert.equal(reader.mode, mode);
      assert.deepEqual([reader.noiseStart, reader.noiseLength], [12, 100]);
      assert.equal(reader.peerAddressStart, hasPeer ? 112 : -1);
      assert.equal(reader.relayAddressStart, hasRelay ? (hasPeer ? 118 : 112) : -1);
      assert.equal(reader.read(out, 9, end - 10), false);
    }
  });

  test('a hole punch is written and read likewise, whatever its id', () => {
    const reader = new HolepunchReader();
    for (const id of [0, 200, 0xfd, 70_000, 2 ** 40]) {
      for (const peerAt of [-1, 0]) {
        const out = new Uint8Array(400);
        const mode = RELAY_MODE.REPLY;
        const end = writeHolepunch(out, 3, mode, id, NOISE, 0, 120, ADDRESSES, peerAt);
        const peerAddress = peerAt < 0 ? null : PEER_ADDRESS;
        const expected = encodeHolepunch({ mode, id, payload: NOISE, peerAddress });
        assert.equal(hexOf(out.subarray(3, end)), hexOf(expected));
        assert.equal(end - 3, holepunchBytes(id, 120, peerAt >= 0));
        assert.equal(reader.read(out, 3, end - 3), true);
        assert.deepEqual([reader.mode, reader.id, reader.payloadLength], [mode, id, 120]);
        assert.equal(reader.peerAddressStart, peerAt < 0 ? -1 : end - 6);
        assert.equal(reader.read(out, 3, end - 4), false);
      }
    }
  });

  test('one slot of a slab is copied to another of the same slab', () => {
    const slab = new Uint8Array(new SharedArrayBuffer(1024));
    slab.set(NOISE, 700);
    const end = writeHandshake(slab, 100, 2, slab, 700, 120, ADDRESSES, 0, -1);
    const copy = Uint8Array.from(slab.subarray(100, end));
    const expected = { mode: 2, noise: NOISE, peerAddress: PEER_ADDRESS, relayAddress: null };
    assert.deepEqual(decodeHandshake(copy), expected);
    assert.deepEqual(slab.subarray(700, 820), NOISE);
  });

  test('a mode that is none stays a small number', () => {
    const reader = new RelayReader();
    const bytes = encodeHandshake({
      mode: 2 ** 40,
      noise: NOISE,
      peerAddress: null,
      relayAddress: null,
    });
    assert.equal(reader.read(bytes, 0, bytes.length), true);
    assert.equal(reader.mode, 255);
    assert.equal(decodeHandshake(bytes)?.mode, 2 ** 40);
  });
});

describe('payloads as objects', () => {
  test('what is decoded is a copy of its own', () => {
    const bytes = Buffer.from(encodeAnnounce(ANNOUNCE));
    const decoded = decodeAnnounce(bytes);
    bytes.fill(0);
    assert.deepEqual(decoded, ANNOUNCE);
  });

  test('a lookup reply without a bump, as older nodes send it, has bump 0', () => {
    const bytes = encodeLookupReply({ peers: [PEER], bump: 5 });
    assert.deepEqual(decodeLookupReply(bytes), { peers: [PEER], bump: 5 });
    assert.deepEqual(decodeLookupReply(bytes.subarray(0, -1)), { peers: [PEER], bump: 0 });
  });

  test('a list as long as its count says is made only when its items can be there', () => {
    const forged = Uint8Array.of(0xfe, 0xff, 0xff, 0x0f, 0x00, 1, 2, 3);
    assert.equal(decodeLookupReply(forged), null);
  });

  test('plugin requests go there and back, with and without a value', () => {
    for (const value of [null, new Uint8Array(), NOISE]) {
      const request = { plugin: 'spieße', version: 300, command: 2, value };
      assert.deepEqual(decodePluginRequest(encodePluginRequest(request)), request);
    }
    assert.equal(decodePluginRequest(Uint8Array.of(9, 65)), null);
    assert.equal(decodeHolepunch(new Uint8Array()), null);
  });

  test('wrong lengths are refused', () => {
    const peer = { publicKey: new Uint8Array(31), relayAddresses: [] };
    assert.throws(() => encodePeer(peer), /buffer size/);
  });
});

describe('what is signed', () => {
  test('the namespaces are those of the original', () => {
    for (const [name, bytes] of Object.entries(originalNamespaces)) {
      assert.equal(hexOf(NAMESPACE[name as keyof typeof NAMESPACE]), hexOf(bytes), name);
    }
    assert.equal(Object.keys(NAMESPACE).length, Object.keys(originalNamespaces).length);
  });

  test('every recorded signature is one of what we say is signed', async () => {
    const sodium = (await import('sodium-native' as string)).default;
    const vectors = loadDhtVectors('hyperdht-6.34.0');
    const bytes = (text = ''): Buffer => Buffer.from(text, 'hex');
    const ids = new Map(vectors.map(({ src, decoded }) => [src, decoded.id]));
    const isSigned = { announce: 0, unannounce: 0, mutable: 0 };
    for (const { decoded, dst } of vectors) {
      if (decoded.kind !== 'request' || decoded.internal || decoded.token === undefined) continue;
      const payload = bytes(decoded.value);
      if (decoded.command === 4 || decoded.command === 5) {
        const announce = decodeAnnounce(payload);
        if (announce?.peer == null) continue;
        const { peer, refresh, signature } = announce;
        const namespace = decoded.command === 4 ? NAMESPACE.ANNOUNCE : NAMESPACE.UNANNOUNCE;
        const [target, token, id] = [decoded.target, decoded.token, ids.get(dst)].map(bytes);
        const peerBytes = encodePeer(peer);
        const signed = announceSignable(namespace, target, id, token, peerBytes, refresh);
        assert.ok(sodium.crypto_sign_verify_detached(signature, signed, peer.publicKey));
        isSigned[decoded.command === 4 ? 'announce' : 'unannounce']++;
      } else if (decoded.command === 6) {
        const reader = new MutablePutReader();
        assert.ok(reader.read(payload, 0, payload.length));
        const signature = payload.subarray(reader.signatureStart);
        const value = payload.subarray(reader.valueStart, reader.signatureStart);
        const signed = mutableSignable(reader.seq, value);
        assert.ok(sodium.crypto_sign_verify_detached(signature, signed, payload.subarray(0, 32)));
        isSigned.mutable++;
      }
    }
    assert.ok(Math.min(...Object.values(isSigned)) >= 3, JSON.stringify(isSigned));
  });
});
