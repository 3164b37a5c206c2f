/** What the command loads before it knows what to do: help and usage errors need little. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

/** Static imports of values; those of types are gone when it runs. */
const STATIC_IMPORT = /^(?:import|export) (?!type )[^'"]*?from '([^']+)';|^import '([^']+)';/gms;

/** The files and packages that loading a file brings along. */
function loadedBy(entry: URL): Set<string> {
  const loaded = new Set<string>();
  const open = [entry];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (loaded.has(file.pathname)) continue;
    loaded.add(file.pathname);
    for (const [, from, bare] of readFileSync(file, 'utf8').matchAll(STATIC_IMPORT)) {
      const specifier = from ?? bare;
      if (specifier.startsWith('.')) open.push(new URL(specifier, file));
      else loaded.add(specifier);
    }
  }
  return loaded;
}

test('the command loads neither the server nor the client before one is asked for', () => {
  const loaded = loadedBy(new URL('../../../server/cli/main.ts', import.meta.url));
  const names = [...loaded].map((path) => path.replace(/^.*\/server\//, ''));
  assert.ok(names.includes('cli/lookup.ts') && names.includes('commander'), names.join(' '));
  for (const heavy of [
    'appliance.ts',
    'discovery/discovery.ts',
    'discovery/multicast.ts',
    'net/native/addon.ts',
    'multicast-dns',
    'sodium-native',
  ]) {
    assert.ok(!names.includes(heavy), heavy);
  }
});

test('the client commands load no server and nothing native', () => {
  const loaded = loadedBy(new URL('../../../server/discovery/discovery.ts', import.meta.url));
  const names = [...loaded].map((path) => path.replace(/^.*\/server\//, ''));
  assert.ok(names.includes('discovery/instance.ts'), names.join(' '));
  for (const heavy of ['appliance.ts', 'net/native/addon.ts', 'sodium-native', 'node-gyp-build']) {
    assert.ok(!names.includes(heavy), heavy);
  }
});
