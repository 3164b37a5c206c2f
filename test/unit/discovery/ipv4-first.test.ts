import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ipv4First } from '../../../server/discovery/multicast/ipv4-first.ts';
import { FakeClock } from '../../helpers/tcp-client.ts';

const V4 = '192.0.2.1';
const V6 = 'fe80::1%eth0';

function house() {
  const clock = new FakeClock();
  const first = new Ipv4First(clock);
  const told: string[] = [];
  const hear = (token: string | null, address: string) =>
    first.heard(token, address, () => told.push(`${token} ${address}`));
  return { clock, first, told, hear };
}

test('an announcer heard over both families is told by IPv4 only, whichever comes first', () => {
  const { clock, told, hear } = house();
  hear('a', V6);
  clock.advance(100);
  hear('a', V4);
  hear('b', V4);
  hear('b', V6);
  clock.advance(1000);
  hear('b', V6);
  clock.advance(1000);
  assert.deepEqual(told, [`a ${V4}`, `b ${V4}`]);
});

test('one that is heard over IPv6 alone is told after a quarter of a second', () => {
  const { clock, told, hear } = house();
  hear('a', V6);
  clock.advance(249);
  assert.deepEqual(told, []);
  clock.advance(1);
  assert.deepEqual(told, [`a ${V6}`]);
});

test('one that was heard over IPv4 long ago is told over IPv6 again', () => {
  const { clock, told, hear } = house();
  hear('a', V4);
  clock.advance(60_000);
  hear('a', V6);
  clock.advance(250);
  assert.deepEqual(told, [`a ${V4}`, `a ${V6}`]);
});

test('what has no token is told at once', () => {
  const { told, hear } = house();
  hear(null, V6);
  assert.deepEqual(told, [`null ${V6}`]);
});

test('a crowd grows neither the list nor the wait', () => {
  const { clock, told, hear } = house();
  for (let i = 0; i < 2000; i++) hear(`v4-${i}`, V4);
  told.length = 0;
  for (let i = 0; i < 300; i++) hear(`v6-${i}`, V6);
  assert.equal(clock.timers, 256);
  assert.equal(told.length, 300 - 256);
  hear('v4-1999', V6);
  hear('v4-0', V6);
  assert.equal(told.at(-1), `v4-0 ${V6}`, 'the oldest was forgotten');
});

test('after clear nothing is told', () => {
  const { clock, first, told, hear } = house();
  hear('a', V6);
  first.clear();
  clock.advance(1000);
  assert.deepEqual(told, []);
});
