/**
 * Seeded mutations of multicast messages through the guarded socket and all behind it: nothing
 * throws, what is told is in bounds, dns-packet is never given what the guard refuses, and neither
 * what it makes of a datagram nor what is looked up for it is much.
 * FUZZ_MUTATIONS and FUZZ_SEED change the amount and the seed.
 */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { isIP } from 'node:net';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import * as dnsPacket from 'dns-packet';
import { MAX_MESSAGE_BYTES } from '../../server/discovery/multicast/responder.ts';
import {
  guardMulticast,
  MAX_MULTICAST_LABELS,
  MAX_MULTICAST_QUESTIONS,
  MAX_MULTICAST_RECORDS,
  MAX_MULTICAST_STRINGS,
  MULTICAST_VERDICT,
} from '../../server/net/multicast/guard.ts';
import { FUZZ_MUTATIONS, FUZZ_SEED, mutate, Rng } from '../helpers/dns-bytes.ts';
import { DOMAIN, MulticastHouse, peersString } from '../helpers/multicast-house.ts';

/** What multicast-dns decodes by, as it sees it: replaced here by one that looks. */
const shared = createRequire(import.meta.url)('dns-packet') as { decode: unknown };
/** Of names announced here, for one datagram: each question, and each record of a response. */
const MAX_LOOKUPS = MAX_MULTICAST_QUESTIONS + MAX_MULTICAST_RECORDS;
const ID64 = '0123456789abcdef'.repeat(4);
const SENDERS = ['10.0.0.9', 'fe80::9%eth0', '10.0.0.1', '198.51.100.1', '2001:db8::9'];

function corpus(): Buffer[] {
  const txt = (name: string, ...strings: string[]): dnsPacket.Answer => ({
    type: 'TXT',
    name,
    data: strings.map((text) => Buffer.from(text)),
  });
  const srv = (name: string): dnsPacket.Answer => ({
    type: 'SRV',
    name,
    data: { port: 80, target: '0.0.0.0' },
  });
  const peers = peersString('0.0.0.0:80', '192.0.2.1:81', '192.0.2.2:82');
  const names = [DOMAIN, `app.${DOMAIN}`, `App.DNS-discovery.LOCAL`, `${ID64}.${DOMAIN}`];
  return [
    ...names.map((name) => dnsPacket.encode({ questions: [{ type: 'TXT', name }] })),
    ...names.map((name) =>
      dnsPacket.encode({
        type: 'response',
        questions: [{ type: 'SRV', name }],
        answers: [txt(name, 'token=abc', peers, `peers6=${'A'.repeat(24)}`), srv(name)],
        additionals: [srv(name), { type: 'A', name, data: '10.0.0.9' }],
      }),
    ),
    dnsPacket.encode({
      questions: (['A', 'AAAA', 'SRV', 'TXT'] as const).map((type) => ({ type, name: names[1] })),
      answers: [txt(names[1], 'token=abc', peers)],
    }),
    ...costly(names[1]),
    Buffer.alloc(12),
    Buffer.from('000084000000ffffffffffff', 'hex'),
  ];
}

/** Messages of many questions and records, near the bounds and beyond. */
function costly(name: string): Buffer[] {
  const questions = Array<dnsPacket.Question>(40).fill({ type: 'TXT', name });
  const text = { type: 'TXT', name, ttl: 4000, data: Array(4).fill('token=x') } as const;
  const host = { type: 'A', name, data: '10.0.0.9' } as const;
  const records = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? text : host));
  const deep = `${'@.'.repeat(60)}${name}`;
  return [
    dnsPacket.encode({ questions, answers: records }),
    dnsPacket.encode({ type: 'response', answers: records }),
    dnsPacket.encode({ questions: Array(4).fill({ type: 'TXT', name: deep }) }),
  ];
}

/** That what dns-packet has made of a datagram is little, whatever its length. */
function checkWork(message: dnsPacket.DecodedPacket, context: string): void {
  const { questions = [], answers = [], authorities = [], additionals = [] } = message;
  const records = [...answers, ...authorities, ...additionals] as { name: string; data: unknown }[];
  assert.ok(questions.length <= MAX_MULTICAST_QUESTIONS, context);
  assert.ok(records.length <= MAX_MULTICAST_RECORDS, context);
  const names = [...questions, ...records].map(({ name }) => name);
  // A label has 63 bytes at most, each of them a character at most.
  const characters = names.reduce((sum, { length }) => sum + length, 0);
  assert.ok(characters <= 64 * MAX_MULTICAST_LABELS + names.length, context);
  const lists = records.map(({ data }) => (Array.isArray(data) ? data.length : 0));
  const strings = lists.reduce((sum, count) => sum + count, 0);
  assert.ok(strings <= MAX_MULTICAST_STRINGS, context);
}

test('mutated datagrams', async (t) => {
  const seed = `seed ${FUZZ_SEED}`;
  const decode = dnsPacket.decode;
  let decoded = 0;
  shared.decode = (bytes: Buffer): unknown => {
    decoded++;
    assert.equal(guardMulticast(bytes), MULTICAST_VERDICT.OK, bytes.toString('hex'));
    const message = decode(bytes);
    checkWork(message, bytes.toString('hex'));
    return message;
  };
  t.after(() => {
    shared.decode = decode;
  });
  let told = 0;
  const house: MulticastHouse = new MulticastHouse({
    onPeer: (id, { host, port }) => {
      told++;
      assert.ok(
        id !== '' && isIP(host) !== 0 && port > 0 && port < 65_536,
        `${id} ${host} ${port}`,
      );
    },
  });
  house.own.add('app', 8080);
  house.own.add(ID64, 8081);
  house.others = [{ host: '192.0.2.7', port: 90 }];
  let lookups = 0;
  const { ports } = house.own;
  house.own.ports = (id) => {
    lookups++;
    return ports.call(house.own, id);
  };
  const sources = corpus();
  const rng = new Rng(FUZZ_SEED);
  let sent = 0;
  for (let round = 0; round < FUZZ_MUTATIONS; round++) {
    const bytes = mutate(sources[rng.below(sources.length)], rng);
    const port = rng.below(4) === 0 ? rng.below(3) * rng.below(32_768) : 5353;
    lookups = 0;
    house.wantsTraffic = rng.below(8) === 0;
    try {
      house.network.receive(bytes, SENDERS[rng.below(SENDERS.length)], port);
    } catch (error) {
      const where = `${seed} round ${round} ${Buffer.from(bytes).toString('hex')}`;
      throw new Error(where, { cause: error });
    }
    assert.ok(lookups <= MAX_LOOKUPS, `${seed} round ${round}: ${lookups} lookups`);
    if (round % 64 !== 0) continue;
    house.traffic.length = 0;
    house.clock.advance(150);
    // multicast-dns sends in the next tick.
    await setImmediate();
    for (const socket of house.network.sockets) {
      for (const message of socket.sent.splice(0)) {
        sent++;
        assert.ok(message.bytes.length <= MAX_MESSAGE_BYTES, seed);
      }
    }
  }
  const { received, dropCounts } = house.multicast.counts ?? { received: 0, dropCounts: 0 };
  assert.equal(received, FUZZ_MUTATIONS);
  assert.ok(decoded > FUZZ_MUTATIONS / 10 && dropCounts > FUZZ_MUTATIONS / 100, seed);
  assert.ok(told > FUZZ_MUTATIONS / 20 && sent > FUZZ_MUTATIONS / 1000, `${seed} ${told} ${sent}`);
  assert.deepEqual(house.errors, []);
});
