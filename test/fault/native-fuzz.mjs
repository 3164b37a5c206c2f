/**
 * Throws hostile arguments, scribbled slots and failing system calls at every function of the
 * addon:
 *   node test/fault/native-fuzz.mjs ADDON SEED SECONDS
 * Any crash, sanitizer report, unexpected kind of error, lost slot or leaked descriptor fails. All
 * traffic stays on the loopback interface: addresses are never left to chance.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';

const [file, seedText, secondsText] = process.argv.slice(2);
const addon = createRequire(import.meta.url)(file);
const seed = Number(seedText);
const layout = addon.layout();
const { slotBytes, dataBytes, batch } = layout;
const SLOTS = 192;
/** Steps between turns of the event loop, in which watched sockets are read. */
const STEPS_PER_TURN = 50;
const WORKERS = 12;

const slabBuffer = new SharedArrayBuffer(SLOTS * slotBytes);
const slab = new Uint8Array(slabBuffer);
const view = new DataView(slabBuffer);
const counts = new Uint32Array(4);
const open = new Map();
const events = new Map();
const stale = [];
const tally = {};
const NAMES = Object.getOwnPropertyNames(addon);

let state = seed >>> 0;
/** An integer below `limit` (mulberry32). */
function random(limit) {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % limit;
}
const pick = (list) => list[random(list.length)];

const NUMBERS = [
  0,
  1,
  -1,
  4,
  6,
  63,
  64,
  65,
  255,
  256,
  65_535,
  65_536,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
];
const ODD = [1.5, Number.NaN, Number.POSITIVE_INFINITY, 1e300, '1', '', null, undefined, true, 7n];
/** Several huge pages, to advise on parts of. */
const LARGE = [new ArrayBuffer(9 << 20), new SharedArrayBuffer(9 << 20)];
const ARRAYS = [Uint8Array, Int8Array, Uint16Array, Uint32Array, Int32Array, Float64Array];

/** Any value at all. */
function hostile() {
  const detached = new ArrayBuffer(4096);
  const kind = random(12);
  if (kind < 3) return pick(NUMBERS);
  if (kind < 4) return random(2 ** 32);
  if (kind < 5) return pick(ODD);
  if (kind < 6) return new (pick(ARRAYS))(pick([0, 1, 4, 16, 64, 2048]));
  if (kind < 7) return new (pick(ARRAYS))(slabBuffer, 0, pick([0, 4, 16, 2048, 4096]));
  // Whole slots or none: a header that begins elsewhere would name any address.
  if (kind < 8) return slab.subarray(pick([0, slotBytes, 1, 3]), pick([4096, 4097, 6144]));
  if (kind < 9) return pick([slab, counts, view, slabBuffer, new Proxy(slab, {})]);
  if (kind < 10) return pick([{}, [], () => undefined, Symbol('s'), { length: 64 }]);
  if (kind < 11) return pick([...open.keys(), ...events.keys(), ...stale, 0]);
  const array = new Uint8Array(detached);
  structuredClone(detached, { transfer: [detached] });
  return array;
}

/** Calls and accepts the errors that are documented. */
function call(name, ...args) {
  tally[name] = (tally[name] ?? 0) + 1;
  try {
    return addon[name](...args);
  } catch (error) {
    const misuse = error instanceof TypeError && error.code === 'ERR_INVALID_ARG_VALUE';
    const system = /^E[A-Z0-9]+$/.test(error.code) && typeof error.syscall === 'string';
    if (!misuse && !system) throw error;
    return undefined;
  }
}

function loopback(family) {
  const address = new Uint8Array(16);
  if (family === 6) address[15] = 1;
  else address.set([0xff, 0xff, 127, 0, 0, 1 + random(8)], 10);
  return address;
}

function openSocket() {
  const family = pick([4, 6]);
  const address = random(3) === 0 ? new Uint8Array(16) : loopback(family);
  const sizes = [0, 4096, 1 << 20];
  const handle = call('open', address, family, 0, 0, random(2), pick(sizes), pick(sizes), 9);
  if (handle === undefined) return;
  const [fd, , port] = addon.describe(handle, new Uint8Array(16));
  open.set(handle, { family, port, fd });
}

function closeSocket(handle) {
  addon.close(handle);
  open.delete(handle);
  stale[random(16)] = handle;
}

/** A header with a loopback address and anything else in it. */
function scribbleSlot(slot, family) {
  const at = slot * slotBytes;
  for (let i = 0; i < 64; i += 4) view.setUint32(at + i, random(2 ** 32), true);
  const lengths = [0, 1, 50, dataBytes, dataBytes + 1, 2 ** 32 - 1, random(dataBytes)];
  view.setUint32(at + layout.length, pick(lengths), true);
  const ports = [...open.values()].map((socket) => socket.port);
  view.setUint16(at + layout.port, pick([0, ...ports, ...ports]), true);
  slab.set(loopback(random(8) === 0 ? 10 - family : family), at + layout.address);
  if (random(2) === 0) slab.set(loopback(family), at + layout.local);
  if (random(4) === 0) slab.fill(0, at + layout.local, at + layout.local + 16);
}

function sendSome(handle, { family }) {
  const count = pick([0, 1, 3, batch, batch + 1, 150]);
  const slots = new Int32Array(count);
  const used = new Set();
  for (let i = 0; i < count; i++) {
    const wild = random(20) === 0;
    slots[i] = wild ? pick([SLOTS, -1, 2 ** 31 - 1, random(2 ** 32)]) : (i * 7 + 3) % SLOTS;
    if (slots[i] >= 0 && slots[i] < SLOTS) used.add(slots[i]);
  }
  for (const slot of used) scribbleSlot(slot, family);
  counts.fill(0);
  const sent = call('send', handle, slab, slots, count, counts);
  if (sent === undefined) return;
  assert.ok(sent + counts[2] + counts[3] <= count, `${sent} + ${counts} of ${count}`);
  tally.sent = (tally.sent ?? 0) + sent;
  tally.failed = (tally.failed ?? 0) + counts[3];
  tally.full = (tally.full ?? 0) + counts[2];
}

function receiveSome(handle) {
  const asked = random(batch + 1);
  const slots = new Int32Array(asked);
  for (let i = 0; i < asked; i++) slots[i] = (i * 5 + 1) % SLOTS;
  const before = [...slots].sort().join();
  if (random(10) === 0 && asked > 0) slots[random(asked)] = SLOTS + random(1000);
  counts.fill(0);
  const received = call('recv', handle, slab, slots, asked, counts);
  if (received === undefined) return;
  assert.ok(received <= asked && counts[0] <= received);
  assert.equal([...slots].sort().join(), before, 'slots were lost');
  tally.received = (tally.received ?? 0) + received;
}

/** Any part of a large table: whatever is advised, the content stays. */
function adviseSome() {
  const buffer = pick(LARGE);
  const start = random(buffer.byteLength);
  const bytes = new Uint8Array(buffer, start, random(buffer.byteLength - start));
  const at = random(Math.max(1, bytes.length));
  bytes[at] = 0x5a;
  assert.equal(typeof call('hugePages', bytes), 'boolean');
  if (bytes.length > 0) assert.equal(bytes[at], 0x5a);
}

/**
 * Something with an event. An event that is watched and signalled is called, and one that is not
 * signalled is not; `due` says which.
 */
function eventStep() {
  const [handle, event] = pick([...events]) ?? [];
  const kind = random(8);
  if (kind < 2 || handle === undefined) {
    if (events.size >= 24) return;
    const copy = handle !== undefined && kind === 0;
    const opened = copy ? call('eventDuplicate', event.fd) : call('eventOpen');
    if (opened === undefined) return;
    const fd = addon.eventDescriptor(opened);
    events.set(opened, { fd, one: copy ? event.one : { due: false }, isWatched: false });
  } else if (kind < 3) {
    closeEvent(handle);
  } else if (kind < 4 && !event.isWatched) {
    event.isWatched = call('watch', handle, () => onEvent(handle)) === undefined;
  } else if (kind < 5) {
    call('unwatch', handle);
    event.isWatched = false;
  } else {
    assert.doesNotThrow(() => addon.eventSignal(handle));
    event.one.due = true;
  }
}

function closeEvent(handle) {
  addon.close(handle);
  events.delete(handle);
  stale[random(16)] = handle;
}

/** Signals, stops or closes within the callback. */
function onEvent(handle) {
  const event = events.get(handle);
  assert.ok(event?.isWatched, 'called after the end of the watch');
  assert.ok(event.one.due, 'called without a signal');
  event.one.due = false;
  tally.woken = (tally.woken ?? 0) + 1;
  if (random(4) === 0) eventStep();
}

function step() {
  const entry = pick([...open]);
  const kind = random(24);
  if (kind > 20) return eventStep();
  if (kind === 20) return adviseSome();
  if (kind < 2 || entry === undefined) return open.size < 24 && openSocket();
  const [handle, socket] = entry;
  if (kind < 3) return closeSocket(handle);
  if (kind < 7) return sendSome(handle, socket);
  if (kind < 11) return receiveSome(handle);
  if (kind < 12) return call('watch', handle, () => onReadable(handle));
  if (kind < 13) return call('unwatch', handle);
  if (kind < 14) return call('discard', handle, counts);
  if (kind < 15) return call('kernelDrops', handle);
  if (kind < 16) {
    const copy = call('duplicate', socket.fd);
    if (copy !== undefined) open.set(copy, { ...socket, fd: -1 });
    return;
  }
  hostileCall(handle);
}

/** Hostile arguments; those of `open` and `adopt` are such that nothing foreign is touched. */
function hostileCall(handle) {
  const name = pick(NAMES);
  const args = Array.from({ length: random(10) }, hostile);
  if (random(2) === 0) args[0] = handle;
  if (name === 'adopt') args[0] = pick([...ODD, -1, 2 ** 31, random(64)]);
  if (name === 'duplicate') args[0] = pick([...ODD, -1, 2 ** 31]);
  if (name === 'eventDuplicate') args[0] = pick([...ODD, -1, 2 ** 31, 0, 1, 2, 999_999]);
  // Signals and watches that eventStep does not know of would be news to it.
  if (name === 'eventSignal' && events.has(args[0])) return;
  if ((name === 'watch' || name === 'unwatch') && events.has(args[0])) return;
  if (name === 'close') args[0] = pick([...ODD, ...stale, 2 ** 32 - 1]);
  if (name === 'open') args[0] = pick([loopback(4), loopback(6), new Uint8Array(15), slab, ...ODD]);
  if (name === 'open' && args[0] === slab) args[1] = 5;
  // What a hostile count or slot sends must still go nowhere but here.
  if (name === 'send') for (let slot = 0; slot < SLOTS; slot++) scribbleSlot(slot, 4);
  const result = call(name, ...args);
  if (/^(open|adopt|eventOpen|eventDuplicate)$/.test(name) && result !== undefined)
    addon.close(result);
}

/** Closes, stops or reads within the callback; a closed socket must not call again. */
function onReadable(handle) {
  assert.ok(open.has(handle), 'called after the close');
  tally.readable = (tally.readable ?? 0) + 1;
  const kind = random(8);
  if (kind === 0) return closeSocket(handle);
  if (kind === 1) return call('unwatch', handle);
  if (kind === 2) return call('discard', handle, counts);
  receiveSome(handle);
}

/** Scribbles lengths and what does not say where datagrams go, while the main thread uses them. */
const SCRIBBLER = `
  const { workerData } = require('node:worker_threads');
  const { slab, stop, slots, slotBytes, fields } = workerData;
  const words = new Uint32Array(slab);
  const flag = new Int32Array(stop);
  for (let i = 1; Atomics.load(flag, 0) === 0; i = (Math.imul(i, 1664525) + 1013904223) >>> 0) {
    const slot = (i >>> 8) % slots;
    words[(slot * slotBytes + fields[(i >>> 4) % fields.length]) >>> 2] = i;
    if ((i & 0xfff) === 0) Atomics.wait(flag, 0, 0, 1);
  }
`;

/** Opens and watches sockets and events, takes what comes or not, and ends in some way. */
const VISITOR = `
  const { parentPort, workerData } = require('node:worker_threads');
  const addon = require(workerData.file);
  const address = new Uint8Array(16);
  address.set([255, 255, 127, 0, 0, 1], 10);
  const handles = [0, 1, 2].map(() => addon.open(address, 4, 0, 0, 0, 0, 0, 1));
  for (const handle of handles.slice(1)) addon.watch(handle, () => addon.close(handle));
  addon.duplicate(addon.describe(handles[0], address)[0]);
  const events = [0, 1, 2].map(() => addon.eventOpen());
  for (const event of events) addon.watch(event, () => addon.unwatch(event));
  addon.eventSignal(addon.eventDuplicate(addon.eventDescriptor(events[0])));
  if (workerData.ending === 0) addon.close(events[0]);
  if (workerData.ending === 0) addon.close(handles[1]);
  if (workerData.ending === 1) process.exit(0);
  parentPort.postMessage('up');
`;

async function visit(ending) {
  const worker = new Worker(VISITOR, { eval: true, workerData: { file, ending } });
  const ended = new Promise((resolve) => worker.on('exit', resolve));
  await new Promise((resolve) => {
    worker.on('message', resolve);
    worker.on('exit', resolve);
  });
  await worker.terminate();
  await ended;
  tally.workers = (tally.workers ?? 0) + 1;
}

const descriptors = () => readdirSync('/proc/self/fd').length;

async function main() {
  const stop = new SharedArrayBuffer(4);
  const fields = [layout.length, layout.family & ~3, layout.scope, layout.budget, 64, 68];
  const workerData = { slab: slabBuffer, stop, slots: SLOTS, slotBytes, fields };
  // A warm-up, so that what a first worker opens for good is not taken for a leak.
  await visit(2);
  const before = descriptors();
  const scribbler = new Worker(SCRIBBLER, { eval: true, workerData });
  const deadline = Date.now() + Number(secondsText) * 1000;
  let visits = 0;
  while (Date.now() < deadline) {
    for (let i = 0; i < STEPS_PER_TURN; i++) step();
    await new Promise((resolve) => setImmediate(resolve));
    const share = 1 - (deadline - Date.now()) / (Number(secondsText) * 1000);
    if (visits < share * WORKERS) await visit(visits++ % 3);
  }
  Atomics.store(new Int32Array(stop), 0, 1);
  await new Promise((resolve) => scribbler.on('exit', resolve));
  for (const handle of [...open.keys()]) closeSocket(handle);
  for (const handle of [...events.keys()]) closeEvent(handle);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(descriptors(), before, 'descriptors leaked');
  assert.ok(tally.sent > 0 && tally.received > 0 && tally.readable > 0, 'no traffic');
  assert.ok(tally.woken > 0, 'no wake-ups');
}

main().then(
  () => process.stdout.write(`native-fuzz: clean, seed ${seed}, ${JSON.stringify(tally)}\n`),
  (error) => {
    process.stderr.write(`native-fuzz: seed ${seed}: ${error.stack}\n`);
    process.exit(1);
  },
);
