/**
 * What building the addon needs, found without downloading: shared by the scripts of this folder.
 */
import { accessSync, constants, existsSync, readFileSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The package's folder. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');

/**
 * The folder that has include/node/node_api.h: as configured, beside node, or the system's; or
 * null.
 */
export function findNodeDirectory() {
  const candidates = [
    process.env.npm_config_nodedir,
    resolve(dirname(realpathSync(process.execPath)), '..'),
    '/usr',
  ];
  for (const folder of candidates) {
    if (folder && existsSync(join(folder, 'include/node/node_api.h'))) return folder;
  }
  return null;
}

/**
 * npm names its node-gyp to the scripts it runs; outside npm it lies beside node's npm. Or null.
 */
export function findNodeGyp() {
  const inNpm = 'node_modules/node-gyp/bin/node-gyp.js';
  const candidates = [process.env.npm_config_node_gyp];
  if (process.env.npm_execpath) {
    candidates.push(resolve(dirname(process.env.npm_execpath), '..', inNpm));
  }
  const prefix = resolve(dirname(realpathSync(process.execPath)), '..');
  for (const folder of [prefix, '/usr/local', '/usr']) {
    candidates.push(join(folder, 'lib/node_modules/npm', inNpm));
    candidates.push(join(folder, 'share/nodejs/node-gyp/bin/node-gyp.js'));
  }
  return candidates.find((file) => file && existsSync(file)) ?? null;
}

export function isOnPath(command) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return folder !== '';
    } catch {
      return false;
    }
  });
}

/** [sources, compiler flags] of binding.gyp, for compiling without node-gyp. */
export function buildSettings() {
  const [target] = JSON.parse(readFileSync(join(root, 'binding.gyp'), 'utf8')).targets;
  const linux = target.conditions[0][1];
  const sources = linux.sources.map((file) => join(root, file));
  return [sources, [...linux.cflags, ...linux.defines.map((name) => `-D${name}`)]];
}
