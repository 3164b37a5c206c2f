/**
 * A million mutated datagrams at live servers, with a good client in between that is always
 * answered; and mutated messages by TCP. FLOOD_DATAGRAMS sets another number for all servers
 * together, FUZZ_SEED another seed.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { HEADER_BYTES } from '../../codecs/dns/constants.ts';
import { TEST_LIMITS, testServer, type Variant, variants } from '../helpers/appliance.ts';
import type { Asker } from '../helpers/asker.ts';
import { FUZZ_SEED, loadVectors, mutate, Rng } from '../helpers/dns-bytes.ts';
import { DOMAIN, queryBytes, txtOf } from '../helpers/lane-harness.ts';
import { ServeProcess } from '../helpers/serve-process.ts';
import { settled } from '../helpers/settled.ts';
import { TcpAsker } from '../helpers/tcp-asker.ts';
import { frame, until } from '../helpers/tcp-client.ts';
import { UdpAsker } from '../helpers/udp-asker.ts';

const FLOODED = variants().filter(({ options }) => options.workers <= 1);
const FLOODED_BY_TCP = FLOODED.filter(({ options }) => options.udpBackend === 'dgram');
const DATAGRAMS = Math.ceil(Number(process.env.FLOOD_DATAGRAMS ?? 1_000_000) / FLOODED.length);
/** By TCP each message costs more, most of it here. */
const MESSAGES = Math.ceil(DATAGRAMS / 4);
/** Fewer than any default receive buffer holds: the good client's question is never crowded out. */
const BURST = 100;
const MEMORY_BYTES = 16 * 1024 * 1024;
const BURSTS = Math.max(2, Math.ceil(DATAGRAMS / BURST));
/** Bursts before memory is first read: code compiled, buffers grown, caches full. */
const WARM_BURSTS = Math.min(500, Math.ceil(BURSTS / 4));
const TIMEOUT_MS = 240_000;

/** Real queries of every kind, with a token that holds for the flooder, so that mutants get far. */
function corpus(token: string): Uint8Array[] {
  const recorded = loadVectors()
    .filter((vector) => vector.direction === 'client->server')
    .map((vector) => Buffer.from(vector.hex, 'hex'));
  const name = `app.${DOMAIN}`;
  const strings = [`token=${token}`, 'subscribe=true', 'announce=80', 'unannounce=81'];
  const cookie = Uint8Array.from({ length: 24 }, (_, i) => i);
  return [
    ...recorded,
    queryBytes({ name, strings }),
    queryBytes({ name, strings, edns: 1232 }),
    queryBytes({ name, type: 'SRV', edns: 4096, cookie, nsid: true }),
    queryBytes({ name: DOMAIN, type: 'SOA' }),
  ];
}

async function assertAnswered(good: Asker, burst: number): Promise<void> {
  const reply = await good.ask({ name: DOMAIN });
  assert.equal(txtOf(reply).get('host'), '127.0.0.1', `burst ${burst}, seed ${FUZZ_SEED}`);
}

function serve(t: TestContext, { udpBackend, workers, sendFrom }: Variant['options']) {
  const where = ['--dns', '127.0.0.1:0', '--udp-backend', udpBackend];
  const threads = ['--workers', `${workers}`, '--send-from', sendFrom];
  // What is flooded are the decoders: nothing is to be dropped before.
  return ServeProcess.serve(t, ...where, ...threads, '--rate-limit', 'off');
}

for (const { name, options, skip } of FLOODED) {
  const isLinux = process.platform === 'linux';
  const title = `${DATAGRAMS} mutated datagrams, good client answered, memory flat: ${name}`;
  test(title, { skip: skip || (!isLinux && 'reads /proc'), timeout: TIMEOUT_MS }, async (t) => {
    const server = await serve(t, options);
    const good = await UdpAsker.open(t, server.port());
    const flooder = await UdpAsker.open(t, server.port());
    // Answers to mutants are not read one by one; the socket drops what does not fit.
    const seeds = corpus(await flooder.token());
    const rng = new Rng(FUZZ_SEED);
    let before = Number.NaN;
    for (let burst = 0; burst < BURSTS; burst++) {
      for (let i = 0; i < BURST; i++) {
        flooder.send(mutate(seeds[rng.below(seeds.length)], rng));
      }
      await assertAnswered(good, burst);
      if (burst === WARM_BURSTS) before = server.residentBytes();
    }
    const grown = server.residentBytes() - before;
    assert.ok(grown <= MEMORY_BYTES, `memory grew by ${grown} bytes`);
    t.diagnostic(`memory grew by ${(grown / 1024).toFixed(0)} KiB`);
    const { code } = await server.stop('SIGTERM');
    assert.equal(code, 0, server.lines.join('\n'));
  });
}

/** A connection that takes any bytes, made anew when the server has closed it. */
class TcpFlooder {
  readonly #t: TestContext;
  readonly #port: number;
  #socket: Socket | null = null;
  connections = 0;

  constructor(t: TestContext, port: number) {
    this.#t = t;
    this.#port = port;
  }

  async send(bytes: Uint8Array): Promise<void> {
    const socket = this.#socket ?? (await this.#connect());
    // Answers are read and thrown away: unread ones would stop the server's reading.
    if (socket.write(bytes)) return;
    await new Promise((resolve) => socket.once('drain', resolve).once('close', resolve));
  }

  end(): void {
    this.#socket?.destroy();
    this.#socket = null;
  }

  async #connect(): Promise<Socket> {
    const socket = createConnection({ port: this.#port, host: '127.0.0.1' });
    this.#t.after(() => socket.destroy());
    socket.resume();
    const gone = () => {
      if (this.#socket === socket) this.end();
    };
    socket.on('error', gone).on('end', gone).on('close', gone);
    await once(socket, 'connect');
    this.connections++;
    this.#socket = socket;
    return socket;
  }
}

/**
 * Mutants that are long enough for a message, each in its frame; every fourth time the frame of the
 * last one is mutated too, which ends the connection or swallows what follows.
 */
function mutatedFrames(seeds: readonly Uint8Array[], rng: Rng): Buffer {
  const frames: Uint8Array[] = [];
  while (frames.length < BURST) {
    const mutant = mutate(seeds[rng.below(seeds.length)], rng);
    if (mutant.length >= HEADER_BYTES) frames.push(frame(mutant));
  }
  if (rng.below(4) === 0) frames.push(mutate(frame(seeds[rng.below(seeds.length)]), rng));
  return Buffer.concat(frames);
}

for (const { name, options, skip } of FLOODED_BY_TCP) {
  const title = `${MESSAGES} mutated messages by TCP, good client answered: ${name}`;
  test(title, { skip, timeout: TIMEOUT_MS }, async (t) => {
    const limits = { ...TEST_LIMITS, rateLimit: null };
    const server = await testServer(t, { ...options, limits });
    const good = await TcpAsker.open(t, server.port);
    const flooder = new TcpFlooder(t, server.port);
    const seeds = corpus(await good.token());
    const rng = new Rng(FUZZ_SEED);
    for (let burst = 0; burst * BURST < MESSAGES; burst++) {
      await flooder.send(mutatedFrames(seeds, rng));
      await assertAnswered(good, burst);
      // A mutated frame that promises more than it has swallows what follows: begin afresh.
      if (rng.below(8) === 0) flooder.end();
    }
    flooder.end();
    const opened = flooder.connections + 1;
    await until(() => server.counters().tcpAccepted === opened, `${opened} connections`);
    await settled(server);
    const { received, tcpAccepted, tcpMalformed } = server.counters();
    assert.ok(received > MESSAGES / 2, `${received} messages arrived`);
    t.diagnostic(`${received} messages, ${tcpAccepted} connections, ${tcpMalformed} malformed`);
  });
}
