/** The framer: any split of any messages is the same messages; memory is paid for with bytes. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  FRAME_BYTES,
  Framer,
  LEAST_MESSAGE_BYTES,
  MALFORMED,
  type MessageSink,
  PartialBudget,
} from '../../server/net/tcp/framer.ts';
import { MAX_MESSAGE_BYTES, OVERFLOW_BLOCK_BYTES } from '../../workers/overflow.ts';
import { frame } from '../helpers/tcp-client.ts';

const LIMIT_BYTES = 1_000_000;
/** Beyond the bytes that came, a buffer is at most as large again, or its first 64. */
const LEAST_BUFFER_BYTES = 64;

/** Keeps messages; refuses whenever `refuses` says so. */
class Sink implements MessageSink {
  readonly bytes = new Uint8Array(OVERFLOW_BLOCK_BYTES + 7);
  readonly messages: Buffer[] = [];
  refuses: () => boolean = () => false;
  readonly #start = 7;

  place(): number {
    return this.refuses() ? -1 : this.#start;
  }

  placed(_connection: number, length: number): void {
    this.messages.push(Buffer.from(this.bytes.slice(this.#start, this.#start + length)));
  }
}

/** Cuts `bytes` at the places given. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length];
  ends.sort((a, b) => a - b);
  return ends.map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end));
}

function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const message = fc.uint8Array({ minLength: LEAST_MESSAGE_BYTES, maxLength: 700 });

describe('the framer', () => {
  test('any split of any messages gives the messages, also with a sink that refuses', () => {
    const places = fc.array(fc.nat(20_000), { maxLength: 60 });
    const refusals = fc.infiniteStream(fc.boolean());
    fc.assert(
      fc.property(fc.array(message, { maxLength: 20 }), places, refusals, (all, at, refuse) => {
        const budget = new PartialBudget(LIMIT_BYTES);
        const framer = new Framer(3, budget);
        const sink = new Sink();
        sink.refuses = () => refuse.next().value;
        for (const chunk of cut(Buffer.concat(all.map(frame)), at)) {
          let done = framer.feed(1, chunk, 0, sink);
          while (done < chunk.length) {
            assert.ok(done >= 0);
            done = framer.feed(1, chunk, done, sink);
          }
        }
        assert.deepEqual(
          sink.messages.map((m) => m.toString('hex')),
          all.map((m) => Buffer.from(m).toString('hex')),
        );
        assert.equal(framer.pending(1), 0);
        assert.equal(budget.heldBytes, 0);
      }),
      { numRuns: 200 },
    );
  });

  test('a byte at a time, the shortest and the longest', () => {
    const framer = new Framer(1, new PartialBudget(LIMIT_BYTES));
    const sink = new Sink();
    const all = [LEAST_MESSAGE_BYTES, MAX_MESSAGE_BYTES, 100].map((length, i) =>
      Buffer.alloc(length, i + 1),
    );
    for (const byte of Buffer.concat(all.map(frame))) {
      assert.equal(framer.feed(0, Uint8Array.of(byte), 0, sink), 1);
    }
    assert.ok(sink.messages.every((m, i) => m.equals(all[i])));
    assert.equal(sink.messages.length, 3);
  });

  test('memory grows with the bytes that came, not with the length announced', () => {
    const budget = new PartialBudget(LIMIT_BYTES);
    const framer = new Framer(2, budget);
    const sink = new Sink();
    framer.feed(0, Uint8Array.of(0xff), 0, sink);
    framer.feed(0, Uint8Array.of(0xff), 0, sink);
    assert.equal(budget.heldBytes, LEAST_BUFFER_BYTES);
    for (let bytes = FRAME_BYTES; bytes < FRAME_BYTES + MAX_MESSAGE_BYTES - 1; bytes++) {
      framer.feed(0, Uint8Array.of(1), 0, sink);
      assert.equal(framer.pending(0), bytes + 1);
      assert.ok(budget.heldBytes <= Math.max(LEAST_BUFFER_BYTES, 2 * (bytes + 1)));
    }
    assert.ok(budget.heldBytes <= FRAME_BYTES + MAX_MESSAGE_BYTES);
    framer.forget(0);
    framer.forget(1);
    assert.equal(budget.heldBytes, 0);
    assert.equal(sink.messages.length, 0);
  });

  test('the budget says when all together hold too much', () => {
    const budget = new PartialBudget(10_000);
    const framer = new Framer(100, budget);
    const sink = new Sink();
    let connection = 0;
    while (!budget.isExceeded) {
      framer.feed(connection++, Buffer.concat([Buffer.of(0xff, 0xff), Buffer.alloc(900)]), 0, sink);
    }
    assert.equal(connection, 10);
    framer.forget(0);
    assert.equal(budget.isExceeded, false);
  });

  test('lengths below a header are malformed, in whatever pieces they come', () => {
    for (let length = 0; length < LEAST_MESSAGE_BYTES; length++) {
      for (const before of [Buffer.alloc(0), frame(Buffer.alloc(20))]) {
        const bytes = Buffer.concat([before, Buffer.of(0, length)]);
        for (let split = 0; split < bytes.length; split++) {
          const framer = new Framer(1, new PartialBudget(LIMIT_BYTES));
          const sink = new Sink();
          framer.feed(0, bytes.subarray(0, split), 0, sink);
          assert.equal(framer.feed(0, bytes.subarray(split), 0, sink), MALFORMED);
        }
      }
    }
  });

  test('mutated streams: what comes out is what a simple reader finds', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const next = random(seed);
      const below = (n: number) => Math.floor(next() * n);
      const all = Array.from({ length: 1 + below(12) }, () => Buffer.alloc(12 + below(300), 7));
      const bytes = Buffer.concat(all.map(frame));
      for (let i = below(4); i > 0; i--) bytes[below(bytes.length)] = below(256);
      const expected: string[] = [];
      let at = 0;
      let malformed = false;
      while (at + 2 <= bytes.length && !malformed) {
        const length = bytes.readUInt16BE(at);
        malformed = length < LEAST_MESSAGE_BYTES;
        if (malformed || at + 2 + length > bytes.length) break;
        expected.push(bytes.toString('hex', at + 2, at + 2 + length));
        at += 2 + length;
      }
      const budget = new PartialBudget(LIMIT_BYTES);
      const framer = new Framer(1, budget);
      const sink = new Sink();
      let result = 0;
      const places = Array.from({ length: below(30) }, () => below(bytes.length));
      for (const chunk of cut(bytes, places)) {
        if (result !== MALFORMED) result = framer.feed(0, chunk, 0, sink);
      }
      const why = `seed ${seed}`;
      assert.deepEqual(
        sink.messages.map((m) => m.toString('hex')),
        expected,
        why,
      );
      assert.equal(result === MALFORMED, malformed, why);
      if (!malformed) assert.equal(framer.pending(0), bytes.length - at, why);
      framer.forget(0);
      assert.equal(budget.heldBytes, 0, why);
    }
  });
});
