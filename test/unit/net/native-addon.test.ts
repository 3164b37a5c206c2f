/** The addon's door: the layout both sides share, and what loading it says. */
import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  EXPECTED_LAYOUT,
  layoutDifference,
  loadAddon,
  loadAddonFrom,
  missingFunction,
  packageRoot,
  type UdpAddon,
} from '../../../server/net/native/addon.ts';
import * as slab from '../../../workers/slab.ts';

const loaded = loadAddon();
const SUPPORTED =
  process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64');

describe('native addon', { skip: loaded.addon === null ? loaded.reason : false }, () => {
  test('slot.h and workers/slab.ts agree on every number', () => {
    assert.ok(loaded.addon);
    assert.deepEqual(loaded.addon.layout(), EXPECTED_LAYOUT);
  });

  test('misuse is an error, whatever is misused', () => {
    assert.ok(loaded.addon);
    const { addon } = loaded;
    const bytes = slab.Slab.allocate(2).bytes;
    const counts = new Uint32Array(4);
    const handle = addon.open(address(), 4, 0, 0, 0, 0, 0, 1);
    const event = addon.eventOpen();
    const misuse = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' };
    const calls: (() => unknown)[] = [
      () => addon.open(new Uint8Array(15), 4, 0, 0, 0, 0, 0, 1),
      () => addon.open(address(), 5, 0, 0, 0, 0, 0, 1),
      () => addon.open(address(), 4, 65_536, 0, 0, 0, 0, 1),
      () => addon.open(address(), 4, 1.5, 0, 0, 0, 0, 1),
      () => addon.open(address(), 4, Number.NaN, 0, 0, 0, 0, 1),
      () => addon.recv(handle + 1, bytes, new Int32Array(1), 1, counts),
      () => addon.recv(handle + 256, bytes, new Int32Array(1), 1, counts),
      () => addon.recv(handle, bytes, new Int32Array(1), 2, counts),
      () => addon.recv(handle, bytes, new Int32Array(65), 65, counts),
      () => addon.recv(handle, bytes, Int32Array.of(2), 1, counts),
      () => addon.recv(handle, bytes, new Int32Array(1), 1, new Uint32Array(3)),
      () => addon.recv(handle, bytes.subarray(1), new Int32Array(1), 1, counts),
      () => addon.recv(handle, bytes.subarray(2, 2050), new Int32Array(1), 1, counts),
      () => addon.recv(handle, bytes, Int32Array.of(-1), 1, counts),
      () => addon.recv(handle, bytes, new Uint32Array(1) as never, 1, counts),
      () => addon.recv(handle, bytes, new Int32Array(1), 1, new Int32Array(4) as never),
      () => addon.send(handle, new Uint8Array(0), new Int32Array(1), 1, counts),
      () => addon.send(handle, bytes, new Int32Array(1), -1, counts),
      () => addon.watch(handle, null as unknown as () => void),
      () => addon.describe(handle, new Uint8Array(4)),
      () => addon.adopt(-1, 0),
      () => (addon.close as () => void)(),
      () => addon.eventDuplicate(-1),
      () => addon.eventDuplicate(2 ** 31),
      () => addon.eventDuplicate(...([] as unknown as [number])),
      () => addon.eventDescriptor(handle),
      () => addon.eventDescriptor(event + 256),
      () => addon.eventSignal(handle),
      () => addon.eventSignal('1' as never),
      () => addon.eventSignal(...([] as unknown as [number])),
      () => addon.watch(event, undefined as never),
      () => addon.describe(event, new Uint8Array(16)),
      () => addon.recv(event, bytes, new Int32Array(1), 1, counts),
      () => addon.send(event, bytes, new Int32Array(1), 1, counts),
      () => addon.discard(event, counts),
      () => addon.kernelDrops(event),
      () => addon.hugePages(...([] as unknown as [Uint8Array])),
      () => addon.hugePages(new SharedArrayBuffer(4 << 20) as never),
      () => addon.hugePages(new Uint32Array(1 << 20) as never),
      () => addon.hugePages(new DataView(new ArrayBuffer(8)) as never),
      () => addon.hugePages(null as never),
    ];
    for (const call of calls) assert.throws(call, misuse, String(call));
    addon.close(handle);
    assert.throws(() => addon.close(handle), misuse);
    addon.close(event);
    assert.throws(() => addon.eventSignal(event), misuse);
    const next = addon.open(address(), 4, 0, 0, 0, 0, 0, 1);
    assert.notEqual(next, handle, 'a stale handle finds nobody');
    addon.close(next);
  });

  test('huge pages: advice for the whole ones inside a buffer, content untouched', () => {
    assert.ok(loaded.addon);
    const { addon } = loaded;
    const bytes = new Uint8Array(new SharedArrayBuffer(8 << 20)).fill(0x5a);
    assert.equal(addon.hugePages(bytes), existsSync('/sys/kernel/mm/transparent_hugepage'));
    assert.ok(bytes.every((byte) => byte === 0x5a));
    for (const length of [0, 1, (2 << 20) - 1]) {
      assert.equal(addon.hugePages(bytes.subarray(1, 1 + length)), false, `${length} bytes`);
    }
    const gone = new ArrayBuffer(4 << 20);
    const detached = new Uint8Array(gone);
    structuredClone(gone, { transfer: [gone] });
    assert.equal(addon.hugePages(detached), false, 'detached');
  });

  test('signals go to events only, and a full event is no error', () => {
    assert.ok(loaded.addon);
    const { addon } = loaded;
    const socket = addon.open(address(), 4, 0, 0, 0, 0, 0, 1);
    const [socketFd] = addon.describe(socket, new Uint8Array(16));
    const file = openSync(fileURLToPath(import.meta.url), 'r');
    for (const fd of [socketFd, file]) {
      assert.throws(() => addon.eventDuplicate(fd), { code: 'EINVAL', syscall: 'eventfd' });
    }
    closeSync(file);
    assert.throws(() => addon.eventDuplicate(file), { code: 'EBADF', syscall: 'fcntl' });
    addon.close(socket);

    const event = addon.eventOpen();
    const fd = addon.eventDescriptor(event);
    const copy = addon.eventDuplicate(fd);
    assert.notEqual(addon.eventDescriptor(copy), fd);
    writeSync(fd, new Uint8Array([0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
    for (let i = 0; i < 3; i++) addon.eventSignal(copy);
    addon.close(event);
    addon.eventSignal(copy);
    addon.close(copy);
  });

  test('a thread opens 256 sockets and events, and no more', () => {
    assert.ok(loaded.addon);
    const { addon } = loaded;
    const handles: number[] = [];
    assert.throws(
      () => {
        for (;;) {
          handles.push(addon.open(address(), 4, 0, 0, 0, 0, 0, 1));
          handles.push(addon.eventOpen());
        }
      },
      { code: 'EMFILE' },
    );
    for (const handle of handles) addon.close(handle);
    assert.equal(handles.length, 256);
  });
});

/** A key more or less than UdpAddon has is a type error. */
const FUNCTIONS: Record<keyof UdpAddon, true> = {
  open: true,
  adopt: true,
  duplicate: true,
  close: true,
  describe: true,
  watch: true,
  unwatch: true,
  recv: true,
  send: true,
  discard: true,
  kernelDrops: true,
  eventOpen: true,
  eventDuplicate: true,
  eventDescriptor: true,
  eventSignal: true,
  hugePages: true,
  layout: true,
};

test('functions.json, UdpAddon and addon.c name the same functions', () => {
  const folder = join(packageRoot(), 'server/net/native');
  const listed = JSON.parse(readFileSync(join(folder, 'functions.json'), 'utf8'));
  assert.deepEqual(listed, Object.keys(FUNCTIONS));
  const c = readFileSync(join(folder, 'addon.c'), 'utf8');
  assert.deepEqual(
    Array.from(c.matchAll(/\.utf8name = "(\w+)"/g), (match) => match[1]),
    listed,
  );
});

test('an addon that lacks a function is stale, and the function is named', () => {
  const whole = Object.fromEntries(Object.keys(FUNCTIONS).map((name) => [name, () => 0]));
  assert.equal(missingFunction(whole), null);
  assert.equal(missingFunction({ ...whole, hugePages: 1 }), 'it has no hugePages()');
  assert.equal(missingFunction({}), 'it has no open()');
});

test('a difference in layout is named', () => {
  assert.equal(layoutDifference(EXPECTED_LAYOUT), null);
  const stale = { ...EXPECTED_LAYOUT, local: 28 };
  assert.equal(layoutDifference(stale), 'local is 28, expected 24');
  assert.equal(layoutDifference({}), 'slotBytes is undefined, expected 2048');
});

test('what cannot be loaded is said in plain words', { skip: !SUPPORTED }, () => {
  const root = mkdtempSync(join(tmpdir(), 'waypost-'));
  const reason = () => {
    const result = loadAddonFrom(root);
    assert.equal(result.addon, null);
    return result.reason;
  };
  try {
    assert.equal(
      reason(),
      'the addon is not built; install gcc, g++, make and python3 and run: npm run install',
    );
    mkdirSync(join(root, 'build/Release'), { recursive: true });
    writeFileSync(join(root, 'build/Release/waypost.node'), 'no library');
    assert.match(reason(), /^the addon does not load: .+/);
  } finally {
    rmSync(root, { recursive: true });
  }
});

test('the package is found from its code', () => {
  assert.match(packageRoot(), /\S/);
});

function address(): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set([0xff, 0xff, 127, 0, 0, 1], 10);
  return bytes;
}
