import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer } from '../../../codecs/dns/client-answer.ts';
import type { DiscoveryError, Whoami } from '../../../server/discovery/types.ts';
import { Whoamis } from '../../../server/discovery/whoami.ts';

type Said = readonly [server: string, host: string | null, port: number] | null;

/** What `whoami` tells when the servers say these, in this order; null: no answer. */
function told(...said: Said[]): Whoami | string {
  let outcome: Whoami | string | null = null;
  const asking = new Whoamis(said.length, (error, self) => {
    assert.equal(outcome, null, 'once');
    outcome = self ?? (error as DiscoveryError).message;
  });
  if (said.length === 0) asking.noServers();
  for (const [index, one] of said.entries()) {
    if (one === null) asking.answered(index, new Error('silent'), null, null);
    else {
      const [address, host, port] = one;
      const answer = { host, port } as unknown as Answer;
      asking.answered(index, null, answer, { address, port: 5300 });
    }
  }
  assert.notEqual(outcome, null);
  return outcome ?? '';
}

const A = '192.0.2.1';
const B = '192.0.2.2';
const V6 = '2001:db8::53';
const ME = '203.0.113.9';

test('two servers that see the same port tell it; other ports make it 0', () => {
  assert.deepEqual(told([A, ME, 4242], [B, ME, 4242]), { port: 4242, host: ME });
  assert.deepEqual(told([A, ME, 4242], [B, ME, 4243]), { port: 0, host: ME });
  assert.deepEqual(told([A, ME, 4242], null, [B, ME, 4242]), { port: 4242, host: ME });
});

test('one answer tells the host alone, and so does one server asked twice', () => {
  assert.deepEqual(told([A, ME, 4242]), { port: 0, host: ME });
  assert.deepEqual(told([A, ME, 4242], null), { port: 0, host: ME });
  assert.deepEqual(told([A, ME, 4242], [A, ME, 4242]), { port: 0, host: ME });
});

test('servers that see other hosts are inconsistent, unless they are of two families', () => {
  assert.equal(told([A, ME, 1], [B, '203.0.113.10', 1]), 'Inconsistent remote port/host');
  assert.deepEqual(told([V6, '2001:db8::9', 1], [A, ME, 2]), { port: 0, host: ME });
  assert.deepEqual(told([V6, '2001:db8::9', 1], [A, ME, 2], [B, ME, 2]), { port: 2, host: ME });
});

test('nobody who could tell: Probe failed', () => {
  assert.equal(told(), 'Probe failed');
  assert.equal(told(null, null), 'Probe failed');
  assert.equal(told([A, null, -1]), 'Probe failed');
});
