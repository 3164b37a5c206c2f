/** A large server's tables are on huge pages where addon and kernel have them. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { backends } from '../helpers/appliance.ts';
import { ServeProcess } from '../helpers/serve-process.ts';

const ENABLED = '/sys/kernel/mm/transparent_hugepage/enabled';
/** Below what the tables of a million records take, above everything else. */
const LEAST_KIB = 128 * 1024;

function missing(): string | false {
  if (!existsSync(ENABLED) || !existsSync('/proc/self/smaps')) {
    return 'the kernel has no transparent huge pages, or no smaps to see them in';
  }
  if (readFileSync(ENABLED, 'utf8').includes('[never]')) return 'huge pages are switched off';
  const [batch] = backends();
  return batch.skip;
}

/** KiB of the mappings of a process that are advised to be huge (`hg`, proc_pid_smaps(5)). */
function advisedKib(pid: number | undefined): number {
  const smaps = readFileSync(`/proc/${pid}/smaps`, 'utf8');
  let kib = 0;
  for (const [, size, flags] of smaps.matchAll(/^Size: +(\d+) kB$[\s\S]*?^VmFlags:(.*)$/gm)) {
    if (` ${flags} `.includes(' hg ')) kib += Number(size);
  }
  return kib;
}

test('tables of a million records are advised to be huge, with dgram nothing is', {
  skip: missing(),
  timeout: 30_000,
}, async (t) => {
  const flags = ['--dns', '127.0.0.1:0', '--limit', '1000000', '--udp-backend'];
  const batch = await ServeProcess.serve(t, ...flags, 'batch');
  const kib = advisedKib(batch.child.pid);
  assert.ok(kib >= LEAST_KIB, `${kib} KiB`);
  const dgram = await ServeProcess.serve(t, ...flags, 'dgram');
  assert.equal(advisedKib(dgram.child.pid), 0);
});
