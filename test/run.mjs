#!/usr/bin/env node
// Runs the tests: `node test/run.mjs [FILE|FOLDER ...] [FLAG ...]`. Without a file, every
// test/**/*.test.ts but the long ones (*.long.test.ts), which are run by name. Flags go to
// `node --test` as they are, for example --test-name-pattern=token. Node 20 has no glob for
// --test, hence this file.
import { spawn } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
// A test that hangs fails after ten minutes instead of holding a build for ever.
const TEST_TIMEOUT_MS = 600_000;

function testFilesIn(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /(?<!\.long)\.test\.ts$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function expand(path) {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) {
    process.stderr.write(`test/run.mjs: no such file or folder: ${path}\n`);
    process.exit(2);
  }
  return stats.isDirectory() ? testFilesIn(path) : [path];
}

const args = process.argv.slice(2);
const flags = args.filter((arg) => arg.startsWith('-'));
const paths = args.filter((arg) => !arg.startsWith('-')).map((path) => resolve(path));
const files = (paths.length > 0 ? paths : [join(root, 'test')]).flatMap(expand);
if (files.length === 0) {
  process.stderr.write('test/run.mjs: no test files found\n');
  process.exit(2);
}
const defaults = [];
if (!flags.some((flag) => flag.startsWith('--test-reporter'))) {
  defaults.push('--test-reporter=spec', '--test-reporter-destination=stdout');
}
if (!flags.some((flag) => flag.startsWith('--test-timeout'))) {
  defaults.push(`--test-timeout=${TEST_TIMEOUT_MS}`);
}
if (!flags.some((flag) => flag.startsWith('--test-concurrency'))) {
  // Node leaves a core idle, and many tests wait for processes, threads and sockets.
  defaults.push(`--test-concurrency=${availableParallelism() + 1}`);
}
const child = spawn(
  process.execPath,
  [
    '--import',
    'tsx',
    '--test',
    ...defaults,
    ...flags,
    ...files.map((file) => relative(root, file)),
  ],
  { cwd: root, stdio: 'inherit' },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
child.on('exit', (code) => process.exit(code ?? 1));
