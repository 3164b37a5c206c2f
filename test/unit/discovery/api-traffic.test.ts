/**
 * Traffic is decoded for those who listen to it, and for nobody else: dns-packet costs more than
 * all the rest of a question. Its `decode` is counted: replaced before anything imports it.
 */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { type TestContext, test } from 'node:test';
import type { Discovery } from '../../../server/discovery/discovery.ts';

interface DnsPacket {
  decode(bytes: Buffer, offset?: number): unknown;
}

const packet = createRequire(import.meta.url)('dns-packet') as DnsPacket;
const { decode } = packet;
let decoded = 0;
packet.decode = Object.assign((bytes: Buffer, offset?: number) => {
  decoded++;
  return decode(bytes, offset);
}, decode);

const { discovery } = await import('../../../server/discovery/discovery.ts');

const LOOKUPS = 20;

/** A listening instance and a client of it. */
async function both(t: TestContext): Promise<{ listening: Discovery; client: Discovery }> {
  const listening = discovery({ multicast: false });
  t.after(() => listening.destroy());
  const [{ port }] = await listening.listen(0);
  const client = discovery({ server: `127.0.0.1:${port}`, multicast: false });
  t.after(() => client.destroy());
  return { listening, client };
}

test('nobody listens: nothing is decoded, by client or server', async (t) => {
  const { client } = await both(t);
  const before = decoded;
  for (let i = 0; i < LOOKUPS; i++) await client.announce('app', 1 + i);
  assert.equal((await client.lookup('app')).length, LOOKUPS);
  assert.equal(decoded - before, 0);
});

test('somebody listens: what he is told; then he leaves', async (t) => {
  const { listening, client } = await both(t);
  await client.announce('app', 1);
  for (const disc of [client, listening]) {
    let told = 0;
    const count = (): void => {
      told++;
    };
    const before = decoded;
    disc.on('traffic', count);
    await client.lookup('app');
    await client.lookup('app');
    // The last answer may be told a turn after it has been received.
    await new Promise((resolve) => setImmediate(resolve));
    disc.off('traffic', count);
    assert.equal(told, 4, disc === client ? 'client' : 'server');
    assert.equal(decoded - before, 4);
    await client.lookup('app');
    assert.equal(decoded - before, 4);
  }
});
