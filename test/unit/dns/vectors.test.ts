/**
 * Every recorded datagram of npm dns-discovery 6.2.3: read with its meaning, or written with it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from 'dns-packet';
import { TYPE } from '../../../codecs/dns/constants.ts';
import { DiscoveryTxt } from '../../../codecs/dns/discovery-txt.ts';
import { writePush } from '../../../codecs/dns/push.ts';
import type { ReplyWriter } from '../../../codecs/dns/reply.ts';
import { decodeName, encodeName } from '../../../codecs/dns/text.ts';
import { hex, loadVectors, type Vector } from '../../helpers/dns-bytes.ts';
import { Bench, DOMAIN, mapped, pairsOf, tokenBytes } from '../../helpers/dns-messages.ts';

const vectors = loadVectors();
const isResponse = (vector: Vector): boolean => (hex(vector.hex)[2] & 0x80) !== 0;

test('the file is the one these tests were written for', () => {
  assert.equal(vectors.length, 79);
  assert.equal(vectors.filter(isResponse).length, 49);
});

test('every recorded query is read with its meaning', () => {
  const bench = new Bench();
  const { reader, arena } = bench;
  const txt = new DiscoveryTxt();
  for (const vector of vectors.filter((each) => !isResponse(each))) {
    const { id, flags, questions, additionals } = vector.decoded;
    assert.equal(bench.read(hex(vector.hex)), 0, vector.name);
    assert.deepEqual([reader.id, reader.flags, reader.qdcount], [id, flags, questions.length]);
    const name = (questions[0] ?? additionals[0]).name;
    assert.equal(decodeName(reader.folded, 0, reader.foldedEnd), name);
    const isOurs = name.endsWith(DOMAIN);
    assert.equal(reader.domain, isOurs ? 0 : -1, name);
    assert.equal(reader.isApex, name === DOMAIN);
    if (isOurs && name !== DOMAIN) {
      assert.equal(decodeName(reader.folded, 0, reader.keyEnd), name.slice(0, -DOMAIN.length - 1));
    }
    if (questions.length > 0) {
      assert.equal(reader.qtype, TYPE[questions[0].type as keyof typeof TYPE]);
      assert.equal(reader.qclass, 1);
    }
    const records = additionals.filter((record) => record.type === 'TXT');
    assert.equal(reader.txtCount, records.length);
    records.forEach((record, i) => {
      assert.equal(txt.read(arena.bytes, reader.txtStart[i], reader.txtEnd[i]), true);
      const fields = new URLSearchParams(
        (record.data as string[]).join('&').replaceAll('+', '%2b'),
      );
      const token = arena.bytes.slice(txt.tokenStart, txt.tokenStart + txt.tokenLength);
      assert.equal(Buffer.from(token).toString(), fields.get('token'));
      assert.equal(txt.announce, Number(fields.get('announce') ?? -1));
      assert.equal(txt.unannounce, Number(fields.get('unannounce') ?? -1));
      assert.equal(txt.subscribe, fields.has('subscribe'));
    });
  }
});

/** Writes the data of a recorded response's answers with our writer. */
function writeAnswers(writer: ReplyWriter, vector: Vector): void {
  for (const { type, ttl, data } of vector.decoded.answers) {
    if (type === 'A') {
      writer.a(ttl, mapped(data as string), 12);
    } else if (type === 'SRV') {
      const { port, target } = data as { port: number; target: string };
      writer.srv4(ttl, Uint8Array.from([...mapped(target).slice(12), port >> 8, port & 255]), 0);
    } else {
      const fields = new Map(
        (data as string[]).map((text) => [
          text.slice(0, text.indexOf('=')),
          text.slice(text.indexOf('=') + 1),
        ]),
      );
      const token = tokenBytes(fields.get('token'));
      const host = fields.get('host');
      const peers = Uint8Array.from(Buffer.from(fields.get('peers') ?? '', 'base64'));
      if (host !== undefined)
        writer.txtProbe(ttl, token, 0, mapped(host), 0, Number(fields.get('port')));
      else writer.txtPeers(ttl, token, 0, pairsOf(peers), peers.length / 6, peers, 0);
    }
  }
}

test('every recorded well-formed response is what our writer makes of its data', () => {
  const bench = new Bench();
  let compared = 0;
  for (const vector of vectors.filter(isResponse)) {
    if (vector.decoded.undecodable || vector.decoded.questions.length === 0) continue;
    const recorded = Buffer.from(hex(vector.hex));
    const query = Uint8Array.from(recorded);
    query.fill(0, 2, 4);
    query.fill(0, 6, 12);
    assert.equal(bench.read(query), 0);
    const ours = bench.reply(recorded.length, (writer) => writeAnswers(writer, vector));
    assert.ok(ours.length <= recorded.length);
    const a = decode(ours);
    const b = decode(recorded);
    assert.deepEqual(a.questions, b.questions, vector.name);
    assert.deepEqual(a.answers, b.answers, vector.name);
    assert.deepEqual([a.id, a.type, a.additionals, a.authorities], [b.id, b.type, [], []]);
    compared++;
  }
  assert.equal(compared, 21);
});

test('recorded pushes are written byte for byte', () => {
  const pushes = vectors.filter((vector) => vector.name.startsWith('push query'));
  assert.equal(pushes.length, 2);
  for (const vector of pushes) {
    const bytes = new Uint8Array(512);
    const { id, additionals } = vector.decoded;
    const { port, target } = additionals[0].data as { port: number; target: string };
    const key = encodeName('vec-name');
    const domain = encodeName(DOMAIN);
    const length = writePush(
      bytes,
      0,
      id,
      key,
      0,
      key.length - 1,
      domain,
      0,
      port,
      mapped(target),
      0,
    );
    assert.equal(Buffer.from(bytes.subarray(0, length)).toString('hex'), vector.hex);
  }
});
