/**
 * Signatures being checked at a live server while its lanes die, its checking threads die, and it
 * closes: every datagram is accounted for, and it goes on.
 */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { test as nodeTest, type TestContext } from 'node:test';
import { COMMAND } from '../../codecs/dht/constants.ts';
import { encodeMutablePut } from '../../codecs/dht/hyper-messages.ts';
import { type DhtReply, decodeReply, encodeRequest } from '../../codecs/dht/message.ts';
import { mutableSignable } from '../../codecs/dht/namespaces.ts';
import { blake2b256 } from '../../codecs/hash/blake2b.ts';
import { inFlight } from '../../workers/counters.ts';
import { variants } from '../helpers/appliance.ts';
import { type DhtServer, dhtServer } from '../helpers/dht-appliance.ts';
import { keyPair, sign } from '../helpers/signing.ts';
import { until } from '../helpers/tcp-client.ts';
import { watchVerifierThreads } from '../helpers/verifier-threads.ts';

const TIMEOUT_MS = 120_000;
/** Fewer than wait for their check at most, and than a small store keeps. */
const PUTS = 150;
const ROUNDS = 4;
const RETRY_MS = 20;
const TO = { host: '127.0.0.1', port: 1 };

/** A client that stores values of its own, as many as it likes. */
class Putter {
  readonly #socket: Socket;
  readonly #server: DhtServer;
  readonly #pair = keyPair(new Uint8Array(32).fill(9));
  readonly #target = new Uint8Array(32);
  #token: Uint8Array | null = null;
  #seq = 0;
  answers = 0;

  private constructor(socket: Socket, server: DhtServer) {
    this.#socket = socket;
    this.#server = server;
    blake2b256(this.#target, this.#pair.publicKey);
    socket.on('message', () => this.answers++);
  }

  static async open(t: TestContext, server: DhtServer): Promise<Putter> {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    t.after(() => socket.close());
    const putter = new Putter(socket, server);
    putter.#token = (await putter.get()).token;
    assert.ok(putter.#token);
    return putter;
  }

  /** Sends `count` puts, each with the next seq, and waits for nothing. */
  put(count: number): void {
    const { publicKey, secretKey } = this.#pair;
    for (let i = 0; i < count; i++) {
      const seq = ++this.#seq;
      const value = Buffer.from(`value ${seq}`);
      const signature = sign(mutableSignable(seq, value), secretKey);
      const put = encodeMutablePut({ publicKey, seq, value, signature });
      this.#send(COMMAND.MUTABLE_PUT, put, this.#token);
    }
  }

  /** Puts now and then until one is answered: the server stores. */
  async untilStored(): Promise<void> {
    const before = this.answers;
    const timer = setInterval(() => this.put(1), RETRY_MS);
    try {
      await until(() => this.answers > before, 'a put that is answered');
    } finally {
      clearInterval(timer);
    }
  }

  /** What it is told about its value; by the lane that its puts go to. */
  async get(): Promise<DhtReply> {
    this.#send(COMMAND.MUTABLE_GET, Uint8Array.of(0), null);
    const [message] = (await once(this.#socket, 'message')) as [Buffer];
    const reply = decodeReply(message);
    assert.ok(reply);
    return reply;
  }

  #send(command: number, value: Uint8Array, token: Uint8Array | null): void {
    const request = { to: TO, id: null, token, isInternal: false, command };
    const datagram = encodeRequest({ ...request, tid: 7, target: this.#target, value });
    this.#socket.send(datagram, this.#server.port, '127.0.0.1');
  }
}

async function assertBalanced(server: DhtServer): Promise<void> {
  await until(() => inFlight(server.counters()) === 0, 'the balance').catch(() => undefined);
  assert.equal(inFlight(server.counters()), 0, JSON.stringify(server.counters()));
}

/** PUTS checks that are under way at a server, whose verifier's threads wait to be released. */
async function openChecks(t: TestContext, options: Parameters<typeof dhtServer>[2]) {
  const threads = watchVerifierThreads(t, { holds: true });
  const server = await dhtServer(t, {}, options);
  const putter = await Putter.open(t, server);
  putter.put(PUTS);
  // By the second answer the lane has handed on what came before the first.
  await putter.get();
  await putter.get();
  await until(() => inFlight(server.counters()) === PUTS, 'the checks');
  return { threads, server, before: server.counters() };
}

/** Of all variants those in which most differs. */
const tested = variants().filter(({ options: { udpBackend, workers, sendFrom } }) =>
  udpBackend === 'dgram' ? workers === 1 : sendFrom === 'lane',
);

for (const { name, options, skip } of tested) {
  const test = (title: string, body: (t: TestContext) => Promise<void>): void =>
    void nodeTest(`${title}: ${name}`, { skip, timeout: TIMEOUT_MS }, body);

  test('lanes that die while checks are open: their successors answer', async (t) => {
    const { threads, server, before } = await openChecks(t, options);
    for (let lane = 0; lane < server.workers; lane++) server.killLane(lane);
    await until(() => server.counters().laneRestarts >= server.workers, 'successors');
    assert.equal(inFlight(server.counters()), PUTS, 'a lane holds nothing that is checked');
    threads.release();
    await assertBalanced(server);
    const counters = server.counters();
    assert.equal(counters.dhtChecks, PUTS);
    assert.equal(counters.dhtMutablePuts, PUTS);
    assert.equal(counters.sent - before.sent, PUTS);
    assert.equal(counters.dropLaneDied + counters.dropVerifyFailed, 0);
  });

  test('lanes that die while checks come back: the balance is exact', async (t) => {
    const server = await dhtServer(t, {}, options);
    const putter = await Putter.open(t, server);
    await putter.untilStored();
    for (let round = 0; round < ROUNDS; round++) {
      const { serving, hasSpare } = server.workerHealth();
      if (serving < server.workers || !hasSpare) {
        await until(() => server.workerHealth().hasSpare, 'a spare');
      }
      const { answers } = putter;
      const { laneRestarts } = server.counters();
      putter.put(PUTS);
      await until(() => putter.answers > answers, 'an answer');
      server.killLane(round % server.workers);
      await until(() => server.counters().laneRestarts > laneRestarts, 'a successor');
    }
    await putter.untilStored();
    await assertBalanced(server);
  });

  test('a close with checks open: they are dropped and counted', async (t) => {
    const { server, before } = await openChecks(t, options);
    await server.close();
    const counters = server.counters();
    assert.equal(inFlight(counters), 0, JSON.stringify(counters));
    // Where lanes send by themselves main may take a batch from them as late as that.
    assert.equal(counters.dropVerifyFailed + counters.dropVerifyFull, PUTS);
    assert.ok(counters.dropVerifyFailed > 0);
    assert.equal(counters.sent - before.sent, 0);
  });

  test('a close while checks come back: the balance is exact', async (t) => {
    const server = await dhtServer(t, {}, options);
    const putter = await Putter.open(t, server);
    await putter.untilStored();
    const { answers } = putter;
    putter.put(PUTS);
    await until(() => putter.answers > answers, 'an answer');
    await server.close();
    assert.equal(inFlight(server.counters()), 0, JSON.stringify(server.counters()));
  });

  test('checking threads that die again and again: the server goes on', async (t) => {
    const { started } = watchVerifierThreads(t);
    const server = await dhtServer(t, {}, options);
    const putter = await Putter.open(t, server);
    for (let round = 0; round < ROUNDS; round++) {
      await putter.untilStored();
      putter.put(PUTS);
      const { length } = started;
      await started[length - 1].terminate();
      await until(() => started.length > length, 'other threads');
      await assertBalanced(server);
    }
    await putter.untilStored();
    await assertBalanced(server);
  });
}
