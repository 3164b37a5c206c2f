import assert from 'node:assert/strict';
import { test } from 'node:test';
import { descriptorNotice } from '../../../server/net/descriptor-limit.ts';

test('too few descriptors for the connections are told at the start, with what to do', () => {
  assert.match(descriptorNotice(4096, 1024) ?? '', /^4096 TCP .* 1024: raise .*LimitNOFILE=/);
  assert.equal(descriptorNotice(4096, 4224), null);
  assert.equal(descriptorNotice(4096, null), null);
});
