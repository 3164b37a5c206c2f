/**
 * A short fuzz run of the addon as it is installed. The long one, under the sanitizers and with
 * failing system calls, is native-fuzz-asan.mjs.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadAddon, packageRoot } from '../../server/net/native/addon.ts';

const SECONDS = 2;
const loaded = loadAddon();

test('hostile arguments and scribbled slots never crash the addon', {
  skip: loaded.addon === null ? loaded.reason : false,
}, () => {
  const build = createRequire(import.meta.url)('node-gyp-build') as {
    resolve(root: string): string;
  };
  const seed = process.pid;
  const script = fileURLToPath(new URL('native-fuzz.mjs', import.meta.url));
  const args = [script, build.resolve(packageRoot()), `${seed}`, `${SECONDS}`];
  const result = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 });
  assert.equal(result.status, 0, `seed ${seed}: ${result.signal} ${result.stdout}${result.stderr}`);
});
