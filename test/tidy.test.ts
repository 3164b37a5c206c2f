/**
 * The house rules, over every file of ours: sizes, import directions, bans, dead files.
 * CONTRIBUTING.md says them in words; test/helpers/tidy-rules.ts holds them.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { reachableFrom } from './helpers/tidy-imports.ts';
import { checkText, checkTypeScript, type Finding, type SourceFile } from './helpers/tidy-rules.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What git ignores, and git itself. */
const SKIPPED_FOLDERS = new Set(['.git', 'node_modules', 'dist', 'build', 'prebuilds', 'coverage']);

/** The top level of the tree is fixed; anything new goes into one of these folders. */
const FOLDERS = ['.ci', 'bench', 'codecs', 'deploy', 'docs', 'server', 'test', 'workers'];

/** Where a program starts: the library, the command, and every worker's own entry. */
const ENTRIES = ['index.ts', 'server/cli/main.ts', 'server/lanes/lane-entry.ts'];

const TEXT_FILE = /(\.(ts|mjs|cjs|js|c|h|sh|md|json|gyp|service|ya?ml)|\.ci\/\w+|LICENSE)$/;

/** Written by npm, or recorded data. */
const NOT_OURS = /(^package-lock\.json$|\/vectors\/)/;

const files = readTree();
const sources = files.filter((file) => file.path.endsWith('.ts'));
const manifest = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as {
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
};
const runtimePackages = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });

function readTree(): SourceFile[] {
  const found: SourceFile[] = [];
  const open = [''];
  for (let folder = open.pop(); folder !== undefined; folder = open.pop()) {
    for (const entry of readdirSync(`${ROOT}${folder}`, { withFileTypes: true })) {
      const path = `${folder}${entry.name}`;
      if (entry.isDirectory() && !SKIPPED_FOLDERS.has(entry.name)) open.push(`${path}/`);
      if (!entry.isFile() || !TEXT_FILE.test(path) || NOT_OURS.test(path)) continue;
      found.push({ path, text: readFileSync(`${ROOT}${path}`, 'utf8') });
    }
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

function check(file: SourceFile, packages: readonly string[]): Finding[] {
  return file.path.endsWith('.ts') ? checkTypeScript(file, packages) : checkText(file);
}

function show(findings: readonly Finding[]): string {
  return findings
    .map(({ path, line, rule, message }) => `${path}:${line} ${rule}: ${message}`)
    .join('\n');
}

describe('tidy: the tree', () => {
  test('every file keeps the rules', () => {
    assert.ok(sources.length > 0, 'no sources found');
    const findings = files.flatMap((file) => check(file, runtimePackages));
    // One line each, not a difference of two strings.
    if (findings.length > 0) assert.fail(`${findings.length} findings\n${show(findings)}`);
  });

  test('the top level is the one that is agreed', () => {
    const folders = readdirSync(ROOT, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !SKIPPED_FOLDERS.has(entry.name))
      .map((entry) => entry.name);
    assert.deepEqual(
      folders.filter((name) => !FOLDERS.includes(name)),
      [],
    );
  });

  test('every module of the product is reachable from an entry', () => {
    const reached = reachableFrom(ENTRIES, files);
    const dead = sources
      .map((file) => file.path)
      .filter((path) => /^(server|workers|codecs)\//.test(path) && !reached.has(path));
    assert.deepEqual(dead, [], 'nobody imports these');
  });

  test('every test helper is reachable from a test', () => {
    const paths = sources.map((file) => file.path).filter((path) => path.startsWith('test/'));
    const reached = reachableFrom(
      paths.filter((path) => path.endsWith('.test.ts')),
      files,
    );
    assert.deepEqual(
      paths.filter((path) => !reached.has(path)),
      [],
      'nobody imports these',
    );
  });
});

/** One snippet per way to break a rule: [rule, path, text]. */
const CANARIES: readonly (readonly [string, string, string])[] = [
  ['file-lines', 'server/a.ts', '\n'.repeat(501)],
  ['file-lines', 'server/net/native/a.c', '\n'.repeat(501)],
  ['columns', 'codecs/a.ts', `// ${'x'.repeat(98)}`],
  ['columns', 'server/net/native/a.h', `// ${'x'.repeat(98)}`],
  ['function-lines', 'server/a.ts', `export function a() {${'\n'.repeat(70)}}`],
  ['function-lines', 'server/a.ts', `export const a = () => {${'\n'.repeat(70)}};`],
  ['function-lines', 'server/a.ts', `class A { b() {${'\n'.repeat(70)}} }`],
  ['function-lines', 'server/a.ts', `test('not a test', () => {${'\n'.repeat(70)}});`],
  ['function-lines', 'test/a.ts', `function helper() {${'\n'.repeat(70)}}`],
  ['imports', 'codecs/dns/a.ts', "import { b } from '../../workers/b.ts';"],
  ['imports', 'codecs/a.ts', "import type { b } from '../server/b.ts';"],
  ['imports', 'codecs/a.ts', "import { readFileSync } from 'node:fs';"],
  ['imports', 'codecs/a.ts', "import { z } from 'zod';"],
  ['imports', 'codecs/a.ts', "const b = await import('../workers/b.ts');"],
  ['imports', 'workers/a.ts', "import { b } from '../server/b.ts';"],
  ['imports', 'workers/a.ts', "import { createSocket } from 'node:dgram';"],
  ['imports', 'workers/a.ts', "export * from '../index.ts';"],
  ['imports', 'workers/a.ts', "type B = import('../server/b.ts').B;"],
  ['imports', 'server/a.ts', "import { b } from '../test/helpers/b.ts';"],
  ['imports', 'server/a.ts', "import fc from 'fast-check';"],
  ['imports', 'server/a.ts', "const b = require('../bench/b.ts');"],
  ['imports', 'index.ts', "export { b } from './workers/b.ts';"],
  ['imports', 'deploy/a.ts', "import './b.ts';"],
  ['clock-and-rng', 'workers/a.ts', 'const now = Date.now();'],
  ['clock-and-rng', 'server/a.ts', 'const now = new Date();'],
  ['clock-and-rng', 'server/a.ts', 'const now = performance.now();'],
  ['clock-and-rng', 'server/a.ts', 'const now = process.hrtime.bigint();'],
  ['clock-and-rng', 'server/a.ts', 'setTimeout(stop, 5);'],
  ['clock-and-rng', 'server/rng.ts', 'const wait = setInterval;'],
  ['clock-and-rng', 'server/a.ts', "import { setImmediate } from 'node:timers';"],
  ['clock-and-rng', 'codecs/a.ts', 'const seed = Math.random();'],
  ['clock-and-rng', 'server/clock.ts', "import { randomBytes } from 'node:crypto';"],
  ['clock-and-rng', 'workers/a.ts', 'sodium.randombytes_buf(key);'],
  ['empty-catch', 'server/a.ts', 'try { go(); } catch {}'],
  ['empty-catch', 'test/a.ts', 'try { go(); } catch (error) { /* never mind */ }'],
  ['empty-catch', 'server/a.ts', 'go().catch(() => {});'],
  ['no-console', 'server/a.ts', "console.log('x');"],
  ['no-console', 'workers/a.ts', "process.stdout.write('x');"],
  ['no-any', 'server/a.ts', 'let b: any;'],
  ['no-any', 'test/a.ts', 'const b = c as any[];'],
  ['test-only', 'test/a.test.ts', "test.only('x', run);"],
  ['test-only', 'test/a.test.ts', "test('x', { only: true }, run);"],
  ['left-over', 'server/a.ts', `// ${'TO' + 'DO'}: later`],
  ['left-over', 'README.md', `${'FIX' + 'ME'} later`],
  ['machine-path', 'server/a.ts', `const b = '${'/ho' + 'me'}/somebody/b';`],
  ['machine-path', 'README.md', `see ${'/ro' + 'ot'}/notes`],
];

/** What must pass, lest a rule forbids everything. */
const INNOCENT: readonly (readonly [string, string])[] = [
  ['server/clock.ts', 'export const now = () => Date.now(); setTimeout(now, 1);'],
  ['server/rng.ts', "import { randomBytes } from 'node:crypto';"],
  ['test/a.test.ts', `test('long', () => {${'\n'.repeat(90)}});`],
  ['test/a.test.ts', "import fc from 'fast-check'; const now = Date.now();"],
  ['server/cli/print.ts', "process.stdout.write('x');"],
  ['server/a.ts', 'const at = new Date(1_700_000_000_000);'],
  ['server/a.ts', 'try { go(); } catch (error) { report(error); }'],
  ['server/a.ts', "import { z } from 'zod'; import { b } from '../codecs/b.ts';"],
  ['codecs/a.ts', "import { b } from './b.ts'; import packet from 'dns-packet';"],
  ['README.md', 'x'.repeat(300)],
];

describe('tidy: the rules themselves', () => {
  for (const [rule, path, text] of CANARIES) {
    test(`${rule} sees ${JSON.stringify(text.slice(0, 60))} in ${path}`, () => {
      const findings = check({ path, text }, ['zod']);
      assert.deepEqual(
        findings.map((finding) => finding.rule),
        [rule],
        show(findings),
      );
    });
  }

  for (const [path, text] of INNOCENT) {
    test(`nothing is wrong with ${JSON.stringify(text.slice(0, 60))} in ${path}`, () => {
      const findings = check({ path, text }, ['zod']);
      assert.equal(show(findings), '');
    });
  }

  test('a dead file is seen, one that is imported in any way is not', () => {
    const tree = [
      { path: 'index.ts', text: "export { b } from './server/b.ts';" },
      { path: 'server/b.ts', text: "const u = new URL('../workers/boot.mjs', import.meta.url);" },
      { path: 'workers/boot.mjs', text: "await import('./lane.ts');" },
      { path: 'workers/lane.ts', text: "import type { C } from '../codecs/c.ts';" },
      { path: 'codecs/c.ts', text: '' },
      { path: 'codecs/dead.ts', text: "import './c.ts';" },
    ];
    const reached = reachableFrom(['index.ts', 'server/cli/main.ts'], tree);
    assert.deepEqual(
      tree.map((file) => file.path).filter((path) => !reached.has(path)),
      ['codecs/dead.ts'],
    );
  });
});
