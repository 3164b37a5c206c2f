/**
 * Half a million mutated datagrams at live nodes of the DHT, with tokens that hold, and a good
 * client in between that is always answered. FLOOD_DATAGRAMS sets another number for all nodes
 * together, FUZZ_SEED another seed.
 */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { COMMAND, INTERNAL } from '../../codecs/dht/constants.ts';
import {
  type DhtReply,
  type DhtRequest,
  decodeReply,
  decodeRequest,
  encodeRequest,
} from '../../codecs/dht/message.ts';
import { variants } from '../helpers/appliance.ts';
import { FUZZ_SEED, mutate, Rng } from '../helpers/dns-bytes.ts';
import { ServeProcess } from '../helpers/serve-process.ts';

const FLOODED = variants().filter(({ options }) => options.workers <= 1);
const DATAGRAMS = Math.ceil(Number(process.env.FLOOD_DATAGRAMS ?? 500_000) / FLOODED.length);
/** Fewer than any default receive buffer holds: the good client's question is never crowded out. */
const BURST = 100;
const BURSTS = Math.max(2, Math.ceil(DATAGRAMS / BURST));
/** Bursts before memory is first read: code compiled, stores and queues filled. */
const WARM_BURSTS = Math.ceil(BURSTS / 2);
const MEMORY_BYTES = 24 * 1024 * 1024;
const TIMEOUT_MS = 240_000;
const VECTORS = ['dht-rpc-6.27.0', 'dht-rpc-5.0.6', 'hyperdht-6.34.0'];

/** A socket that asks one request at a time and resends it, as clients do. */
class Asker {
  readonly socket: Socket;
  readonly #port: number;
  #tid = 1;
  #answered: ((reply: DhtReply) => void) | null = null;

  private constructor(socket: Socket, port: number) {
    this.socket = socket;
    this.#port = port;
    socket.on('message', (bytes) => {
      const reply = decodeReply(bytes);
      if (reply !== null && reply.tid === this.#tid) this.#answered?.(reply);
    });
  }

  static async open(t: TestContext, port: number): Promise<Asker> {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    t.after(() => socket.close());
    await once(socket, 'listening');
    return new Asker(socket, port);
  }

  ask(fields: Partial<DhtRequest>): Promise<DhtReply> {
    this.#tid = (this.#tid % 0xffff) + 1;
    const to = { host: '127.0.0.1', port: this.#port };
    const empty = { to, id: null, token: null, isInternal: false, target: null, value: null };
    const request = encodeRequest({ command: 0, ...empty, ...fields, tid: this.#tid });
    return new Promise((resolve) => {
      const again = setInterval(() => this.send(request), 1000);
      this.#answered = (reply) => {
        clearInterval(again);
        resolve(reply);
      };
      this.send(request);
    });
  }

  send(bytes: Uint8Array): void {
    this.socket.send(bytes, this.#port, '127.0.0.1');
  }
}

/** All recorded datagrams; requests that need a token with the one given. */
function corpus(token: Uint8Array): Uint8Array[] {
  return VECTORS.flatMap((name) => {
    const url = new URL(`../vectors/${name}.json`, import.meta.url);
    const file = JSON.parse(readFileSync(url, 'utf8')) as { hex: string }[] & {
      datagrams?: { hex: string }[];
    };
    return (file.datagrams ?? file).map(({ hex }) => {
      const bytes = Buffer.from(hex, 'hex');
      const request = decodeRequest(bytes);
      return request === null || request.token === null
        ? bytes
        : encodeRequest({ ...request, token });
    });
  });
}

for (const { name, options, skip } of FLOODED) {
  const isLinux = process.platform === 'linux';
  const title = `${DATAGRAMS} mutated datagrams, good client answered, memory flat: ${name}`;
  test(title, { skip: skip || (!isLinux && 'reads /proc'), timeout: TIMEOUT_MS }, async (t) => {
    const { udpBackend, workers, sendFrom } = options;
    const where = ['--dns', 'off', '--dht', '127.0.0.1:0', '--udp-backend', udpBackend];
    const how = ['--workers', `${workers}`, '--send-from', sendFrom, '--rate-limit', 'off'];
    const server = new ServeProcess(t, ['serve', ...where, ...how], { WAYPOST_DHT: undefined });
    const port = Number(/:(\d+) udp/.exec(await server.line(/^dht 127/))?.[1]);
    const good = await Asker.open(t, port);
    const flooder = await Asker.open(t, port);
    const target = new Uint8Array(32);
    const { token } = await flooder.ask({ command: COMMAND.LOOKUP, target });
    assert.ok(token !== null);
    const seeds = corpus(token);
    const rng = new Rng(FUZZ_SEED);
    let before = Number.NaN;
    for (let burst = 0; burst < BURSTS; burst++) {
      for (let i = 0; i < BURST; i++) flooder.send(mutate(seeds[rng.below(seeds.length)], rng));
      const { error } = await good.ask({ command: INTERNAL.PING, isInternal: true });
      assert.equal(error, 0, `burst ${burst}, seed ${FUZZ_SEED}`);
      if (burst === WARM_BURSTS) before = server.residentBytes();
    }
    const grown = server.residentBytes() - before;
    assert.ok(grown <= MEMORY_BYTES, `memory grew by ${grown} bytes`);
    t.diagnostic(`memory grew by ${(grown / 1024).toFixed(0)} KiB`);
    const { code } = await server.stop('SIGTERM');
    assert.equal(code, 0, server.lines.join('\n'));
  });
}
