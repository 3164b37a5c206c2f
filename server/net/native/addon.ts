/**
 * The native addon as TypeScript sees it, and how it is found. Loading it is the only way to know
 * whether it works here, so the answer comes with the reason in plain words.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as slab from '../../../workers/slab.ts';
import { UDP_BATCH } from '../udp-socket.ts';

/**
 * Places of the counts that `recv`, `send` and `discard` add to, in a Uint32Array of
 * COUNTS_LENGTH.
 */
export const COUNT_TOO_LONG = 0;
export const COUNT_KERNEL_DROPPED = 1;
export const COUNT_SEND_FULL = 2;
export const COUNT_SEND_FAILED = 3;
export const COUNTS_LENGTH = 4;

/**
 * The functions of addon.c. A handle names an open socket or event of the calling thread. System
 * errors are thrown with `code` (EADDRINUSE, EACCES, ...) and `syscall`; misuse throws a TypeError.
 */
export interface UdpAddon {
  /**
   * Opens and binds a socket, returns its handle. `address` is 16 bytes (IPv4 as v4-mapped),
   * `scope` the interface index of a link-local address or 0, `reusePort` 0 or 1, buffer sizes in
   * bytes (0 = the system's default), `receiver` what is written into each received slot.
   */
  open(
    address: Uint8Array,
    family: number,
    port: number,
    scope: number,
    reusePort: number,
    receiveBufferBytes: number,
    sendBufferBytes: number,
    receiver: number,
  ): number;
  /** Takes over a bound UDP descriptor, returns its handle; the descriptor then closes with it. */
  adopt(fd: number, receiver: number): number;
  /** A duplicate of another thread's descriptor, to send on; it closes with this thread. */
  duplicate(fd: number): number;
  close(handle: number): void;
  /** [fd, family, port, scope, receive buffer bytes]; the bound address goes into 16 bytes. */
  describe(handle: number, address: Uint8Array): number[];
  /**
   * Calls `callback` whenever the socket is readable, and keeps the event loop alive. Of an event:
   * once per turn of the loop in which it has been signalled since the last call, however often;
   * keeps nothing alive.
   */
  watch(handle: number, callback: () => void): void;
  unwatch(handle: number): void;
  /**
   * Receives up to `count` (at most 64) datagrams into the slots named by `slots`. Returns how many
   * were read; those too long are counted and the others come first in `slots`, which is permuted.
   */
  recv(
    handle: number,
    slab: Uint8Array,
    slots: Int32Array,
    count: number,
    counts: Uint32Array,
  ): number;
  /**
   * Sends `count` slots, returns how many the kernel took. Failed ones get length 0 and are
   * counted.
   */
  send(
    handle: number,
    slab: Uint8Array,
    slots: Int32Array,
    count: number,
    counts: Uint32Array,
  ): number;
  /** Reads up to 64 datagrams and throws them away. Returns how many. */
  discard(handle: number, counts: Uint32Array): number;
  /** Datagrams the kernel dropped since this was last known. */
  kernelDrops(handle: number): number;
  /**
   * Opens an event: what other threads signal to have a callback of this thread called (`watch`).
   * An eventfd; returns its handle, for `watch`, `unwatch` and `close` as a socket's.
   */
  eventOpen(): number;
  /**
   * A duplicate of another thread's event, to signal; it closes with this thread. Throws EINVAL
   * when `fd` is a descriptor of another sort.
   */
  eventDuplicate(fd: number): number;
  /** The event's descriptor, for `eventDuplicate` in another thread. */
  eventDescriptor(handle: number): number;
  /** Wakes the thread that watches the event. Never waits; signals not yet seen are one. */
  eventSignal(handle: number): void;
  /**
   * Advises the kernel to put huge pages under the whole 2 MiB pages of `bytes` (madvise,
   * MADV_HUGEPAGE): a large table read at random then misses the cache but not the TLB. True when
   * the kernel took the advice, which it may still not follow; false when it refuses or `bytes`
   * spans no such page. The content is left as it is.
   */
  hugePages(bytes: Uint8Array): boolean;
  /** The numbers of slot.h by name. */
  layout(): Record<string, number>;
}

/** Slot layout as this version's TypeScript has it, under the names `layout()` uses. */
export const EXPECTED_LAYOUT: Readonly<Record<string, number>> = {
  slotBytes: slab.SLOT_BYTES,
  headerBytes: slab.SLOT_HEADER_BYTES,
  dataBytes: slab.SLOT_DATA_BYTES,
  maxSlots: slab.MAX_SLOTS,
  batch: UDP_BATCH,
  counts: COUNTS_LENGTH,
  transportUdp: slab.TRANSPORT_UDP,
  length: slab.SLOT_LENGTH,
  family: slab.SLOT_FAMILY,
  transport: slab.SLOT_TRANSPORT,
  port: slab.SLOT_PORT,
  address: slab.SLOT_ADDRESS,
  local: slab.SLOT_LOCAL,
  scope: slab.SLOT_SCOPE,
  connection: slab.SLOT_CONNECTION,
  generation: slab.SLOT_GENERATION,
  budget: slab.SLOT_BUDGET,
  receiver: slab.SLOT_RECEIVER,
  protocol: slab.SLOT_PROTOCOL,
  state: slab.SLOT_STATE,
  keyHash: slab.SLOT_KEY_HASH,
};

export type LoadedAddon = { addon: UdpAddon } | { addon: null; reason: string };

/** The addon of this installation, loaded on the first call; else why there is none. */
export function loadAddon(): LoadedAddon {
  loaded ??= loadAddonFrom(packageRoot());
  return loaded;
}

let loaded: LoadedAddon | undefined;

/** Loads the addon built or shipped in the package folder `root`. */
export function loadAddonFrom(root: string): LoadedAddon {
  const target = `${process.platform}-${process.arch}`;
  if (target !== 'linux-x64' && target !== 'linux-arm64') {
    return { addon: null, reason: `no addon for ${target}` };
  }
  const require = createRequire(import.meta.url);
  const build = require('node-gyp-build') as { resolve(root: string): string };
  let file: string;
  try {
    file = build.resolve(root);
  } catch {
    return { addon: null, reason: `the addon is not built; ${rebuildAdvice(root)}` };
  }
  try {
    const addon = require(file) as UdpAddon;
    const difference = missingFunction(addon) ?? layoutDifference(addon.layout());
    if (difference === null) return { addon };
    return { addon: null, reason: `the addon is stale (${difference}); ${rebuildAdvice(root)}` };
  } catch (error) {
    const text = error instanceof Error ? error.message.split('\n', 1)[0] : String(error);
    return { addon: null, reason: `the addon does not load: ${text}` };
  }
}

/** The first function of UdpAddon that `addon` lacks, in words, or null. */
export function missingFunction(addon: object): string | null {
  const file = join(packageRoot(), 'server/net/native/functions.json');
  // One list for this file and for install.mjs, which runs before there is any compiled code.
  const names = JSON.parse(readFileSync(file, 'utf8')) as (keyof UdpAddon)[];
  for (const name of names) {
    if (typeof (addon as Partial<UdpAddon>)[name] !== 'function') return `it has no ${name}()`;
  }
  return null;
}

/** The first difference between an addon's layout and this version's, or null. */
export function layoutDifference(layout: Readonly<Record<string, number>>): string | null {
  for (const [name, value] of Object.entries(EXPECTED_LAYOUT)) {
    if (layout[name] !== value) return `${name} is ${layout[name]}, expected ${value}`;
  }
  return null;
}

/** The package's folder: sources run from server/net/native, compiled code from dist/server/... */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const file = join(folder, 'package.json');
    if (existsSync(file) && JSON.parse(readFileSync(file, 'utf8')).name === 'waypost')
      return folder;
    const parent = dirname(folder);
    if (parent === folder) throw new Error('the package.json of waypost is not above its own code');
    folder = parent;
  }
}

function rebuildAdvice(root: string): string {
  const installed = root.split(/[\\/]/).includes('node_modules');
  const command = installed ? 'npm rebuild waypost' : 'npm run install';
  return `install gcc, g++, make and python3 and run: ${command}`;
}
