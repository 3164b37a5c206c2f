/** The requests of dht-rpc itself, as parts to send. */
import type { NodeAddress } from '../../codecs/dht/address.ts';
import { INTERNAL } from '../../codecs/dht/constants.ts';
import { writeU32 } from '../../codecs/dht/varint.ts';
import type { QueryParts } from './query.ts';
import type { RequestParts } from './request.ts';
import type { NodeReference } from './types.ts';

/** A delayed answer may take that much longer. */
const DELAYED_PING_EXTRA_MS = 1000;

/** A node by its address only: that it does not answer is not held against it. */
export function reference({ host, port }: NodeAddress): NodeReference {
  return { id: null, host, port };
}

/** A ping with `size` bytes of value, none for 0. */
export function pingParts(to: NodeAddress, size: number): RequestParts {
  const value = size > 0 ? new Uint8Array(size) : null;
  return { to: reference(to), isInternal: true, command: INTERNAL.PING, value };
}

/**
 * A ping that is to be answered after `delayMs`.
 *
 * @throws RangeError when that is more than `most`.
 */
export function delayedPingParts(to: NodeAddress, delayMs: number, most: number): RequestParts {
  if (!(delayMs >= 0 && delayMs <= most)) {
    throw new RangeError(`delay of ${delayMs} ms: allowed are 0 to ${most}`);
  }
  const value = new Uint8Array(4);
  writeU32(value, 0, delayMs);
  const timeoutMs = delayMs + DELAYED_PING_EXTRA_MS;
  const { DELAYED_PING: command } = INTERNAL;
  return { to: reference(to), isInternal: true, command, value, timeoutMs };
}

export function findNodeParts(target: Uint8Array): QueryParts {
  return { target, isInternal: true, command: INTERNAL.FIND_NODE, value: null };
}
