/**
 * RFC 7873 5.4: a query without a question, for a cookie or about one. Through a whole lane, by UDP
 * and by TCP.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { OPTION, RCODE, TYPE } from '../../codecs/dns/constants.ts';
import { inFlight } from '../../workers/counters.ts';
import { BUDGET_SILENT, BUDGET_TRUNCATED } from '../../workers/slab.ts';
import { buildMessage, optRecord, type RecordSpec, u16 } from '../helpers/dns-messages.ts';
import { type Parsed, parseStrict } from '../helpers/dns-parse.ts';
import { type Endpoint, LaneHarness, type Transfer } from '../helpers/lane-harness.ts';

const FROM: Endpoint = { address: '192.0.2.1', port: 5353 };
const CLIENT_COOKIE = [1, 2, 3, 4, 5, 6, 7, 8];
const ROOT_TXT: RecordSpec = { name: '.', type: TYPE.TXT, rdata: [1, 120] };

function cookieOption(data: number[]): number[] {
  return [...u16(OPTION.COOKIE), ...u16(data.length), ...data];
}

function cookieQuery(data: number[], more: RecordSpec[] = []): Uint8Array {
  return buildMessage({ additionals: [...more, optRecord(1232, 0, 0, cookieOption(data))] });
}

function ask(harness: LaneHarness, query: Uint8Array, how: Transfer = {}): Parsed {
  const answer = harness.exchange(query, FROM, how);
  assert.ok(answer, 'no answer');
  assert.equal(inFlight(harness.counters()), 0);
  return parseStrict(answer);
}

function rcodeOf({ flags, additionals }: Parsed): number {
  const opt = additionals.find(({ type }) => type === TYPE.OPT);
  return (((opt?.ttl ?? 0) >>> 24) << 4) | (flags & 15);
}

/** The cookie of an answer that has nothing else. */
function cookieOf({ questions, answers, authorities, additionals }: Parsed): number[] {
  assert.deepEqual([questions, answers, authorities, additionals.length], [[], [], [], 1]);
  const rdata = [...additionals[0].rdata];
  assert.deepEqual(rdata.slice(0, 4), [...u16(OPTION.COOKIE), ...u16(24)]);
  return rdata.slice(4);
}

describe('RFC 7873 5.4: querying for a server cookie', () => {
  for (const tcp of [false, true]) {
    const by = tcp ? 'TCP' : 'UDP';
    test(`fault: a query for a cookie alone was a format error, ${by}`, () => {
      const harness = new LaneHarness();
      for (const more of [[], [ROOT_TXT]]) {
        const reply = ask(harness, cookieQuery(CLIENT_COOKIE, more), { tcp });
        assert.equal(rcodeOf(reply), RCODE.NOERROR);
        const cookie = cookieOf(reply);
        assert.deepEqual(cookie.slice(0, 8), CLIENT_COOKIE);
        const again = ask(harness, cookieQuery(cookie), { tcp });
        assert.equal(rcodeOf(again), RCODE.NOERROR, 'a valid one is confirmed');
        assert.deepEqual(cookieOf(again), cookie);
      }
      assert.equal(harness.counters().formatErrors, 0);
    });

    test(`a server cookie that is not ours: BADCOOKIE and one that is, ${by}`, () => {
      const harness = new LaneHarness();
      for (const length of [16, 24, 40]) {
        const sent = [...CLIENT_COOKIE, ...Array(length - 8).fill(9)];
        const reply = ask(harness, cookieQuery(sent), { tcp });
        assert.equal(rcodeOf(reply), RCODE.BADCOOKIE);
        const again = ask(harness, cookieQuery(cookieOf(reply)), { tcp });
        assert.equal(rcodeOf(again), RCODE.NOERROR);
      }
    });
  }

  test('what is neither a question, a name nor a cookie stays a format error', () => {
    const harness = new LaneHarness();
    const options = [[], [0, 3, 0, 0], [0, 100, 0, 0]];
    const queries = options.map((each) =>
      buildMessage({ additionals: [optRecord(1232, 0, 0, each)] }),
    );
    queries.push(buildMessage({ additionals: [ROOT_TXT] }), buildMessage({}));
    queries.push(buildMessage({ answers: [ROOT_TXT], additionals: [optRecord()] }));
    for (const query of queries) {
      const answer = harness.exchange(query, FROM);
      assert.equal(answer?.length, 12);
      assert.equal(answer[3] & 15, RCODE.FORMERR);
    }
    const short = ask(harness, cookieQuery([1, 2, 3]));
    assert.equal(rcodeOf(short), RCODE.FORMERR, 'a malformed cookie, with an OPT');
    assert.deepEqual(
      short.additionals.map(({ rdata }) => rdata.length),
      [0],
    );
    assert.equal(harness.counters().formatErrors, queries.length + 1);
  });

  test('an unproven source over its budget gets no more than a cookie for a cookie', () => {
    const harness = new LaneHarness();
    const query = cookieQuery(CLIENT_COOKIE);
    assert.equal(harness.exchange(query, FROM, { budget: BUDGET_SILENT }), null);
    for (const budget of [BUDGET_TRUNCATED, 3 * (query.length + 28) - 28]) {
      const reply = ask(harness, query, { budget });
      assert.equal(rcodeOf(reply), RCODE.NOERROR);
      const proven = ask(harness, cookieQuery(cookieOf(reply)), { budget: BUDGET_SILENT });
      assert.equal(rcodeOf(proven), RCODE.NOERROR);
      assert.ok(harness.isProven);
    }
  });
});
