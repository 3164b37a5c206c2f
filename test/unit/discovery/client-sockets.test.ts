import assert from 'node:assert/strict';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type Clock, systemClock } from '../../../server/clock.ts';
import { ClientSockets, resolveHost } from '../../../server/discovery/wire/client-sockets.ts';

const TEST_TIMEOUT_MS = 20_000;
const QUESTION = Uint8Array.of(1, 2, 3);

interface Heard {
  readonly text: string;
  readonly from: string;
}

function open(t: TestContext, parts: { socket?: UdpSocket; host?: string; clock?: Clock } = {}) {
  const heard: Heard[] = [];
  let wake = () => {};
  const sockets = new ClientSockets({
    socket: parts.socket ?? null,
    host: parts.host ?? null,
    clock: parts.clock ?? systemClock,
    onMessage: (bytes, address, port) => {
      heard.push({ text: Buffer.from(bytes).toString(), from: `${address} ${port}` });
      wake();
    },
    onSent: () => undefined,
    onError: (error) => assert.fail(error),
  });
  t.after(() => new Promise<void>((done) => sockets.close(done)));
  const next = () => new Promise<void>((resolve) => (wake = resolve));
  return { sockets, heard, next };
}

async function echo(t: TestContext, address: string): Promise<number> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (bytes, from) => socket.send(bytes, from.port, from.address));
  socket.bind(0, address);
  await once(socket, 'listening');
  t.after(() => socket.close());
  return socket.address().port;
}

async function tcp(t: TestContext, onConnection: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer(onConnection);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

function ask(sockets: ClientSockets, port: number): Promise<Uint8Array | null> {
  return new Promise((done) =>
    sockets.askTcp(QUESTION, { address: '127.0.0.1', port }, 60_000, done),
  );
}

for (const address of ['127.0.0.1', '::1']) {
  test(`datagrams to and from ${address}`, { timeout: TEST_TIMEOUT_MS }, async (t) => {
    const port = await echo(t, address);
    const { sockets, heard, next } = open(t);
    const answered = next();
    sockets.send(Buffer.from('hello'), { address, port });
    await answered;
    assert.deepEqual(heard, [{ text: 'hello', from: `${address} ${port}` }]);
  });
}

test('it asks from the address it is told to', { timeout: TEST_TIMEOUT_MS }, async (t) => {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.after(() => socket.close());
  const { sockets } = open(t, { host: '127.0.0.9' });
  sockets.send(QUESTION, { address: '127.0.0.1', port: socket.address().port });
  const [, from] = await once(socket, 'message');
  assert.equal(from.address, '127.0.0.9');
});

test('a socket of the user is used, and closed with it', {
  timeout: TEST_TIMEOUT_MS,
}, async (t) => {
  const port = await echo(t, '127.0.0.1');
  const socket = createSocket('udp4');
  const { sockets, heard, next } = open(t, { socket });
  const answered = next();
  sockets.send(Buffer.from('mine'), { address: '127.0.0.1', port });
  await answered;
  assert.equal(heard[0].text, 'mine');
  const closed = once(socket, 'close');
  await new Promise<void>((done) => sockets.close(done));
  await closed;
});

test('by TCP: framed both ways, an answer may come byte by byte', {
  timeout: 20_000,
}, async (t) => {
  const received: Buffer[] = [];
  const port = await tcp(t, (socket) => {
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      received.push(chunk);
      if (Buffer.concat(received).length < 5) return;
      const answer = [0, 4, 9, 8, 7, 6, 5];
      const drip = () => {
        const byte = answer.shift();
        if (byte !== undefined) socket.write(Uint8Array.of(byte), drip);
      };
      drip();
    });
    socket.on('error', () => undefined);
  });
  const { sockets } = open(t);
  assert.deepEqual([...((await ask(sockets, port)) ?? [])], [9, 8, 7, 6]);
  assert.deepEqual([...Buffer.concat(received)], [0, 3, 1, 2, 3]);
});

test('by TCP: nobody there, or a stream that ends half way, is no answer', async (t) => {
  const closed = await tcp(t, () => undefined);
  const port = await tcp(t, (socket) => socket.end(Uint8Array.of(0, 9, 1)));
  const { sockets } = open(t);
  assert.equal(await ask(sockets, port), null);
  const gone = createServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const { port: free } = gone.address() as AddressInfo;
  await new Promise((done) => gone.close(done));
  assert.equal(await ask(sockets, free), null);
  assert.ok(closed > 0);
});

test('by TCP: silence ends after five seconds, and 32 at most ask at once', async (t) => {
  const timers: (() => void)[] = [];
  const clock: Clock = {
    ...systemClock,
    after: (ms, fn) => {
      assert.equal(ms, 5000);
      timers.push(fn);
      return () => undefined;
    },
  };
  let connections = 0;
  let onFull = () => {};
  const full = new Promise<void>((resolve) => (onFull = resolve));
  const port = await tcp(t, (socket) => {
    socket.on('error', () => undefined);
    socket.resume();
    if (++connections === 32) onFull();
  });
  const { sockets } = open(t, { clock });
  const asked = Array.from({ length: 40 }, () => ask(sockets, port));
  await full;
  assert.equal(timers.length, 32);
  for (let i = 0; i < 40; i++) timers[i]();
  assert.deepEqual(await Promise.all(asked), new Array(40).fill(null));
});

test('after closing nothing is sent and nothing asked', async (t) => {
  const { sockets } = open(t);
  await new Promise<void>((done) => sockets.close(done));
  sockets.send(QUESTION, { address: '127.0.0.1', port: 9 });
  assert.equal(await ask(sockets, 9), null);
});

test('hosts: addresses are taken as the system spells them', async () => {
  const resolve = (host: string) =>
    new Promise<string>((done) =>
      resolveHost(host, 4, (all, error) => done(error?.message ?? all.join())),
    );
  assert.equal(await resolve('0:0:0:0:0:0:0:1'), '::1');
  assert.equal(await resolve('127.0.0.1'), '127.0.0.1');
  assert.match(await resolve('localhost'), /127\.0\.0\.1|::1/);
  assert.match(await resolve('no-such-host.invalid'), /cannot find no-such-host\.invalid/);
});
