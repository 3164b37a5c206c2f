/** Huge pages under the large tables, where the addon and the kernel have them. */
import { loadAddon } from './native/addon.ts';
import type { UdpBackendChoice } from './open-udp.ts';

/**
 * Asks for huge pages under each buffer. Tables are read at random: with 4 KiB pages nearly every
 * read of a large one also misses the TLB. The price: memory is committed 2 MiB at a time. Where it
 * cannot be had nothing changes. Whoever chose `dgram` wants no native code: the addon then stays
 * unloaded.
 */
export function adviseHugePages(
  backend: UdpBackendChoice,
  buffers: readonly SharedArrayBuffer[],
): void {
  if (backend === 'dgram') return;
  const { addon } = loadAddon();
  if (addon === null) return;
  for (const buffer of buffers) addon.hugePages(new Uint8Array(buffer));
}
