/** Kills a writer at a chosen point: the n-th plain write to the store's shared memory throws. */
import type { RecordStore } from '../../../workers/store/record-store.ts';

export class Interrupted extends Error {}

export interface Interrupter {
  /** Writes that may still happen; the next one throws. */
  left: number;
}

/**
 * Sequence numbers are written by Atomics, which take no proxy; plain writes surround each of them.
 */
const UNTOUCHED = 'seqs';

/** Puts a counting proxy before every shared array the store's parts write to. */
export function interruptible(store: RecordStore): Interrupter {
  const interrupter = { left: Number.POSITIVE_INFINITY };
  const proxies = new Map<object, object>();
  replaceArrays(store, interrupter, proxies, new Set());
  return interrupter;
}

function replaceArrays(
  part: object,
  interrupter: Interrupter,
  proxies: Map<object, object>,
  seen: Set<object>,
): void {
  if (seen.has(part)) return;
  seen.add(part);
  for (const [field, value] of Object.entries(part)) {
    if (ArrayBuffer.isView(value)) {
      if (field === UNTOUCHED || !(value.buffer instanceof SharedArrayBuffer)) continue;
      const proxy = proxies.get(value) ?? counting(value, interrupter);
      proxies.set(value, proxy);
      Object.assign(part, { [field]: proxy });
    } else if (typeof value === 'object' && value !== null && field !== 'buffers') {
      replaceArrays(value, interrupter, proxies, seen);
    }
  }
}

function counting(array: object, interrupter: Interrupter): object {
  return new Proxy(array, {
    get: (target, property) => Reflect.get(target, property),
    set: (target, property, value) => {
      if (interrupter.left-- <= 0) throw new Interrupted();
      return Reflect.set(target, property, value);
    },
  });
}
