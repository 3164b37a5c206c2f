/**
 * Every recorded datagram of npm dns-discovery 6.2.3, in its order: its client's are sent to our
 * lane, its server's are compared in meaning with what our lane answers, its multicast ones are
 * accounted for.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  decodePacket,
  HarnessClient,
  LaneHarness,
  type Packet,
  type Sent,
} from '../helpers/lane-harness.ts';
import {
  assertBetter,
  assertSameMeaning,
  bytesOf,
  CROWDS,
  endpoint,
  FIRST_CROWD_PORT,
  kindOf,
  RECORDED,
  type Recorded,
  withToken,
} from '../helpers/recorded.ts';

function seedCrowds(harness: LaneHarness): void {
  for (const [id, count] of CROWDS) {
    for (let i = 0; i < count; i++) {
      new HarnessClient(harness, `10.0.0.${i + 1}`, 5000).announce(id, FIRST_CROWD_PORT + i);
    }
  }
  // Nobody acknowledges the pushes of these announces: let them be given up.
  for (let i = 0; i < 400; i++) harness.advance(250);
  harness.takePushes();
}

/**
 * Replays one datagram after the other; `answers` holds what our lane said and the recording will.
 */
class Replay {
  readonly harness = new LaneHarness();
  readonly #answers = new Map<string, Packet>();
  readonly #pushes: Sent[] = [];
  readonly #pending = new Map<string, Sent>();
  readonly accounted = new Map<string, number>();

  play(recorded: Recorded): void {
    const kind = kindOf(recorded);
    if (kind === 'query') this.#query(recorded);
    else if (kind === 'acknowledgement') this.#acknowledgement(recorded);
    else if (kind === 'push') this.#push(recorded);
    else if (kind === 'multicast') this.#multicast(recorded);
    else this.#response(recorded, kind === 'defective');
  }

  #account(kind: string): void {
    this.accounted.set(kind, (this.accounted.get(kind) ?? 0) + 1);
  }

  #query(recorded: Recorded): void {
    const from = endpoint(recorded.src);
    const client = new HarnessClient(this.harness, from.address, from.port);
    const query = withToken(bytesOf(recorded), () => client.token());
    const answer = this.harness.exchange(query, from);
    assert.ok(answer, `no answer to ${recorded.name}`);
    this.#answers.set(`${recorded.src} ${query.readUInt16BE(0)}`, decodePacket(answer));
    this.#pushes.push(...this.harness.takePushes());
    this.#account('queries answered');
  }

  #response(recorded: Recorded, isDefective: boolean): void {
    const theirs = bytesOf(recorded);
    const ours = this.#answers.get(`${recorded.dst} ${theirs.readUInt16BE(0)}`);
    assert.ok(ours, `${recorded.name}: nothing of ours to compare`);
    if (isDefective) {
      assertBetter(ours);
      this.#account('defective responses bettered');
      return;
    }
    assertSameMeaning(ours, decodePacket(theirs), recorded);
    this.#account('responses of the same meaning');
  }

  #push(recorded: Recorded): void {
    const to = endpoint(recorded.dst);
    const index = this.#pushes.findIndex((p) => p.address === to.address && p.port === to.port);
    assert.ok(index >= 0, `no push of ours to ${recorded.dst}`);
    const [push] = this.#pushes.splice(index, 1);
    const theirs = bytesOf(recorded);
    assert.deepEqual(Buffer.from(push.bytes.subarray(2)), theirs.subarray(2), 'but for the id');
    this.#account('pushes equal but for the id');
    this.#pending.set(recorded.dst, push);
  }

  #acknowledgement(recorded: Recorded): void {
    const push = this.#pending.get(recorded.src);
    assert.ok(push);
    const bytes = bytesOf(recorded);
    bytes.set(push.bytes.subarray(0, 2));
    const before = this.harness.counters().absorbed;
    assert.equal(this.harness.exchange(bytes, endpoint(recorded.src)), null);
    assert.equal(this.harness.counters().absorbed, before + 1);
    this.#account('acknowledgements taken');
  }

  /**
   * A unicast server meets these only by accident: a question is answered, a response is dropped.
   */
  #multicast(recorded: Recorded): void {
    const bytes = bytesOf(recorded);
    const isResponse = (bytes[2] & 0x80) !== 0;
    const answer = this.harness.exchange(bytes, { address: '127.0.0.1', port: 5353 });
    assert.equal(answer === null, isResponse, recorded.name);
    this.#account(isResponse ? 'multicast responses dropped' : 'multicast queries answered');
  }
}

test('every recorded datagram of dns-discovery 6.2.3 is replayed and accounted for', () => {
  const replay = new Replay();
  seedCrowds(replay.harness);
  for (const recorded of RECORDED) replay.play(recorded);
  const total = [...replay.accounted.values()].reduce((sum, n) => sum + n, 0);
  assert.equal(total, RECORDED.length);
  assert.equal(RECORDED.length, 79);
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
