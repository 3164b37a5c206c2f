import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_POINTER_HOPS } from '../../../codecs/dns/constants.ts';
import { DomainTable, MAX_DOMAIN_BYTES, MAX_DOMAINS } from '../../../codecs/dns/domains.ts';
import { FOLD, FoldedName, nameEquals, skipName } from '../../../codecs/dns/name.ts';
import { decodeName, encodeName } from '../../../codecs/dns/text.ts';

function fold(text: string, maxLabelBytes = 64): FoldedName {
  const name = new FoldedName();
  const wire = encodeName(text, maxLabelBytes);
  assert.equal(name.read(wire, 0, wire.length), wire.length);
  return name;
}

function match(table: DomainTable, text: string): [number, string] {
  const name = fold(text);
  const index = table.match(name);
  return [index, decodeName(name.folded, 0, name.keyEnd) ?? 'malformed'];
}

test('folding changes A-Z only', () => {
  for (let byte = 0; byte < 256; byte++) {
    const isUpper = byte >= 65 && byte <= 90;
    assert.equal(FOLD[byte], isUpper ? byte + 32 : byte);
  }
});

test('FoldedName folds, marks labels and stops behind the root', () => {
  const name = fold('Test-APP.dns-discovery.LOCAL');
  assert.equal(decodeName(name.folded, 0, name.end), 'test-app.dns-discovery.local');
  assert.equal(name.labelCount, 3);
  assert.deepEqual([...name.labelStarts.subarray(0, 3)], [0, 9, 23]);
  assert.equal(name.folded[name.end], 0);
});

test('FoldedName: the root, 64-byte labels, 255 bytes; not 65, not pointers, not 256', () => {
  const name = new FoldedName();
  assert.equal(name.read(Uint8Array.of(0), 0, 1), 1);
  assert.equal(name.labelCount, 0);
  const label64 = Uint8Array.from([64, ...Array(64).fill(0x41), 0]);
  assert.equal(name.read(label64, 0, label64.length), 66);
  assert.equal(name.folded[1], 0x61);
  for (const length of [65, 0x80, 0xbf, 0xc0, 0xff]) {
    const bytes = Uint8Array.from([length, ...Array(300).fill(0x41), 0]);
    assert.equal(name.read(bytes, 0, bytes.length), -1, `${length}`);
  }
  const longest = encodeName(
    `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`,
  );
  assert.equal(longest.length, 255);
  assert.equal(name.read(longest, 0, 255), 255);
  const over = Uint8Array.from([1, 0x61, ...longest]);
  assert.equal(name.read(over, 0, over.length), -1);
  for (let cut = 0; cut < 255; cut++) assert.equal(name.read(longest, 0, cut), -1, `cut ${cut}`);
  const ones = Uint8Array.from([...Array(127).fill([1, 0x61]).flat(), 0]);
  assert.equal(name.read(ones, 0, 255), 255);
  assert.equal(name.labelCount, 127);
});

/** A message of 12 header bytes, then the parts. */
function message(...parts: (number[] | Uint8Array)[]): Uint8Array {
  return Uint8Array.from([...Array(12).fill(0), ...parts.flatMap((part) => [...part])]);
}

test('skipName takes pointers backwards only and never into the header', () => {
  const bytes = message(encodeName('a.b'), [1, 0x78, 0xc0, 14], [0xc0, 12], [0xc0, 21], [0xc0, 0]);
  assert.equal(skipName(bytes, 12, 0, bytes.length), 17);
  assert.equal(skipName(bytes, 17, 0, bytes.length), 21);
  assert.equal(skipName(bytes, 21, 0, bytes.length), 23);
  assert.equal(skipName(bytes, 23, 0, bytes.length), 25, 'a pointer to a pointer');
  assert.equal(skipName(bytes, 25, 0, bytes.length), -1, 'into the header');
  assert.equal(skipName(message([0xc0, 12]), 12, 0, 14), -1, 'to itself');
  assert.equal(skipName(message([1, 97, 0xc0, 12]), 12, 0, 16), -1, 'to its own start');
  assert.equal(skipName(message([0xc0, 14, 0]), 12, 0, 15), -1, 'forwards');
  assert.equal(skipName(message([0], [0xc0, 12]), 13, 0, 14), -1, 'half a pointer');
  assert.equal(skipName(message([0x40, ...Array(64).fill(97), 0]), 12, 0, 78), 78, '64 bytes');
  assert.equal(skipName(message([0x41, ...Array(65).fill(97), 0]), 12, 0, 79), -1, '65 bytes');
});

test('skipName: 255 bytes before a pointer or the root, not one more', () => {
  const label = [63, ...Array(63).fill(97)];
  const before = [...label, ...label, ...label, 61, ...Array(61).fill(98)];
  const fits = message([0], before, [0]);
  assert.equal(skipName(fits, 13, 0, fits.length), fits.length);
  const over = message([0], label, label, label, [62, ...Array(62).fill(98)], [0]);
  assert.equal(skipName(over, 13, 0, over.length), -1);
  const pointer = message([0], before, [0xc0, 12]);
  assert.equal(skipName(pointer, 13, 0, pointer.length), pointer.length);
});

test('nameEquals bounds the hops', () => {
  const name = new FoldedName();
  name.read(Uint8Array.of(0), 0, 1);
  const chain = [0];
  for (let hop = 0; hop <= MAX_POINTER_HOPS; hop++) chain.push(0xc0, hop === 0 ? 12 : 11 + 2 * hop);
  const bytes = message(chain);
  const end = bytes.length;
  const equals = (offset: number): boolean =>
    nameEquals(bytes, offset, 0, end, name.folded, 0, name.end);
  assert.equal(equals(end - 4), true, 'as many as allowed');
  assert.equal(equals(end - 2), false, 'one more');
});

test('nameEquals ignores case, follows pointers, needs the whole name', () => {
  const name = fold('vec.dns-discovery.local');
  const bytes = message(encodeName('VEC.dns-Discovery.local'), [3, 0x56, 0x65, 0x63, 0xc0, 16]);
  const equals = (offset: number): boolean =>
    nameEquals(bytes, offset, 0, bytes.length, name.folded, 0, name.end);
  assert.equal(equals(12), true);
  assert.equal(equals(37), true);
  assert.equal(equals(16), false, 'a suffix');
  for (const other of [
    'vec.dns-discovery',
    'vec.dns-discovery.local.x',
    'vecdns-discovery.local',
  ]) {
    const wire = message(encodeName(other));
    assert.equal(nameEquals(wire, 12, 0, wire.length, name.folded, 0, name.end), false, other);
  }
  for (let end = 12; end < 37; end++) {
    assert.equal(nameEquals(bytes, 12, 0, end, name.folded, 0, name.end), false, 'cut off');
  }
  assert.equal(nameEquals(bytes, 37, 0, 42, name.folded, 0, name.end), false, 'half a pointer');
  const looping = message([3, 0x76, 0x65, 0x63, 0xc0, 12]);
  assert.equal(nameEquals(looping, 12, 0, looping.length, name.folded, 0, name.end), false);
});

test('DomainTable matches case-insensitive suffixes on label boundaries', () => {
  const table = new DomainTable(['dns-discovery.local', 'A.b.c.d', 'b.c.d', 'single']);
  assert.deepEqual(match(table, 'x.dns-discovery.local'), [0, 'x']);
  assert.deepEqual(match(table, 'X.Y.DNS-discovery.LOCAL'), [0, 'x.y']);
  assert.deepEqual(match(table, 'dns-discovery.local'), [0, '.']);
  assert.deepEqual(match(table, 'xdns-discovery.local'), [-1, '.']);
  assert.deepEqual(match(table, 'local'), [0, 'local'], 'a single label under the default domain');
  assert.deepEqual(match(table, 'test-app'), [0, 'test-app']);
  assert.deepEqual(match(table, 'single'), [3, '.'], 'but a domain is itself');
  assert.deepEqual(match(table, 'x.single'), [3, 'x']);
  assert.deepEqual(match(table, 'x.a.B.c.d'), [1, 'x'], 'the longest wins');
  assert.deepEqual(match(table, 'a.b.c.d'), [1, '.']);
  assert.deepEqual(match(table, 'x.b.c.d'), [2, 'x']);
  assert.deepEqual(match(table, 'c.d'), [-1, '.']);
  assert.deepEqual(match(table, 'x.other.domain'), [-1, '.']);
  const root = new FoldedName();
  root.read(Uint8Array.of(0), 0, 1);
  assert.equal(table.match(root), -1);
  assert.equal(table.names[1], 'A.b.c.d');
});

test('a label boundary is where the name has one, not where the bytes look like one', () => {
  const table = new DomainTable(['b.c']);
  const name = new FoldedName();
  // Labels "\1b\1c" behind a length that covers them: the same bytes, no boundary.
  const wire = Uint8Array.of(5, 0x61, 1, 0x62, 1, 0x63, 1, 0x63, 0);
  assert.equal(name.read(wire, 0, wire.length), wire.length);
  assert.equal(table.match(name), -1);
});

test('DomainTable says what is wrong with a domain', () => {
  const fails: [string[], RegExp][] = [
    [[], /0 domains: expected 1 to 64/],
    [Array.from({ length: MAX_DOMAINS + 1 }, (_, i) => `d${i}`), /65 domains/],
    [[''], /at least one label/],
    [['.'], /at least one label/],
    [['a..b'], /label of 0 bytes: expected 1 to 63/],
    [['.a'], /label of 0 bytes/],
    [[`${'x'.repeat(64)}.local`], /label of 64 bytes: expected 1 to 63/],
    [[`${'x.'.repeat(95)}x`], new RegExp(`at most ${MAX_DOMAIN_BYTES}`)],
    [['a b'], /no spaces or control characters/],
    [['a.b', 'A.B.'], /given twice/],
  ];
  for (const [domains, message] of fails) {
    assert.throws(() => new DomainTable(domains), { name: 'RangeError', message });
  }
  assert.deepEqual(new DomainTable(['a.b.']).names, ['a.b']);
});

test('encodeName and decodeName take each other back', () => {
  const texts = [
    '.',
    'a',
    'vec-name.dns-discovery.local',
    'a\\.b.c',
    'x\\\\y',
    'gr\u00fc\u00df.e',
    '\\255\\000a',
  ];
  for (const text of texts) {
    const wire = encodeName(text);
    assert.equal(decodeName(wire, 0, wire.length), text);
  }
  assert.deepEqual([...encodeName('a.bc.')], [1, 0x61, 2, 0x62, 0x63, 0]);
  assert.deepEqual([...encodeName('')], [0]);
  assert.equal(encodeName('f'.repeat(64), 64)[0], 0x40);
});

test('encodeName refuses what no name can be', () => {
  assert.throws(() => encodeName('f'.repeat(64)), /label of 64 bytes: expected 1 to 63/);
  assert.throws(() => encodeName('a..b'), /label of 0 bytes/);
  assert.throws(
    () => encodeName(`${'a'.repeat(63)}.`.repeat(4)),
    /257 bytes: expected at most 255/,
  );
  assert.throws(() => encodeName('a\\'), /lone backslash/);
  assert.throws(() => encodeName('a\\256'), /is no byte/);
});

test('decodeName is undefined for what is malformed', () => {
  assert.equal(decodeName(Uint8Array.of(3, 97, 97), 0, 3), undefined);
  assert.equal(decodeName(Uint8Array.of(0xc0, 12), 0, 2), undefined);
  assert.equal(decodeName(Uint8Array.of(65, ...Array(65).fill(97)), 0, 66), undefined);
});
