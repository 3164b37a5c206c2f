/** The install script never fails: what it says and does with and without a compiler. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { loadAddon, loadAddonFrom, packageRoot } from '../../../server/net/native/addon.ts';

const NATIVE = 'server/net/native';
/** What the script says when it cannot build; the tests that build are then skipped. */
const WANT = 'not built for want of';
const SUPPORTED =
  process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64');

/** What the npm package has of the addon, in a folder of its own; `use` gets its path. */
function inPackage(use: (root: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'waypost-'));
  const root = join(folder, 'package');
  try {
    mkdirSync(root);
    for (const path of ['package.json', 'binding.gyp', NATIVE]) {
      cpSync(join(packageRoot(), path), join(root, path), { recursive: true });
    }
    symlinkSync(join(packageRoot(), 'node_modules'), join(root, 'node_modules'));
    use(root);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs the script of the package in `root`; it must exit with 0. Returns what it says. */
function install(root: string, env: NodeJS.ProcessEnv = process.env): string {
  const script = join(root, NATIVE, 'install.mjs');
  const result = spawnSync(process.execPath, [script], { cwd: root, env, encoding: 'utf8' });
  assert.equal(result.status, 0, result.stdout + result.stderr);
  assert.equal(result.stderr, '');
  return result.stdout;
}

describe('install', { skip: SUPPORTED ? false : 'no addon for this platform' }, () => {
  test('without a compiler it says what is missing and succeeds', () => {
    inPackage((root) => {
      const empty = join(root, 'empty');
      mkdirSync(empty);
      const line = install(root, { PATH: empty, HOME: root });
      assert.match(
        line,
        /^waypost: UDP runs on dgram: the addon is not built for want of gcc, g\+\+, make, python3/,
      );
      assert.match(line, /; install that and run npm run install\.\n$/);
      assert.equal(existsSync(join(root, 'build')), false);
      assert.match(
        (loadAddonFrom(root) as { reason: string }).reason,
        /^the addon is not built; install gcc, /,
      );
    });
  });

  test('a build that fails shows its last lines and succeeds', (t) => {
    inPackage((root) => {
      writeFileSync(join(root, NATIVE, 'batch.c'), '#error on purpose\n');
      const text = install(root);
      if (text.includes(WANT)) return t.skip(text);
      assert.match(text, /#error on purpose/);
      assert.match(text, /UDP runs on dgram: building the addon failed \(above\)/);
      assert.ok(text.split('\n').length < 20, text);
    });
  });

  test('with a compiler the addon is built, and then found', (t) => {
    inPackage((root) => {
      const text = install(root);
      if (text.includes(WANT)) return t.skip(text);
      assert.equal(text, 'waypost: UDP runs on batch: the addon is built.\n');
      assert.ok(loadAddonFrom(root).addon);
    });
  });

  const built = loadAddon().addon === null ? 'the addon is not built' : false;
  test('a prebuilt addon that loads is enough', { skip: built }, () => {
    inPackage((root) => {
      const folder = join(root, 'prebuilds', `linux-${process.arch}`);
      mkdirSync(folder, { recursive: true });
      const file = join(folder, 'node.napi.glibc.node');
      writeFileSync(file, 'no library');
      const bare = { PATH: root, HOME: root };
      assert.match(install(root, bare), /UDP runs on dgram/);
      cpSync(builtAddon(), file);
      assert.equal(install(root, bare), 'waypost: UDP runs on batch: the prebuilt addon loads.\n');
      assert.ok(loadAddonFrom(root).addon);
    });
  });

  test('a clone builds although a prebuilt addon loads, and so does who asks', {
    skip: built,
  }, (t) => {
    const BUILT = 'waypost: UDP runs on batch: the addon is built.\n';
    inPackage((root) => {
      const folder = join(root, 'prebuilds', `linux-${process.arch}`);
      mkdirSync(folder, { recursive: true });
      cpSync(builtAddon(), join(folder, 'node.napi.glibc.node'));
      const asked = install(root, { ...process.env, npm_config_build_from_source: 'true' });
      if (asked.includes(WANT)) return t.skip(asked);
      assert.equal(asked, BUILT);
      assert.match(install(root), /the prebuilt addon loads/);
      mkdirSync(join(root, 'test'));
      assert.equal(install(root), BUILT);
      writeFileSync(join(root, NATIVE, 'batch.c'), '#error on purpose\n');
      const failed = install(root);
      assert.match(failed, /building the addon failed/);
      assert.match(failed, /\nwaypost: UDP runs on batch: the prebuilt addon loads\.\n$/);
    });
  });

  test('a clone without a compiler takes a prebuilt addon', { skip: built }, () => {
    inPackage((root) => {
      const folder = join(root, 'prebuilds', `linux-${process.arch}`);
      for (const path of [folder, join(root, 'test')]) mkdirSync(path, { recursive: true });
      cpSync(builtAddon(), join(folder, 'node.napi.glibc.node'));
      const text = install(root, { PATH: root, HOME: root });
      assert.match(text, /not built for want of gcc/);
      assert.match(text, /\nwaypost: UDP runs on batch: the prebuilt addon loads\.\n$/);
    });
  });
});

/** The file this installation's addon was loaded from. */
function builtAddon(): string {
  const candidates = [
    'build/Release/waypost.node',
    `prebuilds/linux-${process.arch}/node.napi.glibc.node`,
  ].map((path) => join(packageRoot(), path));
  const file = candidates.find((path) => existsSync(path));
  assert.ok(file !== undefined, candidates.join(' or '));
  return file;
}
