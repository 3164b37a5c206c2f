/** The options about threads, limits, NSID and cookies. */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import { MAX_NSID_BYTES } from '../../../codecs/dns/constants.ts';
import { encodeNsid } from '../../../codecs/dns/edns.ts';
import type { ApplianceConfig } from '../../../server/options/config.ts';
import { limitsFrom } from '../../../server/options/limits.ts';
import { type FlagValues, UsageError } from '../../../server/options/option.ts';
import { serveConfig } from '../../../server/options/serve.ts';
import { MAX_WORKERS } from '../../../server/options/workers.ts';

const quiet = (): void => undefined;
const config = (flags: FlagValues): ApplianceConfig => serveConfig(flags, {}, quiet);

/** The one line a wrong value gives. */
function refusal(flags: FlagValues): string {
  try {
    config(flags);
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    assert.doesNotMatch(error.message, /\n/);
    assert.ok(error.message.length < 250, error.message);
    return error.message;
  }
  assert.fail(`${JSON.stringify(flags)} is accepted`);
}

describe('threads', () => {
  test('auto leaves a core to the thread that receives; else what is said', () => {
    const auto = Math.min(availableParallelism() - 1, MAX_WORKERS);
    assert.equal(config({}).workers, auto);
    assert.equal(config({ workers: 'auto' }).workers, auto);
    assert.equal(config({ workers: '0' }).workers, 0);
    assert.equal(config({ workers: `${MAX_WORKERS}` }).workers, MAX_WORKERS);
    assert.equal(serveConfig({}, { WAYPOST_WORKERS: '2' }, quiet).workers, 2);
  });

  test('what is not a number of threads', () => {
    for (const workers of ['', '65', '-1', '1.5', '0x1', '1e1', 'AUTO', ' 1', 'all']) {
      const quoted = JSON.stringify(workers);
      assert.equal(
        refusal({ workers }),
        `--workers ${quoted}: expected 0 to ${MAX_WORKERS} threads, or auto`,
      );
    }
  });

  test('who sends', () => {
    assert.equal(config({ sendFrom: 'lane', workers: '1', udpBackend: 'batch' }).sendFrom, 'lane');
    assert.equal(config({ sendFrom: 'main' }).sendFrom, 'main');
    assert.equal(refusal({ sendFrom: 'both' }), '--send-from "both": expected auto, main or lane');
  });
});

describe('limits', () => {
  test('each by its flag', () => {
    const { limits } = config({
      rateLimit: '50',
      rateLimitExempt: '127.0.0.0/8,2001:db8::/32',
      prefixLimit: '7',
      nameLimit: '70',
      tcpConnections: '0',
      tcpConnectionsPerPrefix: '5',
      tcpIdle: '3600',
    });
    const { rateLimitExempt, ...rest } = limits;
    assert.equal(rateLimitExempt.count, 2);
    assert.deepEqual(rest, {
      rateLimit: 50,
      prefixLimit: 7,
      nameLimit: 70,
      tcpConnections: 0,
      tcpConnectionsPerPrefix: 5,
      tcpIdleMs: 3_600_000,
    });
    assert.equal(config({ rateLimit: 'off' }).limits.rateLimit, null);
  });

  test('each by its variable', () => {
    const variables = {
      WAYPOST_RATE_LIMIT: 'off',
      WAYPOST_RATE_LIMIT_EXEMPT: '::1',
      WAYPOST_PREFIX_LIMIT: '1',
      WAYPOST_NAME_LIMIT: '2',
      WAYPOST_TCP_CONNECTIONS: '3',
      WAYPOST_TCP_CONNECTIONS_PER_PREFIX: '4',
      WAYPOST_TCP_IDLE: '5',
    };
    const { rateLimitExempt, ...rest } = limitsFrom({}, variables, 100);
    assert.equal(rateLimitExempt.count, 1);
    assert.deepEqual(Object.values(rest), [null, 1, 2, 3, 4, 5000]);
  });

  test("a network's share of the records is an eighth, and at least 128", () => {
    for (const [limit, share] of [
      [1, 128],
      [1024, 128],
      [1032, 129],
      [100_000, 12_500],
    ] as const) {
      assert.equal(limitsFrom({}, {}, limit).prefixLimit, share);
      assert.equal(config({ limit: `${limit}` }).limits.prefixLimit, share);
    }
  });

  const wrong: readonly (readonly [FlagValues, RegExp])[] = [
    [{ rateLimit: '0' }, /^--rate-limit "0": expected whole replies per second, 1 to .*, or off$/],
    [{ rateLimit: 'none' }, /^--rate-limit "none": .* or off$/],
    [{ rateLimitExempt: '10.0.0.0/33' }, /^--rate-limit-exempt .*length of IPv4 is 0 to 32$/],
    [{ rateLimitExempt: '10.0.0.1/8' }, /^--rate-limit-exempt "10\.0\.0\.1\/8"/],
    [{ rateLimitExempt: 'localhost' }, /expected an address or a network such as/],
    [{ rateLimitExempt: '127.0.0.1,' }, /^--rate-limit-exempt "127\.0\.0\.1,"/],
    [{ prefixLimit: '0' }, /^--prefix-limit "0": expected a whole number of records, 1 to /],
    [{ nameLimit: '1.5' }, /^--name-limit "1\.5": expected a whole number of peers, 1 to /],
    [{ tcpConnections: '-1' }, /^--tcp-connections "-1": .*connections, 0 to 100000$/],
    [{ tcpConnectionsPerPrefix: '0' }, /^--tcp-connections-per-prefix "0": .* 1 to 100000$/],
    [{ tcpIdle: '0' }, /^--tcp-idle "0": expected whole seconds, 1 to 3600$/],
    [{ tcpIdle: '10s' }, /^--tcp-idle "10s": /],
  ];
  for (const [flags, message] of wrong) {
    test(`${JSON.stringify(flags)} is refused in one line`, () => {
      assert.match(refusal(flags), message);
    });
  }

  test('too many networks', () => {
    const rateLimitExempt = Array.from({ length: 65 }, (_, i) => `10.0.${i}.0/24`).join();
    assert.match(refusal({ rateLimitExempt }), /65 networks: expected at most 64$/);
  });
});

describe('NSID and cookies', () => {
  test('a name of printable ASCII', () => {
    assert.deepEqual(config({ nsid: 'node 7 (fra)' }).nsid, encodeNsid('node 7 (fra)'));
    const longest = 'n'.repeat(MAX_NSID_BYTES);
    assert.equal(config({ nsid: longest }).nsid?.length, MAX_NSID_BYTES);
    const expected = `expected 1 to ${MAX_NSID_BYTES} printable ASCII characters`;
    for (const nsid of ['', 'b\u00fccher', 'a\nb', '\u007f']) {
      assert.equal(refusal({ nsid }), `--nsid ${JSON.stringify(nsid)}: ${expected}`);
    }
    assert.ok(refusal({ nsid: `${longest}${longest}` }).endsWith(`...: ${expected}`));
  });

  test('one secret, or the active and the one before it', () => {
    const active = new Uint8Array(16).fill(0xab);
    const previous = new Uint8Array(16).fill(0xcd);
    const [one, two] = ['ab'.repeat(16), 'CD'.repeat(16)];
    assert.deepEqual(config({ cookieSecret: one }).cookieSecrets, { active, previous: null });
    assert.deepEqual(config({ cookieSecret: `${one}, ${two}` }).cookieSecrets, {
      active,
      previous,
    });
  });

  test('what is no secret is refused and not shown', () => {
    const good = 'ab'.repeat(16);
    for (const cookieSecret of [
      '',
      'c0ffee',
      `${good}a`,
      `${good},`,
      `${good},c0ffee`,
      `${good},${good},${good}`,
      'zz'.repeat(16),
    ]) {
      const message = refusal({ cookieSecret });
      assert.match(message, /^--cookie-secret .*: expected 32 hex digits, or two secrets/);
      assert.doesNotMatch(message, /c0ffee|abab|zz/);
    }
  });
});
