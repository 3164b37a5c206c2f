import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { clientOptions, ignoredAnnounceFlags } from '../../../server/options/client.ts';
import { dhtBootstrapOptions, dhtNodeOptions } from '../../../server/options/dht.ts';
import { optionsTable } from '../../../server/options/docs.ts';
import { ignoredListenFlags, listenOptions } from '../../../server/options/listen.ts';
import type { OptionGroup } from '../../../server/options/option.ts';
import { serveOptions } from '../../../server/options/serve.ts';

const README = new URL('../../../README.md', import.meta.url);

function withTable(text: string, name: string, group: OptionGroup): string {
  const begin = `<!-- options of ${name} -->`;
  const end = `<!-- end of options of ${name} -->`;
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  assert.ok(from >= 0 && to > from, `README.md has no place for the options of ${name}`);
  return `${text.slice(0, from)}${begin}\n${optionsTable(group)}\n${text.slice(to)}`;
}

// After a change of an option: UPDATE_README=1 node test/run.mjs test/unit/options/readme.test.ts
test('the tables of options in README.md are those of the code', () => {
  const text = readFileSync(README, 'utf8');
  const serve = withTable(text, 'serve', serveOptions);
  const listen = withTable(serve, 'listen', listenOptions);
  const clients = withTable(listen, 'the clients', clientOptions);
  const bootstrap = withTable(clients, 'dht bootstrap', dhtBootstrapOptions);
  const expected = withTable(bootstrap, 'dht node', dhtNodeOptions);
  if (process.env.UPDATE_README) writeFileSync(README, expected);
  else assert.equal(text, expected, 'run it with UPDATE_README=1');
});

test('README.md names the flags that listen takes and ignores', () => {
  const text = readFileSync(README, 'utf8');
  for (const { flag } of ignoredListenFlags) assert.ok(text.includes(`\`${flag}\``), flag);
});

test('the package holds what README.md links to', () => {
  const text = readFileSync(README, 'utf8');
  const manifest = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  const { files } = JSON.parse(manifest) as { files: string[] };
  // npm ships this one anyway.
  const shipped = [...files, 'LICENSE'];
  const links = Array.from(text.matchAll(/\]\((?!https:)(.*?)\)/g), ([, link]) => link);
  assert.ok(links.includes('CONTRIBUTING.md'), links.join(' '));
  for (const link of links) {
    const isIn = (name: string) => name === link || (name.endsWith('/') && link.startsWith(name));
    assert.ok(shipped.some(isIn), link);
  }
});

test('README.md names the flags that the client commands take and ignore', () => {
  const text = readFileSync(README, 'utf8');
  for (const { flag } of ignoredAnnounceFlags) assert.ok(text.includes(`\`${flag}\``), flag);
});

test('a cell cannot break its table', () => {
  const entry = { ...serveOptions.udpBackend, help: 'a | b' };
  const row = optionsTable({ udpBackend: entry }).split('\n').at(-1) ?? '';
  assert.equal(row.split(/(?<!\\)\|/).length, 6);
});
