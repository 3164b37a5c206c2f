/** Who is reported to the control plane, and how often. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeId } from '../../../codecs/dht/node-id.ts';
import {
  HASHES_PER_SECOND,
  KNOWN,
  NOTHING,
  SIGHTED,
  Sightings,
} from '../../../workers/dht/sightings.ts';
import { makeTables, mapped, privateHost } from './fixture.ts';

const T0 = 1_700_000_000_000;
const PORT = 4000;

function setUp() {
  const tables = makeTables(true);
  const sightings = new Sightings(tables.reader, 7);
  const look = (host: string, nowMs: number, id = nodeId(host, PORT), isProven = true): number => {
    // As in a slot: the id somewhere in the datagram, the address in the header.
    const slot = new Uint8Array(new SharedArrayBuffer(80));
    slot.set(mapped(host), 8);
    slot.set(id, 41);
    return sightings.look(slot, 41, slot, 8, PORT, nowMs, isProven);
  };
  return { ...tables, sightings, look };
}

test('a node that is known is marked as seen with the present tick', () => {
  const { writer, look, sightings } = setUp();
  writer.add('10.0.0.1', PORT, 1);
  writer.setTick(5);
  assert.equal(look('10.0.0.1', T0), KNOWN);
  assert.equal(writer.all()[0].seen, 5);
  assert.equal(sightings.hashed, 0);
});

test('a known node is not marked as seen when its address may be forged', () => {
  const { writer, look, sightings } = setUp();
  writer.add('10.0.0.1', PORT, 1);
  writer.setTick(5);
  assert.equal(look('10.0.0.1', T0, nodeId('10.0.0.1', PORT), false), KNOWN);
  assert.equal(writer.all()[0].seen, 1);
  assert.equal(look('10.0.0.2', T0, nodeId('10.0.0.2', PORT), false), SIGHTED);
  assert.equal(sightings.hashed, 1);
});

test('an unknown node is reported once in 30 s', () => {
  const { look, sightings } = setUp();
  assert.equal(look('10.0.0.1', T0), SIGHTED);
  assert.equal(look('10.0.0.1', T0 + 1), NOTHING);
  assert.equal(look('10.0.0.1', T0 + 29_999), NOTHING);
  assert.equal(sightings.hashed, 1);
  assert.equal(look('10.0.0.1', T0 + 30_000), SIGHTED);
});

test('an id that is not the hash of its address is nothing, and hides nobody', () => {
  const { writer, look } = setUp();
  assert.equal(look('10.0.0.1', T0, nodeId('10.0.0.2', PORT)), NOTHING);
  assert.equal(look('10.0.0.1', T0), SIGHTED, 'the true one is still reported');
  writer.add('10.0.0.2', PORT, 1);
  assert.equal(look('10.0.0.3', T0, nodeId('10.0.0.2', PORT)), NOTHING, 'a stolen id');
  assert.equal(writer.all()[0].seen, 1);
});

test('an IPv6 address has no id', () => {
  const { sightings } = setUp();
  const address = new Uint8Array(16).fill(0x20);
  assert.equal(sightings.look(nodeId('32.32.32.32', PORT), 0, address, 0, PORT, T0, true), NOTHING);
});

test('so many hashes are made a second, evenly', () => {
  const { look, sightings } = setUp();
  for (let n = 0; n < 10_000; n++) look(privateHost(n), T0);
  assert.equal(sightings.hashed, HASHES_PER_SECOND);
  for (let n = 0; n < 10_000; n++) look(privateHost(n + 20_000), T0 + 1 + n / 10);
  const beyond = sightings.hashed - 2 * HASHES_PER_SECOND;
  assert.ok(Math.abs(beyond) < 32, `${beyond} more than in two seconds`);
});

test('50 nodes that ask now and then are all reported, once each in half a minute', () => {
  const { look } = setUp();
  const reported = new Map<string, number>();
  for (let second = 0; second < 30; second++) {
    for (let n = 0; n < 50; n++) {
      const host = privateHost(n);
      if (look(host, T0 + second * 1000 + n) !== SIGHTED) continue;
      reported.set(host, (reported.get(host) ?? 0) + 1);
    }
  }
  assert.equal(reported.size, 50);
  for (const [host, count] of reported) assert.equal(count, 1, host);
});
