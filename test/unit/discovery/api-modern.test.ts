/** What the client has beside npm dns-discovery's API: promises, iteration, signals, disposal. */
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import process from 'node:process';
import { describe, type TestContext, test } from 'node:test';
import discovery, { DiscoveryError } from '../../../server/discovery/discovery.ts';
import type { Peer } from '../../../server/discovery/types.ts';
import { Calls } from '../../helpers/calls.ts';
import { TestClient } from '../../helpers/client-fixture.ts';
import { LyingServer, peersString, pushBytes } from '../../helpers/lying-server.ts';
import { MulticastBus } from '../../helpers/multicast-bus.ts';
import { at } from '../../helpers/server-kind.ts';
import { turns, until } from '../../helpers/tcp-client.ts';

const FIRST = { port: 1001, host: '10.1.0.1' };
const SECOND = { port: 1002, host: '10.1.0.2' };
const TOLD = ['token=t', peersString('10.1.0.1:1001', '10.1.0.2:1002')];

async function answering(t: TestContext) {
  const server = await LyingServer.open(t);
  server.onQuery = (query) => query.reply(TOLD);
  return { server, disc: new TestClient(t, { server: at(server) }).disc };
}

/** Nobody answers, for ten seconds if need be. */
async function silent(t: TestContext, timeout = 10_000) {
  const server = await LyingServer.open(t);
  return { server, disc: new TestClient(t, { server: at(server), timeout }).disc };
}

/** A signal that has been aborted with an error, one that is aborted later, and the error. */
function signals() {
  const reason = new Error('not wanted any more');
  const controller = new AbortController();
  return { reason, aborted: AbortSignal.abort(reason), controller };
}

describe('promises', () => {
  test('a lookup brings peers, so does an announce, an unannounce nothing', async (t) => {
    const { disc } = await answering(t);
    assert.deepEqual(await disc.lookup('app'), [FIRST, SECOND]);
    assert.deepEqual(await disc.announce('app', 1), [FIRST, SECOND]);
    assert.equal(await disc.unannounce('app', 1), undefined);
    assert.deepEqual(await disc.whoami().catch(({ message }: Error) => message), 'Probe failed');
  });

  test('callback and promise of one call: both', async (t) => {
    const { disc } = await answering(t);
    const done = new Calls();
    assert.deepEqual(await disc.lookup('app', {}, done.callback), [FIRST, SECOND]);
    assert.deepEqual(await done.single(), [null]);
  });

  test('they can be awaited twice, late, and combined', async (t) => {
    const { disc } = await answering(t);
    const lookup = disc.lookup('app');
    assert.deepEqual(await Promise.all([lookup, lookup]), [
      [FIRST, SECOND],
      [FIRST, SECOND],
    ]);
    assert.deepEqual(await lookup, [FIRST, SECOND]);
    let isOver = false;
    await disc.lookup('app').finally(() => {
      isOver = true;
    });
    assert.ok(isOver);
  });

  test('a failure: a DiscoveryError with what each server said', async (t) => {
    const { disc } = await silent(t, 100);
    for (const ask of [
      () => disc.lookup('app'),
      () => disc.announce('app', 1),
      () => disc.unannounce('app', 1),
    ]) {
      await assert.rejects(
        async () => await ask(),
        (error: DiscoveryError) => {
          assert.ok(error instanceof DiscoveryError);
          assert.equal(error.code, 'ERR_QUERY_FAILED');
          assert.equal(error.message, 'Query failed');
          assert.match(error.errors[0].message, /^no answer from 127\.0\.0\.1, port \d+$/);
          return true;
        },
      );
    }
    await assert.rejects(async () => await disc.whoami(), { code: 'ERR_PROBE_FAILED' });
  });

  test('multicast alone: half a second for answers', async (t) => {
    const bus = new MulticastBus();
    await new TestClient(t, { multicast: bus.join().instance }).announce('app', 8080);
    const { disc } = new TestClient(t, { multicast: bus.join().instance });
    assert.deepEqual(await disc.lookup('app'), [{ port: 8080, host: '127.0.0.1' }]);
    assert.deepEqual(await disc.lookup('nobody'), []);
  });
});

describe('calls whose outcome nobody looks at', () => {
  test('do not end the process by an unhandled rejection', async (t) => {
    const { disc, server } = await silent(t, 50);
    const unhandled = new Calls();
    process.on('unhandledRejection', unhandled.callback);
    t.after(() => process.off('unhandledRejection', unhandled.callback));
    let failed = 0;
    const count = (): void => {
      failed++;
    };
    disc.lookup('app');
    disc.announce('app', 1);
    disc.unannounce('app', 1);
    disc.whoami();
    disc.announce('app', 1, { keep: true });
    disc.lookup('app', { signal: AbortSignal.abort() });
    disc.lookup('app', count);
    disc.announce('app', 1, count);
    disc.unannounce('app', 1, count);
    disc.whoami(count);
    await until(() => failed === 4, 'the failures');
    disc.lookup('app');
    disc.announce('app', 1);
    void disc.destroy();
    disc.lookup('app');
    disc.whoami();
    disc.listen(0);
    await disc.destroy();
    await turns();
    assert.deepEqual(unhandled.all, []);
    assert.ok(server.received > 0);
  });
});

describe('for await (const peer of disc.lookup(name))', () => {
  test('each peer once, then the end', async (t) => {
    const { disc } = await answering(t);
    const found: Peer[] = [];
    for await (const peer of disc.lookup('app')) found.push(peer);
    assert.deepEqual(found, [FIRST, SECOND]);
  });

  test('of an announce too', async (t) => {
    const { disc } = await answering(t);
    const found: Peer[] = [];
    for await (const peer of disc.announce('app', 1)) found.push(peer);
    assert.deepEqual(found, [FIRST, SECOND]);
  });

  test('a failure is thrown', async (t) => {
    const { disc } = await silent(t, 100);
    await assert.rejects(
      async () => {
        for await (const _peer of disc.lookup('app')) assert.fail('nobody answers');
      },
      { code: 'ERR_QUERY_FAILED' },
    );
  });

  test('with keep: what is pushed later too, until break', async (t) => {
    const { disc, server } = await answering(t);
    const later = '10.1.0.3:1003';
    const found: Peer[] = [];
    for await (const peer of disc.lookup('app', { keep: true })) {
      found.push(peer);
      if (found.length === 2) {
        server.onQuery = (query) => query.reply(['token=t', peersString(later)]);
        server.send(pushBytes('app', later), { ...server.queries[0].from, address: '127.0.0.1' });
      }
      if (found.length === 3) break;
    }
    assert.deepEqual(found, [FIRST, SECOND, { port: 1003, host: '10.1.0.3' }]);
  });

  test('with keep: destroy ends it with an error', async (t) => {
    const { disc } = await answering(t);
    await assert.rejects(
      async () => {
        for await (const peer of disc.lookup('app', { keep: true })) {
          if (peer.port === SECOND.port) void disc.destroy();
        }
      },
      { code: 'ERR_DESTROYED' },
    );
  });
});

describe('signal', () => {
  test('one that is aborted: its reason, and nothing is asked', async (t) => {
    const { disc, server } = await silent(t);
    const { reason, aborted: signal } = signals();
    const done = new Calls();
    await assert.rejects(async () => await disc.lookup('app', { signal }), reason);
    await assert.rejects(async () => await disc.announce('app', 1, { signal }), reason);
    await assert.rejects(async () => await disc.unannounce('app', 1, { signal }), reason);
    disc.lookup('app', { signal }, done.callback);
    assert.equal(done.all.length, 0, 'callbacks come later');
    assert.deepEqual(await done.single(), [reason]);
    assert.equal(server.received, 0);
  });

  test('one that is aborted later: the wait ends with its reason', async (t) => {
    const { disc } = await silent(t);
    for (const ask of ['lookup', 'announce', 'unannounce'] as const) {
      const { reason, controller } = signals();
      const options = { signal: controller.signal };
      const done = new Calls();
      const asked =
        ask === 'lookup'
          ? disc.lookup('app', options, done.callback)
          : disc[ask]('app', 1, options, done.callback);
      setImmediate(() => controller.abort(reason));
      await assert.rejects(async () => await asked, reason);
      assert.deepEqual(await done.single(), [reason]);
    }
  });

  test('an iteration over a kept lookup ends with it', async (t) => {
    const { disc } = await answering(t);
    const { reason, controller } = signals();
    const { signal } = controller;
    await assert.rejects(async () => {
      for await (const peer of disc.lookup('app', { keep: true, signal })) {
        if (peer.port === SECOND.port) controller.abort(reason);
      }
    }, reason);
  });

  test('AbortSignal.timeout', async (t) => {
    const { disc } = await silent(t);
    const signal = AbortSignal.timeout(50);
    await assert.rejects(async () => await disc.lookup('app', { signal }), {
      name: 'TimeoutError',
    });
  });

  test('after the end it is listened to no more', async (t) => {
    const { disc } = await answering(t);
    const { signal } = new AbortController();
    const { listenerCount, getEventListeners } = EventEmitter as unknown as {
      listenerCount: unknown;
      getEventListeners(target: EventTarget, name: string): unknown[];
    };
    assert.ok(listenerCount);
    await disc.lookup('app', { signal });
    await disc.announce('app', 1, { signal });
    await disc.unannounce('app', 1, { signal });
    assert.deepEqual(getEventListeners(signal, 'abort'), []);
  });
});

describe('destroy', () => {
  test('what is under way fails, and what is asked later', async (t) => {
    const { disc } = await silent(t);
    const done = new Calls();
    const under = [disc.lookup('app'), disc.announce('app', 1), disc.unannounce('app', 2)];
    disc.lookup('app', done.callback);
    const destroyed = disc.destroy();
    for (const each of under) {
      await assert.rejects(async () => await each, { code: 'ERR_DESTROYED' });
    }
    const [error] = await done.single();
    assert.ok(error instanceof DiscoveryError);
    assert.equal(error.code, 'ERR_DESTROYED');
    await destroyed;
    await assert.rejects(async () => await disc.lookup('app'), { code: 'ERR_DESTROYED' });
    await assert.rejects(async () => await disc.announce('app', 1), { code: 'ERR_DESTROYED' });
    await assert.rejects(async () => await disc.unannounce('app', 1), { code: 'ERR_DESTROYED' });
    await assert.rejects(async () => await disc.listen(0), { code: 'ERR_DESTROYED' });
  });

  test('whoami under way, and whoami afterwards', async (t) => {
    const { disc } = await silent(t);
    const under = new Calls();
    disc.whoami(under.callback);
    void disc.destroy();
    assert.ok((await under.single())[0] instanceof Error);
    await disc.destroy();
    const after = new Calls();
    disc.whoami(after.callback);
    assert.ok((await after.single())[0] instanceof Error);
  });

  test('while listen opens its ports', async () => {
    const disc = discovery({ multicast: false });
    const opening = disc.listen(0);
    await disc.destroy();
    await assert.rejects(async () => await opening, { code: 'ERR_DESTROYED' });
  });

  test('in a listener of an event, and in a callback', async (t) => {
    const { disc, server } = await answering(t);
    disc.once('peer', () => void disc.destroy());
    await assert.rejects(async () => await disc.announce('app', 1), { code: 'ERR_DESTROYED' });
    const other = discovery({ server: at(server), multicast: false });
    const closed = once(other, 'close');
    other.lookup('app', () => void other.destroy());
    await closed;
  });
});

describe('await using', () => {
  test('destroys it at the end of the block', async (t) => {
    const { server } = await answering(t);
    const closes = new Calls();
    {
      await using disc = discovery({ server: at(server), multicast: false });
      disc.on('close', closes.callback);
      assert.deepEqual(await disc.lookup('app'), [FIRST, SECOND]);
    }
    assert.deepEqual(closes.all, [[]]);
  });
});
