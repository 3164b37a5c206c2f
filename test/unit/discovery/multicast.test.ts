/** What a multicast client asks, and whom it hears of. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type * as dnsPacket from 'dns-packet';
import { decode, encode } from 'dns-packet';
import { MAX_PEERS_PER_MESSAGE } from '../../../server/discovery/multicast/multicast.ts';
import type { MulticastDns } from '../../../server/discovery/types.ts';
import {
  ANSWER_MS,
  DOMAIN,
  MulticastHouse,
  peersString,
  texts,
} from '../../helpers/multicast-house.ts';

function queried(house: MulticastHouse, id: string): Promise<Error | null> {
  return new Promise((resolve) => {
    house.multicast.query(id, resolve);
    void setImmediate().then(() => house.clock.advance(0));
  });
}

describe('questions', () => {
  test('a TXT question for the name goes to both groups on every interface', async () => {
    const house = new MulticastHouse({}, (network) => {
      network.up('eth0', '10.0.0.1/24', 'fe80::1/64');
      network.up('eth1', '10.1.0.1/24');
    });
    assert.equal(await queried(house, 'test-app'), null);
    const out = await house.out();
    assert.deepEqual(
      out.map(({ to, port, via }) => `${to} ${port} ${via}`),
      ['224.0.0.251 5353 10.0.0.1', '224.0.0.251 5353 10.1.0.1', 'ff02::fb%eth0 5353 '],
    );
    for (const { id, type, questions } of out) {
      assert.deepEqual([id, type], [0, 'query']);
      assert.deepEqual(questions, [{ name: `test-app.${DOMAIN}`, type: 'TXT', class: 'IN' }]);
    }
  });

  test('a 32-byte id is one label of 64 bytes, as the original sends it', async () => {
    const house = new MulticastHouse();
    const id = 'ab'.repeat(32);
    assert.equal(await queried(house, id), null);
    const bytes = house.network.four.sent[0].bytes;
    assert.equal(bytes[12], 64);
    assert.equal(bytes.toString('latin1', 13, 77), id);
    assert.equal(bytes.length, 12 + 65 + 1 + 13 + 1 + 5 + 1 + 4);
  });

  for (const [what, id] of [
    ['a label of 65 bytes', 'a'.repeat(65)],
    ['a name over 255 bytes', Array(8).fill('a'.repeat(32)).join('.')],
    ['an empty label', 'a..b'],
    ['no id', ''],
    ['a final dot', 'a.'],
    ['a line end before a dot, which dns-packet drops', 'a\n.b'],
  ] as const) {
    test(`${what}: an error that says so, and nothing is sent`, async () => {
      const house = new MulticastHouse();
      const error = await queried(house, id);
      assert.ok(error instanceof RangeError, String(error));
      assert.match(error.message, /name ".*":? /s);
      assert.deepEqual(await house.out(), []);
    });
  }

  test('a backslash is an ordinary character', async () => {
    const house = new MulticastHouse();
    assert.equal(await queried(house, 'a\\b'), null);
    assert.equal(house.network.four.sent[0].bytes.toString('latin1', 12, 16), '\x03a\\b');
  });

  test('a domain that multicast DNS cannot carry is refused', () => {
    assert.throws(() => new MulticastHouse({ domain: 'a\\.b.local' }), /within a label/);
  });

  test('without any interface a question fails, and works once there is one', async () => {
    const house = new MulticastHouse({}, () => undefined);
    assert.match((await queried(house, 'x'))?.message ?? '', /no network interface/);
    house.network.up('eth0', '10.0.0.1/24');
    house.clock.advance(5000);
    assert.equal(await queried(house, 'x'), null);
    assert.equal((await house.out()).length, 1);
    assert.deepEqual(house.errors, []);
  });

  test('after destroy: an error, and the sockets are closed', async () => {
    const house = new MulticastHouse();
    await new Promise<void>((resolve) => house.multicast.destroy(resolve));
    assert.match((await queried(house, 'x'))?.message ?? '', /destroyed/);
    assert.deepEqual(
      house.network.sockets.map(({ isClosed }) => isClosed),
      [true, true],
    );
    assert.equal(house.clock.timers, 0);
  });

  test('an error of opening is told later, when somebody can listen', () => {
    const house = new MulticastHouse({}, (network) => network.bindErrors.set(4, 'EADDRINUSE'));
    assert.deepEqual(house.errors, []);
    house.clock.advance(0);
    assert.equal((house.errors[0] as NodeJS.ErrnoException).code, 'EADDRINUSE');
  });

  test('an interface that can be none is told as an error; the others work', async () => {
    const house = new MulticastHouse({ interfaces: ['10.0.0.999', 'eth0'] });
    house.clock.advance(0);
    assert.match(house.errors[0].message, /^interface "10\.0\.0\.999": expected/);
    await queried(house, 'x');
    assert.equal((await house.out()).length, 2);
  });
});

describe('peers', () => {
  test('peers= of a TXT record: 0.0.0.0 is the sender, port 0 nobody', () => {
    const house = new MulticastHouse();
    house.tell('app', ['token=theirs', peersString('0.0.0.0:8080', '192.0.2.7:90', '192.0.2.8:0')]);
    assert.deepEqual(house.peers, ['app 10.0.0.9 8080', 'app 192.0.2.7 90']);
  });

  test('all peers= strings count, and peers6=', () => {
    const house = new MulticastHouse();
    const six = Buffer.from('20010db800000000000000000000000504d2', 'hex').toString('base64');
    const self = Buffer.from(`${'00'.repeat(16)}04d3`, 'hex').toString('base64');
    house.tell(
      'app',
      [peersString('192.0.2.1:1'), peersString('192.0.2.2:2'), `peers6=${six}`, `peers6=${self}`],
      'fe80::9%eth0',
    );
    assert.deepEqual(house.peers, [
      'app 192.0.2.1 1',
      'app 192.0.2.2 2',
      'app 2001:db8::5 1234',
      'app fe80::9%eth0 1235',
    ]);
  });

  test('SRV records: 0.0.0.0 is the sender, port 0 the sender’s port', () => {
    const house = new MulticastHouse();
    const srv = (port: number, target: string) =>
      ({ type: 'SRV', name: `app.${DOMAIN}`, data: { port, target } }) as const;
    house.hear(
      {
        type: 'response',
        answers: [srv(80, '0.0.0.0'), srv(81, '192.0.2.7'), srv(82, 'host.local')],
        additionals: [srv(0, '0.0.0.0'), srv(83, '2001:db8::7')],
      },
      '10.0.0.9',
    );
    assert.deepEqual(house.peers, [
      'app 10.0.0.9 80',
      'app 192.0.2.7 81',
      'app 10.0.0.9 5353',
      'app 2001:db8::7 83',
    ]);
  });

  test('the domain counts whatever its case; other domains do not', () => {
    const house = new MulticastHouse();
    const data = [Buffer.from(peersString('0.0.0.0:1'))];
    for (const name of [
      'App.DNS-Discovery.LOCAL',
      'app.other.local',
      'app.xdns-discovery.local',
      'app.dns-discovery.local.org',
      DOMAIN,
    ]) {
      house.hear({ type: 'response', answers: [{ type: 'TXT', name, data }] });
    }
    assert.deepEqual(house.peers, ['App 10.0.0.9 1']);
  });

  test('a TTL of 0 is no goodbye: the original sends nothing else', () => {
    const house = new MulticastHouse();
    house.tell('app', [peersString('0.0.0.0:1')]);
    assert.equal(house.peers.length, 1);
  });

  test('records of a question are what the asker knows already, and not believed', () => {
    const house = new MulticastHouse();
    const data = [Buffer.from(peersString('0.0.0.0:1'))];
    house.ask('app', '10.0.0.9', 5353, {
      answers: [{ type: 'TXT', name: `app.${DOMAIN}`, data }],
    });
    assert.deepEqual(house.peers, []);
  });

  test('what did not come from the link is not believed', () => {
    const house = new MulticastHouse();
    house.tell('app', [peersString('0.0.0.0:1')], '198.51.100.1');
    house.tell('app', [peersString('0.0.0.0:1')], '2001:db8:1::1');
    assert.deepEqual(house.peers, []);
    house.network.up('eth1', '198.51.100.77/24');
    house.clock.advance(1000);
    house.tell('app', [peersString('0.0.0.0:1')], '198.51.100.1');
    assert.deepEqual(house.peers, ['app 198.51.100.1 1'], 'an interface that has just come up');
  });

  test('one message tells of each peer once, and of no more than 256', () => {
    const house = new MulticastHouse();
    const many = (from: number) => Array.from({ length: 31 }, (_, i) => `192.0.${from}.${i + 1}:9`);
    house.tell('app', [peersString('0.0.0.0:1', '0.0.0.0:1'), peersString('10.0.0.9:1')]);
    assert.deepEqual(house.peers, ['app 10.0.0.9 1']);
    house.peers.length = 0;
    house.tell(
      'app',
      Array.from({ length: 12 }, (_, i) => peersString(...many(i))),
    );
    assert.equal(house.peers.length, MAX_PEERS_PER_MESSAGE);
  });

  test('records that are none are passed over', () => {
    const house = new MulticastHouse();
    house.tell('app', ['peers=', 'peers=AAAA', 'peers=%%%%', 'peers', 'token', '']);
    house.tell('app', []);
    assert.deepEqual(house.peers, []);
  });
});

describe('one’s own announcements', () => {
  /** Announces, asks, and lets the question and its answer come back. */
  async function echo(house: MulticastHouse): Promise<void> {
    house.own.add('app', 8080);
    await queried(house, 'app');
    const [question] = house.network.four.sent.splice(0);
    house.network.receive(question.bytes, '10.0.0.1');
    house.clock.advance(ANSWER_MS);
    await setImmediate();
    const [answer] = house.network.four.sent.splice(0);
    house.network.receive(answer.bytes, '10.0.0.1');
    // Who answers a question of somebody else hears that too.
    house.network.receive(answer.bytes, 'fe80::1%eth0');
  }

  test('an answer of ours that comes back is no peer', async () => {
    const house = new MulticastHouse();
    await echo(house);
    assert.deepEqual(house.peers, []);
  });

  test('with loopback it is', async () => {
    const house = new MulticastHouse({ loopback: true });
    await echo(house);
    assert.deepEqual(house.peers, ['app 10.0.0.1 8080']);
  });

  test('another instance on this machine is a peer', async () => {
    const house = new MulticastHouse();
    house.own.add('app', 8080);
    house.tell('app', ['token=theirs', peersString('0.0.0.0:8081')], '10.0.0.1');
    assert.deepEqual(house.peers, ['app 10.0.0.1 8081']);
  });

  test('an SRV record that names one of our ports at our address is an echo', () => {
    const house = new MulticastHouse();
    house.own.add('app', 8080);
    const srv = (port: number) =>
      ({ type: 'SRV', name: `app.${DOMAIN}`, data: { port, target: '0.0.0.0' } }) as const;
    house.hear({ type: 'response', answers: [srv(8080), srv(8081)] }, '10.0.0.1');
    assert.deepEqual(house.peers, ['app 10.0.0.1 8081']);
    house.hear({ type: 'response', answers: [srv(8080)] }, '10.0.0.9');
    assert.equal(house.peers.length, 2);
  });
});

/** npm dns-packet 4.2.0, which reads labels of 64 bytes. */
function loadDnsPacket4(): typeof dnsPacket {
  const here = createRequire(import.meta.url);
  const original = createRequire(here.resolve('dns-discovery'));
  return createRequire(original.resolve('dns-socket'))('dns-packet');
}

describe('labels of 64 bytes', () => {
  const dnsPacket4 = loadDnsPacket4();
  const id = '0123456789abcdef'.repeat(4);

  test('a question is answered, the answer believed; dns-packet reads neither', async () => {
    const [asker, house] = [new MulticastHouse(), new MulticastHouse()];
    house.own.add(id, 8080);
    await queried(asker, id);
    const [question] = asker.network.four.sent;
    assert.throws(() => decode(question.bytes), /bad label/);
    house.network.receive(question.bytes, '10.0.0.9');
    house.clock.advance(ANSWER_MS);
    await setImmediate();
    const [answer] = house.network.four.sent;
    assert.equal(answer.address, '224.0.0.251');
    assert.throws(() => decode(answer.bytes), /bad label/);
    // As installs of the original with an earlier dns-packet read it.
    const { answers = [] } = dnsPacket4.decode(answer.bytes);
    assert.equal(answers[0].name, `${id}.${DOMAIN}`);
    asker.network.receive(answer.bytes, '10.0.0.8');
    assert.deepEqual(asker.peers, [`${id} 10.0.0.8 8080`]);
  });

  test('they are told as traffic like all others', () => {
    const house = new MulticastHouse();
    house.wantsTraffic = true;
    house.ask(id);
    assert.deepEqual(house.traffic[0][0], 'in:multicastquery');
  });
});

describe('traffic', () => {
  test('messages are told when they are wanted, foreign ones too', async () => {
    const house = new MulticastHouse();
    house.wantsTraffic = true;
    house.own.add('app', 1);
    await queried(house, 'app');
    house.ask('app');
    await house.answered();
    house.tell('app', [peersString('0.0.0.0:1')], '10.0.0.9', 5353);
    house.hear({ type: 'query', questions: [{ type: 'PTR', name: '_http._tcp.local' }] });
    assert.deepEqual(
      house.traffic.map(([type]) => type),
      [
        'out:multicastquery',
        'in:multicastquery',
        'out:multicastresponse',
        'in:multicastresponse',
        'in:multicastquery',
      ],
    );
    const [, details] = house.traffic[1];
    assert.deepEqual((details as { peer: object }).peer, { port: 5353, host: '10.0.0.9' });
  });

  test('otherwise nothing is told, and what is not about us is not decoded', () => {
    const house = new MulticastHouse();
    house.hear({ type: 'query', questions: [{ type: 'PTR', name: '_http._tcp.local' }] });
    house.ask('APP');
    assert.deepEqual(house.traffic, []);
    assert.equal(house.multicast.counts?.dropNotAdmitted, 1);
    assert.equal(house.multicast.counts?.received, 2);
  });
});

describe('an instance given by the user', () => {
  class Instance extends EventEmitter {
    readonly calls: unknown[][] = [];
    query(message: object, done?: (error?: Error | null) => void): void {
      this.calls.push(['query', message]);
      done?.();
    }
    response(message: object, to?: object): void {
      this.calls.push(['response', message, to]);
    }
    destroy(done?: () => void): void {
      this.calls.push(['destroy']);
      done?.();
    }
  }

  test('asks, answers, hears and is destroyed with it; nothing else is opened', async () => {
    const instance = new Instance();
    const house = new MulticastHouse({ instance: instance as unknown as MulticastDns });
    assert.deepEqual(house.network.sockets, []);
    assert.equal(house.multicast.counts, null);
    house.own.add('app', 8080);
    assert.equal(await queried(house, 'app'), null);
    const questions = [{ type: 'TXT', name: `app.${DOMAIN}` }];
    assert.deepEqual(instance.calls.splice(0), [['query', { questions }]]);
    const from = { address: '203.0.113.5', port: 6363 };
    instance.emit('query', { type: 'query', questions }, from);
    house.clock.advance(ANSWER_MS);
    const [[call, message, to]] = instance.calls.splice(0) as [
      string,
      { answers: { data: unknown }[] },
      object,
    ][];
    assert.deepEqual([call, to], ['response', { port: 6363 }]);
    assert.equal(texts(message.answers[0].data)[1], peersString('0.0.0.0:8080'));
    const data = peersString('0.0.0.0:1');
    instance.emit('response', { answers: [{ type: 'TXT', name: `app.${DOMAIN}`, data }] }, from);
    assert.deepEqual(house.peers, ['app 203.0.113.5 1']);
    instance.emit('error', new Error('no network'));
    house.clock.advance(0);
    assert.equal(house.errors[0].message, 'no network');
    await new Promise<void>((resolve) => house.multicast.destroy(resolve));
    assert.deepEqual(instance.calls, [['destroy']]);
  });

  test('messages of any shape do no harm', () => {
    const instance = new Instance();
    const house = new MulticastHouse({ instance: instance as unknown as MulticastDns });
    const from = { address: '10.0.0.9', port: 5353 };
    for (const record of [
      {},
      { name: 5 },
      { name: `a.${DOMAIN}` },
      { name: `a.${DOMAIN}`, type: 'TXT', data: 5 },
      { name: `a.${DOMAIN}`, type: 'TXT', data: [null, {}] },
      { name: `a.${DOMAIN}`, type: 'SRV', data: null },
      { name: `a.${DOMAIN}`, type: 'SRV', data: { port: 'x', target: '10.0.0.1' } },
      { name: `a.${DOMAIN}`, type: 'SRV', data: { port: 70_000, target: '10.0.0.1' } },
    ]) {
      instance.emit('response', { answers: [record] }, from);
      instance.emit('query', { questions: [record], answers: [record] }, from);
    }
    instance.emit('response', {}, from);
    instance.emit('query', {}, from);
    assert.deepEqual(house.peers, []);
  });
});

test('a message that cannot be decoded is dropped', () => {
  const house = new MulticastHouse();
  const bytes = encode({ type: 'query', questions: [{ type: 'TXT', name: `app.${DOMAIN}` }] });
  // A pointer to itself in the place of the root.
  const looped = Buffer.concat([
    bytes.subarray(0, -5),
    Buffer.from([0xc0, bytes.length - 5, 0, 16]),
  ]);
  house.network.receive(Buffer.concat([looped, Buffer.from([0, 1])]), '10.0.0.9');
  assert.deepEqual([house.peers, house.errors], [[], []]);
});
