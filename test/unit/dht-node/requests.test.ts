import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DhtError } from '../../../server/dht/errors.ts';
import { settle } from '../../helpers/dht-node-clock.ts';
import { NodeHarness, targetOf } from '../../helpers/dht-node-harness.ts';

const PEER = { host: '45.1.7.9', port: 49_737 };
const SILENT = { host: '45.2.7.9', port: 49_737 };

function harness(options = {}, seed = 1): NodeHarness {
  const harness = new NodeHarness(options, seed);
  harness.peer(PEER.host);
  return harness;
}

function failure(code: string) {
  return (error: unknown) => error instanceof DhtError && error.code === code;
}

describe('requests', () => {
  test('an answer comes back with the time it took and who gave it', async () => {
    const { node, clock } = harness();
    const pending = node.request({ command: 9, target: targetOf(1), value: null }, PEER);
    await clock.pass(100);
    const reply = await pending;
    assert.equal(reply.rtt, 20);
    assert.deepEqual(reply.from.host, PEER.host);
    assert.equal(reply.from.id?.length, 32);
    assert.deepEqual(node.stats.requests, {
      active: 0,
      total: 1,
      responses: 1,
      timeouts: 0,
      retries: 0,
    });
  });

  test('without an answer it is sent four times, a second apart, and times out', async () => {
    const { node, clock, sent } = harness();
    const start = clock.now();
    const pending = assert.rejects(node.ping(SILENT), failure('REQUEST_TIMEOUT'));
    await clock.pass(3999);
    assert.deepEqual(
      sent.map(({ at }) => at - start),
      [0, 1000, 2000, 3000],
    );
    assert.equal(new Set(sent.map(({ request }) => request.tid)).size, 1);
    assert.equal(node.openRequests, 1);
    await clock.pass(1);
    await pending;
    assert.equal(node.openRequests, 0);
    assert.deepEqual(node.stats.requests.timeouts, 1);
    assert.deepEqual(node.stats.requests.retries, 3);
    assert.equal(clock.pending, 0, 'no timer is left behind');
  });

  test('with retry false it is sent once', async () => {
    const { node, clock, sent } = harness();
    const pending = assert.rejects(node.ping(SILENT, { retry: false }), failure('REQUEST_TIMEOUT'));
    await clock.pass(1000);
    await pending;
    assert.equal(sent.length, 1);
  });

  test('a reply with the id of a request to somebody else is nobody', async () => {
    const harnessed = harness();
    const { node, clock, sent } = harnessed;
    void node.ping(SILENT).catch(() => undefined);
    for (const from of [
      { ...SILENT, port: 1 },
      { ...SILENT, host: '45.2.7.8' },
    ]) {
      assert.equal(harnessed.reply(sent[0], from), false);
    }
    assert.equal(harnessed.reply(sent[0], SILENT, { tid: sent[0].request.tid ^ 1 }), false);
    assert.equal(node.openRequests, 1);
    assert.equal(harnessed.reply(sent[0], SILENT), true);
    assert.equal(harnessed.reply(sent[0], SILENT), false, 'the second time');
    await clock.pass(10);
  });

  test('an answer proves its address, unless there were many guesses before', async () => {
    const harnessed = harness();
    const { node, clock, sent, proven, table } = harnessed;
    const first = node.ping(PEER);
    await clock.pass(100);
    await first;
    assert.deepEqual(proven, ['45.1.7.9:49737']);
    assert.equal(table.size, 1);
    harnessed.peer(SILENT.host).answer = () => null;
    const second = node.ping(SILENT);
    for (let guess = 1; guess <= 64; guess++) {
      harnessed.reply(sent[1], SILENT, { tid: sent[1].request.tid ^ guess });
    }
    assert.equal(harnessed.reply(sent[1], SILENT), true);
    await second;
    assert.equal(proven.length, 1, 'who guesses is answered for, but not believed');
    assert.equal(table.size, 1);
  });

  test('a few guesses keep nobody from proving its address', async () => {
    const harnessed = harness();
    const { node, sent, proven } = harnessed;
    harnessed.peer(SILENT.host).answer = () => null;
    const pending = node.ping(SILENT);
    for (let guess = 1; guess < 64; guess++) {
      harnessed.reply(sent[0], SILENT, { tid: sent[0].request.tid ^ guess });
    }
    assert.equal(harnessed.reply(sent[0], SILENT), true);
    await pending;
    assert.deepEqual(proven, ['45.2.7.9:49737']);
  });

  test('what comes twice or late to requests of ours is no guess', async () => {
    const harnessed = harness();
    const { node, clock, sent, proven } = harnessed;
    harnessed.peer(SILENT.host).answer = () => null;
    const late = Array.from({ length: 50 }, () =>
      assert.rejects(node.ping(SILENT, { retry: false }), failure('REQUEST_TIMEOUT')),
    );
    await clock.pass(2000);
    await Promise.all(late);
    const answered = Array.from({ length: 50 }, () => node.ping(SILENT));
    const last = node.ping(SILENT);
    assert.equal(sent.length, 101);
    for (const request of sent.slice(50, 100)) harnessed.reply(request, SILENT);
    await Promise.all(answered);
    proven.splice(0);
    for (let times = 0; times < 3; times++) {
      for (const request of sent.slice(0, 100)) {
        assert.equal(harnessed.reply(request, SILENT), false);
      }
    }
    assert.equal(harnessed.reply(sent[100], SILENT), true);
    await last;
    assert.deepEqual(proven, ['45.2.7.9:49737']);
  });

  test('what no datagram carries is refused, and nothing is left of it', async () => {
    const { node, clock, sent } = harness();
    const target = targetOf(1);
    const long = { command: 77, value: new Uint8Array(1427) };
    await assert.rejects(node.request(long, PEER), /value of 1427 bytes: .* room for 1426/);
    const short = { command: 77, target: target.subarray(1) };
    await assert.rejects(node.request(short, PEER), /target of 31 bytes: expected 32/);
    await assert.rejects(node.request({ command: 1, token: target.subarray(2) }, PEER), RangeError);
    const query = { command: 77, target, value: new Uint8Array(1380) };
    assert.throws(() => node.query(query, { commit: true }), /room for 1362/);
    node.query(query).destroy();
    assert.deepEqual([node.openRequests, node.stats.requests.active, sent.length], [0, 0, 0]);
    const longest = node.request({ command: 77, value: new Uint8Array(1426) }, PEER);
    await clock.pass(2000);
    await longest;
    assert.equal(clock.pending, 0);
  });

  test('what the transport refuses ends with its reason, at once or when it is sent', async () => {
    const harnessed = harness({ maxWindow: 2 });
    const { node, clock } = harnessed;
    const [send, session] = [harnessed.send, node.session()];
    harnessed.send = () => {
      throw new Error('no such network');
    };
    const refused = Array.from({ length: 20 }, () =>
      assert.rejects(session.ping(PEER), (error: Error) => {
        return failure('NOT_SENT')(error) && /no such network/.test(error.message);
      }),
    );
    assert.equal(node.openRequests, 20, 'nobody is told before it was made');
    await clock.pass(20_000);
    await Promise.all(refused);
    assert.deepEqual([node.openRequests, session.size, clock.pending], [0, 0, 0]);
    const query = node.query({ command: 1, target: targetOf(1) }, { nodes: [PEER, SILENT] });
    const finished = query.finished();
    await clock.pass(1000);
    await finished;
    assert.equal(query.errors, 2);
    harnessed.send = send;
    const pending = node.ping(PEER);
    await clock.pass(1000);
    await pending;
  });

  test('ids are of no order, and the same for the same seed', async () => {
    const tids = (seed: number): number[] => {
      const { node, sent } = harness({}, seed);
      for (let i = 0; i < 50; i++) void node.ping(SILENT).catch(() => undefined);
      return sent.map(({ request }) => request.tid);
    };
    assert.deepEqual(tids(1), tids(1));
    assert.notDeepEqual(tids(1), tids(2));
    const drawn = tids(3);
    assert.equal(new Set(drawn).size, 50);
    const steps = new Set(drawn.slice(1).map((tid, i) => tid - drawn[i]));
    assert.ok(steps.size > 45, `steps ${[...steps]}`);
  });

  test('an id that is not that of the address is none', async () => {
    const harnessed = harness();
    const { node, clock, table } = harnessed;
    harnessed.peer(PEER.host).answer = () => ({ id: targetOf(7) });
    const pending = node.ping(PEER);
    await clock.pass(100);
    assert.equal((await pending).from.id, null);
    assert.equal(table.size, 0);
  });

  test('of closer nodes twenty are taken', async () => {
    const harnessed = harness();
    const { node, clock } = harnessed;
    const many = Array.from({ length: 200 }, (_, i) => ({ host: '45.9.9.9', port: i + 1 }));
    harnessed.peer(PEER.host).answer = () => ({ closerNodes: many });
    const pending = node.request({ command: 1, target: targetOf(1) }, PEER);
    await clock.pass(100);
    assert.equal((await pending).closerNodes.length, 20);
  });

  test('beyond the window requests wait, and leave when there is room', async () => {
    const harnessed = harness({ maxWindow: 5 });
    const { node, clock, sent } = harnessed;
    const ends = Array.from({ length: 12 }, () => node.ping(PEER));
    assert.equal(sent.length, 5);
    clock.advance(20);
    assert.equal(sent.length, 10);
    clock.advance(40);
    await Promise.all(ends);
    const slow = Array.from({ length: 20 }, () => node.ping(SILENT).catch(() => undefined));
    clock.advance(750);
    assert.equal(sent.length, 12 + 10);
    clock.advance(60_000);
    await Promise.all(slow);
    assert.equal(node.openRequests, 0);
    assert.equal(clock.pending, 0);
  });

  test('so many requests may be open and no more', async () => {
    const { node, clock } = harness();
    const ends = Array.from({ length: 8192 }, () => node.ping(SILENT).catch(() => undefined));
    await assert.rejects(node.ping(SILENT), failure('TOO_MANY_REQUESTS'));
    await node.destroy();
    await Promise.all(ends);
    assert.equal(clock.pending, 0);
  });

  test('an address that is none is refused', async () => {
    const { node } = harness();
    for (const to of [
      { host: 'example.org', port: 1 },
      { host: '1.2.3.4', port: 0 },
      { host: '1.2.3.4', port: 70_000 },
    ]) {
      await assert.rejects(node.ping(to), /expected an IPv4 address and a port of 1 to 65535/);
    }
  });

  test('a session ends its requests, and only them', async () => {
    const { node, clock, sent } = harness();
    const session = node.session();
    const gone = assert.rejects(session.ping(SILENT), failure('REQUEST_DESTROYED'));
    const other = assert.rejects(node.ping(SILENT), failure('REQUEST_TIMEOUT'));
    assert.equal(session.size, 1);
    session.destroy();
    await gone;
    assert.equal(session.size, 0);
    await clock.pass(4000);
    await other;
    assert.equal(sent.length, 1 + 4);
  });

  test('a ping may carry bytes, a delayed one waits as long as it asked for', async () => {
    const { node, clock, sent } = harness();
    const sized = node.ping(PEER, { size: 100 });
    await clock.pass(100);
    await sized;
    assert.equal(sent[0].request.value?.length, 100);
    const delayed = assert.rejects(
      node.delayedPing(SILENT, 3000, { retry: false }),
      failure('REQUEST_TIMEOUT'),
    );
    assert.deepEqual([...(sent[1].request.value ?? [])], [0xb8, 0x0b, 0, 0]);
    await clock.pass(3999);
    assert.equal(node.openRequests, 1);
    await clock.pass(1);
    await delayed;
    assert.throws(() => node.delayedPing(PEER, 10_001), /allowed are 0 to 10000/);
  });

  test('with adaptive timeouts a quick node is not waited for a second', async () => {
    const harnessed = harness({ adaptiveTimeout: { jitter: 0, min: 100 } });
    const { node, clock } = harnessed;
    for (let i = 0; i < 20; i++) {
      const pending = node.ping(PEER);
      await clock.pass(100);
      await pending;
    }
    harnessed.peer(PEER.host).isDown = true;
    const start = clock.now();
    harnessed.take();
    const failed = assert.rejects(node.ping(PEER), failure('REQUEST_TIMEOUT'));
    await clock.pass(2000, 10);
    await failed;
    assert.deepEqual(
      harnessed.take().map(({ at }) => at - start),
      [0, 100, 200, 300],
    );
  });

  test('destroyed, it sends nothing more', async () => {
    const { node, clock, sent, events } = harness();
    const pending = assert.rejects(node.ping(SILENT), failure('REQUEST_DESTROYED'));
    await node.destroy();
    await pending;
    await assert.rejects(node.ping(PEER), failure('NODE_DESTROYED'));
    assert.throws(() => node.findNode(targetOf(1)), failure('NODE_DESTROYED'));
    await clock.pass(10_000);
    assert.equal(sent.length, 1);
    assert.equal(clock.pending, 0);
    assert.deepEqual(events, ['close']);
    await settle();
  });
});
