/**
 * Every recorded query of npm dns-discovery 6.2.3's client, sent to a live server of each variant
 * over TCP and over UDP: each answer means what the recorded one does. Over UDP the pushes come and
 * are acknowledged too.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { TEST_LIMITS, type TestServer, testServer, variants } from '../helpers/appliance.ts';
import type { Asker } from '../helpers/asker.ts';
import { DOMAIN, decodePacket, type Packet } from '../helpers/lane-harness.ts';
import {
  assertBetter,
  assertSameMeaning,
  bytesOf,
  CROWDS,
  FIRST_CROWD_PORT,
  kindOf,
  RECORDED,
  type Recorded,
  withToken,
} from '../helpers/recorded.ts';
import { settled } from '../helpers/settled.ts';
import { TcpAsker } from '../helpers/tcp-asker.ts';
import { until } from '../helpers/tcp-client.ts';
import { UdpAsker } from '../helpers/udp-asker.ts';

const TIMEOUT_MS = 60_000;
const LARGEST_CROWD = Math.max(...CROWDS.map(([, count]) => count));

/** One client of the recording: its socket or connection to our server. */
interface Client {
  readonly asker: Asker;
  readonly token: string;
  /** What it was sent unasked; none over TCP. */
  readonly pushes: Buffer[];
}

/** The crowds of the recording, each peer with an address of its own. */
async function seedCrowds(t: TestContext, { port }: TestServer): Promise<void> {
  for (let i = 0; i < LARGEST_CROWD; i++) {
    const asker = await UdpAsker.open(t, port, { from: `127.1.0.${i + 1}` });
    const token = await asker.token();
    for (const [id, count] of CROWDS) {
      const strings = [`token=${token}`, `announce=${FIRST_CROWD_PORT + i}`];
      if (i < count) await asker.ask({ name: `${id}.${DOMAIN}`, strings });
    }
  }
}

class LiveReplay {
  readonly #t: TestContext;
  readonly #server: TestServer;
  readonly #transport: 'udp' | 'tcp';
  readonly #clients = new Map<string, Client>();
  readonly #answers = new Map<string, { packet: Packet; port: number }>();
  readonly accounted: Record<string, number> = {};

  constructor(t: TestContext, server: TestServer, transport: 'udp' | 'tcp') {
    this.#t = t;
    this.#server = server;
    this.#transport = transport;
  }

  async play(recorded: Recorded): Promise<void> {
    const kind = kindOf(recorded);
    if (kind === 'multicast') return;
    const isPushing = kind === 'push' || kind === 'acknowledgement';
    if (isPushing && this.#transport === 'tcp') return;
    this.accounted[kind] = (this.accounted[kind] ?? 0) + 1;
    if (kind === 'query') await this.#query(recorded);
    else if (kind === 'push') await this.#push(recorded);
    else if (kind === 'acknowledgement') await this.#acknowledge(recorded);
    else this.#compare(recorded, kind === 'defective');
  }

  async #client(src: string): Promise<Client> {
    const known = this.#clients.get(src);
    if (known !== undefined) return known;
    const { port } = this.#server;
    const isUdp = this.#transport === 'udp';
    const asker = await (isUdp ? UdpAsker : TcpAsker).open(this.#t, port);
    const pushes = asker instanceof UdpAsker ? asker.keepPushes() : [];
    const client = { asker, token: await asker.token(), pushes };
    this.#clients.set(src, client);
    return client;
  }

  async #query(recorded: Recorded): Promise<void> {
    const { asker, token } = await this.#client(recorded.src);
    const query = withToken(bytesOf(recorded), () => token);
    const packet = decodePacket(await asker.exchange(query));
    const answer = { packet, port: asker.localPort };
    this.#answers.set(`${recorded.src} ${query.readUInt16BE(0)}`, answer);
  }

  #compare(recorded: Recorded, isDefective: boolean): void {
    const theirs = bytesOf(recorded);
    const ours = this.#answers.get(`${recorded.dst} ${theirs.readUInt16BE(0)}`);
    assert.ok(ours, `${recorded.name}: nothing of ours to compare`);
    if (isDefective) {
      assertBetter(ours.packet);
      return;
    }
    const isTcp = this.#transport === 'tcp';
    assertSameMeaning(ours.packet, decodePacket(theirs), recorded, {
      port: ours.port,
      crowdsElsewhere: true,
      ...(isTcp ? { services: CROWDS[0][1] } : {}),
    });
  }

  async #push(recorded: Recorded): Promise<void> {
    const { pushes } = await this.#client(recorded.dst);
    await until(() => pushes.length > 0, `a push to ${recorded.dst}`);
    assert.deepEqual(pushes[0].subarray(2), bytesOf(recorded).subarray(2), 'but for the id');
  }

  async #acknowledge(recorded: Recorded): Promise<void> {
    const { asker, pushes } = await this.#client(recorded.src);
    const bytes = bytesOf(recorded);
    bytes.set(pushes[0].subarray(0, 2));
    assert.ok(asker instanceof UdpAsker);
    const before = this.#server.counters().absorbed;
    asker.send(bytes);
    await until(() => this.#server.counters().absorbed === before + 1, 'the acknowledgement');
  }
}

async function play(
  t: TestContext,
  server: TestServer,
  transport: 'udp' | 'tcp',
): Promise<Record<string, number>> {
  const replay = new LiveReplay(t, server, transport);
  for (const recorded of RECORDED) await replay.play(recorded);
  await settled(server);
  return replay.accounted;
}

for (const { name, options, skip } of variants()) {
  test(`the recorded queries at a live server: ${name}`, {
    skip,
    timeout: TIMEOUT_MS,
  }, async (t) => {
    // The recorded client asks without a token now and then, and so do a hundred peers.
    const limits = { ...TEST_LIMITS, rateLimit: null };
    const server = await testServer(t, { ...options, limits });
    await seedCrowds(t, server);
    assert.deepEqual(await play(t, server, 'tcp'), { query: 27, response: 20, defective: 26 });
    // What the recording leaves behind: the second replay begins as the first did.
    const asker = await TcpAsker.open(t, server.port);
    const strings = [`token=${await asker.token()}`, 'unannounce=8080'];
    await asker.ask({ name: `vec-name.${DOMAIN}`, strings });
    assert.deepEqual(await play(t, server, 'udp'), {
      query: 27,
      response: 20,
      push: 2,
      acknowledgement: 2,
      defective: 26,
    });
  });
}
