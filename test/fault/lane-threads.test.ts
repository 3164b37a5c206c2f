/**
 * Lanes in threads that die for real: by an exception, by exiting, out of memory, hanging, and by
 * being ended from outside again and again under load. Others lose nothing; what was confirmed is
 * still there; the counters balance.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { test as nodeTest, type TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { inFlight } from '../../workers/counters.ts';
import {
  TEST_LIMITS,
  type TestServer,
  testServer,
  type Variant,
  variants,
} from '../helpers/appliance.ts';
import { DOMAIN, peersOf, queryBytes, txtOf } from '../helpers/lane-harness.ts';
import { UdpAsker } from '../helpers/udp-asker.ts';

const TIMEOUT_MS = 300_000;
/** Kills per variant; the starting of spares is what takes the time. A full run is 1,000. */
const KILLS = Number(process.env.LANE_KILLS ?? 6);
const RECORDS = 40;
const RETRY_MS = 10;
const FAILING_LANE = new URL('./failing-lane.ts', import.meta.url);
const NO_LIMIT = { rateLimit: null };

function test(title: string, body: (t: TestContext) => Promise<void>): void {
  nodeTest(title, { timeout: TIMEOUT_MS }, body);
}

/** Message ids of `untilAnswered`: answers to an earlier call do not count. */
let nextId = 1;

/** Asks until somebody answers; the milliseconds that took. */
async function untilAnswered(asker: UdpAsker, id: string): Promise<number> {
  nextId = (nextId % 0xffff) + 1;
  const bytes = queryBytes({ name: `${id}.${DOMAIN}`, id: nextId });
  const start = performance.now();
  const timer = setInterval(() => asker.send(bytes), RETRY_MS);
  asker.send(bytes);
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS / 2);
    for (;;) {
      const [answer] = (await once(asker.socket, 'message', { signal })) as [Buffer];
      if (answer.readUInt16BE(0) === nextId) return performance.now() - start;
    }
  } finally {
    clearInterval(timer);
  }
}

/** Resolves when nothing moves any more: the counters are then exact. */
async function assertBalanced(server: TestServer): Promise<void> {
  for (let turn = 0; turn < 2000 && inFlight(server.counters()) !== 0; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  const counters = server.counters();
  assert.equal(inFlight(counters), 0, JSON.stringify(counters));
}

async function assertAllThere(t: TestContext, server: TestServer, count: number): Promise<void> {
  const asker = await UdpAsker.open(t, server.port);
  // Behind what is left of a load in the kernel's buffer, where a question could find no room.
  await untilAnswered(asker, 'other');
  for (let i = 0; i < count; i++) {
    const peers = peersOf(await asker.ask({ name: `kept${i}.${DOMAIN}` }));
    assert.deepEqual(peers, [`127.0.0.1:${1000 + i}`]);
  }
}

const threaded = variants().filter(({ options }) => options.workers === 1);

for (const { name, options, skip } of threaded) {
  for (const failure of ['throw', 'exit', 'memory', 'hang']) {
    test(`a lane that fails (${failure}) is replaced and no record is lost: ${name}`, async (t) => {
      if (skip) return t.skip(skip);
      const notices: string[] = [];
      const server = await testServer(t, {
        ...options,
        laneEntry: FAILING_LANE,
        limits: { ...TEST_LIMITS, ...NO_LIMIT },
        notice: (line) => notices.push(line),
      });
      const asker = await UdpAsker.open(t, server.port);
      await asker.announceAll('kept0', [1000]);
      asker.send(queryBytes({ name: `${failure}.${DOMAIN}` }));
      const ms = await untilAnswered(await UdpAsker.open(t, server.port), 'other');
      await assertAllThere(t, server, 1);
      await assertBalanced(server);
      const counters = server.counters();
      assert.equal(counters.laneRestarts, 1);
      assert.ok(counters.dropLaneDied >= 1);
      assert.ok(
        notices.some((line) => line.startsWith('lane 0 ended')),
        notices.join('\n'),
      );
      t.diagnostic(`answering again after ${ms.toFixed(0)} ms: ${notices.at(-1)}`);
    });
  }
}

test('a close while a lane hangs: what it held is counted, and nothing waits', async (t) => {
  const server = await testServer(t, {
    workers: 1,
    laneEntry: FAILING_LANE,
    limits: { ...TEST_LIMITS, ...NO_LIMIT },
  });
  const asker = await UdpAsker.open(t, server.port);
  await asker.ask({ name: DOMAIN });
  const before = server.counters().received;
  asker.send(queryBytes({ name: `hang.${DOMAIN}` }));
  for (let i = 0; i < 50; i++) asker.send(queryBytes({ name: DOMAIN }));
  while (server.counters().received < before + 51) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  await server.close();
  const counters = server.counters();
  assert.equal(inFlight(counters), 0, JSON.stringify(counters));
  assert.equal(counters.dropLaneDied, 51);
});

/**
 * A thread that announces as fast as it can: it has an event loop of its own, so lanes are in the
 * middle of work whenever this one acts.
 */
function startLoad(t: TestContext, port: number, token: string): void {
  const code = `
    const { workerData } = require('node:worker_threads');
    const socket = require('node:dgram').createSocket('udp4');
    const { port, template } = workerData;
    const message = Buffer.from(template);
    const name = message.indexOf('load0000');
    const announced = message.indexOf('announce=00000');
    let n = 0;
    socket.on('message', () => {});
    socket.bind(0, '127.0.0.1', function burst() {
      for (let i = 0; i < 64; i++, n++) {
        message.write(String(n % 1000).padStart(4, '0'), name + 4);
        message.write(String(1 + (n % 65535)).padStart(5, '0'), announced + 9);
        socket.send(Buffer.from(message), port, '127.0.0.1');
      }
      setTimeout(burst, 1);
    });
  `;
  const strings = [`token=${token}`, 'announce=00000'];
  const template = queryBytes({ name: `load0000.${DOMAIN}`, strings });
  const worker = new Worker(code, { eval: true, execArgv: [], workerData: { port, template } });
  t.after(async () => {
    await worker.terminate();
  });
}

/** Resolves when every lane serves and a spare waits. */
async function untilWhole(server: TestServer): Promise<void> {
  const deadline = performance.now() + TIMEOUT_MS / 2;
  for (;;) {
    const { serving, hasSpare } = server.workerHealth();
    if (serving === server.workers && hasSpare) return;
    assert.ok(performance.now() < deadline, 'no successor, or no spare');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function killAgainAndAgain(t: TestContext, { options }: Variant): Promise<void> {
  const server = await testServer(t, {
    ...options,
    limits: { ...TEST_LIMITS, ...NO_LIMIT },
  });
  const asker = await UdpAsker.open(t, server.port);
  const token = txtOf(await asker.ask({ name: DOMAIN })).get('token') ?? '';
  for (let i = 0; i < RECORDS; i++) await asker.announceAll(`kept${i}`, [1000 + i]);
  await t.test('under load', async (load) => {
    startLoad(load, server.port, token);
    const probe = await UdpAsker.open(load, server.port);
    const times: number[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      await untilWhole(server);
      const lane = kill % server.workers;
      server.killLane(lane);
      times.push(await untilAnswered(probe, `kept${lane}`));
      while (server.counters().laneRestarts <= kill) await untilAnswered(probe, 'kept0');
    }
    times.sort((a, b) => a - b);
    const at = (share: number) => times[Math.floor((times.length - 1) * share)].toFixed(1);
    const { dropLaneDied, laneRestarts } = server.counters();
    assert.equal(laneRestarts, KILLS);
    t.diagnostic(
      `${KILLS} kills, ${dropLaneDied} datagrams dropped; answering after ms: ` +
        `median ${at(0.5)}, p99 ${at(0.99)}, most ${at(1)}`,
    );
  });
  await assertBalanced(server);
  await assertAllThere(t, server, RECORDS);
}

for (const variant of variants().filter(({ options }) => options.workers > 0)) {
  test(`lanes killed ${KILLS} times under load: ${variant.name}`, async (t) => {
    if (variant.skip) return t.skip(variant.skip);
    await killAgainAndAgain(t, variant);
  });
}
