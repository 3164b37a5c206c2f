import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DomainTable } from '../../../codecs/dns/domains.ts';
import { QueryReader } from '../../../codecs/dns/query.ts';
import { Dispatcher } from '../../../server/dispatch.ts';
import { nameHash } from '../../../workers/create-lane.ts';
import {
  SLOT_HEADER_BYTES,
  SLOT_KEY_HASH,
  SLOT_LENGTH,
  SLOT_PORT,
  Slab,
} from '../../../workers/slab.ts';
import { DOMAIN, queryBytes } from '../../helpers/lane-harness.ts';

const slab = Slab.allocate(1);

function dispatcher(lanes: number): Dispatcher {
  const reader = new QueryReader(new DomainTable([DOMAIN]));
  return new Dispatcher(slab, lanes, reader, nameHash([11, 12]));
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

  test(`${lanes} lanes: what has no key goes by its port, an acknowledgement by its id`, () => {
    const by = dispatcher(lanes);
    for (let port = 1; port < 50; port++) {
      for (const name of [DOMAIN, 'foreign.example']) {
        assert.equal(laneOf(by, queryBytes({ name }), port), port % lanes);
        assert.equal(slab.i32[SLOT_KEY_HASH >> 2], 0);
      }
      const acknowledgement = Uint8Array.of(1, port, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0);
      assert.equal(laneOf(by, acknowledgement), (256 + port) % lanes);
    }
  });
}
