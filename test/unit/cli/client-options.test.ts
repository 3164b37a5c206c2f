/** What the client commands make of their command line and environment. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { buildProgram, plainWords } from '../../../server/cli/program.ts';
import {
  clientOptions,
  ignoredAnnounceFlags,
  ignoredLookupFlags,
  lookupOptions,
  unannounceOptions,
  whoamiOptions,
} from '../../../server/options/client.ts';
import {
  announceConfig,
  ignoredNotices,
  lookupConfig,
  unannounceConfig,
  whoamiConfig,
} from '../../../server/options/client-config.ts';
import type { Environment, OptionGroup } from '../../../server/options/option.ts';

const CONFIGS = {
  announce: announceConfig,
  unannounce: unannounceConfig,
  lookup: lookupConfig,
  whoami: (_name: string | undefined, ...rest: Parameters<typeof whoamiConfig>) =>
    whoamiConfig(...rest),
};
type CommandName = keyof typeof CONFIGS;

/** The configuration that a command line and an environment make. */
async function read<C extends CommandName>(command: C, words: string, env: Environment = {}) {
  type Config = ReturnType<(typeof CONFIGS)[C]>;
  const none = async () => assert.fail('another command ran');
  const actions = {
    serve: none,
    listen: none,
    announce: none,
    unannounce: none,
    lookup: none,
    whoami: none,
    dhtBootstrap: none,
    dhtNode: none,
  };
  const configs: Config[] = [];
  const program = buildProgram(
    {
      ...actions,
      [command]: async (flags: Readonly<Record<string, string>>, name: string | undefined) => {
        configs.push(CONFIGS[command](name, flags, env) as Config);
      },
    },
    { out: () => undefined, error: () => undefined },
  );
  const argv = words.split(' ').filter((word) => word !== '');
  await program.parseAsync(plainWords([command, ...argv]), { from: 'user' });
  return configs[0];
}

describe('the command line of the clients', () => {
  test('lookup: a name is enough; multicast is on', async () => {
    assert.deepEqual(await read('lookup', 'my-app'), {
      name: 'my-app',
      discovery: { servers: [], domain: 'dns-discovery.local', multicast: true },
      servers: [],
      multicast: true,
      once: false,
      json: false,
    });
  });

  test('lookup: every flag', async () => {
    const words =
      'my-app --server a:1,2 --server=[::1]:5300 -s=b -d x.example --no-multicast' +
      ' --once --json --ttl 60 -h 127.0.0.1 --loopback';
    const servers = ['a:1,2', '[::1]:5300', 'b'];
    assert.deepEqual(await read('lookup', words), {
      name: 'my-app',
      discovery: {
        servers,
        domain: 'x.example',
        multicast: false,
        host: '127.0.0.1',
        loopback: true,
        ttl: 60,
      },
      servers,
      multicast: false,
      once: true,
      json: true,
    });
  });

  test('announce: ports, in each form of the original', async () => {
    for (const port of ['--port=8080', '--port 8080', '-p 8080', '-p=8080', '-p8080']) {
      assert.equal((await read('announce', `my-app ${port}`)).port, 8080);
      assert.equal((await read('announce', `${port} my-app`)).port, 8080);
    }
    const other = await read('announce', 'my-app -p 1 --public-port 443');
    assert.deepEqual(other.request, { publicPort: 443 });
    assert.deepEqual((await read('announce', 'my-app -p 1')).request, {});
    const implied = await read('announce', 'my-app -p 1 --implied-port');
    assert.deepEqual(implied.request, { impliedPort: true });
  });

  test('servers: repeated, joined, with second ports, and from the environment', async () => {
    const servers = async (words: string, env: Environment = {}) =>
      (await read('lookup', `x ${words}`, env)).servers;
    assert.deepEqual(await servers('--server a.b:9090,9091'), ['a.b:9090,9091']);
    assert.deepEqual(await servers('--server a:1,2,b:3,c'), ['a:1,2', 'b:3', 'c']);
    assert.deepEqual(await servers('', { WAYPOST_SERVER: 'a:1,2 [::1]:3,4' }), [
      'a:1,2',
      '[::1]:3,4',
    ]);
    assert.deepEqual(await servers('-s b', { WAYPOST_SERVER: 'a' }), ['b']);
    const domain = await read('lookup', 'x', { WAYPOST_DOMAIN: 'x.example' });
    assert.equal(domain.discovery.domain, 'x.example');
  });

  test('a switch: bare, in words, negated; the word after it is not its value', async () => {
    const once = async (words: string) => (await read('lookup', words)).once;
    assert.equal(await once('x'), false);
    for (const words of ['x --once', '--once x', 'x --once=true', 'x --once true']) {
      assert.equal(await once(words), true, words);
    }
    for (const words of ['x --once=false', '--once false x', 'x --no-once']) {
      assert.equal(await once(words), false, words);
    }
    assert.equal((await read('lookup', '--loopback x')).name, 'x');
    assert.equal((await read('lookup', '-s a --multicast=false x')).multicast, false);
    assert.equal((await read('lookup', '-s a --multicast x')).multicast, true);
    assert.equal((await read('lookup', '-- --once')).name, '--once');
    assert.equal((await read('lookup', '--once -- -a=b')).name, '-a=b');
    assert.equal((await read('lookup', 'true --once')).name, 'true');
  });

  test('lookup and announce take the flags of the original that mean nothing to them', async () => {
    const plain = await read('lookup', 'x');
    for (const words of [
      '--port=9090',
      '-p 9090',
      '-p=9090',
      '--diag',
      '--diag=3031',
      '--diagpw=secret',
      '--limit 5',
      '--public-port 443',
      '--implied-port',
      '--no-implied-port',
    ]) {
      assert.deepEqual(await read('lookup', `x ${words}`), plain, words);
    }
    assert.deepEqual(
      await read('announce', 'x -p 1 --limit=5 --diag --diagpw secret'),
      await read('announce', 'x -p 1'),
    );
  });

  test('each ignored flag is a notice, which does not repeat its value', () => {
    const flags = { port: '9090', limit: '5', diag: 'false', diagpw: 'secret', once: 'true' };
    assert.deepEqual(ignoredNotices(ignoredLookupFlags, flags), [
      '--port: it is for announce; ignored',
      '--limit: it is for a server; ignored',
      '--diagpw: it is for a server; ignored',
    ]);
    assert.deepEqual(ignoredNotices(ignoredAnnounceFlags, {}), []);
  });

  test('unannounce and whoami ask servers only, and take the flags of the others', async () => {
    const flags = '--no-multicast --once --loopback --ttl 9 -s a';
    const self = await read('whoami', flags);
    assert.deepEqual(self.discovery, {
      servers: ['a'],
      domain: 'dns-discovery.local',
      multicast: false,
    });
    const ports = '--port 1 --public-port=2 --implied-port --no-implied-port';
    assert.deepEqual(await read('whoami', `${flags} --no-once --no-loopback ${ports}`), self);
    const gone = await read('unannounce', `${flags} x -p 1 --public-port 2`);
    assert.deepEqual([gone.name, gone.port, gone.request], ['x', 1, { publicPort: 2 }]);
    assert.equal(gone.discovery.multicast, false);
  });
});

const REFUSED: readonly (readonly [CommandName, string, RegExp])[] = [
  ['announce', '--port 80', /^announce needs the NAME .*: waypost announce my-app --port 8080$/],
  ['announce', 'x', /^announce needs the port .*: waypost announce x --port 8080$/],
  ['announce', "it's", /waypost announce 'it'\\''s' --port 8080$/],
  ['announce', 'x --port 0', /^--port "0": expected one port, 1 to 65535$/],
  ['announce', 'x --port 65536', /^--port "65536": expected one port/],
  ['announce', 'x --port 80,81', /^--port "80,81": expected one port/],
  ['announce', 'x --port 1e3', /^--port "1e3": expected one port/],
  ['announce', 'x -p 1 --public-port no', /^--public-port "no": expected one port/],
  ['announce', 'x -p 1 --public-port 2 --implied-port', /expected one of them$/],
  ['unannounce', '', /^unannounce needs the NAME .* --port 8080 --server discovery\.example\.com$/],
  ['unannounce', 'x -p 1', /^unannounce takes back .*--server discovery\.example\.com.*_SERVER$/],
  ['unannounce', 'x -s a', /^unannounce needs the port /],
  ['lookup', '', /^lookup needs the NAME of an app, for example: waypost lookup my-app$/],
  [
    'lookup',
    '--once true',
    /needs the NAME .* "true" is the value of --once .* lookup true --once$/,
  ],
  ['announce', '-p 1 --json false', /"false" is the value of --json .* announce false --json$/],
  ['lookup', '--once', /^lookup needs the NAME of an app, for example: /],
  ['lookup', 'x --no-multicast', /there is nobody to ask: name a server/],
  ['lookup', 'x -s a:0', /^--server "a:0": /],
  ['lookup', 'x -s a:99999', /^--server "a:99999": .*65535/],
  ['lookup', 'x -s 9090', /^--server "9090": expected a host before the port/],
  ['lookup', 'x -s a,', /^--server "a,": /],
  ['lookup', 'x -d a..b', /^--domain "a\.\.b": /],
  ['lookup', 'x -d a.b,c.d', /^--domain "a\.b,c\.d": expected one domain/],
  ['lookup', 'x -h localhost', /^--host "localhost": expected an IP address/],
  ['lookup', 'x --ttl soon', /^--ttl "soon": expected whole seconds/],
  ['lookup', 'x --once=maybe', /^--once "maybe": expected true or false/],
  ['lookup', 'a..b', /empty label|label/],
  ['lookup', 'x'.repeat(65), /label of 65 bytes/],
  ['lookup', 'x'.repeat(3000), /^"x{80}"\.\.\. is too long: .*at most 255 bytes$/],
  ['lookup', `x -s ${'a,'.repeat(64)}a`, /at most 64/],
  ['whoami', '', /^whoami asks servers: name one, .*--server .* WAYPOST_SERVER$/],
];

describe('what the clients refuse, in one line', () => {
  for (const [command, words, message] of REFUSED) {
    test(`${command} ${words.slice(0, 50)}`, async () => {
      await assert.rejects(read(command, words), (error: Error) => {
        assert.equal(error.name, 'UsageError');
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      });
    });
  }

  test('a wrong variable is named', async () => {
    const wrong = read('lookup', 'x', { WAYPOST_SERVER: 'a:x' });
    await assert.rejects(wrong, /^UsageError: WAYPOST_SERVER \(the variable of --server\) "a:x": /);
  });
});

test('README.md says which of the options each client command takes', () => {
  const text = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
  const flagsOf = (group: OptionGroup) => Object.values(group).map((entry) => entry.flag);
  const missing = (group: OptionGroup) =>
    flagsOf(clientOptions).filter((flag) => !flagsOf(group).includes(flag));
  const listed = (flags: readonly string[]) => flags.map((flag) => `\`${flag}\``).join(', ');
  const plain = text.replace(/\s+/g, ' ');
  assert.ok(plain.includes(`\`lookup\` takes all but ${listed(missing(lookupOptions))}`));
  assert.ok(plain.includes(`\`unannounce\` takes ${listed(flagsOf(unannounceOptions))}`));
  assert.ok(plain.includes(`\`whoami\` takes ${listed(flagsOf(whoamiOptions))}`));
});
