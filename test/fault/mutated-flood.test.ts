/**
 * A million mutated datagrams at a live server, with a good client in between that is always
 * answered. FLOOD_DATAGRAMS sets another number, FUZZ_SEED another seed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backends } from '../helpers/appliance.ts';
import { FUZZ_SEED, loadVectors, mutate, Rng } from '../helpers/dns-bytes.ts';
import { DOMAIN, queryBytes, txtOf } from '../helpers/lane-harness.ts';
import { ServeProcess } from '../helpers/serve-process.ts';
import { UdpAsker } from '../helpers/udp-asker.ts';

const DATAGRAMS = Number(process.env.FLOOD_DATAGRAMS ?? 1_000_000);
/** Fewer than any default receive buffer holds: the good client's question is never crowded out. */
const BURST = 100;
const MEMORY_BYTES = 16 * 1024 * 1024;
const BURSTS = Math.max(2, Math.ceil(DATAGRAMS / BURST));
/** Bursts before memory is first read: code compiled, buffers grown, caches full. */
const WARM_BURSTS = Math.min(500, Math.ceil(BURSTS / 10));

/** Real queries of every kind, with a token that holds for the flooder, so that mutants get far. */
function corpus(token: string): Uint8Array[] {
  const recorded = loadVectors()
    .filter((vector) => vector.direction === 'client->server')
    .map((vector) => Buffer.from(vector.hex, 'hex'));
  const name = `app.${DOMAIN}`;
  const strings = [`token=${token}`, 'subscribe=true', 'announce=80', 'unannounce=81'];
  return [
    ...recorded,
    queryBytes({ name, strings }),
    queryBytes({ name, strings, edns: 1232 }),
    queryBytes({ name, type: 'SRV', edns: 4096 }),
    queryBytes({ name: DOMAIN, type: 'SOA' }),
  ];
}

for (const { name: backend, skip } of backends()) {
  const isLinux = process.platform === 'linux';
  const title = `${DATAGRAMS} mutated datagrams, good client answered, memory flat: ${backend}`;
  test(title, { skip: skip || (!isLinux && 'reads /proc'), timeout: 240_000 }, async (t) => {
    const server = await ServeProcess.serve(t, '--dns', '127.0.0.1:0', '--udp-backend', backend);
    const good = await UdpAsker.open(t, server.port());
    const flooder = await UdpAsker.open(t, server.port());
    // Answers to mutants are not read one by one; the socket drops what does not fit.
    const token = txtOf(await flooder.ask({ name: DOMAIN })).get('token') ?? '';
    const seeds = corpus(token);
    const rng = new Rng(FUZZ_SEED);
    let before = Number.NaN;
    for (let burst = 0; burst < BURSTS; burst++) {
      for (let i = 0; i < BURST; i++) {
        flooder.send(mutate(seeds[rng.below(seeds.length)], rng));
      }
      const reply = await good.ask({ name: DOMAIN });
      assert.equal(txtOf(reply).get('host'), '127.0.0.1', `burst ${burst}, seed ${FUZZ_SEED}`);
      if (burst === WARM_BURSTS) before = server.residentBytes();
    }
    const grown = server.residentBytes() - before;
    assert.ok(grown <= MEMORY_BYTES, `memory grew by ${grown} bytes`);
    t.diagnostic(`memory grew by ${(grown / 1024).toFixed(0)} KiB`);
    const { code } = await server.stop('SIGTERM');
    assert.equal(code, 0, server.lines.join('\n'));
  });
}
