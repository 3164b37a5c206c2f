/** The command as its own process: what it prints where, and its exit codes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { version } from '../../index.ts';
import { WAYPOST } from '../helpers/waypost-command.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

function waypost(args: readonly string[], env: Record<string, string> = {}) {
  const [command, ...before] = WAYPOST;
  const result = spawnSync(command, [...before, ...args], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 30_000,
  });
  return { code: result.status, out: result.stdout, error: result.stderr };
}

describe('waypost as a command', () => {
  test('--version and --help go to stdout with 0', () => {
    assert.deepEqual(waypost(['--version']), { code: 0, out: `${version}\n`, error: '' });
    const help = waypost(['--help']);
    assert.deepEqual([help.code, help.error], [0, '']);
    assert.match(help.out, /serve .*run the server/);
    assert.match(waypost(['serve', '--help']).out, /--dns <ADDR:PORT/);
  });

  const usageErrors: readonly (readonly [string[], RegExp])[] = [
    [[], /^Usage: waypost/],
    [['srve'], /^waypost: unknown command 'srve'\n\(Did you mean serve\?\)\n"waypost --help"/],
    [['serve', '--lmit', '1'], /^waypost: unknown option '--lmit'\n\(Did you mean --limit\?\)/],
    [['serve', '--ttl', 'soon'], /^waypost: --ttl "soon": expected whole seconds, 1 to .*\n$/],
    [['serve', '--dns', '127.0.0.1'], /^waypost: --dns "127\.0\.0\.1": .* has no port: .*\n$/],
    [['serve', '--dns=off', '--dht=off'], /^waypost: --dns off with --dht off leaves nothing.*\n$/],
    [['serve', '--token-secret-file', 'no/such'], /^waypost: --token-secret-file .*ENOENT.*\n$/],
    [['serve', '--workers', 'x'], /^waypost: --workers "x": expected 0 to 64 threads, or auto\n$/],
    [['serve', '--rate-limit=0'], /^waypost: --rate-limit "0": expected .* 1000000, or off\n$/],
    [['serve', '--cookie-secret', 'c0ffee'], /^waypost: --cookie-secret \(6 char.*32 hex.*\n$/],
    [['serve', '--cookie-secret'], /^waypost: option '--cookie-secret <.*>' argument missing\n/],
    [['listen', '--port', 'x'], /^waypost: --port "x": expected ports from 0 to 65535\n$/],
  ];
  for (const [args, message] of usageErrors) {
    test(`waypost ${args.join(' ')}: the reason on stderr, 2`, () => {
      const result = waypost(args);
      assert.match(result.error, message);
      assert.deepEqual([result.code, result.out], [2, '']);
    });
  }

  test('a wrong variable is named', () => {
    const result = waypost(['serve', '--dns', '127.0.0.1:0'], { WAYPOST_LIMIT: '0' });
    assert.equal(
      result.error,
      'waypost: WAYPOST_LIMIT (the variable of --limit) "0":' +
        ' expected a whole number of records, 1 to 10000000\n',
    );
    assert.equal(result.code, 2);
  });

  test('an address this machine does not have is no usage error: 1', () => {
    const result = waypost(['serve', '--dns', '192.0.2.1:5300']);
    assert.match(result.error, /192\.0\.2\.1:5300/);
    assert.deepEqual([result.code, result.out], [1, '']);
  });
});
