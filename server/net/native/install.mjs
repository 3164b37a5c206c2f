/**
 * The npm `install` script, in a clone and in an installed package alike: makes the native addon
 * ready where that is possible and says in one line where it is not. It never fails and never
 * downloads: without the addon UDP runs on node:dgram.
 *
 * An installed package takes its prebuilt addon where that loads, which spares every user a
 * compiler, and builds where it does not. A clone builds first: a prebuilds/ folder left there may
 * be older than the C beside it. So does a package with npm_config_build_from_source=true in the
 * environment. Whatever was built wins over a prebuilt one when the server loads it.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { findNodeDirectory, findNodeGyp, isOnPath, root } from './toolchain.mjs';

const require = createRequire(import.meta.url);
/** Where node-gyp puts the addon. */
const BUILT = join(root, 'build/Release/waypost.node');
/** What an addon of this version has; one made from older sources may lack some. */
const FUNCTIONS = JSON.parse(readFileSync(join(root, 'server/net/native/functions.json'), 'utf8'));
/** Lines of a failed build worth showing. */
const FAILURE_LINES = 15;
/** A build takes seconds; one that takes this long hangs. */
const BUILD_TIMEOUT_MS = 5 * 60 * 1000;

try {
  main();
} catch (error) {
  say(`UDP runs on dgram: ${error instanceof Error ? error.message : error}`);
}

function main() {
  const target = `${process.platform}-${process.arch}`;
  if (target !== 'linux-x64' && target !== 'linux-arm64') {
    return say(`UDP runs on dgram: there is no addon for ${target}.`);
  }
  if (!buildsFirst() && loads(findPrebuild)) {
    return say('UDP runs on batch: the prebuilt addon loads.');
  }
  const tools = findTools();
  const problem = tools.missing.length === 0 ? build(tools) : wanting(tools.missing);
  if (problem === null) return say('UDP runs on batch: the addon is built.');
  if (loads(() => BUILT)) return say('UDP runs on batch: the addon built earlier loads.');
  if (loads(findPrebuild)) {
    say(`${problem}.`);
    return say('UDP runs on batch: the prebuilt addon loads.');
  }
  say(`UDP runs on dgram: ${problem}.`);
}

/** The npm package has neither of the two folders. */
function buildsFirst() {
  if (process.env.npm_config_build_from_source === 'true') return true;
  return existsSync(join(root, '.git')) || existsSync(join(root, 'test'));
}

/** Builds the addon. Why that failed, after the last lines of the compiler's, or null. */
function build({ nodeGyp, nodeDirectory }) {
  const result = spawnSync(
    process.execPath,
    [nodeGyp, 'rebuild', `--nodedir=${nodeDirectory}`, '--directory', root],
    { cwd: root, encoding: 'utf8', timeout: BUILD_TIMEOUT_MS },
  );
  if (result.status === 0 && loads(() => BUILT)) return null;
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}`.trimEnd().split('\n');
  for (const line of output.slice(-FAILURE_LINES)) say(line);
  return `building the addon failed (above); ${rebuildCommand()} tries again`;
}

function wanting(missing) {
  const list = missing.join(', ');
  return `the addon is not built for want of ${list}; install that and run ${rebuildCommand()}`;
}

/** Whether the addon that `find` names is there, loads here, and has every function it must. */
function loads(find) {
  try {
    const addon = require(find());
    return FUNCTIONS.every((name) => typeof addon[name] === 'function');
  } catch {
    return false;
  }
}

function findPrebuild() {
  process.env.PREBUILDS_ONLY = '1';
  return require('node-gyp-build').resolve(root);
}

function findTools() {
  const missing = [];
  if (!process.env.CC && !isOnPath('cc')) missing.push('gcc');
  // The addon is C, but node-gyp links with the C++ compiler.
  if (!process.env.CXX && !isOnPath('g++')) missing.push('g++');
  if (!isOnPath('make')) missing.push('make');
  if (!isOnPath('python3')) missing.push('python3');
  const nodeDirectory = findNodeDirectory();
  if (nodeDirectory === null) missing.push("Node's headers (node_api.h)");
  const nodeGyp = findNodeGyp();
  if (nodeGyp === null) missing.push("npm's node-gyp");
  return { missing, nodeDirectory, nodeGyp };
}

function rebuildCommand() {
  return root.split('/').includes('node_modules') ? 'npm rebuild waypost' : 'npm run install';
}

function say(line) {
  process.stdout.write(`waypost: ${line}\n`);
}
