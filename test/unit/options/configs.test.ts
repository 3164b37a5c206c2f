import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import { CidrList } from '../../../server/limits/cidr.ts';
import { listenConfig } from '../../../server/options/listen.ts';
import { explainListenError } from '../../../server/options/listen-error.ts';
import { type FlagValues, type Resolved, UsageError } from '../../../server/options/option.ts';
import { serveConfig, serveOptions } from '../../../server/options/serve.ts';
import { chooseTokenSecret } from '../../../server/options/token-secret.ts';
import { MAX_WORKERS } from '../../../server/options/workers.ts';

const quiet = (): void => undefined;

describe('serve: options to configuration', () => {
  test('the defaults', () => {
    assert.deepEqual(serveConfig({}, {}, quiet), {
      dns: [53, 5300].flatMap((port) => [
        { address: '0.0.0.0', port },
        { address: '::', port, ifIpv6: true },
      ]),
      dht: {
        at: { address: '0.0.0.0', port: 49_737 },
        isRequired: false,
        anyPort: false,
        bootstrap: [],
        host: null,
        isPrivate: false,
      },
      dnsRequired: false,
      domains: ['dns-discovery.local'],
      nameserver: null,
      ttlSeconds: 3600,
      limit: 100_000,
      udpBackend: 'auto',
      workers: Math.min(availableParallelism() - 1, MAX_WORKERS),
      sendFrom: 'auto',
      limits: {
        rateLimit: 200,
        rateLimitExempt: CidrList.none,
        prefixLimit: 12_500,
        nameLimit: 8192,
        tcpConnections: 4096,
        tcpConnectionsPerPrefix: 256,
        tcpIdleMs: 10_000,
      },
      nsid: null,
      cookieSecrets: null,
      tokenSecret: null,
      notice: quiet,
    });
  });

  test('an address that was named must work, however it was named', () => {
    assert.equal(serveConfig({ dns: ':53,:5300' }, {}, quiet).dnsRequired, true);
    assert.equal(serveConfig({}, { WAYPOST_DNS: ':5300' }, quiet).dnsRequired, true);
  });

  test('the name server, by flag or variable', () => {
    assert.equal(
      serveConfig({ nameserver: 'NS1.example.com.' }, {}, quiet).nameserver,
      'ns1.example.com',
    );
    assert.equal(serveConfig({}, { WAYPOST_NAMESERVER: 'ns2' }, quiet).nameserver, 'ns2');
  });

  test('every listener off leaves nothing to serve', () => {
    assert.throws(() => serveConfig({ dns: 'off', dht: 'off' }, {}, quiet), UsageError);
  });

  test('a secret on the command line draws a warning, one in a variable none', () => {
    const lines: string[] = [];
    const hex = '5a'.repeat(32);
    const note = (line: string): void => void lines.push(line);
    assert.deepEqual(
      serveConfig({}, { WAYPOST_TOKEN_SECRET: hex }, note).tokenSecret,
      new Uint8Array(32).fill(0x5a),
    );
    assert.deepEqual(lines, []);
    serveConfig({ tokenSecret: hex }, {}, note);
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /ps/);
    assert.ok(!lines.join().includes(hex));
  });
});

describe('listen: the original command line', () => {
  test('its defaults', () => {
    const config = listenConfig({}, {}, quiet);
    assert.equal(config.ttlSeconds, 0);
    assert.equal(config.limit, 10_000);
    assert.equal(config.dnsRequired, false);
    assert.deepEqual(config.domains, ['dns-discovery.local']);
    assert.deepEqual(
      config.dns === 'off' ? [] : config.dns.map(({ port }) => port),
      [53, 53, 5300, 5300],
    );
    assert.equal(config.limits.prefixLimit, 1250, 'an eighth of its limit');
  });

  test('threads and limits, which the original has no flags for, by the variables of serve', () => {
    const env = {
      WAYPOST_WORKERS: '3',
      WAYPOST_SEND_FROM: 'main',
      WAYPOST_RATE_LIMIT: 'off',
      WAYPOST_TCP_CONNECTIONS: '0',
    };
    const { workers, sendFrom, limits } = listenConfig({}, env, quiet);
    assert.deepEqual([workers, sendFrom], [3, 'main']);
    assert.deepEqual([limits.rateLimit, limits.tcpConnections], [null, 0]);
    assert.throws(() => listenConfig({}, { WAYPOST_WORKERS: 'many' }, quiet), /WAYPOST_WORKERS/);
  });

  test('ports and an address', () => {
    const config = listenConfig({ port: '9090,9091', host: '127.0.0.1', ttl: '30' }, {}, quiet);
    assert.equal(config.dnsRequired, true);
    assert.equal(config.ttlSeconds, 30);
    assert.deepEqual(config.dns, [
      { address: '127.0.0.1', port: 9090 },
      { address: '127.0.0.1', port: 9091 },
    ]);
  });
});

describe('listen: what it takes and ignores', () => {
  const noticesOf = (flags: FlagValues): string[] => {
    const lines: string[] = [];
    listenConfig(flags, {}, (line) => void lines.push(line));
    return lines;
  };

  test('one plain line for each, and none of a password', () => {
    assert.deepEqual(noticesOf({ diag: 'true', diagpw: 'hunter2', loopback: 'true' }), [
      '--loopback: the server answers unicast questions; announce and lookup do multicast; ignored',
      '--diag: the diagnostics page is not there yet; ignored',
      '--diagpw: the diagnostics page is not there yet; ignored',
    ]);
    assert.match(noticesOf({ server: '192.0.2.1' }).join(), /^--server: .* lookup; ignored$/);
  });

  test('what is switched off anyway needs no line', () => {
    assert.deepEqual(noticesOf({ multicast: 'false' }), []);
    assert.deepEqual(noticesOf({}), []);
  });
});

describe('the master secret of the tokens', () => {
  const FIRST = new Uint8Array(32).fill(1);
  const none: Resolved<null> = { value: null, source: 'default' };
  const files: Record<string, string> = { good: `${'02'.repeat(32)}\n`, bad: 'hello' };
  const read = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw new Error('ENOENT: no such file');
    return text;
  };
  const choose = (secret: Resolved<Uint8Array | null>, file: Resolved<string | null>) =>
    chooseTokenSecret(serveOptions, secret, file, read, quiet);

  test('none, directly, by a file', () => {
    assert.equal(choose(none, none), null);
    assert.deepEqual(choose({ value: FIRST, source: 'flag' }, none), FIRST);
    assert.deepEqual(
      choose(none, { value: 'good', source: 'flag' }),
      new Uint8Array(32).fill(2),
      'the newline at the end does not count',
    );
  });

  test('a flag wins over a variable, whichever way it gives the secret', () => {
    const second = new Uint8Array(32).fill(2);
    assert.deepEqual(
      choose({ value: FIRST, source: 'environment' }, { value: 'good', source: 'flag' }),
      second,
    );
    assert.deepEqual(
      choose({ value: FIRST, source: 'flag' }, { value: 'good', source: 'environment' }),
      FIRST,
    );
  });

  test('both ways at once, no file, a file with something else: one line each', () => {
    assert.throws(
      () => choose({ value: FIRST, source: 'flag' }, { value: 'good', source: 'flag' }),
      /^UsageError: --token-secret and --token-secret-file are both given/,
    );
    assert.throws(
      () => choose(none, { value: 'gone', source: 'environment' }),
      /WAYPOST_TOKEN_SECRET_FILE .* "gone": ENOENT/,
    );
    assert.throws(
      () => choose(none, { value: 'bad', source: 'flag' }),
      (error: Error) => /in the file expected 32 to 64/.test(error.message),
    );
  });
});

describe('what to do about an address that cannot be opened', () => {
  const at = (code: string, port: number, address = '0.0.0.0'): string =>
    explainListenError(Object.assign(new Error('bind failed'), { code }), { address, port });

  test('port 53 not permitted: how to permit it and how to do without', () => {
    const text = at('EACCES', 53, '::');
    assert.match(text, /^\[::\]:53 udp: not permitted/);
    for (const way of ['AmbientCapabilities', 'ip_unprivileged_port_start=53', 'setcap', ':5300']) {
      assert.ok(text.includes(way), way);
    }
  });

  test('port 53 taken: who may have it and how to do without', () => {
    const text = at('EADDRINUSE', 53);
    for (const way of ['ss -lunp', 'DNSStubListener=no', '--dns :5300']) {
      assert.ok(text.includes(way), way);
    }
    assert.ok(!at('EADDRINUSE', 5300).includes('resolved'));
  });

  test('taken for TCP alone: the error names it, and so does what to look at', () => {
    const error = Object.assign(new Error('no'), { code: 'EADDRINUSE', syscall: 'listen' });
    const text = explainListenError(error, { address: '127.0.0.1', port: 5300 });
    assert.match(text, /^127\.0\.0\.1:5300 tcp: already in use\n.*ss -ltnp/);
  });

  test('no such address, no IPv6, anything else', () => {
    assert.match(at('EADDRNOTAVAIL', 53, '192.0.2.1'), /does not have the address/);
    assert.match(at('EAFNOSUPPORT', 53, '::'), /no IPv6/);
    assert.match(at('EIO', 53), /bind failed/);
    assert.match(explainListenError('odd', { address: '::1', port: 1 }), /\[::1\]:1 udp: odd/);
  });
});
