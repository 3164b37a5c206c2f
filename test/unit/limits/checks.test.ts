import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cidrList, replyRate } from '../../../server/limits/checks.ts';

test('a rate is a whole number or off', () => {
  assert.equal(replyRate().parse('200'), 200);
  assert.equal(replyRate().parse('1000000'), 1_000_000);
  assert.equal(replyRate().parse('off'), null);
  for (const text of ['0', '1000001', '-1', '1.5', '1e3', '', 'OFF', '99999999']) {
    const { error } = replyRate().safeParse(text);
    assert.equal(
      error?.issues[0]?.message,
      'expected whole replies per second, 1 to 1000000, or off',
    );
  }
});

test('networks are read, what is wrong with one is said', () => {
  assert.equal(cidrList().parse('192.0.2.0/24,::1').count, 2);
  assert.equal(cidrList().parse('').count, 0);
  const { error } = cidrList().safeParse('192.0.2.0/99');
  assert.match(error?.issues[0]?.message ?? '', /"192\.0\.2\.0\/99".*0 to 32/);
});
