/** What a listening instance announces itself, in the answers of its lane. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nameHash } from '../../../workers/create-lane.ts';
import type { AnnounceHook } from '../../../workers/lane-hooks.ts';
import { OwnRecords } from '../../../workers/own-records.ts';
import {
  DOMAIN,
  HASH_KEY,
  HarnessClient,
  type HarnessOptions,
  LaneHarness,
  type Packet,
  peersOf,
  type Transfer,
} from '../../helpers/lane-harness.ts';

const MACHINE = [192, 0, 2, 77];

interface House {
  readonly own: OwnRecords;
  readonly harness: LaneHarness;
  readonly client: HarnessClient;
}

function house(limit = 1000, options: HarnessOptions = {}, onAnnounce?: AnnounceHook): House {
  const own = new OwnRecords(nameHash(HASH_KEY), limit, (out) => out.set(MACHINE));
  const hooks = { own, onAnnounce: onAnnounce ?? null };
  const harness = new LaneHarness({ ...options, hooks });
  return { own, harness, client: new HarnessClient(harness, '127.0.0.1', 5000) };
}

/** Data of the answers of one type, as text. */
function dataOf(packet: Packet, type: string): string[] {
  const found: string[] = [];
  for (const answer of packet.answers ?? []) {
    if (answer.type !== type) continue;
    const data = 'data' in answer ? answer.data : null;
    found.push(typeof data === 'string' ? data : serviceText(data));
  }
  return found.sort();
}

function serviceText(data: unknown): string {
  const { target, port } = data as { target: string; port: number };
  return `${target}:${port}`;
}

const askAddress = (client: HarnessClient, id: string, how?: Transfer) =>
  dataOf(client.ask({ name: `${id}.${DOMAIN}`, type: 'A' }, how), 'A');
const askServices = (client: HarnessClient, id: string, how?: Transfer) =>
  dataOf(client.ask({ name: `${id}.${DOMAIN}`, type: 'SRV' }, how), 'SRV');

describe('listening: own records in answers', () => {
  test('a lookup names them as 0.0.0.0 beside those of others', () => {
    const { own, client } = house();
    own.add('app', 8080);
    own.add('app', 8081);
    own.add('other', 9090);
    client.announce('app', 7000);
    const peers = peersOf(client.lookup('app')).sort();
    assert.deepEqual(peers, ['0.0.0.0:8080', '0.0.0.0:8081', '127.0.0.1:7000']);
  });

  test('a name is found in any case, by one label alone, and with several labels', () => {
    const { own, client } = house();
    own.add('MyApp', 1);
    own.add('a.b', 3);
    assert.deepEqual(peersOf(client.lookup('mYaPP')), ['0.0.0.0:1']);
    assert.deepEqual(peersOf(client.ask({ name: 'myapp' })), ['0.0.0.0:1']);
    assert.deepEqual(peersOf(client.lookup('A.b')), ['0.0.0.0:3']);
  });

  test('A and SRV say the address that the question came to, never 0.0.0.0', () => {
    const { own, client } = house();
    own.add('app', 8080);
    own.add('app', 8081);
    const local = { local: '198.51.100.7' };
    assert.deepEqual(askAddress(client, 'app', local), ['198.51.100.7']);
    assert.deepEqual(askServices(client, 'app', local), ['198.51.100.7:8080', '198.51.100.7:8081']);
  });

  test('where that is not known, or IPv6, the address is the machine\u2019s', () => {
    const { own, harness, client } = house();
    own.add('app', 8080);
    assert.deepEqual(askAddress(client, 'app'), ['192.0.2.77']);
    assert.deepEqual(askServices(client, 'app', { local: '0.0.0.0' }), ['192.0.2.77:8080']);
    const client6 = new HarnessClient(harness, '2001:db8::1', 5000);
    assert.deepEqual(askAddress(client6, 'app', { local: '2001:db8::2' }), ['192.0.2.77']);
    const aaaa = client6.ask({ name: `app.${DOMAIN}`, type: 'AAAA' });
    assert.deepEqual(aaaa.answers, []);
  });

  test('SRV names at most ten, of which half are own ones and the rest are of others', () => {
    const { own, client, harness } = house();
    for (let port = 1; port <= 20; port++) own.add('app', port);
    assert.equal(askServices(client, 'app').length, 10);
    for (let port = 1001; port <= 1020; port++) client.announce('app', port);
    const client6 = new HarnessClient(harness, '2001:db8::1', 5000);
    for (let port = 2001; port <= 2003; port++) client6.announce('app', port);
    const services = askServices(client, 'app', { local: '127.0.0.9' });
    assert.equal(services.length, 10);
    assert.equal(services.filter((service) => service.startsWith('127.0.0.9:')).length, 5);
  });

  test('a TXT of 31 peers has room for others however many own ones there are', () => {
    const { own, client } = house();
    for (let port = 1; port <= 40; port++) own.add('app', port);
    assert.equal(peersOf(client.lookup('app')).length, 31);
    for (let port = 1001; port <= 1040; port++) client.announce('app', port);
    const peers = peersOf(client.lookup('app'));
    assert.equal(peers.length, 31);
    assert.equal(new Set(peers).size, 31);
    assert.equal(peers.filter((peer) => peer.startsWith('0.0.0.0:')).length, 16);
    const seen = new Set<string>();
    for (let i = 0; i < 40; i++) for (const peer of peersOf(client.lookup('app'))) seen.add(peer);
    for (let port = 1; port <= 40; port++) assert.ok(seen.has(`0.0.0.0:${port}`), `${port}`);
  });

  test('over TCP all are named', () => {
    const { own, client } = house();
    for (let port = 1; port <= 100; port++) own.add('app', port);
    client.announce('app', 1000);
    const answer = client.ask({ name: `app.${DOMAIN}` }, { tcp: true });
    assert.equal(new Set(peersOf(answer)).size, 101);
  });

  test('strangers who fill the store many times over do not push them out', () => {
    const { own, client } = house(1000, { limit: 8 });
    own.add('app', 8080);
    for (let i = 0; i < 100; i++) client.announce(`name${i}`, 1000 + i);
    for (let i = 0; i < 100; i++) client.announce('app', 1000 + i);
    const peers = peersOf(client.lookup('app'));
    assert.equal(peers[0], '0.0.0.0:8080');
    assert.equal(peers.length, 9, 'and eight of theirs');
  });

  test('they do not expire', () => {
    const { own, client, harness } = house(1000, { ttlSeconds: 5 });
    own.add('app', 8080);
    client.announce('app', 1000);
    for (let i = 0; i < 100; i++) harness.advance(1000);
    assert.deepEqual(peersOf(client.lookup('app')), ['0.0.0.0:8080']);
  });

  test('one that is taken back is named no more, and repeating either changes nothing', () => {
    const { own, client } = house();
    own.add('app', 8080);
    own.add('APP', 8080);
    own.add('app', 8081);
    assert.equal(own.count, 2);
    own.remove('App', 8080);
    own.remove('app', 8080);
    own.remove('nobody', 1);
    assert.deepEqual(peersOf(client.lookup('app')), ['0.0.0.0:8081']);
    own.remove('app', 8081);
    assert.deepEqual(peersOf(client.lookup('app')), []);
    assert.deepEqual([...own.names()], []);
  });

  test('beyond their own limit the oldest goes', () => {
    const { own } = house(2);
    own.add('b', 2);
    own.add('a', 1);
    own.add('b', 2);
    own.add('a', 3);
    const left = Array.from(own.names(), ({ id, ports }) => [id, ports]);
    assert.deepEqual(left, [
      ['b', [2]],
      ['a', [3]],
    ]);
  });

  test('port 0 is not kept; other ports and ids that cannot be are refused by name', () => {
    const { own } = house();
    own.add('app', 0);
    assert.equal(own.count, 0);
    for (const port of [-1, 65_536, 1.5, Number.NaN]) {
      assert.throws(() => own.add('app', port), {
        name: 'RangeError',
        message: /port .*0 to 65535/,
      });
    }
    for (const id of ['', '.', 'a..b', 'x'.repeat(65)]) {
      assert.throws(() => own.add(id, 1), { name: 'RangeError' }, id);
      assert.throws(() => own.remove(id, 1), { name: 'RangeError' }, id);
    }
  });
});

describe('listening: hearing of announces', () => {
  test('each announce that is stored is told of, a renewal too, and no other', () => {
    const heard: string[] = [];
    const bounds = { prefixLimit: 2, nameLimit: 100 };
    const { client, harness } = house(10, { bounds }, (key, slot, port) => {
      heard.push(`${slot} ${Buffer.from(key.bytes.slice(1, key.end)).toString()} ${port}`);
    });
    client.announce('App', 8080);
    client.announce('app', 8080);
    client.announce('app', 8081);
    assert.deepEqual(heard, ['0 app 8080', '0 app 8080']);
    assert.equal(harness.counters().announcesBounded, 1, 'the prefix has what it may');
    client.unannounce('app', 8080);
    client.lookup('app');
    client.ask({ name: `app.${DOMAIN}`, strings: ['token=wrong', 'announce=1'] });
    assert.equal(heard.length, 2);
  });

  test('an announce of port 0 is told of with the port the query came from', () => {
    const heard: number[] = [];
    const { client } = house(10, {}, (_key, _slot, port) => heard.push(port));
    client.announce('app', 0);
    assert.deepEqual(heard, [5000]);
  });
});
