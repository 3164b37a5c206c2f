import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DomainTable } from '../../../codecs/dns/domains.ts';
import { QueryReader } from '../../../codecs/dns/query.ts';
import { Dispatcher } from '../../../server/dispatch.ts';
import { nameHash } from '../../../workers/create-lane.ts';
import { Overflow } from '../../../workers/overflow.ts';
import { PROTOCOL_DNS } from '../../../workers/protocols.ts';
import {
  SLOT_HEADER_BYTES,
  SLOT_KEY_HASH,
  SLOT_LENGTH,
  SLOT_PORT,
  SLOT_PROTOCOL,
  SLOT_TRANSPORT,
  Slab,
  TRANSPORT_UDP,
} from '../../../workers/slab.ts';
import { DOMAIN, queryBytes } from '../../helpers/lane-harness.ts';

const slab = Slab.allocate(1);
const NO_OVERFLOW = new Overflow(Overflow.allocate(0), 0);
slab.bytes[SLOT_TRANSPORT] = TRANSPORT_UDP;
slab.bytes[SLOT_PROTOCOL] = PROTOCOL_DNS;

function dispatcher(lanes: number): Dispatcher {
  const reader = new QueryReader(new DomainTable([DOMAIN]));
  return new Dispatcher(slab, NO_OVERFLOW, lanes, reader, nameHash([11, 12]));
}

function laneOf(by: Dispatcher, datagram: Uint8Array, port = 1): number {
  slab.bytes.set(datagram, SLOT_HEADER_BYTES);
  slab.i32[SLOT_LENGTH >> 2] = datagram.length;
  slab.u16[SLOT_PORT >> 1] = port;
  slab.i32[SLOT_KEY_HASH >> 2] = 99;
  return by.laneOf(0);
}

for (const lanes of [2, 3, 4, 7]) {
  test(`${lanes} lanes: each key has one, and each lane its share of the keys`, () => {
    const by = dispatcher(lanes);
    const shares = new Array<number>(lanes).fill(0);
    for (let i = 0; i < 4000; i++) {
      const lane = laneOf(by, queryBytes({ name: `id${i}.${DOMAIN}` }));
      shares[lane]++;
      assert.notEqual(slab.i32[SLOT_KEY_HASH >> 2], 0);
      const again = queryBytes({ name: `ID${i}.${DOMAIN}`, strings: ['announce=1'] });
      assert.equal(laneOf(by, again, 77), lane, 'whatever the case, the records and the port');
    }
    for (const share of shares) assert.ok(share > (4000 / lanes) * 0.8, shares.join(' '));
  });

  test(`${lanes} lanes: a lane's names are spread over all of its table`, () => {
    const by = dispatcher(lanes);
    const parts = new Array<number>(16).fill(0);
    let names = 0;
    for (let i = 0; i < 3000 * lanes; i++) {
      if (laneOf(by, queryBytes({ name: `id${i}.${DOMAIN}` })) !== 0) continue;
      parts[slab.i32[SLOT_KEY_HASH >> 2] >>> 28]++;
      names++;
    }
    for (const part of parts) assert.ok(part > (names / 16) * 0.7, parts.join(' '));
  });

  test(`${lanes} lanes: what has no key goes by its port, an acknowledgement by its id`, () => {
    const by = dispatcher(lanes);
    for (let port = 1; port < 50; port++) {
      for (const name of [DOMAIN, 'foreign.example']) {
        const lane = laneOf(by, queryBytes({ name }), port);
        assert.ok(lane >= 0 && lane < lanes);
        assert.equal(slab.i32[SLOT_KEY_HASH >> 2], 0);
      }
      const acknowledgement = Uint8Array.of(1, port, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0);
      assert.equal(laneOf(by, acknowledgement), (256 + port) % lanes);
    }
  });

  test(`${lanes} lanes: probes spread evenly, also from even ports only`, () => {
    const by = dispatcher(lanes);
    const probe = queryBytes({ name: DOMAIN });
    for (const step of [1, 2, 16]) {
      const shares = new Array<number>(lanes).fill(0);
      let count = 0;
      for (let port = 32_768; port < 60_999; port += step, count++)
        shares[laneOf(by, probe, port)]++;
      const even = count / lanes;
      for (const share of shares) assert.ok(Math.abs(share - even) < even * 0.1, shares.join(' '));
    }
  });
}
