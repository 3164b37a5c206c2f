/**
 * Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer and runs native-fuzz.mjs
 * on it:
 *   node test/fault/native-fuzz-asan.mjs [SECONDS] [SEED]
 * Exits with 0 when the run ends clean. Needs gcc with its sanitizers and Node's headers.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSettings, findNodeDirectory, root } from '../../server/net/native/toolchain.mjs';

const [seconds = '20', seed = String(process.pid)] = process.argv.slice(2);
/** A run that takes this much longer than asked hangs. */
const HANG_SECONDS = 30;
const here = join(root, 'test/fault');
const folder = mkdtempSync(join(tmpdir(), 'waypost-asan-'));
try {
  process.exitCode = main();
} finally {
  rmSync(folder, { recursive: true });
}

function main() {
  const addon = join(folder, 'waypost.node');
  const shim = join(folder, 'shim.o');
  const headers = `-I${join(findNodeDirectory() ?? '/usr', 'include/node')}`;
  const [sources, flags] = buildSettings();
  const sanitize = [
    ...['-fsanitize=address,undefined', '-fno-sanitize-recover=all'],
    ...['-fno-omit-frame-pointer', '-g', '-O1', '-Werror', '-fPIC'],
  ];
  const calls = ['recvmmsg', 'sendmmsg', 'eventfd', 'eventfd_read', 'eventfd_write'];
  const faults = calls.map((name) => `-D${name}=shim_${name}`);
  run('gcc', [...flags, ...sanitize, '-c', join(here, 'native-fuzz-shim.c'), '-o', shim]);
  run('gcc', [...flags, ...sanitize, '-shared', ...faults, headers, ...sources, shim, '-o', addon]);
  const fuzz = spawnSync(process.execPath, [join(here, 'native-fuzz.mjs'), addon, seed, seconds], {
    stdio: 'inherit',
    timeout: (Number(seconds) + HANG_SECONDS) * 1000,
    killSignal: 'SIGKILL',
    env: {
      ...process.env,
      LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`,
      // Node itself ends without freeing everything.
      ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:exitcode=97',
      UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
    },
  });
  return fuzz.status ?? 1;
}

/** The path of one of gcc's own libraries. */
function library(name) {
  return run('gcc', [`-print-file-name=${name}`]).trim();
}

function run(command, args) {
  const result = spawnSync(command, args, { encoding: 'utf8' });
  if (result.status === 0) return result.stdout;
  throw new Error(`${command} ${args.join(' ')}\n${result.stderr || result.error?.message || ''}`);
}
