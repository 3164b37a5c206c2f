/** What all commands have in common: ids, tokens, errors, closer nodes and budgets. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { COMMAND, DHT_ERROR, INTERNAL, K } from '../../../codecs/dht/constants.ts';
import { encodeRequest } from '../../../codecs/dht/message.ts';
import { nodeId } from '../../../codecs/dht/node-id.ts';
import {
  BUDGET_SILENT,
  BUDGET_TRUNCATED,
  SLOT_PROVEN,
  SLOT_SIGHTED,
} from '../../../workers/slab.ts';
import { CLIENT_SOCKET, DhtHarness } from '../../helpers/dht-harness.ts';
import { ALICE, announce, BOB, crowd, hash, keyPair, lookup, PING, topic } from './fixture.ts';

const TARGET = topic(5);
const FIND_NODE = { command: INTERNAL.FIND_NODE, isInternal: true, target: TARGET } as const;
const UNKNOWN = 200;

describe('the sender of a reply', () => {
  test('a persistent node shows its id, and the asker its own address', () => {
    const harness = new DhtHarness();
    const reply = harness.ask({ ...PING, tid: 0xabcd }, ALICE);
    assert.deepEqual(reply?.id, harness.id);
    assert.deepEqual(reply?.to, ALICE);
    assert.equal(reply?.tid, 0xabcd);
  });

  test('replies by the client socket show no id', () => {
    const reply = new DhtHarness().ask(PING, ALICE, { receiver: CLIENT_SOCKET });
    assert.equal(reply?.id, null);
  });

  test('a node that is not persistent shows none, and keeps nothing', () => {
    const harness = new DhtHarness({ isPersistent: false });
    harness.know(...crowd(3));
    assert.equal(harness.ask(PING, ALICE)?.id, null);
    for (let command = COMMAND.FIND_PEER; command <= COMMAND.PLUGIN; command++) {
      const reply = harness.ask({ command, target: TARGET }, ALICE);
      assert.equal(reply?.error, DHT_ERROR.UNKNOWN_COMMAND, `command ${command}`);
      assert.equal(reply?.token, null);
      assert.equal(reply?.closerNodes.length, 3);
    }
  });
});

describe('closer nodes', () => {
  test('are the closest 20, only if there is a target', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(60));
    const reply = harness.ask(FIND_NODE, ALICE);
    assert.deepEqual(reply?.closerNodes, harness.table.closest(TARGET, K).map(addressOf));
    assert.equal(reply?.token, null);
    const unknown = harness.ask({ command: UNKNOWN }, ALICE);
    assert.deepEqual(unknown?.closerNodes, []);
    assert.equal(unknown?.error, DHT_ERROR.UNKNOWN_COMMAND);
  });

  test('of an empty table are left out with their flag', () => {
    const reply = new DhtHarness().exchange(
      encodeRequest({ ...FIND_NODE, tid: 1, to: ALICE, id: null, token: null, value: null }),
      ALICE,
    );
    assert.equal(reply?.[1], 1);
  });

  test('a find_node without a target is not answered', () => {
    const harness = new DhtHarness();
    const { target: _, ...request } = FIND_NODE;
    assert.equal(harness.ask(request, ALICE), null);
    assert.equal(harness.counters().dropMalformed, 1);
  });
});

describe('tokens', () => {
  test('a wrong one gets an error and a fresh one, whatever the command', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(5));
    for (const asked of [PING, FIND_NODE, { command: COMMAND.ANNOUNCE }, { command: UNKNOWN }]) {
      const reply = harness.ask({ ...asked, token: topic(9) }, ALICE);
      assert.equal(reply?.error, DHT_ERROR.INVALID_TOKEN);
      assert.deepEqual(reply?.token, harness.token(ALICE));
      assert.equal(reply?.closerNodes.length, 'target' in asked ? 5 : 0);
      assert.equal(reply?.value, null);
    }
    assert.equal(harness.counters().dhtBadTokens, 4);
  });

  test('hold for an address whatever the port, and for no other address', () => {
    const harness = new DhtHarness();
    const token = harness.token(ALICE);
    assert.equal(harness.ask({ ...PING, token }, { ...ALICE, port: 9 })?.error, 0);
    assert.equal(harness.ask({ ...PING, token }, BOB)?.error, DHT_ERROR.INVALID_TOKEN);
  });

  test('hold for one to two minutes', () => {
    const harness = new DhtHarness();
    const token = harness.token(ALICE);
    harness.advance(59_999);
    assert.equal(harness.ask({ ...PING, token }, ALICE)?.error, 0);
    harness.advance(60_001);
    assert.equal(harness.ask({ ...PING, token }, ALICE)?.error, DHT_ERROR.INVALID_TOKEN);
  });

  test('prove the source', () => {
    const harness = new DhtHarness();
    const token = harness.token(ALICE);
    assert.ok(harness.ask({ ...PING, token }, ALICE, { budget: BUDGET_SILENT }));
    assert.equal(harness.state & SLOT_PROVEN, SLOT_PROVEN);
    assert.equal(harness.ask({ ...PING, token }, BOB, { budget: BUDGET_SILENT }), null);
    assert.equal(harness.state & SLOT_PROVEN, 0);
  });
});

describe('senders with an id', () => {
  test('are told to main once, if the id is that of their address', () => {
    const harness = new DhtHarness();
    const id = nodeId(ALICE.host, ALICE.port);
    harness.ask({ ...PING, id }, ALICE);
    assert.equal(harness.state & SLOT_SIGHTED, SLOT_SIGHTED);
    harness.ask({ ...PING, id }, ALICE);
    assert.equal(harness.state & SLOT_SIGHTED, 0);
    harness.ask({ ...PING, id }, BOB);
    assert.equal(harness.state & SLOT_SIGHTED, 0);
    assert.equal(harness.counters().dhtSightings, 1);
  });

  test('are not, when their token is wrong, or the reply goes to another port', () => {
    const harness = new DhtHarness();
    const id = nodeId(ALICE.host, ALICE.port);
    harness.ask({ ...PING, id, token: topic(1) }, ALICE);
    assert.equal(harness.state & SLOT_SIGHTED, 0);
    const value = Uint8Array.of(1, 2);
    harness.ask({ command: INTERNAL.PING_NAT, isInternal: true, id, value }, ALICE);
    assert.equal(harness.state & SLOT_SIGHTED, 0);
  });
});

describe('budgets of unproven sources', () => {
  test('a silent one is not answered; a proven source is', () => {
    const harness = new DhtHarness();
    assert.equal(harness.ask(FIND_NODE, ALICE, { budget: BUDGET_SILENT }), null);
    assert.equal(harness.counters().dropRateLimited, 1);
    assert.ok(harness.ask(FIND_NODE, ALICE, { budget: BUDGET_SILENT, isProven: true }));
  });

  test('closer nodes are left out first, as many as do not fit', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(60));
    const head = 10 + 32;
    for (const [budget, count] of [
      [head + 1 + 6 * 20, 20],
      [head + 6 * 20, 19],
      [head + 1 + 6, 1],
      [head + 6, 0],
      [head, 0],
    ]) {
      const reply = harness.ask(FIND_NODE, ALICE, { budget });
      assert.equal(reply?.closerNodes.length, count, `budget ${budget}`);
    }
    assert.equal(harness.counters().dhtLimitedReplies, 4);
    assert.equal(harness.ask(FIND_NODE, ALICE, { budget: head - 1 }), null);
    assert.equal(harness.counters().dropRateLimited, 1);
  });

  test('of a lookup the records stay, as many as fit, and the token', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(60));
    for (let i = 0; i < 25; i++) announce(harness, ALICE, TARGET, keyPair(i));
    assert.equal(lookup(harness, TARGET)?.peers.length, 20);
    // Head, id, token, length, count, bump: the rest is for records of 33 bytes.
    const fixed = 10 + 32 + 32 + 3 + 1 + 9;
    for (const records of [0, 1, 7, 19]) {
      const how = { budget: fixed + records * 33 };
      const reply = harness.ask({ command: COMMAND.LOOKUP, target: TARGET }, BOB, how);
      assert.ok(reply?.token, `${records} records`);
      assert.equal(lookup(harness, TARGET, BOB, how)?.peers.length ?? 0, records);
    }
    assert.equal(harness.counters().dhtLimitedReplies, 8);
  });

  test('a lookup with records but no room counts as limited, one without records does not', () => {
    const harness = new DhtHarness();
    // Head, id and token; nobody is known.
    const how = { budget: 10 + 32 + 32 + 20 };
    const pair = keyPair(1);
    assert.equal(lookup(harness, TARGET, BOB, how), null);
    assert.equal(harness.counters().dhtLimitedReplies, 0);
    announce(harness, ALICE, TARGET, pair);
    assert.equal(lookup(harness, TARGET, BOB, how), null);
    assert.equal(harness.counters().dhtLimitedReplies, 1);
    announce(harness, ALICE, hash(pair.publicKey), pair);
    assert.equal(lookup(harness, hash(pair.publicKey), BOB, how), null);
    assert.equal(harness.counters().dhtLimitedReplies, 2);
    // Room for one, but not for a second, if there were one.
    const enough = { budget: 10 + 32 + 32 + 3 + 1 + 9 + 40 };
    assert.equal(lookup(harness, TARGET, BOB, enough)?.peers.length, 1);
    assert.equal(harness.counters().dhtLimitedReplies, 2);
  });

  test('a lookup without records has the nodes that fit', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(60));
    const asked = { command: COMMAND.LOOKUP, target: TARGET };
    const reply = harness.ask(asked, BOB, { budget: 10 + 32 + 32 + 1 + 5 * 6 });
    assert.equal(reply?.closerNodes.length, 5);
    assert.equal(reply?.value, null);
  });

  test('a truncated one is three times the request at most, headers counted', () => {
    const harness = new DhtHarness();
    harness.know(...crowd(60));
    for (let i = 0; i < 25; i++) announce(harness, ALICE, TARGET, keyPair(i));
    const request = encodeRequest(harness.request({ command: COMMAND.LOOKUP, target: TARGET }));
    const reply = harness.exchange(request, BOB, { budget: BUDGET_TRUNCATED });
    assert.ok(reply !== null && reply.length + 28 <= 3 * (request.length + 28));
    assert.ok(reply.length > 100);
  });
});

describe('unreadable requests', () => {
  test('are not answered', () => {
    const harness = new DhtHarness();
    const request = encodeRequest(harness.request({ ...FIND_NODE, value: topic(3) }));
    for (let length = 0; length < request.length; length++) {
      assert.equal(harness.exchange(request.subarray(0, length), ALICE), null, `${length} bytes`);
    }
    assert.equal(harness.counters().dropMalformed, request.length);
    assert.ok(harness.exchange(request, ALICE));
  });

  test('what follows a request is ignored', () => {
    const harness = new DhtHarness();
    const request = encodeRequest(harness.request(FIND_NODE));
    assert.ok(harness.exchange(Uint8Array.from([...request, 1, 2, 3]), ALICE));
  });
});

function addressOf({ host, port }: { host: string; port: number }) {
  return { host, port };
}
