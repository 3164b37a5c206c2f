/** What a multicast client answers, to whom, and how often. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Answer, Packet, Question } from 'dns-packet';
import { encode } from 'dns-packet';
import {
  DELAY_SPAN_MS,
  LEAST_DELAY_MS,
  MAX_WAITING,
  SPACING_MS,
} from '../../../server/discovery/multicast/paced-answers.ts';
import {
  LEGACY_TTL_SECONDS,
  MAX_MESSAGE_BYTES,
  MAX_MESSAGES_AT_ONCE,
  MAX_TTL_SECONDS,
  MAX_UNICAST_PER_SECOND,
} from '../../../server/discovery/multicast/responder.ts';
import { DOMAIN, MulticastHouse, type Out, peersIn, texts } from '../../helpers/multicast-house.ts';

const APP = `app.${DOMAIN}`;

function announced(...ports: number[]): MulticastHouse {
  const house = new MulticastHouse();
  for (const port of ports) house.own.add('app', port);
  return house;
}

function question(name: string, type: Question['type'] | 'ANY' = 'TXT'): Packet {
  return { type: 'query', questions: [{ type: type as Question['type'], name }] };
}

/** A question whose class has the QU bit. */
function unicastQuestion(name: string): Buffer {
  const bytes = encode({ ...question(name), id: 99 });
  bytes.writeUInt16BE(0x8001, bytes.length - 2);
  return bytes;
}

async function one(out: Promise<Out[]>): Promise<Out> {
  const messages = await out;
  assert.equal(messages.length, 1, `${messages.length} messages`);
  return messages[0];
}

describe('to the group', () => {
  test('an announced port is told as 0.0.0.0 in a TXT record with a token', async () => {
    const house = announced(8080);
    house.ask('app');
    const { to, port, via, id, type, questions, answers } = await one(house.answered());
    assert.deepEqual([to, port, via, id], ['224.0.0.251', 5353, '10.0.0.1', 0]);
    assert.deepEqual([type, questions.length, answers.length], ['response', 0, 1]);
    const [{ name, ttl, data }] = answers;
    assert.deepEqual([name, ttl], [APP, MAX_TTL_SECONDS]);
    assert.match(texts(data)[0], /^token=[A-Za-z\d+/]{43}=$/);
    assert.deepEqual(peersIn(data), ['0.0.0.0:8080']);
  });

  test('the answer repeats the case of the question', async () => {
    const house = announced(8080);
    house.ask('APP');
    assert.equal((await one(house.answered())).answers[0].name, `APP.${DOMAIN}`);
  });

  test('it leaves by the family and the interface of the asker', async () => {
    const house = new MulticastHouse({}, (network) => {
      network.up('eth0', '10.0.0.1/24', 'fe80::1/64');
      network.up('eth1', '10.1.0.1/24', 'fe80::2/64');
    });
    house.own.add('app', 8080);
    for (const [asker, where] of [
      ['10.1.0.9', '224.0.0.251 10.1.0.1'],
      ['fe80::9%eth1', 'ff02::fb%eth1 '],
    ]) {
      house.ask('app', asker);
      const { to, via } = await one(house.answered());
      assert.equal(`${to} ${via}`, where);
    }
    house.ask('app', '172.16.0.1');
    assert.deepEqual(await house.answered(), [], 'who is not on a link of ours is not answered');
  });

  test('nothing is answered when nothing is known, or to another domain', async () => {
    const house = announced(8080);
    for (const name of [
      `other.${DOMAIN}`,
      'app.other.local',
      'app',
      'local',
      `app.${DOMAIN}.org`,
    ]) {
      house.hear(question(name));
    }
    house.hear(question(APP, 'PTR'));
    assert.deepEqual(await house.answered(), []);
    house.own.remove('app', 8080);
    house.ask('app');
    assert.deepEqual(await house.answered(), []);
  });

  test('what others have announced to this server is told too', async () => {
    const house = announced(8080);
    house.others = [
      { host: '0.0.0.0', port: 8080 },
      { host: '192.0.2.7', port: 90 },
      { host: '2001:db8::7', port: 91 },
      { host: '::ffff:192.0.2.8', port: 92 },
      { host: 'nonsense', port: 93 },
    ];
    house.ask('app');
    const { answers } = await one(house.answered());
    assert.deepEqual(peersIn(answers[0].data), ['192.0.2.7:90', '192.0.2.8:92', '0.0.0.0:8080']);
    const six = texts(answers[0].data).find((text) => text.startsWith('peers6=')) ?? '';
    assert.equal(
      Buffer.from(six.slice(7), 'base64').toString('hex'),
      '20010db8000000000000000000000007005b',
    );
  });

  test('32 ports: the remainder first, a full string last; 62 peers at most', async () => {
    const house = announced(...Array.from({ length: 32 }, (_, i) => i + 1));
    house.ask('app');
    const [{ data }] = (await one(house.answered())).answers;
    const strings = texts(data);
    assert.deepEqual(
      strings.slice(1).map((text) => text.length),
      [6 + 8, 6 + 31 * 8],
    );
    assert.equal(new Set(peersIn(data)).size, 32);
    house.others = Array.from({ length: 1000 }, (_, i) => ({
      host: `10.0.${i >> 8}.${i & 255}`,
      port: 1,
    }));
    house.ask('app');
    const [more] = (await one(house.answered())).answers;
    const told = peersIn(more.data);
    assert.equal(new Set(told).size, 62);
    assert.equal(told.filter((peer) => peer.startsWith('0.0.0.0:')).length, 32);
    assert.ok(
      told.slice(-31).every((peer) => peer.startsWith('0.0.0.0:')),
      'our own last',
    );
  });

  test('A, AAAA and SRV: our own address on the asker’s network, and others', async () => {
    const house = announced(8080, 8081);
    house.others = [
      { host: '192.0.2.7', port: 90 },
      { host: '2001:db8::7', port: 91 },
    ];
    const dataOf = async (type: Question['type']): Promise<unknown[]> => {
      house.hear(question(APP, type));
      return (await one(house.answered())).answers.map((answer) => answer.data);
    };
    assert.deepEqual(await dataOf('A'), ['10.0.0.1', '192.0.2.7']);
    assert.deepEqual(await dataOf('AAAA'), ['2001:db8::1', '2001:db8::7']);
    const srv = (port: number, target: string) => ({ priority: 0, weight: 0, port, target });
    assert.deepEqual(await dataOf('SRV'), [
      srv(8080, '10.0.0.1'),
      srv(8081, '10.0.0.1'),
      srv(90, '192.0.2.7'),
      srv(91, '2001:db8::7'),
    ]);
  });

  test('ANY: TXT and SRV', async () => {
    const house = announced(8080);
    const bytes = encode(question(APP));
    bytes.writeUInt16BE(255, bytes.length - 4);
    house.network.receive(bytes, '10.0.0.9');
    const { answers } = await one(house.answered());
    assert.deepEqual(
      answers.map(({ type }) => type),
      ['TXT', 'SRV'],
    );
  });

  test('a probe of the domain: token, and the asker’s host and port', async () => {
    const house = new MulticastHouse();
    house.ask('', '10.0.0.9');
    house.ask('', '10.0.0.8');
    const { answers } = await one(house.answered());
    assert.deepEqual(
      answers.map(({ name, data }) => [name, ...texts(data).slice(1)]),
      [
        [DOMAIN, 'host=10.0.0.9', 'port=5353'],
        [DOMAIN, 'host=10.0.0.8', 'port=5353'],
      ],
    );
  });

  for (const [ttlSeconds, ttl] of [
    [30, 30],
    [0.5, 1],
    [3600, MAX_TTL_SECONDS],
  ]) {
    test(`a ttl of ${ttlSeconds} s is told as ${ttl}`, async () => {
      const house = new MulticastHouse({ ttlSeconds });
      house.own.add('app', 1);
      house.ask('app');
      assert.equal((await one(house.answered())).answers[0].ttl, ttl);
    });
  }

  test('who knows it already is not answered (RFC 6762 7.1)', async () => {
    const house = announced(8080);
    house.ask('app');
    const { answers } = await one(house.answered());
    const known = (ttl: number) => ({ answers: [{ ...answers[0], ttl }] as Answer[] });
    house.ask('app', '10.0.0.9', 5353, known(MAX_TTL_SECONDS / 2));
    assert.deepEqual(await house.answered(), []);
    house.ask('app', '10.0.0.9', 5353, known(MAX_TTL_SECONDS / 2 - 1));
    assert.equal((await house.answered()).length, 1);
    house.own.add('app', 8081);
    house.ask('app', '10.0.0.9', 5353, known(MAX_TTL_SECONDS));
    assert.equal((await house.answered()).length, 1);
  });

  test('an interface that has come up is told of all names once', async () => {
    const house = announced(8080);
    house.own.add('web', 80);
    house.network.up('eth1', '10.1.0.1/24', 'fe80::2/64');
    house.clock.advance(5000);
    const out = await house.answered();
    assert.deepEqual(
      out.map(({ to, via }) => `${to} ${via}`),
      ['224.0.0.251 10.1.0.1', 'ff02::fb%eth1 '],
    );
    for (const { answers } of out) {
      assert.deepEqual(
        answers.map(({ name }) => name),
        [APP, `web.${DOMAIN}`],
      );
    }
    assert.deepEqual(await house.answered(60_000), []);
  });
});

describe('to one host', () => {
  test('a resolver on another port: at once, alone, id and question repeated', async () => {
    const house = announced(8080);
    house.ask('app', '10.0.0.9', 40_000, { id: 4711 });
    const { to, port, id, questions, answers } = await one(house.out());
    assert.deepEqual([to, port, id], ['10.0.0.9', 40_000, 4711]);
    assert.deepEqual(questions, [{ name: APP, type: 'TXT', class: 'IN' }]);
    assert.equal(answers[0].ttl, LEGACY_TTL_SECONDS);
    assert.deepEqual(peersIn(answers[0].data), ['0.0.0.0:8080']);
    assert.deepEqual(await house.answered(), []);
  });

  test('the QU bit: to the asker alone', async () => {
    const house = announced(8080);
    house.network.receive(unicastQuestion(APP), 'fe80::9%eth0');
    const { to, port, id, questions, answers } = await one(house.out());
    assert.deepEqual([to, port, id, questions.length], ['fe80::9%eth0', 5353, 99, 0]);
    assert.equal(answers[0].ttl, MAX_TTL_SECONDS);
    assert.deepEqual(await house.answered(), []);
  });

  test('nobody who is not on the link is answered alone', async () => {
    const house = announced(8080);
    house.ask('app', '198.51.100.1', 40_000);
    house.network.receive(unicastQuestion(APP), '198.51.100.1');
    assert.deepEqual(await house.answered(), []);
  });

  test('at most 50 such answers in a second', async () => {
    const house = announced(8080);
    for (let i = 0; i < 2 * MAX_UNICAST_PER_SECOND; i++) house.ask('app', '10.0.0.9', 40_000 + i);
    assert.equal((await house.out()).length, MAX_UNICAST_PER_SECOND);
    house.clock.advance(1000);
    house.ask('app', '10.0.0.9', 40_000);
    assert.equal((await house.out()).length, 1);
  });

  test('a message of many questions gets one answer that fits in a frame', async () => {
    const house = new MulticastHouse();
    const questions: Question[] = [];
    for (let i = 0; i < 60; i++) {
      house.own.add(`name-${i}`, 1);
      questions.push({ type: 'TXT', name: `name-${i}.${DOMAIN}` });
    }
    house.hear({ type: 'query', questions }, '10.0.0.9', 40_000);
    const { questions: repeated, answers } = await one(house.out());
    assert.ok(answers.length > 5 && answers.length <= repeated.length);
    const message = { questions: repeated, answers } as unknown as Packet;
    assert.ok(encode(message).length <= MAX_MESSAGE_BYTES);
    house.hear({ type: 'query', questions: questions.slice(0, 5) }, '10.0.0.9', 40_001);
    assert.equal((await one(house.out())).answers.length, 5);
  });
});

describe('how often', () => {
  test('20 to 120 ms after the question; questions meanwhile share the answer', async () => {
    const house = announced(8080);
    for (let round = 0; round < 2 * DELAY_SPAN_MS; round++) {
      house.ask('app');
      house.ask('app', '10.0.0.8');
      assert.deepEqual(await house.answered(LEAST_DELAY_MS - 1), [], 'not yet');
      const out = await house.answered(DELAY_SPAN_MS);
      assert.equal(out.length, 1, `round ${round}`);
      house.clock.advance(SPACING_MS);
    }
  });

  test('who asks all the time is answered no more than ten times a second', async () => {
    const house = announced(8080);
    let answers = 0;
    for (let ms = 0; ms < 10_000; ms += 5) {
      house.ask('app');
      answers += (await house.answered(5)).length;
    }
    assert.ok(answers <= 101 && answers > 60, `${answers} answers`);
  });

  test('one that asks right after an answer still gets its own', async () => {
    const house = announced(8080);
    house.ask('app');
    assert.equal((await house.answered()).length, 1);
    house.ask('app', '10.0.0.8');
    assert.equal((await house.answered()).length, 1);
  });

  test('many names: a few full messages at a time, the rest 100 ms later', async () => {
    const house = new MulticastHouse();
    const names = Array.from({ length: 60 }, (_, i) => `${'n'.repeat(60)}${i}`);
    for (const name of names) house.own.add(name, 1);
    const questions: Question[] = names.map((name) => ({ type: 'TXT', name: `${name}.${DOMAIN}` }));
    for (let at = 0; at < 60; at += 10) house.hear({ questions: questions.slice(at, at + 10) });
    const told: string[] = [];
    let rounds = 0;
    for (let ms = 0; ms < 2000; ms += 50) {
      const out = await house.answered(50);
      assert.ok(out.length <= MAX_MESSAGES_AT_ONCE);
      if (out.length > 0) rounds++;
      for (const { answers } of out) {
        assert.ok(encode({ answers: answers as Answer[] }).length <= MAX_MESSAGE_BYTES);
        told.push(...answers.map(({ name }) => name));
      }
    }
    assert.deepEqual([told.length, new Set(told).size], [60, 60]);
    assert.ok(rounds >= 2, `${rounds} rounds`);
  });

  test('no more than 1024 questions wait for a group', async () => {
    const house = new MulticastHouse({}, (network) => network.up('eth0', '10.0.0.1/16'));
    for (let i = 0; i < 2 * MAX_WAITING; i++) house.ask('', `10.0.${i >> 8}.${i & 255}`, 5353);
    let told = 0;
    for (let ms = 0; ms < 60_000; ms += 100) {
      for (const { answers } of await house.answered(100)) told += answers.length;
    }
    assert.ok(told <= MAX_WAITING && told > MAX_WAITING / 2, `${told}`);
  });

  test('destroyed while an answer waits: it is not sent', async () => {
    const house = announced(8080);
    house.ask('app');
    await new Promise<void>((resolve) => house.multicast.destroy(resolve));
    assert.deepEqual(await house.answered(), []);
    house.ask('app');
    assert.deepEqual(await house.answered(), []);
  });
});
