/**
 * `waypost announce`, `unannounce`, `lookup` and `whoami` as processes, against our server and that
 * of npm dns-discovery 6.2.3, beside the command of that package, which is to be replaced by name.
 */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test as nodeTest, type TestContext } from 'node:test';
import { testServer } from '../helpers/appliance.ts';
import {
  Command,
  type CommandOptions,
  compileWaypost,
  ORIGINAL,
  original,
} from '../helpers/command.ts';
import { TOKEN } from '../helpers/dns-messages.ts';
import { LyingServer, peersString } from '../helpers/lying-server.ts';
import { LINK_ADDRESS, NetNamespace, noNamespace } from '../helpers/net-namespace.ts';
import { OriginalServer } from '../helpers/original-server.ts';
import { at, type ServerKind } from '../helpers/server-kind.ts';

const folder = mkdtempSync(join(tmpdir(), 'waypost-client-cli-'));
const WAYPOST = compileWaypost(folder);
after(() => rmSync(folder, { recursive: true, force: true }));

/** Runs `waypost` with these arguments. */
function waypost(t: TestContext, args: string, options?: CommandOptions): Command {
  return new Command(t, [...WAYPOST, ...args.split(' ')], options);
}

/** Ends a test whose process never says what is awaited. */
const TIMEOUT_MS = 60_000;

function test(title: string, body: (t: TestContext) => Promise<void>): void {
  nodeTest(title, { timeout: TIMEOUT_MS }, body);
}

const found = (port: number, host = '127.0.0.1', name = 'test-app') =>
  `${name} { port: ${port}, host: '${host}' }`;

/** Resolves when this line is among those of standard output. */
async function prints(command: Command, line: string): Promise<void> {
  await command.until(() => command.out.includes(line));
}

const SERVERS: readonly (readonly [string, ServerKind])[] = [
  [
    'waypost',
    {
      async start(t) {
        const { port, close } = await testServer(t);
        return { host: '127.0.0.1', port, close };
      },
    },
  ],
  ['dns-discovery 6.2.3', { start: (t) => OriginalServer.commandLine(t) }],
];

/** A port of loopback that takes datagrams and says nothing. */
async function silentPort(t: TestContext): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.after(() => socket.close());
  return socket.address().port;
}

// Most of the time they wait; a third at once would have them wait for each other.
const CONCURRENCY = 2;

describe('the client commands', { concurrency: CONCURRENCY }, () => {
  // First, for one of them waits for long.
  describe('exit codes and outputs', () => {
    test('nobody answers: 3, and which server that was', async (t) => {
      const port = await silentPort(t);
      const flags = `--server 127.0.0.1:${port} --no-multicast --once`;
      const commands = ['lookup x', 'announce x -p 1', 'unannounce x -p 1', 'whoami'];
      const running = commands.map((words) => waypost(t, `${words} ${flags}`));
      for (const command of running) {
        assert.equal((await command.end()).code, 3, command.describe());
        assert.deepEqual(command.out, []);
        assert.match(
          command.err.join('\n'),
          new RegExp(`^waypost: no answer .*127.0.0.1.*${port}`),
        );
      }
    });

    test('a name that does not resolve: 3, and its name', async (t) => {
      const lookup = waypost(t, 'lookup x --server no.invalid --no-multicast --once');
      assert.equal((await lookup.end()).code, 3);
      assert.match(lookup.err.join('\n'), /no\.invalid/);
    });

    test('a wrong command line: 2, and what to write', async (t) => {
      const commands = [
        ['announce', /my-app --port 8080/],
        ['announce my-app', /waypost announce my-app --port 8080/],
        ['announce my-app --port 99999', /--port "99999": expected one port, 1 to 65535/],
        ['lookup', /waypost lookup my-app/],
        ['lookup my-app --sever x', /unknown option '--sever'\n\(Did you mean --server\?\)/],
        ['lookup my-app --no-multicast', /--server/],
        ['whoami', /--server/],
      ] as const;
      const running = commands.map(([words]) => waypost(t, words));
      for (const [index, command] of running.entries()) {
        assert.equal((await command.end()).code, 2, command.describe());
        assert.match(command.err.join('\n'), commands[index][1]);
        assert.deepEqual(command.out, []);
      }
    });

    test('--json: announced and unannounced, each peer', async (t) => {
      const { port } = await testServer(t);
      const flags = `--json --server 127.0.0.1:${port} --no-multicast`;
      const lookup = waypost(t, `lookup x ${flags}`);
      const announcing = waypost(t, `announce x -p 1 ${flags}`);
      await lookup.line(/./);
      assert.deepEqual(JSON.parse(lookup.out[0]), { name: 'x', host: '127.0.0.1', port: 1 });
      await announcing.line(/"announced"/);
      await announcing.stop();
      assert.deepEqual(
        announcing.out.map((line) => JSON.parse(line)),
        ['announced', 'unannounced'].map((event) => ({ event, name: 'x', port: 1 })),
      );
      assert.equal((await lookup.stop()).code, 0);
    });

    test('a reader that goes away ends a lookup', async (t) => {
      const { port } = await testServer(t);
      const flags = `--server 127.0.0.1:${port} --no-multicast`;
      const words = [...WAYPOST, 'lookup', 'x', ...flags.split(' ')];
      const piped = new Command(t, ['sh', '-c', `"$@" | head -n 1`, 'sh', ...words], {
        isGroup: true,
      });
      const first = waypost(t, `announce x -p 1 ${flags}`);
      await prints(piped, found(1, undefined, 'x'));
      waypost(t, `announce x -p 2 ${flags}`);
      assert.equal((await piped.end()).code, 0);
      await first.stop();
    });

    test('what is printed arrives at a reader that is slow', async (t) => {
      const peers = Array.from({ length: 5000 }, (_, i) => `10.0.${i >> 8}.${i & 255}:${1000 + i}`);
      const strings: string[] = [];
      for (let i = 0; i < peers.length; i += 30)
        strings.push(peersString(...peers.slice(i, i + 30)));
      const server = await LyingServer.open(t);
      server.onQuery = (query) =>
        query.reply([`token=${TOKEN}`, ...(query.isProbe ? [] : strings)]);
      const flags = `--server 127.0.0.1:${server.port} --no-multicast --once`;
      const words = [...WAYPOST, 'lookup', 'x', ...flags.split(' ')];
      // A pipe holds 64 KiB, which is a third of it.
      const script = '{ "$@"; echo "code $?" >&2; } | (sleep 1; wc -l)';
      const piped = new Command(t, ['sh', '-c', script, 'sh', ...words]);
      await piped.end();
      assert.deepEqual([piped.out, piped.err], [[`${peers.length}`], ['code 0']]);
    });

    test('a --host that is no address of this machine: 3, and which', async (t) => {
      const { port } = await testServer(t);
      const flags = `--host 203.0.113.9 --server 127.0.0.1:${port} --no-multicast`;
      const commands = [
        'lookup x',
        'lookup x --once',
        'announce x -p 1',
        'unannounce x -p 1',
        'whoami',
      ];
      const running = commands.map((words) => waypost(t, `${words} ${flags}`));
      for (const command of running) {
        assert.equal((await command.end()).code, 3, command.describe());
        assert.deepEqual(command.out, []);
        assert.deepEqual(
          command.err.filter((line) => !line.startsWith('waypost: announcing')),
          [
            'waypost: --host 203.0.113.9: not an address of this machine' +
              ' (bind EADDRNOTAVAIL 203.0.113.9)',
          ],
        );
      }
    });

    test("a lookup ignores the original's flags that are not for it, and says so", async (t) => {
      const { port } = await testServer(t);
      const flags = `--server=127.0.0.1:${port} --no-multicast --once`;
      const lookup = waypost(t, `lookup x --port=9090 --limit=5 --diagpw=secret ${flags} --diag`);
      assert.equal((await lookup.end()).code, 1, lookup.describe());
      assert.deepEqual(lookup.lines, [
        'waypost: --port: it is for announce; ignored',
        'waypost: --limit: it is for a server; ignored',
        'waypost: --diag: it is for a server; ignored',
        'waypost: --diagpw: it is for a server; ignored',
      ]);
    });
  });

  describe("each command line of the original's README, with the name changed", {
    skip: noNamespace,
  }, () => {
    /** A network in which example.com is here, and how to run a command line in it. */
    async function network(t: TestContext) {
      const { wrapper } = await NetNamespace.open(t, {
        'example.com': '127.0.0.1',
        'discovery.example.com': '127.0.0.1',
      });
      const run = (program: readonly string[]) => (args: string) =>
        new Command(t, [...wrapper, ...program, ...args.split(' ')]);
      return { ours: run(WAYPOST), theirs: run(ORIGINAL), dig: run(['dig']) };
    }

    test('help', async (t) => {
      const help = waypost(t, 'help');
      assert.equal((await help.end()).code, 0);
      for (const command of ['announce', 'lookup', 'listen']) {
        assert.match(help.out.join('\n'), new RegExp(`^ +${command} .*NAME|${command} \\[`, 'm'));
      }
    });

    test('announce test-app --port=8080', async (t) => {
      const { ours, theirs } = await network(t);
      const early = [ours('lookup test-app'), theirs('lookup test-app')];
      const announcing = ours('announce test-app --port=8080');
      await announcing.line(
        /^waypost: announcing test-app on port 8080 over multicast DNS; Ctrl-C/,
      );
      for (const lookup of [...early, ours('lookup test-app'), theirs('lookup test-app')]) {
        await prints(lookup, found(8080, LINK_ADDRESS));
        await lookup.stop();
      }
      assert.equal((await announcing.stop()).code, 0);
      assert.deepEqual(announcing.out, []);
      const late = ours('lookup test-app --once');
      assert.equal((await late.end()).code, 1, 'nobody is left to answer');
    });

    test('lookup test-app', async (t) => {
      const { ours, theirs } = await network(t);
      const early = ours('lookup test-app');
      theirs('announce test-app --port=8080');
      const late = ours('lookup test-app');
      for (const lookup of [early, late]) {
        await prints(lookup, found(8080, LINK_ADDRESS));
        assert.equal((await lookup.stop('SIGTERM')).code, 0);
        assert.deepEqual(lookup.lines, [found(8080, LINK_ADDRESS)], 'each peer once');
      }
      const once = ours('lookup test-app --once');
      assert.equal((await once.end()).code, 0, once.describe());
    });

    test('listen --port=9090 --ttl=30, and what announces and looks up there', async (t) => {
      const { ours, theirs } = await network(t);
      const server = ours('listen --port=9090 --ttl=30');
      await server.line(/^Server is listening on port 9090$/);
      // Over multicast the same are found at the address of the link.
      for (const [announcer, name] of [
        [ours, 'app-1'],
        [theirs, 'app-2'],
      ] as const) {
        const announcing = announcer(`announce ${name} --server=example.com:9090 --port=9090`);
        for (const seeker of [ours, theirs]) {
          const lookup = seeker(`lookup ${name} --server=example.com:9090`);
          await prints(lookup, found(9090, '127.0.0.1', name));
          await lookup.stop();
        }
        await announcing.stop();
      }
    });

    test('announce test-app --server=example.com:9090 --port=9090, at the original', async (t) => {
      const { ours, theirs } = await network(t);
      const server = theirs('listen --port=9090 --ttl=30');
      await server.line(/^Server is listening on port 9090$/);
      const announcing = ours('announce test-app --server=example.com:9090 --port=9090');
      for (const seeker of [ours, theirs]) {
        const lookup = seeker('lookup test-app --server=example.com:9090');
        await prints(lookup, found(9090));
        await lookup.stop();
      }
      assert.equal((await announcing.stop()).code, 0);
    });

    test('dig @discovery.example.com test-app SRV', async (t) => {
      const { ours, dig } = await network(t);
      const server = ours('listen');
      await server.line(/^Server is listening on port 5300$/);
      const to = '--server discovery.example.com --no-multicast --once';
      const announcing = ours(`announce test-app --port 8080 ${to}`);
      assert.equal((await announcing.end()).code, 0, announcing.describe());
      const answer = dig('@discovery.example.com test-app SRV +short');
      assert.equal((await answer.end()).code, 0);
      assert.deepEqual(answer.out, ['0 0 8080 127.0.0.1.']);
    });
  });

  for (const [name, kind] of SERVERS) {
    describe(`at a server of ${name}, without multicast`, () => {
      test('what either command announces, either finds', async (t) => {
        const flags = `--server=${at(await kind.start(t))} --no-multicast`;
        const early = [
          waypost(t, `lookup test-app ${flags}`),
          original(t, `lookup test-app ${flags}`),
        ];
        const ours = waypost(t, `announce test-app --port=8080 ${flags}`);
        const theirs = original(t, `announce other-app -p=8081 ${flags}`);
        for (const lookup of [...early, original(t, `lookup test-app ${flags}`)]) {
          await prints(lookup, found(8080));
        }
        await prints(waypost(t, `lookup other-app ${flags}`), found(8081, undefined, 'other-app'));
        const { code, ms } = await ours.stop('SIGTERM');
        assert.ok(code === 0 && ms < 1000, `${code} after ${ms} ms`);
        assert.deepEqual(ours.out, []);
        await theirs.stop();
        const gone = waypost(t, `lookup test-app ${flags} --once`);
        assert.equal((await gone.end()).code, 1, 'it was taken back');
        assert.deepEqual(gone.lines, []);
      });

      test('announce --once, lookup --once --json, unannounce', async (t) => {
        const server = at(await kind.start(t));
        const env = { WAYPOST_SERVER: server };
        const run = async (args: string) => {
          const command = waypost(t, args, { env });
          const { code } = await command.end();
          return { code, out: command.out, err: command.err };
        };
        assert.deepEqual(
          await run('announce my-app -p 1 --public-port 443 --once --no-multicast'),
          {
            code: 0,
            out: [],
            err: ['waypost: announced my-app on port 1'],
          },
        );
        assert.deepEqual(await run('lookup my-app --once --json --no-multicast'), {
          code: 0,
          out: ['{"name":"my-app","host":"127.0.0.1","port":443}'],
          err: [],
        });
        assert.deepEqual(await run('unannounce my-app -p 443'), {
          code: 0,
          out: [],
          err: ['waypost: unannounced my-app on port 443'],
        });
        assert.equal((await run('lookup my-app --once --no-multicast')).code, 1);
      });

      test('--implied-port, and whoami of two servers', async (t) => {
        const [one, two] = [await kind.start(t), await kind.start(t, { host: '127.0.0.2' })];
        const flags = `--server ${at(one)} --no-multicast`;
        const implied = waypost(t, `announce my-app -p 1 --implied-port --once ${flags}`);
        assert.equal((await implied.end()).code, 0, implied.describe());
        const lookup = waypost(t, `lookup my-app --once ${flags}`);
        assert.equal((await lookup.end()).code, 0);
        assert.match(lookup.out.join('\n'), /^my-app \{ port: \d{4,5}, host: '127\.0\.0\.1' \}$/);
        const self = waypost(t, `whoami --server ${at(one)} --server ${at(two)} --json`);
        assert.equal((await self.end()).code, 0, self.describe());
        assert.match(self.out.join('\n'), /^\{"host":"127\.0\.0\.1","port":\d+\}$/);
      });
    });
  }

  describe('where multicast cannot be sent: 3', { skip: noNamespace }, () => {
    /** What each of the commands ends with in a network that `spoil` has seen to. */
    async function check(t: TestContext, spoil: (wrapper: readonly string[]) => Promise<void>) {
      const { wrapper } = await NetNamespace.open(t);
      await spoil(wrapper);
      for (const args of ['announce x -p 1 --once', 'lookup x --once']) {
        const command = new Command(t, [...wrapper, ...WAYPOST, ...args.split(' ')]);
        assert.equal((await command.end()).code, 3, command.describe());
        assert.deepEqual(command.out, []);
        assert.ok(!command.err.some((line) => /announced/.test(line)), command.describe());
      }
    }

    test('port 5353 is held by somebody else', (t) =>
      check(t, async (wrapper) => {
        const script =
          "require('node:dgram').createSocket('udp4').bind(5353, () => console.log('held'))";
        const holder = new Command(t, [...wrapper, process.execPath, '-e', script]);
        await holder.line(/^held$/);
      }));

    test('all interfaces are down', (t) =>
      check(t, async (wrapper) => {
        const script = 'ip link set wp0 down && ip link set lo down';
        const down = new Command(t, [...wrapper, 'sh', '-c', script]);
        assert.equal((await down.end()).code, 0, down.describe());
      }));
  });
});

// By itself, for it measures how long an end takes.
test('signals: 0 for what was to go on, 128 and the number for what was not', async (t) => {
  const silent = `127.0.0.1:${await silentPort(t)}`;
  const { port } = await testServer(t);
  const live = `127.0.0.1:${port}`;
  const only = (server: string) => `--server ${server} --no-multicast`;
  for (const [signal, stopped] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    const kept = waypost(t, `announce x -p 1 --json ${only(live)}`);
    await kept.line(/"announced"/);
    // Waits for the silent one when it has printed what the other knows.
    const once = waypost(t, `lookup x ${only(live)} --server ${silent} --once`);
    await prints(once, found(1, undefined, 'x'));
    assert.equal((await once.stop(signal)).code, stopped);
    assert.equal((await kept.stop(signal)).code, 0);
    // A server that does not answer holds the end up for less than a second.
    const vain = waypost(t, `announce x -p 1 ${only(silent)}`);
    await vain.line(/announcing/);
    const { code, ms } = await vain.stop(signal);
    assert.ok(code === 0 && ms < 1000, `${code} after ${ms} ms`);
  }
});
