/** How much of a routing table one network can have. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { u32ToHost } from '../../../codecs/dht/address.ts';
import { nodeId } from '../../../codecs/dht/node-id.ts';
import { SETTLED_TICKS } from '../../../workers/dht/table-bounds.ts';
import { TableWriter } from '../../../workers/dht/table-writer.ts';
import { Rng } from '../../../workers/rng.ts';
import { makeTables, privateHost, publicHost, randomId } from './fixture.ts';

/** Ports of `host` whose ids are in bucket 0 of a table with an own id of zeros. */
function portsOfBucket0(host: string, count: number): number[] {
  const ports: number[] = [];
  for (let port = 1; ports.length < count; port++) {
    if (nodeId(host, port)[0] >= 0x80) ports.push(port);
  }
  return ports;
}

test('an address is once in a bucket, whatever its ports', () => {
  const { writer } = makeTables(false);
  const [first, second] = portsOfBucket0('20.1.1.1', 2);
  assert.equal(writer.add('20.1.1.1', first, 1), 'added');
  assert.equal(writer.add('20.1.1.1', second, 1), 'bounded');
  assert.equal(writer.add('20.1.1.1', first, 1), 'known');
  writer.remove(nodeId('20.1.1.1', first));
  assert.equal(writer.add('20.1.1.1', second, 1), 'added');
});

test('a /24 is twice in a bucket', () => {
  const { writer } = makeTables(false);
  const outcomes = ['20.1.1.1', '20.1.1.2', '20.1.1.3', '20.1.2.3'].map((host) =>
    writer.add(host, portsOfBucket0(host, 1)[0], 1),
  );
  assert.deepEqual(outcomes, ['added', 'added', 'bounded', 'added']);
});

/** Adds as the control plane does: what is too many goes. */
function addAndTrim(writer: TableWriter, host: string, port: number): void {
  if (writer.add(host, port, 1) === 'full') {
    const displaced = writer.displaceable(host, port);
    if (displaced !== null) {
      writer.remove(displaced.id);
      assert.equal(writer.add(host, port, 1), 'added');
    }
  }
  for (let node = writer.surplus(); node !== null; node = writer.surplus()) writer.remove(node.id);
}

const ofNetwork = (writer: TableWriter, start: string) =>
  writer.all().filter(({ host }) => host.startsWith(start)).length;

test('a /16 has all of a table that knows few networks, and its share of one of many', () => {
  const { writer } = makeTables(false);
  const crowd = (port: number) => {
    for (let n = 0; n < 5000; n++) {
      addAndTrim(writer, `30.7.${n % 250}.${1 + (n % 249)}`, port + n);
    }
  };
  crowd(1);
  assert.ok(writer.size > 60, `${writer.size} nodes, all of one /16`);
  for (let n = 0; n < 20_000; n++) addAndTrim(writer, publicHost(n * 7), 1 + (n % 60_000));
  const honest = writer.size - ofNetwork(writer, '30.7.');
  assert.ok(honest > 120, `${honest} honest nodes`);
  assert.ok(ofNetwork(writer, '30.7.') <= writer.size * 0.05);
  crowd(9000);
  const forged = ofNetwork(writer, '30.7.');
  assert.ok(forged > 0 && forged <= writer.size * 0.05, `${forged} of ${writer.size}`);
  for (const node of writer.all()) writer.remove(node.id);
  assert.equal(writer.add('30.7.1.1', 1, 1), 'added', 'what is removed is no longer counted');
});

test('of a crowded /16 those go that came last', () => {
  const { writer } = makeTables(false);
  for (let n = 1; n <= 10; n++) writer.add(`30.7.${n}.1`, 1000, n);
  for (let n = 0; n < 40; n++) addAndTrim(writer, publicHost(n * 70_001), 1000 + n);
  const left = writer.all().filter(({ host }) => host.startsWith('30.7.'));
  assert.deepEqual(
    left.map(({ host }) => host).sort(),
    Array.from({ length: left.length }, (_, n) => `30.7.${n + 1}.1`),
  );
  assert.ok(left.length >= 1 && left.length <= 2, `${left.length}`);
});

test('who has been there for half an hour is not thrown out by a crowd of networks', () => {
  const { writer } = makeTables(false);
  for (let n = 1; n <= 40; n++) writer.add(`30.7.${n}.1`, 1000, 1);
  const before = ofNetwork(writer, '30.7.');
  writer.setTick(1 + SETTLED_TICKS);
  for (let n = 0; n < 200; n++) addAndTrim(writer, publicHost(n * 70_001), 1000 + n);
  assert.equal(ofNetwork(writer, '30.7.'), 20);
  assert.ok(before > 20, `${before}`);
});

test('100,000 ids of one /16, mixed with 1,000 honest nodes, are at most 5%', () => {
  for (let seed = 1; seed <= 3; seed++) {
    const rng = new Rng(seed);
    const { writer } = makeTables(false);
    writer.setOwn(randomId(rng), true);
    // In random order: 100 forged for each honest one; of these the network has some 130 buckets.
    for (let n = 0; n < 101_000; n++) {
      const isHonest = rng.below(101) === 0;
      const host = isHonest
        ? publicHost(rng.below(1 << 24))
        : u32ToHost(0x4d4d_0000 + rng.below(65_536));
      addAndTrim(writer, host, 1 + rng.below(65_535));
    }
    const forged = ofNetwork(writer, '77.77.');
    assert.ok(writer.size > 90, `seed ${seed}: ${writer.size} nodes`);
    assert.ok(forged <= writer.size * 0.05, `seed ${seed}: ${forged} of ${writer.size}`);
  }
});

test('a public network takes no private, reserved or impossible addresses', () => {
  const { writer } = makeTables(false);
  const refused = ['10.1.1.1', '127.0.0.1', '192.168.1.1', '172.16.3.4', '169.254.1.1'];
  refused.push('0.0.0.0', '224.0.0.1', '255.255.255.255', '240.1.1.1', '::1', 'localhost', '');
  for (const host of refused) assert.equal(writer.add(host, 1000, 1), 'bounded', host);
  for (const port of [0, -1, 65_536]) assert.equal(writer.add('20.1.1.1', port, 1), 'bounded');
  assert.equal(writer.size, 0);
});

test('a private network takes private addresses unbounded, and bounds all others', () => {
  const { writer } = makeTables(true);
  for (const port of portsOfBucket0('127.0.0.1', 20)) {
    assert.equal(writer.add('127.0.0.1', port, 1), 'added');
  }
  assert.equal(writer.add('127.0.0.1', portsOfBucket0('127.0.0.1', 21)[20], 1), 'full');
  for (let port = 1; port < 100; port++) writer.add('20.1.1.1', port, 1);
  const others = writer.all().filter(({ host }) => host === '20.1.1.1');
  assert.ok(others.length > 1 && others.length < 10, 'one per bucket');
  for (const host of ['0.1.2.3', '224.0.0.1']) assert.equal(writer.add(host, 1, 1), 'bounded');
});

test('a new own id bounds the new buckets as it does new nodes', () => {
  const { writer } = makeTables(false);
  // Two nodes of one address: in buckets 1 and 2 of an own id of zeros, both in 0 of one of ones.
  const ports = [0x40, 0x20].map((least) => {
    let port = 1;
    while (nodeId('20.1.1.1', port)[0] < least || nodeId('20.1.1.1', port)[0] >= 2 * least) port++;
    return port;
  });
  assert.equal(writer.add('20.1.1.1', ports[0], 1), 'added');
  assert.equal(writer.add('20.1.1.1', ports[1], 2), 'added');
  const dropped = writer.setOwn(new Uint8Array(32).fill(0xff), false);
  assert.deepEqual(
    dropped.map(({ port }) => port),
    [ports[0]],
    'the one heard from last stays',
  );
  assert.equal(writer.all()[0].port, ports[1]);
});

test('an adopted table knows how much of it each network has', () => {
  const { buffer, writer } = makeTables(false);
  for (let n = 0; n < 40; n++) addAndTrim(writer, publicHost(n * 70_001), 1000 + n);
  for (let n = 0; n < 1000; n++) writer.add(`30.7.${n % 250}.9`, 1 + n, 1);
  const before = writer.size;
  assert.ok(ofNetwork(writer, '30.7.') <= 2);
  const successor = new TableWriter(buffer, { isPrivate: false });
  for (let n = 0; n < 1000; n++) successor.add(`30.7.${n % 250}.8`, 1 + n, 1);
  assert.equal(successor.size, before);
  successor.add(privateHost(1), 1, 1);
  assert.equal(successor.size, before);
});
