/** Importing the library opens nothing and loads no native package, and neither does a client. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { installPackage } from '../../helpers/built-package.ts';

const TEST_TIMEOUT_MS = 60_000;

/** Prints what native libraries are loaded and how many threads were started, when asked. */
const REPORT = `
import { createRequire, syncBuiltinESMExports } from 'node:module';
let workers = 0;
const threads = createRequire(import.meta.url)('node:worker_threads');
threads.Worker = class extends threads.Worker {
  constructor(...args) { super(...args); workers++; }
};
syncBuiltinESMExports();
const report = () => {
  const native = process.report.getReport().sharedObjects.filter((path) => path.endsWith('.node'));
  console.log(JSON.stringify({ native, workers }));
};
`;

/** Runs a script in a folder that has the package; what it prints as JSON. */
async function run(t: TestContext, body: string): Promise<Record<string, unknown>> {
  const folder = mkdtempSync(join(tmpdir(), 'waypost-test-'));
  t.after(() => rmSync(folder, { recursive: true }));
  installPackage(folder);
  const args = ['--input-type=module', '-e', REPORT + body];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder });
  return JSON.parse(stdout);
}

test('importing it opens nothing, loads no native package and starts no thread', {
  timeout: TEST_TIMEOUT_MS,
}, async (t) => {
  const seen = await run(
    t,
    `
    await import('waypost');
    // Files being read are the loader's.
    const open = process.getActiveResourcesInfo().filter((name) => !/^(FS|CloseReq)/.test(name));
    if (open.some((name) => !/^(Pipe|TTY)/.test(name))) throw new Error('open: ' + open);
    report();`,
  );
  assert.deepEqual(seen, { native: [], workers: 0 });
});

test('a client loads no native package and starts no thread, and lets the process end', {
  timeout: TEST_TIMEOUT_MS,
}, async (t) => {
  const seen = await run(
    t,
    `
    const { discovery } = await import('waypost');
    const disc = discovery({ server: '127.0.0.1:9', multicast: false, timeout: 50 });
    const error = await disc.lookup('app').catch((error) => error);
    if (error.message !== 'Query failed') throw error;
    report();
    await disc.destroy();`,
  );
  assert.deepEqual(seen, { native: [], workers: 0 });
});

test('it can be required and called without new', { timeout: TEST_TIMEOUT_MS }, async (t) => {
  const seen = await run(
    t,
    `
    const required = createRequire(process.cwd() + '/')('waypost/discovery');
    const imported = await import('waypost');
    const disc = required({ multicast: false });
    const other = new required({ multicast: false });
    console.log(JSON.stringify({
      isSame: required === imported.discovery,
      are: [disc, other].map((d) => d instanceof required && d instanceof imported.Discovery),
    }));
    await Promise.all([disc.destroy(), other.destroy()]);`,
  );
  assert.deepEqual(seen, { isSame: true, are: [true, true] });
});
