import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { wholeNumber } from '../../../server/options/checks.ts';
import {
  announceOptions,
  lookupOptions,
  unannounceOptions,
  whoamiOptions,
} from '../../../server/options/client.ts';
import { listenOptions } from '../../../server/options/listen.ts';
import {
  type OptionGroup,
  option,
  optionKey,
  quote,
  resolveOptions,
  UsageError,
  withFallback,
} from '../../../server/options/option.ts';
import { serveOptions } from '../../../server/options/serve.ts';

const size = option({
  flag: '--box-size',
  placeholder: 'N',
  env: 'WAYPOST_BOX_SIZE',
  help: 'how many',
  fallback: '7',
  check: wholeNumber(1, 9, 'a size'),
});
const group = { boxSize: size };

describe('options: one entry per option', () => {
  test('a flag wins over its variable, the variable over the default', () => {
    const at = (flag: string | undefined, variable: string | undefined) =>
      resolveOptions(group, { boxSize: flag }, { WAYPOST_BOX_SIZE: variable }).boxSize;
    assert.deepEqual(at('3', '4'), { value: 3, source: 'flag' });
    assert.deepEqual(at(undefined, '4'), { value: 4, source: 'environment' });
    assert.deepEqual(at(undefined, undefined), { value: 7, source: 'default' });
    assert.deepEqual(at(undefined, ''), { value: 7, source: 'default' }, 'empty = not set');
  });

  test('a wrong value names the option, the value and what is allowed', () => {
    assert.throws(
      () => resolveOptions(group, { boxSize: '12' }, {}),
      new UsageError('--box-size "12": expected a size, 1 to 9'),
    );
    assert.throws(
      () => resolveOptions(group, {}, { WAYPOST_BOX_SIZE: 'x' }),
      new UsageError('WAYPOST_BOX_SIZE (the variable of --box-size) "x": expected a size, 1 to 9'),
    );
    assert.throws(() => resolveOptions(group, { boxSize: '' }, {}), UsageError, 'empty flag');
  });

  test('a wrong variable does not matter where the flag is given', () => {
    assert.equal(
      resolveOptions(group, { boxSize: '2' }, { WAYPOST_BOX_SIZE: 'x' }).boxSize.value,
      2,
    );
  });

  test('a wrong value is shown on one line and never at length', () => {
    assert.equal(quote('a\nb\u001b[31m'), '"a\\nb\\u001b[31m"');
    assert.ok(quote('x'.repeat(10_000)).length < 100);
  });

  test('another default leaves the rest alone', () => {
    const other = withFallback(size, '2');
    assert.deepEqual({ ...other, fallback: '7' }, size);
    assert.equal(resolveOptions({ boxSize: other }, {}, {}).boxSize.value, 2);
  });
});

const GROUPS: readonly (readonly [string, OptionGroup])[] = [
  ['serve', serveOptions],
  ['listen', listenOptions],
  ['announce', announceOptions],
  ['unannounce', unannounceOptions],
  ['lookup', lookupOptions],
  ['whoami', whoamiOptions],
];

describe('options: what every command has', () => {
  for (const [name, options] of GROUPS) {
    test(`${name}: keys are the flags in camel case, defaults pass their checks`, () => {
      assert.deepEqual(Object.keys(options), Object.values(options).map(optionKey));
      resolveOptions(options, {}, {});
    });

    test(`${name}: flags, short flags and variables are there once`, () => {
      for (const part of ['flag', 'short', 'env'] as const) {
        const values = Object.values(options).flatMap((entry) => entry[part] ?? []);
        assert.equal(new Set(values).size, values.length, part);
      }
    });

    test(`${name}: placeholders hold nothing that commander reads as syntax`, () => {
      for (const entry of Object.values(options))
        assert.doesNotMatch(entry.placeholder, /[[\]<> ]/);
    });

    test(`${name}: an option with a list may be repeated`, () => {
      for (const entry of Object.values(options)) {
        assert.equal(entry.repeatable ?? false, entry.placeholder.includes(',...'), entry.flag);
      }
    });
  }

  test('no variable collides with those Kubernetes makes for a Service named waypost', () => {
    const injected = /^WAYPOST_(PORT|SERVICE_)/;
    for (const [, options] of GROUPS) {
      for (const entry of Object.values(options)) assert.doesNotMatch(entry.env ?? '', injected);
    }
  });

  test('a secret is never repeated in an error', () => {
    const secret = 'c0ffee'.repeat(3);
    assert.throws(
      () => resolveOptions(serveOptions, { tokenSecret: secret }, {}),
      (error: Error) => error instanceof UsageError && !error.message.includes(secret),
    );
  });
});
