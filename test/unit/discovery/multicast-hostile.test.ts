/** Datagrams made to do harm, and networks that do not play along. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { encode, type Packet } from 'dns-packet';
import { MAX_OTHERS_LOOKED_AT } from '../../../server/discovery/multicast/answer.ts';
import { MAX_WAITING } from '../../../server/discovery/multicast/paced-answers.ts';
import { MAX_ANSWERED_PER_MESSAGE } from '../../../server/discovery/multicast/responder.ts';
import type { MulticastDns, Peer } from '../../../server/discovery/types.ts';
import {
  guardMulticast,
  MAX_MULTICAST_LABELS,
  MAX_MULTICAST_STRINGS,
  MULTICAST_VERDICT,
} from '../../../server/net/multicast/guard.ts';
import type { FakeNetwork } from '../../helpers/fake-multicast.ts';
import { DOMAIN, MulticastHouse, peersString } from '../../helpers/multicast-house.ts';

const APP = `app.${DOMAIN}`;

function announced(...names: string[]): MulticastHouse {
  const house = new MulticastHouse();
  for (const name of names) house.own.add(name, 8080);
  return house;
}

/** eth0 with 10.0.0.1, eth1 with 10.1.0.1, both with IPv6. */
function twoInterfaces(network: FakeNetwork): void {
  network.up('eth0', '10.0.0.1/24', 'fe80::1/64');
  network.up('eth1', '10.1.0.1/24', 'fe80::2/64');
}

function queried(house: MulticastHouse, id: string): Promise<Error | null> {
  return new Promise((resolve) => {
    house.multicast.query(id, resolve);
    void setImmediate().then(() => house.clock.advance(0));
  });
}

/** TXT questions, each type and class as given. */
function questions(names: readonly string[], isUnicast = false): Buffer {
  const bytes = encode({ questions: names.map((name) => ({ type: 'TXT', name })) });
  if (!isUnicast) return bytes;
  let at = 12;
  for (const name of names) {
    at += name.length + 2 + 4;
    bytes.writeUInt16BE(0x8001, at - 2);
  }
  return bytes;
}

describe('source port 0', () => {
  test('a question from port 0 is dropped: an answer there would be thrown', async () => {
    const house = announced('app');
    for (const bytes of [questions([APP]), questions([APP], true)]) {
      house.network.receive(bytes, '10.0.0.9', 0);
      house.network.receive(bytes, 'fe80::9%eth0', 0);
    }
    assert.deepEqual(await house.answered(), []);
    assert.equal(house.multicast.counts?.dropPort, 4);
    house.ask('app');
    assert.equal((await house.answered()).length, 1);
  });

  test('the same to a user’s own instance: no response, and no peer at port 0', () => {
    const calls: string[] = [];
    const instance = Object.assign(new EventEmitter(), {
      query: () => calls.push('query'),
      response: () => calls.push('response'),
      destroy: () => calls.push('destroy'),
    });
    const house = new MulticastHouse({ instance: instance as unknown as MulticastDns });
    house.own.add('app', 8080);
    for (const port of [0, -1, 65_536, Number.NaN, undefined]) {
      const from = { address: '10.0.0.9', port };
      instance.emit('query', { questions: [{ type: 'TXT', name: APP }] }, from);
    }
    const data = { port: 0, target: '0.0.0.0' };
    const answers = [{ type: 'SRV', name: APP, data }];
    instance.emit('response', { answers }, { address: '10.0.0.9', port: 0 });
    house.clock.advance(250);
    assert.deepEqual([calls, house.peers], [[], []]);
  });
});

describe('the work of one datagram', () => {
  /** Counts the names and peers that are looked up. */
  function counted(names: readonly string[]) {
    const house = new MulticastHouse({ others: () => others() });
    const peers: Peer[] = Array.from({ length: 100 }, (_, i) => ({ host: `10.0.1.${i}`, port: 1 }));
    const work = { others: 0, ports: 0 };
    const others = (): Peer[] => {
      work.others++;
      return peers;
    };
    for (const name of names) house.own.add(name, 1);
    const { ports } = house.own;
    house.own.ports = (id) => {
      work.ports++;
      return ports.call(house.own, id);
    };
    return { house, work };
  }

  test('64 equal questions are looked up once, and not while their answer waits', async () => {
    const { house, work } = counted(['app']);
    house.network.receive(questions(Array(64).fill(APP)), '10.0.0.9');
    assert.ok(work.ports <= 1 && work.others <= 1, JSON.stringify(work));
    assert.equal((await house.answered()).length, 1);
    assert.ok(work.ports <= 2 && work.others <= 2, JSON.stringify(work));
  });

  test('equal but for their case: the same', async () => {
    const { house, work } = counted(['abcdef']);
    const names = Array.from({ length: 64 }, (_, i) =>
      [...'abcdef'].map((c, bit) => ((i >> bit) & 1 ? c.toUpperCase() : c)).join(''),
    );
    house.network.receive(questions(names.map((name) => `${name}.${DOMAIN}`)), '10.0.0.9');
    assert.ok(work.ports <= 1, JSON.stringify(work));
    assert.equal((await house.answered()).length, 1);
  });

  test(`of 64 names announced here, ${MAX_ANSWERED_PER_MESSAGE} are answered`, async () => {
    const names = Array.from({ length: 64 }, (_, i) => `n${i}`);
    const { house, work } = counted(names);
    const full = names.map((name) => `${name}.${DOMAIN}`);
    house.network.receive(questions(full), '10.0.0.9');
    const out = await house.answered(5000);
    assert.equal(out.flatMap(({ answers }) => answers).length, MAX_ANSWERED_PER_MESSAGE);
    // For each message to the group that is full, one is made again.
    assert.ok(work.ports <= 2 * MAX_ANSWERED_PER_MESSAGE + 4, JSON.stringify(work));
    house.network.receive(questions(full, true), '10.0.0.9');
    assert.equal((await house.out()).length, 1);
    assert.ok(work.ports <= 4 * MAX_ANSWERED_PER_MESSAGE + 4, JSON.stringify(work));
  });

  test('known answers by the dozen are compared with three answers', async () => {
    const names = Array.from({ length: 20 }, (_, i) => `n${i}.${DOMAIN}`);
    const { house, work } = counted(names.map((name) => name.split('.')[0]));
    const answers: Packet['answers'] = names.map((name) => ({
      type: 'TXT',
      name,
      ttl: 4000,
      data: ['token=x'],
    }));
    house.hear({ questions: names.map((name) => ({ type: 'TXT', name })), answers });
    assert.ok(work.ports <= MAX_ANSWERED_PER_MESSAGE + 3, JSON.stringify(work));
    assert.ok((await house.answered()).length > 0);
  });

  test('of 100,000 stored peers, 128 are read for an answer', async () => {
    let read = 0;
    const peer = {
      port: 9,
      get host() {
        read++;
        return '192.0.2.7';
      },
    };
    const peers = Array<Peer>(100_000).fill(peer);
    const house = new MulticastHouse({ others: () => peers });
    house.ask('app');
    assert.equal((await house.answered()).length, 1);
    assert.ok(read <= 2 * MAX_OTHERS_LOOKED_AT && read > 0, `${read}`);
  });

  const txt = (strings: number): Packet => ({
    type: 'response',
    answers: [{ type: 'TXT', name: APP, data: Array(strings).fill('') }],
  });
  const deep = (labels: number, fill: string): Packet => ({
    questions: [{ type: 'TXT', name: `${Array(labels).fill(fill).join('.')}.${DOMAIN}` }],
  });
  const many = ({ questions: [question] = [] }: Packet, count: number): Buffer =>
    encode({ questions: Array(count).fill(question) });
  const { OK, COSTLY } = MULTICAST_VERDICT;
  for (const [what, bytes, verdict] of [
    [`${MAX_MULTICAST_STRINGS} strings`, encode(txt(MAX_MULTICAST_STRINGS)), OK],
    [`${MAX_MULTICAST_STRINGS + 1} strings`, encode(txt(MAX_MULTICAST_STRINGS + 1)), COSTLY],
    [`${MAX_MULTICAST_LABELS} labels`, many(deep(62, '@'), MAX_MULTICAST_LABELS / 64), OK],
    [`labels beyond`, many(deep(100, '@'), 3), COSTLY],
  ] as const) {
    test(`${what} of names and texts: verdict ${verdict}`, () =>
      assert.equal(guardMulticast(bytes), verdict));
  }

  /** A response of one record that says its data is longer than its type has it, and one inside. */
  const hidden = (type: number, data: string): Buffer => {
    const inside = `00 0010 0001 00000000 ffff`;
    const rdata = Buffer.from((data + inside).replaceAll(' ', ''), 'hex');
    const head = Buffer.from('000084000000000200000000000000000100000000'.padEnd(46, '0'), 'hex');
    head.writeUInt16BE(type, 13);
    head.writeUInt16BE(rdata.length, 21);
    const last = Buffer.from('0000100001000000000000', 'hex');
    return Buffer.concat([head, rdata, last]);
  };
  for (const [what, type, data] of [
    ['A', 1, '0a000001'],
    ['AAAA', 28, '00'.repeat(16)],
    ['PTR', 12, '00'],
    ['CNAME', 5, '00'],
    ['HINFO', 13, '0000'],
    ['SRV', 33, '00000000005000'],
  ] as const) {
    test(`${what} data longer than its type: dns-packet would read other records`, () =>
      assert.equal(guardMulticast(hidden(type, data)), COSTLY));
  }
});

describe('who is not on the link', () => {
  for (const far of ['8.8.8.8', '2001:db8:1::1']) {
    test(`${far} is neither decoded nor answered, by the group or alone`, async () => {
      const house = announced('app');
      house.wantsTraffic = true;
      for (const port of [5353, 40_000]) house.ask('app', far, port);
      house.network.receive(questions([APP], true), far);
      house.tell('app', [peersString('0.0.0.0:1')], far);
      assert.deepEqual(await house.answered(), []);
      assert.deepEqual([house.traffic, house.peers], [[], []]);
      assert.equal(house.multicast.counts?.dropOffLink, 4);
    });
  }

  test('link-local ones are, on an unknown network too, as 0.0.0.0', async () => {
    const house = announced('app');
    house.hear({ questions: [{ type: 'SRV', name: APP }] }, '169.254.0.9');
    const [{ answers }] = await house.answered();
    assert.equal((answers[0].data as { target: string }).target, '0.0.0.0');
  });

  test('a response from another port than 5353 is not believed (RFC 6762 section 6)', () => {
    const house = new MulticastHouse();
    house.tell('app', [peersString('0.0.0.0:1')], '10.0.0.9', 5354);
    assert.deepEqual([house.peers, house.multicast.counts?.dropPort], [[], 1]);
  });
});

describe('interfaces chosen: what comes by another one', () => {
  const OTHERS = ['10.1.0.9', 'fe80::9%eth1', 'fe80::9%eth7'];

  test('is neither answered nor believed', async () => {
    const house = new MulticastHouse({ interfaces: ['eth0'] }, twoInterfaces);
    house.own.add('app', 8080);
    for (const address of OTHERS) {
      house.ask('app', address, 40_000);
      house.ask('app', address);
      house.tell('app', ['token=t', peersString('0.0.0.0:1')], address);
    }
    assert.deepEqual(await house.answered(), []);
    assert.deepEqual(house.peers, []);
    assert.equal(house.multicast.counts?.dropOffLink, 3 * OTHERS.length);
    house.ask('app', '10.0.0.9', 40_000);
    house.tell('app', [peersString('0.0.0.0:1')], 'fe80::9%eth0');
    assert.equal((await house.out()).length, 1);
    assert.deepEqual(house.peers, ['app fe80::9%eth0 1']);
  });

  test('chosen by its IPv4 address: nothing by IPv6', () => {
    const house = new MulticastHouse({ interfaces: ['10.0.0.1'] }, twoInterfaces);
    house.tell('app', [peersString('0.0.0.0:1')], 'fe80::9%eth0');
    house.tell('app', [peersString('0.0.0.0:2')], '10.0.0.9');
    assert.deepEqual(house.peers, ['app 10.0.0.9 2']);
  });

  test('a longer prefix elsewhere is elsewhere; of equal ones the chosen counts', () => {
    const house = new MulticastHouse({ interfaces: ['wide', 'twin2'] }, (network) => {
      network.up('wide', '10.0.0.1/8');
      network.up('narrow', '10.1.0.1/16');
      network.up('twin1', '192.168.0.1/24');
      network.up('twin2', '192.168.0.2/24');
    });
    for (const address of ['10.1.0.9', '10.2.0.9', '192.168.0.9']) {
      house.tell('app', [peersString('0.0.0.0:1')], address);
    }
    assert.deepEqual(house.peers, ['app 10.2.0.9 1', 'app 192.168.0.9 1']);
  });
});

describe('a question that cannot be sent is an error', () => {
  test('port 5353 is held by somebody for both families', async () => {
    const house = new MulticastHouse({}, (network) => {
      network.up('eth0', '10.0.0.1/24', 'fe80::1/64');
      network.bindErrors.set(4, 'EADDRINUSE').set(6, 'EADDRINUSE');
    });
    assert.match((await queried(house, 'app'))?.message ?? '', /IPv4.* not open: EADDRINUSE/);
  });

  test('for IPv4 only: IPv6 does, where there is any', async () => {
    const held = (...addresses: string[]) =>
      new MulticastHouse({}, (network) => {
        network.up('eth0', ...addresses);
        network.bindErrors.set(4, 'EADDRINUSE');
      });
    assert.equal(await queried(held('10.0.0.1/24', 'fe80::1/64'), 'app'), null);
    assert.match((await queried(held('10.0.0.1/24'), 'app'))?.message ?? '', /not open|no network/);
  });

  test('a machine without IPv6: IPv4 does', async () => {
    const house = new MulticastHouse({}, (network) => {
      network.up('eth0', '10.0.0.1/24');
      network.bindErrors.set(6, 'EAFNOSUPPORT');
    });
    assert.equal(await queried(house, 'app'), null);
  });
});

describe('devices replaced between two looks', () => {
  /** Replaces eth0 once in each poll. */
  function churn(house: MulticastHouse, rounds: number): void {
    for (let round = 0; round < rounds; round++) {
      house.network.replace('eth0');
      house.clock.advance(5000);
    }
  }
  const limited = (most: number) =>
    new MulticastHouse({}, (network) => {
      network.mostMemberships = most;
      network.up('eth0', '10.0.0.1/24', 'fe80::1/64');
    });

  test('memberships that cannot be left do not add up: the socket is opened again', async () => {
    const house = limited(20);
    house.own.add('app', 8080);
    const first = house.network.four;
    churn(house, 60);
    assert.ok(first.isClosed && house.network.four !== first);
    assert.deepEqual([...house.network.four.memberships], ['224.0.0.251 10.0.0.1']);
    assert.equal(house.network.sockets.filter(({ isClosed }) => !isClosed).length, 2);
    assert.ok((house.multicast.counts?.reopened ?? 0) >= 4);
    await house.answered();
    house.ask('app');
    assert.equal((await house.answered()).length, 1);
    assert.equal(await queried(house, 'app'), null);
    assert.equal((await house.out()).length, 2);
  });

  test('a limit that is reached without any of them is no reason to', () => {
    const house = new MulticastHouse({}, (network) => {
      network.mostMemberships = 2;
      for (let i = 0; i < 4; i++) network.up(`eth${i}`, `10.${i}.0.1/24`);
    });
    house.clock.advance(60_000);
    assert.equal(house.network.sockets.length, 2);
    assert.ok((house.multicast.counts?.joinErrors ?? 0) > 2);
  });

  test('a new socket that cannot be had: the old one goes on, and it is tried again', async () => {
    const house = limited(3);
    house.network.bindErrors.set(4, 'EMFILE').set(6, 'EMFILE');
    churn(house, 5);
    assert.equal(house.multicast.counts?.reopened, 0);
    assert.equal(await queried(house, 'app'), null);
    house.network.bindErrors.clear();
    house.clock.advance(5000);
    assert.ok((house.multicast.counts?.reopened ?? 0) > 0);
    assert.deepEqual([...house.network.four.memberships], ['224.0.0.251 10.0.0.1']);
  });

  test('destroyed while a new one is opened: all of them are closed', async () => {
    const house = limited(2);
    house.network.holdsBind = true;
    churn(house, 4);
    assert.equal(house.network.sockets.length, 4);
    await new Promise<void>((resolve) => house.multicast.destroy(resolve));
    for (const socket of house.network.sockets.slice(2)) socket.emit('listening');
    assert.ok(house.network.sockets.every(({ isClosed }) => isClosed));
  });
});

test('a burst of a thousand questions finds a large receive buffer', () => {
  const house = new MulticastHouse();
  for (const { settings } of house.network.sockets) {
    assert.ok(settings.includes(`receive buffer ${1 << 20}`), settings.join());
  }
});

test('questions beyond 1024 that wait are dropped, and counted', async () => {
  const house = new MulticastHouse({}, (network) => network.up('eth0', '10.0.0.1/16'));
  for (let i = 0; i < MAX_WAITING + 10; i++) house.ask('', `10.0.${i >> 8}.${i & 255}`);
  assert.equal(house.multicast.counts?.dropWaiting, 10);
  house.ask('', '10.0.0.0');
  assert.equal(house.multicast.counts?.dropWaiting, 10, 'one that waits already is not dropped');
});
