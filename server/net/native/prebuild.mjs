/**
 * Builds the addons that the npm package brings, so that installing needs no compiler:
 *   node server/net/native/prebuild.mjs [--host]      (--host: only this machine's architecture)
 *
 *   prebuilds/linux-x64/node.napi.glibc.node
 *   prebuilds/linux-arm64/node.napi.glibc.node
 *
 * One file per architecture serves every Node version (Node-API) and every Linux with glibc
 * GLIBC_FLOOR or newer, which is checked.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { buildSettings, findNodeDirectory, isOnPath, root } from './toolchain.mjs';

/** Debian 10, RHEL 8, Ubuntu 20.04: what Node 20's own binaries need. */
const GLIBC_FLOOR = [2, 28];

const TOOLS = {
  x64: { prefix: 'x86_64-linux-gnu-', packages: 'gcc libc6-dev' },
  arm64: { prefix: 'aarch64-linux-gnu-', packages: 'gcc-aarch64-linux-gnu libc6-dev-arm64-cross' },
};

const hostOnly = process.argv.includes('--host');
for (const arch of hostOnly ? [process.arch] : Object.keys(TOOLS)) prebuild(arch);

function prebuild(arch) {
  const tools = TOOLS[arch];
  if (tools === undefined) fail(`no addon for linux-${arch}: there is one for x64 and arm64`);
  const compiler = tool(arch, 'gcc');
  const headers = findNodeDirectory();
  if (headers === null) fail("Node's headers (include/node/node_api.h) were not found");
  const file = join(root, 'prebuilds', `linux-${arch}`, 'node.napi.glibc.node');
  mkdirSync(dirname(file), { recursive: true });
  const [sources, flags] = buildSettings();
  run(compiler, [
    ...['-shared', '-fPIC', '-s', '-Werror', '-Wl,-z,relro,-z,now', ...flags],
    ...[`-I${join(headers, 'include/node')}`, ...sources, '-o', file],
  ]);
  const newest = newestGlibc(tool(arch, 'objdump'), file);
  if (compare(newest, GLIBC_FLOOR) > 0) {
    fail(`${file} needs glibc ${newest.join('.')}, newer than ${GLIBC_FLOOR.join('.')}`);
  }
  if (arch === process.arch && process.platform === 'linux') {
    createRequire(import.meta.url)(file).layout();
  }
  const kilobytes = Math.ceil(statSync(file).size / 1024);
  process.stdout.write(`${file}: ${kilobytes} kB, glibc ${newest.join('.')} or newer\n`);
}

/** The architecture's own tool; on a machine of that architecture the plain name will do. */
function tool(arch, name) {
  const { prefix, packages } = TOOLS[arch];
  if (isOnPath(prefix + name)) return prefix + name;
  if (arch === process.arch && isOnPath(name)) return name;
  return fail(`${prefix}${name} was not found: apt-get install ${packages}`);
}

function newestGlibc(objdump, file) {
  const versions = run(objdump, ['-T', file]).matchAll(/GLIBC_(\d+)\.(\d+)/g);
  let newest = [0, 0];
  for (const [, major, minor] of versions) {
    const version = [Number(major), Number(minor)];
    if (compare(version, newest) > 0) newest = version;
  }
  if (newest[0] === 0) fail(`${objdump} found no glibc versions in ${file}`);
  return newest;
}

function compare(a, b) {
  return a[0] - b[0] || a[1] - b[1];
}

function run(command, args) {
  const result = spawnSync(command, args, { encoding: 'utf8' });
  if (result.status === 0) return result.stdout;
  return fail(`${command} ${args.join(' ')}\n${result.stderr || result.error?.message || ''}`);
}

function fail(message) {
  process.stderr.write(`prebuild: ${message}\n`);
  process.exit(1);
}
