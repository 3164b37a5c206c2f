/**
 * Every recorded datagram of npm dns-discovery 6.2.3, in its order: its client's are sent to our
 * lane, its server's are compared in meaning with what our lane answers, its multicast ones are
 * accounted for.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  DOMAIN,
  decodePacket,
  type Endpoint,
  HarnessClient,
  LaneHarness,
  type Packet,
  peersOf,
  type Sent,
  txtOf,
} from '../helpers/lane-harness.ts';

interface Vector {
  readonly name: string;
  readonly direction: string;
  readonly src: string;
  readonly dst: string;
  readonly hex: string;
}

const VECTORS = JSON.parse(
  readFileSync(new URL('../vectors/dns-discovery.json', import.meta.url), 'utf8'),
) as Vector[];
const TOKEN_TEXT = /token=([A-Za-z0-9+/]{43}=)/;

function endpoint(text: string): Endpoint {
  const colon = text.lastIndexOf(':');
  return { address: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}

/** What the recording server was given by hand: `many*` names with peers 10.0.0.1 and up. */
function seedCrowds(harness: LaneHarness): void {
  const crowds = {
    many: 60,
    many1: 1,
    many30: 30,
    many31: 31,
    many32: 32,
    many40: 40,
    many41: 41,
    many100: 100,
  };
  for (const [id, count] of Object.entries(crowds)) {
    for (let i = 1; i <= count; i++) {
      new HarnessClient(harness, `10.0.0.${i}`, 5000).announce(id, 19_999 + i);
    }
  }
  // Nobody acknowledges the pushes of these announces: let them be given up.
  for (let i = 0; i < 400; i++) harness.advance(250);
  harness.takePushes();
}

/**
 * Replays one vector after the other; `answers` holds what our lane said and the recording will.
 */
class Replay {
  readonly harness = new LaneHarness();
  readonly #answers = new Map<string, Packet>();
  readonly #pushes: Sent[] = [];
  readonly accounted = new Map<string, number>();

  play(vector: Vector): void {
    const bytes = Buffer.from(vector.hex, 'hex');
    const isResponse = (bytes[2] & 0x80) !== 0;
    if (vector.direction.startsWith('host->')) this.#multicast(vector, bytes, isResponse);
    else if (vector.direction === 'client->server' && !isResponse) this.#query(vector, bytes);
    else if (vector.direction === 'client->server') this.#acknowledgement(vector, bytes);
    else if (!isResponse) this.#push(vector, bytes);
    else this.#response(vector, bytes);
  }

  #account(kind: string): void {
    this.accounted.set(kind, (this.accounted.get(kind) ?? 0) + 1);
  }

  #query(vector: Vector, recorded: Buffer): void {
    const from = endpoint(vector.src);
    const client = new HarnessClient(this.harness, from.address, from.port);
    const text = recorded.toString('latin1').replace(TOKEN_TEXT, () => `token=${client.token()}`);
    const answer = this.harness.exchange(Buffer.from(text, 'latin1'), from);
    assert.ok(answer, `no answer to ${vector.name}`);
    this.#answers.set(`${vector.src} ${recorded.readUInt16BE(0)}`, decodePacket(answer));
    this.#pushes.push(...this.harness.takePushes());
    this.#account('queries answered');
  }

  #response(vector: Vector, recorded: Buffer): void {
    const ours = this.#answers.get(`${vector.dst} ${recorded.readUInt16BE(0)}`);
    assert.ok(ours, `${vector.name}: nothing of ours to compare`);
    if (vector.name.includes('malformed')) {
      assert.ok(peersOf(ours).length >= 31, 'the original answers with garbage, we with 31 peers');
      this.#account('defective responses bettered');
      return;
    }
    sameMeaning(ours, decodePacket(recorded), vector);
    this.#account('responses of the same meaning');
  }

  #push(vector: Vector, recorded: Buffer): void {
    const to = endpoint(vector.dst);
    const index = this.#pushes.findIndex((p) => p.address === to.address && p.port === to.port);
    assert.ok(index >= 0, `no push of ours to ${vector.dst}`);
    const [push] = this.#pushes.splice(index, 1);
    assert.deepEqual(Buffer.from(push.bytes.subarray(2)), recorded.subarray(2), 'but for the id');
    this.#account('pushes equal but for the id');
    this.#pending.set(vector.dst, push);
  }

  readonly #pending = new Map<string, Sent>();

  #acknowledgement(vector: Vector, recorded: Buffer): void {
    const push = this.#pending.get(vector.src);
    assert.ok(push);
    recorded.set(push.bytes.subarray(0, 2));
    const before = this.harness.counters().absorbed;
    assert.equal(this.harness.exchange(recorded, endpoint(vector.src)), null);
    assert.equal(this.harness.counters().absorbed, before + 1);
    this.#account('acknowledgements taken');
  }

  /**
   * A unicast server meets these only by accident: a question is answered, a response is dropped.
   */
  #multicast(vector: Vector, recorded: Buffer, isResponse: boolean): void {
    const answer = this.harness.exchange(recorded, { address: '127.0.0.1', port: 5353 });
    assert.equal(answer === null, isResponse, vector.name);
    this.#account(isResponse ? 'multicast responses dropped' : 'multicast queries answered');
  }
}

function sameMeaning(ours: Packet, theirs: Packet, vector: Vector): void {
  const where = `${vector.name} ${vector.hex.slice(0, 4)}`;
  assert.equal(ours.id, theirs.id, where);
  assert.deepEqual(ours.questions, theirs.questions, where);
  if (ours.rcode === 'REFUSED') {
    assert.ok(!ours.questions?.[0].name.endsWith(DOMAIN), where);
    assert.equal(theirs.answers?.length, 0, where);
    return;
  }
  const kinds = (packet: Packet) =>
    packet.answers?.map((answer) => [answer.type, 'ttl' in answer && answer.ttl]);
  assert.deepEqual(kinds(ours), kinds(theirs), where);
  assert.deepEqual(peersOf(ours).sort(), peersOf(theirs).sort(), where);
  const [oursTxt, theirsTxt] = [txtOf(ours), txtOf(theirs)];
  assert.deepEqual([...oursTxt.keys()], [...theirsTxt.keys()], where);
  assert.equal(oursTxt.get('token')?.length, theirsTxt.get('token')?.length, where);
  for (const key of ['host', 'port']) assert.equal(oursTxt.get(key), theirsTxt.get(key), where);
  for (const answer of theirs.answers ?? []) {
    if (answer.type === 'A' || (answer.type === 'SRV' && !answer.name.startsWith('many'))) {
      assert.deepEqual(ours.answers?.[0], answer, where);
    }
  }
}

test('every recorded datagram of dns-discovery 6.2.3 is replayed and accounted for', () => {
  const replay = new Replay();
  seedCrowds(replay.harness);
  for (const vector of VECTORS) replay.play(vector);
  const total = [...replay.accounted.values()].reduce((sum, n) => sum + n, 0);
  assert.equal(total, VECTORS.length);
  assert.equal(VECTORS.length, 79);
  assert.deepEqual(Object.fromEntries(replay.accounted), {
    'queries answered': 27,
    'responses of the same meaning': 20,
    'defective responses bettered': 26,
    'pushes equal but for the id': 2,
    'acknowledgements taken': 2,
    'multicast queries answered': 1,
    'multicast responses dropped': 1,
  });
});
