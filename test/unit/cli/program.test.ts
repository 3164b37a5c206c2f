import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CommanderError } from 'commander';
import { buildProgram, plainWords } from '../../../server/cli/program.ts';
import {
  announceOptions,
  lookupOptions,
  unannounceOptions,
  whoamiOptions,
} from '../../../server/options/client.ts';
import { isSwitch, optionFlags } from '../../../server/options/docs.ts';
import { listenOptions } from '../../../server/options/listen.ts';
import type { FlagValues, OptionGroup } from '../../../server/options/option.ts';
import { serveOptions } from '../../../server/options/serve.ts';

interface Outcome {
  readonly command: string;
  readonly flags: FlagValues;
  readonly out: string;
  readonly error: string;
  readonly exitCode: number;
}

async function run(...argv: string[]): Promise<Outcome> {
  let command = '';
  let flags: FlagValues = {};
  const out: string[] = [];
  const errors: string[] = [];
  const action = (name: string) => async (given: FlagValues) => {
    command = name;
    flags = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  };
  const program = buildProgram(
    {
      serve: action('serve'),
      listen: action('listen'),
      announce: action('announce'),
      unannounce: action('unannounce'),
      lookup: action('lookup'),
      whoami: action('whoami'),
      dhtBootstrap: action('dht bootstrap'),
      dhtNode: action('dht node'),
    },
    { out: (line) => void out.push(line), error: (line) => void errors.push(line) },
  );
  let exitCode = 0;
  try {
    await program.parseAsync(plainWords(argv), { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    exitCode = error.exitCode;
  }
  return { command, flags, out: out.join('\n'), error: errors.join('\n'), exitCode };
}

describe('the command line', () => {
  test('flags reach their command as text', async () => {
    const outcome = await run('serve', '--ttl', '30', '--udp-backend=dgram', '-d', 'a.b');
    assert.equal(outcome.command, 'serve');
    assert.deepEqual(outcome.flags, { ttl: '30', udpBackend: 'dgram', domain: 'a.b' });
  });

  test('a list may be repeated or joined by commas', async () => {
    const outcome = await run('serve', '--domain', 'a.b,c.d', '--domain=e.f', '-d', 'g.h');
    assert.deepEqual(outcome.flags, { domain: 'a.b,c.d,e.f,g.h' });
  });

  test('listen takes the short flags of the original in each of its forms', async () => {
    for (const port of [['-p', '9090'], ['-p=9090'], ['-p9090'], ['--port=9090']]) {
      const outcome = await run('listen', ...port, '-h', '127.0.0.1', '-d=a.b');
      assert.deepEqual(outcome.flags, { port: '9090', host: '127.0.0.1', domain: 'a.b' });
    }
  });

  test('listen takes every other flag of the original too, and no unknown one', async () => {
    const bare = await run('listen', '--multicast', '--loopback', '--diag', '-p', '9090');
    assert.deepEqual(bare.flags, {
      multicast: 'true',
      loopback: 'true',
      diag: 'true',
      port: '9090',
    });
    const valued = await run('listen', '-s=192.0.2.1', '--diag=3031', '--diagpw', 'x');
    assert.deepEqual(valued.flags, { server: '192.0.2.1', diag: '3031', diagpw: 'x' });
    assert.deepEqual((await run('listen', '--no-multicast')).flags, { multicast: 'false' });
    assert.deepEqual((await run('listen')).flags, {});
    assert.match((await run('listen', '--dag')).error, /unknown option '--dag'/);
    assert.match((await run('serve', '--diag')).error, /unknown option '--diag'/);
  });

  const groups: readonly (readonly [string, OptionGroup])[] = [
    ['serve', serveOptions],
    ['listen', listenOptions],
    ['announce', announceOptions],
    ['unannounce', unannounceOptions],
    ['lookup', lookupOptions],
    ['whoami', whoamiOptions],
  ];
  for (const [name, group] of groups) {
    test(`${name} --help names every option, its variable and its default`, async () => {
      const { out, exitCode } = await run(name, '--help');
      assert.equal(exitCode, 0);
      for (const entry of Object.values(group)) {
        const fallback = isSwitch(entry) ? '' : entry.fallback;
        for (const part of [optionFlags(entry), entry.env, fallback]) {
          assert.ok(out.includes(part ?? ''), `${part} of ${entry.flag}`);
        }
      }
      assert.match(out, /Examples:/);
      assert.ok(!/-h, --help/.test(out), '-h is the host');
    });
  }

  test('a flag that does not exist brings the nearest one that does', async () => {
    const { error, exitCode } = await run('serve', '--lmit', '3');
    assert.notEqual(exitCode, 0);
    assert.match(error, /unknown option '--lmit'\n\(Did you mean --limit\?\)/);
  });

  test('a command that does not exist, a word too many, a value too few', async () => {
    assert.match((await run('srve')).error, /unknown command 'srve'\n\(Did you mean serve\?\)/);
    assert.match((await run('serve', 'now')).error, /too many arguments/);
    assert.match((await run('serve', '--ttl')).error, /'--ttl <SECONDS>' argument missing/);
  });
});
