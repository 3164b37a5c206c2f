/** Signatures as npm hyperdht makes them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMAND } from '../../../codecs/dht/constants.ts';
import { AnnounceReader } from '../../../codecs/dht/hyper.ts';
import { RequestReader } from '../../../codecs/dht/request.ts';
import { checkSignature } from '../../../workers/dht/signature.ts';
import { Rng } from '../../../workers/rng.ts';
import { OWN_ID, signedAnnounce, signedMutablePut } from './fixture.ts';

const MUTATIONS = 3000;

/** As it is checked: in shared memory, behind something else. */
function check(datagram: Uint8Array, ownId = OWN_ID): boolean {
  const slab = new Uint8Array(new SharedArrayBuffer(64 + datagram.length));
  slab.set(datagram, 64);
  return checkSignature(slab, 64, datagram.length, ownId);
}

const KINDS = [
  (rng: Rng) => signedAnnounce(rng),
  (rng: Rng) => signedAnnounce(rng, COMMAND.UNANNOUNCE),
  (rng: Rng) => signedMutablePut(rng),
];

test('what hyperdht signs is genuine', () => {
  for (let seed = 1; seed <= 60; seed++) {
    for (const make of KINDS) assert.ok(check(make(new Rng(seed))), `seed ${seed}`);
  }
});

test('an announce is for one node, target and token, and no unannounce', () => {
  for (let seed = 1; seed <= 10; seed++) {
    const datagram = signedAnnounce(new Rng(seed));
    const reader = new RequestReader();
    assert.ok(reader.read(datagram, 0, datagram.length));
    assert.ok(!check(datagram, new Uint8Array(32)), `seed ${seed}: another node`);
    for (const at of [reader.tokenStart, reader.targetStart, reader.targetStart + 31]) {
      const other = datagram.slice();
      other[at] ^= 1;
      assert.ok(!check(other), `seed ${seed}: byte ${at}`);
    }
    const unannounce = datagram.slice();
    unannounce[reader.commandStart] = COMMAND.UNANNOUNCE;
    assert.ok(!check(unannounce), `seed ${seed}: an unannounce`);
  }
});

test('nothing that is signed can be changed, nor the key or the signature', () => {
  for (let seed = 1; seed <= 4; seed++) {
    for (const make of KINDS) {
      const datagram = make(new Rng(seed));
      const reader = new RequestReader();
      assert.ok(reader.read(datagram, 0, datagram.length));
      const announce = new AnnounceReader();
      const isPut = reader.command === COMMAND.MUTABLE_PUT;
      assert.ok(isPut || announce.read(datagram, reader.valueStart, reader.valueLength));
      // Of an announce the flags and the bump are not signed.
      const first = isPut ? reader.valueStart : reader.valueStart + 1;
      const last = isPut ? datagram.length : announce.signatureStart + 64;
      for (let at = first; at < last; at++) {
        const changed = datagram.slice();
        changed[at] ^= 1 << (at % 8);
        assert.ok(!check(changed), `seed ${seed}: byte ${at} of ${datagram.length}`);
      }
    }
  }
});

test('other commands, and requests without what is signed, are not genuine', () => {
  const datagram = signedAnnounce(new Rng(1));
  const reader = new RequestReader();
  reader.read(datagram, 0, datagram.length);
  for (const command of [0, 1, 2, 3, 7, 8, 9, 10, 200]) {
    const other = datagram.slice();
    other[reader.commandStart] = command;
    assert.ok(!check(other), `command ${command}`);
  }
  for (let flags = 0; flags < 32; flags++) {
    if (flags === datagram[1]) continue;
    const other = datagram.slice();
    other[1] = flags;
    assert.ok(!check(other), `flags ${flags}`);
  }
  assert.ok(!check(new Uint8Array()));
  assert.ok(!checkSignature(new Uint8Array(4000), 0, 4000, OWN_ID), 'longer than a slot');
});

test('whatever bytes there are, a check says false rather than to throw', () => {
  for (let seed = 1; seed <= MUTATIONS; seed++) {
    const rng = new Rng(seed);
    let datagram = KINDS[rng.below(3)](rng);
    const cuts = rng.below(3);
    for (let i = 0; i <= rng.below(4); i++) {
      datagram[rng.below(datagram.length)] = rng.below(4) === 0 ? 0xff : rng.below(256);
    }
    if (cuts === 1) datagram = datagram.slice(0, rng.below(datagram.length));
    if (cuts === 2) datagram = Uint8Array.from([...datagram, ...datagram.slice(0, 50)]);
    assert.equal(typeof check(datagram), 'boolean', `seed ${seed}`);
  }
});
