/** The client commands with a discovery instance that answers when the test says so. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { announceName, UNANNOUNCE_MS } from '../../../server/cli/announce.ts';
import type { ClientEnvironment } from '../../../server/cli/client.ts';
import { lookUp } from '../../../server/cli/lookup.ts';
import { unannounceName } from '../../../server/cli/unannounce.ts';
import { askWhoami } from '../../../server/cli/whoami.ts';
import { DiscoveryError } from '../../../server/discovery/types.ts';
import {
  announceConfig,
  lookupConfig,
  unannounceConfig,
  whoamiConfig,
} from '../../../server/options/client-config.ts';
import { bench, settle } from './client-fixture.ts';

const A_PEER = { port: 8080, host: '127.0.0.1' };
const A_LINE = "my-app { port: 8080, host: '127.0.0.1' }";
const SERVER = { server: 'a:1' };
const SILENCE = new DiscoveryError('ERR_QUERY_FAILED', 'Query failed', [new Error('a:1: silent')]);

function startLookup(flags: Readonly<Record<string, string>>) {
  const parts = bench();
  const ended = lookUp(lookupConfig('my-app', flags, {}), parts.environment);
  return { ...parts, ended };
}

function startAnnounce(flags: Readonly<Record<string, string>>) {
  const parts = bench();
  const config = announceConfig('my-app', { port: '8080', ...flags }, {});
  const ended = announceName(config, parts.environment);
  return { ...parts, ended };
}

describe('lookup', () => {
  test('prints each peer once, as the original does, until stopped: 0', async () => {
    const { disc, out, ended, stop, opened } = startLookup(SERVER);
    await settle();
    assert.deepEqual(opened[0], {
      servers: ['a:1'],
      domain: 'dns-discovery.local',
      multicast: true,
    });
    assert.deepEqual(disc.calls, [['lookup', 'my-app', { keep: true, signal: true }]]);
    for (const port of [8080, 8080, 8081]) disc.lookups[0].add({ ...A_PEER, port });
    disc.lookups[0].complete(null);
    disc.lookups[0].add({ port: 8080, host: '::1' });
    await settle();
    assert.deepEqual(out, [
      A_LINE,
      "my-app { port: 8081, host: '127.0.0.1' }",
      "my-app { port: 8080, host: '::1' }",
    ]);
    stop();
    assert.equal(await ended, 0);
    assert.ok(disc.isDestroyed);
  });

  test('asks multicast again after 1, 3 and 7 seconds, servers when the library does', async () => {
    const { disc, pass, stop, ended } = startLookup(SERVER);
    await settle();
    const again = ['lookup', 'my-app', { server: false }];
    await pass(1000);
    assert.deepEqual(disc.calls.slice(1), [again]);
    await pass(2000);
    assert.deepEqual(disc.calls.slice(1), [again, again]);
    stop();
    await ended;
    await pass(10_000);
    assert.equal(disc.calls.length, 3, 'not once it is stopped');
    const alone = startLookup({ ...SERVER, multicast: 'false' });
    await settle();
    await alone.pass(10_000);
    assert.equal(alone.disc.calls.length, 1);
    alone.stop();
    await alone.ended;
  });

  test('a server that is silent is told, and goes on being asked', async () => {
    const { disc, notices, out, ended, stop } = startLookup(SERVER);
    await settle();
    disc.lookups[0].complete(SILENCE);
    disc.lookups[0].add(A_PEER);
    await settle();
    assert.deepEqual([notices, out], [['a:1: silent; going on'], [A_LINE]]);
    stop();
    assert.equal(await ended, 0);
  });

  test('--json: an object per line', async () => {
    const { disc, out, ended, stop } = startLookup({ json: 'true' });
    await settle();
    disc.lookups[0].add(A_PEER);
    await settle();
    assert.deepEqual(
      out.map((line) => JSON.parse(line)),
      [{ name: 'my-app', ...A_PEER }],
    );
    stop();
    await ended;
  });

  test('a socket that fails is told once, not for every try', async () => {
    const { disc, notices, ended, stop } = startLookup({});
    await settle();
    for (const text of ['no', 'no', 'still no']) disc.emit('error', new Error(text));
    assert.deepEqual(notices, ['no', 'still no']);
    stop();
    await ended;
  });
});

interface OnceCase {
  readonly title: string;
  readonly flags: Readonly<Record<string, string>>;
  /** What the servers' round ends with. */
  readonly failure?: Error;
  readonly peers?: 'of servers' | 'of multicast';
  readonly trouble?: true;
  readonly code: number;
}

const ONCE: readonly OnceCase[] = [
  { title: 'a peer of a server', flags: SERVER, peers: 'of servers', code: 0 },
  { title: 'a peer of multicast', flags: {}, peers: 'of multicast', code: 0 },
  {
    title: 'silent servers, a peer of multicast',
    flags: SERVER,
    failure: SILENCE,
    peers: 'of multicast',
    code: 0,
  },
  { title: 'nobody', flags: SERVER, code: 1 },
  { title: 'nobody over multicast', flags: {}, code: 1 },
  { title: 'silent servers, nobody over multicast', flags: SERVER, failure: SILENCE, code: 1 },
  {
    title: 'silent servers, no multicast',
    flags: { ...SERVER, multicast: 'false' },
    failure: SILENCE,
    code: 3,
  },
  {
    title: 'silent servers, a multicast socket that fails',
    flags: SERVER,
    failure: SILENCE,
    trouble: true,
    code: 3,
  },
  { title: 'multicast alone, which fails', flags: {}, failure: SILENCE, code: 3 },
  { title: 'multicast alone, a socket that fails', flags: {}, trouble: true, code: 3 },
  {
    title: 'multicast alone, a socket that fails, and a peer all the same',
    flags: {},
    trouble: true,
    peers: 'of multicast',
    code: 0,
  },
  {
    title: 'nobody at servers, a multicast socket that fails',
    flags: SERVER,
    trouble: true,
    code: 1,
  },
];

describe('lookup --once', () => {
  for (const { title, flags, failure = null, peers, trouble, code } of ONCE) {
    test(`${title}: ${code}`, async () => {
      const { disc, out, notices, ended } = startLookup({ ...flags, once: 'true' });
      await settle();
      const [kept] = disc.lookups;
      if (trouble) disc.emit('error', new Error('no multicast here'));
      if (peers === 'of servers') kept.add(A_PEER);
      kept.complete(failure);
      await settle();
      if (flags.multicast !== 'false') {
        assert.deepEqual(disc.calls[1], ['lookup', 'my-app', { server: false }]);
        if (peers === 'of multicast') kept.add(A_PEER);
        disc.lookups[1].complete(null);
      }
      assert.equal(await ended, code);
      assert.deepEqual(out, peers === undefined ? [] : [A_LINE]);
      const said = trouble ? ['no multicast here'] : [];
      assert.deepEqual(notices, failure === null ? said : [...said, 'a:1: silent']);
    });
  }

  test('stopped before it is done: as if ended by the signal', async () => {
    for (const [why, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGPIPE', 141],
    ] as const) {
      const { disc, ended, stop } = startLookup({ ...SERVER, once: 'true' });
      await settle();
      stop(why);
      assert.equal(await ended, code);
      assert.ok(disc.isDestroyed);
    }
  });
});

describe('announce', () => {
  test('says so on stderr, announces until stopped, takes it back: 0', async () => {
    const { disc, out, notices, ended, stop } = startAnnounce({ ...SERVER, publicPort: '443' });
    await settle();
    const request = { publicPort: 443 };
    assert.deepEqual(disc.calls, [['announce', 'my-app', 8080, { ...request, keep: true }]]);
    assert.deepEqual(notices, [
      'announcing my-app on port 8080 at a:1 and over multicast DNS; Ctrl-C stops',
    ]);
    disc.emit('announced', 'my-app');
    disc.lookups[0].complete(null);
    stop('SIGTERM');
    await settle();
    assert.deepEqual(disc.calls[1], ['unannounce', 'my-app', 8080, request]);
    disc.unannounced.resolve();
    assert.equal(await ended, 0);
    assert.deepEqual([out, notices.length], [[], 1]);
  });

  test('a server that does not confirm the end holds it up for less than a second', async () => {
    const { disc, notices, ended, stop, pass } = startAnnounce(SERVER);
    await settle();
    disc.emit('announced', 'my-app');
    stop();
    await settle();
    assert.ok(!disc.isDestroyed && UNANNOUNCE_MS < 1000);
    await pass(UNANNOUNCE_MS);
    assert.equal(await ended, 0);
    assert.match(notices.at(-1) ?? '', /^no answer: servers keep my-app for as long as/);
  });

  test('a server that is silent is told, and when it answers after all', async () => {
    const { disc, notices, ended, stop } = startAnnounce({ ...SERVER, multicast: 'false' });
    await settle();
    disc.lookups[0].complete(SILENCE);
    await settle();
    disc.emit('announced', 'my-app');
    disc.emit('announced', 'my-app');
    assert.deepEqual(notices, [
      'announcing my-app on port 8080 at a:1; Ctrl-C stops',
      'a:1: silent; going on',
      'announced my-app on port 8080',
    ]);
    stop();
    disc.unannounced.resolve();
    assert.equal(await ended, 0);
  });

  test('--json: a line when it is announced, one when it is no more', async () => {
    const { disc, out, ended, stop } = startAnnounce({ json: 'true' });
    await settle();
    disc.emit('announced', 'my-app');
    disc.emit('announced', 'my-app');
    stop();
    disc.unannounced.resolve();
    await ended;
    assert.deepEqual(
      out.map((line) => JSON.parse(line)),
      ['announced', 'unannounced'].map((event) => ({ event, name: 'my-app', port: 8080 })),
    );
  });

  test('--once: 0 when announced, 3 when no server answered', async () => {
    for (const failure of [null, SILENCE]) {
      const { disc, notices, ended } = startAnnounce({ ...SERVER, once: 'true' });
      await settle();
      assert.deepEqual(disc.calls, [['announce', 'my-app', 8080, { signal: true }]]);
      disc.lookups[0].complete(failure);
      assert.equal(await ended, failure === null ? 0 : 3);
      assert.deepEqual(notices, [
        failure === null ? 'announced my-app on port 8080' : 'a:1: silent',
      ]);
      assert.ok(disc.isDestroyed);
    }
  });

  test('--once over multicast alone says that it will not last', async () => {
    const { disc, notices, ended } = startAnnounce({ once: 'true' });
    await settle();
    disc.lookups[0].complete(null);
    assert.equal(await ended, 0);
    assert.match(notices[0], /^over multicast an announcement ends with this command/);
  });

  test('--once over multicast alone, where nothing can be sent: 3, not announced', async () => {
    for (const failure of [null, new DiscoveryError('ERR_QUERY_FAILED', 'no way out')]) {
      const { disc, out, notices, ended } = startAnnounce({ once: 'true', json: 'true' });
      await settle();
      disc.emit('error', new Error('5353 is taken'));
      disc.lookups[0].complete(failure);
      assert.equal(await ended, 3);
      assert.deepEqual(out, []);
      assert.deepEqual(notices.slice(1), ['5353 is taken', ...(failure ? ['no way out'] : [])]);
    }
  });

  test('--once with a server that answered: 0, whatever becomes of multicast', async () => {
    const { disc, ended } = startAnnounce({ ...SERVER, once: 'true' });
    await settle();
    disc.emit('error', new Error('5353 is taken'));
    disc.lookups[0].complete(null);
    assert.equal(await ended, 0);
  });

  test('--once stopped before it is done: as if ended by the signal', async () => {
    const { ended, stop } = startAnnounce({ ...SERVER, once: 'true' });
    await settle();
    stop();
    assert.equal(await ended, 130);
  });
});

describe('a --host that is no address of this machine', () => {
  const host = '203.0.113.9';
  const flags = { ...SERVER, host };
  const taken = Object.assign(new Error(`bind EADDRNOTAVAIL ${host}`), {
    code: 'EADDRNOTAVAIL',
    syscall: 'bind',
    address: host,
  });
  const text = `--host ${host}: not an address of this machine (bind EADDRNOTAVAIL ${host})`;
  const port = { port: '8080' };
  const commands: Readonly<Record<string, (environment: ClientEnvironment) => Promise<number>>> = {
    lookup: (environment) => lookUp(lookupConfig('x', flags, {}), environment),
    'lookup --once': (environment) =>
      lookUp(lookupConfig('x', { ...flags, once: 'true' }, {}), environment),
    announce: (environment) =>
      announceName(announceConfig('x', { ...flags, ...port }, {}), environment),
    'announce --once': (environment) =>
      announceName(announceConfig('x', { ...flags, ...port, once: 'true' }, {}), environment),
    unannounce: (environment) =>
      unannounceName(unannounceConfig('x', { ...flags, ...port }, {}), environment),
    whoami: (environment) => askWhoami(whoamiConfig(flags, {}), environment),
  };
  for (const [name, run] of Object.entries(commands)) {
    test(`${name}: one line, and 3, also when it fails while being asked`, async () => {
      for (const isAtOnce of [true, false]) {
        const { environment, disc, out, notices } = bench();
        const fail = () => disc.emit('error', taken);
        if (isAtOnce) disc.onCall = fail;
        const ended = run(environment);
        await settle();
        if (!isAtOnce) fail();
        fail();
        assert.equal(await ended, 3);
        assert.deepEqual(
          [out, notices.filter((line) => !line.startsWith('announcing'))],
          [[], [text]],
        );
        assert.ok(disc.isDestroyed);
      }
    });
  }

  test('another address that cannot be bound is a notice', async () => {
    const { disc, notices, ended, stop } = startLookup(flags);
    await settle();
    disc.emit('error', Object.assign(new Error('no'), { syscall: 'bind', address: '::' }));
    stop();
    assert.equal(await ended, 0);
    assert.deepEqual(notices, ['no']);
  });
});

describe('unannounce and whoami', () => {
  test('unannounce: 0 when it is done, 3 when no server answered, 130 when stopped', async () => {
    for (const [failure, code] of [
      [null, 0],
      [SILENCE, 3],
      ['stopped', 130],
    ] as const) {
      const { environment, disc, out, notices, stop } = bench();
      const config = unannounceConfig('my-app', { port: '8080', server: 'a:1' }, {});
      const ended = unannounceName(config, environment);
      await settle();
      assert.deepEqual(disc.calls, [['unannounce', 'my-app', 8080, { signal: true }]]);
      if (failure === null) disc.unannounced.resolve();
      else if (failure === 'stopped') stop();
      else disc.unannounced.reject(failure);
      assert.equal(await ended, code);
      assert.ok(disc.isDestroyed);
      const said = { 0: ['unannounced my-app on port 8080'], 3: ['a:1: silent'], 130: [] }[code];
      assert.deepEqual([out, notices], [[], said]);
    }
  });

  const seen = [
    [{ host: '192.0.2.1', port: 4000 }, '192.0.2.1:4000', 0],
    [{ host: '2001:db8::1', port: 4000 }, '[2001:db8::1]:4000', 0],
    [{ host: '192.0.2.1', port: 0 }, '192.0.2.1', 1],
  ] as const;
  for (const [self, line, notes] of seen) {
    test(`whoami: ${line}`, async () => {
      for (const json of ['false', 'true']) {
        const { environment, disc, out, notices } = bench();
        const ended = askWhoami(whoamiConfig({ server: 'a:1', json }, {}), environment);
        await settle();
        disc.self.resolve(self);
        assert.equal(await ended, 0);
        assert.deepEqual(out, [json === 'true' ? JSON.stringify(self) : line]);
        assert.equal(notices.length, notes);
        assert.ok(disc.isDestroyed);
      }
    });
  }

  test('whoami: 3 without an answer, 130 when stopped', async () => {
    const config = whoamiConfig({ server: 'a:1' }, {});
    const silent = bench();
    const failed = askWhoami(config, silent.environment);
    await settle();
    silent.disc.self.reject(SILENCE);
    assert.equal(await failed, 3);
    assert.deepEqual([silent.out, silent.notices], [[], ['a:1: silent']]);
    const stopped = bench();
    const ended = askWhoami(config, stopped.environment);
    await settle();
    stopped.stop();
    assert.equal(await ended, 130);
  });
});
