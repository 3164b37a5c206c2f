/** `waypost serve` and `waypost listen` as processes: start, say, answer, stop. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test as nodeTest, type TestContext } from 'node:test';
import { FLAG_TC, OPTION } from '../../codecs/dns/constants.ts';
import { backends } from '../helpers/appliance.ts';
import { DOMAIN, optionOf, peersOf, queryBytes, txtOf } from '../helpers/lane-harness.ts';
import { ServeProcess } from '../helpers/serve-process.ts';
import { TcpAsker } from '../helpers/tcp-asker.ts';
import { UdpAsker } from '../helpers/udp-asker.ts';

/** Ends a test whose server never says what is awaited. */
const TIMEOUT_MS = 30_000;

function test(title: string, body: (t: TestContext) => Promise<void>): void {
  nodeTest(title, { timeout: TIMEOUT_MS }, body);
}

const SECRET = '00112233445566778899aabbccddeeff'.repeat(2);

for (const workers of ['auto', '0', '3']) {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`serve --workers ${workers}: ${signal} ends it with 0 within 2 s`, async (t) => {
      const server = await ServeProcess.serve(t, '--dns', '127.0.0.1:0', '--workers', workers);
      const udp = await UdpAsker.open(t, server.port());
      await udp.announceAll('app', [8080]);
      // A connection that stays open holds nothing up.
      const tcp = await TcpAsker.open(t, server.port());
      for (const asker of [udp, tcp]) {
        assert.deepEqual(peersOf(await asker.ask({ name: `app.${DOMAIN}` })), ['127.0.0.1:8080']);
      }
      const { code, ms } = await server.stop(signal);
      assert.equal(code, 0, server.lines.join('\n'));
      assert.ok(ms < 2000, `${ms} ms`);
    });
  }
}

test('several addresses, each with its port printed, by UDP and by TCP', async (t) => {
  const server = await ServeProcess.serve(t, '--dns', '127.0.0.1:0,127.0.0.2:0,[::1]:0');
  const hosts = ['127.0.0.1', '127.0.0.2', '::1'];
  for (const [index, host] of hosts.entries()) {
    const from = host === '::1' ? '::1' : '127.0.0.1';
    for (const transport of [UdpAsker, TcpAsker]) {
      const asker = await transport.open(t, server.port(index), { host, from });
      const told = txtOf(await asker.ask({ name: DOMAIN }));
      assert.equal(told.get('host'), from);
      assert.equal(told.get('port'), `${asker.localPort}`);
    }
  }
});

test('stopped and started again on the same port, with connections left behind', async (t) => {
  const first = await ServeProcess.serve(t, '--dns', '127.0.0.1:0');
  const at = `127.0.0.1:${first.port()}`;
  const second = new ServeProcess(t, ['serve', '--dns', at]);
  const [code] = (await once(second.child, 'close')) as [number];
  assert.equal(code, 1, 'not while the first one runs');
  assert.match(second.lines.join('\n'), new RegExp(`${at} udp: already in use`));
  const old = await TcpAsker.open(t, first.port());
  await old.ask({ name: DOMAIN });
  assert.equal((await first.stop('SIGTERM')).code, 0);
  const third = await ServeProcess.serve(t, '--dns', at);
  assert.equal(third.port(), first.port());
  for (const transport of [UdpAsker, TcpAsker]) {
    const asker = await transport.open(t, third.port());
    assert.equal(txtOf(await asker.ask({ name: DOMAIN })).get('host'), '127.0.0.1');
  }
});

test('--tcp-connections 0 opens no TCP', async (t) => {
  const server = await ServeProcess.serve(t, '--dns', '127.0.0.1:0', '--tcp-connections', '0');
  assert.doesNotMatch(server.lines.join('\n'), /\btcp\b/i);
  const asker = await UdpAsker.open(t, server.port());
  assert.equal(txtOf(await asker.ask({ name: DOMAIN })).get('host'), '127.0.0.1');
  await assert.rejects(TcpAsker.open(t, server.port()), { code: 'ECONNREFUSED' });
});

test('--nsid and --rate-limit are obeyed', async (t) => {
  const flags = ['--nsid', 'node-7', '--rate-limit', '1'];
  const server = await ServeProcess.serve(t, '--dns', '127.0.0.1:0', ...flags);
  assert.match(server.lines.join('\n'), /replies to unproven sources: 1 a second and prefix/);
  const tcp = await TcpAsker.open(t, server.port());
  for (let i = 0; i < 10; i++) {
    const answer = await tcp.ask({ name: DOMAIN, nsid: true });
    assert.equal(Buffer.from(optionOf(answer, OPTION.NSID) ?? []).toString(), 'node-7');
  }
  const udp = await UdpAsker.open(t, server.port());
  const truncated = new Promise<void>((resolve) => {
    udp.socket.on('message', (message: Buffer) => {
      if ((message.readUInt16BE(2) & FLAG_TC) !== 0) resolve();
    });
  });
  for (let id = 1; id <= 10; id++) udp.send(queryBytes({ name: `app.${DOMAIN}`, type: 'A', id }));
  await truncated;
});

for (const { name: backend, skip } of backends()) {
  test(`a peer announced over IPv4 is told to a subscriber on IPv6: ${backend}`, async (t) => {
    if (skip) return t.skip(skip);
    const flags = ['--dns', '127.0.0.1:0,[::1]:0', '--udp-backend', backend];
    const server = await ServeProcess.serve(t, ...flags);
    const six = await UdpAsker.open(t, server.port(1), { host: '::1', from: '::1' });
    const token = txtOf(await six.ask({ name: DOMAIN })).get('token');
    const strings = [`token=${token}`, 'subscribe=true'];
    await six.ask({ name: `app.${DOMAIN}`, strings });
    const push = once(six.socket, 'message');
    const four = await UdpAsker.open(t, server.port(0));
    await four.announceAll('app', [8080]);
    const [message] = (await push) as [Buffer];
    assert.equal(message[2] & 0x80, 0, 'a push is a query');
    assert.ok(message.includes('\x03127\x010\x010\x011\x00'));
  });
}

test('a wildcard socket answers from the address that was asked', async (t) => {
  const [batch] = backends();
  if (batch.skip) return t.skip(batch.skip);
  const server = await ServeProcess.serve(t, '--dns', '0.0.0.0:0', '--udp-backend', 'batch');
  const asker = await UdpAsker.open(t, server.port(), { host: '127.0.0.77' });
  const reply = once(asker.socket, 'message');
  await asker.ask({ name: DOMAIN });
  const [, from] = (await reply) as [Buffer, { address: string }];
  assert.equal(from.address, '127.0.0.77');
});

test('two servers with one token secret accept each other', async (t) => {
  const flags = ['--dns', '127.0.0.1:0', '--token-secret', SECRET];
  const one = await ServeProcess.serve(t, ...flags);
  const two = await ServeProcess.serve(t, ...flags);
  const asker = await UdpAsker.open(t, one.port());
  const token = txtOf(await asker.ask({ name: DOMAIN })).get('token');
  const other = await UdpAsker.open(t, two.port());
  const name = `app.${DOMAIN}`;
  await other.ask({ name, strings: [`token=${token}`, 'announce=80'] });
  assert.deepEqual(peersOf(await other.ask({ name })), ['127.0.0.1:80']);
});

test('an address that is taken ends the start with what to do', async (t) => {
  const holder = createSocket('udp4');
  holder.bind(0, '127.0.0.1');
  await once(holder, 'listening');
  t.after(() => holder.close());
  const at = `127.0.0.1:${holder.address().port}`;
  const server = new ServeProcess(t, ['serve', '--dns', `127.0.0.1:0,${at}`]);
  const [code] = (await once(server.child, 'close')) as [number];
  assert.equal(code, 1);
  assert.match(server.lines.join('\n'), new RegExp(`${at} udp: already in use`));
});

test('an address that is taken for TCP alone ends the start too', async (t) => {
  const holder = createServer();
  holder.listen(0, '127.0.0.1');
  await once(holder, 'listening');
  t.after(() => holder.close());
  const at = `127.0.0.1:${(holder.address() as AddressInfo).port}`;
  const server = new ServeProcess(t, ['serve', '--dns', at]);
  const [code] = (await once(server.child, 'close')) as [number];
  assert.equal(code, 1);
  assert.match(server.lines.join('\n'), new RegExp(`${at} tcp: already in use\\n.*ss -ltnp`));
});

test("listen says what the original's command line says", async (t) => {
  const args = ['listen', '-p', '0', '-h', '127.0.0.1', '--ttl=30', '-d', 'x.example'];
  const server = new ServeProcess(t, args);
  const line = await server.line(/^Server/);
  const port = /^Server is listening on port ([1-9]\d*)$/.exec(line)?.[1];
  assert.ok(port !== undefined, line);
  const asker = await UdpAsker.open(t, Number(port));
  assert.equal(txtOf(await asker.ask({ name: 'x.example' })).get('host'), '127.0.0.1');
  assert.equal((await server.stop('SIGTERM')).code, 0);
});

test('a line that a killed server will never print is not waited for', async (t) => {
  const server = await ServeProcess.serve(t, '--dns', '127.0.0.1:0');
  const never = assert.rejects(server.line(/^never/), /ended by SIGKILL/);
  server.child.kill('SIGKILL');
  await never;
  await assert.rejects(server.line(/^never/), /ended by SIGKILL/);
  assert.equal((await server.stop('SIGTERM')).code, null);
});
