/** The decoder inside npm dns-discovery 6.2.3 (dns-socket's dns-packet 4.2.0) reads our answers. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import {
  Bench,
  buildMessage,
  DOMAIN,
  mapped,
  optRecord,
  pairsOf,
  peers4,
  peers6,
  TOKEN,
  tokenBytes,
} from '../../helpers/dns-messages.ts';

interface OldPacket {
  id: number;
  type: string;
  answers: { name: string; type: string; data: Buffer[] }[];
  additionals: { type: string }[];
}

const fromHere = createRequire(import.meta.url);
const fromSocket = createRequire(
  createRequire(fromHere.resolve('dns-discovery')).resolve('dns-socket'),
);
const old: { decode(bytes: Buffer): OldPacket } = fromSocket('dns-packet');

/** As the client does: the first answer, of equal keys the last one. */
function fieldsOf(packet: OldPacket): Map<string, string> {
  return new Map(
    packet.answers[0].data.map((string) => {
      const text = string.toString();
      return [text.slice(0, text.indexOf('=')), text.slice(text.indexOf('=') + 1)];
    }),
  );
}

function lookup(
  name: string,
  count4: number,
  count6: number,
  limit: number,
  edns: boolean,
): OldPacket {
  const bench = new Bench();
  const additionals = edns ? [optRecord()] : [];
  assert.equal(bench.read(buildMessage({ question: { name }, additionals })), 0);
  return old.decode(
    bench.reply(limit, (writer) => {
      writer.txtPeers(0, tokenBytes(), 0, pairsOf(peers4(count4)), count4, peers6(count6), count6);
    }),
  );
}

test('it is the version the original depends on', () => {
  assert.equal(fromSocket('dns-packet/package.json').version, '4.2.0');
  assert.equal(fromHere('dns-discovery/package.json').version, '6.2.3');
});

test('1, 31, 32, 33 and 100 peers: the client sees the token and at least 31 of them', () => {
  const id64 = 'abcdef0123456789'.repeat(4);
  for (const name of [`many.${DOMAIN}`, `${id64}.${DOMAIN}`]) {
    for (const [limit, edns] of [
      [512, false],
      [1232, true],
      [65_535, false],
    ] as const) {
      for (const count of [1, 31, 32, 33, 100]) {
        for (const count6 of [0, 40]) {
          const packet = lookup(name, count, count6, limit, edns);
          assert.equal(packet.answers.length, 1);
          assert.equal(packet.answers[0].name, name);
          const fields = fieldsOf(packet);
          assert.equal(fields.get('token'), TOKEN);
          const peers = Buffer.from(fields.get('peers') ?? '', 'base64');
          assert.equal(peers.length, 6 * Math.min(count, 31), `${count} in ${limit}`);
          assert.equal(packet.additionals.length, edns ? 1 : 0);
        }
      }
    }
  }
});

test('no peers: only the token', () => {
  assert.deepEqual([...fieldsOf(lookup(`none.${DOMAIN}`, 0, 0, 512, false))], [['token', TOKEN]]);
});

test('the probe answer', () => {
  const bench = new Bench();
  bench.read(buildMessage({ question: { name: DOMAIN } }));
  const packet = old.decode(
    bench.reply(512, (writer) => {
      writer.txtProbe(0, tokenBytes(), 0, mapped('192.0.2.255'), 0, 7);
    }),
  );
  assert.deepEqual(
    [...fieldsOf(packet)],
    [
      ['token', TOKEN],
      ['host', '192.0.2.255'],
      ['port', '7'],
    ],
  );
});
